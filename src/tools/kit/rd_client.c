/*
 * Properties are kept by the names that Java's clients have, and translated as a client is made: most are the same for
 * librdkafka, some have another name or unit, and some have no counterpart and are passed over, as a file of properties
 * that works with Java should do here, too. Of a name that nobody knows the user is warned, as by Java.
 */
#include "tools/kit/rd_client.h"

#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "cluster/znodes.h"
#include "config/config.h"
#include "config/variables.h"
#include "tools/kit/bootstrap.h"
#include "tools/kit/rd_security.h"

/* ---- Properties ---- */

void rd_props_deinit(struct rd_props *p)
{
    arena_deinit(&p->arena);
    free(p->pairs);
}

static size_t rd_client_find(const struct rd_props *p, const char *name)
{
    for (size_t i = 0; i < p->count; i += 2)
        if (strcmp(p->pairs[i], name) == 0)
            return i;
    return SIZE_MAX;
}

void rd_props_set(struct rd_props *p, const char *name, const char *value)
{
    size_t at = rd_client_find(p, name);
    if (at == SIZE_MAX) {
        at = p->count;
        p->pairs = xgrow(p->pairs, p->count + 2, &p->cap, sizeof(*p->pairs));
        p->pairs[at] = arena_cstr(&p->arena, str_of(name));
        p->count += 2;
    }
    p->pairs[at + 1] = arena_cstr(&p->arena, str_of(value));
}

void rd_props_default(struct rd_props *p, const char *name, const char *value)
{
    if (rd_client_find(p, name) == SIZE_MAX)
        rd_props_set(p, name, value);
}

const char *rd_props_get(const struct rd_props *p, const char *name)
{
    size_t at = rd_client_find(p, name);
    return at != SIZE_MAX ? p->pairs[at + 1] : NULL;
}

bool rd_props_is(const struct rd_props *p, const char *name, const char *value)
{
    struct str text = str_trim(str_of(rd_props_get(p, name)));
    return (size_t)text.len == strlen(value) && strncasecmp(text.p, value, (size_t)text.len) == 0;
}

static bool read_property_number(const char *name, const char *text, const char *type, int64_t min, int64_t *out,
                                 struct fail *fail)
{
    bool is_int = strcmp(type, "INT") == 0;
    if (!java_integer(text, is_int ? INT32_MIN : INT64_MIN, is_int ? INT32_MAX : INT64_MAX, out))
        return fail_set(fail, "Invalid value %s for configuration %s: Not a number of type %s", text, name, type);
    return *out >= min ||
           fail_set(fail, "Invalid value %s for configuration %s: Value must be at least %" PRId64, text, name, min);
}

bool rd_props_number(const struct rd_props *p, const char *name, const char *type, int64_t min, int64_t *out,
                     struct fail *fail)
{
    const char *text = rd_props_get(p, name);
    return text == NULL || read_property_number(name, text, type, min, out, fail);
}

bool rd_props_read(struct rd_props *p, const char *file, struct fail *fail)
{
    struct properties read;
    if (file == NULL)
        return true;
    if (!properties_read(file, &p->arena, &read, fail))
        return false;
    for (int i = 0; i < read.count; i++)
        rd_props_set(p, read.items[i].key, read.items[i].value);
    return true;
}

void rd_props_add(struct rd_props *p, const struct option_value *words)
{
    for (int i = 0; i < words->count; i++) {
        const char *word = words->values[i], *equals = strchr(word, '=');
        char *name = xstrndup(word, equals != NULL ? (size_t)(equals - word) : strlen(word));
        rd_props_set(p, name, equals != NULL ? equals + 1 : "");
        free(name);
    }
}

static const char *find_for_variables(const void *props, const char *name)
{
    return rd_props_get(props, name);
}

/* All values are found first: a provider's own settings may have variables, which count as they are written. */
bool rd_props_replace(struct rd_props *p, struct fail *fail)
{
    const struct variables v = {find_for_variables, p};
    const char **found = ARENA_ARRAY(&p->arena, const char *, p->count + 1);
    if (!variables_check(&v, fail))
        return false;
    for (size_t i = 0; i < p->count; i += 2) {
        found[i] = variables_replace(&v, p->pairs[i + 1], &p->arena, fail);
        if (found[i] == NULL)
            return fail_wrap(fail, "%s", p->pairs[i]);
    }
    for (size_t i = 0; i < p->count; i += 2)
        p->pairs[i + 1] = found[i];
    return true;
}

