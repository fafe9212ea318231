#include "security/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/base64.h"
#include "base/chance.h"

enum { SALT_SIZE = 32 };

static const char *const names[] = {[SCRAM_SHA_256] = "SCRAM-SHA-256", [SCRAM_SHA_512] = "SCRAM-SHA-512"};

const char *scram_mechanism_name(int8_t mechanism)
{
    return mechanism > 0 && (size_t)mechanism < ARRAY_LEN(names) ? names[mechanism] : NULL;
}

enum scram_mechanism scram_mechanism_of(const char *name)
{
    for (size_t i = 1; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return (enum scram_mechanism)i;
    return SCRAM_UNKNOWN;
}

static const EVP_MD *digest_of(enum scram_mechanism m)
{
    return m == SCRAM_SHA_256 ? EVP_sha256() : EVP_sha512();
}

struct bytes scram_random_salt(struct arena *a)
{
    void *salt = arena_alloc(a, SALT_SIZE);
    chance_fill(salt, SALT_SIZE);
    return (struct bytes){salt, SALT_SIZE};
}

struct bytes scram_salted_password(enum scram_mechanism m, struct bytes password, struct bytes salt, int32_t iterations,
                                   struct arena *a)
{
    int size = EVP_MD_size(digest_of(m));
    uint8_t *out = arena_alloc(a, (size_t)size);
    int rc = PKCS5_PBKDF2_HMAC((const char *)password.p, password.len, salt.p, salt.len, iterations, digest_of(m), size,
                               out);
    ensure(rc == 1);
    return (struct bytes){out, size};
}

struct bytes scram_hmac(enum scram_mechanism m, struct bytes key, struct str text, struct arena *a)
{
    unsigned int size = EVP_MAX_MD_SIZE;
    uint8_t *out = arena_alloc(a, size);
    const void *done = HMAC(digest_of(m), key.p, key.len, (const uint8_t *)text.p, (size_t)text.len, out, &size);
    ensure(done != NULL);
    return (struct bytes){out, (int32_t)size};
}

struct bytes scram_hash(enum scram_mechanism m, struct bytes data, struct arena *a)
{
    unsigned int size = EVP_MAX_MD_SIZE;
    uint8_t *out = arena_alloc(a, size);
    int rc = EVP_Digest(data.p, (size_t)data.len, out, &size, digest_of(m), NULL);
    ensure(rc == 1);
    return (struct bytes){out, (int32_t)size};
}

struct bytes scram_xor(struct bytes a, struct bytes b, struct arena *memory)
{
    ensure(a.len == b.len);
    uint8_t *out = arena_alloc(memory, (size_t)a.len);
    for (int32_t i = 0; i < a.len; i++)
        out[i] = a.p[i] ^ b.p[i];
    return (struct bytes){out, a.len};
}

struct bytes scram_client_key(enum scram_mechanism m, struct bytes salted_password, struct arena *a)
{
    return scram_hmac(m, salted_password, STR_LIT("Client Key"), a);
}

struct scram_credential scram_credential_of(enum scram_mechanism m, struct bytes salted_password, struct bytes salt,
                                            int32_t iterations, struct arena *a)
{
    return (struct scram_credential){.salt = salt,
                                     .stored_key = scram_hash(m, scram_client_key(m, salted_password, a), a),
                                     .server_key = scram_hmac(m, salted_password, STR_LIT("Server Key"), a),
                                     .iterations = iterations};
}

struct scram_credential scram_credential_make(enum scram_mechanism m, struct str password, int32_t iterations,
                                              struct arena *a)
{
    struct bytes salt = scram_random_salt(a), secret = {(const uint8_t *)password.p, password.len};
    return scram_credential_of(m, scram_salted_password(m, secret, salt, iterations, a), salt, iterations, a);
}

const char *scram_credential_text(const struct scram_credential *c, struct arena *a)
{
    struct strbuf text = {0};
    strbuf_puts(&text, "salt=");
    base64_add(&text, c->salt);
    strbuf_puts(&text, ",stored_key=");
    base64_add(&text, c->stored_key);
    strbuf_puts(&text, ",server_key=");
    base64_add(&text, c->server_key);
    strbuf_printf(&text, ",iterations=%d", (int)c->iterations);
    const char *copy = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
    return copy;
}

/* The value of `key` in "key=value,...": NULL if there is none. */
static struct str part(struct str text, const char *key)
{
    size_t key_len = strlen(key);
    const char *p = text.p, *end = p + text.len;
    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - p) > key_len && memcmp(p, key, key_len) == 0 && p[key_len] == '=')
            return (struct str){p + key_len + 1, (int32_t)(stop - p - (ptrdiff_t)key_len - 1)};
        p = comma != NULL ? comma + 1 : end;
    }
    return STR_NULL;
}

bool scram_credential_parse(enum scram_mechanism m, struct str text, struct arena *a, struct scram_credential *out)
{
    int32_t size = EVP_MD_size(digest_of(m));
    struct str salt = part(text, "salt"), stored = part(text, "stored_key"), server = part(text, "server_key");
    if (salt.p == NULL || stored.p == NULL || server.p == NULL)
        return false;
    return base64_decode(salt, a, &out->salt) && base64_decode(stored, a, &out->stored_key) &&
           base64_decode(server, a, &out->server_key) && str_to_int32(part(text, "iterations"), &out->iterations) &&
           out->stored_key.len == size && out->server_key.len == size && out->iterations > 0;
}
