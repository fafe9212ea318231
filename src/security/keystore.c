/*
 * Finds out what a store is, and has it read.
 *
 *     the settings name a text, or a file → the file's first bytes say what it is → its reader adds entries
 *     → a store for keys has a key, one to trust has a certificate
 */
#include "security/keystore.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "security/keystore_internal.h"

/* All authorities of the world are a few hundred KiB. */
enum { LARGEST_FILE = 16 << 20 };

/* What the keys of the configuration begin with. */
static const char *use_name(enum keystore_use use)
{
    return use == KEYSTORE_KEYS ? "ssl.keystore" : "ssl.truststore";
}

/* ---- What the readers share ---- */

void keystore_add(struct keystore *store, const char *alias, EVP_PKEY *key, STACK_OF(X509) * chain)
{
    ensure(sk_X509_num(chain) > 0);
    store->entries = xrealloc(store->entries, sizeof(*store->entries) * (size_t)(store->count + 1));
    store->entries[store->count++] = (struct keystore_entry){xstrdup(alias), key, chain};
}

bool keystore_fail(struct fail *fail, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    unsigned long error = ERR_peek_last_error();
    const char *why = error != 0 ? ERR_reason_error_string(error) : NULL;
    ERR_clear_error();
    return why ? fail_set(fail, "%s (%s)", text, why) : fail_set(fail, "%s", text);
}

X509 *certificate_decode(struct bytes der)
{
    const uint8_t *at = der.p;
    X509 *certificate = d2i_X509(NULL, &at, der.len);
    if (certificate == NULL || at == der.p + der.len)
        return certificate;
    X509_free(certificate);
    return NULL;
}

EVP_PKEY *private_key_decode(struct bytes der)
{
    const uint8_t *at = der.p;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, der.len);
    EVP_PKEY *key = info && at == der.p + der.len ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

/* ---- Files ---- */

static bool keystore_read_file(const char *path, struct keystore *store, struct strbuf *out, struct fail *fail)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe that nobody fills is not waited for */
    if (fd < 0 || fstat(fd, &st) != 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return fail_set(fail, "%s", strerror(error));
    }
    ssize_t n = -1;
    if (S_ISREG(st.st_mode) && st.st_size <= LARGEST_FILE)
        while ((n = read(fd, strbuf_extend(out, 65536), 65536)) >= 0) {
            out->len -= 65536 - (size_t)n;
            if (n == 0 || out->len > LARGEST_FILE)
                break;
        }
    close(fd);
    store->location = xstrdup(path);
    store->modified = st.st_mtim;
    store->size = st.st_size;
    return n == 0 || fail_set(fail, "it is not a file that can be read as a whole, of at most %d bytes", LARGEST_FILE);
}

enum file_form { FILE_UNKNOWN, FILE_JKS, FILE_JCEKS, FILE_PKCS12, FILE_PEM };

static enum file_form form_of(struct bytes content)
{
    uint32_t magic = content.len >= 4 ? be32_get(content.p) : 0;
    return magic == 0xfeedfeed                                        ? FILE_JKS
           : magic == 0xcececece                                      ? FILE_JCEKS
           : magic >> 24 == 0x30                                      ? FILE_PKCS12
           : memmem(content.p, (size_t)content.len, "-----BEGIN", 10) ? FILE_PEM
                                                                      : FILE_UNKNOWN;
}

static bool keystore_parse_pem(const struct keystore_source *source, enum keystore_use use, const char *text,
                               struct keystore *out, struct fail *fail)
{
    if (source->type != NULL && strcmp(source->type, "PEM") != 0)
        return fail_set(fail, "it is in PEM, which %s.type has to say", use_name(use));
    return use == KEYSTORE_TRUST ? keystore_read_pem_trust(text, out, fail)
                                 : keystore_read_pem_keys(text, text, source->key_password, out, fail);
}

static bool keystore_parse_file(const struct keystore_source *source, enum keystore_use use, struct bytes content,
                                struct keystore *out, struct fail *fail)
{
    enum file_form form = form_of(content);
    const char *key_password = use == KEYSTORE_TRUST  ? NULL
                               : source->key_password ? source->key_password
                                                      : source->password;
    bool pem = source->type != NULL && strcmp(source->type, "PEM") == 0;
    if (content.len == 0)
        return fail_set(fail, "it is empty");
    if (pem && form != FILE_PEM)
        return fail_set(fail, "it is not in PEM");
    switch (form) {
    case FILE_JKS:
        return keystore_read_jks(content, source->password, key_password, out, fail);
    case FILE_PKCS12:
        return keystore_read_pkcs12(content, source->password, key_password, out, fail);
    case FILE_PEM:
        return keystore_parse_pem(source, use, (const char *)content.p, out, fail);
    case FILE_JCEKS:
        return fail_set(fail, "it is JCEKS; `keytool -importkeystore` makes PKCS12 of it");
    default:
        return fail_set(fail, "it is neither JKS nor PKCS12 nor PEM");
    }
}

