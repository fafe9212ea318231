/* Logging in: JAAS as Java reads it, and both sides of each mechanism against each other and against what is wrong. */
#include "test.h"

#include "security/digest_md5.h"
#include "security/sasl.h"

/* ---- JAAS ---- */

static void modules_are_read_as_by_java(void **state)
{
    (void)state;
    struct arena a = {0};
    struct jaas_module m;
    struct fail fail;
    assert_true(
        jaas_parse("a.b.C required\n user=\"x \\\"y\\\" \\101\" // comment\n other='q' bare=true /* more */ n=\"1\";",
                   &a, &m, &fail));
    assert_string_equal(m.name, "a.b.C");
    assert_string_equal(jaas_option(&m, "user"), "x \"y\" A");
    assert_string_equal(jaas_option(&m, "other"), "q");
    assert_string_equal(jaas_option(&m, "bare"), "true");
    assert_string_equal(jaas_option(&m, "n"), "1");
    assert_null(jaas_option(&m, "none"));
    assert_true(jaas_parse("C OPTIONAL;", &a, &m, &fail));
    assert_int_equal(m.count, 0);
    arena_deinit(&a);
}

static void jaas_is_refused(const char *text, const char *why)
{
    struct arena a = {0};
    struct jaas_module m;
    struct fail fail;
    assert_false(jaas_parse(text, &a, &m, &fail));
    assert_string_equal(fail.text, why);
    arena_deinit(&a);
}

static void bad_modules_are_refused_in_javas_words_but_for_secrets(void **state)
{
    (void)state;
    jaas_is_refused("C", "Login module control flag not specified in JAAS config");
    jaas_is_refused("C maybe;", "Invalid login module control flag in JAAS config");
    jaas_is_refused("C required username;", "Value not specified for key 'username' in JAAS config");
    jaas_is_refused("C required user_bob=5;", "Value not specified for key 'user_bob' in JAAS config");
    jaas_is_refused("C required password=\"the first\"half;", "Value not specified for key number 2 in JAAS config");
    jaas_is_refused("C required x=y", "JAAS config entry not terminated by semi-colon");
    jaas_is_refused("C required; D required;", "JAAS config property contains 2 login modules, should be 1 module");
    jaas_is_refused("", "JAAS config property contains 0 login modules, should be 1 module");
    jaas_is_refused("C required x=/a;", "Value not specified for key number 1 in JAAS config"); /* a comment begins */
}

static const char *stands_for(const char *name, struct arena *a)
{
    return strcmp(name, "home") == 0 ? arena_cstr(a, STR_LIT("/there")) : NULL;
}

static void files_have_sections(void **state)
{
    (void)state;
    static const char text[] =
        "// who logs in\nKafkaServer {\n  A required keyTab=\"${home}/k\" x=\"${none}\" n=5;\n  B optional;\n};\n"
        "gss.KafkaServer { C required; };\n";
    struct arena a = {0};
    struct jaas_file file;
    struct fail fail;
    assert_true(jaas_parse_file(text, stands_for, &a, &file, &fail));
    const struct jaas_section *s = jaas_section(&file, "KafkaServer");
    assert_non_null(s);
    assert_int_equal(s->count, 2);
    assert_string_equal(jaas_option(&s->modules[0], "keyTab"), "/there/k");
    assert_string_equal(jaas_option(&s->modules[0], "x"), "${none}");
    assert_string_equal(jaas_option(&s->modules[0], "n"), "5");
    assert_string_equal(jaas_section(&file, "gss.KafkaServer")->modules[0].name, "C");
    assert_null(jaas_section(&file, "Client"));
    assert_false(jaas_parse_file("A {\n B required;\n", stands_for, &a, &file, &fail));
    assert_string_equal(fail.text, "line 3: no } at the end of A");
    assert_false(jaas_parse_file("A { B required; }", stands_for, &a, &file, &fail));
    arena_deinit(&a);
}

/* ---- Conversations ---- */

static bool find_scram(void *ctx, enum scram_mechanism m, struct str user, struct arena *a,
                       struct scram_credential *out)
{
    int32_t iterations = *(int32_t *)ctx;
    if (!str_is(user, "al=i,ce"))
        return false;
    *out = scram_credential_make(m, STR_LIT("pencil"), iterations, a);
    return true;
}

