/* Settings from the environment, as the image apache/kafka takes them. */
#include "test.h"

#include "base/logger.h"
#include "config/environment.h"

static struct arena arena;

static int tear_down(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void assert_read(const char *const *variables, const char *secrets, const char *const *expected)
{
    struct environment_settings found;
    struct fail fail;
    assert_true(environment_read((char *const *)(uintptr_t)variables, secrets, &arena, &found, &fail));
    size_t count = 0;
    while (expected[count] != NULL)
        count++;
    assert_int_equal(found.count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(found.pairs[i], expected[i]);
}

static void names_are_keys(void **state)
{
    (void)state;
    const char *const variables[] = {"PATH=/bin",
                                     "KAFKA_LOG_DIRS=/data,/more",
                                     "KAFKA_BROKER_ID=3",
                                     "KAFKA_A__B___C____D=x=y",
                                     "KAFKA_EMPTY=",
                                     "KAFKA_=nothing",
                                     "KAFKA_ODD",
                                     "KAFKA_LISTENER_NAME_CLIENT___ONE_SSL_KEY_PASSWORD=p",
                                     NULL};
    const char *const expected[] = {"log.dirs=/data,/more",
                                    "broker.id=3",
                                    "a_b-c-.d=x=y",
                                    "empty=",
                                    "listener.name.client-one.ssl.key.password=p",
                                    NULL};
    assert_read(variables, "/nowhere", expected);
}

static void what_scripts_read_is_no_setting(void **state)
{
    (void)state;
    const char *const variables[] = {"KAFKA_OPTS=-Dx",
                                     "KAFKA_HEAP_OPTS=-Xmx1G",
                                     "KAFKA_LOG4J_ROOT_LOGLEVEL=WARN",
                                     "KAFKA_LOG4J_LOGGERS=a=INFO",
                                     "KAFKA_VERSION=3.9.1",
                                     NULL};
    const char *const none[] = {NULL};
    assert_read(variables, "/nowhere", none);
}

static void listeners_follow_what_is_advertised(void **state)
{
    (void)state;
    const char *const alone[] = {"KAFKA_ADVERTISED_LISTENERS=SSL://b1.example.org:9093,IN://[::1]:9092,odd", NULL};
    const char *const everywhere[] = {"advertised.listeners=SSL://b1.example.org:9093,IN://[::1]:9092,odd",
                                      "listeners=SSL://0.0.0.0:9093,IN://0.0.0.0:9092,odd", NULL};
    assert_read(alone, "/nowhere", everywhere);
    const char *const both[] = {"KAFKA_ADVERTISED_LISTENERS=SSL://b1:9093", "KAFKA_LISTENERS=SSL://:1", NULL};
    const char *const as_said[] = {"advertised.listeners=SSL://b1:9093", "listeners=SSL://:1", NULL};
    assert_read(both, "/nowhere", as_said);
    const char *const empty[] = {"KAFKA_LISTENERS=", "KAFKA_ADVERTISED_LISTENERS=SSL://b1:9093", NULL};
    const char *const over_empty[] = {"listeners=", "advertised.listeners=SSL://b1:9093",
                                      "listeners=SSL://0.0.0.0:9093", NULL};
    assert_read(empty, "/nowhere", over_empty);
    const char *const nothing[] = {"KAFKA_ADVERTISED_LISTENERS=", NULL};
    const char *const still_nothing[] = {"advertised.listeners=", NULL};
    assert_read(nothing, "/nowhere", still_nothing);
}

static void secrets_are_read_from_files(void **state)
{
    char dir[64], path[96], by_file[160], expected_store[160];
    (void)state;
    snprintf(path, sizeof(path), "%s/creds", temp_dir_make(dir));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("pass word \r\n", f);
    fclose(f);
    snprintf(by_file, sizeof(by_file), "KAFKA_ZOOKEEPER_SSL_TRUSTSTORE_PASSWORD_FILE=%s", path);
    snprintf(expected_store, sizeof(expected_store), "ssl.keystore.location=%s/keys.p12", dir);
    const char *const variables[] = {by_file, "KAFKA_SSL_KEYSTORE_FILENAME=keys.p12",
                                     "KAFKA_SSL_KEYSTORE_CREDENTIALS=creds", NULL};
    const char *const expected[] = {"zookeeper.ssl.truststore.password=pass word ", expected_store,
                                    "ssl.keystore.password=pass word ", NULL};
    assert_read(variables, dir, expected);
    temp_dir_remove(dir);
}

static void a_secret_that_is_not_there_is_an_error(void **state)
{
    struct environment_settings found;
    struct fail fail;
    (void)state;
    const char *const variables[] = {"KAFKA_SSL_KEY_PASSWORD_FILE=/nowhere/key", NULL};
    assert_false(environment_read((char *const *)(uintptr_t)variables, "/nowhere", &arena, &found, &fail));
    assert_non_null(strstr(fail.text, "/nowhere/key"));
    assert_non_null(strstr(fail.text, "KAFKA_SSL_KEY_PASSWORD_FILE"));
}

static void a_large_secret_is_whole_or_an_error(void **state)
{
    enum { LARGEST = 1 << 20 };
    char dir[64], path[96], by_file[160];
    struct environment_settings found;
    struct fail fail;
    char *content = malloc(LARGEST + 1);
    (void)state;
    memset(content, 'x', LARGEST + 1);
    snprintf(path, sizeof(path), "%s/chain.pem", temp_dir_make(dir));
    snprintf(by_file, sizeof(by_file), "KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN_FILE=%s", path);
    const char *const variables[] = {by_file, NULL};
    for (int more = 0; more < 3; more++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        content[100] = more < 2 ? 'x' : '\0'; /* a store, where its password should be */
        assert_int_equal(fwrite(content, 1, more == 1 ? LARGEST + 1 : LARGEST, f), more == 1 ? LARGEST + 1 : LARGEST);
        fclose(f);
        bool ok = environment_read((char *const *)(uintptr_t)variables, dir, &arena, &found, &fail);
        assert_int_equal(ok, more == 0);
        if (ok) {
            assert_int_equal(strlen(found.pairs[0]), strlen("ssl.keystore.certificate.chain=") + LARGEST);
            continue;
        }
        assert_non_null(strstr(fail.text, "chain.pem"));
        assert_non_null(strstr(fail.text, "KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN_FILE"));
        assert_non_null(strstr(fail.text, more == 1 ? "1048576" : "zero byte"));
    }
    free(content);
    temp_dir_remove(dir);
}

static void note_level(void *ctx, const char *name, enum log_level level)
{
    enum log_level *levels = ctx;
    if (strcmp(name, LOGGER_ROOT) == 0)
        levels[0] = level;
    if (strcmp(name, LOGGER_REQUESTS) == 0)
        levels[1] = level;
}

static void loggers_get_their_levels(void **state)
{
    enum log_level levels[2] = {LEVEL_OFF, LEVEL_OFF};
    (void)state;
    const char *const variables[] = {
        "KAFKA_LOG4J_ROOT_LOGLEVEL=WARN",
        "KAFKA_LOG4J_LOGGERS=kafka.request.logger=DEBUG,no.such.logger=INFO,stdout,,root=odd", NULL};
    environment_set_levels((char *const *)(uintptr_t)variables);
    logger_each(note_level, levels);
    assert_int_equal(levels[0], LEVEL_WARN);
    assert_int_equal(levels[1], LEVEL_DEBUG);
}

LOG_PLACE(request_place, LOGGER_REQUESTS)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(names_are_keys, tear_down),
        cmocka_unit_test_teardown(what_scripts_read_is_no_setting, tear_down),
        cmocka_unit_test_teardown(listeners_follow_what_is_advertised, tear_down),
        cmocka_unit_test_teardown(secrets_are_read_from_files, tear_down),
        cmocka_unit_test_teardown(a_secret_that_is_not_there_is_an_error, tear_down),
        cmocka_unit_test_teardown(a_large_secret_is_whole_or_an_error, tear_down),
        cmocka_unit_test(loggers_get_their_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
