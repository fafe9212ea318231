#include "tools/kit/partition_offsets.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/topic_key.h"
#include "protocol/error.h"
#include "protocol/msg/list_offsets.h"

/* ---- Lists ---- */

struct partition_offset *partition_offsets_add(struct partition_offsets *list, struct str topic, int32_t partition,
                                               struct arena *a)
{
    enum { FIRST = 16 };
    if ((size_t)list->n == list->cap) {
        list->cap = MAX(list->cap * 2, FIRST);
        struct partition_offset *grown = ARENA_ARRAY(a, struct partition_offset, list->cap);
        if (list->n > 0)
            memcpy(grown, list->v, sizeof(*grown) * (size_t)list->n);
        list->v = grown;
    }
    struct partition_offset *p = &list->v[list->n];
    *p = (struct partition_offset){
        .topic = topic, .partition = partition, .leader = -1, .place = list->n++, .offset = -1};
    return p;
}

void partition_offsets_add_all(const struct partition_offsets *from, struct partition_offsets *to, struct arena *a)
{
    for (int32_t i = 0; i < from->n; i++)
        partition_offsets_add(to, from->v[i].topic, from->v[i].partition, a);
}

static int partition_offsets_by_partition(const void *a, const void *b)
{
    const struct partition_offset *x = a, *y = b;
    return partition_order(x->topic, x->partition, y->topic, y->partition);
}

static int partition_offsets_by_place(const void *a, const void *b)
{
    const struct partition_offset *x = a, *y = b;
    int order = partition_offsets_by_partition(a, b);
    return order != 0 ? order : (x->place < y->place) - (x->place > y->place);
}

void partition_offsets_sort(struct partition_offsets *list)
{
    int32_t kept = 0;
    if (list->n > 0)
        qsort(list->v, (size_t)list->n, sizeof(*list->v), partition_offsets_by_place);
    for (int32_t i = 0; i < list->n; i++)
        if (kept == 0 || partition_offsets_by_partition(&list->v[kept - 1], &list->v[i]) != 0)
            list->v[kept++] = list->v[i];
    list->n = kept;
}

struct partition_offset *partition_offsets_find(const struct partition_offsets *list, struct str topic,
                                                int32_t partition)
{
    struct partition_offset key = {.topic = topic, .partition = partition};
    return list->n > 0 ? bsearch(&key, list->v, (size_t)list->n, sizeof(key), partition_offsets_by_partition) : NULL;
}

/* ---- Asking ---- */

struct offset_query {
    struct partition_offset **v; /* those that are asked for, by partition */
    int32_t n;
};

static int by_partition_of(const void *a, const void *b)
{
    return partition_offsets_by_partition(*(struct partition_offset *const *)a, *(struct partition_offset *const *)b);
}

static void fail_with(struct partition_offset *p, int16_t error, struct str why)
{
    p->error = error;
    p->why = why;
    p->final = !error_is_retriable(error);
}

/* One topic entry a partition: brokers take topics that come more than once. */
static void partition_offsets_make_request(const struct offset_query *q, int64_t time, struct arena *a,
                                           struct list_offsets_request *request)
{
    list_offsets_request_init(request);
    request->replica_id = -1;
    ARRAY_MAKE(a, request->topics, q->n);
    for (int32_t i = 0; i < q->n; i++) {
        struct list_offsets_topic *t = &request->topics.items[i];
        list_offsets_topic_init(t);
        t->name = q->v[i]->topic;
        ARRAY_MAKE(a, t->partitions, 1);
        list_offsets_partition_init(&t->partitions.items[0]);
        t->partitions.items[0].partition_index = q->v[i]->partition;
        t->partitions.items[0].timestamp = time;
        t->partitions.items[0].max_num_offsets = 1;
    }
}

static void partition_offsets_take_answer(struct partition_offset *p,
                                          const struct list_offsets_partition_response *answer)
{
    if (answer->error_code != ERR_NONE) {
        fail_with(p, answer->error_code, str_of(error_message(answer->error_code)));
        return;
    }
    p->offset = answer->old_style_offsets.len > 0 ? answer->old_style_offsets.items[0] : answer->offset;
    p->why = STR_NULL;
    p->error = ERR_NONE;
    p->final = true;
}

