/* src/config: the reader of properties, values, the broker's configuration, topics,
 * DescribeConfigs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/config_internal.h"
#include "config/properties.h"

/* ---- Helpers ---- */

#define PATH_LEN 64
#define MOST_OVERRIDES 8

struct world {
    char path[PATH_LEN];
    struct strbuf warnings; /* one a line */
    struct broker_config config;
    struct arena arena;
    struct fail fail;
};

static void remember(void *ctx, const char *line)
{
    strbuf_printf(&((struct world *)ctx)->warnings, "%s\n", line);
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    strcpy(w->path, "/tmp/barnabas-config-XXXXXX");
    int fd = mkstemp(w->path);
    assert_true(fd >= 0);
    close(fd);
    strbuf_puts(&w->warnings, "");
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    unlink(w->path);
    config_deinit(&w->config);
    strbuf_deinit(&w->warnings);
    arena_deinit(&w->arena);
    free(w);
    return 0;
}

/* Loads a file with this text and these overrides; the last argument is NULL. */
static bool load(struct world *w, const char *text, ...)
{
    FILE *file = fopen(w->path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    const char *overrides[MOST_OVERRIDES];
    size_t count = 0;
    va_list args;
    va_start(args, text);
    for (const char *next; (next = va_arg(args, const char *)) != NULL;)
        overrides[count++] = next;
    va_end(args);
    struct config_options options = {
        .file = w->path, .overrides = overrides, .override_count = count, .warn = remember, .ctx = w};
    config_deinit(&w->config);
    strbuf_clear(&w->warnings);
    w->fail.text[0] = '\0';
    return config_load(&w->config, &options, &w->fail);
}

#define MINIMAL "zookeeper.connect=localhost:2181\n"

static void load_ok(struct world *w, const char *text)
{
    bool ok = load(w, text, NULL);
    if (!ok)
        fail_msg("%s", w->fail.text);
}

/* The error is `expected`, with "@" for the file's path. */
static void load_fails(struct world *w, const char *text, const char *expected)
{
    struct strbuf want = {0};
    for (const char *c = expected; *c; c++) {
        if (*c == '@')
            strbuf_puts(&want, w->path);
        else
            strbuf_add(&want, c, 1);
    }
    if (load(w, text, NULL))
        fail_msg("loaded: %s", text);
    assert_string_equal(w->fail.text, want.p);
    strbuf_deinit(&want);
}

static void key_fails(struct world *w, const char *line, const char *why)
{
    struct strbuf text = {0}, error = {0};
    strbuf_printf(&text, MINIMAL "%s\n", line);
    strbuf_printf(&error, "@:2: %s: %s", line, why);
    load_fails(w, text.p, error.p);
    strbuf_deinit(&text);
    strbuf_deinit(&error);
}

/* ---- Properties ---- */

static void test_latin1_is_told_of(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL "# z\xc3\xbcrich\nbroker.rack=zuerich\n");
    assert_int_equal(w->warnings.len, 0);
    load_ok(w, MINIMAL "# z\xc3\xbcrich\nbroker.rack=z\xc3\xbcrich\nlog.dir=/tmp/\xfc\n");
    assert_string_equal(w->config.broker_rack, "z\xc3\x83\xc2\xbcrich");
    assert_non_null(strstr(w->warnings.p, ":3: read as Latin-1"));
    assert_null(strstr(w->warnings.p, ":4:"));
}

struct property_case {
    const char *text, *key, *value;
    int line;
};

static void test_properties_lines(void **state)
{
    struct world *w = *state;
    static const struct property_case cases[] = {
        {"a=b", "a", "b", 1},
        {"a:b\n", "a", "b", 1},
        {"a b", "a", "b", 1},
        {"  a  =  b  ", "a", "b  ", 1},
        {"a : = b", "a", "= b", 1},
        {"a==b", "a", "=b", 1},
        {"a", "a", "", 1},
        {"a=", "a", "", 1},
        {"=b", "", "b", 1},
        {"a\\=b=c", "a=b", "c", 1},
        {"a\\ b\\:c d", "a b:c", "d", 1},
        {"# x\n! y\n\n \t\n a=b", "a", "b", 5},
        {"#x\\\na=b", "a", "b", 2},
        {"a=b\\\n   c\\\r\n\td", "a", "bcd", 1},
        {"a=b\\\\\n", "a", "b\\", 1},
        {"a=b\\\n# no comment", "a", "b# no comment", 1},
        {"a\\\n=b", "a", "b", 1},
        {"\r\n\ra=b\r", "a", "b", 3},
        {"a=\\t\\n\\r\\f\\q\\\"", "a", "\t\n\r\fq\"", 1},
        {"a=\\u0041\\u00e9\\u20ac", "a", "A\xc3\xa9\xe2\x82\xac", 1},
        {"a=z\xfcrich", "a", "z\xc3\xbcrich", 1},                           /* Latin-1 ... */
        {"a=z\xc3\xbcrich\\\xe9", "a", "z\xc3\x83\xc2\xbcrich\xc3\xa9", 1}, /* ... whatever it is */
        {"a=\\ud83d\\ude00", "a", "\xf0\x9f\x98\x80", 1},
        {"a=b\\", "a", "b", 1},
        {"a=!#", "a", "!#", 1},
        {"a=c:\\\\x", "a", "c:\\x", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct properties p;
        assert_true(properties_parse(str_of(cases[i].text), "file", &w->arena, &p, &w->fail));
        assert_int_equal(p.count, 1);
        assert_string_equal(p.items[0].key, cases[i].key);
        assert_string_equal(p.items[0].value, cases[i].value);
        assert_int_equal(p.items[0].line, cases[i].line);
    }
}

static void test_properties_many(void **state)
{
    struct world *w = *state;
    struct properties p;
    static const char text[] = "a=1\nb=2\n\na=3";
    assert_true(properties_parse(str_of(text), "file", &w->arena, &p, &w->fail));
    assert_int_equal(p.count, 3);
    assert_int_equal(p.items[2].line, 4);
    assert_string_equal(properties_get(&p, "a"), "3");
    assert_string_equal(properties_get(&p, "b"), "2");
    assert_null(properties_get(&p, "c"));
    assert_true(properties_parse(str_of("\n#\n"), "file", &w->arena, &p, &w->fail));
    assert_int_equal(p.count, 0);
    assert_true(properties_parse(str_of(""), "file", &w->arena, &p, &w->fail));
    assert_int_equal(p.count, 0);
}

static void test_properties_errors(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"a=b\nc=\\u12",   "a=b\nc=\\uxyz1",        "a=b\nc=\\u0000",
                                      "a=b\nc=\\ud83d", "a=b\nc=\\ud83d\\u0041", "a=b\nc\\u=2"};
    struct properties p;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(properties_parse(str_of(bad[i]), "file", &w->arena, &p, &w->fail));
        assert_memory_equal(w->fail.text, "file:2: ", 8);
    }
    assert_false(properties_parse((struct str){"a\0b", 3}, "file", &w->arena, &p, &w->fail));
    assert_false(properties_read("/nonexistent/x", &w->arena, &p, &w->fail));
    assert_string_equal(w->fail.text, "/nonexistent/x: No such file or directory");
    assert_false(properties_read("/tmp", &w->arena, &p, &w->fail));
    assert_string_equal(w->fail.text, "/tmp: Is a directory");
}

/* ---- Values ---- */

static void check_rows(const struct config_key *keys, size_t count, struct arena *a)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_key *key = &keys[i];
        struct config_value value;
        struct fail why = {0};
        assert_true(i == 0 || strcmp(keys[i - 1].name, key->name) < 0);
        assert_true(key->doc[strlen(key->doc) - 1] == '.');
        assert_true((key->state == CONFIG_NO_EFFECT) == (key->no_effect_because != NULL));
        if (key->default_text == NULL)
            continue;
        if (value_parse(key, key->default_text, a, &value, &why) != VALUE_OK)
            fail_msg("%s: %s", key->name, why.text);
        assert_string_equal(value_normalize(key, key->default_text, a), key->default_text);
    }
}

