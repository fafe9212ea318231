#include "security/password_encoder.h"

#include <openssl/evp.h>

#include "base/base64.h"
#include "base/chance.h"

enum { SALT_SIZE = 256, GCM_IV_SIZE = 12, GCM_TAG_SIZE = 16, MOST_ITERATIONS = 10000000 };

struct sealed { /* what the text consists of */
    const EVP_MD *digest;
    const EVP_CIPHER *cipher;
    bool gcm;
    int32_t iterations, password_length;
    struct bytes salt, iv, data; /* of GCM, with the tag at its end */
};

/* ---- Algorithms by their Java names ---- */

static const EVP_MD *find_digest(const char *key_factory)
{
    static const char prefix[] = "PBKDF2WithHmac";
    if (key_factory == NULL)
        return EVP_sha512();
    if (strncmp(key_factory, prefix, sizeof(prefix) - 1) != 0)
        return NULL;
    return EVP_get_digestbyname(key_factory + sizeof(prefix) - 1);
}

static bool find_cipher(const char *name, int32_t key_length, struct sealed *s)
{
    s->gcm = strcmp(name, "AES/GCM/NoPadding") == 0;
    if (!s->gcm && strcmp(name, "AES/CBC/PKCS5Padding") != 0)
        return false;
    switch (key_length) {
    case 128:
        s->cipher = s->gcm ? EVP_aes_128_gcm() : EVP_aes_128_cbc();
        return true;
    case 192:
        s->cipher = s->gcm ? EVP_aes_192_gcm() : EVP_aes_192_cbc();
        return true;
    case 256:
        s->cipher = s->gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
        return true;
    default:
        return false;
    }
}

static bool find_algorithms(const char *key_factory, const char *cipher, int32_t key_length, struct sealed *s,
                            struct fail *fail)
{
    s->digest = find_digest(key_factory);
    if (s->digest == NULL)
        return fail_set(fail, "%s SecretKeyFactory not available", key_factory);
    return find_cipher(cipher, key_length, s) ||
           fail_set(fail, "Cannot find any provider supporting %s with a key of %d bits", cipher, (int)key_length);
}

/* ---- The cipher ---- */

static EVP_CIPHER_CTX *password_begin(const struct sealed *s, const char *secret, bool encrypt)
{
    uint8_t key[EVP_MAX_KEY_LENGTH];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int size = EVP_CIPHER_key_length(s->cipher);
    bool ok = ctx != NULL &&
              PKCS5_PBKDF2_HMAC(secret, (int)strlen(secret), s->salt.p, s->salt.len, s->iterations, s->digest, size,
                                key) == 1 &&
              EVP_CipherInit_ex(ctx, s->cipher, NULL, NULL, NULL, encrypt) == 1 &&
              (!s->gcm || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_IVLEN, s->iv.len, NULL) == 1) &&
              EVP_CipherInit_ex(ctx, NULL, NULL, key, s->iv.p, encrypt) == 1;
    explicit_bzero(key, sizeof(key));
    if (ok)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

static bool password_seal(struct sealed *s, const char *secret, const char *password, struct arena *a)
{
    int length = (int)strlen(password), n = 0, end = 0;
    uint8_t *out = arena_alloc(a, (size_t)length + EVP_MAX_BLOCK_LENGTH + GCM_TAG_SIZE);
    EVP_CIPHER_CTX *ctx = password_begin(s, secret, true);
    bool ok = ctx != NULL && EVP_EncryptUpdate(ctx, out, &n, (const uint8_t *)password, length) == 1 &&
              EVP_EncryptFinal_ex(ctx, out + n, &end) == 1;
    n += end;
    if (ok && s->gcm) {
        ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, GCM_TAG_SIZE, out + n) == 1;
        n += GCM_TAG_SIZE;
    }
    EVP_CIPHER_CTX_free(ctx);
    s->data = (struct bytes){out, n};
    return ok;
}

static bool unseal(const struct sealed *s, const char *secret, struct arena *a, char **password)
{
    int n = 0, end = 0, length = s->data.len - (s->gcm ? GCM_TAG_SIZE : 0);
    if (length < 0)
        return false;
    uint8_t *out = arena_alloc(a, (size_t)length + EVP_MAX_BLOCK_LENGTH + 1);
    EVP_CIPHER_CTX *ctx = password_begin(s, secret, false);
    bool ok = ctx != NULL && EVP_DecryptUpdate(ctx, out, &n, s->data.p, length) == 1 &&
              (!s->gcm || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, GCM_TAG_SIZE,
                                              (void *)(uintptr_t)(s->data.p + length)) == 1) &&
              EVP_DecryptFinal_ex(ctx, out + n, &end) == 1;
    EVP_CIPHER_CTX_free(ctx);
    *password = (char *)out; /* the arena's memory is zeroed behind it */
    return ok && strlen(*password) == (size_t)(n + end);
}