static bool keystore_load_file(const struct keystore_source *source, enum keystore_use use, struct keystore *out,
                               struct fail *fail)
{
    struct strbuf content = {0};
    bool ok =
        keystore_read_file(source->location, out, &content, fail) &&
        keystore_parse_file(source, use, (struct bytes){(const uint8_t *)content.p, (int32_t)content.len}, out, fail);
    if (content.p != NULL)
        explicit_bzero(content.p, content.cap);
    strbuf_deinit(&content);
    if (!ok)
        fail_wrap(fail, "Failed to load SSL keystore %s of type %s", source->location,
                  source->type ? source->type : "that nobody has named");
    return ok;
}

/* ---- A store ---- */

bool keystore_is_set(const struct keystore_source *s)
{
    return s->location || s->password || s->key || s->certificates;
}

/* Those whose readers in Java take JKS and PKCS12, in whatever case they are asked for; and PEM, which is Kafka's. */
static bool type_is_known(const char *type)
{
    static const char *const javas[] = {"JKS", "PKCS12", "JCEKS", "CaseExactJKS"};
    for (size_t i = 0; i < ARRAY_LEN(javas); i++)
        if (strcasecmp(type, javas[i]) == 0)
            return true;
    return strcmp(type, "PEM") == 0;
}

/* What is set has to name one store; a broker of Java refuses the same. */
static bool source_check(const struct keystore_source *s, enum keystore_use use, struct fail *fail)
{
    const char *name = use_name(use);
    bool texts = s->key || s->certificates, pem = s->type && strcmp(s->type, "PEM") == 0;
    if (texts && !pem)
        return fail_set(fail, "%s.type is %s, and keys or certificates can be part of the configuration only with PEM",
                        name, s->type ? s->type : "not set");
    if (s->type != NULL && !type_is_known(s->type))
        return fail_set(fail, "%s.type is %s, which is none of JKS, PKCS12 and PEM", name, s->type);
    if (texts && s->location)
        return fail_set(fail, "both %s.location and keys or certificates of the configuration itself are set", name);
    if (texts && use == KEYSTORE_KEYS && !(s->key && s->certificates))
        return fail_set(fail, "ssl.keystore.key and ssl.keystore.certificate.chain can only be set together");
    if (pem && s->password)
        return fail_set(fail, "%s.password is set, but PEM has no password but that of a key, ssl.key.password", name);
    if (!texts && !s->location)
        return fail_set(fail, "%s.location is not set", name);
    return texts || pem || s->type == NULL || s->password || use == KEYSTORE_TRUST ||
           fail_set(fail, "%s.password is not set", name);
}

static bool keystore_is_usable(const struct keystore *store, enum keystore_use use, struct fail *fail)
{
    if (use == KEYSTORE_TRUST)
        return store->count > 0 || fail_set(fail, "there is no certificate in it that is to be trusted");
    for (int i = 0; i < store->count; i++)
        if (store->entries[i].key != NULL)
            return true;
    return fail_set(fail, "there is no private key in it");
}

bool keystore_load(const struct keystore_source *source, enum keystore_use use, struct keystore *out, struct fail *fail)
{
    *out = (struct keystore){0};
    if (!source_check(source, use, fail))
        return false;
    ERR_clear_error();
    bool ok = source->location ? keystore_load_file(source, use, out, fail)
              : use == KEYSTORE_TRUST
                  ? keystore_read_pem_trust(source->certificates, out, fail)
                  : keystore_read_pem_keys(source->key, source->certificates, source->key_password, out, fail);
    ok = ok && keystore_is_usable(out, use, fail);
    if (!ok)
        keystore_deinit(out);
    ERR_clear_error();
    return ok;
}

void keystore_deinit(struct keystore *store)
{
    for (int i = 0; i < store->count; i++) {
        free(store->entries[i].alias);
        EVP_PKEY_free(store->entries[i].key);
        sk_X509_pop_free(store->entries[i].chain, X509_free);
    }
    free(store->entries);
    free(store->location);
    *store = (struct keystore){0};
}

bool keystore_is_rewritten(const struct keystore *store)
{
    struct stat st;
    if (store->location == NULL || stat(store->location, &st) != 0)
        return false;
    return st.st_mtim.tv_sec != store->modified.tv_sec || st.st_mtim.tv_nsec != store->modified.tv_nsec ||
           st.st_size != store->size;
}
