/* kafka-delete-records: moves the start of partitions forward, to the offsets that a file gives. */
#include <inttypes.h>

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
};

struct deletions { /* by topic and partition */
    struct deletion *v;
    int32_t n;
};

/* ---- What to delete ---- */

static int delete_records_tool_by_partition(const void *a, const void *b)
{
    const struct deletion *x = a, *y = b;
    int order = str_cmp(x->topic, y->topic);
    return order != 0 ? order : (x->partition > y->partition) - (x->partition < y->partition);
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
    *out = (struct deletion){.leader = -1, .error = ERR_UNKNOWN_TOPIC_OR_PARTITION};
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

static bool delete_records_tool_find_leaders(struct asker *asker, struct deletions *all, struct metadata_response *m,
                                             struct arena *a, struct fail *fail)
{
    struct str *topics = ARENA_ARRAY(a, struct str, all->n + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < all->n; i++)
        if (n == 0 || !str_eq(topics[n - 1], all->v[i].topic))
            topics[n++] = all->v[i].topic;
    if (!ask_metadata(asker, topics, n, m, a, fail))
        return false;
    for (int32_t i = 0; i < m->topics.len; i++)
        for (int32_t p = 0; p < m->topics.items[i].partitions.len; p++) {
            const struct metadata_response_partition *part = &m->topics.items[i].partitions.items[p];
            struct deletion *d = delete_records_tool_find(all, m->topics.items[i].name, part->partition_index);
            if (d == NULL)
                continue;
            d->leader = part->leader_id;
            d->error = ERR_LEADER_NOT_AVAILABLE;
        }
    return true;
}

/* One entry a partition: brokers take topics that come more than once. */
static void delete_records_tool_make_request(const struct deletions *all, int32_t leader, int32_t timeout_ms,
                                             struct arena *a, struct delete_records_request *out)
{
    delete_records_request_init(out);
    out->timeout_ms = timeout_ms;
    ARRAY_MAKE(a, out->topics, all->n);
    out->topics.len = 0;
    for (int32_t i = 0; i < all->n; i++) {
        const struct deletion *d = &all->v[i];
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

static void delete_records_tool_take_answer(const struct deletions *all, const struct delete_records_response *r)
{
    for (int32_t i = 0; i < r->topics.len; i++)
        for (int32_t p = 0; p < r->topics.items[i].partitions.len; p++) {
            const struct delete_records_partition_result *part = &r->topics.items[i].partitions.items[p];
            struct deletion *d = delete_records_tool_find(all, r->topics.items[i].name, part->partition_index);
            if (d == NULL)
                continue;
            d->error = part->error_code;
            d->low_watermark = part->low_watermark;
        }
}

static bool delete_records_at(struct asker *asker, const struct deletions *all, int32_t leader, struct arena *a,
                              struct fail *fail)
{
    struct delete_records_request request;
    struct delete_records_response response;
    delete_records_tool_make_request(all, leader, ask_timeout_ms(asker), a, &request);
    if (request.topics.len == 0)
        return true;
    if (!ask(asker, leader, API_DELETE_RECORDS, 0, &request, &response, NULL, a, fail))
        return false;
    delete_records_tool_take_answer(all, &response);
    return true;
}

static void delete_records_tool_report(const struct deletions *all, struct arena *a)
{
    for (int32_t i = 0; i < all->n; i++) {
        const struct deletion *d = &all->v[i];
        struct str why = ask_exception_text(a, d->error, STR_NULL);
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
    struct metadata_response m;
    *asker = asker_new(options_get(o, "bootstrap-server"), options_get(o, "command-config"), fail);
    if (*asker == NULL || !delete_records_tool_read_file(options_get(o, "offset-json-file"), a, &all, fail))
        return false;
    puts("Executing records delete operation");
    if (all.n > 0 && !delete_records_tool_find_leaders(*asker, &all, &m, a, fail))
        return false;
    puts("Records delete operation completed:");
    for (int32_t i = 0; all.n > 0 && i < m.brokers.len; i++)
        if (!delete_records_at(*asker, &all, m.brokers.items[i].node_id, a, fail))
            return false;
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