static void test_every_row(void **state)
{
    struct world *w = *state;
    size_t count;
    const struct config_key *keys = config_broker_keys(&count);
    size_t apaches = 0;
    for (size_t i = 0; i < count; i++)
        apaches += strncmp(keys[i].name, "barnabas.", strlen("barnabas.")) != 0;
    if (apaches != 372)
        fail_msg("broker.tbl has %zu of Apache's 372 keys; one of our own begins with \"barnabas.\"", apaches);
    check_rows(keys, count, &w->arena);
    keys = config_topic_keys(&count);
    assert_int_equal(count, 36);
    check_rows(keys, count, &w->arena);
}

static const char *normal(struct world *w, const char *name, const char *text)
{
    return value_normalize(config_broker_key(name), text, &w->arena);
}

static void test_normal_form(void **state)
{
    struct world *w = *state;
    assert_string_equal(normal(w, "log.preallocate", " TRUE "), "true");
    assert_string_equal(normal(w, "broker.id", "+007"), "7");
    assert_string_equal(normal(w, "sasl.enabled.mechanisms", " A ,B,, C"), "A,B,,C");
    assert_string_equal(normal(w, "sasl.enabled.mechanisms", ""), "");
    assert_string_equal(normal(w, "zookeeper.connect", "\t a:1 , b:2\r"), "a:1 , b:2");
    static const char *const reals[][2] = {
        {"0.5", "0.5"},
        {"1", "1.0"},
        {"100", "100.0"},
        {"1e7", "1.0E7"},
        {"9999999", "9999999.0"},
        {"0.001", "0.001"},
        {"0.0009", "9.0E-4"},
        {"-0.25", "-0.25"},
        {"0", "0.0"},
        {"1234.5678", "1234.5678"},
        {"1.5e300", "1.5E300"},
        {"0.1", "0.1"},
        {"NaN", "NaN"},
        {"-Infinity", "-Infinity"},
        {"2d", "2.0"},
        {".5", "0.5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(reals); i++)
        assert_string_equal(normal(w, "log.cleaner.min.cleanable.ratio", reals[i][0]), reals[i][1]);
}

static void test_bad_values(void **state)
{
    struct world *w = *state;
    key_fails(w, "log.segment.bytes=abc", "Not a number of type INT (allowed: at least 14)");
    key_fails(w, "log.segment.bytes=13", "Value must be at least 14");
    key_fails(w, "log.segment.bytes=2147483648", "Not a number of type INT (allowed: at least 14)");
    key_fails(w, "log.segment.bytes=", "Not a number of type INT (allowed: at least 14)");
    key_fails(w, "log.segment.bytes=1 2", "Not a number of type INT (allowed: at least 14)");
    key_fails(w, "log.retention.ms=1.5", "Not a number of type LONG");
    key_fails(w, "log.retention.bytes=9223372036854775808", "Not a number of type LONG");
    key_fails(w, "offsets.topic.replication.factor=40000", "Not a number of type SHORT (allowed: at least 1)");
    key_fails(w, "log.preallocate=yes", "Expected value to be either true or false");
    key_fails(w, "log.cleaner.min.cleanable.ratio=1.5", "Value must be no more than 1");
    key_fails(w, "log.cleaner.min.cleanable.ratio=nan", "Not a number of type DOUBLE (allowed: 0 to 1)");
    key_fails(w, "log.cleaner.min.cleanable.ratio=inf", "Not a number of type DOUBLE (allowed: 0 to 1)");
    key_fails(w, "compression.type=brotli", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer");
    key_fails(w, "compression.type=GZIP", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer");
    key_fails(w, "compression.gzip.level=0", "Value must be between 1 and 9 or equal to -1");
    key_fails(w, "log.cleanup.policy=compact,drop", "String must be one of: compact, delete");
    key_fails(w, "inter.broker.protocol.version=3.10", "Version 3.10 is not a valid version");
    key_fails(w, "group.consumer.migration.policy=x",
              "String must be one of (case insensitive): DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL");
    key_fails(w, "max.connections.per.ip.overrides=host", "not of the form host:number,...");
    key_fails(w, "max.connections.per.ip.overrides=ho/st:1", "ho/st is neither an address nor the name of a host");
    key_fails(w, "min.insync.replicas=0", "Value must be at least 1");
    key_fails(w, "listener.name.internal.ssl.client.auth=Required", "String must be one of: required, requested, none");
    key_fails(w, "listener.name.internal.max.connections=-1", "Value must be at least 0");
    load_fails(w, MINIMAL "ssl.keystore.type=x\nssl.keystore.password=geheim\nsocket.request.max.bytes=0\n",
               "@:4: socket.request.max.bytes=0: Value must be at least 1");
    load_fails(w, MINIMAL "\nnum.partitions=1\nnum.partitions=x\n",
               "@:4: num.partitions=x: Not a number of type INT (allowed: at least 1)");
    assert_false(load(w, MINIMAL "num.partitions=1", "num.partitions=0", NULL));
    assert_string_equal(w->fail.text, "--override: num.partitions=0: Value must be at least 1");
}

/* ---- The broker ---- */

static void test_defaults(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL);
    const struct broker_config *c = &w->config;
    assert_int_equal(c->broker_id, -1);
    assert_string_equal(c->zookeeper_connect, "localhost:2181");
    assert_int_equal(c->zookeeper_connection_timeout_ms, 18000);
    assert_int_equal(c->log_segment_bytes, 1 << 30);
    assert_int_equal(c->log_retention_ms, 7 * 24 * 3600 * 1000LL);
    assert_int_equal(c->log_roll_ms, 7 * 24 * 3600 * 1000LL);
    assert_int_equal(c->log_flush_interval_ms, INT64_MAX);
    assert_int_equal(c->log_dirs.count, 1);
    assert_string_equal(c->log_dirs.items[0], "/tmp/kafka-logs");
    assert_int_equal(c->num_replica_alter_log_dirs_threads, 1);
    assert_int_equal(c->offsets_topic_replication_factor, 3);
    assert_int_equal(c->compression_type, COMPRESSION_TYPE_PRODUCER);
    assert_int_equal(c->log_cleanup_policy, CLEANUP_POLICY_DELETE);
    assert_int_equal(c->inter_broker_protocol_version, IBP_3_9_IV0);
    assert_int_equal(c->listeners.count, 1);
    assert_string_equal(c->listeners.items[0].name, "PLAINTEXT");
    assert_string_equal(c->listeners.items[0].host, "");
    assert_int_equal(c->listeners.items[0].port, 9092);
    assert_string_equal(c->advertised_listeners.items[0].name, "PLAINTEXT");
    assert_string_equal(c->inter_broker_listener_name, "PLAINTEXT");
    assert_null(c->broker_rack);
    assert_true(c->auto_create_topics_enable);
    assert_true(c->log_cleaner_io_buffer_load_factor > 0.89);
    assert_string_equal(w->warnings.p, "");
}

static void test_fallbacks(void **state)
{
    struct world *w = *state;
    const struct broker_config *c = &w->config;
    load_ok(w, MINIMAL "log.retention.hours=2\n");
    assert_int_equal(c->log_retention_ms, 7200000);
    load_ok(w, MINIMAL "log.retention.minutes=3\nlog.retention.hours=2\n");
    assert_int_equal(c->log_retention_ms, 180000);
    load_ok(w, MINIMAL "log.retention.ms=5\nlog.retention.minutes=3\n");
    assert_int_equal(c->log_retention_ms, 5);
    load_ok(w, MINIMAL "log.retention.hours=-1\n");
    assert_int_equal(c->log_retention_ms, -1);
    load_ok(w, MINIMAL "log.roll.hours=1\nlog.roll.jitter.hours=2\nlog.flush.scheduler.interval.ms=9\n");
    assert_int_equal(c->log_roll_ms, 3600000);
    assert_int_equal(c->log_roll_jitter_ms, 7200000);
    assert_int_equal(c->log_flush_interval_ms, 9);
    load_ok(w, MINIMAL "log.roll.ms=7\nlog.roll.hours=1\nlog.dir=/x\n");
    assert_int_equal(c->log_roll_ms, 7);
    assert_string_equal(c->log_dirs.items[0], "/x");
    load_ok(w, MINIMAL "log.dir=/x\nlog.dirs=/a , /b,,/c\n");
    assert_int_equal(c->log_dirs.count, 3);
    assert_string_equal(c->log_dirs.items[1], "/b");
    assert_int_equal(c->num_replica_alter_log_dirs_threads, 3);
    load_ok(w, MINIMAL "zookeeper.session.timeout.ms=77\n");
    assert_int_equal(c->zookeeper_connection_timeout_ms, 77);
    load_ok(w, MINIMAL "node.id=4\n");
    assert_int_equal(c->broker_id, 4);
    load_ok(w, MINIMAL "log.message.format.version=0.11.0\ninter.broker.protocol.version=2.8\n");
    assert_int_equal(c->log_message_format_version, IBP_0_11_0_IV2);
    assert_int_equal(ibp_magic(c->log_message_format_version), 2);
    load_ok(w, MINIMAL "log.message.format.version=0.10.0\n");
    assert_int_equal(c->log_message_format_version, IBP_3_0_IV1);
    assert_non_null(strstr(w->warnings.p, "log.message.format.version=0.10.0 has no effect"));
    load_ok(w, MINIMAL "log.message.timestamp.difference.max.ms=8\nlog.message.timestamp.after.max.ms=3\n");
    assert_int_equal(c->log_message_timestamp_before_max_ms, 8);
    assert_int_equal(c->log_message_timestamp_after_max_ms, 3);
    load_ok(w, MINIMAL "max.connections.per.ip.overrides=a.example:5, ::1:6\n");
    assert_int_equal(c->max_connections_per_ip_overrides.count, 2);
    assert_string_equal(c->max_connections_per_ip_overrides.items[1].host, "::1");
    assert_int_equal(c->max_connections_per_ip_overrides.items[1].limit, 6);
}

static void test_cross_checks(void **state)
{
    struct world *w = *state;
    load_fails(w, "broker.id=1\n", "@: zookeeper.connect: is missing and has no default");
    key_fails(w, "process.roles=broker", "this broker uses ZooKeeper and knows no KRaft mode; leave it empty");
    load_ok(w, MINIMAL "process.roles=\n");
    key_fails(w, "controller.listener.names=X", "must be empty without KRaft");
    key_fails(w, "broker.id=1001", "must not be above reserved.broker.max.id (1000)");
    key_fails(w, "broker.id=-2", "must be at least -1");
    load_ok(w, MINIMAL "broker.id=1001\nbroker.id.generation.enable=false\n");
    load_fails(w, MINIMAL "broker.id.generation.enable=false\n",
               "@: broker.id: must be at least 0 while broker.id.generation.enable is false");
    load_fails(w, MINIMAL "broker.id=1\nnode.id=2\n", "@:3: node.id=2: must be the same as broker.id (1)");
    key_fails(w, "log.roll.ms=0", "must be at least 1 ms");
    key_fails(w, "log.roll.jitter.ms=-1", "must be at least 0");
    key_fails(w, "log.retention.minutes=0", "must be at least 1 ms, or -1 for no limit");
    key_fails(w, "log.dirs=,", "there must be a directory for the logs");
    key_fails(w, "log.cleaner.dedupe.buffer.size=1048576",
              "must be more than 1 MiB for each of log.cleaner.threads (1)");
    key_fails(w, "replica.fetch.wait.max.ms=30001", "must not be above replica.socket.timeout.ms (30000)");
    load_fails(w, MINIMAL "replica.fetch.wait.max.ms=500\nreplica.lag.time.max.ms=499\n",
               "@:2: replica.fetch.wait.max.ms=500: must not be above replica.lag.time.max.ms (499)");
    key_fails(w, "offsets.commit.required.acks=4",
              "must be at least -1 and not above offsets.topic.replication.factor (3)");
    key_fails(w, "offsets.topic.compression.codec=5", "no codec has this number (allowed: 0 to 4)");
    key_fails(w, "group.coordinator.rebalance.protocols=share", "classic cannot be left out");
    key_fails(w, "group.coordinator.rebalance.protocols=classic,consumer", "the consumer protocol needs KRaft");
    key_fails(w, "queued.max.request.bytes=5", "must not be below socket.request.max.bytes (104857600)");
    key_fails(w, "max.connections.per.ip=0", "can be 0 only with max.connections.per.ip.overrides");
    key_fails(w, "connection.failed.authentication.delay.ms=600000", "must be below connections.max.idle.ms (600000)");
}

static void test_more_cross_checks(void **state)
{
    struct world *w = *state;
    load_fails(w, MINIMAL "log.cleaner.max.compaction.lag.ms=5\nlog.cleaner.min.compaction.lag.ms=6\n",
               "@:3: log.cleaner.min.compaction.lag.ms=6: must not be above "
               "log.cleaner.max.compaction.lag.ms (5)");
    load_fails(w, MINIMAL "inter.broker.protocol.version=0.10.2\nlog.message.format.version=0.11.0\n",
               "@:3: log.message.format.version=0.11.0: is newer than "
               "inter.broker.protocol.version=0.10.2-IV0 knows");
    load_fails(w, MINIMAL "inter.broker.protocol.version=2.8\nlog.message.format.version=0.10.2\n",
               "@:3: log.message.format.version=0.10.2: this broker writes the format of 0.11.0 and later only: first "
               "set that, or 3.0 as is the default, on all brokers of Apache Kafka, and restart them one after the "
               "other");
    key_fails(w, "inter.broker.protocol.version=2.7",
              "2.8 is the oldest version that this broker can speak with others: first raise it to 2.8 or later on all "
              "brokers of Apache Kafka, and restart them one after the other");
    load_fails(
        w,
        MINIMAL "listeners=SASL_PLAINTEXT://:1\nsecurity.inter.broker.protocol=SASL_PLAINTEXT\n"
                "sasl.mechanism.inter.broker.protocol=PLAIN\n",
        "@:4: sasl.mechanism.inter.broker.protocol=PLAIN: PLAIN must be among sasl.enabled.mechanisms of listener SASL_PLAINTEXT");
    load_ok(w, MINIMAL "listeners=SASL_PLAINTEXT://:1\nsecurity.inter.broker.protocol=SASL_PLAINTEXT\n"
                       "sasl.mechanism.inter.broker.protocol=PLAIN\n"
                       "listener.name.sasl_plaintext.sasl.enabled.mechanisms=SCRAM-SHA-256, PLAIN\n");
}

/* ---- Listeners ---- */

static void test_listeners(void **state)
{
    struct world *w = *state;
    const struct broker_config *c = &w->config;
    load_ok(w, MINIMAL "listeners=internal://127.0.0.1:9092, PLAINTEXT://[::1]:9092 ,external://:0\n"
                       "listener.security.protocol.map=Internal:plaintext,EXTERNAL:SASL_SSL,PLAINTEXT:PLAINTEXT\n"
                       "advertised.listeners=INTERNAL://b1.example:19092,EXTERNAL://[2001:db8::1]:19092\n"
                       "inter.broker.listener.name=internal\n");
    assert_int_equal(c->listeners.count, 3);
    const struct listener *l = c->listeners.items;
    assert_string_equal(l[0].name, "INTERNAL");
    assert_string_equal(l[0].host, "127.0.0.1");
    assert_int_equal(l[0].port, 9092);
    assert_string_equal(l[1].host, "::1");
    assert_int_equal(l[1].port, 9092);
    assert_string_equal(l[2].name, "EXTERNAL");
    assert_int_equal(l[2].protocol, SECURITY_PROTOCOL_SASL_SSL);
    assert_string_equal(l[2].host, "");
    assert_int_equal(l[2].port, 0);
    assert_int_equal(c->advertised_listeners.count, 2);
    assert_string_equal(c->advertised_listeners.items[1].host, "2001:db8::1");
    assert_string_equal(c->inter_broker_listener_name, "INTERNAL");
    assert_int_equal(c->security_inter_broker_protocol, SECURITY_PROTOCOL_PLAINTEXT);
    assert_ptr_equal(config_listener(&c->listeners, "EXTERNAL"), &l[2]);
    assert_null(config_listener(&c->listeners, "external"));
}

static void test_bad_listeners(void **state)
{
    struct world *w = *state;
    key_fails(w, "listeners=localhost:9092",
              "localhost:9092 is not of the form NAME://host:port, with a port up to 65535");
    key_fails(w, "listeners=PLAINTEXT://localhost",
              "PLAINTEXT://localhost is not of the form NAME://host:port, with a port up to 65535");
    key_fails(w, "listeners=PLAINTEXT://a/b:1",
              "PLAINTEXT://a/b:1 is not of the form NAME://host:port, with a port up to 65535");
    key_fails(w, "listeners=PLAINTEXT://:65536",
              "PLAINTEXT://:65536 is not of the form NAME://host:port, with a port up to 65535");
    key_fails(w, "listeners=PLAINTEXT://:+1",
              "PLAINTEXT://:+1 is not of the form NAME://host:port, with a port up to 65535");
    key_fails(w, "listeners=://h:1", "://h:1 is not of the form NAME://host:port, with a port up to 65535");
    key_fails(w, "listeners=CLIENT://:1", "listener.security.protocol.map has no protocol for CLIENT");
    key_fails(w, "listeners=", "there must be one to advertise");
    key_fails(w, "listeners=PLAINTEXT://:1,plaintext://:2", "two listeners are called PLAINTEXT");
    static const char same_port[] = "PLAINTEXT and SSL have the same port, which needs an IPv4 and an IPv6 address";
    key_fails(w, "listeners=PLAINTEXT://:1,SSL://:1", same_port);
    key_fails(w, "listeners=PLAINTEXT://127.0.0.1:1,SSL://127.0.0.2:1", same_port);
    key_fails(w, "listeners=PLAINTEXT://127.0.0.1:1,SSL://localhost:1", same_port);
    key_fails(w, "listeners=PLAINTEXT://[::1]:1,SSL://[::2]:1", same_port);
    load_ok(w, MINIMAL "listeners=PLAINTEXT://127.0.0.1:1,SSL://[::1]:1\n");
    load_ok(w, MINIMAL "listeners=PLAINTEXT://:0,SSL://:0\n");
    key_fails(w, "listeners=PLAINTEXT://0.0.0.0:1",
              "nobody can connect to 0.0.0.0: advertised.listeners must name an address");
    key_fails(w, "advertised.listeners=PLAINTEXT://0.0.0.0:1",
              "nobody can connect to 0.0.0.0: advertised.listeners must name an address");
    key_fails(w, "advertised.listeners=SSL://h:1", "SSL is not one of the listeners");
    load_ok(w, MINIMAL "listeners=PLAINTEXT://:1,SSL://:2\nadvertised.listeners=PLAINTEXT://h:3,SSL://h:3\n");
    key_fails(w, "inter.broker.listener.name=X", "listener.security.protocol.map has no protocol for X");
    key_fails(w, "inter.broker.listener.name=SSL", "SSL is not an advertised listener");
    key_fails(w, "security.inter.broker.protocol=SSL", "SSL is not an advertised listener");
    load_fails(w, MINIMAL "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT\n",
               "@:2: inter.broker.listener.name=PLAINTEXT: cannot be set together with "
               "security.inter.broker.protocol");
    key_fails(w, "listener.security.protocol.map=PLAINTEXT", "PLAINTEXT is not of the form NAME:PROTOCOL");
    key_fails(w, "listener.security.protocol.map=PLAINTEXT:TLS",
              "no security protocol is called TLS (allowed: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)");
    key_fails(w, "control.plane.listener.name=PLAINTEXT", "must not be the listener that the brokers use for the rest");
    load_ok(w, MINIMAL "listeners=PLAINTEXT://:1,SSL://:2\ncontrol.plane.listener.name=ssl\n");
    assert_string_equal(w->config.control_plane_listener_name, "SSL");
}

/* ---- Warnings, overrides, lookups ---- */

static void test_warnings(void **state)
{
    struct world *w = *state;
    char want[1024];
    load_ok(w, MINIMAL "log.retnetion.hours=1\nmetadata.log.dir=/x\n\nremote.log.reader.threads=1\n"
                       "listener.name.internal.remote.log.reader.threads=1\nlistener.name.x=1\n"
                       "leader.replication.throttled.rate=5\nconfig.providers=file\n"
                       "config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n"
                       "config.providers.file.param.allowed.paths=/nowhere\n"
                       "ssl.keystore.key=-----BEGIN PRIVATE KEY-----\nMIIEvg+/\nlisteners=PLAINTEXT://:9092\n");
    snprintf(want, sizeof(want),
             "%1$s:13: this line has no key, and no effect; does the one before it lack a backslash?\n"
             "%1$s:2: log.retnetion.hours is not a known key and has no effect\n"
             "%1$s:3: metadata.log.dir has no effect: it belongs to KRaft mode, and this broker uses "
             "ZooKeeper\n"
             "%1$s:5: remote.log.reader.threads has no effect yet\n"
             "%1$s:6: listener.name.internal.remote.log.reader.threads has no effect yet\n"
             "%1$s:7: listener.name.x is not a known key and has no effect\n"
             "%1$s:8: leader.replication.throttled.rate has no effect: it can be set at run time only\n",
             w->path);
    assert_string_equal(w->warnings.p, want);
}

/* ---- Values that stand somewhere else ---- */

#define PROVIDER "org.apache.kafka.common.config.provider."
#define PROVIDERS                                                              \
    MINIMAL "config.providers=file, dir ,env\n"                                \
            "config.providers.file.class=" PROVIDER "FileConfigProvider\n"     \
            "config.providers.dir.class=" PROVIDER "DirectoryConfigProvider\n" \
            "config.providers.env.class=" PROVIDER "EnvVarConfigProvider\n"

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* A folder with a file of properties and one that is a value. */
static int set_up_secrets(void **state)
{
    set_up(state);
    struct world *w = *state;
    char path[2 * PATH_LEN];
    snprintf(path, sizeof(path), "%s.d", w->path);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s.d/secrets", w->path);
    write_file(path, "one = first\nparts=gr\xc3\xbc\xc3\x9f\\u00e9\nmore=$\\{file:/x:y}\n");
    snprintf(path, sizeof(path), "%s.d/alone", w->path);
    write_file(path, "whole file\n");
    setenv("BARNABAS_TEST_SECRET", "of the environment", 1);
    unsetenv("BARNABAS_TEST_NOTHING");
    return 0;
}

static int tear_down_secrets(void **state)
{
    struct world *w = *state;
    char path[2 * PATH_LEN];
    static const char *const names[] = {".d/secrets", ".d/alone"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s%s", w->path, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s.d", w->path);
    rmdir(path);
    return tear_down(state);
}

/* What a password becomes; `format` has the folder for %1$s. */
static void load_secret(struct world *w, const char *format, const char *expected)
{
    char line[1024], folder[2 * PATH_LEN];
    struct strbuf text = {0};
    snprintf(folder, sizeof(folder), "%s.d", w->path);
    strbuf_puts(&text, PROVIDERS "ssl.key.password=");
    snprintf(line, sizeof(line), format, folder);
    strbuf_puts(&text, line);
    load_ok(w, text.p);
    assert_string_equal(w->config.ssl_key_password, expected);
    strbuf_deinit(&text);
}

static void secret_fails(struct world *w, const char *format, const char *why)
{
    char line[1024], folder[2 * PATH_LEN];
    struct strbuf text = {0};
    snprintf(folder, sizeof(folder), "%s.d", w->path);
    strbuf_puts(&text, PROVIDERS);
    snprintf(line, sizeof(line), format, folder);
    strbuf_puts(&text, line);
    assert_false(load(w, text.p, NULL));
    assert_non_null(strstr(w->fail.text, why));
    strbuf_deinit(&text);
}

static void test_variables(void **state)
{
    struct world *w = *state;
    load_secret(w, "${file:%1$s/secrets:one}", "first");
    load_secret(w, "${file:%1$s/secrets:parts}", "gr\xc3\xbc\xc3\x9f\xc3\xa9");
    load_secret(w, "${file:%1$s/secrets:more}", "${file:/x:y}"); /* once, and not again */
    load_secret(w, "${dir:%1$s:alone}", "whole file");
    load_secret(w, "<${env:BARNABAS_TEST_SECRET}|${file:%1$s/secrets:one}>", "<of the environment|first>");
    load_secret(w, "${other:x:one} ${file} ${", "${other:x:one} ${file} ${"); /* no variables */
}

/* Those of the file count for what is set at run time, too; one that stands for nothing is left out. */
static void test_variables_set_at_run_time(void **state)
{
    struct world *w = *state;
    struct broker_config derived;
    char secret[3 * PATH_LEN], jaas[] = "listener.name.x.plain.sasl.jaas.config", other[] = "sasl.jaas.config";
    load_ok(w, PROVIDERS);
    snprintf(secret, sizeof(secret), "<${file:%s.d/secrets:one}>", w->path);
    const struct config_pair pairs[] = {{jaas, secret},
                                        {"listener.name.x.ssl.key.password", "${env:BARNABAS_TEST_NOTHING}"}};
    strbuf_clear(&w->warnings);
    assert_true(config_derive(&derived, &w->config, NULL, 0, pairs, ARRAY_LEN(pairs), remember, w, &w->fail));
    assert_string_equal(config_mechanism_raw(&derived, "x", "plain", other), "<first>");
    assert_null(config_raw(&derived, "listener.name.x.ssl.key.password"));
    assert_non_null(strstr(w->warnings.p, "is ignored: ${env:BARNABAS_TEST_NOTHING} stands for nothing"));
    config_deinit(&derived);
}

static void test_variables_without_a_value(void **state)
{
    struct world *w = *state;
    secret_fails(w, "ssl.key.password=${file:%1$s/secrets:two}", "secrets:two} stands for nothing");
    secret_fails(w, "ssl.key.password=${file:%1$s/nowhere:one}", "No such file");
    secret_fails(w, "ssl.key.password=${dir:%1$s:../alone}", "stands for nothing");
    secret_fails(w, "ssl.key.password=${dir:%1$s:nothing}", "stands for nothing");
    secret_fails(w, "ssl.key.password=${env:BARNABAS_TEST_NOTHING}", "stands for nothing");
    secret_fails(w, "ssl.key.password=${env:x:BARNABAS_TEST_SECRET}", "no path");
    secret_fails(w, "config.providers.env.param.allowlist.pattern=^OTHER\nssl.key.password=${env:BARNABAS_TEST_SECRET}",
                 "stands for nothing");
    secret_fails(w, "config.providers.file.param.allowed.paths=/nowhere\nssl.key.password=${file:%1$s/secrets:one}",
                 "is not one of config.providers.file.param.allowed.paths");
    secret_fails(w, "config.providers.file.param.allowed.paths=%1$s/x\nssl.key.password=${file:%1$s/x/../secrets:one}",
                 "is not one of");
    secret_fails(w, "config.providers.dir.class=com.example.Vault", "runs no Java");
    secret_fails(w, "config.providers=file,vault", "config.providers.vault.class is not set");
}

static void test_overrides(void **state)
{
    struct world *w = *state;
    assert_true(load(w, "num.partitions=1\nbroker.id=1\n", "num.partitions=5", "zookeeper.connect=a=b",
                     "broker.rack=", "my.key", NULL));
    assert_int_equal(w->config.num_partitions, 5);
    assert_int_equal(w->config.broker_id, 1);
    assert_string_equal(w->config.zookeeper_connect, "a=b");
    assert_string_equal(w->config.broker_rack, "");
    assert_string_equal(config_raw(&w->config, "num.partitions"), "5");
    assert_string_equal(config_raw(&w->config, "my.key"), "");
    assert_null(config_raw(&w->config, "num.io.threads"));
    assert_string_equal(w->warnings.p, "--override: my.key is not a known key and has no effect\n");
    struct config_options none = {.overrides = (const char *const[]){"zookeeper.connect=z", "x=1"},
                                  .override_count = 1};
    config_deinit(&w->config);
    assert_true(config_load(&w->config, &none, &w->fail));
    none.file = "/nonexistent";
    config_deinit(&w->config);
    assert_false(config_load(&w->config, &none, &w->fail));
}

static void test_lookups(void **state)
{
    struct world *w = *state;
    assert_string_equal(config_broker_key("broker.id")->name, "broker.id");
    assert_null(config_broker_key("broker.idx"));
    assert_null(config_broker_key("retention.ms"));
    assert_string_equal(config_broker_key("listener.name.a.ssl.key.password")->name, "ssl.key.password");
    assert_string_equal(config_broker_key("listener.name.a.scram-sha-256.sasl.jaas.config")->name, "sasl.jaas.config");
    assert_null(config_broker_key("listener.name.a.b.ssl.key.password"));
    assert_null(config_broker_key("listener.name."));
    assert_int_equal(config_topic_key("retention.ms")->type, CONFIG_LONG);
    assert_null(config_topic_key("log.retention.ms"));
    load_ok(w, MINIMAL "sasl.jaas.config=1\nlistener.name.in.sasl.jaas.config=2\n"
                       "listener.name.in.plain.sasl.jaas.config=3\n");
    const struct broker_config *c = &w->config;
    assert_string_equal(config_listener_raw(c, "IN", "PLAIN", "sasl.jaas.config"), "3");
    assert_string_equal(config_listener_raw(c, "IN", "OTHER", "sasl.jaas.config"), "2");
    assert_string_equal(config_listener_raw(c, "IN", NULL, "sasl.jaas.config"), "2");
    assert_string_equal(config_listener_raw(c, "OUT", "PLAIN", "sasl.jaas.config"), "1");
    assert_string_equal(config_listener_raw(c, "OUT", NULL, "ssl.client.auth"), "none");
    assert_null(config_listener_raw(c, "OUT", NULL, "ssl.key.password"));
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ibp version;
    } cases[] = {
        {"0.8.0", IBP_0_8_0},           {"0.8.2.1", IBP_0_8_2},       {"0.10.0", IBP_0_10_0_IV1},
        {"0.10.0-IV0", IBP_0_10_0_IV0}, {"0.11.0.3", IBP_0_11_0_IV2}, {"1.0.1", IBP_1_0_IV0},
        {"2.8", IBP_2_8_IV1},           {"2.8-IV0", IBP_2_8_IV0},     {"3.9.1", IBP_3_9_IV0},
        {"3.7", IBP_3_7_IV4},           {"4.0-IV1", IBP_4_0_IV1},
    };
    enum ibp v;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(ibp_parse(cases[i].text, &v));
        assert_int_equal(v, cases[i].version);
    }
    static const char *const bad[] = {"", "3", "4.0", "0.8", "3.10", "3.9-IV9", "x", "3.9-", "2.8-IV"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(ibp_parse(bad[i], &v));
    for (int i = 0; i < IBP_COUNT; i++) {
        assert_true(ibp_parse(ibp_name((enum ibp)i), &v));
        assert_int_equal(v, i);
    }
    assert_int_equal(ibp_magic(IBP_0_9_0), 0);
    assert_int_equal(ibp_magic(IBP_0_11_0_IV0), 2);
}

/* ---- Run time ---- */

static void dynamic_fails(const char *name, const char *value, bool per_broker, const char *why)
{
    struct fail fail;
    assert_false(config_check_dynamic(name, value, per_broker, &fail));
    assert_string_equal(fail.text, why);
}

static void test_check_dynamic(void **state)
{
    (void)state;
    assert_true(config_check_dynamic("log.retention.ms", "5", false, NULL));
    assert_true(config_check_dynamic("log.retention.ms", "5", true, NULL));
    assert_true(config_check_dynamic("somebody.elses", "x", false, NULL));
    assert_true(config_check_dynamic("leader.replication.throttled.rate", "1", true, NULL));
    assert_true(config_check_dynamic("listener.name.a.ssl.keystore.location", "/k", true, NULL));
    assert_true(config_check_dynamic("listener.name.a.max.connections", "5", false, NULL));
    dynamic_fails("log.retention.ms", "x", true,
                  "Invalid value x for configuration log.retention.ms: Not a number of type LONG");
    dynamic_fails("log.retention.ms", NULL, true, "Null value not supported for broker configs: log.retention.ms");
    dynamic_fails("log.retention.hours", "5", true,
                  "Cannot update these configs dynamically: Set(log.retention.hours)");
    dynamic_fails("listeners", "PLAINTEXT://:1", false,
                  "Cannot update these configs at default cluster level, broker id must be specified: Set(listeners)");
    dynamic_fails("listener.name.a.ssl.keystore.location", "/k", false,
                  "Cannot update these configs at default cluster level, broker id must be specified: "
                  "Set(listener.name.a.ssl.keystore.location)");
    dynamic_fails("ssl.keystore.location", "/k", true,
                  "These security configs can be dynamically updated only per-listener using the listener prefix: "
                  "HashSet(ssl.keystore.location)");
}

static bool may_change(struct world *w, const char *name, const char *value)
{
    struct broker_config next;
    struct config_pair pair = {name, value};
    assert_true(config_derive(&next, &w->config, NULL, 0, &pair, 1, remember, w, &w->fail));
    bool ok = config_check_change(&w->config, &next, &w->fail);
    config_deinit(&next);
    return ok;
}

static void test_counts_of_threads_change_in_small_steps(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL "num.io.threads=5\n");
    assert_true(may_change(w, "num.io.threads", "10"));
    assert_true(may_change(w, "num.io.threads", "2"));
    assert_false(may_change(w, "num.io.threads", "1"));
    assert_false(may_change(w, "num.io.threads", "11"));
    assert_string_equal(w->fail.text,
                        "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update "
                        "validation failed for num.io.threads=11, value should not be greater than double the current "
                        "value 5 for configuration Invalid dynamic configuration");
    assert_true(may_change(w, "background.threads", "20"));
    assert_false(may_change(w, "background.threads", "21"));
    assert_true(may_change(w, "num.replica.fetchers", "2"));
    assert_false(may_change(w, "num.replica.fetchers", "0"));
    assert_true(may_change(w, "log.retention.ms", "1"));
}

static void test_no_way_in_is_closed_at_run_time(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL "max.connections=0\n");
    assert_true(may_change(w, "max.connections", "0"));
    assert_true(may_change(w, "max.connections", "1"));
    assert_false(may_change(w, "max.connection.creation.rate", "0"));
    assert_string_equal(w->fail.text, "Invalid value org.apache.kafka.common.config.ConfigException: Invalid "
                                      "max.connection.creation.rate 0 for configuration Invalid dynamic configuration");
    assert_false(may_change(w, "listener.name.plaintext.max.connection.creation.rate", "0"));
    assert_true(may_change(w, "listener.name.plaintext.max.connection.creation.rate", "1"));
}

