/* kafka-topics: creates, deletes, describes, changes and lists topics. */
#include "tools/topics/topics.h"

#include <inttypes.h>

#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server to connect to",
     "REQUIRED unless --zookeeper is given: the Kafka server to connect to.", NULL},
    {"zookeeper", OPTION_VALUE, "hosts",
     "The ZooKeeper connection in the form host:port,host:port/chroot: reads and writes znodes instead of asking a broker.",
     NULL},
    {"command-config", OPTION_VALUE, "command config property file",
     "Property file with configs for the admin client; only with --bootstrap-server.", NULL},
    {"list", OPTION_FLAG, NULL, "List all available topics.", NULL},
    {"create", OPTION_FLAG, NULL, "Create a new topic.", NULL},
    {"delete", OPTION_FLAG, NULL, "Delete a topic.", NULL},
    {"alter", OPTION_FLAG, NULL,
     "Alter the number of partitions and their replicas. With --zookeeper, also a topic's configuration.", NULL},
    {"describe", OPTION_FLAG, NULL, "List details for the given topics.", NULL},
    {"topic", OPTION_VALUE, "topic",
     "The topic to create, alter, describe or delete; a regular expression, except for --create.", NULL},
    {"topic-id", OPTION_VALUE, "topic-id", "The topic id to describe.", NULL},
    {"config", OPTION_VALUES, "name=value",
     "A configuration key of the topic that is created; may be repeated. With --zookeeper also for --alter.", NULL},
    {"delete-config", OPTION_VALUES, "name", "A configuration key to remove from a topic. Not with --bootstrap-server.",
     NULL},
    {"partitions", OPTION_VALUE, "# of partitions",
     "The number of partitions of the topic that is created or altered. WARNING: with more partitions, records of a key may go to another partition. Default of --create: the cluster's.",
     NULL},
    {"replication-factor", OPTION_VALUE, "replication factor",
     "The number of replicas of each partition. Default: the cluster's.", NULL},
    {"replica-assignment", OPTION_VALUE, "broker:broker,broker:broker,...",
     "Brokers of each partition's replicas, chosen by hand.", NULL},
    {"under-replicated-partitions", OPTION_FLAG, NULL, "With --describe: only under-replicated partitions.", NULL},
    {"unavailable-partitions", OPTION_FLAG, NULL, "With --describe: only partitions whose leader is not available.",
     NULL},
    {"under-min-isr-partitions", OPTION_FLAG, NULL,
     "With --describe: only partitions with fewer in-sync replicas than the configured minimum.", NULL},
    {"at-min-isr-partitions", OPTION_FLAG, NULL,
     "With --describe: only partitions with just as many in-sync replicas as the configured minimum.", NULL},
    {"topics-with-overrides", OPTION_FLAG, NULL, "With --describe: only topics that have a configuration of their own.",
     NULL},
    {"if-exists", OPTION_FLAG, NULL, "With --alter, --delete or --describe: do nothing if the topic does not exist.",
     NULL},
    {"if-not-exists", OPTION_FLAG, NULL, "With --create: do nothing if the topic exists.", NULL},
    {"exclude-internal", OPTION_FLAG, NULL, "With --list or --describe: leave out internal topics.", NULL},
    {"partition-size-limit-per-response", OPTION_VALUE, "number",
     "The most partitions in one answer to DescribeTopicPartitions; has no effect with brokers in ZooKeeper mode.",
     NULL},
    {"force", OPTION_FLAG, NULL, "With --zookeeper: ask no questions (none are asked).", NULL},
};

static const char purpose[] = "This tool helps to create, delete, describe, or change a topic.";

/* ---- Arguments ---- */

/* Complains if `name` is given with none of the actions that it belongs to. */
static bool belongs_to(const struct options *o, const char *name, const char *const *actions)
{
    static const char *const all[] = {"create", "list", "alter", "describe", "delete"};
    if (!options_has(o, name))
        return true;
    for (; *actions != NULL; actions++)
        if (options_has(o, *actions))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (!options_not_both(o, name, all[i]))
            return false;
    return true;
}

#define BELONGS_TO(o, name, ...) belongs_to((o), (name), (const char *const[]){__VA_ARGS__, NULL})

static const char *const reports[] = {"under-replicated-partitions", "unavailable-partitions",
                                      "under-min-isr-partitions", "at-min-isr-partitions"};

