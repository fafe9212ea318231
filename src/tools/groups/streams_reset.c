/* kafka-streams-application-reset: lets a Kafka Streams application begin again. */
#include <inttypes.h>

#include "base/clock.h"
#include "tools/groups/group_admin.h"
#include "tools/kit/csv.h"
#include "tools/kit/java_time.h"
#include "tools/kit/rd_client.h"
#include "tools/kit/tool.h"
#include "tools/topics/topics.h"

static const struct option_spec specs[] = {
    {"application-id", OPTION_VALUE, "id", "REQUIRED: The Kafka Streams application ID (application.id).", NULL},
    {"bootstrap-server", OPTION_VALUE, "server to connect to", "The server(s) to connect to.", "localhost:9092"},
    {"bootstrap-servers", OPTION_VALUE, "urls", "DEPRECATED, use --bootstrap-server instead.", NULL},
    {"input-topics", OPTION_VALUES, "list",
     "Topics, with commas in between, whose offsets are set: to the start, or as another option says.", NULL},
    {"intermediate-topics", OPTION_VALUES, "list", "Topics, with commas in between, whose offsets are set to the end.",
     NULL},
    {"internal-topics", OPTION_VALUES, "list",
     "Delete only these, with commas in between, of the topics that Kafka Streams made for the application.", NULL},
    {"to-offset", OPTION_VALUE, "offset", "Reset offsets to a specific offset.", NULL},
    {"to-datetime", OPTION_VALUE, "datetime", "Reset offsets to a point in time: YYYY-MM-DDTHH:mm:SS.sss", NULL},
    {"by-duration", OPTION_VALUE, "duration", "Reset offsets to what was the end some time ago: PnDTnHnMnS", NULL},
    {"to-earliest", OPTION_FLAG, NULL, "Reset offsets to the start of the logs.", NULL},
    {"to-latest", OPTION_FLAG, NULL, "Reset offsets to the end of the logs.", NULL},
    {"from-file", OPTION_VALUE, "path to CSV file", "Reset offsets to what a file says: topic,partition,offset", NULL},
    {"shift-by", OPTION_VALUE, "number-of-offsets", "Move offsets forwards, or backwards by a negative number.", NULL},
    {"config-file", OPTION_VALUE, "file name", "Property file for the clients.", NULL},
    {"force", OPTION_FLAG, NULL, "Remove what members the group has. The application must have been stopped.", NULL},
    {"dry-run", OPTION_FLAG, NULL, "Only show what would be done.", NULL},
};

static const char purpose[] =
    "This tool lets a Kafka Streams application process its data again from the start: it sets the offsets of input "
    "topics, skips to the end of intermediate topics, and deletes the internal topics of the application.\n"
    "It does not delete output topics, nor the local state of the application's instances: clean that up before they "
    "start again, or their output will be wrong. Try --dry-run first: what is done cannot be taken back.";

enum { TIME_END = -1, TIME_START = -2, TIMEOUT_MS = 10000 };

struct streams_reset {
    struct options o;
    struct arena arena;
    struct group_admin admin;
    struct topic_backend *topics;
    struct str application;
    struct str_list all, input, intermediate;
    bool dry, missing; /* topics that are not there */
};

/* ---- Lists of names ---- */

static bool contains(struct str_list list, struct str s)
{
    for (int32_t i = 0; i < list.n; i++)
        if (str_eq(list.v[i], s))
            return true;
    return false;
}

/* [a, b], as Java prints lists. */
static void print_list(const char *before, struct str_list list)
{
    printf("%s [", before);
    for (int32_t i = 0; i < list.n; i++)
        printf("%s%.*s", i > 0 ? ", " : "", STR_ARGS(list.v[i]));
    printf("]\n");
}

static struct str_list read_list(struct streams_reset *r, const char *option)
{
    const struct option_value *given = options_all(&r->o, option);
    size_t most = 1;
    for (int i = 0; i < given->count; i++)
        most += strlen(given->values[i]);
    struct str *names = ARENA_ARRAY(&r->arena, struct str, most);
    struct str_list list = {names, 0};
    for (int i = 0; i < given->count; i++) {
        char *words = arena_cstr(&r->arena, str_of(given->values[i])), *save = NULL;
        for (char *word = strtok_r(words, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save))
            names[list.n++] = str_of(word);
    }
    return list;
}

