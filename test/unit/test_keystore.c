/* Key stores in all their forms. Those of stores/ were made by Java's keytool, and subjects.txt says how Java writes
 * names. */
#include "test.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include "security/keystore.h"
#include "security/subject.h"
#include "tls_test.h"

/* A path in the folder of the tests. */
static const char *store_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", TEST_STORES, name);
    return path;
}

static struct keystore_source source_of(const char *file, const char *type, const char *password)
{
    return (struct keystore_source){.type = type, .location = store_path(file), .password = password};
}

static struct keystore load(struct keystore_source source, enum keystore_use use)
{
    struct keystore store;
    struct fail fail = {""};
    if (!keystore_load(&source, use, &store, &fail))
        fail_msg("%s", fail.text);
    assert_int_equal(ERR_peek_error(), 0);
    return store;
}

static void refuse(struct keystore_source source, enum keystore_use use, const char *why)
{
    struct keystore store;
    struct fail fail = {""};
    if (keystore_load(&source, use, &store, &fail))
        fail_msg("taken: %s", source.location ? source.location : "texts");
    if (strstr(fail.text, why) == NULL)
        fail_msg("not for \"%s\", but: %s", why, fail.text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void assert_subject(X509 *certificate, const char *expected)
{
    struct arena a = {0};
    assert_string_equal(subject_text(X509_get_subject_name(certificate), &a), expected);
    arena_deinit(&a);
}

/* ---- What keytool makes ---- */

static void keys_are_read_whatever_the_type_is_called(void **state)
{
    (void)state;
    static const char *const files[] = {"keys.jks", "keys.p12", "keys-old.p12"}, *const types[] = {"JKS", "PKCS12",
                                                                                                   NULL};
    for (size_t i = 0; i < ARRAY_LEN(files) * ARRAY_LEN(types); i++) {
        struct keystore store = load(source_of(files[i % 3], types[i / 3], "changeit"), KEYSTORE_KEYS);
        assert_int_equal(store.count, 1);
        assert_string_equal(store.entries[0].alias, "server");
        assert_int_equal(sk_X509_num(store.entries[0].chain), 2);
        assert_subject(sk_X509_value(store.entries[0].chain, 0), "CN=broker,O=Acme");
        assert_subject(sk_X509_value(store.entries[0].chain, 1), "CN=Test CA");
        assert_int_equal(X509_check_private_key(sk_X509_value(store.entries[0].chain, 0), store.entries[0].key), 1);
        keystore_deinit(&store);
    }
}

static void what_is_trusted_is_read_with_and_without_a_password(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        bool without;
    } files[] = {{"trust.jks", true}, {"trust.p12", false}, {"trust-old.p12", false}, {"trust-open.p12", true}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct keystore store = load(source_of(files[i].file, "JKS", "changeit"), KEYSTORE_TRUST);
        assert_int_equal(store.count, 1);
        assert_null(store.entries[0].key);
        assert_subject(sk_X509_value(store.entries[0].chain, 0), "CN=Test CA");
        keystore_deinit(&store);
        if (files[i].without) {
            store = load(source_of(files[i].file, "JKS", NULL), KEYSTORE_TRUST);
            keystore_deinit(&store);
        } else {
            refuse(source_of(files[i].file, "JKS", NULL), KEYSTORE_TRUST, "nothing in it that can be read without");
        }
    }
}

static void a_store_has_several_keys(void **state)
{
    (void)state;
    static const char *const files[] = {"two.jks", "two.p12"}, *const aliases[] = {"alpha", "ca", "rsa", "zulu"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct keystore store = load(source_of(files[i], "JKS", "changeit"), KEYSTORE_KEYS);
        assert_int_equal(store.count, 4);
        for (int k = 0; k < store.count; k++) {
            bool found = false;
            for (size_t n = 0; n < ARRAY_LEN(aliases); n++)
                found = found || strcmp(store.entries[k].alias, aliases[n]) == 0;
            assert_true(found);
            assert_int_equal(store.entries[k].key == NULL, strcmp(store.entries[k].alias, "ca") == 0);
            assert_int_equal(sk_X509_num(store.entries[k].chain), 1);
        }
        keystore_deinit(&store);
        store = load(source_of(files[i], "JKS", "changeit"),
                     KEYSTORE_TRUST); /* the certificates of keys are trusted, too */
        assert_int_equal(store.count, 4);
        keystore_deinit(&store);
    }
}

static void passwords_have_all_characters_and_keys_their_own(void **state)
{
    (void)state;
    struct keystore_source source = source_of("password.jks", "JKS", "g\u00e4n\u20ac\U0001f600");
    source.key_password = "another";
    struct keystore store = load(source, KEYSTORE_KEYS);
    keystore_deinit(&store);
    source.key_password = NULL;
    refuse(source, KEYSTORE_KEYS, "the private key of server cannot be decrypted");
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *file, *type, *password;
        enum keystore_use use;
        const char *why;
    } cases[] = {
        {"keys.jks", "JKS", "wrong", KEYSTORE_KEYS, "keys.jks of type JKS: its password is wrong"},
        {"keys.p12", "PKCS12", "wrong", KEYSTORE_KEYS, "its password is wrong"},
        {"keys-old.p12", "PKCS12", "wrong", KEYSTORE_KEYS, "its password is wrong"},
        {"keys.jks", "JKS", NULL, KEYSTORE_KEYS, "ssl.keystore.password is not set"},
        {"keys.jks", "PEM", NULL, KEYSTORE_KEYS, "it is not in PEM"},
        {"trust.jks", "JKS", "changeit", KEYSTORE_KEYS, "there is no private key"},
        {"trust.p12", "JKS", "changeit", KEYSTORE_KEYS, "there is no private key"},
        {"trust-openssl.p12", "JKS", "changeit", KEYSTORE_TRUST, "keytool -importcert"},
        {"trust-openssl.p12", "JKS", "changeit", KEYSTORE_KEYS, "there is no private key"},
        {"other.jceks", "JCEKS", "changeit", KEYSTORE_KEYS, "it is JCEKS"},
        {"make.sh", "JKS", "changeit", KEYSTORE_KEYS, "neither JKS nor PKCS12 nor PEM"},
        {"missing.jks", "JKS", "changeit", KEYSTORE_KEYS, "missing.jks of type JKS: No such file"},
        {"keys.jks", "FOO", "changeit", KEYSTORE_KEYS,
         "ssl.keystore.type is FOO, which is none of JKS, PKCS12 and PEM"},
        {"keys.jks", "pem", "changeit", KEYSTORE_KEYS, "ssl.keystore.type is pem"},
        {"trust.jks", "", "changeit", KEYSTORE_TRUST, "ssl.truststore.type is , which is none"},
        {".", "JKS", "changeit", KEYSTORE_KEYS, "not a file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        refuse(source_of(cases[i].file, cases[i].type, cases[i].password), cases[i].use, cases[i].why);
    refuse((struct keystore_source){.password = "x"}, KEYSTORE_KEYS, "ssl.keystore.location is not set");
    refuse((struct keystore_source){.location = "/dev/null", .type = "JKS", .password = "x"}, KEYSTORE_KEYS,
           "not a file");
}

/* Every byte may be another one, and every end another end: refused or read, and nothing beyond is touched. */
static void damaged_stores_are_refused(void **state)
{
    (void)state;
    static const char *const files[] = {"trust.jks", "keys.jks", "trust-open.p12"};
    char dir[64], path[128];
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/store", dir);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        static uint8_t whole[8192], copy[8192];
        FILE *f = fopen(store_path(files[i]), "r");
        assert_non_null(f);
        size_t size = fread(whole, 1, sizeof(whole), f);
        fclose(f);
        struct keystore_source source = {.type = "JKS", .location = path}; /* so that no digest is in the way */
        struct keystore store;
        for (size_t at = 0; at < size; at++) {
            memcpy(copy, whole, size);
            copy[at] ^= 0xff;
            file_write(path, copy, size);
            if (keystore_load(&source, KEYSTORE_TRUST, &store, NULL))
                keystore_deinit(&store);
            file_write(path, whole, at);
            assert_false(keystore_load(&source, KEYSTORE_TRUST, &store, NULL) && at + 20 < size);
            keystore_deinit(&store);
            assert_int_equal(ERR_peek_error(), 0);
        }
    }
    temp_dir_remove(dir);
}

static void a_file_that_was_rewritten_is_noticed(void **state)
{
    (void)state;
    char dir[64], path[128];
    struct identity one = identity_make((struct identity_spec){.name = "one"});
    char *pem = pem_of_certificate(&one);
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/store", dir);
    file_write(path, pem, strlen(pem));
    struct keystore store = load((struct keystore_source){.type = "PEM", .location = path}, KEYSTORE_TRUST);
    assert_false(keystore_is_rewritten(&store));
    file_write(path, pem, strlen(pem));
    struct timespec before[2] = {store.modified, {store.modified.tv_sec - 1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, before, 0), 0);
    assert_true(keystore_is_rewritten(&store));
    unlink(path);
    assert_false(keystore_is_rewritten(&store));
    keystore_deinit(&store);
    free(pem);
    identity_free(&one);
    temp_dir_remove(dir);
}

/* ---- PEM ---- */

/* `from` in `text` becomes `to`, once; to be freed. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    return xasprintf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static struct identity pem_ca, pem_own;
static char *key, *sealed, *certificate, *chain, *headers, *twice, *old, *blanks, *bad, *cut;

static int pem_make(void **state)
{
    (void)state;
    pem_ca = identity_make((struct identity_spec){.name = "ca"});
    pem_own = identity_make((struct identity_spec){.name = "own", .issuer = &pem_ca});
    char *issuer = pem_of_certificate(&pem_ca);
    key = pem_of_key(&pem_own, NULL);
    sealed = pem_of_key(&pem_own, "secret");
    certificate = pem_of_certificate(&pem_own);
    chain = xasprintf("own:\n%s\nand its issuer\n%s", certificate, issuer);
    headers = replaced(key, "KEY-----\n", "KEY-----\nComment: a: b\nOther: c\n");
    twice = xasprintf("%s%s", key, key);
    old = replaced(key, "BEGIN PRIVATE", "BEGIN RSA PRIVATE");
    bad = replaced(certificate, "MI", "M*");
    cut = replaced(certificate, "MI", "");
    blanks = xstrdup(certificate);
    for (char *c = blanks; (c = strchr(c, '\n')) != NULL;)
        *c = ' ';
    free(issuer);
    return 0;
}

static int pem_unmake(void **state)
{
    (void)state;
    char *texts[] = {key, sealed, certificate, chain, headers, twice, old, blanks, bad, cut};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    identity_free(&pem_ca);
    identity_free(&pem_own);
    return 0;
}

static void pem_is_read_as_java_does(void **state)
{
    (void)state;
    const struct keystore_source sources[] = {
        {.type = "PEM", .key = key, .certificates = chain},
        {.type = "PEM", .key = headers, .certificates = blanks},
        {.type = "PEM", .key = sealed, .certificates = certificate, .key_password = "secret"},
    };
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        struct keystore store = load(sources[i], KEYSTORE_KEYS);
        assert_string_equal(store.entries[0].alias, "kafka");
        assert_int_equal(sk_X509_num(store.entries[0].chain), i == 0 ? 2 : 1);
        assert_subject(sk_X509_value(store.entries[0].chain, 0), "CN=own");
        keystore_deinit(&store);
    }
    struct keystore store = load((struct keystore_source){.type = "PEM", .certificates = chain}, KEYSTORE_TRUST);
    assert_int_equal(store.count, 2);
    assert_string_equal(store.entries[1].alias, "kafka1");
    keystore_deinit(&store);
}

static void pem_that_java_refuses_is_refused(void **state)
{
    (void)state;
    const struct {
        struct keystore_source source;
        const char *why;
    } cases[] = {
        {{.type = "PEM", .key = sealed, .certificates = chain}, "ssl.key.password is not set"},
        {{.type = "PEM", .key = sealed, .certificates = chain, .key_password = "wrong"}, "is ssl.key.password wrong"},
        {{.type = "PEM", .key = key, .certificates = chain, .key_password = "secret"},
         "the private key is not encrypted"},
        {{.type = "PEM", .key = twice, .certificates = chain}, "Expected one private key, but found 2"},
        {{.type = "PEM", .key = old, .certificates = chain}, "openssl pkcs8 -topk8"},
        {{.type = "PEM", .key = key, .certificates = bad}, "certificate 1 in PEM cannot be read"},
        {{.type = "PEM", .key = key, .certificates = cut}, "certificate 1 in PEM cannot be read"},
        {{.type = "PEM", .key = key, .certificates = key}, "No matching CERTIFICATE entries"},
        {{.type = "PEM", .key = key}, "can only be set together"},
        {{.type = "PEM", .key = key, .certificates = chain, .password = "x"}, "ssl.keystore.password is set"},
        {{.type = "PEM", .key = key, .certificates = chain, .location = "/"}, "both ssl.keystore.location and"},
        {{.type = "JKS", .key = key, .certificates = chain}, "only with PEM"},
    };
    static const char *const nothing[] = {"", "-----BEGIN CERTIFICATE", "-----BEGIN CERTIFICATE-----",
                                          "-----BEGIN CERTIFICATE------END CERTIFICATE-----",
                                          "-----BEGIN CERTIFICATE-----END CERTIFICATE-----"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        refuse(cases[i].source, KEYSTORE_KEYS, cases[i].why);
    for (size_t i = 0; i < ARRAY_LEN(nothing); i++)
        refuse((struct keystore_source){.type = "PEM", .certificates = nothing[i]}, KEYSTORE_TRUST,
               "No matching CERTIFICATE entries");
}

/* ---- Subjects ---- */

static X509_NAME *name_decode(const char *hex)
{
    static uint8_t der[4096];
    size_t size = strcspn(hex, " ") / 2;
    assert_true(size <= sizeof(der));
    for (size_t i = 0; i < size; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &der[i]), 1);
    const uint8_t *at = der;
    X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)size);
    assert_non_null(name);
    return name;
}

