/* Contexts of TLS: what they are made of, and how two of them get on. */
#include "tls_test.h"

#include "base/arena.h"
#include "security/tls_check.h"

static struct identity authority, stranger, broker, alice;
static char *authority_pem, *broker_pem, *broker_key, *alice_pem, *alice_key;

static int setup(void **state)
{
    (void)state;
    authority = identity_make((struct identity_spec){.name = "Test CA"});
    stranger = identity_make((struct identity_spec){.name = "Another CA"});
    broker = identity_make((struct identity_spec){
        .name = "broker", .alternative = "DNS:localhost,DNS:a.example,IP:127.0.0.1,IP:::1", .issuer = &authority});
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
                 {"broker", "hostname mismatch"},
                 {"", "hostname mismatch"},
                 {".", "hostname mismatch"},
                 {".example", "hostname mismatch"}};
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

static void shake(struct tls_context *server, struct tls_context *client, struct ends *out, bool expected)
{
    ends_open(out, server, client, "localhost");
    bool ok = ends_shake(out);
    if (ok != expected)
        fail_msg("client: %s; server: %s", out->why_client.text, out->why_server.text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("not \"%s\", but: %s", part, text);
}

static void clients_show_certificates_as_the_listener_wants(void **state)
{
    (void)state;
    enum shown { NOTHING, GOOD, STRANGE, EXPIRED, FOR_SERVERS, SHOWN_COUNT };
    struct identity expired =
        identity_make((struct identity_spec){.name = "late", .issuer = &authority, .expired = true});
    struct identity server_only =
        identity_make((struct identity_spec){.name = "server", .issuer = &authority, .usage = "serverAuth"});
    const struct identity *shown[] = {NULL, &alice, &stranger, &expired, &server_only};
    const char *const why[] = {NULL, NULL, "self-signed certificate", "certificate has expired",
                               "unsuitable certificate purpose"};
    for (int n = 0; n < SHOWN_COUNT * 6; n++) {
        enum shown what = (enum shown)(n % SHOWN_COUNT);
        enum client_auth auth = (enum client_auth)(n / SHOWN_COUNT % 3);
        struct tls_settings s = settings_of(broker_key, broker_pem, authority_pem),
                            c = settings_of(NULL, NULL, authority_pem);
        char *key = NULL, *certificate = NULL;
        s.client_auth = auth;
        c.enabled_protocols = n / SHOWN_COUNT < 3 ? "TLSv1.2" : "TLSv1.3";
        if (what != NOTHING) {
            key = pem_of_key(shown[what], NULL);
            certificate = pem_of_certificate(shown[what]);
            c.keys = (struct keystore_source){.type = "PEM", .key = key, .certificates = certificate};
        }
        struct tls_context *server = context_of(s, TLS_SERVER), *client = context_of(c, TLS_CLIENT);
        struct arena a = {0};
        struct ends e;
        bool expected = auth == CLIENT_AUTH_NONE || what == GOOD || (what == NOTHING && auth == CLIENT_AUTH_REQUESTED);
        shake(server, client, &e, expected);
        const char *subject = expected ? tls_peer_subject(e.server, &a) : NULL;
        if (expected && what == GOOD && auth != CLIENT_AUTH_NONE)
            assert_string_equal(subject, "CN=alice");
        else
            assert_null(subject);
        if (!expected && what == NOTHING) {
            assert_has(e.why_server.text, "peer did not return a certificate");
        } else if (!expected) {
            assert_has(e.why_server.text, why[what]);
            assert_has(e.why_client.text, "alert certificate unknown");
        }
        ends_close(&e);
        arena_deinit(&a);
        tls_context_unref(server);
        tls_context_unref(client);
        free(key);
        free(certificate);
    }
    identity_free(&expired);
    identity_free(&server_only);
}

static void clients_have_the_names_that_rules_give_them(void **state)
{
    (void)state;
    struct tls_settings s = settings_of(broker_key, broker_pem, authority_pem),
                        c[] = {settings_of(alice_key, alice_pem, authority_pem),
                               settings_of(NULL, NULL, authority_pem)};
    static const char *const rules[] = {"DEFAULT", "RULE:^CN=(.*)$/$1/U", "RULE:^OU=(.*)$/$1/"};
    static const char *const names[][2] = {
        {"User:CN=alice", "User:ANONYMOUS"}, {"User:ALICE", "User:ANONYMOUS"}, {NULL, "User:ANONYMOUS"}};
    s.client_auth = CLIENT_AUTH_REQUESTED;
    struct tls_context *server = context_of(s, TLS_SERVER);
    for (size_t i = 0; i < 2 * ARRAY_LEN(rules); i++) {
        struct tls_context *client = context_of(c[i % 2], TLS_CLIENT);
        struct principal_rules *parsed = principal_rules_parse(rules[i / 2], NULL);
        struct principal principal;
        struct arena a = {0};
        struct ends e;
        shake(server, client, &e, true);
        assert_int_equal(tls_peer_principal(e.server, parsed, &a, &principal, NULL), names[i / 2][i % 2] != NULL);
        if (names[i / 2][i % 2] != NULL)
            assert_string_equal(principal_text(principal, &a).p, names[i / 2][i % 2]);
        ends_close(&e);
        arena_deinit(&a);
        principal_rules_free(parsed);
        tls_context_unref(client);
    }
    tls_context_unref(server);
}

static void each_certificate_of_a_trust_store_is_an_anchor(void **state)
{
    (void)state;
    struct tls_context *client = context_of(settings_of(NULL, NULL, broker_pem), TLS_CLIENT); /* and not its issuer */
    struct tls_context *server = context_of(settings_of(broker_key, broker_pem, NULL), TLS_SERVER);
    struct ends e;
    shake(server, client, &e, true);
    ends_close(&e);
    tls_context_unref(client);
    client = context_of(settings_of(NULL, NULL, alice_pem), TLS_CLIENT);
    shake(server, client, &e, false);
    assert_has(e.why_client.text, "certificate refused: unable to get local issuer certificate");
    ends_close(&e);
    tls_context_unref(server);
    tls_context_unref(client);
}

static void the_chain_of_the_store_is_sent_and_no_more(void **state)
{
    (void)state;
    char *chain = xasprintf("%s%s", broker_pem, authority_pem);
    const char *const certificates[] = {broker_pem, chain};
    struct tls_context *client = context_of(settings_of(NULL, NULL, authority_pem), TLS_CLIENT);
    for (int i = 0; i < 2; i++) {
        struct tls_context *server = context_of(settings_of(broker_key, certificates[i], authority_pem), TLS_SERVER);
        struct ends e;
        shake(server, client, &e, true);
        assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(e.client)), i + 1);
        ends_close(&e);
        tls_context_unref(server);
    }
    tls_context_unref(client);
    free(chain);
}

