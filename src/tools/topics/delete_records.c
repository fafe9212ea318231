/* kafka-delete-records: moves the start of partitions forward, to the offsets that a file gives. */
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/topic_key.h"
#include "protocol/error.h"
#include "protocol/msg/delete_records.h"
#include "tools/kit/ask.h"
#include "tools/kit/json_input.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server(s) to use for bootstrapping", "REQUIRED: The server to connect to.",
     NULL},
    {"offset-json-file", OPTION_VALUE, "Offset json file path",
     "REQUIRED: The JSON file with offset per partition. The format to use is:\n{\"partitions\":\n  [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}],\n \"version\":1\n}",
     NULL},
    {"command-config", OPTION_VALUE, "command config property file path",
     "A property file containing configs to be passed to Admin Client.", NULL},
};

static const char purpose[] = "This tool helps to delete records of the given partitions down to the specified offset.";

struct deletion {
    struct str topic;
    int32_t partition, leader;
    int64_t offset, low_watermark;
    int16_t error;
    struct str why; /* in other words than the error's; null: there are none */
};

struct deletions { /* by topic and partition */
    struct deletion *v;
    int32_t n;
};

/* ---- What to delete ---- */

static int delete_records_tool_by_partition(const void *a, const void *b)
{
    const struct deletion *x = a, *y = b;
    return partition_order(x->topic, x->partition, y->topic, y->partition);
}

static bool delete_records_tool_check_duplicates(struct deletions *all, struct arena *a, struct fail *fail)
{
    struct str list = STR_NULL;
    qsort(all->v, (size_t)all->n, sizeof(*all->v), delete_records_tool_by_partition);
    for (int32_t i = 1; i < all->n; i++) {
        const struct deletion *d = &all->v[i];
        bool again = delete_records_tool_by_partition(d - 1, d) == 0,
             noted = i > 1 && delete_records_tool_by_partition(d - 2, d) == 0;
        if (again && !noted)
            list = arena_printf(a, "%.*s%s%.*s-%" PRId32, STR_ARGS(list), list.len > 0 ? "," : "", STR_ARGS(d->topic),
                                d->partition);
    }
    return list.len == 0 ||
           fail_set(fail, "Offset json file contains duplicate topic partitions: %.*s", STR_ARGS(list));
}

static bool delete_records_tool_read_one(const json_t *at, struct arena *a, struct deletion *out, struct fail *fail)
{
    const json_t *offset;
    *out = (struct deletion){.leader = -1, .error = ERR_LEADER_NOT_AVAILABLE};
    return json_input_topic(at, a, &out->topic, fail) && json_input_partition(at, &out->partition, fail) &&
           json_input_field(at, "offset", &offset, fail) && json_input_long(offset, &out->offset, fail);
}

static bool delete_records_tool_read_file(const char *path, struct arena *a, struct deletions *out, struct fail *fail)
{
    const json_t *partitions = NULL;
    json_t *json = json_input_read(path, fail);
    bool ok = json != NULL && json_input_version(json, fail) && json_input_array(json, "partitions", &partitions, fail);
    if (ok && partitions == NULL)
        ok = fail_set(fail, "Missing partitions field");
    out->v = ARENA_ARRAY(a, struct deletion, json_array_size(partitions) + 1);
    for (size_t i = 0; ok && i < json_array_size(partitions); i++)
        ok = delete_records_tool_read_one(json_array_get(partitions, i), a, &out->v[out->n++], fail);
    json_decref(json);
    return ok && delete_records_tool_check_duplicates(out, a, fail);
}

/* ---- Asking the leaders ---- */

static struct deletion *delete_records_tool_find(const struct deletions *all, struct str topic, int32_t partition)
{
    struct deletion wanted = {.topic = topic, .partition = partition};
    return all->n > 0 ? bsearch(&wanted, all->v, (size_t)all->n, sizeof(wanted), delete_records_tool_by_partition)
                      : NULL;
}