bool rd_props_of_client(struct rd_props *p, struct fail *fail)
{
    if (!rd_props_replace(p, fail))
        return false;
    for (size_t i = 0; i < p->count; i += 2)
        p->pairs[i + 1] = text_trim(p->pairs[i + 1], &p->arena);
    return true;
}

/* ---- From the Java clients' names to librdkafka's ---- */

enum translation { SAME_VALUE, BYTES_TO_KBYTES, ASSIGNOR, RESET, NOTHING };

static const struct name {
    const char *java, *rdkafka;
    enum translation how;
} names[] = {
    {"max.request.size", "message.max.bytes", SAME_VALUE},
    {"send.buffer.bytes", "socket.send.buffer.bytes", SAME_VALUE},
    {"receive.buffer.bytes", "socket.receive.buffer.bytes", SAME_VALUE},
    {"buffer.memory", "queue.buffering.max.kbytes", BYTES_TO_KBYTES},
    {"fetch.max.wait.ms", "fetch.wait.max.ms", SAME_VALUE},
    {"partition.assignment.strategy", "partition.assignment.strategy", ASSIGNOR},
    {"auto.offset.reset", "auto.offset.reset", RESET},
    {"bootstrap.servers", NULL, NOTHING}, /* this is of set_bootstrap() */
    {"sasl.jaas.config", NULL, NOTHING},  /* these are of rd_security_set() */
    {"sasl.mechanism", NULL, NOTHING},
    {"sasl.kerberos.service.name", NULL, NOTHING},
    {"sasl.kerberos.kinit.cmd", NULL, NOTHING},
    {"sasl.login.callback.handler.class", NULL, NOTHING},
    {"sasl.login.connect.timeout.ms", NULL, NOTHING},
    {"sasl.login.read.timeout.ms", NULL, NOTHING},
    {"sasl.login.refresh.buffer.seconds", NULL, NOTHING},
    {"sasl.login.refresh.min.period.seconds", NULL, NOTHING},
    {"sasl.login.refresh.window.factor", NULL, NOTHING},
    {"sasl.login.refresh.window.jitter", NULL, NOTHING},
    {"sasl.login.retry.backoff.max.ms", NULL, NOTHING},
    {"sasl.login.retry.backoff.ms", NULL, NOTHING},
    {"sasl.oauthbearer.token.endpoint.url", NULL, NOTHING},
    {"ssl.cipher.suites", NULL, NOTHING},
    {"ssl.enabled.protocols", NULL, NOTHING},
    {"ssl.protocol", NULL, NOTHING},
    {"ssl.truststore.location", NULL, NOTHING},
    {"ssl.truststore.certificates", NULL, NOTHING},
    {"ssl.truststore.type", NULL, NOTHING},
    {"ssl.truststore.password", NULL, NOTHING},
    {"ssl.keystore.location", NULL, NOTHING},
    {"ssl.keystore.certificate.chain", NULL, NOTHING},
    {"ssl.keystore.key", NULL, NOTHING},
    {"ssl.keystore.type", NULL, NOTHING},
    {"ssl.keystore.password", NULL, NOTHING},
    {"ssl.key.password", NULL, NOTHING},
    {"ssl.endpoint.identification.algorithm", NULL, NOTHING},
    {"key.serializer", NULL, NOTHING},
    {"value.serializer", NULL, NOTHING},
    {"key.deserializer", NULL, NOTHING},
    {"value.deserializer", NULL, NOTHING},
    {"exclude.internal.topics", NULL, NOTHING}, /* this one is of kafka-console-consumer */
    {"max.block.ms", NULL, NOTHING},
    {"max.poll.records", NULL, NOTHING},
    {"retry.backoff.max.ms", NULL, NOTHING},
};

/*
 * Where librdkafka takes less than Java, whose least value comes first: of what Java alone takes it gets the nearest
 * that it does. So -1, by which Java leaves buffers to the system, becomes 0, which is librdkafka's for it.
 */