static void clients_are_told_whose_certificates_are_taken(void **state)
{
    (void)state;
    char *stranger_pem = pem_of_certificate(&stranger),
         *trusted = xasprintf("%s%s%s", authority_pem, stranger_pem, authority_pem);
    struct tls_settings s = settings_of(broker_key, broker_pem, trusted);
    s.client_auth = CLIENT_AUTH_REQUESTED;
    struct tls_context *server = context_of(s, TLS_SERVER),
                       *client = context_of(settings_of(NULL, NULL, authority_pem), TLS_CLIENT);
    struct ends e;
    shake(server, client, &e, true);
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(e.client);
    assert_int_equal(sk_X509_NAME_num(names), 2);
    assert_int_equal(X509_NAME_cmp(sk_X509_NAME_value(names, 0), X509_get_subject_name(authority.certificate)), 0);
    ends_close(&e);
    tls_context_unref(server);
    tls_context_unref(client);
    free(stranger_pem);
    free(trusted);
}

/* ---- Versions and suites ---- */

static void versions_and_suites_are_javas(void **state)
{
    (void)state;
    static const char c256[] = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                      c128[] = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    static const char both[] = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    static const struct {
        const char *server_protocols, *server_suites, *client_protocols, *client_suites;
        const char *version, *suite; /* NULL: they do not get on */
    } cases[] = {
        {NULL, NULL, NULL, NULL, "TLSv1.3", "TLS_AES_256_GCM_SHA384"},
        {"TLSv1.2,TLSv1.3", "", "TLSv1.2", NULL, "TLSv1.2", c256},
        {"TLSv1.2", NULL, NULL, NULL, "TLSv1.2", c256},
        {"TLSv1.3", NULL, NULL, NULL, "TLSv1.3", "TLS_AES_256_GCM_SHA384"},
        {"SSLv2Hello,TLSv1,TLSv1.1,TLSv1.2", NULL, NULL, NULL, "TLSv1.2", c256},
        {"TLSv1.2", NULL, "TLSv1.3", NULL, NULL, NULL},
        {NULL, c128, NULL, NULL, "TLSv1.2", c128}, /* a list without suites of 1.3 switches that off */
        {NULL, "TLS_AES_128_GCM_SHA256", NULL, NULL, "TLSv1.3", "TLS_AES_128_GCM_SHA256"},
        {NULL, "TLS_AES_128_GCM_SHA256", "TLSv1.2", NULL, NULL, NULL},
        {NULL, both, NULL, c256, "TLSv1.2", c256},
        {"TLSv1.2", both, NULL, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
         "TLSv1.2", c128},
        {NULL, c128, NULL, c256, NULL, NULL},
        {NULL, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV,SSL_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", NULL, NULL, "TLSv1.2",
         c128},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_settings s = settings_of(broker_key, broker_pem, NULL), c = settings_of(NULL, NULL, authority_pem);
        s.enabled_protocols = cases[i].server_protocols;
        s.cipher_suites = cases[i].server_suites;
        c.enabled_protocols = cases[i].client_protocols;
        c.cipher_suites = cases[i].client_suites;
        struct tls_context *server = context_of(s, TLS_SERVER), *client = context_of(c, TLS_CLIENT);
        struct ends e;
        shake(server, client, &e, cases[i].version != NULL);
        if (cases[i].version != NULL) {
            assert_string_equal(SSL_get_version(e.server), cases[i].version);
            assert_string_equal(SSL_CIPHER_standard_name(SSL_get_current_cipher(e.server)), cases[i].suite);
        }
        ends_close(&e);
        tls_context_unref(server);
        tls_context_unref(client);
    }
}

