/* Tokens and the keys that they are signed by. */
#include "test.h"

#include "base/base64.h"
#include "security/jwt.h"

/* RFC 7515, A.3. */
#define CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define SIGNATURE "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define POINT                                                                            \
    "\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_" \
    "FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

static struct jwks *keys_of(const char *text)
{
    struct fail fail;
    return jwks_parse((struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, &fail);
}

static enum jwt_verdict verdict_on(const char *text, const char *keys_text)
{
    struct arena a = {0};
    struct jwt token;
    struct fail fail;
    struct jwks *keys = keys_of(keys_text);
    assert_non_null(keys);
    assert_true(jwt_parse(str_of(text), &a, &token, &fail));
    enum jwt_verdict verdict = jwt_verify(&token, keys, &fail);
    jwt_deinit(&token);
    jwks_free(keys);
    arena_deinit(&a);
    return verdict;
}

static void signatures_are_verified(void **state)
{
    (void)state;
    static const char head[] = "eyJhbGciOiJFUzI1NiJ9." CLAIMS; /* ES256 */
    static const char good[] = "{\"keys\":[{\"kty\":\"EC\"," POINT "}]}";
    struct arena a = {0};
    const char *token = arena_printf(&a, "%s." SIGNATURE, head).p;
    assert_int_equal(verdict_on(token, good), JWT_SIGNED);
    assert_int_equal(verdict_on(token, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"EC\",\"use\":\"sig\","
                                       "\"alg\":\"ES256\",\"kid\":\"any\"," POINT "}]}"),
                     JWT_SIGNED);
    assert_int_equal(verdict_on(token, "{\"keys\":[{\"kty\":\"EC\",\"alg\":\"ES384\"," POINT "}]}"), JWT_KEY_UNKNOWN);
    assert_int_equal(verdict_on(arena_printf(&a, "%s.A" SIGNATURE, head).p, good), JWT_REFUSED);
    assert_int_equal(verdict_on(arena_printf(&a, "%s.", head).p, good), JWT_REFUSED);
    assert_int_equal(verdict_on("eyJhbGciOiJub25lIn0." CLAIMS "." SIGNATURE, good), JWT_REFUSED);  /* none */
    assert_int_equal(verdict_on("eyJhbGciOiJIUzI1NiJ9." CLAIMS "." SIGNATURE, good), JWT_REFUSED); /* HS256 */
    assert_int_equal(verdict_on("eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ." CLAIMS "." SIGNATURE, good),
                     JWT_KEY_UNKNOWN); /* of kid k */
    arena_deinit(&a);
}

static void sets_without_a_key_are_none(void **state)
{
    (void)state;
    assert_null(keys_of(""));
    assert_null(keys_of("[]"));
    assert_null(keys_of("{\"keys\":[]}"));
    assert_null(keys_of("{\"keys\":{}}"));
    assert_null(keys_of("{\"keys\":[5,{},{\"kty\":\"EC\",\"use\":\"enc\"," POINT "}]}"));
    assert_null(keys_of("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}")); /* too short */
    assert_null(keys_of("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}"));
    assert_null(
        keys_of("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}")); /* not on the curve */
}

static void what_is_no_token_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",          ".",           "..",
                                        "a.b.c",     "e30.e30",     "e30.W10.",
                                        "e30.e30.!", "e30.e30.a.b", "eyJhIjoxLCJhIjoyfQ.e30."}; /* a name twice */
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct arena a = {0};
        struct jwt token;
        struct fail fail;
        assert_false(jwt_parse(str_of(texts[i]), &a, &token, &fail));
        arena_deinit(&a);
    }
}

static void times_stay_within_what_can_be_counted(void **state)
{
    (void)state;
    assert_int_equal(jwt_ms(1.5), 1500);
    assert_true(jwt_ms(1e300) > 0);
    assert_true(jwt_ms(-1e300) < 0);
}

static void base64_of_urls_survives(void **state)
{
    (void)state;
    struct arena a = {0};
    struct bytes data = {(const uint8_t *)"\xfb\xff\xfe\x00z", 5}, back;
    for (data.len = 0; data.len <= 5; data.len++) {
        struct strbuf text = {0};
        base64url_add(&text, data);
        struct str coded = {text.p != NULL ? text.p : "", (int32_t)text.len};
        assert_null(memchr(coded.p, '=', (size_t)coded.len));
        assert_true(base64url_decode(coded, &a, &back));
        assert_int_equal(back.len, data.len);
        assert_memory_equal(back.p, data.p, (size_t)data.len);
        strbuf_deinit(&text);
    }
    assert_false(base64url_decode(STR_LIT("a+/b"), &a, &back));
    assert_false(base64url_decode(STR_LIT("abcde"), &a, &back));
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_verified),     cmocka_unit_test(sets_without_a_key_are_none),
        cmocka_unit_test(what_is_no_token_is_refused), cmocka_unit_test(times_stay_within_what_can_be_counted),
        cmocka_unit_test(base64_of_urls_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
