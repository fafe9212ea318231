/* kafka-console-consumer: prints records. */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/internal_topics.h"
#include "protocol/error.h"
#include "tools/clients/formatter.h"
#include "tools/kit/rd_client.h"

static const struct option_spec specs[] = {
    {"topic", OPTION_VALUE, "topic", "The topic to consume on.", NULL},
    {"include", OPTION_VALUE, "regex", "Regular expression for the topics to consume.", NULL},
    {"whitelist", OPTION_VALUE, "regex", "DEPRECATED, use --include instead; ignored if --include specified.", NULL},
    {"partition", OPTION_VALUE, "partition",
     "The partition to consume from. Consumption starts from the end unless --offset is specified.", NULL},
    {"offset", OPTION_VALUE, "consume offset",
     "The offset to consume from (a non-negative number), or 'earliest' or 'latest'.", "latest"},
    {"bootstrap-server", OPTION_VALUE, "server to connect to", "REQUIRED: The server(s) to connect to.", NULL},
    {"consumer-property", OPTION_VALUES, "consumer_prop", "key=value for the consumer.", NULL},
    {"consumer.config", OPTION_VALUE, "config file", "Consumer properties file; --consumer-property counts more.",
     NULL},
    {"formatter", OPTION_VALUE, "class",
     "How to print records: org.apache.kafka.tools.consumer.DefaultMessageFormatter, LoggingMessageFormatter, NoOpMessageFormatter, or, for records of internal topics, OffsetsMessageFormatter, GroupMetadataMessageFormatter or TransactionLogMessageFormatter.",
     "org.apache.kafka.tools.consumer.DefaultMessageFormatter"},
    {"property", OPTION_VALUES, "prop",
     "key=value for the formatter:\n print.timestamp=true|false\n print.key=true|false\n print.offset=true|false\n print.partition=true|false\n print.headers=true|false\n print.value=true|false\n key.separator=<key.separator>\n line.separator=<line.separator>\n headers.separator=<line.separator>\n null.literal=<null.literal>\n key.deserializer=<key.deserializer>\n value.deserializer=<value.deserializer>\n headers.deserializer=<header.deserializer>",
     NULL},
    {"formatter-config", OPTION_VALUE, "config file", "Properties file for the formatter; --property counts more.",
     NULL},
    {"from-beginning", OPTION_FLAG, NULL,
     "If the consumer has no offset yet, start with the earliest message rather than the latest.", NULL},
    {"max-messages", OPTION_VALUE, "num_messages",
     "The maximum number of messages to consume before exiting. Default: no end.", NULL},
    {"timeout-ms", OPTION_VALUE, "timeout_ms", "Exit if no message is available for this time.", NULL},
    {"skip-message-on-error", OPTION_FLAG, NULL, "If a message cannot be printed, skip it instead of ending.", NULL},
    {"key-deserializer", OPTION_VALUE, "deserializer for key", "Same as --property key.deserializer=...", NULL},
    {"value-deserializer", OPTION_VALUE, "deserializer for values", "Same as --property value.deserializer=...", NULL},
    {"enable-systest-events", OPTION_FLAG, NULL, "Print a line when the consumer has shut down.", NULL},
    {"isolation-level", OPTION_VALUE, "level",
     "read_committed leaves out transactional messages that are not committed; read_uncommitted reads all.",
     "read_uncommitted"},
    {"group", OPTION_VALUE, "consumer group id", "The consumer group id of the consumer.", NULL},
};

/* ---- What to consume ---- */

struct consumer {
    rd_kafka_t *rk;
    struct formatter formatter;
    const char *topic;
    int32_t partition; /* -1: all */
    int64_t offset;    /* where a consumer without a group starts */
    int64_t max_messages, timeout_ms, count;
    bool grouped, skip_on_error;
    bool broken;          /* a record could not be printed */
    bool hopeless;        /* the topic cannot be consumed */
    int warned;           /* of that error of the topic */
    int32_t assigned;     /* without a group: partitions 0 to assigned - 1 */
    int64_t refreshed_ms; /* when topics or partitions were last looked up */
    int64_t refresh_ms;
    struct pattern *include; /* of topics; NULL: there is one topic */
    bool with_internal;      /* topics, where `include` matches them */
    rd_kafka_topic_partition_list_t *matches;
    bool met; /* the cluster has told once what matches */
};

