/*
 * JKS, the form of Java's own stores (numbers are big-endian):
 *
 *     FEEDFEED, version, count of entries
 *     each entry   kind (1: key, 2: trusted certificate), alias, time in ms,
 *                  of a key its encrypted bytes, the length of its chain, and that many certificates; else one
 * certificate 20 bytes     SHA-1 of the password in UTF-16, "Mighty Aphrodite", and all that is before
 *
 * A key is an EncryptedPrivateKeyInfo with an algorithm of Sun's: 20 bytes of salt, the key XOR a stream, 20 bytes to
 * check. The stream is a chain of SHA-1 over password and the block before; the first block's is the salt. That is
 * weak, but what there is.
 */
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "security/keystore_internal.h"

enum { JKS_KEY = 1, JKS_TRUSTED = 2 };

/* What is left of the file. Past its end, or past a length that it cannot have, all that is read is empty. */
struct jks_reader {
    const uint8_t *at;
    size_t left;
    uint32_t version;
    bool failed;
};

struct jks_password {
    uint8_t *utf16;
    size_t size;
};

/* ---- Reading ---- */

static struct bytes jks_bytes(struct jks_reader *r, size_t size)
{
    if (r->failed || size > r->left) {
        r->failed = true;
        return (struct bytes){NULL, 0};
    }
    struct bytes found = {r->at, (int32_t)size};
    r->at += size;
    r->left -= size;
    return found;
}

static uint32_t jks_u32(struct jks_reader *r)
{
    struct bytes b = jks_bytes(r, 4);
    return b.p != NULL ? be32_get(b.p) : 0;
}

static struct bytes jks_block(struct jks_reader *r)
{
    return jks_bytes(r, jks_u32(r));
}

static struct bytes jks_text(struct jks_reader *r)
{
    struct bytes length = jks_bytes(r, 2);
    return jks_bytes(r, length.p != NULL ? be16_get(length.p) : 0);
}

static bool jks_certificate(struct jks_reader *r, STACK_OF(X509) * chain, struct fail *fail)
{
    if (r->version > 1)
        jks_text(r); /* its type, and there is but one */
    struct bytes der = jks_block(r);
    X509 *certificate = r->failed ? NULL : certificate_decode(der);
    if (certificate == NULL)
        return keystore_fail(fail, "a certificate in it cannot be read");
    sk_X509_push(chain, certificate);
    return true;
}

/* ---- Passwords and keys ---- */

static struct jks_password password_make(const char *text)
{
    /* A character takes no more bytes in UTF-16 than twice those that it takes in UTF-8. */
    struct jks_password made = {xcalloc(strlen(text) + 1, 2), 0};
    for (const uint8_t *c = (const uint8_t *)text; *c != '\0';) {
        int n = *c < 0x80 ? 1 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : 4;
        uint32_t code = n == 1 ? *c : *c & (0x7fU >> n);
        for (c++, n--; n > 0 && (*c & 0xc0) == 0x80; c++, n--)
            code = code << 6 | (*c & 0x3f);
        if (code >= 0x10000) {
            be16_put(made.utf16 + made.size, (uint16_t)(0xd800 + (((code - 0x10000) >> 10) & 0x3ff)));
            made.size += 2;
            code = 0xdc00 + ((code - 0x10000) & 0x3ff);
        }
        be16_put(made.utf16 + made.size, (uint16_t)code);
        made.size += 2;
    }
    return made;
}

static void password_wipe(struct jks_password *password)
{
    explicit_bzero(password->utf16, password->size);
    free(password->utf16);
}

/* SHA-1 of the password and what follows. */
static void password_digest(const struct jks_password *password, const char *salt, struct bytes data,
                            uint8_t out[SHA_DIGEST_LENGTH])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ensure(ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1 &&
           EVP_DigestUpdate(ctx, password->utf16, password->size) == 1 &&
           EVP_DigestUpdate(ctx, salt, strlen(salt)) == 1 && EVP_DigestUpdate(ctx, data.p, (size_t)data.len) == 1 &&
           EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
}

/* `sealed` is salt, key and check. */
static EVP_PKEY *key_unseal(struct bytes sealed, const struct jks_password *password)
{
    int32_t size = sealed.len - 2 * SHA_DIGEST_LENGTH;
    if (size <= 0)
        return NULL;
    uint8_t block[SHA_DIGEST_LENGTH], *plain = xmalloc((size_t)size);
    const uint8_t *cipher = sealed.p + SHA_DIGEST_LENGTH;
    memcpy(block, sealed.p, sizeof(block));
    for (int32_t i = 0; i < size; i++) {
        if (i % SHA_DIGEST_LENGTH == 0)
            password_digest(password, "", (struct bytes){block, sizeof(block)}, block);
        plain[i] = cipher[i] ^ block[i % SHA_DIGEST_LENGTH];
    }
    struct bytes der = {plain, size};
    password_digest(password, "", der, block);
    EVP_PKEY *key = memcmp(block, cipher + size, sizeof(block)) == 0 ? private_key_decode(der) : NULL;
    explicit_bzero(plain, (size_t)size);
    free(plain);
    return key;
}