static void marks_back(char *text)
{
    for (char *at; (at = strstr(text, "{CR}")) != NULL || (at = strstr(text, "{LF}")) != NULL;) {
        *at = at[1] == 'C' ? '\r' : '\n';
        memmove(at + 1, at + 4, strlen(at + 4) + 1);
    }
}

/* What makes a password expensive to guess makes it so to open the file, and nobody has bounded that of scrypt. Java
 * does not read such a file either. */
static void keys_below_scrypt_are_refused(void **state)
{
    (void)state;
    uint8_t salt[8] = {1};
    char dir[64], path[80];
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pem_own.key);
    X509_ALGOR *how = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), salt, sizeof(salt), NULL, 1024, 8, 1);
    X509_SIG *shut = PKCS8_set0_pbe("secret", 6, info, how);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8(bio, shut), 1);
    char *text = bio_text(bio);
    refuse((struct keystore_source){.type = "PEM", .key = text, .certificates = certificate, .key_password = "secret"},
           KEYSTORE_KEYS, "the private key cannot be decrypted");

    STACK_OF(PKCS12_SAFEBAG) *bags = sk_PKCS12_SAFEBAG_new_null();
    STACK_OF(PKCS7) *safes = NULL;
    sk_PKCS12_SAFEBAG_push(bags, PKCS12_SAFEBAG_create0_pkcs8(shut));
    assert_non_null(PKCS12_add_cert(&bags, pem_own.certificate));
    assert_int_equal(PKCS12_add_safe(&safes, bags, -1, 0, NULL), 1);
    PKCS12 *p12 = PKCS12_add_safes(safes, 0);
    assert_int_equal(PKCS12_set_mac(p12, "secret", -1, NULL, 0, 1, NULL), 1);
    snprintf(path, sizeof(path), "%s/scrypt.p12", temp_dir_make(dir));
    bio = BIO_new_file(path, "w");
    assert_int_equal(i2d_PKCS12_bio(bio, p12), 1);
    BIO_free(bio);
    refuse((struct keystore_source){.type = "PKCS12", .location = path, .password = "secret"}, KEYSTORE_KEYS,
           "hashed by something else than PBKDF2");
    temp_dir_remove(dir);
    PKCS12_free(p12);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    PKCS8_PRIV_KEY_INFO_free(info);
    free(text);
}