static int streams_reset_by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool list_topics(struct streams_reset *r, struct fail *fail)
{
    struct topic_name *names;
    int32_t count;
    if (!r->topics->names(r->topics, &names, &count, fail))
        return false;
    struct str *all = ARENA_ARRAY(&r->arena, struct str, count + 1);
    r->all = (struct str_list){all, 0};
    for (int32_t i = 0; i < count; i++)
        if (!names[i].internal)
            all[r->all.n++] = names[i].name;
    qsort(all, (size_t)r->all.n, sizeof(*all), streams_reset_by_name);
    return true;
}

/* ---- Members ---- */

static void describe_member(struct strbuf *b, const struct group_member *m)
{
    strbuf_printf(b, "(memberId=%.*s, groupInstanceId=%.*s, clientId=%.*s, host=%.*s, assignment=(topicPartitions=",
                  STR_ARGS(m->id), STR_ARGS(m->instance_id.len > 0 ? m->instance_id : STR_LIT("null")),
                  STR_ARGS(m->client_id), STR_ARGS(m->host));
    for (int32_t i = 0; i < m->assigned.n; i++)
        strbuf_printf(b, "%s%.*s-%" PRId32, i > 0 ? "," : "", STR_ARGS(m->assigned.v[i].topic),
                      m->assigned.v[i].partition);
    strbuf_puts(b, "), targetAssignment=Optional.empty)");
}

static bool still_active(const struct group_description *group, struct fail *fail)
{
    struct strbuf b = {0};
    for (int32_t i = 0; i < group->member_count; i++) {
        strbuf_puts(&b, i > 0 ? ", " : "");
        describe_member(&b, &group->members[i]);
    }
    fail_set(fail,
             "java.lang.IllegalStateException: Consumer group '%.*s' is still active and has following members: [%s]. "
             "Make sure to stop all running application instances before running the reset tool. You can use option "
             "'--force' to remove active members from the group.",
             STR_ARGS(group->id), b.p);
    strbuf_deinit(&b);
    return false;
}

static bool remove_members(struct streams_reset *r, struct fail *fail)
{
    struct group_description group;
    if (!group_admin_describe(&r->admin, (struct str_list){&r->application, 1}, &group, fail))
        return fail_wrap(fail, "java.util.concurrent.ExecutionException");
    if (group.member_count == 0)
        return true;
    if (!options_has(&r->o, "force"))
        return still_active(&group, fail);
    printf("Force deleting all active members in the group: %.*s\n", STR_ARGS(r->application));
    return group_remove_members(&r->admin, &group, fail) || fail_wrap(fail, "java.util.concurrent.ExecutionException");
}

/* ---- Offsets of input topics ---- */

static struct partition_offsets streams_reset_copy_of(struct streams_reset *r, const struct partition_offsets *list)
{
    struct partition_offsets copy = {0};
    partition_offsets_add_all(list, &copy, &r->arena);
    return copy;
}