static const struct limit {
    const char *rdkafka;
    int64_t java_min, min, max;
} limits[] = {
    {"socket.send.buffer.bytes", -1, 0, 100000000},
    {"socket.receive.buffer.bytes", -1, 0, 100000000},
    {"connections.max.idle.ms", INT64_MIN, 0, INT32_MAX},
    {"message.max.bytes", 0, 1000, 1000000000},
    {"batch.size", 0, 1, INT32_MAX},
    {"linger.ms", 0, 0, 900000},
    {"request.timeout.ms", 0, 1, 900000},
    {"retry.backoff.ms", 0, 1, 300000},
    {"reconnect.backoff.ms", 0, 0, 3600000},
    {"reconnect.backoff.max.ms", 0, 0, 3600000},
    {"socket.connection.setup.timeout.ms", 0, 1000, INT32_MAX},
    {"metadata.max.age.ms", 0, 1, 86400000},
    {"auto.commit.interval.ms", 0, 0, 86400000},
    {"fetch.min.bytes", 0, 1, 100000000},
    {"fetch.wait.max.ms", 0, 0, 300000},
    {"fetch.max.bytes", 0, 1000, 2147483135},
    {"max.partition.fetch.bytes", 0, 1, 1000000000},
    {"max.poll.interval.ms", 1, 1, 86400000},
    {"session.timeout.ms", 0, 1, 3600000},
    {"heartbeat.interval.ms", INT64_MIN, 1, 3600000},
};

static const char *within_limits(const char *name, const char *value, char out[32])
{
    int64_t number;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const struct limit *l = &limits[i];
        if (strcmp(l->rdkafka, name) != 0 || !java_integer(value, l->java_min, INT64_MAX, &number))
            continue;
        snprintf(out, 32, "%" PRId64, MIN(MAX(number, l->min), l->max));
        return out;
    }
    return value;
}

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct fail *fail)
{
    char why[512], number[32];
    switch (rd_kafka_conf_set(conf, name, within_limits(name, value, number), why, sizeof(why))) {
    case RD_KAFKA_CONF_OK:
        return true;
    case RD_KAFKA_CONF_UNKNOWN:
        fprintf(stderr, "WARN The configuration '%s' was supplied but isn't a known config.\n", name);
        return true;
    default:
        return fail_set(fail, "%s", why);
    }
}

/* org.apache.kafka.clients.consumer.RangeAssignor and so on, or librdkafka's own words. */
static bool set_assignor(rd_kafka_conf_t *conf, const char *name, const char *value, struct fail *fail)
{
    static const char *const known[][2] = {{"RangeAssignor", "range"},
                                           {"RoundRobinAssignor", "roundrobin"},
                                           {"StickyAssignor", "range"}, /* librdkafka has no eager sticky one */
                                           {"CooperativeStickyAssignor", "cooperative-sticky"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t len = strlen(value), tail = strlen(known[i][0]);
        if (len > tail && value[len - tail - 1] == '.' && strcmp(value + len - tail, known[i][0]) == 0)
            return set(conf, name, known[i][1], fail);
    }
    return set(conf, name, value, fail);
}

static bool set_java(rd_kafka_conf_t *conf, const char *java, const char *value, struct fail *fail)
{
    char number[32];
    int64_t bytes;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct name *n = &names[i];
        if (strcmp(n->java, java) != 0)
            continue;
        switch (n->how) {
        case SAME_VALUE:
            return set(conf, n->rdkafka, value, fail);
        case BYTES_TO_KBYTES:
            if (!read_property_number(java, value, "LONG", 0, &bytes, fail))
                return false;
            snprintf(number, sizeof(number), "%" PRId64, MAX(bytes / 1024, (int64_t)1));
            return set(conf, n->rdkafka, number, fail);
        case ASSIGNOR:
            return set_assignor(conf, n->rdkafka, value, fail);
        case RESET:
            return set(conf, n->rdkafka, strcmp(value, "none") == 0 ? "error" : value, fail);
        case NOTHING:
            return true;
        }
    }
    if (variables_is_setting(java)) /* of rd_props_replace() */
        return true;
    return set(conf, java, value, fail);
}

/* Where librdkafka's defaults differ from Kafka's. */
static const char *const consumer_defaults[] = {
    "isolation.level", "read_uncommitted", "allow.auto.create.topics", "true", "check.crcs", "true"};
static const char *const producer_defaults[] = {
    "partitioner",         "murmur2_random", "enable.idempotence", "true",
    "delivery.timeout.ms", "120000",         "message.max.bytes",  "1048576"};

/* librdkafka takes any number, and a broker refuses each record. */
static bool rd_client_check_acks(const char *acks, struct fail *fail)
{
    static const char *const known[] = {"all", "-1", "0", "1"};
    for (size_t i = 0; acks != NULL && i < ARRAY_LEN(known); i++)
        if (str_is(str_trim(str_of(acks)), known[i]))
            return true;
    return acks == NULL ||
           fail_set(fail, "Invalid value %s for configuration acks: String must be one of: all, -1, 0, 1", acks);
}

