#include "security/tls_check.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "security/principal.h"
#include "security/subject.h"
#include "security/tls_internal.h"

/* ---- Two ends in memory ---- */

/* Far more turns than the largest certificates need. */
enum { MOST_TURNS = 10000 };

/* 1: it is done, 0: it waits for the other one, -1: it has failed. */
static int shake_step(SSL *ssl, const char *who, struct fail *fail)
{
    int result = SSL_do_handshake(ssl);
    int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, result);
    if (error == SSL_ERROR_NONE)
        return 1;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    tls_explain(ssl, fail);
    fail_wrap(fail, "%s", who);
    return -1;
}

static bool shake_to_the_end(SSL *server, SSL *client, struct fail *fail)
{
    for (int i = 0; i < MOST_TURNS; i++) {
        int one = shake_step(client, "the client", fail), other = one < 0 ? -1 : shake_step(server, "the server", fail);
        if (one < 0 || other < 0)
            return false;
        if (one == 1 && other == 1)
            return true;
    }
    return fail_set(fail, "the handshake does not end");
}

bool tls_check_pair(struct tls_context *server_context, struct tls_context *client_context, struct fail *fail)
{
    BIO *wires[2];
    SSL *server = tls_open(server_context, NULL), *client = tls_open(client_context, NULL);
    ensure(BIO_new_bio_pair(&wires[0], 0, &wires[1], 0) == 1);
    SSL_set_bio(server, wires[0], wires[0]);
    SSL_set_bio(client, wires[1], wires[1]);
    bool ok = shake_to_the_end(server, client, fail);
    SSL_free(server);
    SSL_free(client);
    ERR_clear_error();
    return ok || fail_wrap(fail, "a client with these settings cannot connect to a server with these settings");
}

/* ---- A listener at the start ---- */

static bool check_rules(const struct tls_settings *settings, struct fail *fail)
{
    struct principal_rules *rules = principal_rules_parse(settings->principal_rules, fail);
    principal_rules_free(rules);
    return rules != NULL || fail_wrap(fail, "ssl.principal.mapping.rules");
}

bool tls_ends_make(const struct tls_settings *settings, bool among_brokers, struct tls_ends *out, struct fail *fail)
{
    *out = (struct tls_ends){.server = tls_context_new(settings, TLS_SERVER, fail)};
    if (out->server != NULL && among_brokers)
        out->client = tls_context_new(settings, TLS_CLIENT, fail);
    if (out->server != NULL && (out->client != NULL || !among_brokers))
        return true;
    tls_ends_unref(out);
    return false;
}

void tls_ends_unref(struct tls_ends *ends)
{
    tls_context_unref(ends->server);
    tls_context_unref(ends->client);
    *ends = (struct tls_ends){0};
}

static bool check_start(const struct tls_settings *settings, const struct tls_ends *ends, struct fail *fail)
{
    return check_rules(settings, fail) && (ends->client == NULL || tls_check_pair(ends->server, ends->client, fail));
}

bool tls_listener_start(const struct broker_config *config, const struct listener *listener, struct arena *a,
                        struct tls_settings *settings, struct tls_ends *ends, struct fail *fail)
{
    const char *control = config->control_plane_listener_name;
    bool among_brokers = strcmp(listener->name, config->inter_broker_listener_name) == 0 ||
                         (control != NULL && strcmp(listener->name, control) == 0);
    *ends = (struct tls_ends){0};
    if (tls_settings_of(config, listener, a, settings, fail) && tls_ends_make(settings, among_brokers, ends, fail) &&
        check_start(settings, ends, fail))
        return true;
    tls_ends_unref(ends);
    return fail_wrap(fail, "listener %s", listener->name);
}

/* ---- Changes ---- */

static X509 *leaf_of(const struct keystore_entry *entry)
{
    return sk_X509_value(entry->chain, 0);
}

static bool entry_check_name(const struct keystore_entry *old, const struct keystore_entry *next, struct fail *fail)
{
    struct arena a = {0};
    const X509_NAME *old_name = X509_get_subject_name(leaf_of(old)), *next_name = X509_get_subject_name(leaf_of(next));
    const char *old_text = subject_text(old_name, &a), *next_text = subject_text(next_name, &a);
    bool ok =
        X509_NAME_cmp(old_name, next_name) == 0 || strcasecmp(old_text, next_text) == 0 ||
        fail_set(fail, "Keystore DistinguishedName does not match:  existing={alias=%s, DN=%s}, new={alias=%s, DN=%s}",
                 old->alias, old_text, next->alias, next_text);
    arena_deinit(&a);
    return ok;
}