/* Apache's tool asks again, for as long as it may take, where others may lead soon, or the same one do better. */
static bool is_worth_a_retry(int16_t error)
{
    return error == ERR_NOT_LEADER_OR_FOLLOWER || error == ERR_LEADER_NOT_AVAILABLE ||
           error == ERR_REPLICA_NOT_AVAILABLE || error == ERR_BROKER_NOT_AVAILABLE ||
           error == ERR_KAFKA_STORAGE_ERROR || error == ERR_REQUEST_TIMED_OUT;
}

static struct deletions what_is_open(const struct deletions *all, struct arena *a)
{
    struct deletions open = {ARENA_ARRAY(a, struct deletion, all->n + 1), 0};
    for (int32_t i = 0; i < all->n; i++)
        if (is_worth_a_retry(all->v[i].error))
            open.v[open.n++] = all->v[i];
    return open;
}

static void keep_outcomes(const struct deletions *open, const struct deletions *all, struct arena *a)
{
    for (int32_t i = 0; i < open->n; i++) {
        struct deletion *d = delete_records_tool_find(all, open->v[i].topic, open->v[i].partition);
        ensure(d != NULL);
        *d = open->v[i];
        d->why = arena_str(a, d->why);
    }
}

static void note_topic_error(const struct deletions *open, const struct metadata_response_topic *t)
{
    for (int32_t i = 0; t->error_code != ERR_NONE && i < open->n; i++)
        if (str_eq(open->v[i].topic, t->name))
            open->v[i].error = t->error_code;
}

static bool delete_records_tool_find_leaders(struct asker *asker, const struct deletions *open,
                                             struct metadata_response *m, struct arena *a, struct fail *fail)
{
    struct str *topics = ARENA_ARRAY(a, struct str, open->n + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < open->n; i++)
        if (n == 0 || !str_eq(topics[n - 1], open->v[i].topic))
            topics[n++] = open->v[i].topic;
    if (!ask_metadata(asker, topics, n, m, a, fail))
        return false;
    for (int32_t i = 0; i < open->n; i++) {
        open->v[i].leader = -1;
        open->v[i].error = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        open->v[i].why = STR_NULL;
    }
    for (int32_t i = 0; i < m->topics.len; i++) {
        note_topic_error(open, &m->topics.items[i]);
        for (int32_t p = 0; p < m->topics.items[i].partitions.len; p++) {
            const struct metadata_response_partition *part = &m->topics.items[i].partitions.items[p];
            struct deletion *d = delete_records_tool_find(open, m->topics.items[i].name, part->partition_index);
            if (d == NULL)
                continue;
            d->leader = part->leader_id;
            d->error = ERR_LEADER_NOT_AVAILABLE;
        }
    }
    return true;
}

/* One entry a partition: brokers take topics that come more than once. */
static void delete_records_tool_make_request(const struct deletions *open, int32_t leader, int32_t timeout_ms,
                                             struct arena *a, struct delete_records_request *out)
{
    delete_records_request_init(out);
    out->timeout_ms = timeout_ms;
    ARRAY_MAKE(a, out->topics, open->n);
    out->topics.len = 0;
    for (int32_t i = 0; i < open->n; i++) {
        const struct deletion *d = &open->v[i];
        if (d->leader != leader)
            continue;
        struct delete_records_topic *t = &out->topics.items[out->topics.len++];
        delete_records_topic_init(t);
        t->name = d->topic;
        ARRAY_MAKE(a, t->partitions, 1);
        t->partitions.items[0].partition_index = d->partition;
        t->partitions.items[0].offset = d->offset;
    }
}

static void delete_records_tool_take_answer(const struct deletions *open, const struct delete_records_response *r)
{
    for (int32_t i = 0; i < r->topics.len; i++)
        for (int32_t p = 0; p < r->topics.items[i].partitions.len; p++) {
            const struct delete_records_partition_result *part = &r->topics.items[i].partitions.items[p];
            struct deletion *d = delete_records_tool_find(open, r->topics.items[i].name, part->partition_index);
            if (d == NULL)
                continue;
            d->error = part->error_code;
            d->low_watermark = part->low_watermark;
        }
}

