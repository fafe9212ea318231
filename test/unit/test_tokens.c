/* Delegation tokens: their rules, their nodes, and the table of them. */
#include "test.h"

#include "base/base64.h"
#include "base/clock.h"
#include "cluster/token_znodes.h"
#include "cluster/tokens.h"

enum { HOUR = 3600 * 1000 };

static struct principal user(const char *name)
{
    return (struct principal){STR_LIT("User"), str_of(name), false};
}

static struct principal renewer = {{"User", 4}, {"re:ne, wer", 10}, false};

static struct token a_token(const char *id)
{
    int64_t now = clock_wall_ms();
    return (struct token){str_of(id), user("alice"), user("bob"), &renewer, 1, now, now + 2 * HOUR, now + HOUR};
}

/* ---- Rules ---- */

static void secrets_are_made_of_ids(void **state)
{
    (void)state;
    uint8_t hmac[TOKEN_HMAC_SIZE];
    static const uint8_t expected[] = {0x5a, 0x33, 0x7a, 0xac, 0x33, 0x29, 0xbf, 0x40, 0x1c, 0x09, 0x0b, 0xa4, 0x19,
                                       0x80, 0x47, 0xa9, 0x3d, 0x41, 0x1c, 0xe8, 0xfd, 0xa9, 0x47, 0xe3, 0xac, 0xe4,
                                       0x41, 0x94, 0xf7, 0x11, 0xdf, 0xbf, 0x64, 0x56, 0x92, 0x87, 0x0b, 0xfa, 0x0f,
                                       0xba, 0xe1, 0x7d, 0x41, 0x5e, 0x2f, 0x5f, 0x62, 0xd5, 0xd2, 0xbb, 0xbc, 0x87,
                                       0xf4, 0x68, 0x32, 0x63, 0xeb, 0xe7, 0xd4, 0x04, 0xd6, 0x54, 0x52, 0xdb};
    token_hmac("the secret", STR_LIT("some-id"), hmac);
    assert_memory_equal(hmac, expected, sizeof(hmac));
}

static void tokens_end_with_the_first_of_their_times(void **state)
{
    (void)state;
    struct token t = {.expires_ms = 100, .max_ms = 200};
    assert_false(token_is_over(&t, 100));
    assert_true(token_is_over(&t, 101));
    t.expires_ms = 300;
    assert_false(token_is_over(&t, 200));
    assert_true(token_is_over(&t, 201));
    assert_int_equal(token_end_after(50, 100, 200), 150);
    assert_int_equal(token_end_after(150, 100, 200), 200);
    assert_int_equal(token_end_after(150, INT64_MAX, 200), 200);
    assert_int_equal(token_end_after(150, INT64_MAX, INT64_MAX), INT64_MAX);
}

static void owners_and_renewers_are_obeyed(void **state)
{
    (void)state;
    struct token t = a_token("x");
    struct principal group = {STR_LIT("Group"), STR_LIT("alice"), false};
    assert_true(token_obeys(&t, user("alice")));
    assert_true(token_obeys(&t, renewer));
    assert_false(token_obeys(&t, user("bob")));
    assert_true(token_concerns(&t, user("bob")));
    assert_false(token_concerns(&t, user("carol")));
    assert_false(token_concerns(&t, group));
}

static void lives_end(void **state)
{
    (void)state;
    struct token_life *l = token_life_new(100);
    token_life_ref(l);
    assert_false(token_life_is_over(l, 100));
    assert_true(token_life_is_over(l, 101));
    token_life_set(l, 200);
    assert_false(token_life_is_over(l, 101));
    token_life_end(l);
    assert_true(token_life_is_over(l, 0));
    token_life_unref(l);
    token_life_unref(l);
    token_life_unref(NULL);
}

/* ---- Nodes ---- */

static bool decode(struct arena *a, const char *text, struct token *out)
{
    struct fail fail;
    return token_decode(a, STR_LIT("i"), (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, out, &fail);
}

static void nodes_are_written_as_by_apache(void **state)
{
    (void)state;
    struct arena a = {0};
    struct token t = {STR_LIT("i"), user("al ice"), user("b*b"), &renewer, 1, 1, 3, 2}, read;
    struct bytes text = token_encode(&a, &t);
    static const char expected[] =
        "{\"version\":3,\"owner\":\"User%3Aal%20ice\",\"tokenRequester\":\"User%3Ab%2Ab\",\"renewers\":[\"User%3Are%3Ane%"
        "2C%20wer\"],\"issueTimestamp\":1,\"maxTimestamp\":3,\"expiryTimestamp\":2,\"tokenId\":\"i\"}";
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.p, expected, strlen(expected));
    assert_true(decode(&a, expected, &read));
    assert_true(principal_eq(read.owner, t.owner));
    assert_true(principal_eq(read.requester, t.requester));
    assert_int_equal(read.renewer_count, 1);
    assert_true(principal_eq(read.renewers[0], renewer));
    assert_int_equal(read.issued_ms, 1);
    assert_int_equal(read.max_ms, 3);
    assert_int_equal(read.expires_ms, 2);
    assert_string_equal(token_path(&a, t.id), "/delegation_token/tokens/i");
    arena_deinit(&a);
}