static void subjects_are_written_as_java_does(void **state)
{
    (void)state;
    FILE *f = fopen(store_path("subjects.txt"), "r");
    char *line = NULL;
    size_t cap = 0;
    int count = 0;
    assert_non_null(f);
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0; count++) {
        struct arena a = {0};
        line[n - 1] = '\0';
        X509_NAME *name = name_decode(line);
        char *expected = strchr(line, ' ') + 1;
        marks_back(expected);
        assert_string_equal(subject_text(name, &a), expected);
        X509_NAME_free(name);
        arena_deinit(&a);
    }
    assert_true(count > 15);
    free(line);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_whatever_the_type_is_called),
        cmocka_unit_test(what_is_trusted_is_read_with_and_without_a_password),
        cmocka_unit_test(a_store_has_several_keys),
        cmocka_unit_test(passwords_have_all_characters_and_keys_their_own),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(damaged_stores_are_refused),
        cmocka_unit_test(a_file_that_was_rewritten_is_noticed),
        cmocka_unit_test(pem_is_read_as_java_does),
        cmocka_unit_test(pem_that_java_refuses_is_refused),
        cmocka_unit_test(keys_below_scrypt_are_refused),
        cmocka_unit_test(subjects_are_written_as_java_does),
    };
    return cmocka_run_group_tests(tests, pem_make, pem_unmake);
}
