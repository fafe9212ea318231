/* Keys, certificates and stores in PEM for tests, and two ends that shake hands in memory. */
#ifndef BARNABAS_TLS_TEST_H
#define BARNABAS_TLS_TEST_H

#include "test.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "security/tls.h"

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

struct identity_spec {
    const char *name;              /* CN */
    const char *alternative;       /* "DNS:localhost,IP:127.0.0.1", or NULL */
    const char *usage;             /* extendedKeyUsage, or NULL */
    const struct identity *issuer; /* NULL: it signs itself, and is an authority */
    bool rsa, expired;
};

static inline void identity_extend(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline struct identity identity_make(struct identity_spec spec)
{
    static long serial;
    struct identity made = {spec.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"), X509_new()};
    X509 *c = made.certificate;
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c), -7200);
    X509_gmtime_adj(X509_getm_notAfter(c), spec.expired ? -3600 : 3600);
    X509_NAME *name = X509_get_subject_name(c);
    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)spec.name, -1, -1, 0);
    X509_set_issuer_name(c, spec.issuer ? X509_get_subject_name(spec.issuer->certificate) : name);
    X509_set_pubkey(c, made.key);
    identity_extend(c, NID_basic_constraints, spec.issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (spec.alternative != NULL)
        identity_extend(c, NID_subject_alt_name, spec.alternative);
    if (spec.usage != NULL)
        identity_extend(c, NID_ext_key_usage, spec.usage);
    assert_true(X509_sign(c, spec.issuer ? spec.issuer->key : made.key, EVP_sha256()) > 0);
    return made;
}

static inline void identity_free(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
}

/* What was written to a BIO in memory, to be freed. */
static inline char *bio_text(BIO *bio)
{
    char *data, *text;
    long size = BIO_get_mem_data(bio, &data);
    text = strndup(data, (size_t)size);
    BIO_free(bio);
    return text;
}

static inline char *pem_of_key(const struct identity *identity, const char *password)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, identity->key, password ? EVP_aes_256_cbc() : NULL, password,
                                                   password ? (int)strlen(password) : 0, NULL, NULL),
                     1);
    return bio_text(bio);
}

static inline char *pem_of_certificate(const struct identity *identity)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, identity->certificate), 1);
    return bio_text(bio);
}

static inline void file_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

/* ---- Two ends ---- */

struct ends {
    SSL *server, *client;
    BIO *wires[2];
    struct fail why_server, why_client; /* "" of an end that has not failed */
};

static inline void ends_open(struct ends *e, struct tls_context *server, struct tls_context *client, const char *host)
{
    *e = (struct ends){.server = tls_open(server, NULL), .client = tls_open(client, host)};
    assert_int_equal(BIO_new_bio_pair(&e->wires[0], 0, &e->wires[1], 0), 1);
    SSL_set_bio(e->server, e->wires[0], e->wires[0]);
    SSL_set_bio(e->client, e->wires[1], e->wires[1]);
}

static inline void ends_close(struct ends *e)
{
    SSL_free(e->server);
    SSL_free(e->client);
}

/* One end goes as far as it can; 1: it is done, 0: it waits, -1: it has failed. */
static inline int end_step(SSL *ssl, struct fail *why)
{
    int result = SSL_do_handshake(ssl);
    if (result == 1 || why->text[0] != '\0')
        return why->text[0] != '\0' ? -1 : 1;
    int error = SSL_get_error(ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    tls_explain(ssl, why);
    return -1;
}

/* Whether both ends are content; a client of TLS 1.3 hears of its certificate only when it reads. */
static inline bool ends_shake(struct ends *e)
{
    char byte;
    for (int turn = 0; turn < 20; turn++) {
        int client = end_step(e->client, &e->why_client), server = end_step(e->server, &e->why_server);
        if (client == 1 && server == 1) {
            assert_int_equal(SSL_read(e->client, &byte, 1), -1); /* takes the tickets */
            return SSL_get_error(e->client, -1) == SSL_ERROR_WANT_READ;
        }
        if (server == -1 && client == 1 && SSL_read(e->client, &byte, 1) <= 0)
            tls_explain(e->client, &e->why_client);
        if (client == -1 || server == -1)
            if (turn > 5)
                return false;
    }
    return false;
}

#endif