enum { METADATA_TIMEOUT_MS = 5000, LEAST_REFRESH_MS = 100 };

/* What may pass is waited for, and told of once, as by Apache's clients. */
static void look_at_error(struct consumer *c, int err)
{
    bool denied = err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    bool may_pass = !denied && err != RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    if (may_pass && c->warned != err)
        fprintf(stderr, "WARN Error while fetching metadata : {%s=%s}\n", c->topic, error_name((int16_t)err));
    if (may_pass) {
        c->warned = err;
        return;
    }
    fprintf(stderr, "ERROR Error processing message, terminating consumer process: %s: [%s]\n",
            denied ? "Not authorized to access topics" : "Invalid topics", c->topic);
    c->hopeless = true;
}

/* Asks for the topic, which may create it; 0 when there is none. */
static int32_t partition_count(struct consumer *c)
{
    const struct rd_kafka_metadata *m;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(c->rk, c->topic, NULL);
    if (topic == NULL)
        return 0;
    rd_kafka_resp_err_t err = rd_kafka_metadata(c->rk, 0, topic, &m, METADATA_TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    int32_t count = m->topic_cnt > 0 ? m->topics[0].partition_cnt : 0;
    if (m->topic_cnt > 0)
        look_at_error(c, m->topics[0].err);
    rd_kafka_metadata_destroy(m);
    return count;
}

/*
 * A consumer that was given no group has nobody to share with: it takes all partitions itself and saves the
 * seconds that a group takes to form.
 */
static void assign_new_partitions(struct consumer *c, int64_t now)
{
    enum { RETRY_MS = 100 };
    int64_t wait = c->assigned > 0 ? MAX(c->refresh_ms, LEAST_REFRESH_MS) : RETRY_MS;
    if (c->refreshed_ms != 0 && now - c->refreshed_ms < wait)
        return;
    int32_t count = partition_count(c);
    if (count > c->assigned) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
        for (int32_t p = c->assigned; p < count; p++) /* those that come later are read whole */
            rd_kafka_topic_partition_list_add(list, c->topic, p)->offset =
                c->assigned > 0 ? RD_KAFKA_OFFSET_BEGINNING : c->offset;
        rd_kafka_error_t *error = rd_kafka_incremental_assign(c->rk, list);
        if (error == NULL)
            c->assigned = count;
        else
            rd_kafka_error_destroy(error);
        rd_kafka_topic_partition_list_destroy(list);
    }
    c->refreshed_ms = clock_mono_ms();
}

/*
 * What --include means of what the cluster has, topics or partitions, in order. Of a topic that it cannot tell of now
 * there is one entry with the error. NULL: the cluster does not tell.
 */