static EVP_PKEY *key_open(struct bytes blob, const struct jks_password *password)
{
    static const char algorithm[] = "1.3.6.1.4.1.42.2.17.1.1";
    const uint8_t *at = blob.p;
    X509_SIG *sig = d2i_X509_SIG(NULL, &at, blob.len);
    const X509_ALGOR *algor;
    const ASN1_OCTET_STRING *sealed;
    char name[64] = "";
    if (sig == NULL)
        return NULL;
    X509_SIG_get0(sig, &algor, &sealed);
    OBJ_obj2txt(name, sizeof(name), algor->algorithm, 1);
    EVP_PKEY *key =
        strcmp(name, algorithm) == 0
            ? key_unseal((struct bytes){ASN1_STRING_get0_data(sealed), ASN1_STRING_length(sealed)}, password)
            : NULL;
    X509_SIG_free(sig);
    return key;
}

/* ---- Entries ---- */

static bool read_chain(struct jks_reader *r, uint32_t count, STACK_OF(X509) * chain, struct fail *fail)
{
    for (uint32_t i = 0; i < count; i++)
        if (!jks_certificate(r, chain, fail))
            return false;
    return sk_X509_num(chain) > 0 || fail_set(fail, "a key in it has no certificate");
}

/* Without a password for keys, they are not wanted. */
static bool read_entry(struct jks_reader *r, const struct jks_password *key_password, struct keystore *out,
                       struct fail *fail)
{
    uint32_t kind = jks_u32(r);
    struct bytes text = jks_text(r), blob = {NULL, 0};
    jks_bytes(r, 8); /* when it was made */
    if (kind != JKS_KEY && kind != JKS_TRUSTED)
        return fail_set(fail, "there is an entry in it that is neither a key nor a certificate");
    if (kind == JKS_KEY)
        blob = jks_block(r);
    char *alias = xstrndup(text.p != NULL ? (const char *)text.p : "", (size_t)text.len);
    STACK_OF(X509) *chain = sk_X509_new_null();
    bool ok = read_chain(r, kind == JKS_KEY ? jks_u32(r) : 1, chain, fail);
    EVP_PKEY *key = ok && kind == JKS_KEY && key_password ? key_open(blob, key_password) : NULL;
    if (ok && key == NULL && kind == JKS_KEY && key_password != NULL)
        ok = keystore_fail(fail, "the private key of %s cannot be decrypted: is ssl.key.password wrong?", alias);
    if (ok)
        keystore_add(out, alias, key, chain);
    else
        sk_X509_pop_free(chain, X509_free);
    free(alias);
    return ok;
}

static bool is_whole(struct bytes content, const char *password)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    struct jks_password utf16 = password_make(password);
    content.len -= SHA_DIGEST_LENGTH;
    password_digest(&utf16, "Mighty Aphrodite", content, digest);
    password_wipe(&utf16);
    return memcmp(digest, content.p + content.len, sizeof(digest)) == 0;
}

static int entry_compare(const void *a, const void *b)
{
    return strcmp(((const struct keystore_entry *)a)->alias, ((const struct keystore_entry *)b)->alias);
}

static bool read_entries(struct jks_reader *r, const char *key_password, struct keystore *out, struct fail *fail)
{
    struct jks_password utf16 = password_make(key_password ? key_password : "");
    uint32_t count = jks_u32(r);
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++)
        ok = read_entry(r, key_password ? &utf16 : NULL, out, fail);
    password_wipe(&utf16);
    if (ok && out->count > 0) /* Java's order is that of a hash table: neither is that of the file */
        qsort(out->entries, (size_t)out->count, sizeof(*out->entries), entry_compare);
    return ok;
}

bool keystore_read_jks(struct bytes content, const char *password, const char *key_password, struct keystore *out,
                       struct fail *fail)
{
    struct jks_reader r = {.at = content.p, .left = (size_t)content.len};
    jks_u32(&r);
    r.version = jks_u32(&r);
    if (r.failed || r.left < SHA_DIGEST_LENGTH || r.version < 1 || r.version > 2)
        return fail_set(fail, "it is damaged, or of a version that nobody knows");
    if (password != NULL && !is_whole(content, password))
        return fail_set(fail, "its password is wrong, or it has been tampered with");
    r.left -= SHA_DIGEST_LENGTH;
    return read_entries(&r, key_password, out, fail);
}
