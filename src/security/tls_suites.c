/*
 * Versions and cipher suites by the names that Java has for them.
 *
 * OpenSSL has two lists of suites, for TLS 1.3 and for what was before; a version without a suite is not offered. So a
 * list of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 alone leaves TLS 1.2.
 */
#include <openssl/conf.h>

#include "security/tls_internal.h"

enum { OFFER_1_2 = 1, OFFER_1_3 = 2 };

/* ---- Names ---- */

static bool protocol_find(struct str name, int *offer)
{
    static const struct {
        const char *name;
        int offer;
    } protocols[] = {/* Java knows the old ones, and does not offer them either */
                     {"SSLv2Hello", 0}, {"SSLv3", 0},           {"TLSv1", 0},
                     {"TLSv1.1", 0},    {"TLSv1.2", OFFER_1_2}, {"TLSv1.3", OFFER_1_3}};
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        if (str_is(name, protocols[i].name)) {
            *offer |= protocols[i].offer;
            return true;
        }
    }
    return false;
}

/* Java's names begin with SSL_ for suites that were there before TLS; the registry has TLS_ for all. */
static const char *suite_find(struct str name, bool *of_1_3)
{
    char standard[128];
    snprintf(standard, sizeof(standard), "%.*s", STR_ARGS(name));
    if (strncmp(standard, "SSL_", 4) == 0)
        memcpy(standard, "TLS_", 4);
    const char *found = OPENSSL_cipher_name(standard);
    *of_1_3 = strcmp(found, standard) == 0; /* they have no other name */
    return strncmp(standard, "TLS_", 4) == 0 && strcmp(found, "(NONE)") != 0 ? found : NULL;
}

static bool protocols_parse(const char *text, struct arena *a, int *offer, struct fail *fail)
{
    struct config_list names = text_split(text ? text : "", true, a);
    *offer = 0;
    if (text == NULL || *text == '\0')
        *offer = OFFER_1_2 | OFFER_1_3;
    for (int i = 0; i < names.count; i++)
        if (!protocol_find(str_of(names.items[i]), offer))
            return fail_set(fail, "ssl.enabled.protocols: there is no protocol %s", names.items[i]);
    return *offer != 0 ||
           fail_set(fail,
                    "ssl.enabled.protocols=%s: neither TLSv1.2 nor TLSv1.3 is among them, and others are not safe",
                    text);
}

