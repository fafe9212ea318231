/* Whatever somebody says to a listener that encrypts and asks for certificates, and whatever a certificate is called.
 */
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "security/subject.h"
#include "security/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OF_A_CERTIFICATE = 'c' }; /* how an input begins that is one, and no bytes on a connection */

static char *take_text(BIO *bio)
{
    char *p;
    long len = BIO_get_mem_data(bio, &p);
    char *text = xstrndup(p, (size_t)len);
    BIO_free(bio);
    return text;
}

/* A key, and a certificate that it has signed for itself. */
static struct tls_context *make_context(void)
{
    struct fail fail;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *own = X509_new();
    X509_set_version(own, 2);
    X509_gmtime_adj(X509_getm_notBefore(own), 0);
    X509_gmtime_adj(X509_getm_notAfter(own), 1 << 20);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(own), "CN", MBSTRING_ASC, (const uint8_t *)"server", -1, -1, 0);
    X509_set_issuer_name(own, X509_get_subject_name(own));
    X509_set_pubkey(own, key);
    X509_sign(own, key, EVP_sha256());
    BIO *keys = BIO_new(BIO_s_mem()), *chain = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(keys, key, NULL, NULL, 0, NULL, NULL);
    PEM_write_bio_X509(chain, own);
    char *key_text = take_text(keys), *chain_text = take_text(chain);
    struct tls_settings settings = {.keys = {.type = "PEM", .key = key_text, .certificates = chain_text},
                                    .trust = {.type = "PEM", .certificates = chain_text},
                                    .client_auth = CLIENT_AUTH_REQUIRED};
    struct tls_context *context = tls_context_new(&settings, TLS_SERVER, &fail);
    ensure(context != NULL);
    free(key_text);
    free(chain_text);
    X509_free(own);
    EVP_PKEY_free(key);
    return context;
}

static void try_connection(struct tls_context *context, const uint8_t *data, size_t size)
{
    SSL *ssl = tls_open(context, NULL);
    BIO *in = BIO_new(BIO_s_mem());
    struct fail fail;
    uint8_t room[256];
    BIO_write(in, data, (int)size);
    SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
    if (SSL_do_handshake(ssl) == 1)
        while (SSL_read(ssl, room, sizeof(room)) > 0)
            ;
    tls_explain(ssl, &fail);
    SSL_free(ssl);
}

static void try_certificate(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    X509 *x = d2i_X509(NULL, &data, (long)size);
    const char *text = x != NULL ? subject_text(X509_get_subject_name(x), &a) : "";
    ensure(text != NULL);
    X509_free(x);
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tls_context *context;
    if (context == NULL)
        context = make_context();
    if (size < 2 || size > 1 << 16)
        return 0;
    if (data[0] == OF_A_CERTIFICATE)
        try_certificate(data + 1, size - 1);
    else
        try_connection(context, data, size);
    return 0;
}
