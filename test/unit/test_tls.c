/* Contexts of TLS: what they are made of, and how two of them get on. */
#include "tls_test.h"

#include "base/arena.h"

static struct identity authority, stranger, broker, alice;
static char *authority_pem, *broker_pem, *broker_key, *alice_pem, *alice_key;

static int setup(void **state)
{
    (void)state;
    authority = identity_make((struct identity_spec){.name = "Test CA"});
    stranger = identity_make((struct identity_spec){.name = "Another CA"});
    broker = identity_make((struct identity_spec){
        .name = "broker", .alternative = "DNS:localhost,IP:127.0.0.1,IP:::1", .issuer = &authority});
    alice = identity_make((struct identity_spec){.name = "alice", .issuer = &authority});
    authority_pem = pem_of_certificate(&authority);
    broker_pem = pem_of_certificate(&broker);
    broker_key = pem_of_key(&broker, NULL);
    alice_pem = pem_of_certificate(&alice);
    alice_key = pem_of_key(&alice, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct identity *all[] = {&authority, &stranger, &broker, &alice};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        identity_free(all[i]);
    char *texts[] = {authority_pem, broker_pem, broker_key, alice_pem, alice_key};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    return 0;
}

static struct tls_settings settings_of(const char *key, const char *certificate, const char *trusted)
{
    struct tls_settings s = {.client_auth = CLIENT_AUTH_NONE, .check_host = true};
    if (key != NULL)
        s.keys = (struct keystore_source){.type = "PEM", .key = key, .certificates = certificate};
    if (trusted != NULL)
        s.trust = (struct keystore_source){.type = "PEM", .certificates = trusted};
    return s;
}

static struct tls_context *context_of(struct tls_settings settings, enum tls_side side)
{
    struct fail fail = {""};
    struct tls_context *context = tls_context_new(&settings, side, &fail);
    if (context == NULL)
        fail_msg("%s", fail.text);
    assert_int_equal(ERR_peek_error(), 0);
    return context;
}

/* ---- */

static void a_client_checks_whom_it_reached(void **state)
{
    (void)state;
    static const struct {
        const char *host, *why;
    } hosts[] = {{"localhost", NULL},
                 {"127.0.0.1", NULL},
                 {"::1", NULL},
                 {NULL, NULL},
                 {"127.0.0.2", "IP"},
                 {"elsewhere", "hostname mismatch"},
                 {"broker", "hostname mismatch"}};
    struct tls_context *server = context_of(settings_of(broker_key, broker_pem, NULL), TLS_SERVER);
    struct tls_context *client = context_of(settings_of(NULL, NULL, authority_pem), TLS_CLIENT);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct ends e;
        ends_open(&e, server, client, hosts[i].host);
        assert_int_equal(ends_shake(&e), hosts[i].why == NULL);
        assert_int_equal(ERR_peek_error(), 0);
        if (hosts[i].why != NULL) {
            assert_non_null(strstr(e.why_client.text, hosts[i].why));
            assert_non_null(strstr(e.why_server.text, "alert certificate unknown"));
        }
        ends_close(&e);
    }
    tls_context_unref(server);
    tls_context_unref(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_checks_whom_it_reached),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
