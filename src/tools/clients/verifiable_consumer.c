/* kafka-verifiable-consumer: consumes as a member of a group, and tells of assignments, records and commits. */
#include <inttypes.h>

#include "tools/clients/verifiable.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUES, "HOST1:PORT1,...", "REQUIRED: The server(s) to connect to.", NULL},
    {"broker-list", OPTION_VALUES, "HOST1:PORT1,...", "DEPRECATED, use --bootstrap-server instead.", NULL},
    {"topic", OPTION_VALUES, "TOPIC", "REQUIRED: Consumes messages from this topic.", NULL},
    {"group-protocol", OPTION_VALUES, "GROUP_PROTOCOL", "How the group works: classic or consumer.", "classic"},
    {"group-remote-assignor", OPTION_VALUES, "GROUP_REMOTE_ASSIGNOR",
     "Which assignor of the broker's; only with the group protocol consumer.", NULL},
    {"group-id", OPTION_VALUES, "GROUP_ID", "REQUIRED: The group of the consumer.", NULL},
    {"group-instance-id", OPTION_VALUES, "GROUP_INSTANCE_ID", "The name of this consumer in the group.", NULL},
    {"max-messages", OPTION_VALUES, "MAX-MESSAGES", "Consume this many messages; below 0: until a signal.", "-1"},
    {"session-timeout", OPTION_VALUES, "TIMEOUT_MS", "The consumer's session timeout.", "30000"},
    {"verbose", OPTION_FLAG, NULL, "Print each record, too.", NULL},
    {"enable-autocommit", OPTION_FLAG, NULL, "Commit offsets now and then, and not after each batch.", NULL},
    {"reset-policy", OPTION_VALUES, "RESET_POLICY", "Where to begin without an offset: earliest, latest or none.",
     "earliest"},
    {"assignment-strategy", OPTION_VALUES, "ASSIGNMENT_STRATEGY",
     "How members share partitions; only with the group protocol classic.",
     "org.apache.kafka.clients.consumer.RangeAssignor"},
    {"consumer.config", OPTION_VALUES, "CONFIG_FILE", "Consumer properties file; options count more.", NULL},
};

static const char purpose[] =
    "This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received "
    "messages, and offsets committed) as JSON objects to STDOUT.";

enum { MOST_AT_ONCE = 500 }; /* Java's max.poll.records */

struct batch {
    rd_kafka_message_t *messages[MOST_AT_ONCE];
    int count;
};

struct verifiable_consumer {
    rd_kafka_t *rk;
    int64_t max_messages, consumed;
    bool auto_commit, verbose, failed;
    struct batch batch;
};

/* ---- Rebalances ---- */

static json_t *new_place(const char *topic, int32_t partition)
{
    json_t *place = json_object();
    json_object_set_new(place, "topic", json_string(topic));
    json_object_set_new(place, "partition", json_integer(partition));
    return place;
}

static void tell_partitions(const char *name, const rd_kafka_topic_partition_list_t *list)
{
    json_t *event = verifiable_event_new(name), *partitions = json_array();
    for (int i = 0; i < list->cnt; i++)
        json_array_append_new(partitions, new_place(list->elems[i].topic, list->elems[i].partition));
    json_object_set_new(event, "partitions", partitions);
    event_print(event);
}

static void verifiable_consumer_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                                             rd_kafka_topic_partition_list_t *list, void *opaque UNUSED)
{
    bool add = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (add || list->cnt > 0)
        tell_partitions(add ? "partitions_assigned" : "partitions_revoked", list);
    rd_client_assign(rk, list, add);
}

/* ---- Records ---- */

static void tell_record(const rd_kafka_message_t *m)
{
    json_t *event = verifiable_event_new("record_data");
    json_object_set_new(event, "key", event_text(m->key, m->key_len));
    json_object_set_new(event, "value", event_text(m->payload, m->len));
    json_object_set_new(event, "topic", json_string(rd_kafka_topic_name(m->rkt)));
    json_object_set_new(event, "partition", json_integer(m->partition));
    json_object_set_new(event, "offset", json_integer(m->offset));
    event_print(event);
}