static void refuse(struct tls_settings settings, enum tls_side side, const char *why)
{
    struct fail fail = {""};
    assert_null(tls_context_new(&settings, side, &fail));
    assert_has(fail.text, why);
    assert_int_equal(ERR_peek_error(), 0);
}

static void contexts_that_could_not_serve_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *protocols, *suites, *why;
    } cases[] = {
        {"TLSv1.4", NULL, "there is no protocol TLSv1.4"},
        {"tlsv1.2", NULL, "there is no protocol tlsv1.2"},
        {"TLSv1.1", NULL, "neither TLSv1.2 nor TLSv1.3"},
        {NULL, "TLS_AES_128_GCM_SHA256,NO_SUCH", "there is no cipher suite NO_SUCH"},
        {NULL, "ECDHE-ECDSA-AES128-GCM-SHA256", "there is no cipher suite ECDHE-ECDSA"},
        {NULL, "S", "there is no cipher suite S"},
        {"TLSv1.3", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "leaves nothing"},
        {"TLSv1.2", "TLS_AES_128_GCM_SHA256", "leaves nothing"},
        {NULL, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", "leaves nothing"},
        {NULL, "TLS_DH_anon_WITH_AES_128_GCM_SHA256", "leaves nothing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_settings s = settings_of(broker_key, broker_pem, NULL);
        s.enabled_protocols = cases[i].protocols;
        s.cipher_suites = cases[i].suites;
        refuse(s, TLS_SERVER, cases[i].why);
    }
    refuse(settings_of(NULL, NULL, authority_pem), TLS_SERVER, "ssl.keystore.location is not set");
    refuse(settings_of(alice_key, broker_pem, NULL), TLS_SERVER, "does not fit its certificate");
    refuse(settings_of(broker_key, broker_pem, "nothing"), TLS_CLIENT, "No matching CERTIFICATE");
}

static void the_key_that_the_peer_can_verify_is_shown(void **state)
{
    (void)state;
    struct tls_settings s = {.client_auth = CLIENT_AUTH_NONE}, c = {.check_host = false};
    s.keys = (struct keystore_source){.type = "JKS", .location = TEST_STORES "/two.jks", .password = "changeit"};
    c.trust = (struct keystore_source){.type = "JKS", .location = TEST_STORES "/two.p12", .password = "changeit"};
    struct tls_context *server = context_of(s, TLS_SERVER);
    static const char *const cases[][2] = {{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "CN=rsa"},
                                           {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "CN=alpha"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a = {0};
        struct ends e;
        c.cipher_suites = cases[i][0];
        struct tls_context *client = context_of(c, TLS_CLIENT);
        shake(server, client, &e, true);
        assert_string_equal(tls_peer_subject(e.client, &a), cases[i][1]);
        ends_close(&e);
        arena_deinit(&a);
        tls_context_unref(client);
    }
    tls_context_unref(server);
}

/* ---- Sessions ---- */

static void sessions_resume_with_their_certificate(void **state)
{
    (void)state;
    static const char *const versions[] = {"TLSv1.2", "TLSv1.3"};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tls_settings s = settings_of(broker_key, broker_pem, authority_pem),
                            c = settings_of(alice_key, alice_pem, authority_pem);
        s.client_auth = CLIENT_AUTH_REQUIRED;
        c.enabled_protocols = versions[i];
        struct tls_context *server = context_of(s, TLS_SERVER), *client = context_of(c, TLS_CLIENT);
        struct arena a = {0};
        struct ends first, second;
        shake(server, client, &first, true);
        SSL_SESSION *session = SSL_get1_session(first.client);
        assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(session), 86400);
        ends_open(&second, server, client, "localhost");
        SSL_set_session(second.client, session);
        assert_true(ends_shake(&second));
        assert_true(SSL_session_reused(second.server));
        assert_string_equal(tls_peer_subject(second.server, &a), "CN=alice");
        SSL_SESSION_free(session);
        ends_close(&first);
        ends_close(&second);
        arena_deinit(&a);
        tls_context_unref(server);
        tls_context_unref(client);
    }
}

