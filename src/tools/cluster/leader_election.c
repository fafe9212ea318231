/* kafka-leader-election: makes the preferred replicas leaders, or those that are out of sync. */
#include <inttypes.h>
#include <strings.h>

#include "base/topic_key.h"
#include "protocol/error.h"
#include "protocol/msg/elect_leaders.h"
#include "tools/kit/ask.h"
#include "tools/kit/json_input.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "host:port", "REQUIRED: The broker(s) to connect to, with commas in between.",
     NULL},
    {"admin.config", OPTION_VALUE, "config file", "Property file with configs for the admin client.", NULL},
    {"path-to-json-file", OPTION_VALUE, "Path to JSON file",
     "The partitions to hold elections for, as JSON: {\"partitions\":[{\"topic\":\"foo\", \"partition\":1}, {\"topic\":\"foobar\", \"partition\":2}]}. Not with --all-topic-partitions or --topic.",
     NULL},
    {"topic", OPTION_VALUE, "topic name",
     "The topic to hold an election for. Not with --path-to-json-file or --all-topic-partitions.", NULL},
    {"partition", OPTION_VALUE, "partition id", "REQUIRED with --topic: the partition to hold an election for.", NULL},
    {"all-topic-partitions", OPTION_FLAG, NULL,
     "Hold elections for all partitions that are eligible for that type of election. Not with --topic or --path-to-json-file.",
     NULL},
    {"election-type", OPTION_VALUE, "election type",
     "REQUIRED: \"preferred\" makes the first replica the leader where another one is, \"unclean\" makes a replica that is out of sync the leader where there is none.",
     NULL},
};

static const char purpose[] = "This tool attempts to elect a new leader for a set of topic partitions. The type of "
                              "elections supported are preferred replicas and unclean replicas.";

enum { REQUEST_MS = 15000, PATIENCE_MS = 30000 };

static const char *const types[] = {"PREFERRED", "UNCLEAN"}; /* by their numbers in the protocol */

struct election {
    int8_t type;
    struct elect_leaders_request request;
    struct arena arena;
};

/* ---- Arguments ---- */

static bool read_type(const struct options *o, int8_t *out)
{
    const char *given = options_get(o, "election-type");
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcasecmp(types[i], given) == 0) {
            *out = (int8_t)i;
            return true;
        }
    options_complain(o, "Cannot parse argument '%s' of option election-type", given);
    return false;
}

static bool leader_election_check_arguments(const struct options *o, struct fail *fail)
{
    bool server = options_has(o, "bootstrap-server"), type = options_has(o, "election-type"),
         topic = options_has(o, "topic"), partition = options_has(o, "partition");
    if (!server || !type)
        return fail_set(fail, "Missing required option(s): %s%s%s", server ? "" : "bootstrap-server",
                        !server && !type ? ", " : "", type ? "" : "election-type");
    if (topic + options_has(o, "all-topic-partitions") + options_has(o, "path-to-json-file") != 1)
        return fail_set(fail, "One and only one of the following options is required: topic, all-topic-partitions, "
                              "path-to-json-file");
    if (topic && !partition)
        return fail_set(fail, "Missing required option(s): partition");
    if (!topic && partition)
        return fail_set(fail, "Option partition is only allowed if topic is used");
    return true;
}

/* ---- Which partitions ---- */

/* One entry a partition: brokers take topics that come more than once. */
static void leader_election_add_partition(struct election *e, struct str topic, int32_t partition)
{
    struct elect_leaders_topic_partitions *t = &e->request.topic_partitions.items[e->request.topic_partitions.len++];
    elect_leaders_topic_partitions_init(t);
    t->topic = topic;
    ARRAY_MAKE(&e->arena, t->partitions, 1);
    t->partitions.items[0] = partition;
}

static int leader_election_by_partition(const void *a, const void *b)
{
    const struct elect_leaders_topic_partitions *x = a, *y = b;
    return partition_order(x->topic, x->partitions.items[0], y->topic, y->partitions.items[0]);
}

static bool leader_election_check_duplicates(struct election *e, struct fail *fail)
{
    struct elect_leaders_topic_partitions *v = e->request.topic_partitions.items;
    int32_t count = e->request.topic_partitions.len;
    qsort(v, (size_t)count, sizeof(*v), leader_election_by_partition);
    for (int32_t i = 1; i < count; i++)
        if (leader_election_by_partition(&v[i - 1], &v[i]) == 0)
            return fail_set(fail, "Replica election data contains duplicate partitions: [%.*s-%" PRId32 "]",
                            STR_ARGS(v[i].topic), v[i].partitions.items[0]);
    return true;
}

static bool leader_election_read_file(struct election *e, const char *path, struct fail *fail)
{
    const json_t *partitions = NULL;
    json_t *json = json_input_read(path, fail);
    bool ok = json != NULL && json_input_array(json, "partitions", &partitions, fail);
    if (ok && partitions == NULL)
        ok = fail_set(fail, "Replica election data is missing \"partitions\" field");
    ARRAY_MAKE(&e->arena, e->request.topic_partitions, (int32_t)json_array_size(partitions));
    e->request.topic_partitions.len = 0;
    for (size_t i = 0; ok && i < json_array_size(partitions); i++) {
        const json_t *at = json_array_get(partitions, i);
        struct str topic;
        int32_t partition;
        ok = json_input_topic(at, &e->arena, &topic, fail) && json_input_partition(at, &partition, fail);
        if (ok)
            leader_election_add_partition(e, topic, partition);
    }
    json_decref(json);
    return ok && leader_election_check_duplicates(e, fail);
}

