/* Brokers, topics and groups. What is wrong with a topic is worked out partition by partition, and decides its place.
 */
#include "page/status_internal.h"

#include <stddef.h>
#include <stdio.h>

#include "metrics/bean_ask.h"

/* ---- Brokers ---- */

static int status_by_id(const void *a, const void *b)
{
    int32_t x = ((const struct status_broker *)a)->id, y = ((const struct status_broker *)b)->id;
    return (x > y) - (x < y);
}

/* The one of that number; a new one if there is none. */
static struct status_broker *broker_row(struct status *s, int32_t id, int32_t *cap)
{
    for (int32_t i = 0; i < s->broker_count; i++)
        if (s->brokers[i].id == id)
            return &s->brokers[i];
    if (s->broker_count == *cap) {
        struct status_broker *more = ARENA_ARRAY(&s->memory, struct status_broker, 2 * *cap);
        memcpy(more, s->brokers, sizeof(*more) * (size_t)*cap);
        s->brokers = more;
        *cap *= 2;
    }
    struct status_broker *b = &s->brokers[s->broker_count++];
    *b = (struct status_broker){.id = id, .bytes = STATUS_UNKNOWN};
    return b;
}

static void take_alive(struct status *s, const struct status_matter *from, int32_t *cap)
{
    for (int32_t i = 0; i < from->look->broker_count; i++) {
        const struct look_broker *seen = &from->look->brokers[i];
        const struct registration *r = seen->broker;
        const struct endpoint *e = registration_endpoint(r, from->config->inter_broker_listener_name);
        struct status_broker *b = broker_row(s, r->id, cap);
        if (e == NULL && r->endpoint_count > 0)
            e = &r->endpoints[0];
        b->alive = true;
        b->controller = r->id == s->controller;
        b->host = status_text(s, str_of(e != NULL ? e->host : ""));
        b->port = e != NULL ? e->port : STATUS_UNKNOWN;
        b->rack = status_text(s, str_of(r->rack));
        b->bytes = seen->bytes;
        if (seen->protocol != NULL) {
            b->software = seen->is_barnabas ? STR_LIT("barnabas") : STR_LIT("Apache Kafka");
            b->protocol = status_text(s, str_of(seen->protocol));
        }
        s->alive++;
    }
}

static void count_partition(struct status *s, const struct view_partition *p, int32_t *cap)
{
    for (int i = 0; i < p->replicas.n; i++) {
        struct status_broker *b = broker_row(s, p->replicas.v[i], cap);
        b->replicas++;
        b->leads += p->leader == b->id;
        b->behind += !int_list_has(p->isr, b->id);
    }
}

/* ---- Topics ---- */

static void add_partition(struct status_topic *t, const struct view_partition *p, const struct look_partition *seen)
{
    t->replicas = MAX(t->replicas, p->replicas.n);
    t->offline += p->leader < 0;
    t->under_min += p->leader >= 0 && t->min_isr != STATUS_UNKNOWN && p->isr.n < MIN(t->min_isr, p->replicas.n);
    t->under_replicated += p->isr.n < p->replicas.n;
    if (seen->begin == LOOK_UNKNOWN || seen->end == LOOK_UNKNOWN)
        t->records = STATUS_UNKNOWN;
    else if (t->records != STATUS_UNKNOWN)
        t->records += MAX(seen->end - seen->begin, 0);
}

static void take_topic(struct status *s, const struct look_topic *from, struct status_topic *t, int32_t *cap)
{
    *t = (struct status_topic){.name = status_text(s, str_of(from->topic->name)),
                               .partitions = from->topic->partition_count,
                               .min_isr = from->min_isr,
                               .bytes = from->bytes};
    for (int32_t p = 0; p < t->partitions; p++) {
        add_partition(t, &from->topic->partitions[p], &from->partitions[p]);
        count_partition(s, &from->topic->partitions[p], cap);
    }
    s->partitions += t->partitions;
    s->offline += t->offline;
    s->under_min += t->under_min;
    s->under_replicated += t->under_replicated;
}