static void nobody_negotiates_again(void **state)
{
    (void)state;
    struct tls_settings s = settings_of(broker_key, broker_pem, NULL), c = settings_of(NULL, NULL, authority_pem);
    s.enabled_protocols = "TLSv1.2";
    struct tls_context *server = context_of(s, TLS_SERVER), *client = context_of(c, TLS_CLIENT);
    struct ends e;
    char byte;
    shake(server, client, &e, true);
    SSL_clear_options(e.client, SSL_OP_NO_RENEGOTIATION);
    assert_int_equal(SSL_renegotiate(e.client), 1);
    assert_int_equal(SSL_do_handshake(e.client), -1);
    assert_int_equal(SSL_read(e.server, &byte, 1), -1);
    assert_int_equal(SSL_get_error(e.server, -1), SSL_ERROR_WANT_READ);
    assert_int_equal(SSL_do_handshake(e.client), -1);
    tls_explain(e.client, &e.why_client);
    assert_has(e.why_client.text, "renegotiation");
    ends_close(&e);
    tls_context_unref(server);
    tls_context_unref(client);
}

/* A connection goes on with what it began with, when its listener has another context. */
static void connections_outlive_their_context(void **state)
{
    (void)state;
    struct tls_context *server = context_of(settings_of(broker_key, broker_pem, NULL), TLS_SERVER);
    struct tls_context *client = context_of(settings_of(NULL, NULL, authority_pem), TLS_CLIENT);
    struct ends e;
    ends_open(&e, tls_context_ref(server), client, "localhost");
    tls_context_unref(server);
    tls_context_unref(server);
    tls_context_unref(client);
    assert_true(ends_shake(&e));
    ends_close(&e);
}

/* ---- Settings ---- */