/* Offsets that are outside of their logs, or at their limits, are told of, and become the limits. */
static bool streams_reset_limit_offsets(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    struct partition_offsets starts = streams_reset_copy_of(r, list), ends = streams_reset_copy_of(r, list);
    if (!topic_offsets(&r->admin, &starts, TIME_START, fail) || !topic_offsets(&r->admin, &ends, TIME_END, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++) {
        struct partition_offset *p = &list->v[i];
        bool high = p->offset >= ends.v[i].offset;
        int64_t limit = high ? ends.v[i].offset : starts.v[i].offset;
        if (!high && p->offset > limit)
            continue;
        printf("New offset (%" PRId64 ") is %s offset. Value will be set to %" PRId64 "\n", p->offset,
               high ? "higher than latest" : "lower than earliest", limit);
        p->offset = limit;
    }
    return true;
}

static bool to_start(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    return topic_offsets(&r->admin, list, TIME_START, fail);
}

static bool to_end(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    return topic_offsets(&r->admin, list, TIME_END, fail);
}

static bool streams_reset_to_offset(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    int64_t offset = 0;
    if (!options_number(&r->o, "to-offset", INT64_MIN, INT64_MAX, &offset))
        return false;
    for (int32_t i = 0; i < list->n; i++)
        list->v[i].offset = offset;
    return streams_reset_limit_offsets(r, list, fail);
}

/* From where the group is; where it has no offset, from where a consumer would begin. */
static bool streams_reset_shift_by(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    struct rd_props props = {0};
    struct partition_offsets committed;
    int64_t distance = 0;
    bool ok = options_number(&r->o, "shift-by", INT64_MIN, INT64_MAX, &distance) &&
              rd_props_read(&props, options_get(&r->o, "config-file"), fail) && rd_props_of_client(&props, fail);
    bool early = ok && rd_props_is(&props, "auto.offset.reset", "earliest");
    rd_props_deinit(&props);
    if (!ok || !group_offsets(&r->admin, r->application, &committed, fail) ||
        !topic_offsets(&r->admin, list, early ? TIME_START : TIME_END, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++) {
        struct partition_offset *p = &list->v[i], *now = partition_offsets_find(&committed, p->topic, p->partition);
        p->offset = wrapping_add(now != NULL ? now->offset : p->offset, distance);
    }
    return streams_reset_limit_offsets(r, list, fail);
}

static void streams_reset_tell_of_end(const struct partition_offset *p)
{
    printf("Partition %" PRId32 " from topic %.*s is empty, without a committed record. Falling back to latest known "
           "offset.\n",
           p->partition, STR_ARGS(p->topic));
}

/* Of what cannot be read there are two lines. */
static bool unreadable(void)
{
    fprintf(stderr, "ERROR: Resetting offsets failed.\n");
    return false;
}

static bool streams_reset_to_datetime(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    int64_t time;
    if (!java_datetime(options_get(&r->o, "to-datetime"), &time, fail))
        return unreadable();
    return topic_offsets_since(&r->admin, list, time, streams_reset_tell_of_end, fail);
}

static bool streams_reset_by_duration(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    int64_t duration;
    if (!java_duration(options_get(&r->o, "by-duration"), &duration, fail))
        return fail_wrap(fail, "java.time.format.DateTimeParseException");
    return topic_offsets_since(&r->admin, list, wrapping_sub(clock_wall_ms(), duration), streams_reset_tell_of_end,
                               fail);
}

/* ---- From a file ---- */

static bool streams_reset_read_line(struct streams_reset *r, struct str line, struct partition_offsets *list,
                                    struct fail *fail)
{
    enum { TOPIC, PARTITION, OFFSET, COLUMNS };
    struct str values[COLUMNS] = {{NULL, 0}};
    int64_t partition, offset;
    if (csv_split(line, values, COLUMNS, &r->arena) != COLUMNS) {
        fail_set(fail,
                 "java.text.ParseException: Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`.");
        return unreadable();
    }
    if (!csv_number(&r->arena, values[PARTITION], INT32_MIN, INT32_MAX, &partition) ||
        !csv_number(&r->arena, values[OFFSET], INT64_MIN, INT64_MAX, &offset))
        return fail_set(fail, "java.lang.NumberFormatException: For input string: \"%.*s\"", STR_ARGS(line));
    struct partition_offset *p = partition_offsets_find(list, values[TOPIC], (int32_t)partition);
    if (p == NULL)
        return fail_set(fail, "%.*s-%" PRId64 " of the reset plan is not a partition of the input topics",
                        STR_ARGS(values[TOPIC]), partition);
    p->offset = offset;
    return true;
}

static bool streams_reset_read_plan(struct streams_reset *r, struct str plan, struct partition_offsets *list,
                                    struct fail *fail)
{
    struct str line;
    bool ok = true;
    for (int32_t i = 0; i < list->n; i++)
        list->v[i].offset = INT64_MIN; /* not in the plan */
    while (ok && csv_take_line(&plan, &line))
        ok = streams_reset_read_line(r, line, list, fail);
    for (int32_t i = 0; ok && i < list->n; i++)
        ok = list->v[i].offset != INT64_MIN || fail_set(fail, "The reset plan says nothing of %.*s-%" PRId32,
                                                        STR_ARGS(list->v[i].topic), list->v[i].partition);
    return ok;
}

static bool streams_reset_from_file(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    const char *path = options_get(&r->o, "from-file");
    struct str plan;
    if (!csv_read(path, &r->arena, &plan)) {
        fail_set(fail, "java.io.IOException: Unable to read file %s", path);
        return unreadable();
    }
    return streams_reset_read_plan(r, plan, list, fail) && streams_reset_limit_offsets(r, list, fail);
}

static const struct rule {
    const char *option;
    bool (*apply)(struct streams_reset *r, struct partition_offsets *list, struct fail *fail);
} rules[] = {{"to-offset", streams_reset_to_offset},
             {"to-earliest", to_start},
             {"to-latest", to_end},
             {"shift-by", streams_reset_shift_by},
             {"to-datetime", streams_reset_to_datetime},
             {"by-duration", streams_reset_by_duration},
             {"from-file", streams_reset_from_file}};

/* ---- Topics that are read ---- */

/* Partitions of those that are there; the others are told of. */
static bool find_topics(struct streams_reset *r, struct str_list names, const char *what, const char *label,
                        struct partition_offsets *out, struct fail *fail)
{
    bool told = false;
    for (int32_t i = 0; i < names.n; i++) {
        int16_t error = 0;
        if (contains(r->all, names.v[i])) {
            if (!topic_partitions(&r->admin, names.v[i], out, &error, fail) ||
                (error != 0 && !group_refused(&r->admin, error, STR_NULL, fail)))
                return false;
            continue;
        }
        if (!told)
            printf("Following %s topics are not found, skipping them\n", what);
        printf("%s%.*s\n", label, STR_ARGS(names.v[i]));
        told = r->missing = true;
    }
    partition_offsets_sort(out);
    return true;
}

static bool reset_input(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    const struct rule *rule = NULL;
    if (list->n == 0)
        return true;
    printf("Following input topics offsets will be reset to (for consumer group %.*s)\n", STR_ARGS(r->application));
    for (size_t i = 0; rule == NULL && i < ARRAY_LEN(rules); i++)
        if (options_has(&r->o, rules[i].option))
            rule = &rules[i];
    if (!(rule != NULL ? rule->apply : to_start)(r, list, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++)
        printf("Topic: %.*s Partition: %" PRId32 " Offset: %" PRId64 "\n", STR_ARGS(list->v[i].topic),
               list->v[i].partition, list->v[i].offset);
    return true;
}

static bool skip_intermediate(struct streams_reset *r, struct partition_offsets *list, struct fail *fail)
{
    if (list->n == 0)
        return true;
    printf("Following intermediate topics offsets will be reset to end (for consumer group %.*s)\n",
           STR_ARGS(r->application));
    for (int32_t i = 0; i < list->n; i++)
        printf("Topic: %.*s\n", STR_ARGS(list->v[i].topic));
    return to_end(r, list, fail);
}

/* A topic that is in both lists is one of input. */
static void leave_out_input(struct partition_offsets *list, const struct partition_offsets *input)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < list->n; i++)
        if (partition_offsets_find(input, list->v[i].topic, list->v[i].partition) == NULL)
            list->v[kept++] = list->v[i];
    list->n = kept;
}

static bool streams_reset_commit(struct streams_reset *r, const struct partition_offsets *list, struct fail *fail)
{
    return r->dry || group_admin_commit(&r->admin, r->application, list, fail);
}

static bool reset_offsets(struct streams_reset *r, struct fail *fail)
{
    struct partition_offsets input = {0}, intermediate = {0};
    if (r->input.n == 0 && r->intermediate.n == 0) {
        printf("No input or intermediate topics specified. Skipping seek.\n");
        return true;
    }
    if (r->input.n > 0)
        print_list("Reset-offsets for input topics", r->input);
    if (r->intermediate.n > 0)
        print_list("Seek-to-end for intermediate topics", r->intermediate);
    if (!find_topics(r, r->input, "input", "Topic: ", &input, fail) ||
        !find_topics(r, r->intermediate, "intermediate", "Topic:", &intermediate, fail))
        return false;
    leave_out_input(&intermediate, &input);
    if (input.n + intermediate.n == 0)
        return true;
    if (!reset_input(r, &input, fail) || !skip_intermediate(r, &intermediate, fail) ||
        !streams_reset_commit(r, &input, fail) || !streams_reset_commit(r, &intermediate, fail))
        return false;
    printf("Done.\n");
    return true;
}

/* ---- Internal topics ---- */

static bool begins_with(struct str s, struct str start)
{
    return s.len >= start.len && memcmp(s.p, start.p, (size_t)start.len) == 0;
}

/* Those that Kafka Streams makes have such names. */
static bool find_internal(struct streams_reset *r, struct str_list *out, struct fail *fail)
{
    static const char ends[] =
        ".*(-changelog|-repartition|-subscription-registration-topic|-subscription-response-topic"
        "|.-KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-[0-9]+-topic)";
    struct pattern *pattern = pattern_new(ends, fail);
    struct str start = arena_printf(&r->arena, "%.*s-", STR_ARGS(r->application)),
               *found = ARENA_ARRAY(&r->arena, struct str, r->all.n + 1);
    *out = (struct str_list){found, 0};
    if (pattern == NULL)
        return false;
    for (int32_t i = 0; i < r->all.n; i++) {
        struct str name = r->all.v[i];
        if (begins_with(name, start) && pattern_matches(pattern, name) && !contains(r->input, name) &&
            !contains(r->intermediate, name))
            found[out->n++] = name;
    }
    pattern_free(pattern);
    return true;
}

static bool delete_topics(struct streams_reset *r, struct str_list names, struct fail *fail)
{
    bool ok = true;
    for (int32_t i = 0; i < names.n; i++) {
        struct topic_name name = {.name = names.v[i]};
        struct fail why;
        if (r->topics->remove(r->topics, &name, 1, &why))
            continue;
        fprintf(stderr, "ERROR: deleting topic %.*s\n%s\n", STR_ARGS(names.v[i]), why.text);
        ok = false;
    }
    return ok || fail_set(fail, "java.lang.RuntimeException: Encountered an error deleting one or more topics");
}

static bool delete_internal(struct streams_reset *r, struct fail *fail)
{
    struct str_list inferred, wanted = read_list(r, "internal-topics");
    bool named = wanted.n > 0;
    if (!find_internal(r, &inferred, fail))
        return false;
    for (int32_t i = 0; i < wanted.n; i++)
        if (!contains(inferred, wanted.v[i]))
            return fail_set(fail,
                            "java.lang.IllegalArgumentException: Invalid topic specified in the --internal-topics "
                            "option. Ensure that the topics specified are all internal topics. Do a dry run "
                            "without the --internal-topics option to see the list of all internal topics that can "
                            "be deleted.");
    print_list(named ? "Deleting specified internal topics" : "Deleting inferred internal topics",
               named ? wanted : inferred);
    if (!r->dry && !delete_topics(r, named ? wanted : inferred, fail))
        return false;
    printf("Done.\n");
    return true;
}

/* ---- The tool ---- */

static bool streams_reset_check_options(const struct options *o)
{
    if (!options_has(o, "application-id")) {
        options_complain(o, "Missing required option(s) [application-id]");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        for (size_t k = 0; k < ARRAY_LEN(rules); k++)
            if (i != k && !options_not_both(o, rules[i].option, rules[k].option))
                return false;
    return true;
}

static bool streams_reset_run(struct streams_reset *r, struct fail *fail)
{
    bool old_name = !options_has(&r->o, "bootstrap-server") && options_has(&r->o, "bootstrap-servers");
    const char *bootstrap = options_get(&r->o, old_name ? "bootstrap-servers" : "bootstrap-server"),
               *config = options_get(&r->o, "config-file");
    r->application = str_of(options_get(&r->o, "application-id"));
    r->dry = options_has(&r->o, "dry-run");
    r->input = read_list(r, "input-topics");
    r->intermediate = read_list(r, "intermediate-topics");
    r->admin = (struct group_admin){asker_new(bootstrap, config, fail), &r->arena, TIMEOUT_MS};
    r->topics = r->admin.asker != NULL ? topics_by_requests(bootstrap, config, fail) : NULL;
    if (r->topics == NULL || !remove_members(r, fail) || !list_topics(r, fail))
        return false;
    if (r->dry)
        printf("----Dry run displays the actions which will be performed when running Streams Reset Tool----\n");
    return reset_offsets(r, fail) && delete_internal(r, fail);
}

int tool_streams_reset(int argc, char **argv)
{
    struct streams_reset r = {.missing = false};
    struct fail fail = {.text = ""};
    int code = OPTIONS_PARSE(&r.o, specs, argc, argv, purpose);
    if (code < 0 && !streams_reset_check_options(&r.o))
        code = 1;
    if (code < 0) {
        code = streams_reset_run(&r, &fail) && !r.missing ? 0 : 1;
        if (fail.text[0] != '\0')
            fprintf(stderr, "ERROR: %s\n", fail.text);
    }
    if (r.topics != NULL)
        r.topics->close(r.topics);
    asker_free(r.admin.asker);
    arena_deinit(&r.arena);
    options_free(&r.o);
    return code;
}