static void take_answers(const struct offset_query *q, const struct list_offsets_response *r)
{
    for (int32_t i = 0; i < r->topics.len; i++)
        for (int32_t p = 0; p < r->topics.items[i].partitions.len; p++) {
            const struct list_offsets_partition_response *answer = &r->topics.items[i].partitions.items[p];
            struct partition_offset key = {.topic = r->topics.items[i].name, .partition = answer->partition_index};
            struct partition_offset *wanted = &key,
                                    **at = bsearch(&wanted, q->v, (size_t)q->n, sizeof(wanted), by_partition_of);
            if (at != NULL)
                partition_offsets_take_answer(*at, answer);
        }
}

static int16_t oldest_version(int64_t time)
{
    return time == -5 ? 9 : time == -4 ? 8 : time == -3 ? 7 : 0;
}

static void ask_leader(struct asker *asker, struct offset_query *q, int64_t time, struct arena *a)
{
    struct list_offsets_request request;
    struct list_offsets_response response;
    struct fail fail;
    int32_t leader = q->v[0]->leader;
    for (int32_t i = 0; i < q->n; i++)
        fail_with(q->v[i], ERR_UNKNOWN_SERVER_ERROR, STR_LIT("The broker says nothing of the partition"));
    qsort(q->v, (size_t)q->n, sizeof(struct partition_offset *), by_partition_of);
    partition_offsets_make_request(q, time, a, &request);
    if (ask(asker, leader, API_LIST_OFFSETS, oldest_version(time), &request, &response, NULL, a, &fail)) {
        take_answers(q, &response);
        return;
    }
    struct str why = arena_printf(a, "%s", fail.text);
    for (int32_t i = 0; i < q->n; i++)
        fail_with(q->v[i], ask_outcome(asker) == ASK_REFUSED ? ERR_UNSUPPORTED_VERSION : ERR_NETWORK_EXCEPTION, why);
}

/* Of each partition that has a leader, its leader. */
static void partition_offsets_ask(struct asker *asker, struct partition_offsets *list, int64_t time, struct arena *a)
{
    struct offset_query q = {ARENA_ARRAY(a, struct partition_offset *, list->n + 1), 0};
    bool *asked = ARENA_ARRAY(a, bool, list->n + 1);
    for (int32_t i = 0; i < list->n; i++) {
        if (asked[i] || list->v[i].leader < 0)
            continue;
        q.n = 0;
        for (int32_t k = i; k < list->n; k++)
            if (list->v[k].leader == list->v[i].leader) {
                q.v[q.n++] = &list->v[k];
                asked[k] = true;
            }
        ask_leader(asker, &q, time, a);
    }
}

/* ---- Leaders ---- */

static int32_t partition_offsets_names_of(const struct partition_offsets *list, struct str *names)
{
    int32_t count = 0;
    for (int32_t i = 0; i < list->n; i++)
        if (i == 0 || !str_eq(list->v[i].topic, list->v[i - 1].topic))
            names[count++] = list->v[i].topic;
    return count;
}

/* With the words of Kafka's administration client. */
static void refuse_topic(struct partition_offset *p, int16_t error, struct arena *a)
{
    struct str before = arena_printf(a, "Failed to fetch metadata for partition %.*s-%" PRId32, STR_ARGS(p->topic),
                                     p->partition),
               topic = p->topic, why;
    switch (error) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
        why = arena_printf(a, "%.*s because metadata for topic `%.*s` could not be found", STR_ARGS(before),
                           STR_ARGS(topic));
        break;
    case ERR_TOPIC_AUTHORIZATION_FAILED:
        why = arena_printf(a, "%.*s due to topic authorization failure", STR_ARGS(before));
        break;
    case ERR_INVALID_TOPIC_EXCEPTION:
        why = arena_printf(a, "%.*s due to invalid topic `%.*s`", STR_ARGS(before), STR_ARGS(topic));
        break;
    default:
        why = arena_printf(a, "%.*s due to unexpected error for topic `%.*s`", STR_ARGS(before), STR_ARGS(topic));
    }
    fail_with(p, error, why);
    p->final = true;
}

