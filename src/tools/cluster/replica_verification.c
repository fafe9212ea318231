/* kafka-replica-verification: fetches the same partitions from all of their replicas, and compares what comes. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocol/error.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/list_offsets.h"
#include "record/record.h"
#include "tools/kit/ask.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"broker-list", OPTION_VALUE, "hostname:port,...,hostname:port",
     "REQUIRED unless --bootstrap-server is given: The server(s) to connect to.", NULL},
    {"bootstrap-server", OPTION_VALUE, "hostname:port,...,hostname:port", "The same as --broker-list.", NULL},
    {"fetch-size", OPTION_VALUE, "bytes", "The fetch size of each request.", "1048576"},
    {"max-wait-ms", OPTION_VALUE, "ms", "The max amount of time each fetch request waits.", "1000"},
    {"topic-white-list", OPTION_VALUE, "Java regex (String)",
     "DEPRECATED, use --topics-include instead. The topics whose replicas are compared.", ".*"},
    {"topics-include", OPTION_VALUE, "Java regex (String)", "The topics whose replicas are compared.", ".*"},
    {"time", OPTION_VALUE, "timestamp/-1(latest)/-2(earliest)", "Timestamp for getting the initial offsets.", "-1"},
    {"report-interval-ms", OPTION_VALUE, "ms", "The reporting interval.", "30000"},
};

static const char purpose[] = "Validate that all replicas for a set of topics have the same data.";

enum {
    DEBUGGING_CONSUMER_ID = -2, /* may fetch from followers */
    TIME_LATEST = -1,
    CRC_AT = 17,
    OLD_CRC_AT = 12, /* of messages v0 and v1 */
    LONGEST_PAUSE_MS = 1000,
};

struct copy { /* what a replica has sent in this round */
    int32_t replica;
    int64_t high_watermark;
    struct bytes rest;
};

struct part {
    int32_t leader;
    int64_t offset; /* up to here all replicas are the same */
    struct copy *copies;
    int32_t copy_count;
};

struct topic {
    struct str name;
    struct uuid id;
    struct part *parts; /* by index */
    int32_t part_count;
};

struct verification {
    struct asker *asker;
    struct arena arena;
    struct topic *topics; /* by name */
    struct topic **by_id;
    int32_t topic_count, part_count;
    int32_t *brokers; /* that have a replica */
    int32_t broker_count;
    int64_t fetch_size, max_wait_ms, start_time, report_interval_ms;
    int64_t reported_ms;
    bool in_trouble; /* somebody could not be fetched from in this round */
};

/* ---- What to compare ---- */

static void add_broker(struct verification *v, int32_t id)
{
    for (int32_t i = 0; i < v->broker_count; i++)
        if (v->brokers[i] == id)
            return;
    v->brokers[v->broker_count++] = id;
}

static bool replica_verification_is_alive(const struct metadata_response *m, int32_t broker)
{
    for (int32_t i = 0; i < m->brokers.len; i++)
        if (m->brokers.items[i].node_id == broker)
            return true;
    return false;
}

static int replica_verification_by_replica(const void *a, const void *b)
{
    const struct copy *x = a, *y = b;
    return (x->replica > y->replica) - (x->replica < y->replica);
}

static bool add_part(struct verification *v, struct topic *t, const struct metadata_response_partition *p,
                     const struct metadata_response *m, struct fail *fail)
{
    if (p->partition_index < 0 || p->partition_index >= t->part_count)
        return fail_set(fail, "The partitions of topic %.*s are not numbered from 0 on", STR_ARGS(t->name));
    struct part *part = &t->parts[p->partition_index];
    *part = (struct part){.leader = p->leader_id,
                          .copies = ARENA_ARRAY(&v->arena, struct copy, p->replica_nodes.len + 1),
                          .copy_count = p->replica_nodes.len};
    for (int32_t i = 0; i < p->replica_nodes.len; i++) {
        int32_t broker = p->replica_nodes.items[i];
        if (!replica_verification_is_alive(m, broker))
            return fail_set(fail, "Broker %" PRId32 ", which has a replica of %.*s-%" PRId32 ", is not there", broker,
                            STR_ARGS(t->name), p->partition_index);
        part->copies[i].replica = broker;
        add_broker(v, broker);
    }
    if (part->copy_count > 0)
        qsort(part->copies, (size_t)part->copy_count, sizeof(*part->copies), replica_verification_by_replica);
    v->part_count++;
    return true;
}