#define TIMES ",\"issueTimestamp\":1,\"maxTimestamp\":3,\"expiryTimestamp\":2"

static void nodes_of_older_brokers_have_no_requester(void **state)
{
    (void)state;
    struct arena a = {0};
    struct token t;
    assert_true(decode(&a, "{\"version\":2,\"owner\":\"User:x\",\"renewers\":[],\"tokenId\":\"i\"" TIMES "}", &t));
    assert_true(principal_eq(t.requester, user("x")));
    arena_deinit(&a);
}

static void nodes_that_are_none_are_refused(void **state)
{
    (void)state;
    struct arena a = {0};
    struct token t;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "3",
        "{\"version\":2}",
        "{\"version\":0,\"owner\":\"User:x\",\"renewers\":[],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":4,\"owner\":\"User:x\",\"tokenRequester\":\"User:x\",\"renewers\":[],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":3,\"owner\":\"User:x\",\"renewers\":[],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":\"2\",\"owner\":\"User:x\",\"renewers\":[],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":2,\"owner\":\"User\",\"renewers\":[],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":2,\"owner\":[],\"renewers\":[],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":2,\"owner\":\"User:x\",\"renewers\":[\"x\"],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":2,\"owner\":\"User:x\",\"renewers\":[1],\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":2,\"owner\":\"User:x\",\"renewers\":\"x\",\"tokenId\":\"i\"" TIMES "}",
        "{\"version\":2,\"owner\":\"User:x\",\"renewers\":[],\"tokenId\":\"j\"" TIMES "}",
        "{\"version\":2,\"owner\":\"User:x\",\"renewers\":[],\"tokenId\":\"i\",\"issueTimestamp\":1,\"maxTimestamp\":3}",
        "{\"version\":2,\"owner\":\"User:x\",\"renewers\":[],\"tokenId\":\"i\",\"issueTimestamp\":1,\"maxTimestamp\":3,\"expiryTimestamp\":\"2\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (decode(&a, bad[i], &t))
            fail_msg("%s is taken for a token", bad[i]);
    arena_deinit(&a);
}

/* As the protocol can say it: one that is longer would break off each answer that it is in. */
static void names_are_no_longer_than_a_string(void **state)
{
    (void)state;
    for (int32_t len = INT16_MAX; len <= INT16_MAX + 1; len++) {
        struct arena a = {0};
        struct token t;
        char *name = arena_alloc(&a, (size_t)len + 1);
        memset(name, 'x', (size_t)len);
        const char *text =
            arena_printf(&a, "{\"version\":2,\"owner\":\"User:%s\",\"renewers\":[],\"tokenId\":\"i\"" TIMES "}", name)
                .p;
        assert_int_equal(decode(&a, text, &t), len == INT16_MAX);
        arena_deinit(&a);
    }
}

/* ---- The table ---- */

static void take(struct tokens *t, struct token token, int32_t version)
{
    tokens_take(t, &(struct token_read){.token = token, .version = version});
}

static bool comes(struct tokens *t, const char *id, struct arena *a, struct sasl_token_login *out)
{
    bool ok = tokens_login(t, SCRAM_SHA_256, str_of(id), a, out);
    if (ok)
        token_life_unref(out->life);
    return ok;
}

static void a_token_is_logged_in_by(void **state)
{
    (void)state;
    struct arena a = {0};
    struct tokens *t = tokens_new("the secret");
    struct sasl_token_login first, second;
    struct strbuf password = {0};
    take(t, a_token("x"), 0);
    assert_true(comes(t, "x", &a, &first));
    assert_true(str_is(first.owner, "alice"));
    assert_int_equal(first.credential.iterations, 4096);
    base64_add(&password, tokens_hmac(t, STR_LIT("x"), &a));
    struct bytes secret = {(const uint8_t *)password.p, (int32_t)password.len};
    struct bytes salted = scram_salted_password(SCRAM_SHA_256, secret, first.credential.salt, 4096, &a);
    struct scram_credential expected = scram_credential_of(SCRAM_SHA_256, salted, first.credential.salt, 4096, &a);
    assert_true(bytes_eq(first.credential.stored_key, expected.stored_key));
    assert_true(bytes_eq(first.credential.server_key, expected.server_key));
    assert_false(comes(t, "y", &a, &second));
    /* What it is compared with is made once, and outlives a renewal. */
    take(t, a_token("x"), 1);
    assert_true(comes(t, "x", &a, &second));
    assert_true(bytes_eq(first.credential.salt, second.credential.salt));
    strbuf_deinit(&password);
    tokens_free(t);
    arena_deinit(&a);
}

