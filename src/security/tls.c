/*
 * Contexts and what connections get of them.
 *
 *     stores are loaded → versions and suites, certificates, whom to trust, how to ask are put into an SSL_CTX
 *     → tls_open() makes an SSL, and a client's is told the host → the handshake has verify_peer() called
 *
 * A peer whose certificate is not taken gets the alert that Java would send, certificate_unknown whatever the reason;
 * the reason itself stays with the SSL, for the log.
 */
#include "security/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#include "security/subject.h"
#include "security/tls_internal.h"

/* Of resumed sessions, as Java has it; and what a connection has while it reads, and gives back when all is read. */
enum { SESSION_SECONDS = 86400, READ_AHEAD_BYTES = 64 << 10 };

/* ---- Verifying the peer ---- */

static int why_index;     /* of the X509_V_ERR_... that an SSL's peer was refused for */
static int renewed_index; /* not NULL: the peer has renewed its keys */

static void tls_init_once(void)
{
    why_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    renewed_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ensure(why_index >= 0 && renewed_index >= 0);
}

/* OpenSSL makes alerts of errors, and certificate_unknown of this one, which it has for something else. */
enum { REFUSED_AS_JAVA_DOES = X509_V_ERR_PERMITTED_VIOLATION };

static int verify_peer(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    int result = X509_verify_cert(store);
    if (result > 0)
        return result;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    SSL_set_ex_data(ssl, why_index, (void *)(intptr_t)X509_STORE_CTX_get_error(store));
    X509_STORE_CTX_set_error(store, REFUSED_AS_JAVA_DOES);
    return 0;
}

/* ---- Making a context ---- */

static void note_message(int sent, int version, int type, const void *data, size_t len, SSL *ssl, void *arg)
{
    (void)version;
    (void)arg;
    if (!sent && type == SSL3_RT_HANDSHAKE && len > 0 && *(const uint8_t *)data == SSL3_MT_KEY_UPDATE)
        SSL_set_ex_data(ssl, renewed_index, ssl);
}

static void set_ktls(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_ENABLE_KTLS);
    SSL_CTX_set_msg_callback(ctx, note_message);
}

static void set_manners(SSL_CTX *ctx)
{
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_read_ahead(ctx, 1); /* several records with one call of the kernel */
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD_BYTES);
    SSL_CTX_set_security_level(ctx, 1); /* Java takes RSA keys of 1024 bits, too */
    SSL_CTX_set_dh_auto(ctx, 1);
}

static void set_sessions(SSL_CTX *ctx, enum tls_side side)
{
    static const unsigned char id[] = "barnabas";
    if (side == TLS_CLIENT) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        return;
    }
    SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1); /* without it, who showed a certificate cannot resume */
    SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
    SSL_CTX_set_num_tickets(ctx, 1);
}

/* The first key of each kind is the one that is shown to who can verify that kind. */
static bool set_keys(SSL_CTX *ctx, const struct keystore *store, struct fail *fail)
{
    for (int i = store->count - 1; i >= 0; i--) { /* the later call counts */
        const struct keystore_entry *entry = &store->entries[i];
        if (entry->key == NULL)
            continue;
        X509 *own = sk_X509_value(entry->chain, 0);
        if (X509_check_private_key(own, entry->key) != 1)
            return keystore_fail(fail, "the private key of %s does not fit its certificate", entry->alias);
        STACK_OF(X509) *others = sk_X509_dup(entry->chain);
        sk_X509_shift(others);
        bool ok = SSL_CTX_use_cert_and_key(ctx, own, entry->key, others, 1) == 1;
        sk_X509_free(others);
        if (!ok)
            return keystore_fail(fail, "the private key of %s cannot be used", entry->alias);
    }
    return true;
}

static bool load_keys(struct tls_context *context, const struct tls_settings *settings, struct fail *fail)
{
    const struct keystore_source *source = &settings->keys;
    if (context->side == TLS_CLIENT && !keystore_is_set(source))
        return true;
    if (!keystore_load(source, KEYSTORE_KEYS, &context->keys, fail))
        return false;
    return set_keys(context->ctx, &context->keys, fail) ||
           fail_wrap(fail, "%s", source->location ? source->location : "ssl.keystore.key");
}

/* Anchors are certificates of their own, and those of keys. Clients are told the names, to choose their certificate by.
 */
static void set_anchors(SSL_CTX *ctx, const struct keystore *store)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    for (int i = 0; i < store->count; i++) {
        X509 *anchor = sk_X509_value(store->entries[i].chain, 0);
        X509_NAME *name = X509_get_subject_name(anchor);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), anchor);
        bool known = false;
        for (int k = 0; k < sk_X509_NAME_num(names); k++)
            known = known || X509_NAME_cmp(sk_X509_NAME_value(names, k), name) == 0;
        if (!known)
            sk_X509_NAME_push(names, X509_NAME_dup(name));
    }
    SSL_CTX_set_client_CA_list(ctx, names);
}

