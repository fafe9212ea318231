/* kafka-consumer-groups --describe: lags, members or states of groups, in Kafka's tables. */
#include <inttypes.h>

#include "tools/groups/consumer_groups.h"

enum { LEAST_WIDTH = 15, LEAST_INSTANCE_WIDTH = 17, LEAST_COORDINATOR_WIDTH = 25 };

static const struct str missing = {"-", 1};

static void group_table_widen(int *width, struct str s)
{
    *width = MAX(*width, s.len);
}

static struct str group_table_number(struct group_work *w, int64_t v, bool known)
{
    return known ? arena_printf(&w->arena, "%" PRId64, v) : missing;
}

/*
 * Tells what is special about the group's state. False: there is nothing more to say of it, also because it has no
 * `rows`.
 */
static bool group_table_tell_state(const struct group_description *group, int64_t rows)
{
    struct str id = group->id, state = group->state;
    if (str_is(state, "Dead")) {
        groups_print_error("Consumer group '%.*s' does not exist.", STR_ARGS(id));
        return false;
    }
    if (str_is(state, "Empty"))
        fprintf(stderr, "\nConsumer group '%.*s' has no active members.\n", STR_ARGS(id));
    else if (!str_is(state, "Stable"))
        fprintf(stderr, "\nWarning: Consumer group '%.*s' is rebalancing.\n", STR_ARGS(id));
    return rows > 0;
}

/* ---- Offsets ---- */

struct row {
    const struct partition_offset *at; /* with the end of its log */
    int64_t committed;                 /* below 0: none */
    struct str member, host, client;
};

struct group_lag { /* what there is to say of one group */
    struct group_description group;
    struct partition_offsets committed, ends;
    struct row *rows;
    int32_t row_count;
};

static int by_partitions(const void *a, const void *b)
{
    const struct group_member *x = a, *y = b;
    int order = (x->assigned.n < y->assigned.n) - (x->assigned.n > y->assigned.n);
    return order != 0 ? order : str_cmp(x->id, y->id);
}

static void group_table_add_row(struct group_lag *l, const struct partition_offset *p, const struct group_member *m)
{
    const struct partition_offset *committed = partition_offsets_find(&l->committed, p->topic, p->partition);
    l->rows[l->row_count++] = (struct row){.at = partition_offsets_find(&l->ends, p->topic, p->partition),
                                           .committed = committed != NULL ? committed->offset : -1,
                                           .member = m != NULL ? m->id : missing,
                                           .host = m != NULL ? m->host : missing,
                                           .client = m != NULL ? m->client_id : missing};
}

static bool is_assigned(const struct group_description *group, const struct partition_offset *p)
{
    for (int32_t i = 0; i < group->member_count; i++)
        if (partition_offsets_find(&group->members[i].assigned, p->topic, p->partition) != NULL)
            return true;
    return false;
}

/* Members with the most partitions come first; what nobody has at last. */
static void add_rows(struct group_work *w, struct group_lag *l)
{
    struct group_description *group = &l->group;
    int64_t most = l->committed.n;
    for (int32_t i = 0; i < group->member_count; i++)
        most += group->members[i].assigned.n;
    l->rows = ARENA_ARRAY(&w->arena, struct row, most + 1);
    if (group->member_count > 0)
        qsort(group->members, (size_t)group->member_count, sizeof(*group->members), by_partitions);
    for (int32_t i = 0; i < group->member_count; i++)
        for (int32_t k = 0; k < group->members[i].assigned.n; k++)
            group_table_add_row(l, &group->members[i].assigned.v[k], &group->members[i]);
    for (int32_t i = 0; i < l->committed.n; i++)
        if (!is_assigned(group, &l->committed.v[i]))
            group_table_add_row(l, &l->committed.v[i], NULL);
}

static bool collect_lag(struct group_work *w, const struct group_description *group, struct group_lag *l,
                        struct fail *fail)
{
    enum { END = -1 };
    *l = (struct group_lag){.group = *group};
    if (!groups_asked(group_offsets(&w->admin, group->id, &l->committed, fail), fail))
        return false;
    partition_offsets_add_all(&l->committed, &l->ends, &w->arena);
    for (int32_t i = 0; i < l->group.member_count; i++)
        partition_offsets_add_all(&l->group.members[i].assigned, &l->ends, &w->arena);
    partition_offsets_sort(&l->ends);
    if (!groups_asked(topic_offsets(&w->admin, &l->ends, END, fail), fail))
        return false;
    add_rows(w, l);
    return true;
}