static void test_live_keys(void **state)
{
    (void)state;
    static const char *const live[] =
        {"num.io.threads",      "max.connections",     "listener.name.a.max.connections",      "log.retention.ms",
         "log.cleaner.threads", "min.insync.replicas", "listener.name.a.ssl.keystore.location"},
                             *const others[] = {"num.network.threads", "listeners", "ssl.client.auth", "my.own.key"};
    for (size_t i = 0; i < ARRAY_LEN(live); i++)
        assert_true(config_is_live(live[i]));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(config_is_live(others[i]));
    assert_true(config_is_password("listener.name.a.ssl.key.password"));
    assert_false(config_is_password("listener.name.a.ssl.keystore.location"));
    assert_false(config_is_password("my.own.password"));
}

static void test_derive(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL "log.retention.hours=1\nnum.io.threads=4\nmessage.max.bytes=100\n");
    struct broker_config derived, again;
    static const struct config_pair cluster[] = {{"num.io.threads", "5"},
                                                 {"message.max.bytes", "200"},
                                                 {"broker.id", "7"}},
                                    broker[] = {{"message.max.bytes", "300"},
                                                {"log.retention.ms", "5"},
                                                {"log.preallocate", "x"}};
    assert_true(config_derive(&derived, &w->config, cluster, ARRAY_LEN(cluster), broker, ARRAY_LEN(broker), remember, w,
                              &w->fail));
    assert_int_equal(derived.num_io_threads, 5);
    assert_int_equal(derived.message_max_bytes, 300);
    assert_int_equal(derived.log_retention_ms, 5);
    assert_int_equal(derived.broker_id, -1);
    assert_false(derived.log_preallocate);
    assert_string_equal(w->warnings.p,
                        "set at run time for this broker: log.preallocate is ignored: Invalid value x for "
                        "configuration log.preallocate: Expected value to be either true or false\n"
                        "set at run time for all brokers: broker.id is ignored: Cannot update these configs "
                        "dynamically: Set(broker.id)\n");
    assert_true(config_derive(&again, &derived, NULL, 0, NULL, 0, NULL, NULL, &w->fail));
    assert_int_equal(again.message_max_bytes, 100);
    assert_int_equal(again.log_retention_ms, 3600000);
    static const struct config_pair bad[] = {{"log.retention.ms", "0"}};
    struct broker_config none;
    assert_false(config_derive(&none, &again, bad, 1, NULL, 0, NULL, NULL, &w->fail));
    assert_string_equal(w->fail.text, "set at run time for all brokers: log.retention.ms=0: must be at "
                                      "least 1 ms, or -1 for no limit");
    config_deinit(&again);
    config_deinit(&derived);
}