static bool check_reports(const struct options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(reports); i++) {
        if (!BELONGS_TO(o, reports[i], "describe") || !options_not_both(o, reports[i], "topics-with-overrides"))
            return false;
        for (size_t k = i + 1; k < ARRAY_LEN(reports); k++)
            if (!options_not_both(o, reports[i], reports[k]))
                return false;
    }
    return BELONGS_TO(o, "topics-with-overrides", "describe");
}

static bool check_required(const struct options *o)
{
    bool by_requests = options_has(o, "bootstrap-server");
    if (by_requests && options_has(o, "zookeeper")) {
        options_complain(o, "Only one of --bootstrap-server or --zookeeper must be specified");
        return false;
    }
    if (!by_requests && !options_has(o, "zookeeper")) {
        fprintf(stderr, "--bootstrap-server must be specified\n");
        return false;
    }
    if (!options_has(o, "list") && !options_has(o, "describe") && !options_need(o, "topic"))
        return false;
    if (options_has(o, "describe") && options_has(o, "if-exists") && !options_has(o, "topic") &&
        !options_has(o, "topic-id")) {
        options_complain(o, "--topic or --topic-id is required to describe a topic");
        return false;
    }
    if (by_requests && options_has(o, "alter")) {
        if (options_has(o, "config")) {
            options_complain(
                o, "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\""
                   " (the kafka-configs CLI supports altering topic configs with a --bootstrap-server option)");
            return false;
        }
        return options_need(o, "partitions");
    }
    if (!by_requests && options_has(o, "create") && !options_has(o, "replica-assignment"))
        return options_need(o, "partitions") && options_need(o, "replication-factor");
    return true;
}

static bool topics_tool_check_arguments(const struct options *o)
{
    static const char *const actions[] = {"create", "list", "alter", "describe", "delete"};
    int given = 0;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        given += options_has(o, actions[i]);
    if (given != 1) {
        options_complain(o,
                         "Command must include exactly one action: --list, --describe, --create, --alter or --delete");
        return false;
    }
    return check_required(o) && BELONGS_TO(o, "config", "alter", "create") && BELONGS_TO(o, "delete-config", "alter") &&
           options_not_both(o, "delete-config", "bootstrap-server") && BELONGS_TO(o, "partitions", "alter", "create") &&
           BELONGS_TO(o, "replication-factor", "create") && BELONGS_TO(o, "replica-assignment", "alter", "create") &&
           (!options_has(o, "create") || (options_not_both(o, "replica-assignment", "partitions") &&
                                          options_not_both(o, "replica-assignment", "replication-factor"))) &&
           check_reports(o) && BELONGS_TO(o, "if-exists", "alter", "delete", "describe") &&
           BELONGS_TO(o, "if-not-exists", "create") && BELONGS_TO(o, "exclude-internal", "list", "describe");
}

/* ---- Values ---- */

static bool topics_tool_parse_brokers(struct arena *a, char *text, struct int_list *out, struct fail *fail)
{
    struct java_words words = {text, ':', false};
    *out = (struct int_list){ARENA_ARRAY(a, int32_t, strlen(text) + 1), 0};
    for (char *word; (word = java_words_next(&words)) != NULL;) {
        char *end;
        long id = strtol(word, &end, 10);
        while (*end == ' ')
            end++;
        if (end == word || *end != '\0' || id < 0 || id > INT32_MAX)
            return fail_set(fail, "For input string: \"%s\"", word);
        if (int_list_has(*out, (int32_t)id))
            return fail_set(fail, "Partition replica lists may not contain duplicate entries: %ld", id);
        out->v[out->n++] = (int32_t)id;
    }
    return true;
}

static bool parse_assignments(struct arena *a, const char *text, struct topic_plan *plan, struct fail *fail)
{
    struct java_words words = {arena_cstr(a, str_of(text)), ',', false};
    plan->assignments = ARENA_ARRAY(a, struct int_list, strlen(text) + 1);
    for (char *word; (word = java_words_next(&words)) != NULL;) {
        struct int_list *list = &plan->assignments[plan->assignment_count];
        if (!topics_tool_parse_brokers(a, word, list, fail))
            return false;
        if (list->n != plan->assignments[0].n)
            return fail_set(fail, "Partition %" PRId32 " has different replication factor", plan->assignment_count);
        plan->assignment_count++;
    }
    return true;
}

static char *topics_tool_trimmed(struct arena *a, const char *from, size_t len)
{
    while (len > 0 && *from == ' ') {
        from++;
        len--;
    }
    while (len > 0 && from[len - 1] == ' ')
        len--;
    return arena_cstr(a, (struct str){from, (int32_t)len});
}