static void print_row(const int *widths, const struct str *cells)
{
    enum { COLUMNS = 9 };
    putchar('\n');
    for (int i = 0; i < COLUMNS; i++)
        printf(i > 0 ? " %-*.*s" : "%-*.*s", widths[i], STR_ARGS(cells[i]));
}

/* Like Kafka's, each row begins with an end of line, and the last has none. */
static void print_lag(struct group_work *w, const struct group_lag *l)
{
    static const struct str head[] = {{"GROUP", 5},           {"TOPIC", 5}, {"PARTITION", 9},    {"CURRENT-OFFSET", 14},
                                      {"LOG-END-OFFSET", 14}, {"LAG", 3},   {"CONSUMER-ID", 11}, {"HOST", 4},
                                      {"CLIENT-ID", 9}};
    int widths[] = {LEAST_WIDTH, LEAST_WIDTH, 10, 15, 15, 15, LEAST_WIDTH, LEAST_WIDTH, 0};
    if (!group_table_tell_state(&l->group, l->row_count))
        return;
    group_table_widen(&widths[0], l->group.id);
    for (int32_t i = 0; i < l->row_count; i++) {
        group_table_widen(&widths[1], l->rows[i].at->topic);
        group_table_widen(&widths[6], l->rows[i].member);
        group_table_widen(&widths[7], l->rows[i].host);
    }
    print_row(widths, head);
    for (int32_t i = 0; i < l->row_count; i++) {
        const struct row *r = &l->rows[i];
        bool known = r->committed >= 0;
        struct str cells[] = {l->group.id,
                              r->at->topic,
                              group_table_number(w, r->at->partition, true),
                              group_table_number(w, r->committed, known),
                              group_table_number(w, r->at->offset, true),
                              group_table_number(w, r->at->offset - r->committed, known),
                              r->member,
                              r->host,
                              r->client};
        print_row(widths, cells);
    }
}

static bool describe_offsets(struct group_work *w, const struct group_description *groups, int32_t count,
                             struct fail *fail)
{
    struct group_lag *all = ARENA_ARRAY(&w->arena, struct group_lag, count + 1);
    for (int32_t i = 0; i < count; i++)
        if (!collect_lag(w, &groups[i], &all[i], fail))
            return false;
    for (int32_t i = 0; i < count; i++)
        print_lag(w, &all[i]);
    return true;
}

/* ---- Members ---- */

static int group_table_by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static struct str join_sorted(struct str *texts, int32_t count, const char *between, struct arena *a)
{
    struct strbuf b = {0};
    qsort(texts, (size_t)count, sizeof(*texts), group_table_by_text);
    for (int32_t i = 0; i < count; i++)
        strbuf_printf(&b, "%s%.*s", i > 0 ? between : "", STR_ARGS(texts[i]));
    struct str joined = arena_printf(a, "%s", b.p);
    strbuf_deinit(&b);
    return joined;
}

/* (0,1,10,2), (3): each topic's partitions, without its name, and all in the order of texts, as Kafka has them. */
static struct str assignment_text(struct group_work *w, const struct partition_offsets *assigned)
{
    struct str *topics = ARENA_ARRAY(&w->arena, struct str, assigned->n + 1),
               *numbers = ARENA_ARRAY(&w->arena, struct str, assigned->n + 1);
    int32_t topic_count = 0, count = 0;
    for (int32_t i = 0; i < assigned->n; i++) {
        numbers[count++] = group_table_number(w, assigned->v[i].partition, true);
        if (i + 1 < assigned->n && str_eq(assigned->v[i].topic, assigned->v[i + 1].topic))
            continue;
        struct str joined = join_sorted(numbers, count, ",", &w->arena);
        topics[topic_count++] = arena_printf(&w->arena, "(%.*s)", STR_ARGS(joined));
        count = 0;
    }
    return topic_count > 0 ? join_sorted(topics, topic_count, ", ", &w->arena) : missing;
}