/* ---- Topics ---- */

static void test_topic_defaults(void **state)
{
    struct world *w = *state;
    struct topic_config t;
    load_ok(w, MINIMAL "log.retention.minutes=1\nlog.roll.hours=1\nlog.segment.bytes=99\n"
                       "log.cleanup.policy=compact,delete\ncompression.type=zstd\nmin.insync.replicas=2\n"
                       "log.message.timestamp.type=LogAppendTime\nlog.cleaner.min.cleanable.ratio=0.25\n");
    topic_config_defaults(&w->config, &t);
    assert_int_equal(t.retention_ms, 60000);
    assert_int_equal(t.segment_ms, 3600000);
    assert_int_equal(t.segment_bytes, 99);
    assert_int_equal(t.cleanup_policy, CLEANUP_POLICY_COMPACT | CLEANUP_POLICY_DELETE);
    assert_int_equal(t.compression_type, COMPRESSION_TYPE_ZSTD);
    assert_int_equal(t.min_insync_replicas, 2);
    assert_int_equal(t.message_timestamp_type, TIMESTAMP_TYPE_LOG_APPEND_TIME);
    assert_true(t.min_cleanable_dirty_ratio == 0.25);
    assert_int_equal(t.max_message_bytes, 1048588);
    assert_int_equal(t.message_format_version, IBP_3_0_IV1);
    assert_false(t.remote_storage_enable);
}