static bool suites_parse(const char *text, struct arena *a, struct strbuf *old, struct strbuf *new, struct fail *fail)
{
    struct config_list names = text_split(text, true, a);
    bool of_1_3;
    for (int i = 0; i < names.count; i++) {
        struct str name = str_of(names.items[i]);
        if (str_is(name, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV")) /* no suite, but Java lists it with them */
            continue;
        const char *found = suite_find(name, &of_1_3);
        if (found == NULL)
            return fail_set(fail, "ssl.cipher.suites: there is no cipher suite %.*s", STR_ARGS(name));
        strbuf_printf(of_1_3 ? new : old, "%s:", found);
    }
    return true;
}

/* ---- Setting them ---- */

static bool has_suites(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    STACK_OF(SSL_CIPHER) *usable = ssl ? SSL_get1_supported_ciphers(ssl) : NULL;
    bool any = sk_SSL_CIPHER_num(usable) > 0;
    sk_SSL_CIPHER_free(usable);
    SSL_free(ssl);
    return any;
}

/* Of the versions those that have suites. */
static bool set_lists(SSL_CTX *ctx, const struct strbuf *old, const struct strbuf *new, int *offer)
{
    if (old->len == 0 || SSL_CTX_set_cipher_list(ctx, old->p) != 1)
        *offer &= ~OFFER_1_2;
    if (new->len == 0)
        *offer &= ~OFFER_1_3;
    return SSL_CTX_set_ciphersuites(ctx, new->len > 0 ? new->p : "") == 1;
}

static bool is_said(const char *text)
{
    return text != NULL && *text != '\0';
}

/* What may be agreed on. */
struct offer {
    int versions;
    bool listed;            /* suites are, or they are OpenSSL's own choice: */
    struct strbuf old, new; /* as OpenSSL lists them */
};

static bool offer_parse(const char *protocols, const char *suites, struct offer *out, struct fail *fail)
{
    struct arena a = {0};
    *out = (struct offer){.listed = is_said(suites)};
    bool ok = protocols_parse(protocols, &a, &out->versions, fail) &&
              (!out->listed || suites_parse(suites, &a, &out->old, &out->new, fail));
    arena_deinit(&a);
    return ok;
}

static void offer_deinit(struct offer *o)
{
    strbuf_deinit(&o->old);
    strbuf_deinit(&o->new);
}

/* Versions that are left without a suite are taken off it. */
static bool offer_set(SSL_CTX *ctx, struct offer *o, const char *protocols, const char *suites, struct fail *fail)
{
    if (!o->listed)
        SSL_CTX_set_cipher_list(ctx, "DEFAULT:!PSK:!SRP");
    else if (!set_lists(ctx, &o->old, &o->new, &o->versions))
        return keystore_fail(fail, "ssl.cipher.suites=%s", suites);
    SSL_CTX_set_min_proto_version(ctx, o->versions & OFFER_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_max_proto_version(ctx, o->versions & OFFER_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    return (o->versions != 0 && has_suites(ctx)) ||
           keystore_fail(fail, "ssl.cipher.suites=%s leaves nothing that ssl.enabled.protocols=%s could use", suites,
                         protocols ? protocols : "TLSv1.2,TLSv1.3");
}

bool suites_set(SSL_CTX *ctx, const char *protocols, const char *suites, struct fail *fail)
{
    struct offer o;
    bool ok = offer_parse(protocols, suites, &o, fail) && offer_set(ctx, &o, protocols, suites, fail);
    offer_deinit(&o);
    return ok;
}

/* ---- For all of a process ---- */

/* In the words of a configuration file of OpenSSL's. */
static void write_limits(const struct offer *o, struct strbuf *out)
{
    strbuf_puts(out, "openssl_conf = all\n[all]\nssl_conf = uses\n[uses]\nsystem_default = limits\n[limits]\n");
    strbuf_printf(out, "MinProtocol = %s\n", o->versions & OFFER_1_2 ? "TLSv1.2" : "TLSv1.3");
    strbuf_printf(out, "MaxProtocol = %s\n", o->versions & OFFER_1_3 ? "TLSv1.3" : "TLSv1.2");
    if (o->old.len > 0)
        strbuf_printf(out, "CipherString = %s\n", o->old.p);
    if (o->new.len > 0)
        strbuf_printf(out, "Ciphersuites = %s\n", o->new.p);
}

/* After OpenSSL has read its own file, which it does once. */
static bool load_limits(const struct offer *o)
{
    struct strbuf text = {0};
    write_limits(o, &text);
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.len);
    CONF *conf = NCONF_new(NULL);
    OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
    bool ok = NCONF_load_bio(conf, bio, NULL) > 0 && CONF_modules_load(conf, NULL, 0) > 0;
    NCONF_free(conf);
    BIO_free(bio);
    strbuf_deinit(&text);
    return ok;
}

bool tls_adopt_suites(const struct tls_settings *settings, struct fail *fail)
{
    const char *protocols = settings->enabled_protocols, *suites = settings->cipher_suites;
    struct offer o;
    if (!is_said(protocols) && !is_said(suites))
        return true;
    SSL_CTX *tried = SSL_CTX_new(TLS_client_method()); /* which says what is wrong */
    bool ok = offer_parse(protocols, suites, &o, fail) && offer_set(tried, &o, protocols, suites, fail) &&
              (load_limits(&o) || keystore_fail(fail, "ssl.cipher.suites, ssl.enabled.protocols"));
    SSL_CTX_free(tried);
    offer_deinit(&o);
    return ok;
}