static void settings_are_those_of_the_listener(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "broker.id=1",
        "zookeeper.connect=localhost",
        "listeners=SSL://localhost:1,INSIDE://localhost:2,SASL_SSL://localhost:3",
        "listener.security.protocol.map=SSL:SSL,INSIDE:SSL,SASL_SSL:SASL_SSL",
        "security.inter.broker.protocol=SSL",
        "ssl.keystore.location= /all ",
        "ssl.keystore.password= secret ",
        "ssl.client.auth=required",
        "ssl.endpoint.identification.algorithm=",
        "ssl.cipher.suites=A , B",
        "listener.name.inside.ssl.keystore.location=/inside",
        "listener.name.inside.ssl.client.auth=requested",
        "listener.name.inside.ssl.endpoint.identification.algorithm=HTTPS",
        "listener.name.inside.ssl.truststore.type=PEM",
    };
    struct broker_config config;
    struct config_options options = {.overrides = lines, .override_count = ARRAY_LEN(lines)};
    struct arena a = {0};
    struct tls_settings s;
    struct fail fail = {""};
    if (!config_load(&config, &options, &fail))
        fail_msg("%s", fail.text);
    assert_true(tls_settings_of(&config, config_listener(&config.listeners, "SSL"), &a, &s, &fail));
    assert_string_equal(s.keys.location, "/all");
    assert_string_equal(s.keys.password, "secret");
    assert_null(s.keys.key_password);
    assert_string_equal(s.keys.type, "JKS");
    assert_null(s.trust.location);
    assert_string_equal(s.enabled_protocols, "TLSv1.2,TLSv1.3");
    assert_string_equal(s.cipher_suites, "A,B");
    assert_string_equal(s.principal_rules, "DEFAULT");
    assert_int_equal(s.client_auth, CLIENT_AUTH_REQUIRED);
    assert_false(s.check_host);
    assert_true(tls_settings_of(&config, config_listener(&config.listeners, "INSIDE"), &a, &s, &fail));
    assert_string_equal(s.keys.location, "/inside");
    assert_string_equal(s.trust.type, "PEM");
    assert_int_equal(s.client_auth, CLIENT_AUTH_REQUESTED);
    assert_true(s.check_host);
    assert_true(tls_settings_of(&config, config_listener(&config.listeners, "SASL_SSL"), &a, &s, &fail));
    assert_int_equal(s.client_auth, CLIENT_AUTH_NONE); /* as it is not the listener's own */
    arena_deinit(&a);
    config_deinit(&config);
}

static void settings_that_mean_nothing_here_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"ssl.engine.factory.class=com.example.Factory", "does not have"},
        {"ssl.provider=BCJSSE", "does not have"},
        {"ssl.provider=SunJSSE", NULL},
        {"ssl.protocol=TLSv1.2", NULL},
        {"ssl.protocol=DTLS", "does not have"},
        {"ssl.keymanager.algorithm=IbmX509", "does not have"},
        {"ssl.keymanager.algorithm=PKIX", NULL},
        {"ssl.trustmanager.algorithm=pkix", NULL},
        {"ssl.trustmanager.algorithm=Mine", "does not have"},
        {"ssl.secure.random.implementation=SHA1PRNG", NULL},
        {"security.providers=com.example.Provider", "does not have"},
        {"listener.name.ssl.ssl.endpoint.identification.algorithm=LDAPS", "it is https, or empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *lines[] = {"broker.id=1", "zookeeper.connect=localhost", "listeners=SSL://localhost:1",
                               "security.inter.broker.protocol=SSL", cases[i][0]};
        struct broker_config config;
        struct config_options options = {.overrides = lines, .override_count = ARRAY_LEN(lines)};
        struct arena a = {0};
        struct tls_settings s;
        struct fail fail = {""};
        bool ok = config_load(&config, &options, &fail);
        if (!ok)
            fail_msg("%s", fail.text);
        ok = tls_settings_of(&config, &config.listeners.items[0], &a, &s, &fail);
        if (ok != (cases[i][1] == NULL))
            fail_msg("%s: %s", cases[i][0], fail.text);
        if (!ok)
            assert_has(fail.text, cases[i][1]);
        arena_deinit(&a);
        config_deinit(&config);
    }
}

/* ---- Checks ---- */

static void write_store(const char *dir, const char *name, const char *text, char path[128])
{
    snprintf(path, 128, "%s/%s", dir, name);
    file_write(path, text, strlen(text));
}

/* Whether a broker starts with these lines, of which the last is about a listener called SSL; "": it does. */
static void check_start(const char *const *lines, size_t count, const char *why)
{
    const char *all[24] = {"broker.id=1", "zookeeper.connect=localhost",
                           "listeners=SSL://localhost:1,PLAINTEXT://localhost:2"};
    struct broker_config config;
    struct arena a = {0};
    struct tls_settings settings;
    struct tls_ends ends;
    struct fail fail = {""};
    memcpy(all + 3, lines, sizeof(*lines) * count);
    struct config_options options = {.overrides = all, .override_count = count + 3};
    if (!config_load(&config, &options, &fail))
        fail_msg("%s", fail.text);
    if (tls_listener_start(&config, &config.listeners.items[0], &a, &settings, &ends, &fail) != (*why == '\0'))
        fail_msg("%s and not %s", fail.text, why);
    assert_has(fail.text, why);
    tls_ends_unref(&ends);
    arena_deinit(&a);
    assert_int_equal(ERR_peek_error(), 0);
    config_deinit(&config);
}

