/*
 * Throttles of a reassignment (KIP-73): the brokers get rates, the topics lists of the replicas that the rates hold
 * for: on the leaders' side those that are there, on the followers' side those that come.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "tools/reassign/reassign.h"

static const char leader_rate[] = "leader.replication.throttled.rate",
                  follower_rate[] = "follower.replication.throttled.rate",
                  dirs_rate[] = "replica.alter.log.dirs.io.max.bytes.per.second",
                  leader_replicas[] = "leader.replication.throttled.replicas",
                  follower_replicas[] = "follower.replication.throttled.replicas";

static struct int_list reassign_throttle_minus(struct arena *a, struct int_list list, struct int_list less)
{
    struct int_list out = {ARENA_ARRAY(a, int32_t, list.n + 1), 0};
    for (int32_t i = 0; i < list.n; i++)
        if (!int_list_has(less, list.v[i]))
            out.v[out.n++] = list.v[i];
    return out;
}

static int reassign_throttle_by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(struct int_list *list)
{
    int32_t kept = 0;
    if (list->n == 0)
        return;
    qsort(list->v, (size_t)list->n, sizeof(*list->v), reassign_throttle_by_number);
    for (int32_t i = 0; i < list->n; i++)
        if (i == 0 || list->v[i] != list->v[i - 1])
            list->v[kept++] = list->v[i];
    list->n = kept;
}

static void throttle_append(struct arena *a, struct int_list *to, struct int_list more)
{
    struct int_list all = {ARENA_ARRAY(a, int32_t, to->n + more.n + 1), to->n + more.n};
    if (to->n > 0)
        memcpy(all.v, to->v, sizeof(*all.v) * (size_t)to->n);
    if (more.n > 0)
        memcpy(all.v + to->n, more.v, sizeof(*all.v) * (size_t)more.n);
    *to = all;
}

/* ---- What moves: `replicas` are where the data comes from, `adding` where it goes ---- */

static struct placements list_moves(struct arena *a, const struct placements *ongoing, const struct placements *targets,
                                    const struct placements *current)
{
    struct placements moves = {ARENA_ARRAY(a, struct placement, ongoing->n + targets->n + 1), 0};
    for (int32_t i = 0; i < ongoing->n; i++) {
        struct placement *m = &moves.v[moves.n++];
        *m = ongoing->v[i];
        m->replicas = reassign_throttle_minus(a, m->replicas, m->adding);
    }
    struct placements before = moves;
    for (int32_t i = 0; i < targets->n; i++) {
        const struct placement *t = &targets->v[i], *now = placements_find(current, t->topic, t->partition);
        struct placement *m = placements_find(&before, t->topic, t->partition);
        ensure(now != NULL);
        if (m == NULL) {
            m = &moves.v[moves.n++];
            *m = (struct placement){.topic = t->topic, .partition = t->partition, .replicas = now->replicas};
        }
        m->adding = reassign_throttle_minus(a, t->replicas, m->replicas);
    }
    placements_sort(&moves);
    return moves;
}

static int reassign_throttle_by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* partition:broker,... of one topic's partitions, in the order of the text, as Kafka writes it. */
static const char *list_replicas(struct arena *a, const struct placement *from, const struct placement *to, bool coming)
{
    struct strbuf all = {0};
    size_t count = 0, at = 0;
    for (const struct placement *m = from; m < to; m++)
        count += (size_t)(coming ? m->adding.n : m->replicas.n);
    const char **words = ARENA_ARRAY(a, const char *, count + 1);
    for (const struct placement *m = from; m < to; m++) {
        struct int_list list = coming ? m->adding : m->replicas;
        for (int32_t i = 0; i < list.n; i++)
            words[at++] = arena_printf(a, "%" PRId32 ":%" PRId32, m->partition, list.v[i]).p;
    }
    qsort(words, count, sizeof(*words), reassign_throttle_by_text);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(&all, "%s%s", i > 0 ? "," : "", words[i]);
    const char *text = arena_cstr(a, (struct str){all.len > 0 ? all.p : "", (int32_t)all.len});
    strbuf_deinit(&all);
    return text;
}

static bool throttle_topics(struct reassign_backend *b, const struct placements *moves, struct fail *fail)
{
    int32_t count = 0;
    struct config_change *changes = ARENA_ARRAY(&b->arena, struct config_change, moves->n + 1);
    for (int32_t i = 0, end; i < moves->n; i = end) {
        const struct placement *from = &moves->v[i];
        for (end = i + 1; end < moves->n && str_eq(moves->v[end].topic, from->topic);)
            end++;
        struct config_pair *pairs = ARENA_ARRAY(&b->arena, struct config_pair, 2);
        pairs[0] = (struct config_pair){leader_replicas, list_replicas(&b->arena, from, from + (end - i), false)};
        pairs[1] = (struct config_pair){follower_replicas, list_replicas(&b->arena, from, from + (end - i), true)};
        changes[count++] = (struct config_change){.topic = from->topic, .pairs = pairs, .pair_count = 2};
    }
    return b->configure(b, changes, count, fail);
}