static bool choose_partitions(struct election *e, const struct options *o, struct fail *fail)
{
    int64_t partition = 0;
    elect_leaders_request_init(&e->request);
    e->request.election_type = e->type;
    if (options_has(o, "all-topic-partitions")) {
        e->request.topic_partitions.len = -1;
        return true;
    }
    if (options_has(o, "path-to-json-file"))
        return leader_election_read_file(e, options_get(o, "path-to-json-file"), fail);
    if (!options_number(o, "partition", INT32_MIN, INT32_MAX, &partition))
        return false;
    ARRAY_MAKE(&e->arena, e->request.topic_partitions, 1);
    e->request.topic_partitions.len = 0;
    leader_election_add_partition(e, str_of(options_get(o, "topic")), (int32_t)partition);
    return true;
}

/* ---- The election ---- */

struct result {
    struct str topic;
    int32_t partition;
    int16_t error;
    struct str message;
};

struct results {
    struct result *v;
    int32_t n;
};

static int leader_election_by_topic(const void *a, const void *b)
{
    const struct result *x = a, *y = b;
    return partition_order(x->topic, x->partition, y->topic, y->partition);
}

static struct results list_results(struct arena *a, const struct elect_leaders_response *r)
{
    int32_t count = 0;
    for (int32_t i = 0; i < r->replica_election_results.len; i++)
        count += r->replica_election_results.items[i].partition_result.len;
    struct results all = {ARENA_ARRAY(a, struct result, count + 1), 0};
    for (int32_t i = 0; i < r->replica_election_results.len; i++) {
        const struct elect_leaders_replica_election_result *t = &r->replica_election_results.items[i];
        for (int32_t k = 0; k < t->partition_result.len; k++) {
            const struct elect_leaders_partition_result *p = &t->partition_result.items[k];
            all.v[all.n++] = (struct result){t->topic, p->partition_id, p->error_code, p->error_message};
        }
    }
    qsort(all.v, (size_t)all.n, sizeof(*all.v), leader_election_by_topic);
    return all;
}

/* One line of all partitions with that error, if there are any. */
static void print_those_with(const struct results *all, int16_t error, const char *line)
{
    bool any = false;
    for (int32_t i = 0; i < all->n; i++) {
        const struct result *r = &all->v[i];
        if (r->error != error)
            continue;
        printf("%s%.*s-%" PRId32, any ? ", " : line, STR_ARGS(r->topic), r->partition);
        any = true;
    }
    if (any)
        putchar('\n');
}

static bool leader_election_report(struct election *e, const struct results *all, struct fail *fail)
{
    int32_t failed = 0;
    const char *type = types[e->type];
    struct str success = arena_printf(&e->arena, "Successfully completed leader election (%s) for partitions ", type);
    print_those_with(all, ERR_NONE, success.p);
    print_those_with(all, ERR_ELECTION_NOT_NEEDED, "Valid replica already elected for partitions ");
    for (int32_t i = 0; i < all->n; i++) {
        const struct result *r = &all->v[i];
        if (r->error == ERR_NONE || r->error == ERR_ELECTION_NOT_NEEDED)
            continue;
        struct str why = ask_exception_text(&e->arena, r->error, r->message);
        printf("Error completing leader election (%s) for partition: %.*s-%" PRId32 ": %.*s\n", type,
               STR_ARGS(r->topic), r->partition, STR_ARGS(why));
        failed++;
    }
    return failed == 0 || fail_set(fail, "%" PRId32 " replica(s) could not be elected", failed);
}

static bool leader_election_refused(struct election *e, int16_t error, struct fail *fail)
{
    const char *known = error == ERR_REQUEST_TIMED_OUT              ? "Timeout waiting for election results"
                        : error == ERR_CLUSTER_AUTHORIZATION_FAILED ? "Not authorized to perform leader election"
                                                                    : NULL;
    struct str why = ask_exception_text(&e->arena, error, STR_NULL);
    if (known == NULL)
        return fail_set(fail, "%.*s", STR_ARGS(why));
    puts(known);
    return fail_set(fail, "%s", known);
}

static bool leader_election_elect(struct election *e, struct asker *asker, struct fail *fail)
{
    struct elect_leaders_response response;
    /* Version 0 knows preferred leaders only. */
    int16_t oldest = e->type == 0 ? 0 : 1;
    ask_by_default(asker, REQUEST_MS, PATIENCE_MS);
    e->request.timeout_ms = ask_timeout_ms(asker);
    if (!ask(asker, ASK_CONTROLLER, API_ELECT_LEADERS, oldest, &e->request, &response, NULL, &e->arena, fail))
        return false;
    if (response.error_code != ERR_NONE)
        return leader_election_refused(e, response.error_code, fail);
    struct results all = list_results(&e->arena, &response);
    return leader_election_report(e, &all, fail);
}

static bool leader_election_run(const struct options *o, struct election *e, struct fail *fail)
{
    if (!leader_election_check_arguments(o, fail) || !read_type(o, &e->type) || !choose_partitions(e, o, fail))
        return false;
    struct asker *asker = asker_new(options_get(o, "bootstrap-server"), options_get(o, "admin.config"), fail);
    bool ok = asker != NULL && leader_election_elect(e, asker, fail);
    asker_free(asker);
    return ok;
}

int tool_leader_election(int argc, char **argv)
{
    struct options o;
    struct fail fail = {.text = ""};
    struct election e = {0};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    if (code < 0) {
        code = leader_election_run(&o, &e, &fail) ? 0 : 1;
        if (fail.text[0] != '\0')
            fprintf(stderr, "%s\n", fail.text);
    }
    arena_deinit(&e.arena);
    options_free(&o);
    return code;
}