static int more_first(double x, double y)
{
    return (x < y) - (x > y);
}

static int by_trouble(const void *a, const void *b)
{
    const struct status_topic *x = a, *y = b;
    int order = more_first(x->offline, y->offline);
    order = order != 0 ? order : more_first(x->under_min, y->under_min);
    order = order != 0 ? order : more_first(x->under_replicated, y->under_replicated);
    order = order != 0 ? order : more_first((double)x->bytes, (double)y->bytes);
    return order != 0 ? order : strcmp(x->name.p, y->name.p);
}

/* Rates of topics, as this broker has them. */
struct topic_rates {
    struct status *status;
    size_t field;
};

static int topic_by_name(const void *key, const void *row)
{
    return strcmp(key, ((const struct status_topic *)row)->name.p);
}

static bool take_rate(void *ctx, const struct bean *b)
{
    struct topic_rates *r = ctx;
    struct status *s = r->status;
    char room[256], name[256];
    double value;
    struct str topic = bean_key_value(b, "topic", room, sizeof(room));
    if (topic.p == NULL || (size_t)topic.len >= sizeof(name) || !bean_attribute_number(b, "OneMinuteRate", &value))
        return true;
    snprintf(name, sizeof(name), "%.*s", STR_ARGS(topic));
    struct status_topic *t = bsearch(name, s->topics, (size_t)s->topic_list.total, sizeof(*s->topics), topic_by_name);
    if (t != NULL)
        memcpy((char *)t + r->field, &value, sizeof(value));
    return true;
}

/* While the topics are in the order of their names. */
static void take_rates(struct status *s, struct metrics *metrics)
{
    static const struct {
        const char *pattern;
        size_t field;
    } rates[] = {
        {"kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=*", offsetof(struct status_topic, bytes_in)},
        {"kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic=*", offsetof(struct status_topic, bytes_out)},
        {"kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=*",
         offsetof(struct status_topic, records_in)}};
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct topic_rates r = {s, rates[i].field};
        beans_visit(metrics, rates[i].pattern, take_rate, &r);
    }
}

static void status_take_topics(struct status *s, const struct status_matter *from, int32_t *cap)
{
    int32_t count = from->look->view->topic_count;
    s->topics = ARENA_ARRAY(&s->memory, struct status_topic, count + 1);
    s->topic_list.total = count;
    s->topic_list.shown = from->all_topics ? count : MIN(count, STATUS_ROWS);
    for (int32_t i = 0; i < count; i++)
        take_topic(s, &from->look->topics[i], &s->topics[i], cap);
    take_rates(s, from->metrics);
    qsort(s->topics, (size_t)count, sizeof(*s->topics), by_trouble);
}

/* ---- Groups ---- */

static void take_commit(struct status_group *g, const struct look_group_topic *t, const struct look_commit *c,
                        int64_t now)
{
    if (look_waits(t, c) && c->timestamp != LOOK_UNKNOWN)
        g->waits_ms = MAX(g->waits_ms, now - c->timestamp);
}

static void status_take_group(struct status *s, const struct status_matter *from, const struct look_group *seen,
                              struct status_group *g)
{
    *g = (struct status_group){.id = status_text(s, seen->id),
                               .state = seen->described ? status_text(s, seen->state) : STR_NULL,
                               .coordinator = seen->coordinator,
                               .members = seen->described ? seen->members : STATUS_UNKNOWN,
                               .topics = seen->topic_count,
                               .lag = seen->lag,
                               .lag_change = seen->lag_change,
                               .waits_ms = STATUS_UNKNOWN};
    for (int32_t t = 0; t < seen->topic_count; t++)
        for (int32_t c = 0; seen->topics[t].topic != NULL && c < seen->topics[t].commit_count; c++)
            take_commit(g, &seen->topics[t], &seen->topics[t].commits[c], from->look->taken_ms);
}