static void topic_fails(struct world *w, const char *key, const char *value, const char *why)
{
    struct config_pair pair = {key, value};
    assert_false(topic_config_check(&w->config, &pair, 1, &w->fail));
    assert_string_equal(w->fail.text, why);
}

static void test_topic_values(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL);
    topic_fails(w, "x", "1", "Unknown topic config name: x");
    topic_fails(w, "retention.ms", "abc",
                "Invalid value abc for configuration retention.ms: Not a number of type LONG");
    topic_fails(w, "retention.ms", NULL, "Null value not supported for topic configs: retention.ms");
    topic_fails(w, "segment.bytes", "13",
                "Invalid value 13 for configuration segment.bytes: Value must be at least 14");
    topic_fails(w, "retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1");
    topic_fails(w, "cleanup.policy", "x",
                "Invalid value x for configuration cleanup.policy: String must be one of: compact, delete");
    topic_fails(w, "preallocate", "1",
                "Invalid value 1 for configuration preallocate: Expected value to be either true or false");
    topic_fails(w, "leader.replication.throttled.replicas", "1:2,x",
                "Invalid value [1:2, x] for configuration leader.replication.throttled.replicas: "
                "leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following "
                "format: [partitionId]:[brokerId],[partitionId]:[brokerId],...");
    topic_fails(w, "remote.storage.enable", "true",
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log "
                "storage.");
    topic_fails(w, "remote.log.copy.disable", "true",
                "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's "
                "mode.");
    static const struct config_pair lags[] = {{"min.compaction.lag.ms", "6"}, {"max.compaction.lag.ms", "5"}};
    assert_false(topic_config_check(&w->config, lags, 2, &w->fail));
    assert_string_equal(w->fail.text,
                        "conflict topic config setting min.compaction.lag.ms (6) > max.compaction.lag.ms (5)");
    static const struct config_pair good[] = {{"cleanup.policy", " compact , delete "},
                                              {"leader.replication.throttled.replicas", "*"},
                                              {"follower.replication.throttled.replicas", "0:1, 1:2"},
                                              {"compression.gzip.level", "-1"},
                                              {"retention.bytes", "-1"}};
    assert_true(topic_config_check(&w->config, good, ARRAY_LEN(good), &w->fail));
}