static bool find_token(void *ctx, enum scram_mechanism m, struct str id, struct arena *a, struct sasl_token_login *out)
{
    (void)ctx;
    if (!str_is(id, "some-id"))
        return false;
    *out = (struct sasl_token_login){scram_credential_make(m, STR_LIT("pencil"), 4096, a), STR_LIT("bob"), 5,
                                     token_life_new(5)};
    return true;
}

static int32_t usual = 4096, too_few = 4095;
static const struct sasl_accounts accounts = {find_scram, find_token, &usual}, weak = {find_scram, NULL, &too_few};

struct parties {
    struct sasl_login mine, theirs;
    struct sasl_server *server;
    struct arena a;
    struct sasl_step last; /* of the server */
    bool trusts;           /* the client, in the end */
};

static void parties_init(struct parties *p, enum sasl_mechanism m, const char *server, const char *client,
                         const struct sasl_accounts *who)
{
    *p = (struct parties){0};
    p->mine = (struct sasl_login){.mechanism = m, .accounts = who};
    p->theirs.mechanism = m;
    assert_true(jaas_parse(server, &p->a, &p->mine.module, NULL));
    assert_true(jaas_parse(client, &p->a, &p->theirs.module, NULL));
    p->server = sasl_server_new(&p->mine);
}

static void parties_deinit(struct parties *p)
{
    sasl_server_free(p->server);
    arena_deinit(&p->a);
}

/* Until one of them has had enough. */
static void talk(struct parties *p)
{
    struct sasl_client *client = sasl_client_new(&p->theirs, "host");
    struct bytes said = {(const uint8_t *)"", 0};
    for (int i = 0; i < 5; i++) {
        struct sasl_step step;
        sasl_client_step(client, said, &p->a, &step);
        p->trusts = step.outcome == SASL_DONE;
        if (step.answer.p == NULL)
            break;
        sasl_server_step(p->server, step.answer, &p->a, &p->last);
        if (p->last.outcome == SASL_REFUSED)
            break;
        said = p->last.answer;
        if (p->trusts)
            break;
    }
    sasl_client_free(client);
}

static enum sasl_outcome outcome_of(enum sasl_mechanism m, const char *server, const char *client,
                                    const struct sasl_accounts *who)
{
    struct parties p;
    parties_init(&p, m, server, client, who);
    talk(&p);
    enum sasl_outcome outcome = p.last.outcome;
    parties_deinit(&p);
    return outcome;
}

static void scram_lets_in_who_knows_the_password(void **state)
{
    (void)state;
    for (enum sasl_mechanism m = SASL_SCRAM_SHA_256; m <= SASL_SCRAM_SHA_512; m++) {
        struct parties p;
        parties_init(&p, m, "S required;", "C required username=\"al=i,ce\" password=pencil;", &accounts);
        talk(&p);
        assert_int_equal(p.last.outcome, SASL_DONE);
        assert_true(p.trusts);
        assert_true(str_is(sasl_server_identity(p.server)->name, "al=i,ce"));
        assert_null(sasl_server_identity(p.server)->token);
        parties_deinit(&p);
        assert_int_equal(outcome_of(m, "S required;", "C required username=\"al=i,ce\" password=wrong;", &accounts),
                         SASL_REFUSED);
        assert_int_equal(outcome_of(m, "S required;", "C required username=bob password=pencil;", &accounts),
                         SASL_REFUSED);
        assert_int_equal(outcome_of(m, "S required;", "C required username=\"al=i,ce\" password=pencil;", &weak),
                         SASL_REFUSED);
    }
}

static void scram_takes_tokens_for_their_owners(void **state)
{
    (void)state;
    struct parties p;
    static const char client[] = "C required username=\"some-id\" password=pencil tokenauth=true;";
    parties_init(&p, SASL_SCRAM_SHA_256, "S required;", client, &accounts);
    talk(&p);
    assert_int_equal(p.last.outcome, SASL_DONE);
    assert_non_null(sasl_server_identity(p.server)->token);
    assert_true(str_is(sasl_server_identity(p.server)->name, "bob"));
    assert_int_equal(sasl_server_identity(p.server)->expires_ms, 5);
    parties_deinit(&p);
    assert_int_equal(outcome_of(SASL_SCRAM_SHA_256, "S required;", client, &weak), SASL_REFUSED);
    assert_int_equal(
        outcome_of(SASL_SCRAM_SHA_256, "S required;", "C required username=\"some-id\" password=pencil;", &accounts),
        SASL_REFUSED);
}