static void nobody_comes_by_a_token_that_is_over(void **state)
{
    (void)state;
    struct arena a = {0};
    struct tokens *t = tokens_new("the secret");
    struct sasl_token_login login;
    struct token over = a_token("x"), group = a_token("y");
    over.max_ms = clock_wall_ms() - 1;
    group.owner.type = STR_LIT("Group");
    take(t, over, 0);
    take(t, group, 0);
    assert_false(comes(t, "x", &a, &login));
    assert_false(comes(t, "y", &a, &login));
    tokens_free(t);
    arena_deinit(&a);
}

static void sessions_see_what_becomes_of_their_token(void **state)
{
    (void)state;
    struct arena a = {0};
    struct tokens *t = tokens_new("the secret");
    struct sasl_token_login login;
    struct token token = a_token("x");
    int64_t now = clock_wall_ms();
    take(t, token, 0);
    assert_true(tokens_login(t, SCRAM_SHA_512, STR_LIT("x"), &a, &login));
    assert_false(token_life_is_over(login.life, now));
    token.expires_ms = now - 1;
    take(t, token, 1);
    assert_true(token_life_is_over(login.life, now));
    token.expires_ms = now + HOUR;
    take(t, token, 2);
    assert_false(token_life_is_over(login.life, now));
    tokens_drop(t, STR_LIT("x"));
    tokens_drop(t, STR_LIT("x"));
    assert_true(token_life_is_over(login.life, now));
    token_life_unref(login.life);
    tokens_free(t);
    arena_deinit(&a);
}

static void tokens_are_found_by_their_secret(void **state)
{
    (void)state;
    struct arena a = {0};
    struct tokens *t = tokens_new("the secret");
    struct str id;
    take(t, a_token("x"), 0);
    take(t, a_token("y"), 0);
    assert_true(tokens_find(t, tokens_hmac(t, STR_LIT("y"), &a), &a, &id));
    assert_true(str_is(id, "y"));
    assert_false(tokens_find(t, tokens_hmac(t, STR_LIT("z"), &a), &a, &id));
    assert_false(tokens_find(t, (struct bytes){(const uint8_t *)"", 0}, &a, &id));
    tokens_free(t);
    arena_deinit(&a);
}

static void all_are_taken_and_no_others(void **state)
{
    (void)state;
    struct arena a = {0};
    struct tokens *t = tokens_new("the secret");
    struct token_read all[] = {{.token = a_token("y"), .version = 7}, {.token = a_token("z")}};
    int32_t count;
    all[0].token.expires_ms = 1;
    take(t, a_token("x"), 0);
    take(t, a_token("y"), 0);
    tokens_take_all(t, all, 2);
    tokens_list(t, &a, &count);
    assert_int_equal(count, 2);
    struct token_read *over = tokens_over(t, clock_wall_ms(), 5, &a, &count);
    assert_int_equal(count, 1);
    assert_true(str_is(over[0].token.id, "y"));
    assert_int_equal(over[0].version, 7);
    tokens_over(t, INT64_MAX, 1, &a, &count);
    assert_int_equal(count, 1);
    tokens_take_all(t, all, 0);
    assert_int_equal(tokens_list(t, &a, &count) != NULL && count == 0, 1);
    tokens_free(t);
    arena_deinit(&a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_made_of_ids),
        cmocka_unit_test(tokens_end_with_the_first_of_their_times),
        cmocka_unit_test(owners_and_renewers_are_obeyed),
        cmocka_unit_test(lives_end),
        cmocka_unit_test(nodes_are_written_as_by_apache),
        cmocka_unit_test(nodes_of_older_brokers_have_no_requester),
        cmocka_unit_test(nodes_that_are_none_are_refused),
        cmocka_unit_test(names_are_no_longer_than_a_string),
        cmocka_unit_test(a_token_is_logged_in_by),
        cmocka_unit_test(nobody_comes_by_a_token_that_is_over),
        cmocka_unit_test(sessions_see_what_becomes_of_their_token),
        cmocka_unit_test(tokens_are_found_by_their_secret),
        cmocka_unit_test(all_are_taken_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
