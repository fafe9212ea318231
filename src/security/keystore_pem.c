/*
 * Stores in PEM, read as Java's brokers do (KIP-651): text between the blocks and headers inside them ("Proc-Type:
 * ...") are passed over, line ends may be blanks, and a private key is PKCS#8, encrypted or not.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/base64.h"
#include "security/keystore_internal.h"

struct pem_block {
    struct str label, text;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_headers(const char *at, const char *end)
{
    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL || memchr(at, ':', (size_t)(line_end - at)) == NULL)
            return at;
        at = line_end;
    }
}

/* The next block, and where to go on; NULL: there is none any more. */
static const char *next_block(const char *at, struct pem_block *out)
{
    static const char begin[] = "-----BEGIN ", end[] = "-----END ";
    at = strstr(at, begin);
    if (at == NULL)
        return NULL;
    at += sizeof(begin) - 1;
    const char *label_end = strstr(at, "-----"), *text_end = strstr(at, end);
    if (label_end == NULL || text_end == NULL || label_end + 5 > text_end)
        return NULL;
    const char *text = skip_headers(label_end + 5, text_end);
    out->label = (struct str){at, (int32_t)(label_end - at)};
    out->text = (struct str){text, (int32_t)(text_end - text)};
    return text_end;
}

static bool pem_decode(struct str text, struct arena *a, struct bytes *out)
{
    char *dense = arena_alloc(a, (size_t)text.len + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < text.len; i++)
        if (!is_blank(text.p[i]))
            dense[n++] = text.p[i];
    bool ok = base64_decode((struct str){dense, n}, a, out);
    explicit_bzero(dense, (size_t)n);
    return ok;
}

/* ---- Certificates ---- */

/* NULL: not all are certificates, or there is none. */
static STACK_OF(X509) * pem_read_certificates(const char *text, struct arena *a, struct fail *fail)
{
    STACK_OF(X509) *found = sk_X509_new_null();
    struct pem_block block;
    struct bytes der;
    while ((text = next_block(text, &block)) != NULL) {
        if (!str_is(block.label, PEM_STRING_X509))
            continue;
        X509 *certificate = pem_decode(block.text, a, &der) ? certificate_decode(der) : NULL;
        if (certificate == NULL) {
            keystore_fail(fail, "certificate %d in PEM cannot be read", sk_X509_num(found) + 1);
            sk_X509_pop_free(found, X509_free);
            return NULL;
        }
        sk_X509_push(found, certificate);
    }
    if (sk_X509_num(found) > 0)
        return found;
    sk_X509_free(found);
    fail_set(fail, "No matching CERTIFICATE entries in PEM file");
    return NULL;
}

bool keystore_read_pem_trust(const char *text, struct keystore *out, struct fail *fail)
{
    struct arena a = {0};
    STACK_OF(X509) *found = pem_read_certificates(text, &a, fail);
    arena_deinit(&a);
    for (int i = 0; found != NULL && i < sk_X509_num(found); i++) {
        char alias[32];
        snprintf(alias, sizeof(alias), "kafka%d", i);
        STACK_OF(X509) *chain = sk_X509_new_null();
        sk_X509_push(chain, sk_X509_value(found, i));
        keystore_add(out, alias, NULL, chain);
    }
    sk_X509_free(found);
    return found != NULL;
}

/* ---- Keys ---- */

static EVP_PKEY *decrypt_key(struct bytes der, const char *password)
{
    const uint8_t *at = der.p;
    X509_SIG *sealed = d2i_X509_SIG(NULL, &at, der.len);
    EVP_PKEY *key = sealed ? private_key_decrypt(sealed, password) : NULL;
    X509_SIG_free(sealed);
    return key;
}

static EVP_PKEY *pem_parse_key(const struct pem_block *block, const char *password, struct arena *a, struct fail *fail)
{
    struct bytes der;
    bool sealed = str_is(block->label, PEM_STRING_PKCS8);
    if (sealed && password == NULL)
        fail_set(fail, "the private key is encrypted, and ssl.key.password is not set");
    else if (!sealed && password != NULL)
        fail_set(fail, "ssl.key.password is set, and the private key is not encrypted");
    else if (!pem_decode(block->text, a, &der))
        fail_set(fail, "the private key in PEM is not base64");
    else {
        EVP_PKEY *key = sealed ? decrypt_key(der, password) : private_key_decode(der);
        explicit_bzero((void *)(uintptr_t)der.p, (size_t)der.len);
        if (key == NULL)
            keystore_fail(fail, sealed ? "the private key cannot be decrypted: is ssl.key.password wrong?"
                                       : "the private key cannot be read");
        return key;
    }
    return NULL;
}

static EVP_PKEY *pem_read_key(const char *text, const char *password, struct arena *a, struct fail *fail)
{
    struct pem_block block, found = {0};
    bool old = false;
    int count = 0;
    while ((text = next_block(text, &block)) != NULL) {
        if (str_is(block.label, PEM_STRING_PKCS8INF) || str_is(block.label, PEM_STRING_PKCS8)) {
            found = block;
            count++;
        } else if (str_is(block.label, PEM_STRING_RSA) || str_is(block.label, PEM_STRING_ECPRIVATEKEY)) {
            old = true;
        }
    }
    if (count == 1)
        return pem_parse_key(&found, password, a, fail);
    if (count > 1)
        fail_set(fail, "Expected one private key, but found %d", count);
    else
        fail_set(fail, "No matching PRIVATE KEY entries in PEM file%s",
                 old ? "; there is a key in an older form, which `openssl pkcs8 -topk8 -nocrypt` turns into that one"
                     : "");
    return NULL;
}

bool keystore_read_pem_keys(const char *key_text, const char *certificates, const char *key_password,
                            struct keystore *out, struct fail *fail)
{
    struct arena a = {0};
    EVP_PKEY *key = pem_read_key(key_text, key_password, &a, fail);
    STACK_OF(X509) *chain = key ? pem_read_certificates(certificates, &a, fail) : NULL;
    arena_deinit(&a);
    if (chain != NULL)
        keystore_add(out, "kafka", key, chain);
    else
        EVP_PKEY_free(key);
    return chain != NULL;
}