static bool parse_configs(struct arena *a, const struct option_value *given, struct topic_plan *plan, struct fail *fail)
{
    plan->configs = ARENA_ARRAY(a, struct config_pair, given->count + 1);
    for (int i = 0; i < given->count; i++) {
        struct java_words words = {arena_cstr(a, str_of(given->values[i])), '=', false};
        const char *key = java_words_next(&words), *value = key != NULL ? java_words_next(&words) : NULL;
        if (value == NULL || value[strspn(value, " ")] == '\0' || java_words_next(&words) != NULL)
            return fail_set(
                fail,
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".");
        plan->configs[plan->config_count++] = (struct config_pair){topics_tool_trimmed(a, key, strlen(key)),
                                                                   topics_tool_trimmed(a, value, strlen(value))};
    }
    return true;
}

static bool read_count(const struct options *o, const char *name, int32_t *out, struct fail *fail)
{
    const char *text = options_get(o, name);
    int64_t value = *out;
    if (text != NULL && !java_integer(text, INT32_MIN, INT32_MAX, &value))
        return fail_set(fail, "Cannot parse argument '%s' of option %s", text, name);
    *out = (int32_t)value;
    return true;
}

static bool topics_tool_read_plan(const struct options *o, struct arena *a, struct topic_plan *plan, struct fail *fail)
{
    const char *assignment = options_get(o, "replica-assignment");
    *plan = (struct topic_plan){.name = str_of(options_get(o, "topic")), .partitions = -1, .factor = -1};
    if (!read_count(o, "replication-factor", &plan->factor, fail) ||
        !read_count(o, "partitions", &plan->partitions, fail))
        return false;
    if (options_has(o, "replication-factor") && (plan->factor < 1 || plan->factor > INT16_MAX))
        return fail_set(fail, "The replication factor must be between 1 and %d inclusive", INT16_MAX);
    if (options_has(o, "partitions") && plan->partitions < 1)
        return fail_set(fail, "The partitions must be greater than 0");
    if (assignment != NULL && *assignment != '\0' && !parse_assignments(a, assignment, plan, fail))
        return false;
    return parse_configs(a, options_all(o, "config"), plan, fail);
}

/* ---- Which topics ---- */

static int topics_tool_by_name(const void *a, const void *b)
{
    return str_cmp(((const struct topic_name *)a)->name, ((const struct topic_name *)b)->name);
}

/* Zero where none is given; base64 may have its padding. */
static bool topics_tool_read_id(const char *text, struct uuid *out, struct fail *fail)
{
    enum { PADDED_LEN = UUID_TEXT_LEN + 2 };
    *out = (struct uuid){0};
    if (text == NULL)
        return true;
    struct str id = str_of(text);
    if (id.len > PADDED_LEN)
        return fail_set(fail, "Input string with prefix `%.*s` is too long to be decoded as a base64 UUID", PADDED_LEN,
                        text);
    if (id.len == PADDED_LEN && strcmp(text + UUID_TEXT_LEN, "==") == 0)
        id.len = UUID_TEXT_LEN;
    return uuid_parse(id, out) ||
           fail_set(fail, "Input string `%s` is not equal to the expected 16 bytes of a base64-encoded UUID", text);
}

/* Those that the arguments mean, in the order of their names. Only --describe goes by --topic-id: others have none. */
static bool choose_topics(const struct options *o, struct topic_backend *b, struct topic_name **out, int32_t *count,
                          struct fail *fail)
{
    const char *topic = options_get(o, "topic"), *id = options_has(o, "describe") ? options_get(o, "topic-id") : NULL;
    struct uuid wanted;
    int32_t n, kept = 0;
    struct pattern *pattern = NULL;
    if (!topics_tool_read_id(id, &wanted, fail) || !b->names(b, out, &n, fail))
        return false;
    bool by_id = !uuid_is_zero(wanted);
    if (!by_id && topic != NULL && (pattern = pattern_new(topic, fail)) == NULL)
        return false;
    qsort(*out, (size_t)n, sizeof(**out), topics_tool_by_name);
    for (int32_t i = 0; i < n; i++) {
        const struct topic_name *t = &(*out)[i];
        bool matches = by_id ? uuid_eq(t->id, wanted) : pattern == NULL || pattern_matches(pattern, t->name);
        if (matches && !(t->internal && options_has(o, "exclude-internal")))
            (*out)[kept++] = *t;
    }
    pattern_free(pattern);
    *count = kept;
    if (kept > 0 || options_has(o, "if-exists") || options_has(o, "list"))
        return true;
    if (by_id)
        return fail_set(fail, "TopicId '%s' does not exist as expected", id);
    if (topic != NULL && *topic != '\0')
        return fail_set(fail, "Topic 'Optional[%s]' does not exist as expected", topic);
    return true;
}