static rd_kafka_topic_partition_list_t *find_matches(struct consumer *c)
{
    const struct rd_kafka_metadata *m;
    if (rd_kafka_metadata(c->rk, 1, NULL, &m, METADATA_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(m->topic_cnt);
    for (int i = 0; i < m->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &m->topics[i];
        bool hidden = !c->with_internal && topic_is_internal(str_of(t->topic));
        if (t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || hidden ||
            !pattern_matches(c->include, str_of(t->topic)))
            continue;
        if (c->grouped || t->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            rd_kafka_topic_partition_list_add(list, t->topic, RD_KAFKA_PARTITION_UA)->err = t->err;
        else
            rd_kafka_topic_partition_list_add_range(list, t->topic, 0, t->partition_cnt - 1);
    }
    rd_kafka_metadata_destroy(m);
    rd_kafka_topic_partition_list_sort(list, NULL, NULL);
    return list;
}

struct matches_change {
    rd_kafka_topic_partition_list_t *next, *more, *less;
    const char *unsure; /* the topic that the cluster could not tell of */
};

/* One answer without it may be of a broker that has just started; with the second it is gone. */
static void miss_match(struct matches_change *change, const rd_kafka_topic_partition_t *old)
{
    static char missed; /* to point at */
    bool unsure = change->unsure != NULL && strcmp(change->unsure, old->topic) == 0;
    if (unsure || old->opaque == NULL)
        rd_kafka_topic_partition_list_add(change->next, old->topic, old->partition)->opaque =
            unsure ? old->opaque : &missed;
    else
        rd_kafka_topic_partition_list_add(change->less, old->topic, old->partition);
}

static void meet_match(struct matches_change *change, const rd_kafka_topic_partition_t *found)
{
    if (found->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        change->unsure = found->topic;
        return;
    }
    rd_kafka_topic_partition_list_add(change->next, found->topic, found->partition);
    rd_kafka_topic_partition_list_add(change->more, found->topic, found->partition);
}

static int match_order(const rd_kafka_topic_partition_t *a, const rd_kafka_topic_partition_t *b)
{
    int order = strcmp(a->topic, b->topic);
    return order != 0 ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

/* Both lists are in order; so is what is next. An entry with an error comes before the partitions of its topic. */
static void merge_matches(struct matches_change *change, const rd_kafka_topic_partition_list_t *old,
                          const rd_kafka_topic_partition_list_t *found)
{
    int i = 0, k = 0;
    while (i < old->cnt || k < found->cnt) {
        int order = i == old->cnt ? 1 : k == found->cnt ? -1 : match_order(&old->elems[i], &found->elems[k]);
        if (order < 0)
            miss_match(change, &old->elems[i]);
        else if (order > 0)
            meet_match(change, &found->elems[k]);
        else
            rd_kafka_topic_partition_list_add(change->next, old->elems[i].topic, old->elems[i].partition);
        i += order <= 0;
        k += order >= 0;
    }
}

static void follow_matches(struct consumer *c, const struct matches_change *change)
{
    bool later = c->met && c->offset == RD_KAFKA_OFFSET_END; /* what comes later is read whole */
    if (c->grouped && change->more->cnt + change->less->cnt > 0) {
        if (change->next->cnt > 0)
            rd_kafka_subscribe(c->rk, change->next);
        else
            rd_kafka_unsubscribe(c->rk);
    }
    for (int i = 0; i < change->more->cnt; i++)
        change->more->elems[i].offset = later ? RD_KAFKA_OFFSET_BEGINNING : c->offset;
    if (!c->grouped && change->less->cnt > 0)
        rd_kafka_error_destroy(rd_kafka_incremental_unassign(c->rk, change->less));
    if (!c->grouped && change->more->cnt > 0)
        rd_kafka_error_destroy(rd_kafka_incremental_assign(c->rk, change->more));
}

static void change_matches(struct consumer *c, const rd_kafka_topic_partition_list_t *found)
{
    struct matches_change change = {
        .next = rd_kafka_topic_partition_list_new(found->cnt),
        .more = rd_kafka_topic_partition_list_new(0),
        .less = rd_kafka_topic_partition_list_new(0),
    };
    merge_matches(&change, c->matches, found);
    follow_matches(c, &change);
    rd_kafka_topic_partition_list_destroy(change.more);
    rd_kafka_topic_partition_list_destroy(change.less);
    rd_kafka_topic_partition_list_destroy(c->matches);
    c->matches = change.next;
    c->met = true;
}

/*
 * Patterns are Java's, and what matches is looked for here, as in Java's consumer: librdkafka's regular expressions are
 * others, and know of no internal topics. What comes and goes is noticed as often as metadata is refreshed.
 */
static void refresh_matches(struct consumer *c, int64_t now)
{
    enum { RETRY_MS = 1000 };
    int64_t wait = MAX(c->matches->cnt > 0 ? c->refresh_ms : MIN(c->refresh_ms, RETRY_MS), LEAST_REFRESH_MS);
    if (c->refreshed_ms != 0 && now - c->refreshed_ms < wait)
        return;
    rd_kafka_topic_partition_list_t *found = find_matches(c);
    c->refreshed_ms = clock_mono_ms();
    if (found == NULL)
        return;
    change_matches(c, found);
    rd_kafka_topic_partition_list_destroy(found);
}

static void look_for_more(struct consumer *c, int64_t now)
{
    if (c->include != NULL)
        refresh_matches(c, now);
    else if (!c->grouped && c->partition < 0)
        assign_new_partitions(c, now);
}

static bool console_consumer_start(struct consumer *c, const struct options *o, struct fail *fail)
{
    enum { LONGEST_NAME = 512 }; /* librdkafka's; it does not survive all that is longer */
    if (c->topic != NULL && *c->topic == '\0')
        return fail_set(fail, "Topic collection to subscribe to cannot contain null or empty topic");
    if (c->topic != NULL && strlen(c->topic) > LONGEST_NAME) {
        look_at_error(c, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION);
        return true;
    }
    if (c->topic == NULL) {
        c->matches = rd_kafka_topic_partition_list_new(0);
        c->include =
            pattern_of_regex(options_has(o, "include") ? options_get(o, "include") : options_get(o, "whitelist"), fail);
        return c->include != NULL;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (c->partition >= 0) {
        partition_count(c); /* or librdkafka would begin with a pause, not knowing the topic */
        rd_kafka_topic_partition_list_add(list, c->topic, c->partition)->offset = c->offset;
        err = c->hopeless ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_assign(c->rk, list);
    } else if (c->grouped) {
        rd_kafka_topic_partition_list_add(list, c->topic, RD_KAFKA_PARTITION_UA);
        err = rd_kafka_subscribe(c->rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR || fail_set(fail, "%s", rd_kafka_err2str(err));
}

/* ---- Consuming ---- */

/* Nothing is there now: shows what was printed, and waits a moment. */
static rd_kafka_message_t *wait_message(struct consumer *c)
{
    enum { SLICE_MS = 100 };
    fflush(stdout);
    return rd_kafka_consumer_poll(c->rk, SLICE_MS);
}

/* False when consuming ends. */
static bool console_consumer_take_message(struct consumer *c, const rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        m->err == RD_KAFKA_RESP_ERR__TRANSPORT || m->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || m->err == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED) {
        fprintf(stderr, "WARN %s\n", rd_kafka_message_errstr(m));
        return true;
    }
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fprintf(stderr, "ERROR Error processing message, terminating consumer process: %s\n",
                rd_kafka_message_errstr(m));
        return false;
    }
    c->count++;
    if (!formatter_print(&c->formatter, m)) {
        fprintf(stderr, "ERROR Error processing message%s: it cannot be deserialized\n",
                c->skip_on_error ? ", skipping this message" : "");
        c->broken = !c->skip_on_error;
        return c->skip_on_error;
    }
    if (ferror(stdout)) {
        fprintf(stderr, "Unable to write to standard out, closing consumer.\n");
        return false;
    }
    return true;
}

static void console_consumer_consume(struct consumer *c)
{
    int64_t last = clock_mono_ms();
    bool going = true;
    while (going && !c->hopeless && !atomic_load(&tool_interrupted) &&
           (c->max_messages < 0 || c->count < c->max_messages)) {
        look_for_more(c, clock_mono_ms()); /* which may take seconds */
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, 0);
        if (m == NULL)
            m = wait_message(c);
        if (m != NULL) {
            going = console_consumer_take_message(c, m);
            if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
                last = clock_mono_ms();
            rd_kafka_message_destroy(m);
        } else if (c->timeout_ms >= 0 && clock_mono_ms() - last > c->timeout_ms) {
            fprintf(stderr,
                    "ERROR Error processing message, terminating consumer process: no message for %" PRId64 " ms\n",
                    c->timeout_ms);
            going = false;
        }
    }
    fflush(stdout);
    fprintf(stderr, "Processed a total of %" PRId64 " messages\n", c->count);
}

/* ---- Arguments ---- */

static bool console_consumer_check_arguments(const struct options *o)
{
    bool pattern = options_has(o, "include") || options_has(o, "whitelist");
    if (options_has(o, "topic") == pattern) {
        options_complain(o, "Exactly one of --include/--topic is required. ");
        return false;
    }
    if (options_has(o, "partition") && !options_has(o, "topic")) {
        options_complain(o, "The topic is required when partition is specified.");
        return false;
    }
    if (options_has(o, "offset") && !options_has(o, "partition")) {
        options_complain(o, "The partition is required when offset is specified.");
        return false;
    }
    if (options_has(o, "partition") && options_has(o, "group")) {
        options_complain(o, "Options group and partition cannot be specified together.");
        return false;
    }
    if (options_has(o, "from-beginning") && options_has(o, "partition") && options_has(o, "offset")) {
        options_complain(o, "Options from-beginning and offset cannot be specified together.");
        return false;
    }
    return options_need(o, "bootstrap-server");
}

static bool parse_offset(const struct options *o, int64_t *out)
{
    const char *text = options_get(o, "offset");
    *out = options_has(o, "from-beginning") ? RD_KAFKA_OFFSET_BEGINNING : RD_KAFKA_OFFSET_END;
    if (!options_has(o, "offset") || strcasecmp(text, "latest") == 0)
        return true;
    if (strcasecmp(text, "earliest") == 0) {
        *out = RD_KAFKA_OFFSET_BEGINNING;
        return true;
    }
    if (java_integer(text, 0, INT64_MAX, out))
        return true;
    options_complain(
        o,
        "The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.",
        text);
    return false;
}

/* All places that name a group must agree. */
static bool console_consumer_choose_group(const struct options *o, struct rd_props *p, struct consumer *c,
                                          struct fail *fail)
{
    const char *given = options_get(o, "group"), *set = rd_props_get(p, "group.id");
    if (given != NULL && set != NULL && strcmp(given, set) != 0)
        return fail_set(
            fail,
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via "
            "'--consumer.config') do not match. Detected group ids: '%s', '%s'",
            given, set);
    if (set != NULL && c->partition >= 0)
        return fail_set(fail, "Options group and partition cannot be specified together.");
    c->grouped = given != NULL || set != NULL;
    if (given != NULL)
        rd_props_set(p, "group.id", given);
    else if (set == NULL) {
        char made[64];
        snprintf(made, sizeof(made), "console-consumer-%d", (int)(getpid() % 100000));
        rd_props_set(p, "group.id", made);
        rd_props_default(p, "enable.auto.commit", "false");
    }
    return true;
}

/* Where all begins without a group; by "none" at a committed offset, of which there is none. */
static int64_t offset_of_reset(const char *reset)
{
    return strcmp(reset, "earliest") == 0 ? RD_KAFKA_OFFSET_BEGINNING
           : strcmp(reset, "none") == 0   ? RD_KAFKA_OFFSET_STORED
                                          : RD_KAFKA_OFFSET_END;
}

static bool console_consumer_make_props(const struct options *o, struct rd_props *p, struct consumer *c,
                                        struct fail *fail)
{
    if (!rd_props_read(p, options_get(o, "consumer.config"), fail))
        return false;
    rd_props_add(p, options_all(o, "consumer-property"));
    if (!rd_props_of_client(p, fail))
        return false;
    const char *reset = rd_props_get(p, "auto.offset.reset");
    if (reset != NULL && options_has(o, "from-beginning") && strcmp(reset, "earliest") != 0)
        return fail_set(
            fail, "Can't simultaneously specify --from-beginning and 'auto.offset.reset=%s', please remove one option",
            reset);
    if (reset != NULL && !options_has(o, "partition"))
        c->offset = offset_of_reset(reset);
    rd_props_default(p, "auto.offset.reset", options_has(o, "from-beginning") ? "earliest" : "latest");
    rd_props_set(p, "bootstrap.servers", options_get(o, "bootstrap-server"));
    if (options_has(o, "isolation-level") || rd_props_get(p, "isolation.level") == NULL)
        rd_props_set(p, "isolation.level", options_get(o, "isolation-level"));
    rd_props_default(p, "client.id", "console-consumer");
    c->with_internal = rd_props_is(p, "exclude.internal.topics", "false");
    if (c->topic == NULL) /* what matched and has been deleted is not to be made again */
        rd_props_set(p, "allow.auto.create.topics", "false");
    rd_props_default(p, "metadata.max.age.ms", "300000");
    return rd_props_number(p, "metadata.max.age.ms", "LONG", 0, &c->refresh_ms, fail) &&
           console_consumer_choose_group(o, p, c, fail);
}

/* Like Java, which cannot load it, the message is the name. */
static bool choose_formatter(const struct options *o, struct formatter *f)
{
    const char *class_name = options_get(o, "formatter");
    if (formatter_choose(f, class_name))
        return true;
    options_complain(o, "%s", class_name);
    return false;
}

static bool make_formatter(const struct options *o, struct formatter *f, struct rd_props *p, struct fail *fail)
{
    if (!rd_props_read(p, options_get(o, "formatter-config"), fail))
        return false;
    if (options_has(o, "key-deserializer"))
        rd_props_set(p, "key.deserializer", options_get(o, "key-deserializer"));
    if (options_has(o, "value-deserializer"))
        rd_props_set(p, "value.deserializer", options_get(o, "value-deserializer"));
    rd_props_add(p, options_all(o, "property"));
    return rd_props_replace(p, fail) && formatter_configure(f, p, fail);
}

static bool console_consumer_run(const struct options *o, struct consumer *c, struct rd_props *props,
                                 struct rd_props *formatting, struct fail *fail)
{
    if (!console_consumer_make_props(o, props, c, fail) || !make_formatter(o, &c->formatter, formatting, fail))
        return false;
    c->rk = rd_client_new(RD_KAFKA_CONSUMER, props, rd_kafka_conf_new(), fail);
    if (c->rk == NULL)
        return false;
    rd_kafka_poll_set_consumer(c->rk);
    bool ok = console_consumer_start(c, o, fail);
    if (ok)
        console_consumer_consume(c);
    rd_kafka_consumer_close(c->rk);
    rd_client_free(c->rk);
    pattern_free(c->include);
    if (c->matches != NULL)
        rd_kafka_topic_partition_list_destroy(c->matches);
    if (ok && options_has(o, "enable-systest-events"))
        puts("shutdown_complete");
    return ok && !c->broken;
}

int tool_console_consumer(int argc, char **argv)
{
    struct options o;
    struct fail fail = {.text = ""};
    struct rd_props props = {0}, formatting = {0};
    struct consumer c = {.max_messages = -1, .timeout_ms = -1};
    int64_t partition = -1;
    int code = OPTIONS_PARSE(&o, specs, argc, argv,
                             "This tool helps to read data from Kafka topics and outputs it to standard output.");
    tool_catch_signals();
    if (code < 0 &&
        !(console_consumer_check_arguments(&o) && parse_offset(&o, &c.offset) &&
          options_number(&o, "partition", 0, INT32_MAX, &partition) &&
          options_number(&o, "max-messages", -1, INT32_MAX, &c.max_messages) &&
          options_number(&o, "timeout-ms", INT64_MIN, INT64_MAX, &c.timeout_ms) && choose_formatter(&o, &c.formatter)))
        code = 1;
    if (code < 0) {
        c.topic = options_get(&o, "topic");
        c.partition = (int32_t)partition;
        c.skip_on_error = options_has(&o, "skip-message-on-error");
        code = console_consumer_run(&o, &c, &props, &formatting, &fail) ? 0 : 1;
        if (fail.text[0] != '\0')
            fprintf(stderr, "%s\n", fail.text);
    }
    rd_props_deinit(&props);
    rd_props_deinit(&formatting);
    options_free(&o);
    return code;
}