static void a_token_is_answered(enum sasl_mechanism m, const char *server, const void *token, size_t len,
                                enum sasl_outcome outcome, const char *refusal)
{
    struct parties p;
    parties_init(&p, m, server, "C required;", &accounts);
    sasl_server_step(p.server, (struct bytes){token, (int32_t)len}, &p.a, &p.last);
    assert_int_equal(p.last.outcome, outcome);
    if (refusal != NULL)
        assert_string_equal(p.last.refusal, refusal);
    else
        assert_null(p.last.refusal);
    parties_deinit(&p);
}

#define PLAIN(token, outcome, refusal) \
    a_token_is_answered(SASL_PLAIN, "S required user_alice=\"a,b\";", token, sizeof(token) - 1, outcome, refusal)
#define SCRAM(token, outcome, refusal) \
    a_token_is_answered(SASL_SCRAM_SHA_256, "S required;", token, sizeof(token) - 1, outcome, refusal)

static void plain_answers_as_apaches_does(void **state)
{
    (void)state;
    PLAIN("\0alice\0a,b", SASL_DONE, NULL);
    PLAIN("alice\0alice\0a,b", SASL_DONE, NULL);
    PLAIN("", SASL_REFUSED, "Invalid SASL/PLAIN response: expected 3 tokens, got 1");
    PLAIN("\0alice\0a,b\0", SASL_REFUSED, "Invalid SASL/PLAIN response: expected 3 tokens, got 4");
    PLAIN("\0\0a,b", SASL_REFUSED, "Authentication failed: username not specified");
    PLAIN("\0alice\0", SASL_REFUSED, "Authentication failed: password not specified");
    PLAIN("\0alice\0a,", SASL_REFUSED, "Authentication failed: Invalid username or password");
    PLAIN("\0alice\0a,bc", SASL_REFUSED, "Authentication failed: Invalid username or password");
    PLAIN("\0bob\0a,b", SASL_REFUSED, "Authentication failed: Invalid username or password");
    PLAIN("bob\0alice\0a,b", SASL_REFUSED,
          "Authentication failed: Client requested an authorization id that is different from username");
}