static int replica_verification_by_name(const void *a, const void *b)
{
    return str_cmp(((const struct topic *)a)->name, ((const struct topic *)b)->name);
}

static int replica_verification_by_id(const void *a, const void *b)
{
    const struct topic *const *x = a, *const *y = b;
    return memcmp(&(*x)->id, &(*y)->id, sizeof(struct uuid));
}

static void sort_topics(struct verification *v)
{
    v->by_id = ARENA_ARRAY(&v->arena, struct topic *, v->topic_count + 1);
    qsort(v->topics, (size_t)v->topic_count, sizeof(*v->topics), replica_verification_by_name);
    for (int32_t i = 0; i < v->topic_count; i++)
        v->by_id[i] = &v->topics[i];
    qsort(v->by_id, (size_t)v->topic_count, sizeof(*v->by_id), replica_verification_by_id);
}

static bool replica_verification_choose(struct verification *v, const struct pattern *include, struct fail *fail)
{
    struct metadata_response m;
    if (!ask_metadata(v->asker, NULL, -1, &m, &v->arena, fail))
        return false;
    v->topics = ARENA_ARRAY(&v->arena, struct topic, m.topics.len + 1);
    v->brokers = ARENA_ARRAY(&v->arena, int32_t, m.brokers.len + 1);
    for (int32_t i = 0; i < m.topics.len; i++) {
        const struct metadata_response_topic *t = &m.topics.items[i];
        if (t->error_code != ERR_NONE || !pattern_matches(include, t->name))
            continue;
        struct topic *to = &v->topics[v->topic_count++];
        *to = (struct topic){t->name, t->topic_id, ARENA_ARRAY(&v->arena, struct part, t->partitions.len + 1),
                             t->partitions.len};
        for (int32_t p = 0; p < t->partitions.len; p++)
            if (!add_part(v, to, &t->partitions.items[p], &m, fail))
                return false;
    }
    sort_topics(v);
    return v->part_count > 0 || fail_set(fail, "No topics found. [topics-include] if specified, is either filtering "
                                               "out all topics or there is no topic.");
}

/* ---- Where to start ---- */

static void fill_list_offsets(const struct verification *v, int32_t leader, int64_t at, struct arena *a,
                              struct list_offsets_request *out)
{
    list_offsets_request_init(out);
    out->replica_id = -1;
    ARRAY_MAKE(a, out->topics, v->topic_count);
    for (int32_t i = 0; i < v->topic_count; i++) {
        const struct topic *t = &v->topics[i];
        struct list_offsets_topic *to = &out->topics.items[i];
        list_offsets_topic_init(to);
        to->name = t->name;
        ARRAY_MAKE(a, to->partitions, t->part_count);
        to->partitions.len = 0;
        for (int32_t p = 0; p < t->part_count; p++) {
            if (t->parts[p].leader != leader || t->parts[p].offset >= 0)
                continue;
            struct list_offsets_partition *part = &to->partitions.items[to->partitions.len++];
            list_offsets_partition_init(part);
            part->partition_index = p;
            part->timestamp = at;
        }
    }
}

/* By its name, or by its id where it comes without one. */
static struct topic *replica_verification_find_topic(const struct verification *v, struct str name, struct uuid id)
{
    struct topic key = {.name = name, .id = id}, *to_key = &key, **found;
    if (name.len > 0)
        return bsearch(&key, v->topics, (size_t)v->topic_count, sizeof(key), replica_verification_by_name);
    found = bsearch(&to_key, v->by_id, (size_t)v->topic_count, sizeof(to_key), replica_verification_by_id);
    return found != NULL ? *found : NULL;
}

static bool replica_verification_take_offsets(struct verification *v, const struct list_offsets_response *r,
                                              struct fail *fail)
{
    for (int32_t i = 0; i < r->topics.len; i++) {
        struct topic *t = replica_verification_find_topic(v, r->topics.items[i].name, UUID_ZERO);
        for (int32_t p = 0; t != NULL && p < r->topics.items[i].partitions.len; p++) {
            const struct list_offsets_partition_response *part = &r->topics.items[i].partitions.items[p];
            if (part->error_code != ERR_NONE)
                return fail_set(fail, "%.*s-%" PRId32 ": %s", STR_ARGS(t->name), part->partition_index,
                                error_message(part->error_code));
            if (part->partition_index >= 0 && part->partition_index < t->part_count)
                t->parts[part->partition_index].offset = part->offset;
        }
    }
    return true;
}