static void test_topic_load(void **state)
{
    struct world *w = *state;
    struct topic_config t;
    static const struct config_pair own[] = {{"retention.ms", "5"},
                                             {"unknown", "1"},
                                             {"segment.ms", "x"},
                                             {"message.timestamp.difference.max.ms", "9"},
                                             {"message.format.version", "0.9.0"},
                                             {"max.compaction.lag.ms", "77"}};
    load_ok(w, MINIMAL);
    assert_false(topic_config_load(&w->config, own, ARRAY_LEN(own), &t, &w->fail));
    assert_string_equal(w->fail.text, "Unknown topic config name: unknown");
    assert_int_equal(t.retention_ms, 5);
    assert_int_equal(t.segment_ms, 604800000);
    assert_int_equal(t.message_format_version, IBP_3_0_IV1);
    assert_int_equal(topic_timestamp_before_max_ms(&t), 9);
    assert_int_equal(topic_timestamp_after_max_ms(&t), 9);
    assert_int_equal(topic_segment_max_ms(&t), 604800000);
    assert_true(topic_config_set(&t, "message.timestamp.after.max.ms", "4", NULL));
    assert_true(topic_config_set(&t, "cleanup.policy", "compact", NULL));
    assert_int_equal(topic_timestamp_after_max_ms(&t), 4);
    assert_int_equal(topic_segment_max_ms(&t), 77);
}

