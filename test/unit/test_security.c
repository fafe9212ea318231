/* Secrets: what Kafka's own code has written is read, and what is written can be read again. */
#include "test.h"

#include "base/base64.h"
#include "security/password_encoder.h"
#include "security/scram.h"

/* Written by Apache's PasswordEncoder with the secret and the password below. */
static const char secret[] = "brokers' secret", password[] = "g\u00e4nse\U0001f600fu\u00df";
static const char *const theirs[] = {
    /* its defaults, with fewer iterations */
    "initializationVector:eM5RFCAPIlzmRgMCq6biXQ==,keyLength:128,salt:hUC6l/UPhMOQdoE7a3t7+nUuUrodkm"
    "x8CX1umD2rIftKa9oLGhGbe4KUSyL6+SP0FPNzfcolAe944YV5HylHFcCFdj9afhEF3Vc1/tNEFoiee9082fNaegd942QEY"
    "9NokOGgkNfxEP/J3UKadsxD+61qRpzxBWuOE4j2h6cGd2nRXK2Pz04FSPwilesyzmt9UlzHJBgdK2VrGt4iRmVPKpxyN7DW"
    "WpfOioxeRWkOhUKVtcMDOQs/d+1YLFb/TZ2/+cObdoFYsa75v+N+6lAYXDdEhf78A4GfcZO5wuv52IaMM9lWb157x2YV4GI"
    "RbMFM6yQw84YIsaZOP4IdPsRQwQ==,keyFactoryAlgorithm:PBKDF2WithHmacSHA512,cipherAlgorithm:AES/CBC/"
    "PKCS5Padding,iterations:1024,passwordLength:10,encryptedPassword:U4YLBdO151YhakJ29NW6eg==",
    /* GCM, and SHA-1 for the key */
    "initializationVector:nxQOM/Lq9sHcSTA5,keyLength:256,salt:8jtJOCyrJrTAqUzPd3sjAGTnibFd6LVLKSgyrh"
    "nY8ugb1GHP+4a8NnpJArJSWoUJUcJH8uR8T2PHKKhJ2e6d2DuYo+7KRGi7TJNhBRdOTwuqXRlhf775NsKJFDLkScDCYBL4D"
    "GGWgrg37eGHPvEC2v7axG1hya+d9UVF7ob0q9KQ2xALmu0Do38KzVUrGcaLRSOpBPYXX6D8PWY511pnqF5NQ+MUu7Dsppvd"
    "4KZvEzq5KqUhpPtKDklYfa3oYkDcvq8RQhHJJ68qB6LKeNhyt50oFBBc1mvMRWPOPgJV29DSXG64b5+r+pM+KNpJjlb+zrg"
    "04ZCZRGB4U1NxZ1hNUw==,keyFactoryAlgorithm:PBKDF2WithHmacSHA1,cipherAlgorithm:AES/GCM/NoPadding,"
    "authenticationTagLength:128,iterations:1024,passwordLength:10,encryptedPassword:UL12YYntJ2tgchb"
    "8gB4EVzv8Q7ATh9oqMh/ApIz4",
};

static struct bytes bytes_of(const char *s)
{
    return (struct bytes){(const uint8_t *)s, (int32_t)strlen(s)};
}