static bool set_defaults(rd_kafka_conf_t *conf, rd_kafka_type_t type, const struct rd_props *p, struct fail *fail)
{
    const char *const *defaults = type == RD_KAFKA_CONSUMER ? consumer_defaults : producer_defaults;
    size_t count = type == RD_KAFKA_CONSUMER ? ARRAY_LEN(consumer_defaults) : ARRAY_LEN(producer_defaults);
    /* As in Kafka's producer, what cannot go with idempotence and was asked for turns it off. */
    const char *acks = rd_props_get(p, "acks");
    int64_t in_flight = 1, retries = 1;
    if (type == RD_KAFKA_PRODUCER && !rd_client_check_acks(acks, fail))
        return false;
    if (!rd_props_number(p, "max.in.flight.requests.per.connection", "INT", 1, &in_flight, fail) ||
        !rd_props_number(p, "retries", "INT", 0, &retries, fail))
        return false;
    bool idempotence =
        (acks == NULL || strcmp(acks, "all") == 0 || strcmp(acks, "-1") == 0) && in_flight <= 5 && retries > 0;
    for (size_t i = 0; i < count; i += 2) {
        bool leave_out = strcmp(defaults[i], "enable.idempotence") == 0 && !idempotence;
        if (!leave_out && rd_props_get(p, defaults[i]) == NULL && !set(conf, defaults[i], defaults[i + 1], fail))
            return false;
    }
    return true;
}

/* librdkafka passes over what is no address, and waits for others for ever. */
static bool set_bootstrap(rd_kafka_conf_t *conf, const struct rd_props *p, struct fail *fail)
{
    const char *text = rd_props_get(p, "bootstrap.servers");
    struct bootstrap_address *v;
    int count;
    if (text == NULL)
        return rd_props_get(p, "metadata.broker.list") != NULL ||
               fail_set(fail, "Missing required configuration \"bootstrap.servers\" which has no default value.");
    struct arena arena = {0};
    struct strbuf list = {0};
    bool ok = bootstrap_read(text, &arena, &v, &count, fail);
    for (int i = 0; ok && i < count; i++)
        strbuf_printf(&list, strchr(v[i].host, ':') != NULL ? "%s[%s]:%d" : "%s%s:%d", i > 0 ? "," : "", v[i].host,
                      v[i].port);
    ok = ok && set(conf, "bootstrap.servers", list.p, fail);
    strbuf_deinit(&list);
    arena_deinit(&arena);
    return ok;
}

/* ---- Settings that depend on each other ---- */

static int64_t number_of(const rd_kafka_conf_t *conf, const char *name)
{
    char text[64] = "";
    size_t size = sizeof(text);
    return rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK ? (int64_t)strtod(text, NULL) : 0;
}

static bool rd_client_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct fail *fail)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, value);
    return set(conf, name, text, fail);
}

static bool raise_to(rd_kafka_conf_t *conf, const char *name, int64_t least, struct fail *fail)
{
    return number_of(conf, name) >= least || rd_client_set_number(conf, name, least, fail);
}

static bool lower_to(rd_kafka_conf_t *conf, const char *name, int64_t most, struct fail *fail)
{
    return number_of(conf, name) <= most || rd_client_set_number(conf, name, most, fail);
}

/*
 * Some pairs that Java's clients take are none for librdkafka, be it for its own default of one of both. The one that
 * was not set, or matters less, follows the other.
 */
static bool reconcile(rd_kafka_conf_t *conf, rd_kafka_type_t type, const struct rd_props *p, struct fail *fail)
{
    if (!raise_to(conf, "reconnect.backoff.max.ms", number_of(conf, "reconnect.backoff.ms"), fail))
        return false;
    if (type == RD_KAFKA_CONSUMER) /* which in Java has no largest message */
        return lower_to(conf, "message.max.bytes", number_of(conf, "fetch.max.bytes"), fail) &&
               raise_to(conf, "max.poll.interval.ms", number_of(conf, "session.timeout.ms"), fail);
    if (rd_props_get(p, "transactional.id") != NULL)
        return lower_to(conf, "delivery.timeout.ms", number_of(conf, "transaction.timeout.ms"), fail);
    return rd_props_get(p, "delivery.timeout.ms") != NULL ||
           raise_to(conf, "delivery.timeout.ms", number_of(conf, "linger.ms") + number_of(conf, "request.timeout.ms"),
                    fail);
}

/* ---- Clients ---- */

/* Java's clients do not try again to log in, which could lock an account; what a producer has waiting fails. */
static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque UNUSED)
{
    if (err != RD_KAFKA_RESP_ERR__AUTHENTICATION) {
        fprintf(stderr, "WARN %s: %s\n", rd_kafka_err2str(err), reason);
        return;
    }
    if (atomic_exchange(&tool_refused, true))
        return;
    fprintf(stderr, "ERROR %s\n", reason);
    atomic_store(&tool_interrupted, true);
    if (rd_kafka_type(rk) == RD_KAFKA_PRODUCER)
        rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
}