static void note_silence(const struct deletions *open, const struct question *q)
{
    for (int32_t i = 0; i < open->n; i++)
        if (open->v[i].leader == q->broker) {
            open->v[i].error = ERR_REQUEST_TIMED_OUT;
            open->v[i].why = str_of(q->fail.text);
        }
}

static void ask_leaders(struct asker *asker, const struct deletions *open, const struct metadata_response *m,
                        struct arena *a)
{
    struct question *all = ARENA_ARRAY(a, struct question, m->brokers.len + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < m->brokers.len; i++) {
        struct delete_records_request *request = ARENA_NEW(a, struct delete_records_request);
        int32_t id = m->brokers.items[i].node_id;
        delete_records_tool_make_request(open, id, ask_timeout_ms(asker), a, request);
        if (request->topics.len > 0)
            all[n++] = (struct question){
                .broker = id, .request = request, .response = ARENA_NEW(a, struct delete_records_response)};
    }
    ask_all(asker, API_DELETE_RECORDS, all, n, a);
    for (int32_t i = 0; i < n; i++)
        if (all[i].ok)
            delete_records_tool_take_answer(open, all[i].response);
        else
            note_silence(open, &all[i]);
}

/* Those that nothing has come of yet. False: nobody says who leads them. */
static bool delete_once(struct asker *asker, const struct deletions *all, struct arena *a, bool *done,
                        struct fail *fail)
{
    struct arena round = {0};
    struct metadata_response m;
    struct deletions open = what_is_open(all, &round);
    bool ok = open.n == 0 || delete_records_tool_find_leaders(asker, &open, &m, &round, fail);
    if (ok && open.n > 0) {
        ask_leaders(asker, &open, &m, &round);
        keep_outcomes(&open, all, a);
    }
    *done = ok && what_is_open(all, &round).n == 0;
    arena_deinit(&round);
    return ok;
}

/* What has been done before nobody answers any more is told of all the same. */
static bool delete_records_tool_work(struct asker *asker, const struct deletions *all, struct arena *a,
                                     struct fail *fail)
{
    enum { RETRY_US = 200 * 1000 };
    int64_t deadline = clock_mono_ms() + ask_patience_ms(asker);
    bool done, ok = delete_once(asker, all, a, &done, fail);
    while (ok && !done && clock_mono_ms() < deadline) {
        usleep(RETRY_US);
        if (!delete_once(asker, all, a, &done, NULL))
            return true;
    }
    return ok;
}

static void delete_records_tool_report(const struct deletions *all, struct arena *a)
{
    for (int32_t i = 0; i < all->n; i++) {
        const struct deletion *d = &all->v[i];
        struct str why = ask_exception_text(a, d->error, d->why);
        printf("partition: %.*s-%" PRId32, STR_ARGS(d->topic), d->partition);
        if (d->error == ERR_NONE)
            printf("\tlow_watermark: %" PRId64 "\n", d->low_watermark);
        else
            printf("\terror: %.*s\n", STR_ARGS(why));
    }
}

static bool delete_records_tool_run(const struct options *o, struct arena *a, struct asker **asker, struct fail *fail)
{
    struct deletions all = {0};
    *asker = asker_new(options_get(o, "bootstrap-server"), options_get(o, "command-config"), fail);
    if (*asker == NULL || !delete_records_tool_read_file(options_get(o, "offset-json-file"), a, &all, fail))
        return false;
    puts("Executing records delete operation");
    if (!delete_records_tool_work(*asker, &all, a, fail))
        return false;
    puts("Records delete operation completed:");
    delete_records_tool_report(&all, a);
    return true;
}

int tool_delete_records(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct asker *asker = NULL;
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    if (code < 0 && (!options_need(&o, "bootstrap-server") || !options_need(&o, "offset-json-file")))
        code = 1;
    if (code < 0) {
        code = delete_records_tool_run(&o, &o.arena, &asker, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
        asker_free(asker);
    }
    options_free(&o);
    return code;
}