static void base64_is_what_the_rfc_says(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    static const char *const bad[] = {"Zg=", "Zg", "Z===", "Zm9*", "Zm9vZ"};
    struct arena a = {0};
    struct bytes out;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct strbuf text = {0};
        base64_add(&text, bytes_of(pairs[i][0]));
        assert_string_equal(text.p != NULL ? text.p : "", pairs[i][1]);
        assert_true(base64_decode(str_of(pairs[i][1]), &a, &out));
        assert_true(bytes_eq(out, bytes_of(pairs[i][0])));
        strbuf_deinit(&text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(base64_decode(str_of(bad[i]), &a, &out));
    arena_deinit(&a);
}

static void passwords_that_kafka_encoded_are_read(void **state)
{
    (void)state;
    struct arena a = {0};
    const struct password_encoder e = {.secret = secret};
    for (size_t i = 0; i < ARRAY_LEN(theirs); i++) {
        const char *out;
        struct fail fail;
        assert_true(password_decode(&e, theirs[i], &a, &out, &fail));
        assert_string_equal(out, password);
    }
    arena_deinit(&a);
}

static void passwords_come_back(void **state)
{
    (void)state;
    static const struct password_encoder encoders[] = {
        {secret, NULL, "AES/CBC/PKCS5Padding", 128, 4096},
        {secret, "PBKDF2WithHmacSHA256", "AES/CBC/PKCS5Padding", 256, 1024},
        {secret, "PBKDF2WithHmacSHA1", "AES/GCM/NoPadding", 192, 1024},
    };
    static const char *const passwords[] = {password, "", "exactly 16 bytes"};
    struct arena a = {0};
    struct fail fail;
    for (size_t i = 0; i < ARRAY_LEN(encoders); i++)
        for (size_t k = 0; k < ARRAY_LEN(passwords); k++) {
            const char *encoded, *again, *out;
            assert_true(password_encode(&encoders[i], passwords[k], &a, &encoded, &fail));
            assert_true(password_encode(&encoders[i], passwords[k], &a, &again, &fail));
            assert_string_not_equal(encoded, again); /* each has a salt of its own */
            assert_true(password_decode(&(struct password_encoder){.secret = secret}, encoded, &a, &out, &fail));
            assert_string_equal(out, passwords[k]);
        }
    arena_deinit(&a);
}

static void another_secret_does_not_do(void **state)
{
    (void)state;
    struct arena a = {0};
    const char *out;
    struct fail fail;
    for (size_t i = 0; i < ARRAY_LEN(theirs); i++)
        assert_false(password_decode(&(struct password_encoder){.secret = "guessed"}, theirs[i], &a, &out, &fail));
    arena_deinit(&a);
}

/* It was encrypted with the secret, and its length is right, but it is Latin-1: what came out is not what went in. */
static void what_is_no_text_is_no_password(void **state)
{
    (void)state;
    static const char latin[] =
        "keyFactoryAlgorithm:PBKDF2WithHmacSHA512,cipherAlgorithm:AES/CBC/PKCS5Padding,"
        "keyLength:128,iterations:1024,passwordLength:4,salt:AAECAwQFBgcICQoLDA0ODw==,"
        "initializationVector:EBESExQVFhcYGRobHB0eHw==,encryptedPassword:aDgxRyQZl1bNYQbaTOmnpg==";
    const struct password_encoder e = {secret, NULL, "AES/CBC/PKCS5Padding", 128, 4096};
    struct arena a = {0};
    const char *out;
    struct fail fail;
    assert_false(password_decode(&e, latin, &a, &out, &fail));
    assert_string_equal(fail.text, "Password could not be decoded");
    assert_false(password_encode(&e, "caf\xe9", &a, &out, &fail));
    arena_deinit(&a);
}

/* Each text without one of its parts, with a part that is not what it should be, and cut off anywhere. */
static void damaged_passwords_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "plain text",
        "keyFactoryAlgorithm:PBKDF2WithHmacSHA512,cipherAlgorithm:ROT13,keyLength:128,iterations:1024,passwordLength:1,"
        "salt:AAAA,initializationVector:AAAA,encryptedPassword:AAAA",
        "keyFactoryAlgorithm:PBKDF2WithHmacSHA512,cipherAlgorithm:AES/CBC/PKCS5Padding,keyLength:128,iterations:1024,"
        "passwordLength:1,salt:AAAA,initializationVector:AAAA,encryptedPassword:AAAA",
        "keyFactoryAlgorithm:PBKDF2WithHmacSHA512,cipherAlgorithm:AES/GCM/NoPadding,keyLength:128,iterations:1024,"
        "passwordLength:1,salt:AAAA,initializationVector:AAAA,encryptedPassword:AAAA",
        "keyFactoryAlgorithm:MD5,cipherAlgorithm:AES/GCM/NoPadding,keyLength:128,iterations:1024,"
        "passwordLength:1,salt:AAAA,initializationVector:AAAA,encryptedPassword:AAAA",
    };
    const struct password_encoder e = {.secret = secret};
    struct arena a = {0};
    const char *out;
    struct fail fail;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(password_decode(&e, bad[i], &a, &out, &fail));
    for (int32_t len = (int32_t)strlen(theirs[0]) - 1; len > 0; len -= 7)
        assert_false(password_decode(&e, arena_cstr(&a, (struct str){theirs[0], len}), &a, &out, &fail));
    arena_deinit(&a);
}

static void unknown_algorithms_are_refused(void **state)
{
    (void)state;
    static const struct password_encoder encoders[] = {
        {secret, "PBKDF2WithHmacNONE", "AES/CBC/PKCS5Padding", 128, 4096},
        {secret, NULL, "AES/ECB/PKCS5Padding", 128, 4096},
        {secret, NULL, "AES/CBC/PKCS5Padding", 100, 4096},
    };
    struct arena a = {0};
    const char *out;
    struct fail fail;
    for (size_t i = 0; i < ARRAY_LEN(encoders); i++)
        assert_false(password_encode(&encoders[i], password, &a, &out, &fail));
    arena_deinit(&a);
}

/* The numbers of RFC 7677. */
static void credentials_are_what_the_rfc_says(void **state)
{
    (void)state;
    struct arena a = {0};
    struct bytes salt;
    assert_true(base64_decode(STR_LIT("W22ZaJ0SNY7soEsUEjb6gQ=="), &a, &salt));
    struct bytes salted = scram_salted_password(SCRAM_SHA_256, bytes_of("pencil"), salt, 4096, &a);
    struct scram_credential made = scram_credential_of(SCRAM_SHA_256, salted, salt, 4096, &a);
    assert_string_equal(scram_credential_text(&made, &a),
                        "salt=W22ZaJ0SNY7soEsUEjb6gQ==,stored_key=WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
                        "server_key=wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=,iterations=4096");
    assert_int_equal(scram_mechanism_of("SCRAM-SHA-512"), SCRAM_SHA_512);
    assert_int_equal(scram_mechanism_of("SCRAM-SHA-1"), SCRAM_UNKNOWN);
    assert_null(scram_mechanism_name(0));
    assert_null(scram_mechanism_name(3));
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_is_what_the_rfc_says),
        cmocka_unit_test(passwords_that_kafka_encoded_are_read),
        cmocka_unit_test(passwords_come_back),
        cmocka_unit_test(another_secret_does_not_do),
        cmocka_unit_test(what_is_no_text_is_no_password),
        cmocka_unit_test(damaged_passwords_are_refused),
        cmocka_unit_test(unknown_algorithms_are_refused),
        cmocka_unit_test(credentials_are_what_the_rfc_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
