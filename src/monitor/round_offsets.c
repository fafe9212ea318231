/*
 * Where partitions begin and end, and since when records wait for those who have not read them.
 *
 * ListOffsets tells the former. What time a record at an offset has it does not; but the head of the batch that has it
 * does, and that a fetch gets, of a hundred partitions with one request. In one request a partition has one offset:
 * where several groups wait in the same partition at different places, each place has another turn. A batch that is
 * longer than its share comes only to who asks for it alone, so that is done at the end for those that are still
 * missing. What was known before is not asked for again (look_firsts.c), and of the rest no more at once than disks
 * should have to read for who only watches: first what was asked for longest ago.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "monitor/round_internal.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/list_offsets.h"

enum {
    OFFSETS_AT_ONCE = 5000,
    FETCHES_AT_ONCE = 100,
    MOST_FETCHES = 2000, /* of a round, or 40 MB: what is beyond has its turn in the next */
    MOST_ALONE = 100,
    BATCH_BYTES = 20000, /* of which a producer with the usual settings fills at most 16384 */
    LATEST = -1,
    EARLIEST = -2,
};

/* A partition, and perhaps an offset in it; of several in one partition each has another turn. */
struct place {
    int32_t leader, turn, partition;
    const struct look_topic *topic;
    struct look_commit *commit; /* NULL: it is about the whole */
};

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_partitions(const struct place *a, const struct place *b)
{
    int order = (a->topic > b->topic) - (a->topic < b->topic);
    return order != 0 ? order : compare_numbers(a->partition, b->partition);
}

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int order = compare_numbers(x->leader, y->leader);
    if (order == 0)
        order = compare_partitions(x, y);
    if (order == 0 && x->commit != NULL && y->commit != NULL)
        order = compare_numbers(x->commit->first, y->commit->first);
    return order;
}

static int by_turn(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int order = compare_numbers(x->leader, y->leader);
    if (order == 0)
        order = compare_numbers(x->turn, y->turn);
    return order != 0 ? order : compare_partitions(x, y);
}

static void add_place(struct round *r, const struct look_topic *t, int32_t partition, struct look_commit *commit)
{
    const struct view_partition *p = view_topic_partition(t->topic, partition);
    if (p == NULL || p->leader < 0)
        return;
    r->places = xgrow(r->places, r->place_count + 1, &r->place_cap, sizeof(*r->places));
    r->places[r->place_count++] =
        (struct place){.leader = p->leader, .partition = partition, .topic = t, .commit = commit};
}

static void add_commits(struct round *r, bool (*wanted)(const struct look_group_topic *t, const struct look_commit *c))
{
    for (int32_t g = 0; g < r->look->group_count; g++)
        for (int32_t t = 0; t < r->look->groups[g].topic_count; t++) {
            const struct look_group_topic *topic = &r->look->groups[g].topics[t];
            for (int32_t c = 0; topic->topic != NULL && c < topic->commit_count; c++)
                if (wanted(topic, &topic->commits[c]))
                    add_place(r, topic->topic, topic->commits[c].partition, &topic->commits[c]);
        }
}

/* How many of the places, from that one on, go into one request. */
static size_t count_together(const struct round *r, size_t from, size_t most)
{
    const struct place *first = &r->places[from];
    size_t n = 1;
    while (from + n < r->place_count && n < most && first[n].leader == first->leader && first[n].turn == first->turn)
        n++;
    return n;
}

/* How many of those that are asked about are of the same topic as the first. */
static size_t count_of_first_topic(const struct place *about, size_t count)
{
    size_t n = 1;
    while (n < count && about[n].topic == about->topic)
        n++;
    return n;
}

static int32_t count_topics(const struct place *about, size_t count)
{
    int32_t topics = 0;
    for (size_t i = 0; i < count; i += count_of_first_topic(about + i, count - i))
        topics++;
    return topics;
}

/* ---- Begins and ends ---- */