static bool names_have(const GENERAL_NAMES *names, GENERAL_NAME *name)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), name) == 0)
            return true;
    return false;
}

/* As Java writes a set of them: [[2, localhost], [7, 127.0.0.1]], where 2 is the kind. */
static const char *names_text(const GENERAL_NAMES *names, struct arena *a)
{
    struct strbuf out = {0};
    strbuf_puts(&out, "[");
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int kind;
        char address[INET6_ADDRSTRLEN] = "?";
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        strbuf_printf(&out, "%s[%d, ", i > 0 ? ", " : "", kind);
        if (kind == GEN_DNS || kind == GEN_EMAIL || kind == GEN_URI) {
            strbuf_add(&out, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
        } else {
            if (kind == GEN_IPADD && (ASN1_STRING_length(value) == 4 || ASN1_STRING_length(value) == 16))
                inet_ntop(ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), address,
                          sizeof(address));
            strbuf_puts(&out, address);
        }
        strbuf_puts(&out, "]");
    }
    strbuf_puts(&out, "]");
    const char *text = arena_cstr(a, (struct str){out.p, (int32_t)out.len});
    strbuf_deinit(&out);
    return text;
}

static bool entry_check_alternatives(const struct keystore_entry *old, const struct keystore_entry *next,
                                     struct fail *fail)
{
    struct arena a = {0};
    GENERAL_NAMES *olds = X509_get_ext_d2i(leaf_of(old), NID_subject_alt_name, NULL, NULL),
                  *nexts = X509_get_ext_d2i(leaf_of(next), NID_subject_alt_name, NULL, NULL);
    bool ok = true;
    for (int i = 0; ok && i < sk_GENERAL_NAME_num(olds); i++)
        ok = names_have(nexts, sk_GENERAL_NAME_value(olds, i)) ||
             fail_set(fail,
                      "Keystore SubjectAltNames do not match:  existing={alias=%s, SAN=%s}, new={alias=%s, SAN=%s}",
                      old->alias, names_text(olds, &a), next->alias, names_text(nexts, &a));
    GENERAL_NAMES_free(olds);
    GENERAL_NAMES_free(nexts);
    arena_deinit(&a);
    return ok;
}

static bool check_entries(const struct keystore *old, const struct keystore *next, bool allow_names,
                          bool allow_alternatives, struct fail *fail)
{
    if (allow_names && allow_alternatives)
        return true;
    if (old->count != next->count)
        return fail_set(
            fail, "Keystore entries do not match, existing store contains %d entries, new store contains %d entries",
            old->count, next->count);
    for (int i = 0; !allow_names && i < old->count; i++)
        if (!entry_check_name(&old->entries[i], &next->entries[i], fail))
            return false;
    for (int i = 0; !allow_alternatives && i < old->count; i++)
        if (!entry_check_alternatives(&old->entries[i], &next->entries[i], fail))
            return false;
    return true;
}

bool tls_check_change(const struct tls_context *old, const struct tls_context *next, bool allow_names,
                      bool allow_alternatives, struct fail *fail)
{
    if (old->keys.count == 0 && next->keys.count > 0)
        return fail_set(fail, "Cannot add SSL keystore to an existing listener for which no keystore was configured.");
    if (old->keys.count > 0 && next->keys.count == 0)
        return fail_set(
            fail, "Cannot remove the SSL keystore from an existing listener for which a keystore was configured.");
    bool ok = check_entries(&old->keys, &next->keys, allow_names, allow_alternatives, fail);
    ERR_clear_error(); /* of certificates without alternative names */
    if (ok && old->trust.count == 0 && next->trust.count > 0)
        return fail_set(fail,
                        "Cannot add SSL truststore to an existing listener for which no truststore was configured.");
    return ok;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_source(const struct keystore_source *a, const struct keystore_source *b)
{
    return same_text(a->type, b->type) && same_text(a->location, b->location) && same_text(a->password, b->password) &&
           same_text(a->key_password, b->key_password) && same_text(a->key, b->key) &&
           same_text(a->certificates, b->certificates);
}

bool tls_stores_eq(const struct tls_settings *a, const struct tls_settings *b)
{
    return same_source(&a->keys, &b->keys) && same_source(&a->trust, &b->trust);
}

bool tls_is_rewritten(const struct tls_context *context)
{
    return keystore_is_rewritten(&context->keys) || keystore_is_rewritten(&context->trust);
}