static void partition_offsets_take_topic(struct partition_offsets *list, const struct metadata_response_topic *t,
                                         struct arena *a)
{
    bool refused = t->error_code != ERR_NONE && t->error_code != ERR_LEADER_NOT_AVAILABLE &&
                   t->error_code != ERR_BROKER_NOT_AVAILABLE;
    for (int32_t i = 0; refused && i < list->n; i++)
        if (str_eq(list->v[i].topic, t->name))
            refuse_topic(&list->v[i], t->error_code, a);
    for (int32_t i = 0; !refused && i < t->partitions.len; i++) {
        struct partition_offset *p = partition_offsets_find(list, t->name, t->partitions.items[i].partition_index);
        if (p != NULL)
            p->leader = t->partitions.items[i].leader_id;
    }
}

static bool partition_offsets_find_leaders(struct asker *asker, struct partition_offsets *list, struct arena *a,
                                           struct fail *fail)
{
    struct metadata_response m;
    struct str *names = ARENA_ARRAY(a, struct str, list->n + 1);
    if (!ask_metadata(asker, names, partition_offsets_names_of(list, names), &m, a, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++) {
        fail_with(&list->v[i], ERR_LEADER_NOT_AVAILABLE, str_of(error_message(ERR_LEADER_NOT_AVAILABLE)));
        list->v[i].leader = -1;
    }
    for (int32_t i = 0; i < m.topics.len; i++)
        partition_offsets_take_topic(list, &m.topics.items[i], a);
    return true;
}

static struct partition_offsets what_is_not_final(const struct partition_offsets *list, struct arena *a)
{
    struct partition_offsets open = {ARENA_ARRAY(a, struct partition_offset, list->n + 1), 0, (size_t)list->n + 1};
    for (int32_t i = 0; i < list->n; i++)
        if (!list->v[i].final)
            open.v[open.n++] = list->v[i];
    return open;
}

/* Once: of all that are not known for good. What the list then has of the try's arena is of those that still are not.
 */
static bool partition_offsets_try(struct asker *asker, struct partition_offsets *list, int64_t time, struct arena *a,
                                  struct arena *try, struct fail *fail)
{
    struct partition_offsets open = what_is_not_final(list, try);
    if (!partition_offsets_find_leaders(asker, &open, try, fail))
        return false;
    partition_offsets_ask(asker, &open, time, try);
    for (int32_t i = 0; i < open.n; i++) {
        if (open.v[i].final)
            open.v[i].why = arena_str(a, open.v[i].why);
        *partition_offsets_find(list, open.v[i].topic, open.v[i].partition) = open.v[i];
    }
    return true;
}

/* Whether to go on, after a pause that grows. */
static bool partition_offsets_wait(const struct partition_offsets *list, int64_t deadline, int64_t *pause_ms)
{
    enum { LONGEST_MS = 1000 };
    int64_t left = deadline - clock_mono_ms();
    bool open = false;
    for (int32_t i = 0; i < list->n && !open; i++)
        open = !list->v[i].final;
    if (!open || left <= 0)
        return false;
    usleep((useconds_t)(MIN(*pause_ms, left) * 1000));
    *pause_ms = MIN(*pause_ms * 2, LONGEST_MS);
    return true;
}

/*
 * Each try has an arena of its own: there may be many partitions, and many tries. That of the last one stays until the
 * next has told something else. A broker that cannot be asked for a while, having been there, is waited for like a
 * leader.
 */
bool partition_offsets_learn(struct asker *asker, struct partition_offsets *list, int64_t time, int64_t timeout_ms,
                             struct arena *a, struct fail *fail)
{
    int64_t deadline = clock_mono_ms() + timeout_ms, pause_ms = 100;
    struct arena told = {0};
    for (int32_t i = 0; i < list->n; i++)
        list->v[i].final = false;
    if (list->n == 0)
        return true;
    bool ok = partition_offsets_try(asker, list, time, a, &told, fail);
    while (ok && partition_offsets_wait(list, deadline, &pause_ms)) {
        struct arena try = {0}, done;
        bool better = partition_offsets_try(asker, list, time, a, &try, NULL);
        done = better ? told : try;
        told = better ?
        try : told
            ;
        arena_deinit(&done);
    }
    for (int32_t i = 0; ok && i < list->n; i++)
        if (!list->v[i].final)
            list->v[i].why = arena_str(a, list->v[i].why);
    arena_deinit(&told);
    return ok;
}