static void take_offsets(struct round *r, struct ask *a, bool ends)
{
    const struct list_offsets_response *response = a->response;
    bool all = true;
    for (int32_t t = 0; t < response->topics.len; t++) {
        const struct list_offsets_topic_response *from = &response->topics.items[t];
        struct look_topic *topic = look_topic(r->look, from->name);
        for (int32_t i = 0; topic != NULL && i < from->partitions.len; i++) {
            const struct list_offsets_partition_response *answer = &from->partitions.items[i];
            struct look_partition *p = look_partition(topic, answer->partition_index);
            all &= answer->error_code == ERR_NONE;
            if (p != NULL && answer->error_code == ERR_NONE)
                *(ends ? &p->end : &p->begin) = answer->offset;
        }
    }
    r->look->unanswered += !all;
}

static void take_begins(struct round *r, struct ask *a)
{
    take_offsets(r, a, false);
}

static void take_ends(struct round *r, struct ask *a)
{
    take_offsets(r, a, true);
}

static void round_ask_ends(struct round *r, const struct place *about, size_t count, int64_t timestamp)
{
    struct ask *a = round_ask_new(r, about->leader, API_LIST_OFFSETS, timestamp == LATEST ? take_ends : take_begins);
    struct list_offsets_request *request = a->request;
    a->call.least = 1;
    request->replica_id = -1;
    ARRAY_MAKE(&a->memory, request->topics, count_topics(about, count));
    for (int32_t t = 0; count > 0; t++) {
        struct list_offsets_topic *topic = &request->topics.items[t];
        size_t n = count_of_first_topic(about, count);
        list_offsets_topic_init(topic);
        topic->name = str_of(about->topic->topic->name);
        ARRAY_MAKE(&a->memory, topic->partitions, (int32_t)n);
        for (size_t i = 0; i < n; i++) {
            list_offsets_partition_init(&topic->partitions.items[i]);
            topic->partitions.items[i].partition_index = about[i].partition;
            topic->partitions.items[i].timestamp = timestamp;
        }
        about += n;
        count -= n;
    }
    round_ask(r, a);
}

static bool any_commit(const struct look_group_topic *t UNUSED, const struct look_commit *c UNUSED)
{
    return true;
}

static void drop_repeated(struct round *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->place_count; i++)
        if (kept == 0 || compare_partitions(&r->places[kept - 1], &r->places[i]) != 0)
            r->places[kept++] = r->places[i];
    r->place_count = kept;
}

/* Whose beginning is wanted, too. */
static bool is_told_of(const struct round *r, int32_t leader)
{
    return r->look->scope == LOOK_ALL || leader == r->look->broker_id;
}

void round_ask_offsets(struct round *r)
{
    for (int32_t t = 0; t < r->look->view->topic_count; t++) {
        const struct view_topic *topic = r->look->topics[t].topic;
        for (int32_t p = 0; p < topic->partition_count; p++)
            if (is_told_of(r, topic->partitions[p].leader))
                add_place(r, &r->look->topics[t], topic->partitions[p].index, NULL);
    }
    if (r->look->scope != LOOK_ALL)
        add_commits(r, any_commit);
    if (r->place_count == 0)
        return;
    qsort(r->places, r->place_count, sizeof(*r->places), by_place);
    drop_repeated(r);
    for (size_t i = 0, n; i < r->place_count; i += n) {
        n = count_together(r, i, OFFSETS_AT_ONCE);
        round_ask_ends(r, &r->places[i], n, LATEST);
        if (is_told_of(r, r->places[i].leader))
            round_ask_ends(r, &r->places[i], n, EARLIEST);
    }
}

/* ---- Since when records wait ---- */

static int by_partition_of_ask(const void *key, const void *member)
{
    return compare_partitions(key, member);
}

static void take_time(const struct ask *a, const struct look_topic *topic, const struct fetch_partition_data *from)
{
    struct place key = {.topic = topic, .partition = from->partition_index};
    const struct place *at = bsearch(&key, a->about, a->about_count, sizeof(key), by_partition_of_ask);
    if (at == NULL || from->error_code != ERR_NONE)
        return;
    while (at > a->about && compare_partitions(at - 1, &key) == 0)
        at--;
    for (const struct place *end = a->about + a->about_count; at < end && compare_partitions(at, &key) == 0; at++)
        look_take_first(at->commit, from->records.mem);
}