/* Of the partitions whose offset is not known. */
static bool ask_offsets(struct verification *v, int64_t at, struct fail *fail)
{
    for (int32_t i = 0; i < v->broker_count; i++) {
        struct list_offsets_request request;
        struct list_offsets_response response;
        fill_list_offsets(v, v->brokers[i], at, &v->arena, &request);
        if (!ask(v->asker, v->brokers[i], API_LIST_OFFSETS, 1, &request, &response, NULL, &v->arena, fail) ||
            !replica_verification_take_offsets(v, &response, fail))
            return false;
    }
    return true;
}

/* A partition that has no record of that time or later is looked at from its end on. */
static bool find_offsets(struct verification *v, struct fail *fail)
{
    for (int32_t i = 0; i < v->topic_count; i++)
        for (int32_t p = 0; p < v->topics[i].part_count; p++)
            v->topics[i].parts[p].offset = -1;
    if (!ask_offsets(v, v->start_time, fail) || !ask_offsets(v, TIME_LATEST, fail))
        return false;
    for (int32_t i = 0; i < v->topic_count; i++)
        for (int32_t p = 0; p < v->topics[i].part_count; p++)
            if (v->topics[i].parts[p].offset < 0)
                return fail_set(fail, "%.*s-%" PRId32 " has no leader", STR_ARGS(v->topics[i].name), p);
    return true;
}

/* ---- Fetching ---- */

static struct copy *find_copy(const struct part *p, int32_t replica)
{
    for (int32_t i = 0; i < p->copy_count; i++)
        if (p->copies[i].replica == replica)
            return &p->copies[i];
    return NULL;
}

static void fill_fetch_topic(const struct verification *v, const struct topic *t, int32_t broker, struct arena *a,
                             struct fetch_topic *out)
{
    fetch_topic_init(out);
    out->topic = t->name;
    out->topic_id = t->id;
    ARRAY_MAKE(a, out->partitions, t->part_count);
    out->partitions.len = 0;
    for (int32_t p = 0; p < t->part_count; p++) {
        if (find_copy(&t->parts[p], broker) == NULL)
            continue;
        struct fetch_partition *part = &out->partitions.items[out->partitions.len++];
        fetch_partition_init(part);
        part->partition = p;
        part->fetch_offset = t->parts[p].offset;
        part->log_start_offset = 0;
        part->partition_max_bytes = (int32_t)v->fetch_size;
    }
}

static struct fetch_request *make_fetch(const struct verification *v, int32_t broker, struct arena *a)
{
    struct fetch_request *f = ARENA_NEW(a, struct fetch_request);
    fetch_request_init(f);
    f->replica_id = f->replica_state.replica_id = DEBUGGING_CONSUMER_ID;
    f->max_wait_ms = (int32_t)v->max_wait_ms;
    f->min_bytes = 1;
    ARRAY_MAKE(a, f->topics, v->topic_count);
    f->topics.len = 0;
    for (int32_t i = 0; i < v->topic_count; i++) {
        struct fetch_topic *t = &f->topics.items[f->topics.len];
        fill_fetch_topic(v, &v->topics[i], broker, a, t);
        f->topics.len += t->partitions.len > 0;
    }
    return f;
}

static void replica_verification_take_partition(struct verification *v, const struct topic *t, int32_t broker,
                                                const struct fetch_partition_data *p)
{
    if (t == NULL || p->partition_index < 0 || p->partition_index >= t->part_count)
        return;
    struct copy *c = find_copy(&t->parts[p->partition_index], broker);
    if (c == NULL)
        return;
    c->high_watermark = p->high_watermark;
    c->rest = p->records.mem;
    v->in_trouble |= p->error_code != ERR_NONE;
}

static void take_fetched(struct verification *v, int32_t broker, const struct fetch_response *r)
{
    v->in_trouble |= r->error_code != ERR_NONE;
    for (int32_t i = 0; i < r->responses.len; i++) {
        const struct fetch_fetchable_topic_response *t = &r->responses.items[i];
        const struct topic *known = replica_verification_find_topic(v, t->topic, t->topic_id);
        for (int32_t p = 0; p < t->partitions.len; p++)
            replica_verification_take_partition(v, known, broker, &t->partitions.items[p]);
    }
}