static void a_listener_is_checked_before_the_broker_starts(void **state)
{
    (void)state;
    char dir[64], keys[128], trust[128], strange[128], own[128], line[4][192];
    char *both = xasprintf("%s%s", broker_key, broker_pem), *stranger_pem = pem_of_certificate(&stranger);
    temp_dir_make(dir);
    write_store(dir, "keys", both, keys);
    write_store(dir, "trust", authority_pem, trust);
    write_store(dir, "strange", stranger_pem, strange);
    write_store(dir, "own", broker_pem, own);
    snprintf(line[0], sizeof(line[0]), "ssl.keystore.location=%s", keys);
    snprintf(line[1], sizeof(line[1]), "ssl.truststore.location=%s", trust);
    snprintf(line[2], sizeof(line[2]), "listener.name.ssl.ssl.truststore.location=%s", strange);
    snprintf(line[3], sizeof(line[3]), "listener.name.ssl.ssl.truststore.location=%s", own);
    const char *lines[] = {line[0], line[1], "ssl.keystore.type=PEM", "ssl.truststore.type=PEM", "", "", ""};
    const char *const among = "security.inter.broker.protocol=SSL";
    static const struct {
        const char *extra[3];
        const char *why;
    } cases[] = {
        {{"num.partitions=1"}, ""},
        {{"ssl.keystore.type=JKS"}, "listener SSL: ssl.keystore.password is not set"},
        {{"listener.name.ssl.ssl.keystore.location=/nowhere"}, "/nowhere of type PEM: No such file"},
        {{"ssl.principal.mapping.rules=RULE:a"}, "listener SSL: ssl.principal.mapping.rules: Invalid rule: `RULE:a`"},
        {{"ssl.cipher.suites=NO_SUCH"}, "listener SSL: ssl.cipher.suites: there is no cipher suite NO_SUCH"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        lines[4] = cases[i].extra[0];
        check_start(lines, 5, cases[i].why);
    }
    lines[4] = among;
    lines[5] = "ssl.client.auth=required";
    check_start(lines, 6, ""); /* the host of this one's name is not in the certificate, which does not matter */
    lines[6] = line[3];
    check_start(lines, 7, "");
    lines[6] = line[2];
    check_start(lines, 7, "listener SSL: a client with these settings cannot connect");
    lines[4] = "num.partitions=1";
    check_start(lines, 7, ""); /* only clients come there */
    check_start((const char *const[]){"num.partitions=1"}, 1, "listener SSL: ssl.keystore.location is not set");
    free(both);
    free(stranger_pem);
    temp_dir_remove(dir);
}

static struct tls_context *context_for(struct identity_spec spec)
{
    struct identity identity = identity_make(spec);
    char *key = pem_of_key(&identity, NULL), *certificate = pem_of_certificate(&identity);
    struct tls_context *context = context_of(settings_of(key, certificate, NULL), TLS_SERVER);
    free(key);
    free(certificate);
    identity_free(&identity);
    return context;
}

static void certificates_change_into_those_that_say_the_same(void **state)
{
    (void)state;
    static const struct {
        struct identity_spec old, next;
        bool allow_names, allow_alternatives;
        const char *why; /* NULL: it may */
    } cases[] = {
        {{.name = "a"}, {.name = "a"}, false, false, NULL},
        {{.name = "a b"}, {.name = " A  b"}, false, false, NULL},
        {{.name = "a"},
         {.name = "b"},
         false,
         false,
         "Keystore DistinguishedName does not match:  existing={alias=kafka, DN=CN=a}, new={alias=kafka, DN=CN=b}"},
        {{.name = "a"}, {.name = "b"}, true, false, NULL},
        {{.name = "a", .alternative = "DNS:x,IP:127.0.0.1"},
         {.name = "a", .alternative = "IP:127.0.0.1,DNS:y,DNS:x"},
         false,
         false,
         NULL},
        {{.name = "a", .alternative = "DNS:x,IP:127.0.0.1"},
         {.name = "a", .alternative = "DNS:x,IP:::1"},
         false,
         false,
         "Keystore SubjectAltNames do not match:  existing={alias=kafka, SAN=[[2, x], [7, 127.0.0.1]]}, "
         "new={alias=kafka, SAN=[[2, x], [7, ::1]]}"},
        {{.name = "a", .alternative = "DNS:x"}, {.name = "a"}, false, false, "SAN=[]}"},
        {{.name = "a", .alternative = "DNS:x"}, {.name = "a"}, false, true, NULL},
        {{.name = "a", .alternative = "DNS:x"}, {.name = "b"}, true, true, NULL},
        {{.name = "a"}, {.name = "a", .alternative = "DNS:x"}, false, false, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_context *old = context_for(cases[i].old), *next = context_for(cases[i].next);
        struct fail fail = {""};
        if (tls_check_change(old, next, cases[i].allow_names, cases[i].allow_alternatives, &fail) !=
            (cases[i].why == NULL))
            fail_msg("case %zu: %s", i, fail.text);
        if (cases[i].why != NULL)
            assert_has(fail.text, cases[i].why);
        assert_int_equal(ERR_peek_error(), 0);
        tls_context_unref(old);
        tls_context_unref(next);
    }
}

static void stores_neither_come_nor_go(void **state)
{
    (void)state;
    struct tls_settings several = {
        .client_auth = CLIENT_AUTH_NONE,
        .keys = {.type = "JKS", .location = TEST_STORES "/two.jks", .password = "changeit"},
    };
    struct tls_settings with = settings_of(broker_key, broker_pem, authority_pem),
                        without = settings_of(NULL, NULL, authority_pem),
                        open = settings_of(broker_key, broker_pem, NULL);
    struct tls_context *keys = context_of(with, TLS_CLIENT), *none = context_of(without, TLS_CLIENT),
                       *trusting = context_of(open, TLS_CLIENT), *many = context_of(several, TLS_SERVER);
    struct fail fail;
    assert_false(tls_check_change(none, keys, true, true, &fail));
    assert_string_equal(fail.text,
                        "Cannot add SSL keystore to an existing listener for which no keystore was configured.");
    assert_false(tls_check_change(keys, none, true, true, &fail));
    assert_string_equal(
        fail.text, "Cannot remove the SSL keystore from an existing listener for which a keystore was configured.");
    assert_false(tls_check_change(trusting, keys, true, true, &fail));
    assert_has(fail.text, "Cannot add SSL truststore");
    assert_true(tls_check_change(keys, trusting, false, false, &fail));
    assert_false(tls_check_change(keys, many, false, true, &fail));
    assert_string_equal(
        fail.text, "Keystore entries do not match, existing store contains 1 entries, new store contains 4 entries");
    assert_true(tls_stores_eq(&with, &with));
    assert_false(tls_stores_eq(&with, &without));
    assert_false(tls_stores_eq(&with, &open));
    assert_false(tls_is_rewritten(keys));
    assert_false(tls_is_rewritten(many));
    struct tls_context *all[] = {keys, none, trusting, many};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        tls_context_unref(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_checks_whom_it_reached),
        cmocka_unit_test(clients_show_certificates_as_the_listener_wants),
        cmocka_unit_test(clients_have_the_names_that_rules_give_them),
        cmocka_unit_test(each_certificate_of_a_trust_store_is_an_anchor),
        cmocka_unit_test(the_chain_of_the_store_is_sent_and_no_more),
        cmocka_unit_test(clients_are_told_whose_certificates_are_taken),
        cmocka_unit_test(versions_and_suites_are_javas),
        cmocka_unit_test(contexts_that_could_not_serve_are_refused),
        cmocka_unit_test(the_key_that_the_peer_can_verify_is_shown),
        cmocka_unit_test(sessions_resume_with_their_certificate),
        cmocka_unit_test(nobody_negotiates_again),
        cmocka_unit_test(connections_outlive_their_context),
        cmocka_unit_test(settings_are_those_of_the_listener),
        cmocka_unit_test(settings_that_mean_nothing_here_are_refused),
        cmocka_unit_test(a_listener_is_checked_before_the_broker_starts),
        cmocka_unit_test(certificates_change_into_those_that_say_the_same),
        cmocka_unit_test(stores_neither_come_nor_go),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
