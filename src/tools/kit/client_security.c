#include "tools/kit/client_security.h"

#include <openssl/pem.h>

struct getter {
    const char *(*get)(const void *properties, const char *name);
    const void *properties;
};

static const char *property(const struct getter *g, const char *name)
{
    return g->get(g->properties, name);
}

static const char *tls_property(void *getter, const char *name)
{
    return property(getter, name);
}

static void read_tls(struct getter *g, struct tls_settings *out)
{
    const char *algorithm = property(g, "ssl.endpoint.identification.algorithm");
    tls_settings_take(tls_property, g, out);
    out->check_host = algorithm == NULL || *algorithm != '\0';
}

static bool read_login(const struct getter *g, struct arena *a, struct sasl_login *out, struct fail *fail)
{
    enum sasl_mechanism mechanism;
    const char *name = property(g, "sasl.mechanism");
    if (!sasl_mechanism_parse(str_of(name != NULL ? name : "GSSAPI"), &mechanism))
        return fail_set(fail, "sasl.mechanism %s is not known here", name != NULL ? name : "GSSAPI");
    struct login_settings settings = login_settings_of_client(g->get, g->properties);
    return sasl_client_login_of(&settings, mechanism, a, out, fail);
}

bool client_security_read(const char *(*get)(const void *properties, const char *name), const void *properties,
                          struct arena *a, struct client_security *out, struct fail *fail)
{
    struct getter g = {get, properties};
    enum security_protocol protocol = SECURITY_PROTOCOL_PLAINTEXT;
    const char *name = property(&g, "security.protocol");
    *out = (struct client_security){0};
    if (name != NULL && !security_protocol_parse(text_upper(name, a), &protocol))
        return fail_set(fail, "Invalid value %s for configuration security.protocol", name);
    out->encrypts = security_protocol_has_tls(protocol);
    out->logs_in = security_protocol_has_sasl(protocol);
    if (out->encrypts)
        read_tls(&g, &out->tls);
    return !out->logs_in || read_login(&g, a, &out->login, fail);
}

/* ---- As PEM ---- */

static const char *take_memory(BIO *bio, struct arena *a)
{
    char *p;
    long len = BIO_get_mem_data(bio, &p);
    const char *text = len > 0 ? arena_cstr(a, (struct str){p, (int32_t)len}) : NULL;
    BIO_free(bio);
    return text;
}

bool client_security_pem(const struct keystore_source *source, enum keystore_use use, struct arena *a,
                         const char **keys, const char **certificates, struct fail *fail)
{
    struct keystore store;
    *keys = *certificates = NULL;
    if (!keystore_is_set(source))
        return true;
    if (!keystore_load(source, use, &store, fail))
        return false;
    BIO *key = BIO_new(BIO_s_mem()), *chain = BIO_new(BIO_s_mem());
    for (int i = 0; i < store.count; i++) {
        const struct keystore_entry *e = &store.entries[i];
        if (use == KEYSTORE_KEYS && e->key == NULL)
            continue; /* a store of keys may have certificates that are trusted beside them */
        if (e->key != NULL)
            PEM_write_bio_PrivateKey(key, e->key, NULL, NULL, 0, NULL, NULL);
        for (int k = 0; k < sk_X509_num(e->chain); k++)
            PEM_write_bio_X509(chain, sk_X509_value(e->chain, k));
        if (use == KEYSTORE_KEYS)
            break; /* librdkafka takes one */
    }
    keystore_deinit(&store);
    *keys = take_memory(key, a);
    *certificates = take_memory(chain, a);
    return true;
}
