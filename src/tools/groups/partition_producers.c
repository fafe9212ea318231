#include "tools/groups/partition_producers.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/topic_key.h"
#include "protocol/error.h"

enum { AT_ONCE = 500, RETRY_US = 100000 };

static int places_by_partition(const void *a, const void *b)
{
    const struct producers_place *x = a, *y = b;
    return partition_order(x->topic, x->partition, y->topic, y->partition);
}

static int places_by_leader(const void *a, const void *b)
{
    const struct producers_place *x = a, *y = b;
    return x->leader != y->leader ? (x->leader > y->leader) - (x->leader < y->leader) : places_by_partition(a, b);
}

/* In an array that is sorted by partition. */
static struct producers_place *place_of(struct producers_place *v, int32_t n, struct str topic, int32_t partition)
{
    struct producers_place key = {.topic = topic, .partition = partition};
    return bsearch(&key, v, (size_t)n, sizeof(key), places_by_partition);
}

/* ---- Asking ---- */

static bool error_may_pass(const struct producers_query *q, int16_t error)
{
    return error == ERR_UNKNOWN_TOPIC_OR_PARTITION || (error == ERR_NOT_LEADER_OR_FOLLOWER && q->broker < 0);
}

/* False if it failed for good. */
static bool take_partition(const struct producers_query *q, struct producers_place *at,
                           const struct describe_producers_partition_response *p, struct fail *fail)
{
    if (p->error_code == ERR_NONE) {
        at->told = true;
        q->take(q->arg, at, p);
        return true;
    }
    struct arena a = {0};
    struct str why = ask_exception_text(&a, p->error_code, STR_NULL);
    fail_set(fail, "Failed to describe producers for partition %.*s-%" PRId32 ": %.*s", STR_ARGS(at->topic),
             at->partition, STR_ARGS(why));
    arena_deinit(&a);
    return error_may_pass(q, p->error_code);
}

static void fill_request(struct describe_producers_request *request, const struct producers_place *v, int32_t n,
                         struct arena *a)
{
    describe_producers_request_init(request);
    ARRAY_MAKE(a, request->topics, n);
    for (int32_t i = 0; i < n; i++) {
        struct describe_producers_topic_request *t = &request->topics.items[i];
        describe_producers_topic_request_init(t);
        t->name = v[i].topic;
        ARRAY_MAKE(a, t->partition_indexes, 1);
        t->partition_indexes.items[0] = v[i].partition;
    }
}

/* All have one leader. False if it failed for good; what may pass is in `fail`, too. */
static bool ask_producers(const struct producers_query *q, struct producers_place *v, int32_t n, struct arena *a,
                          struct fail *fail)
{
    struct describe_producers_request request;
    struct describe_producers_response response;
    fill_request(&request, v, n, a);
    if (!ask(q->asker, v->leader, API_DESCRIBE_PRODUCERS, 0, &request, &response, NULL, a, fail))
        return q->broker < 0 && ask_outcome(q->asker) != ASK_REFUSED;
    fail_set(fail, "Broker %" PRId32 " says nothing of partition %.*s-%" PRId32, v->leader, STR_ARGS(v->topic),
             v->partition);
    for (int32_t t = 0; t < response.topics.len; t++)
        for (int32_t i = 0; i < response.topics.items[t].partitions.len; i++) {
            const struct describe_producers_partition_response *p = &response.topics.items[t].partitions.items[i];
            struct producers_place *at = place_of(v, n, response.topics.items[t].name, p->partition_index);
            if (at != NULL && !at->told && !take_partition(q, at, p, fail))
                return false;
        }
    return true;
}

static bool ask_all_leaders(const struct producers_query *q, struct producers_place *v, int32_t n, struct arena *a,
                            struct fail *fail)
{
    qsort(v, (size_t)n, sizeof(*v), places_by_leader);
    for (int32_t from = 0, to; from < n; from = to) {
        for (to = from; to < n && to - from < AT_ONCE && v[to].leader == v[from].leader;)
            to++;
        if (v[from].leader < 0)
            fail_set(fail, "Partition %.*s-%" PRId32 " has no leader", STR_ARGS(v[from].topic), v[from].partition);
        else if (!ask_producers(q, v + from, to - from, a, fail))
            return false;
    }
    return true;
}

/* ---- Again ---- */

/* Who is not told of there has no leader. */
static bool find_leaders(const struct producers_query *q, struct producers_place *v, int32_t n, struct arena *a,
                         struct fail *fail)
{
    struct metadata_response m;
    struct str *names = ARENA_ARRAY(a, struct str, n);
    int32_t count = 0;
    qsort(v, (size_t)n, sizeof(*v), places_by_partition);
    for (int32_t i = 0; i < n; i++)
        if (i == 0 || !str_eq(v[i].topic, v[i - 1].topic))
            names[count++] = v[i].topic;
    if (!ask_metadata(q->asker, names, count, &m, a, fail))
        return false;
    for (int32_t i = 0; i < n; i++)
        v[i].leader = -1;
    for (int32_t t = 0; t < m.topics.len; t++)
        for (int32_t i = 0; i < m.topics.items[t].partitions.len; i++) {
            const struct metadata_response_partition *p = &m.topics.items[t].partitions.items[i];
            struct producers_place *at = place_of(v, n, m.topics.items[t].name, p->partition_index);
            if (at != NULL)
                at->leader = p->leader_id;
        }
    return true;
}

static int32_t keep_untold(struct producers_place *v, int32_t n)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (!v[i].told)
            v[kept++] = v[i];
    return kept;
}

bool partition_producers_learn(const struct producers_query *q, struct producers_place *v, int32_t n, struct fail *fail)
{
    int64_t deadline = clock_mono_ms() + ask_patience_ms(q->asker);
    struct fail why = {.text = ""};
    for (int32_t i = 0; q->broker >= 0 && i < n; i++)
        v[i].leader = q->broker;
    for (bool again = false;; again = true) {
        struct arena a = {0};
        bool known = !again || q->broker >= 0 || find_leaders(q, v, n, &a, &why);
        bool ok = !known || ask_all_leaders(q, v, n, &a, &why);
        arena_deinit(&a);
        n = keep_untold(v, n);
        if (!ok || n == 0 || clock_mono_ms() >= deadline)
            return fail_unless(ok && n == 0, &why, fail);
        usleep(RETRY_US);
    }
}