static bool have_instances(const struct group_description *group)
{
    for (int32_t i = 0; i < group->member_count; i++)
        if (group->members[i].instance_id.len > 0)
            return true;
    return false;
}

struct member_table {
    int group, id, instance, host, client; /* widths; instance 0: no such column */
    bool verbose;
};

static void print_member(const struct member_table *t, struct str group, const struct group_member *m, struct str count,
                         struct str assignment)
{
    printf("%-*.*s %-*.*s ", t->group, STR_ARGS(group), t->id, STR_ARGS(m->id));
    if (t->instance > 0)
        printf("%-*.*s ", t->instance, STR_ARGS(m->instance_id));
    printf("%-*.*s %-*.*s %-15.*s ", t->host, STR_ARGS(m->host), t->client, STR_ARGS(m->client_id), STR_ARGS(count));
    printf("%.*s\n", t->verbose ? assignment.len : 0, assignment.p);
}

/* Kafka prints the head also for a group without members. */
static void print_members(struct group_work *w, const struct group_description *group)
{
    static const struct group_member head = {
        {"CONSUMER-ID", 11}, {"GROUP-INSTANCE-ID", 17}, {"CLIENT-ID", 9}, {"HOST", 4}, {0}};
    struct member_table t = {LEAST_WIDTH, LEAST_WIDTH, 0, LEAST_WIDTH, LEAST_WIDTH, options_has(&w->o, "verbose")};
    bool shown = group_table_tell_state(group, group->member_count);
    if (shown && have_instances(group))
        t.instance = LEAST_INSTANCE_WIDTH;
    if (shown)
        group_table_widen(&t.group, group->id);
    for (int32_t i = 0; shown && i < group->member_count; i++) {
        const struct group_member *m = &group->members[i];
        group_table_widen(&t.id, m->id);
        group_table_widen(&t.host, m->host);
        group_table_widen(&t.client, m->client_id);
        if (t.instance > 0)
            group_table_widen(&t.instance, m->instance_id);
    }
    putchar('\n');
    print_member(&t, STR_LIT("GROUP"), &head, STR_LIT("#PARTITIONS"), STR_LIT("ASSIGNMENT"));
    for (int32_t i = 0; i < group->member_count; i++) {
        const struct group_member *m = &group->members[i];
        print_member(&t, group->id, m, group_table_number(w, m->assigned.n, true), assignment_text(w, &m->assigned));
    }
}

/* ---- State ---- */

static void group_table_print_state(struct group_work *w, const struct group_description *group)
{
    if (!group_table_tell_state(group, 1))
        return;
    struct str at = arena_printf(&w->arena, "%.*s:%" PRId32 "  (%" PRId32 ")", STR_ARGS(group->coordinator.host),
                                 group->coordinator.port, group->coordinator.id);
    int width = LEAST_COORDINATOR_WIDTH;
    group_table_widen(&width, at);
    printf("\n%-*s %-25s %-20s %-15s %s", width, "GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE",
           "#MEMBERS");
    printf("\n%-*.*s %-25.*s %-20.*s %-15.*s %" PRId32 "\n", width, STR_ARGS(group->id), STR_ARGS(at),
           STR_ARGS(group->assignor), STR_ARGS(group->state), group->member_count);
}

/* ---- The action ---- */

bool groups_describe(struct group_work *w, struct fail *fail)
{
    struct str_list ids;
    if (!groups_named(w, &ids, fail))
        return false;
    struct str *sorted = arena_copy(&w->arena, ids.v, sizeof(*ids.v) * (size_t)ids.n);
    qsort(sorted, (size_t)ids.n, sizeof(*sorted), group_table_by_text);
    ids.v = sorted;
    bool members = options_has(&w->o, "members"), state = options_has(&w->o, "state");
    struct group_description *all = ARENA_ARRAY(&w->arena, struct group_description, ids.n + 1);
    if (!group_admin_describe(&w->admin, ids, all, fail))
        return false;
    if (!members && !state)
        return describe_offsets(w, all, ids.n, fail);
    for (int32_t i = 0; i < ids.n; i++) {
        if (members)
            print_members(w, &all[i]);
        else
            group_table_print_state(w, &all[i]);
    }
    return true;
}