static bool throttles(const char *value, int32_t partition, int32_t broker)
{
    struct arena a = {0};
    struct throttled_replicas t = throttled_replicas_of(value, broker, &a);
    bool found = throttled_replicas_include(&t, partition);
    arena_deinit(&a);
    return found;
}

static void test_throttled(void **state)
{
    (void)state;
    assert_true(throttles("*", 3, 4));
    assert_true(throttles("1:2, 3:4", 3, 4));
    assert_true(throttles("9:4,3:4,3:1,4:4", 4, 4));
    assert_false(throttles("1:2,3:4", 4, 3));
    assert_false(throttles("1:2,3:4", 4, 4));
    assert_false(throttles("", 0, 0));
}

/* ---- DescribeConfigs ---- */

static void assert_synonyms(const struct config_description *d, const char *expected)
{
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    for (int i = 0; i < d->synonym_count; i++)
        strbuf_printf(&text, "%s=%s@%d ", d->synonyms[i].name, d->synonyms[i].value ? d->synonyms[i].value : "null",
                      d->synonyms[i].source);
    assert_string_equal(text.p, expected);
    strbuf_deinit(&text);
}

static struct config_description describe(struct world *w, const struct broker_config *c, const char *name)
{
    struct config_description d;
    assert_true(config_describe(c, name, &w->arena, &d));
    return d;
}

static void test_describe_broker(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL "broker.id=1\nlog.retention.hours=1\nnum.io.threads=4 \nssl.key.password=x\n"
                       "listener.name.a.ssl.key.password=y\nmy.key=z\nlog.roll.ms=9\n");
    struct config_description d = describe(w, &w->config, "num.io.threads");
    assert_string_equal(d.value, "4");
    assert_int_equal(d.source, CONFIG_STATIC);
    assert_int_equal(d.type, CONFIG_INT);
    assert_false(d.read_only);
    assert_synonyms(&d, "num.io.threads=4 @4 num.io.threads=8@5 ");
    d = describe(w, &w->config, "log.retention.ms");
    assert_null(d.value);
    assert_int_equal(d.source, CONFIG_DEFAULT);
    assert_synonyms(&d, "");
    d = describe(w, &w->config, "log.retention.hours");
    assert_true(d.read_only);
    assert_synonyms(&d, "log.retention.hours=1@4 log.retention.hours=168@5 ");
    d = describe(w, &w->config, "log.roll.ms");
    assert_synonyms(&d, "log.roll.ms=9@4 log.roll.hours=168@5 ");
    d = describe(w, &w->config, "ssl.key.password");
    assert_true(d.sensitive && d.value == NULL);
    assert_synonyms(&d, "ssl.key.password=null@4 ");
    d = describe(w, &w->config, "listener.name.a.ssl.key.password");
    assert_true(d.sensitive && d.read_only && d.value == NULL);
    assert_int_equal(d.type, CONFIG_PASSWORD);
    assert_synonyms(&d, "listener.name.a.ssl.key.password=null@4 ssl.key.password=null@4 ");
    d = describe(w, &w->config, "my.key");
    assert_true(d.sensitive && d.value == NULL && d.type == CONFIG_UNKNOWN);
    d = describe(w, &w->config, "node.id");
    assert_string_equal(d.value, "1");
    assert_synonyms(&d, "node.id=1@4 node.id=-1@5 ");
    assert_false(config_describe(&w->config, "other.key", &w->arena, &d));
    struct config_list names = config_names(&w->config, &w->arena);
    assert_int_equal(names.count, 331 - 17 + 2);
}