/* ---- Describe ---- */

/* While a reassignment runs, the replicas that it adds do not count. */
static int32_t replication_factor(const struct topic_part *p)
{
    return p->replicas.n - (p->reassigning ? p->adding.n : 0);
}

static bool topics_tool_is_alive(const struct topic_info *t, int32_t broker)
{
    return int_list_has((struct int_list){t->brokers, t->broker_count}, broker);
}

static bool is_reported(const struct options *o, const struct topic_info *t, const struct topic_part *p)
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(reports); i++)
        any |= options_has(o, reports[i]);
    return !any || (options_has(o, "under-replicated-partitions") && replication_factor(p) > p->isr.n) ||
           (options_has(o, "unavailable-partitions") && (p->leader < 0 || !topics_tool_is_alive(t, p->leader))) ||
           (options_has(o, "under-min-isr-partitions") && (p->leader < 0 || p->isr.n < t->min_isr)) ||
           (options_has(o, "at-min-isr-partitions") && p->isr.n == t->min_isr);
}

static void topics_tool_print_ids(const char *label, struct int_list ids)
{
    printf("\t%s: ", label);
    for (int32_t i = 0; i < ids.n; i++)
        printf("%s%" PRId32, i > 0 ? "," : "", ids.v[i]);
}

static void print_topic(const struct topic_info *t)
{
    char id[UUID_TEXT_LEN + 1];
    printf("Topic: %.*s", STR_ARGS(t->name.name));
    uuid_format(t->name.id, id);
    if (!uuid_is_zero(t->name.id))
        printf("\tTopicId: %s", id);
    printf("\tPartitionCount: %" PRId32 "\tReplicationFactor: %" PRId32 "\tConfigs: %.*s%s\n", t->part_count,
           t->part_count > 0 ? replication_factor(&t->parts[0]) : 0, STR_ARGS(t->configs),
           t->name.being_deleted ? "\tMarkedForDeletion: true" : "");
}

static void topics_tool_print_part(const struct topic_info *t, const struct topic_part *p, bool with_elr)
{
    printf("\tTopic: %.*s\tPartition: %" PRId32, STR_ARGS(t->name.name), p->index);
    if (p->leader >= 0)
        printf("\tLeader: %" PRId32, p->leader);
    else
        printf("\tLeader: none");
    topics_tool_print_ids("Replicas", p->replicas);
    topics_tool_print_ids("Isr", p->isr);
    if (p->reassigning) {
        topics_tool_print_ids("Adding Replicas", p->adding);
        topics_tool_print_ids("Removing Replicas", p->removing);
    }
    printf("%s%s\n", with_elr ? "\tElr: N/A\tLastKnownElr: N/A" : "",
           t->name.being_deleted ? "\tMarkedForDeletion: true" : "");
}

static bool topics_tool_describe(const struct options *o, struct topic_backend *b, struct fail *fail)
{
    struct topic_name *names;
    int32_t count;
    bool with_overrides = options_has(o, "topics-with-overrides"), some_parts = false;
    if (options_has(o, "if-exists") && options_has(o, "topic") && options_has(o, "topic-id"))
        puts(
            "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID");
    if (!choose_topics(o, b, &names, &count, fail))
        return false;
    int32_t limit = 0; /* of Kafka's own request, which is not ours */
    if (!options_has(o, "topic-id") && !read_count(o, "partition-size-limit-per-response", &limit, fail))
        return false;
    struct topic_info *topics = ARENA_ARRAY(&b->arena, struct topic_info, MAX(count, 1));
    if (!b->describe(b, names, count, topics, fail))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(reports); i++)
        some_parts |= options_has(o, reports[i]);
    for (int32_t i = 0; i < count; i++) {
        const struct topic_info *t = &topics[i];
        if (!some_parts && (!with_overrides || t->configs.len > 0))
            print_topic(t);
        for (int32_t p = 0; !with_overrides && p < t->part_count; p++)
            if (is_reported(o, t, &t->parts[p]))
                topics_tool_print_part(t, &t->parts[p], options_has(o, "bootstrap-server"));
    }
    return true;
}

/* ---- The other actions ---- */