static void take_times(struct round *r, struct ask *a)
{
    const struct fetch_response *response = a->response;
    for (int32_t t = 0; t < response->responses.len; t++) {
        const struct fetch_fetchable_topic_response *from = &response->responses.items[t];
        const struct view_topic *known = from->topic.len > 0 ? NULL : view_topic_by_id(r->look->view, from->topic_id);
        const struct look_topic *topic = look_topic(r->look, known != NULL ? str_of(known->name) : from->topic);
        for (int32_t i = 0; topic != NULL && i < from->partitions.len; i++)
            take_time(a, topic, &from->partitions.items[i]);
    }
}

/* Of places in one partition with one offset there is one in the request. */
static void add_fetches(struct ask *a, struct fetch_topic *topic, const struct place *about, size_t n)
{
    ARRAY_MAKE(&a->memory, topic->partitions, (int32_t)n);
    topic->partitions.len = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && about[i].partition == about[i - 1].partition)
            continue;
        struct fetch_partition *p = &topic->partitions.items[topic->partitions.len++];
        fetch_partition_init(p);
        p->partition = about[i].partition;
        p->current_leader_epoch = -1;
        p->fetch_offset = about[i].commit->first;
        p->partition_max_bytes = BATCH_BYTES;
    }
}

static void ask_times(struct round *r, const struct place *about, size_t count)
{
    struct ask *a = round_ask_new(r, about->leader, API_FETCH, take_times);
    struct fetch_request *request = a->request;
    a->call.least = 4;
    a->about = about;
    a->about_count = count;
    request->replica_id = -1;
    request->session_epoch = -1; /* without one */
    request->max_bytes = FETCHES_AT_ONCE * BATCH_BYTES;
    ARRAY_MAKE(&a->memory, request->topics, count_topics(about, count));
    for (int32_t t = 0; count > 0; t++) {
        struct fetch_topic *topic = &request->topics.items[t];
        size_t n = count_of_first_topic(about, count);
        fetch_topic_init(topic);
        topic->topic = str_of(about->topic->topic->name);
        topic->topic_id = about->topic->topic->id;
        add_fetches(a, topic, about, n);
        about += n;
        count -= n;
    }
    round_ask(r, a);
}

static bool has_untimed(const struct look_group_topic *t, const struct look_commit *c)
{
    return look_waits(t, c) && c->timestamp == LOOK_UNKNOWN;
}

static int by_time_asked(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return compare_numbers(x->commit->asked_ms, y->commit->asked_ms);
}

/* Those that were asked about longest ago, no more than so many. */
static void choose_places(struct round *r, size_t most)
{
    int64_t now = clock_wall_ms();
    if (r->place_count > most)
        qsort(r->places, r->place_count, sizeof(*r->places), by_time_asked);
    r->place_count = MIN(r->place_count, most);
    for (size_t i = 0; i < r->place_count; i++)
        r->places[i].commit->asked_ms = now;
}

/* What has the same offset in the same partition has the same turn. */
static void give_turns(struct round *r)
{
    for (size_t i = 1; i < r->place_count; i++) {
        struct place *p = &r->places[i];
        if (compare_partitions(p - 1, p) == 0)
            p->turn = p[-1].turn + (p->commit->first != p[-1].commit->first);
    }
}

static void ask_timestamps(struct round *r, size_t most, size_t at_once)
{
    r->place_count = 0;
    add_commits(r, has_untimed);
    if (r->place_count == 0)
        return;
    choose_places(r, most);
    qsort(r->places, r->place_count, sizeof(*r->places), by_place);
    give_turns(r);
    qsort(r->places, r->place_count, sizeof(*r->places), by_turn);
    for (size_t i = 0, n; i < r->place_count; i += n) {
        n = count_together(r, i, at_once);
        ask_times(r, &r->places[i], n);
    }
}

void round_ask_timestamps(struct round *r)
{
    for (size_t i = 0; i < ARRAY_LEN(r->before); i++)
        if (r->before[i] != NULL)
            look_remember_firsts(r->look, r->before[i], clock_wall_ms());
    ask_timestamps(r, MOST_FETCHES, FETCHES_AT_ONCE);
}

/* Who asks for one partition gets its first batch, however large it is (KIP-74). */
void round_ask_timestamps_alone(struct round *r)
{
    ask_timestamps(r, MOST_ALONE, 1);
}