static int by_lag(const void *a, const void *b)
{
    const struct status_group *x = a, *y = b;
    int order = more_first((double)x->lag, (double)y->lag);
    return order != 0 ? order : strcmp(x->id.p, y->id.p);
}

static void take_groups(struct status *s, const struct status_matter *from)
{
    int32_t count = from->look->group_count;
    s->groups = ARENA_ARRAY(&s->memory, struct status_group, count + 1);
    s->group_list.total = count;
    s->group_list.shown = from->all_groups ? count : MIN(count, STATUS_ROWS);
    for (int32_t i = 0; i < count; i++)
        status_take_group(s, from, &from->look->groups[i], &s->groups[i]);
    qsort(s->groups, (size_t)count, sizeof(*s->groups), by_lag);
}

/* ---- Reassignments ---- */

static void take_reassignments(struct status *s, const struct look *look)
{
    int32_t shown = MIN(MAX(look->move_count, 0), STATUS_ROWS);
    s->reassignments = ARENA_ARRAY(&s->memory, struct status_reassignment, shown + 1);
    s->reassignment_list = (struct status_list){shown, look->move_count};
    for (int32_t i = 0; i < shown; i++) {
        const struct look_move *m = &look->moves[i];
        const struct view_partition *p = view_partition(look->view, m->topic, m->partition);
        s->reassignments[i] = (struct status_reassignment){status_text(s, m->topic),
                                                           m->partition,
                                                           p != NULL ? p->isr.n : STATUS_UNKNOWN,
                                                           p != NULL ? p->replicas.n : STATUS_UNKNOWN,
                                                           m->copied,
                                                           m->whole,
                                                           m->rate};
    }
}

/* ---- Transactions and elections ---- */

static int by_age(const void *a, const void *b)
{
    const struct status_transaction *x = a, *y = b;
    int order = more_first((double)x->open_ms, (double)y->open_ms);
    return order != 0 ? order : strcmp(x->id.p, y->id.p);
}

static void take_transactions(struct status *s, const struct look *look)
{
    s->transactions = ARENA_ARRAY(&s->memory, struct status_transaction, look->transaction_count + 1);
    for (int32_t i = 0; i < look->transaction_count; i++) {
        const struct look_transaction *t = &look->transactions[i];
        s->transactions[i] = (struct status_transaction){
            status_text(s, t->id), status_text(s, t->state), t->coordinator, t->partitions,
            t->started_ms == LOOK_UNKNOWN ? STATUS_UNKNOWN : MAX(look->taken_ms - t->started_ms, INT64_C(0))};
    }
    qsort(s->transactions, (size_t)look->transaction_count, sizeof(*s->transactions), by_age);
    s->transaction_list = (struct status_list){MIN(look->transaction_count, STATUS_ROWS), look->transaction_count};
}

static void take_elections(struct status *s, const struct look *look)
{
    s->elections = ARENA_ARRAY(&s->memory, struct status_election, look->leader_change_count + 1);
    s->election_count = look->leader_change_count;
    for (int i = 0; i < look->leader_change_count; i++) {
        const struct leader_change *e = &look->leader_changes[i];
        s->elections[i] = (struct status_election){
            e->ms, e->from, e->to, e->partitions, status_text(s, str_of(e->topic)), e->partition};
    }
}

void status_gather_cluster(struct status *s, const struct status_matter *from)
{
    int32_t cap = MAX(from->look->broker_count, 4);
    s->cluster_known = true;
    s->looked_ms = from->look->taken_ms;
    s->unanswered = from->look->unanswered;
    s->controller = from->look->view->controller_id;
    s->brokers = ARENA_ARRAY(&s->memory, struct status_broker, cap);
    take_alive(s, from, &cap);
    status_take_topics(s, from, &cap);
    take_groups(s, from);
    take_reassignments(s, from->look);
    take_transactions(s, from->look);
    take_elections(s, from->look);
    qsort(s->brokers, (size_t)s->broker_count, sizeof(*s->brokers), status_by_id);
}