static bool topics_tool_list(const struct options *o, struct topic_backend *b, struct fail *fail)
{
    struct topic_name *names;
    int32_t count;
    if (!choose_topics(o, b, &names, &count, fail))
        return false;
    for (int32_t i = 0; i < count; i++)
        printf("%.*s%s\n", STR_ARGS(names[i].name), names[i].being_deleted ? " - marked for deletion" : "");
    if (count == 0)
        putchar('\n');
    return true;
}

static bool topics_tool_create(const struct options *o, struct topic_backend *b, struct fail *fail)
{
    struct topic_plan plan;
    bool exists = false;
    if (!topics_tool_read_plan(o, &b->arena, &plan, fail))
        return false;
    if (strpbrk(options_get(o, "topic"), "._") != NULL)
        puts(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. "
            "To avoid issues it is best to use either, but not both.");
    if (!b->create(b, &plan, &exists, fail))
        return exists && options_has(o, "if-not-exists");
    printf("Created topic %.*s.\n", STR_ARGS(plan.name));
    return true;
}

static bool alter_configs(const struct options *o, struct topic_backend *b, const struct topic_plan *plan,
                          const struct topic_name *names, int32_t count, struct fail *fail)
{
    const struct option_value *drop = options_all(o, "delete-config");
    if (plan->config_count == 0 && drop->count == 0)
        return true;
    puts(
        "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future releases.\n"
        "         Going forward, please use kafka-configs.sh for this functionality");
    for (int32_t i = 0; i < count; i++) {
        if (!b->configure(b, names[i].name, plan->configs, plan->config_count, drop->values, drop->count, fail))
            return false;
        printf("Updated config for topic %.*s.\n", STR_ARGS(names[i].name));
    }
    return true;
}

static bool topics_tool_alter(const struct options *o, struct topic_backend *b, struct fail *fail)
{
    struct topic_name *names;
    struct topic_plan plan;
    int32_t count;
    if (!topics_tool_read_plan(o, &b->arena, &plan, fail) || !choose_topics(o, b, &names, &count, fail))
        return false;
    if (b->configure != NULL && !alter_configs(o, b, &plan, names, count, fail))
        return false;
    if (plan.partitions < 0 || count == 0)
        return true;
    struct topic_info *topics = ARENA_ARRAY(&b->arena, struct topic_info, count);
    struct topic_plan *plans = ARENA_ARRAY(&b->arena, struct topic_plan, count);
    if (plan.assignments != NULL && !b->layout(b, names, count, topics, fail))
        return false;
    for (int32_t i = 0; i < count; i++) {
        plans[i] = plan;
        plans[i].name = names[i].name;
        if (plan.assignments != NULL) { /* those of the partitions that are there already do not count */
            int32_t skip = MIN(topics[i].part_count, plan.assignment_count);
            plans[i].assignments = plan.assignments + skip;
            plans[i].assignment_count = plan.assignment_count - skip;
        }
    }
    if (b->configure != NULL)
        puts("WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the "
             "messages will be affected");
    if (!b->grow(b, plans, count, fail))
        return false;
    if (b->configure != NULL)
        puts("Adding partitions succeeded!");
    return true;
}

static bool remove_topics(const struct options *o, struct topic_backend *b, struct fail *fail)
{
    struct topic_name *names;
    int32_t count;
    return choose_topics(o, b, &names, &count, fail) && (count == 0 || b->remove(b, names, count, fail));
}

static bool topics_tool_act(const struct options *o, struct topic_backend *b, struct fail *fail)
{
    if (options_has(o, "create"))
        return topics_tool_create(o, b, fail);
    if (options_has(o, "alter"))
        return topics_tool_alter(o, b, fail);
    if (options_has(o, "list"))
        return topics_tool_list(o, b, fail);
    if (options_has(o, "describe"))
        return topics_tool_describe(o, b, fail);
    return remove_topics(o, b, fail);
}

int tool_topics(int argc, char **argv)
{
    struct options o;
    struct fail fail = {.text = ""};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    if (code < 0 && !topics_tool_check_arguments(&o))
        code = 1;
    if (code < 0) {
        const char *bootstrap = options_get(&o, "bootstrap-server");
        struct topic_backend *b = bootstrap != NULL
                                      ? topics_by_requests(bootstrap, options_get(&o, "command-config"), &fail)
                                      : topics_by_znodes(options_get(&o, "zookeeper"), &fail);
        code = b != NULL && topics_tool_act(&o, b, &fail) ? 0 : 1;
        if (code != 0)
            printf("Error while executing topic command : %s\n", fail.text);
        if (b != NULL)
            b->close(b);
    }
    options_free(&o);
    return code;
}