static void scram_refuses_what_is_malformed(void **state)
{
    (void)state;
    SCRAM("n,,n=al=3Di=2Cce,r=abc", SASL_GOES_ON, NULL);
    SCRAM("n,a=al=3Di=2Cce,n=al=3Di=2Cce,r=abc,x=y", SASL_GOES_ON, NULL);
    SCRAM("n,a=bob,n=al=3Di=2Cce,r=abc", SASL_REFUSED,
          "Authentication failed: Client requested an authorization id that is different from username");
    static const char *const bad[] = {
        "",         "n",         "n,",          "n,,",         "y,,n=x,r=abc", "p=tls,,n=x,r=abc", "n,,n=x",
        "n,,n=x,r", "n,,n=x,r=", "n,,n=,r=abc", "n,,n=a=,r=b", "n,,n=a=2,r=b", "n,,r=a",           "n,,n=x,r= y"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        a_token_is_answered(SASL_SCRAM_SHA_512, "S required;", bad[i], strlen(bad[i]), SASL_REFUSED, NULL);
}

static void scram_wants_its_own_nonce_back(void **state)
{
    (void)state;
    static const char *const finals[] = {"c=biws,r=abc,p=AAAA", "c=biws,r=,p=", "c=biws", "r=abc", "",
                                         "c=*,r=abc,p=AAAA"};
    for (size_t i = 0; i < ARRAY_LEN(finals); i++) {
        struct parties p;
        struct bytes first = {(const uint8_t *)"n,,n=al=3Di=2Cce,r=abc", 22};
        parties_init(&p, SASL_SCRAM_SHA_256, "S required;", "C required;", &accounts);
        sasl_server_step(p.server, first, &p.a, &p.last);
        assert_int_equal(p.last.outcome, SASL_GOES_ON);
        sasl_server_step(p.server, (struct bytes){(const uint8_t *)finals[i], (int32_t)strlen(finals[i])}, &p.a,
                         &p.last);
        assert_int_equal(p.last.outcome, SASL_REFUSED);
        parties_deinit(&p);
    }
}

static void credentials_survive_their_text(void **state)
{
    (void)state;
    struct arena a = {0};
    struct scram_credential made = scram_credential_make(SCRAM_SHA_512, STR_LIT("x"), 5000, &a), read;
    const char *text = scram_credential_text(&made, &a);
    assert_true(scram_credential_parse(SCRAM_SHA_512, str_of(text), &a, &read));
    assert_true(bytes_eq(made.salt, read.salt) && bytes_eq(made.stored_key, read.stored_key));
    assert_true(bytes_eq(made.server_key, read.server_key));
    assert_int_equal(read.iterations, 5000);
    assert_false(scram_credential_parse(SCRAM_SHA_256, str_of(text), &a, &read)); /* keys of another length */
    assert_false(scram_credential_parse(SCRAM_SHA_512, STR_LIT("salt=AA==,stored_key=AA==,iterations=5"), &a, &read));
    assert_false(scram_credential_parse(SCRAM_SHA_512, STR_LIT(""), &a, &read));
    arena_deinit(&a);
}

/* ---- DIGEST-MD5, which only ZooKeeper asks for ---- */

#define CHALLENGE "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",algorithm=md5-sess,charset=utf-8"

static void digest_md5_is_that_of_rfc_2831(void **state)
{
    (void)state;
    struct arena a = {0};
    struct digest_login login = {"chris", "secret", "imap/elwood.innosoft.com"};
    struct digest_answer answer;
    struct fail fail;
    assert_true(digest_md5_respond(&login, STR_LIT(CHALLENGE), "OA6MHXh6VqTrRk", &a, &answer, &fail));
    assert_non_null(strstr(answer.text.p, "response=d388dad90d4bbd760a152321f2143af7,qop=auth"));
    assert_true(digest_md5_check(&answer, STR_LIT("rspauth=ea40f60335c427b5527b84dbabcdfffd"), &a));
    assert_false(digest_md5_check(&answer, STR_LIT("rspauth=ea40f60335c427b5527b84dbabcdfffe"), &a));
    assert_false(digest_md5_check(&answer, STR_LIT("rspauth="), &a));
    assert_false(digest_md5_check(&answer, STR_LIT(""), &a));
    arena_deinit(&a);
}

static void no_challenge_of_digest_md5_is_answered_that_is_none(void **state)
{
    (void)state;
    static const char *const challenges[] = {
        "",      "nonce", "nonce=", "nonce=\"x", "nonce=\"x\\", "algorithm=md5-sess", "nonce=x,algorithm=md5",
        "=,=,=", ",,,"};
    struct digest_login login = {"user", "password", "zookeeper/zk-sasl-md5"};
    struct digest_answer answer;
    struct fail fail;
    for (size_t i = 0; i < ARRAY_LEN(challenges); i++) {
        struct arena a = {0};
        assert_false(digest_md5_respond(&login, str_of(challenges[i]), "c", &a, &answer, &fail));
        arena_deinit(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modules_are_read_as_by_java),
        cmocka_unit_test(bad_modules_are_refused_in_javas_words_but_for_secrets),
        cmocka_unit_test(files_have_sections),
        cmocka_unit_test(scram_lets_in_who_knows_the_password),
        cmocka_unit_test(scram_takes_tokens_for_their_owners),
        cmocka_unit_test(plain_answers_as_apaches_does),
        cmocka_unit_test(scram_refuses_what_is_malformed),
        cmocka_unit_test(scram_wants_its_own_nonce_back),
        cmocka_unit_test(credentials_survive_their_text),
        cmocka_unit_test(digest_md5_is_that_of_rfc_2831),
        cmocka_unit_test(no_challenge_of_digest_md5_is_answered_that_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
