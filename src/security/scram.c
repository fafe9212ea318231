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

static struct bytes hmac(enum scram_mechanism m, struct bytes key, const char *text, struct arena *a)
{
    unsigned int size = EVP_MAX_MD_SIZE;
    uint8_t *out = arena_alloc(a, size);
    const void *done = HMAC(digest_of(m), key.p, key.len, (const uint8_t *)text, strlen(text), out, &size);
    ensure(done != NULL);
    return (struct bytes){out, (int32_t)size};
}

static struct bytes hash(enum scram_mechanism m, struct bytes data, struct arena *a)
{
    unsigned int size = EVP_MAX_MD_SIZE;
    uint8_t *out = arena_alloc(a, size);
    int rc = EVP_Digest(data.p, (size_t)data.len, out, &size, digest_of(m), NULL);
    ensure(rc == 1);
    return (struct bytes){out, (int32_t)size};
}

const char *scram_credential_text(enum scram_mechanism m, struct bytes password, struct bytes salt, int32_t iterations,
                                  struct arena *a)
{
    struct bytes salted = scram_salted_password(m, password, salt, iterations, a);
    struct strbuf text = {0};
    strbuf_puts(&text, "salt=");
    base64_add(&text, salt);
    strbuf_puts(&text, ",stored_key=");
    base64_add(&text, hash(m, hmac(m, salted, "Client Key", a), a));
    strbuf_puts(&text, ",server_key=");
    base64_add(&text, hmac(m, salted, "Server Key", a));
    strbuf_printf(&text, ",iterations=%d", (int)iterations);
    const char *copy = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
    return copy;
}