static void forget_copies(struct verification *v)
{
    v->in_trouble = false;
    for (int32_t i = 0; i < v->topic_count; i++)
        for (int32_t p = 0; p < v->topics[i].part_count; p++)
            for (int32_t c = 0; c < v->topics[i].parts[p].copy_count; c++) {
                struct copy *copy = &v->topics[i].parts[p].copies[c];
                *copy = (struct copy){.replica = copy->replica, .high_watermark = -1};
            }
}

/* A broker that does not answer has nothing: the comparison waits for it. */
static void fetch_all(struct verification *v, struct arena *a)
{
    struct question *questions = ARENA_ARRAY(a, struct question, v->broker_count);
    struct fetch_response *responses = ARENA_ARRAY(a, struct fetch_response, v->broker_count);
    forget_copies(v);
    for (int32_t i = 0; i < v->broker_count; i++) {
        questions[i].broker = v->brokers[i];
        questions[i].request = make_fetch(v, v->brokers[i], a);
        questions[i].response = &responses[i];
    }
    ask_all(v->asker, API_FETCH, questions, v->broker_count, a);
    for (int32_t i = 0; i < v->broker_count; i++) {
        v->in_trouble |= !questions[i].ok;
        if (questions[i].ok)
            take_fetched(v, v->brokers[i], &responses[i]);
    }
}

/* ---- Comparing ---- */

static void replica_verification_print_time(int64_t ms)
{
    char text[32];
    time_t seconds = (time_t)(ms / 1000);
    struct tm local;
    localtime_r(&seconds, &local);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    printf("%s,%03d: ", text, (int)(ms % 1000));
}

static uint32_t checksum(const struct batch *b)
{
    return be32_get(b->p + (b->magic >= 2 ? CRC_AT : OLD_CRC_AT));
}

enum step { STEP_SAME, STEP_END, STEP_FAILED };

/* The next batch that the replica has below its high watermark. */
static enum step next_batch(const struct topic *t, int32_t index, struct copy *c, struct batch *out, struct fail *fail)
{
    enum batch_result result = batch_next(&c->rest, out);
    if (result == BATCH_CORRUPT) {
        fail_set(fail, "Error in processing replica %" PRId32 " in partition %.*s-%" PRId32 " at offset %" PRId64,
                 c->replica, STR_ARGS(t->name), index, t->parts[index].offset);
        return STEP_FAILED;
    }
    return result == BATCH_OK && out->last_offset < c->high_watermark ? STEP_SAME : STEP_END;
}

static enum step replica_verification_compare(const struct topic *t, int32_t index, int32_t first_replica,
                                              const struct batch *first, int32_t replica, const struct batch *b)
{
    if (first->last_offset != b->last_offset) {
        replica_verification_print_time(clock_wall_ms());
        printf("partition %.*s-%" PRId32 ": replica %" PRId32 "'s offset %" PRId64 " doesn't match replica %" PRId32
               "'s offset %" PRId64 "\n",
               STR_ARGS(t->name), index, first_replica, first->last_offset, replica, b->last_offset);
        return STEP_FAILED;
    }
    if (checksum(first) != checksum(b)) {
        replica_verification_print_time(clock_wall_ms());
        printf("partition %.*s-%" PRId32 " has unmatched checksum at offset %" PRId64 "; replica %" PRId32
               "'s checksum %" PRIu32 "; replica %" PRId32 "'s checksum %" PRIu32 "\n",
               STR_ARGS(t->name), index, b->last_offset, first_replica, checksum(first), replica, checksum(b));
    }
    return STEP_SAME;
}

/* One batch of each replica. STEP_END when one of them has no more. */
static enum step compare_next(const struct topic *t, int32_t index, int64_t *next_offset, struct fail *fail)
{
    const struct part *p = &t->parts[index];
    const struct copy *first = NULL;
    struct batch first_batch = {0}, b;
    enum step all = STEP_SAME;
    for (int32_t i = 0; i < p->copy_count; i++) {
        struct copy *c = &p->copies[i];
        enum step step = next_batch(t, index, c, &b, fail);
        if (step == STEP_SAME && first != NULL)
            step = replica_verification_compare(t, index, first->replica, &first_batch, c->replica, &b);
        if (step == STEP_FAILED)
            return STEP_FAILED;
        if (step == STEP_END) {
            all = STEP_END;
        } else if (first == NULL) {
            first = c;
            first_batch = b;
        }
    }
    *next_offset = first_batch.last_offset + 1;
    return first != NULL ? all : STEP_END;
}