/* ---- The text ---- */

static const uint8_t *random_bytes(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    chance_fill(p, size);
    return p;
}

static void add_bytes(struct strbuf *out, const char *name, struct bytes data)
{
    strbuf_printf(out, ",%s:", name);
    base64_add(out, data);
}

bool password_encode(const struct password_encoder *e, const char *password, struct arena *a, const char **out,
                     struct fail *fail)
{
    struct sealed s = {.iterations = e->iterations};
    if (!str_is_utf8(str_of(password)))
        return fail_set(fail, "The password is not in UTF-8, and could not be decoded again");
    if (!find_algorithms(e->key_factory, e->cipher, e->key_length, &s, fail))
        return false;
    int32_t iv_size = s.gcm ? GCM_IV_SIZE : EVP_CIPHER_iv_length(s.cipher);
    s.salt = (struct bytes){random_bytes(a, SALT_SIZE), SALT_SIZE};
    s.iv = (struct bytes){random_bytes(a, (size_t)iv_size), iv_size};
    if (!password_seal(&s, e->secret, password, a))
        return fail_set(fail, "The password could not be encrypted");
    struct strbuf text = {0};
    strbuf_printf(&text, "keyFactoryAlgorithm:%s,cipherAlgorithm:%s,keyLength:%d,iterations:%d,passwordLength:%d",
                  e->key_factory != NULL ? e->key_factory : "PBKDF2WithHmacSHA512", e->cipher, (int)e->key_length,
                  (int)e->iterations, (int)str_utf16_length(str_of(password)));
    if (s.gcm)
        strbuf_printf(&text, ",authenticationTagLength:%d", GCM_TAG_SIZE * 8);
    add_bytes(&text, "salt", s.salt);
    add_bytes(&text, "initializationVector", s.iv);
    add_bytes(&text, "encryptedPassword", s.data);
    *out = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
    return true;
}

/* The value of `name:value`, between commas; NULL if there is none. */
static const char *find_part(const char *text, const char *name, struct arena *a)
{
    size_t len = strlen(name);
    for (const char *at = text; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, len) == 0 && at[len] == ':')
            return arena_cstr(a, (struct str){at + len + 1, (int32_t)strcspn(at + len + 1, ",")});
    }
    return NULL;
}

static bool find_number(const char *text, const char *name, struct arena *a, int32_t *out)
{
    const char *part = find_part(text, name, a);
    char *end;
    if (part == NULL)
        return false;
    long v = strtol(part, &end, 10);
    *out = (int32_t)v;
    return *part != '\0' && *end == '\0' && v >= 0 && v <= MOST_ITERATIONS;
}

static bool find_bytes(const char *text, const char *name, struct arena *a, struct bytes *out)
{
    const char *part = find_part(text, name, a);
    return part != NULL && base64_decode(str_of(part), a, out);
}

static bool password_parse(const char *text, struct arena *a, struct sealed *out, struct fail *fail)
{
    const char *key_factory = find_part(text, "keyFactoryAlgorithm", a),
               *cipher = find_part(text, "cipherAlgorithm", a);
    int32_t key_length, tag = GCM_TAG_SIZE * 8;
    bool ok = key_factory != NULL && cipher != NULL && find_number(text, "keyLength", a, &key_length) &&
              find_number(text, "iterations", a, &out->iterations) &&
              find_number(text, "passwordLength", a, &out->password_length) &&
              find_bytes(text, "salt", a, &out->salt) && find_bytes(text, "initializationVector", a, &out->iv) &&
              find_bytes(text, "encryptedPassword", a, &out->data);
    if (!ok || (find_part(text, "authenticationTagLength", a) != NULL &&
                !find_number(text, "authenticationTagLength", a, &tag)))
        return fail_set(fail, "The encoded password is not complete");
    if (!find_algorithms(key_factory, cipher, key_length, out, fail))
        return false;
    bool fits =
        out->gcm ? out->iv.len > 0 && tag == GCM_TAG_SIZE * 8 : out->iv.len == EVP_CIPHER_iv_length(out->cipher);
    return fits || fail_set(fail, "The encoded password does not fit its cipher %s", cipher);
}

bool password_decode(const struct password_encoder *e, const char *encoded, struct arena *a, const char **out,
                     struct fail *fail)
{
    struct sealed s = {0};
    char *password;
    if (!password_parse(encoded, a, &s, fail))
        return false;
    /* The padding that another secret leaves may fit by chance; that text follows is then most unlikely. */
    if (!unseal(&s, e->secret, a, &password) || !str_is_utf8(str_of(password)))
        return fail_set(fail, "Password could not be decoded");
    if (str_utf16_length(str_of(password)) != s.password_length)
        return fail_set(fail, "Password could not be decoded, sanity check of length failed");
    *out = password;
    return true;
}