static bool configure_brokers(struct reassign_backend *b, struct int_list brokers, const struct config_pair *pairs,
                              int32_t pair_count, struct fail *fail)
{
    struct config_change *changes = ARENA_ARRAY(&b->arena, struct config_change, brokers.n + 1);
    for (int32_t i = 0; i < brokers.n; i++)
        changes[i] = (struct config_change){.broker = brokers.v[i], .pairs = pairs, .pair_count = pair_count};
    return b->configure(b, changes, brokers.n, fail);
}

static const char *rate_text(struct arena *a, int64_t rate)
{
    return arena_printf(a, "%" PRId64, rate).p;
}

bool reassign_throttle(struct reassign_backend *b, const struct placements *ongoing, const struct placements *targets,
                       const struct placements *current, int64_t rate, struct fail *fail)
{
    struct placements moves = list_moves(&b->arena, ongoing, targets, current);
    struct int_list brokers = {0};
    const char *value = rate_text(&b->arena, rate);
    struct config_pair pairs[] = {{leader_rate, value}, {follower_rate, value}};
    for (int32_t i = 0; i < moves.n; i++) {
        throttle_append(&b->arena, &brokers, moves.v[i].replicas);
        throttle_append(&b->arena, &brokers, moves.v[i].adding);
        sort_unique(&brokers);
    }
    if (!throttle_topics(b, &moves, fail) || !configure_brokers(b, brokers, pairs, ARRAY_LEN(pairs), fail))
        return false;
    printf("The inter-broker throttle limit was set to %" PRId64 " B/s\n", rate);
    return true;
}

bool reassign_throttle_dirs(struct reassign_backend *b, const struct dir_moves *moves, int64_t rate, struct fail *fail)
{
    struct int_list brokers = {ARENA_ARRAY(&b->arena, int32_t, moves->n + 1), moves->n};
    struct config_pair pair = {dirs_rate, rate_text(&b->arena, rate)};
    for (int32_t i = 0; i < moves->n; i++)
        brokers.v[i] = moves->v[i].broker;
    sort_unique(&brokers);
    if (!configure_brokers(b, brokers, &pair, 1, fail))
        return false;
    printf("The replica-alter-dir throttle limit was set to %" PRId64 " B/s\n", rate);
    return true;
}

/* ---- The end of it ---- */

static bool unthrottle_brokers(struct reassign_backend *b, const struct placements *targets, struct fail *fail)
{
    static const struct config_pair pairs[] = {{leader_rate, NULL}, {follower_rate, NULL}, {dirs_rate, NULL}};
    struct registration *live;
    struct int_list brokers = {0};
    if (!b->brokers(b, &live, &brokers.n, fail))
        return false;
    brokers.v = ARENA_ARRAY(&b->arena, int32_t, brokers.n + 1);
    for (int32_t i = 0; i < brokers.n; i++)
        brokers.v[i] = live[i].id;
    for (int32_t i = 0; i < targets->n; i++) {
        throttle_append(&b->arena, &brokers, targets->v[i].replicas);
        sort_unique(&brokers);
    }
    sort_unique(&brokers);
    printf("Clearing broker-level throttles on broker%s ", brokers.n == 1 ? "" : "s");
    for (int32_t i = 0; i < brokers.n; i++)
        printf("%s%" PRId32, i > 0 ? "," : "", brokers.v[i]);
    putchar('\n');
    return configure_brokers(b, brokers, pairs, ARRAY_LEN(pairs), fail);
}

static bool unthrottle_topics(struct reassign_backend *b, const struct placements *targets, struct fail *fail)
{
    static const struct config_pair pairs[] = {{leader_replicas, NULL}, {follower_replicas, NULL}};
    int32_t count;
    const struct str *topics = placements_topics(&b->arena, targets, &count);
    struct config_change *changes = ARENA_ARRAY(&b->arena, struct config_change, count + 1);
    printf("Clearing topic-level throttles on topic%s ", count == 1 ? "" : "s");
    for (int32_t i = 0; i < count; i++) {
        printf("%s%.*s", i > 0 ? "," : "", STR_ARGS(topics[i]));
        changes[i] = (struct config_change){.topic = topics[i], .pairs = pairs, .pair_count = ARRAY_LEN(pairs)};
    }
    putchar('\n');
    return b->configure(b, changes, count, fail);
}

bool reassign_unthrottle(struct reassign_backend *b, const struct placements *targets, struct fail *fail)
{
    bool brokers = unthrottle_brokers(b, targets, fail);
    return unthrottle_topics(b, targets, brokers ? fail : NULL) && brokers;
}