static bool same_partition(const rd_kafka_message_t *a, const rd_kafka_message_t *b)
{
    return a->partition == b->partition && strcmp(rd_kafka_topic_name(a->rkt), rd_kafka_topic_name(b->rkt)) == 0;
}

/* Whether an earlier message of the batch is of the same partition. */
static bool is_done(const struct batch *b, int at)
{
    for (int i = 0; i < at; i++)
        if (same_partition(b->messages[i], b->messages[at]))
            return true;
    return false;
}

/* What the batch has of the partition of the message at `from`, up to the limit. */
static void verifiable_consumer_take_partition(struct verifiable_consumer *c, int from, json_t *summaries,
                                               rd_kafka_topic_partition_list_t *offsets)
{
    const rd_kafka_message_t *first = c->batch.messages[from], *last = first;
    int64_t count = 0;
    for (int i = from; i < c->batch.count && (c->max_messages < 0 || c->consumed < c->max_messages); i++) {
        if (!same_partition(c->batch.messages[i], first))
            continue;
        last = c->batch.messages[i];
        if (c->verbose)
            tell_record(last);
        count++;
        c->consumed++;
    }
    if (count == 0)
        return;
    json_t *summary = new_place(rd_kafka_topic_name(first->rkt), first->partition);
    json_object_set_new(summary, "count", json_integer(count));
    json_object_set_new(summary, "minOffset", json_integer(first->offset));
    json_object_set_new(summary, "maxOffset", json_integer(last->offset));
    json_array_append_new(summaries, summary);
    rd_kafka_topic_partition_list_add(offsets, rd_kafka_topic_name(first->rkt), first->partition)->offset =
        last->offset + 1;
}

static void verifiable_consumer_commit(struct verifiable_consumer *c, const rd_kafka_topic_partition_list_t *offsets)
{
    rd_kafka_resp_err_t err = rd_kafka_commit(c->rk, offsets, 0);
    json_t *event = verifiable_event_new("offsets_committed"), *list = json_array();
    for (int i = 0; i < offsets->cnt; i++) {
        json_t *place = new_place(offsets->elems[i].topic, offsets->elems[i].partition);
        json_object_set_new(place, "offset", json_integer(offsets->elems[i].offset));
        json_array_append_new(list, place);
    }
    json_object_set_new(event, "offsets", list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        json_object_set_new(event, "error", json_string(rd_kafka_err2str(err)));
    json_object_set_new(event, "success", json_boolean(err == RD_KAFKA_RESP_ERR_NO_ERROR));
    event_print(event);
}

static void take_batch(struct verifiable_consumer *c)
{
    json_t *summaries = json_array();
    rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
    for (int i = 0; i < c->batch.count; i++)
        if (!is_done(&c->batch, i))
            verifiable_consumer_take_partition(c, i, summaries, offsets);
    json_t *event = verifiable_event_new("records_consumed");
    json_object_set_new(event, "count", json_integer(c->batch.count));
    json_object_set_new(event, "partitions", summaries);
    event_print(event);
    if (!c->auto_commit)
        verifiable_consumer_commit(c, offsets);
    rd_kafka_topic_partition_list_destroy(offsets);
}

/* ---- Consuming ---- */

/* Adds the message to the batch, or tells what is wrong. */
static void verifiable_consumer_take_message(struct verifiable_consumer *c, rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        c->batch.messages[c->batch.count++] = m;
        return;
    }
    c->failed = rd_client_ends_by(m);
    fprintf(stderr, "%s %s\n", c->failed ? "ERROR Error during processing, terminating consumer process:" : "WARN",
            rd_kafka_message_errstr(m));
    rd_kafka_message_destroy(m);
}

/* Waits for a message, and takes with it what is there already. */
static void fill_batch(struct verifiable_consumer *c)
{
    enum { SLICE_MS = 100 };
    rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, SLICE_MS);
    while (m != NULL) {
        verifiable_consumer_take_message(c, m);
        m = c->batch.count < MOST_AT_ONCE && !c->failed ? rd_kafka_consumer_poll(c->rk, 0) : NULL;
    }
}