static bool load_trust(struct tls_context *context, const struct tls_settings *settings, struct fail *fail)
{
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (!keystore_is_set(&settings->trust))
        return (context->side == TLS_SERVER && settings->client_auth == CLIENT_AUTH_NONE) ||
               SSL_CTX_set_default_verify_paths(context->ctx) == 1 ||
               keystore_fail(fail, "ssl.truststore.location is not set, and the system's authorities cannot be read");
    if (!keystore_load(&settings->trust, KEYSTORE_TRUST, &context->trust, fail))
        return false;
    set_anchors(context->ctx, &context->trust);
    return true;
}

static void set_verification(SSL_CTX *ctx, enum tls_side side, enum client_auth auth)
{
    int mode = side == TLS_CLIENT              ? SSL_VERIFY_PEER
               : auth == CLIENT_AUTH_NONE      ? SSL_VERIFY_NONE
               : auth == CLIENT_AUTH_REQUESTED ? SSL_VERIFY_PEER
                                               : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify_peer, NULL);
}

struct tls_context *tls_context_new(const struct tls_settings *settings, enum tls_side side, struct fail *fail)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, tls_init_once);
    struct tls_context *context = xcalloc(1, sizeof(*context));
    atomic_init(&context->refs, 1);
    context->side = side;
    context->check_host = settings->check_host;
    context->ctx = SSL_CTX_new(side == TLS_SERVER ? TLS_server_method() : TLS_client_method());
    ensure(context->ctx != NULL);
    set_manners(context->ctx);
    if (settings->ktls && side == TLS_SERVER)
        set_ktls(context->ctx);
    set_sessions(context->ctx, side);
    set_verification(context->ctx, side, settings->client_auth);
    bool ok = suites_set(context->ctx, settings->enabled_protocols, settings->cipher_suites, fail) &&
              load_keys(context, settings, fail) && load_trust(context, settings, fail);
    ERR_clear_error();
    if (ok)
        return context;
    tls_context_unref(context);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add(&context->refs, 1);
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL)
        return;
    int before = atomic_fetch_sub(&context->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    keystore_deinit(&context->keys);
    keystore_deinit(&context->trust);
    SSL_CTX_free(context->ctx);
    free(context);
}

static int64_t certificate_end(const X509 *certificate)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? timegm(&tm) : 0;
}

int64_t tls_context_end(const struct tls_context *context)
{
    int64_t first = 0;
    for (int i = 0; i < context->keys.count; i++) {
        const struct keystore_entry *entry = &context->keys.entries[i];
        for (int k = 0; entry->key != NULL && k < sk_X509_num(entry->chain); k++) {
            int64_t end = certificate_end(sk_X509_value(entry->chain, k));
            first = first == 0 ? end : MIN(first, end);
        }
    }
    return first;
}

/* ---- A connection ---- */

/* The bytes of an address, or 0. */
static size_t address_parse(const char *host, unsigned char bytes[sizeof(struct in6_addr)])
{
    return inet_pton(AF_INET, host, bytes) == 1    ? sizeof(struct in_addr)
           : inet_pton(AF_INET6, host, bytes) == 1 ? sizeof(struct in6_addr)
                                                   : 0;
}

/* For OpenSSL the empty name is any name, and one that begins with a dot all that end with it. A host is neither. */
static const char *name_to_check(const char *host)
{
    return *host == '\0' || *host == '.' ? "no-host.invalid" : host;
}

static void set_host(SSL *ssl, const char *host, bool check)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    unsigned char address[sizeof(struct in6_addr)];
    size_t size = address_parse(host, address);
    if (size == 0) /* which copies it, and leaves out what is too long for a name */
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)host);
    if (!check)
        return;
    int done = size > 0 ? X509_VERIFY_PARAM_set1_ip(param, address, size)
                        : X509_VERIFY_PARAM_set1_host(param, name_to_check(host), 0);
    ensure(done == 1);
}

SSL *tls_open(struct tls_context *context, const char *host)
{
    SSL *ssl = SSL_new(context->ctx);
    ensure(ssl != NULL);
    if (context->side == TLS_SERVER) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
        if (host != NULL)
            set_host(ssl, host, context->check_host);
    }
    ERR_clear_error(); /* of a name that is too long for SNI */
    return ssl;
}

bool tls_keys_are_renewed(SSL *ssl)
{
    return SSL_get_ex_data(ssl, renewed_index) != NULL;
}

void tls_explain(SSL *ssl, struct fail *fail)
{
    unsigned long error = ERR_get_error();
    intptr_t refused = (intptr_t)SSL_get_ex_data(ssl, why_index);
    ERR_clear_error();
    const char *why = error != 0 ? ERR_reason_error_string(error) : NULL;
    if (error == 0)
        fail_set(fail, "closed");
    else if (refused != 0 && ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        fail_set(fail, "certificate refused: %s", X509_verify_cert_error_string(refused));
    else if (why != NULL)
        fail_set(fail, "%s", why);
    else
        fail_set(fail, "error %08lx", error);
}

const char *tls_peer_subject(SSL *ssl, struct arena *a)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    return certificate ? subject_text(X509_get_subject_name(certificate), a) : NULL;
}

bool tls_peer_principal(SSL *ssl, const struct principal_rules *rules, struct arena *a, struct principal *out,
                        struct fail *fail)
{
    const char *subject = tls_peer_subject(ssl, a);
    *out = principal_anonymous;
    return subject == NULL || principal_rules_apply(rules, subject, a, &out->name, fail);
}