rd_kafka_t *rd_client_new(rd_kafka_type_t type, const struct rd_props *p, rd_kafka_conf_t *conf, struct fail *fail)
{
    char why[512];
    bool ok = set_defaults(conf, type, p, fail) && set_bootstrap(conf, p, fail) && rd_security_set(conf, p, fail);
    for (size_t i = 0; ok && i < p->count; i += 2)
        ok = set_java(conf, p->pairs[i], p->pairs[i + 1], fail);
    ok = ok && reconcile(conf, type, p, fail);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_t *rk = ok ? rd_kafka_new(type, conf, why, sizeof(why)) : NULL;
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        if (ok)
            fail_set(fail, "%s", why);
        return NULL;
    }
    rd_security_begin(rk);
    return rk;
}

/* librdkafka says of a topic that cannot be that it is unknown. */
bool rd_client_ends_by(const rd_kafka_message_t *m)
{
    static const rd_kafka_resp_err_t ends[] = {
        RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR__FATAL, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (ends[i] == m->err)
            return true;
    return m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && m->rkt != NULL &&
           !topic_name_is_legal(str_of(rd_kafka_topic_name(m->rkt)));
}

void rd_client_assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, bool add)
{
    bool gradual = strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0;
    if (!gradual)
        rd_kafka_assign(rk, add ? list : NULL);
    else
        rd_kafka_error_destroy(add ? rd_kafka_incremental_assign(rk, list) : rd_kafka_incremental_unassign(rk, list));
}

static void *rd_client_destroy(void *rk)
{
    rd_kafka_destroy(rk);
    return NULL;
}

/*
 * librdkafka before 2.4 waits forever for what refers to a partition that was deleted while it was read. The program
 * ends all the same: nothing is left to do.
 */
void rd_client_free(rd_kafka_t *rk)
{
    enum { PATIENCE_S = 2 };
    pthread_t thread;
    struct timespec until;
    if (pthread_create(&thread, NULL, rd_client_destroy, rk) != 0)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0)
        pthread_detach(thread);
}

void rd_client_pace(rd_kafka_t *rk, int64_t began_ms, int64_t n, double rate)
{
    enum { SLICE_MS = 100 };
    if (rate <= 0)
        return;
    int64_t due = began_ms + (int64_t)((double)n * 1000.0 / rate);
    for (int64_t now = clock_mono_ms(); now < due && !atomic_load(&tool_interrupted); now = clock_mono_ms())
        rd_kafka_poll(rk, (int)MIN(due - now, SLICE_MS));
}

bool rd_client_flush(rd_kafka_t *rk, struct fail *fail)
{
    enum { SLICE_MS = 100 };
    int64_t deadline = INT64_MAX;
    while (rd_kafka_flush(rk, SLICE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (atomic_load(&tool_interrupted) && deadline == INT64_MAX)
            deadline = clock_mono_ms() + RD_CLIENT_LAST_MS;
        if (clock_mono_ms() >= deadline)
            return fail_set(fail, "%d messages were not acknowledged", rd_kafka_outq_len(rk));
    }
    return true;
}

bool rd_client_transact(rd_kafka_t *rk, rd_client_transaction_fn *step, struct fail *fail)
{
    enum { SLICE_MS = 100 };
    int64_t began = clock_mono_ms(), most = 2 * number_of(rd_kafka_conf(rk), "transaction.timeout.ms"),
            deadline = INT64_MAX;
    for (;;) {
        rd_kafka_error_t *error = step(rk, SLICE_MS);
        int64_t now = clock_mono_ms();
        if (error == NULL)
            return true;
        if (atomic_load(&tool_interrupted) && deadline == INT64_MAX)
            deadline = now + RD_CLIENT_LAST_MS;
        bool again = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT && rd_kafka_error_is_retriable(error) &&
                     now - began < most && now < deadline;
        if (!again)
            fail_set(fail, "%s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        if (!again)
            return false;
    }
}

/* ---- Signals ---- */

atomic_bool tool_interrupted, tool_refused;

static void rd_client_on_signal(int signo)
{
    if (!atomic_exchange(&tool_interrupted, true))
        return;
    signal(signo, SIG_DFL);
    raise(signo);
}

void tool_catch_signals(void)
{
    struct sigaction action = {.sa_handler = rd_client_on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