struct lag { /* the largest that was found */
    int64_t size, offset;
    const struct topic *topic;
    int32_t index;
};

static bool compare_part(const struct topic *t, int32_t index, struct lag *most, struct fail *fail)
{
    struct part *p = &t->parts[index];
    int64_t next_offset = 0, high_watermark = -1;
    enum step step;
    while ((step = compare_next(t, index, &next_offset, fail)) == STEP_SAME)
        p->offset = next_offset;
    for (int32_t i = 0; i < p->copy_count; i++)
        high_watermark = MAX(high_watermark, p->copies[i].high_watermark);
    if (high_watermark - p->offset > most->size)
        *most = (struct lag){high_watermark - p->offset, p->offset, t, index};
    return step != STEP_FAILED;
}

static void replica_verification_report(struct verification *v, const struct lag *most)
{
    int64_t now = clock_wall_ms();
    if (now - v->reported_ms <= v->report_interval_ms)
        return;
    replica_verification_print_time(now);
    printf("max lag is %" PRId64 " for partition ", most->size);
    if (most->topic != NULL)
        printf("%.*s-%" PRId32, STR_ARGS(most->topic->name), most->index);
    else
        printf("null");
    printf(" at offset %" PRId64 " among %" PRId32 " partitions\n", most->offset, v->part_count);
    v->reported_ms = now;
}

static bool compare_all(struct verification *v, struct fail *fail)
{
    struct lag most = {.size = -1, .offset = -1};
    for (int32_t i = 0; i < v->topic_count; i++)
        for (int32_t p = 0; p < v->topics[i].part_count; p++)
            if (!compare_part(&v->topics[i], p, &most, fail))
                return false;
    replica_verification_report(v, &most);
    return true;
}

/* ---- The tool ---- */

/* Goes on until a signal ends it, a difference of offsets is found, or nobody reads its output any more. */
static bool replica_verification_go_on(struct verification *v, struct fail *fail)
{
    bool ok = true;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    v->reported_ms = clock_wall_ms();
    replica_verification_print_time(v->reported_ms);
    puts("verification process is started");
    while (ok && !ferror(stdout)) {
        struct arena round = {0};
        fetch_all(v, &round);
        ok = compare_all(v, fail);
        arena_deinit(&round);
        if (v->in_trouble) /* brokers answer this without waiting */
            usleep((useconds_t)MIN(v->max_wait_ms, LONGEST_PAUSE_MS) * 1000);
    }
    return ok;
}

static bool replica_verification_run(const struct options *o, struct verification *v, struct fail *fail)
{
    const char *servers = options_get(o, options_has(o, "broker-list") ? "broker-list" : "bootstrap-server"),
               *include = options_get(o, options_has(o, "topics-include") ? "topics-include" : "topic-white-list");
    struct pattern *pattern = pattern_new(include, fail);
    v->asker = pattern != NULL ? asker_new(servers, NULL, fail) : NULL;
    bool ok = v->asker != NULL && replica_verification_choose(v, pattern, fail) && find_offsets(v, fail) &&
              replica_verification_go_on(v, fail);
    asker_free(v->asker);
    pattern_free(pattern);
    return ok;
}

static bool read_arguments(const struct options *o, struct verification *v)
{
    return (options_has(o, "bootstrap-server") || options_need(o, "broker-list")) &&
           options_not_both(o, "topics-include", "topic-white-list") &&
           options_number(o, "fetch-size", 0, INT32_MAX, &v->fetch_size) &&
           options_number(o, "max-wait-ms", 0, INT32_MAX, &v->max_wait_ms) &&
           options_number(o, "time", INT64_MIN, INT64_MAX, &v->start_time) &&
           options_number(o, "report-interval-ms", INT64_MIN, INT64_MAX, &v->report_interval_ms);
}

int tool_replica_verification(int argc, char **argv)
{
    struct options o;
    struct fail fail = {.text = ""};
    struct verification v = {0};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    if (code < 0) {
        code = read_arguments(&o, &v) && replica_verification_run(&o, &v, &fail) ? 0 : 1;
        if (fail.text[0] != '\0')
            fprintf(stderr, "%s\n", fail.text);
    }
    arena_deinit(&v.arena);
    options_free(&o);
    return code;
}