static void verifiable_consumer_consume(struct verifiable_consumer *c)
{
    while (!c->failed && !atomic_load(&tool_interrupted) && (c->max_messages < 0 || c->consumed < c->max_messages)) {
        fill_batch(c);
        if (c->batch.count > 0)
            take_batch(c);
        for (int i = 0; i < c->batch.count; i++)
            rd_kafka_message_destroy(c->batch.messages[i]);
        c->batch.count = 0;
    }
}

static bool subscribe(struct verifiable_consumer *c, const char *topic, struct fail *fail)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR || fail_set(fail, "%s", rd_kafka_err2str(err));
}

/* ---- The tool ---- */

static bool set_reset(const struct options *o, struct rd_props *p, struct fail *fail)
{
    const char *policy = options_get(o, "reset-policy");
    rd_props_set(p, "auto.offset.reset", policy);
    return strcmp(policy, "none") == 0 || strcmp(policy, "earliest") == 0 || strcmp(policy, "latest") == 0 ||
           fail_set(fail,
                    "Invalid value %s for configuration auto.offset.reset: String must be one of: latest, earliest, "
                    "none",
                    policy);
}

static bool verifiable_consumer_make_props(const struct options *o, struct rd_props *p, struct fail *fail)
{
    if (!rd_props_read(p, options_get(o, "consumer.config"), fail) || !rd_props_of_client(p, fail))
        return false;
    if (strcasecmp(options_get(o, "group-protocol"), "consumer") == 0) {
        rd_props_set(p, "group.protocol", "consumer");
        if (options_has(o, "group-remote-assignor"))
            rd_props_set(p, "group.remote.assignor", options_get(o, "group-remote-assignor"));
    } else {
        rd_props_set(p, "partition.assignment.strategy", options_get(o, "assignment-strategy"));
        rd_props_set(p, "session.timeout.ms", options_get(o, "session-timeout"));
    }
    rd_props_set(p, "group.id", options_get(o, "group-id"));
    if (options_has(o, "group-instance-id"))
        rd_props_set(p, "group.instance.id", options_get(o, "group-instance-id"));
    rd_props_set(p, "bootstrap.servers", verifiable_bootstrap(o));
    rd_props_set(p, "enable.auto.commit", options_has(o, "enable-autocommit") ? "true" : "false");
    return set_reset(o, p, fail);
}

static bool verifiable_consumer_run(const struct options *o, struct verifiable_consumer *c, struct fail *fail)
{
    struct rd_props props = {0};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool ok = verifiable_consumer_make_props(o, &props, fail);
    rd_kafka_conf_set_rebalance_cb(conf, verifiable_consumer_on_rebalance);
    if (!ok)
        rd_kafka_conf_destroy(conf);
    c->rk = ok ? rd_client_new(RD_KAFKA_CONSUMER, &props, conf, fail) : NULL;
    rd_props_deinit(&props);
    if (c->rk == NULL)
        return false;
    rd_kafka_poll_set_consumer(c->rk);
    event_print_plain("startup_complete");
    ok = subscribe(c, options_get(o, "topic"), fail);
    if (ok)
        verifiable_consumer_consume(c);
    rd_kafka_consumer_close(c->rk);
    rd_client_free(c->rk);
    event_print_plain("shutdown_complete");
    return ok;
}

int tool_verifiable_consumer(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct verifiable_consumer c = {.max_messages = -1};
    int64_t session_timeout_ms = 0;
    int code = verifiable_parse(&o, specs, ARRAY_LEN(specs), argc, argv, purpose);
    tool_catch_signals();
    if (code < 0 &&
        !(verifiable_need(&o, "topic") && verifiable_need(&o, "group-id") && verifiable_bootstrap(&o) != NULL &&
          options_number(&o, "max-messages", INT32_MIN, INT32_MAX, &c.max_messages) &&
          options_number(&o, "session-timeout", 0, INT32_MAX, &session_timeout_ms)))
        code = 1;
    if (code < 0) {
        c.auto_commit = options_has(&o, "enable-autocommit");
        c.verbose = options_has(&o, "verbose");
        code = verifiable_consumer_run(&o, &c, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    options_free(&o);
    return code;
}