static void test_describe_derived(void **state)
{
    struct world *w = *state;
    struct broker_config c;
    load_ok(w, MINIMAL "message.max.bytes=100\n");
    static const struct config_pair cluster = {"message.max.bytes", "200"}, broker = {"message.max.bytes", "300"};
    assert_true(config_derive(&c, &w->config, &cluster, 1, &broker, 1, NULL, NULL, &w->fail));
    struct config_description d = describe(w, &c, "message.max.bytes");
    assert_string_equal(d.value, "300");
    assert_int_equal(d.source, CONFIG_DYNAMIC_BROKER);
    assert_synonyms(&d, "message.max.bytes=300@2 message.max.bytes=200@3 message.max.bytes=100@4 "
                        "message.max.bytes=1048588@5 ");
    config_deinit(&c);
}

static void test_describe_topic(void **state)
{
    struct world *w = *state;
    load_ok(w, MINIMAL "log.retention.minutes=2\nlog.cleanup.policy=compact , delete\n");
    static const struct config_pair own[] = {{"segment.bytes", "100"}};
    struct config_description d;
    assert_true(topic_config_describe(&w->config, own, 1, "segment.bytes", &w->arena, &d));
    assert_string_equal(d.value, "100");
    assert_int_equal(d.source, CONFIG_DYNAMIC_TOPIC);
    assert_false(d.read_only || d.sensitive);
    assert_synonyms(&d, "segment.bytes=100@1 log.segment.bytes=1073741824@5 ");
    assert_true(topic_config_describe(&w->config, own, 1, "retention.ms", &w->arena, &d));
    assert_string_equal(d.value, "120000");
    assert_int_equal(d.source, CONFIG_DEFAULT);
    assert_true(topic_config_describe(&w->config, own, 1, "cleanup.policy", &w->arena, &d));
    assert_string_equal(d.value, "compact,delete");
    assert_int_equal(d.source, CONFIG_STATIC);
    assert_synonyms(&d, "log.cleanup.policy=compact , delete@4 log.cleanup.policy=delete@5 ");
    assert_true(topic_config_describe(&w->config, own, 1, "message.format.version", &w->arena, &d));
    assert_string_equal(d.value, "3.0-IV1");
    assert_true(topic_config_describe(&w->config, own, 1, "min.cleanable.dirty.ratio", &w->arena, &d));
    assert_string_equal(d.value, "0.5");
    assert_true(topic_config_describe(&w->config, NULL, 0, "remote.storage.enable", &w->arena, &d));
    assert_string_equal(d.value, "false");
    assert_synonyms(&d, "");
    assert_false(topic_config_describe(&w->config, NULL, 0, "x", &w->arena, &d));
}

/* ---- fail ---- */

static void test_fail(void **state)
{
    (void)state;
    struct fail f;
    assert_false(fail_set(&f, "no %d", 5));
    assert_string_equal(f.text, "no 5");
    assert_false(fail_wrap(&f, "in %s", "a"));
    assert_string_equal(f.text, "in a: no 5");
    assert_false(fail_set(&f, "%s, twice %s", f.text, f.text));
    assert_string_equal(f.text, "in a: no 5, twice in a: no 5");
    assert_false(fail_set(NULL, "x"));
    assert_false(fail_wrap(NULL, "x"));
    char longer[2000];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    fail_set(&f, "%s", longer);
    assert_int_equal(strlen(f.text), sizeof(f.text) - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- Protection ---- */

/* "": a broker could start with it. */
static void check_protection(const char *line, const char *why)
{
    const char *lines[] = {"broker.id=1", "zookeeper.connect=localhost", "listeners=PLAINTEXT://:1,CLIENTS://:2",
                           "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CLIENTS:SASL_SSL", line};
    struct broker_config config;
    struct config_options options = {.overrides = lines, .override_count = ARRAY_LEN(lines)};
    struct fail fail = {""};
    if (!config_load(&config, &options, &fail))
        fail_msg("%s: %s", line, fail.text);
    if (config_check_protection(&config, &fail) != (*why == '\0') || strstr(fail.text, why) == NULL)
        fail_msg("%s: %s, and not %s", line, fail.text, why);
    config_deinit(&config);
}

static void what_would_protect_less_does_not_start(void **state)
{
    (void)state;
    check_protection("authorizer.class.name=com.example.Mine", "AclAuthorizer only");
    check_protection("principal.builder.class=com.example.Mine", "listener PLAINTEXT: it names a part of Java");
    check_protection("listener.name.clients.principal.builder.class=com.example.Mine", "listener CLIENTS");
    check_protection("listener.name.clients.ssl.client.auth=required", "");
    check_protection("listener.name.CLIENTS.ssl.client.auth=required", "is written in lower case");
    check_protection("listener.name.client.ssl.client.auth=required", "there is no such listener");
    check_protection("listener.name.clients.ssl.client.aut=required", "there is no such key");
    check_protection("listener.name.http.ssl.client.auth=required", "");
    check_protection("listener.name.http.ssl.client.aut=required", "there is no such key");
    check_protection("listener.name.HTTP.ssl.client.auth=required", "there is no such listener");
    check_protection("listener.name.clients.sasl.enabled.mechanism=PLAIN", "there is no such key");
    check_protection("listener.name.clients.plain.connections.max.reauth.ms=1000", "");
    check_protection("listener.name.clients.scram-sha-512.sasl.jaas.config=x", "");
    check_protection("listener.name.clients.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=https://id/keys", "");
    check_protection("listener.name.clients.oauthbearer.sasl.login.read.timeout.ms=1000", "");
    check_protection("principal.builder.class=org.apache.kafka.common.security.authenticator."
                     "DefaultKafkaPrincipalBuilder ",
                     "");
    check_protection("listener.name.clients.oauthbearer.sasl.oauthbearer.jwks.endpoint.ulr=x", "there is no such key");
    check_protection("listener.name.clients.plian.connections.max.reauth.ms=1000", "there is no such mechanism");
    check_protection("listener.name.clients.plain.connections.max.reauth=1000", "there is no such key");
    check_protection("listener.name.client.max.connections=10", ""); /* which protects nobody */
    check_protection("listener.name.clients.com.example.key=10", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_properties_lines),
        TEST(test_latin1_is_told_of),
        TEST(test_properties_many),
        TEST(test_properties_errors),
        TEST(test_every_row),
        TEST(test_normal_form),
        TEST(test_bad_values),
        TEST(test_defaults),
        TEST(test_fallbacks),
        TEST(test_cross_checks),
        TEST(test_more_cross_checks),
        TEST(test_listeners),
        TEST(test_bad_listeners),
        TEST(test_warnings),
        TEST(test_overrides),
        cmocka_unit_test_setup_teardown(test_variables, set_up_secrets, tear_down_secrets),
        cmocka_unit_test_setup_teardown(test_variables_set_at_run_time, set_up_secrets, tear_down_secrets),
        cmocka_unit_test_setup_teardown(test_variables_without_a_value, set_up_secrets, tear_down_secrets),
        TEST(test_lookups),
        TEST(test_versions),
        TEST(test_check_dynamic),
        TEST(test_derive),
        TEST(test_counts_of_threads_change_in_small_steps),
        TEST(test_derive),
        TEST(test_live_keys),
        TEST(test_no_way_in_is_closed_at_run_time),
        TEST(test_derive),
        TEST(test_topic_defaults),
        TEST(test_topic_values),
        TEST(test_topic_load),
        TEST(test_throttled),
        TEST(test_describe_broker),
        TEST(test_describe_derived),
        TEST(test_describe_topic),
        TEST(test_fail),
        cmocka_unit_test(what_would_protect_less_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
