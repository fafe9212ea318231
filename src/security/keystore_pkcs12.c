/*
 * PKCS12 (RFC 7292) as keytool and openssl write it. A file is a sequence of bags, each a key or a certificate, in
 * safes of which each may be encrypted; the whole has a MAC.
 *
 *     MAC → open the safes → gather keys and certificates → a key's own certificate is that with the same local key id,
 * its chain goes on from issuer to issuer → a certificate that Java has marked as trusted is an entry of its own
 *
 * Certificates that are neither are no entries: for Java a store that `openssl pkcs12 -nokeys` has made is empty.
 *
 * Files of older programs are encrypted with what OpenSSL keeps in its legacy provider, so they are read in a library
 * context that has it and is used for nothing else.
 */
#include <ctype.h>
#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <pthread.h>

#include "security/keystore_internal.h"

/* How often a file may have a password hashed, in all: keytool does it 10000 times for each safe and key. */
enum { MOST_ITERATIONS = 5000000 };

struct p12_reader {
    const char *password, *key_password; /* NULL: without one, nothing is decrypted */
    int64_t iterations;                  /* that are left */
    struct p12_bag {
        PKCS12_SAFEBAG *bag; /* in `bags` */
        EVP_PKEY *key;       /* of a key that was decrypted */
        X509 *certificate;
        bool is_key, trusted;
    } * items;
    int count;
    STACK_OF(PKCS12_SAFEBAG) * bags;
    bool passed_over; /* something is encrypted, and there is no password */
    struct fail *fail;
};

/* ---- Decrypting ---- */

static OSSL_LIB_CTX *legacy;

static void legacy_init(void)
{
    legacy = OSSL_LIB_CTX_new();
    ensure(legacy != NULL);
    OSSL_PROVIDER_load(legacy, "default");
    OSSL_PROVIDER_load(legacy, "legacy"); /* where it is not installed, older files cannot be read */
}

static OSSL_LIB_CTX *legacy_context(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, legacy_init);
    return legacy;
}

static int64_t iterations_of(const ASN1_INTEGER *number)
{
    int64_t n;
    return number == NULL ? 1 : ASN1_INTEGER_get_int64(&n, number) == 1 && n >= 0 ? n : INT64_MAX;
}

/* Hashed by something else, scrypt say, whose cost is not a number of iterations. */
enum { HASHED_OTHERWISE = -1 };

/* How often the password is hashed; 0 when it does not say, so that it cannot be decrypted either. */
static int64_t iterations_of_algorithm(const X509_ALGOR *algor)
{
    int64_t n = 0;
    if (algor == NULL || algor->parameter == NULL)
        return 0;
    if (OBJ_obj2nid(algor->algorithm) == NID_pbes2) {
        PBE2PARAM *param = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algor->parameter);
        bool usual = param == NULL || OBJ_obj2nid(param->keyfunc->algorithm) == NID_id_pbkdf2;
        PBKDF2PARAM *kdf = usual && param != NULL && param->keyfunc->parameter != NULL
                               ? ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), param->keyfunc->parameter)
                               : NULL;
        n = kdf != NULL ? iterations_of(kdf->iter) : 0;
        PBKDF2PARAM_free(kdf);
        PBE2PARAM_free(param);
        return usual ? n : HASHED_OTHERWISE;
    }
    PBEPARAM *param = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algor->parameter);
    n = param ? iterations_of(param->iter) : 0;
    PBEPARAM_free(param);
    return n;
}

EVP_PKEY *private_key_decrypt(const X509_SIG *sealed, const char *password)
{
    const X509_ALGOR *algor;
    X509_SIG_get0(sealed, &algor, NULL);
    int64_t iterations = iterations_of_algorithm(algor);
    if (iterations == HASHED_OTHERWISE || iterations > MOST_ITERATIONS)
        return NULL;
    PKCS8_PRIV_KEY_INFO *info = PKCS8_decrypt_ex(sealed, password, (int)strlen(password), legacy_context(), NULL);
    EVP_PKEY *key = info ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

/* False when it goes beyond what a file may take. */
static bool take_iterations(struct p12_reader *r, int64_t n)
{
    if (n == HASHED_OTHERWISE)
        return fail_set(r->fail, "its passwords are hashed by something else than PBKDF2");
    if (n > r->iterations)
        return fail_set(r->fail, "its passwords are hashed more than %d times, which takes too long", MOST_ITERATIONS);
    r->iterations -= n;
    return true;
}

static bool check_mac(struct p12_reader *r, PKCS12 *p12)
{
    const ASN1_INTEGER *iterations;
    if (r->password == NULL || !PKCS12_mac_present(p12))
        return true;
    PKCS12_get0_mac(NULL, NULL, NULL, &iterations, p12);
    return take_iterations(r, iterations_of(iterations)) &&
           (PKCS12_verify_mac(p12, r->password, -1) == 1 ||
            keystore_fail(r->fail, "its password is wrong, or it has been tampered with"));
}

/* ---- Safes and bags ---- */

static STACK_OF(PKCS12_SAFEBAG) * open_encrypted(struct p12_reader *r, PKCS7 *safe)
{
    PKCS7_ENCRYPT *sealed = safe->d.encrypted;
    if (sealed == NULL || sealed->enc_data == NULL || sealed->enc_data->enc_data == NULL) {
        fail_set(r->fail, "it is damaged");
        return NULL;
    }
    if (!take_iterations(r, iterations_of_algorithm(sealed->enc_data->algorithm)))
        return NULL;
    STACK_OF(PKCS12_SAFEBAG) *bags = PKCS12_unpack_p7encdata(safe, r->password, -1);
    if (bags == NULL)
        keystore_fail(r->fail, "it cannot be decrypted");
    return bags;
}

static bool p12_read_safe(struct p12_reader *r, PKCS7 *safe)
{
    int type = OBJ_obj2nid(safe->type);
    STACK_OF(PKCS12_SAFEBAG) * bags;
    if (type == NID_pkcs7_encrypted && r->password == NULL) {
        r->passed_over = true;
        return true;
    }
    if (type == NID_pkcs7_data) {
        bags = safe->d.data ? PKCS12_unpack_p7data(safe) : NULL;
        if (bags == NULL)
            return keystore_fail(r->fail, "it is damaged");
    } else if (type == NID_pkcs7_encrypted) {
        bags = open_encrypted(r, safe);
        if (bags == NULL)
            return false;
    } else {
        return fail_set(r->fail, "a part of it is encrypted for the owner of a key, not with a password");
    }
    for (PKCS12_SAFEBAG *bag; (bag = sk_PKCS12_SAFEBAG_shift(bags)) != NULL;)
        sk_PKCS12_SAFEBAG_push(r->bags, bag);
    sk_PKCS12_SAFEBAG_free(bags);
    return true;
}

static bool has_trust_attribute(const PKCS12_SAFEBAG *bag)
{
    ASN1_OBJECT *type = OBJ_txt2obj("2.16.840.1.113894.746875.1.1", 1);
    bool found = X509at_get_attr_by_OBJ(PKCS12_SAFEBAG_get0_attrs(bag), type, -1) >= 0;
    ASN1_OBJECT_free(type);
    return found;
}

static char *alias_of(const PKCS12_SAFEBAG *bag)
{
    char *name = PKCS12_get_friendlyname((PKCS12_SAFEBAG *)(uintptr_t)bag);
    char *alias = xstrdup(name ? name : "");
    for (char *c = alias; *c != '\0'; c++) /* Java does not tell them apart */
        *c = (char)tolower((unsigned char)*c);
    OPENSSL_free(name);
    return alias;
}

static bool p12_read_key(struct p12_reader *r, struct p12_bag *item)
{
    const X509_SIG *sealed = NULL;
    if (r->key_password == NULL)
        return true;
    if (PKCS12_SAFEBAG_get_nid(item->bag) == NID_keyBag) {
        item->key = EVP_PKCS82PKEY(PKCS12_SAFEBAG_get0_p8inf(item->bag));
    } else {
        const X509_ALGOR *algor;
        sealed = PKCS12_SAFEBAG_get0_pkcs8(item->bag);
        X509_SIG_get0(sealed, &algor, NULL);
        if (!take_iterations(r, iterations_of_algorithm(algor)))
            return false;
        item->key = private_key_decrypt(sealed, r->key_password);
    }
    if (item->key != NULL)
        return true;
    char *alias = alias_of(item->bag);
    keystore_fail(r->fail, "the private key of %s cannot be %s", alias,
                  sealed ? "decrypted: is ssl.key.password wrong?" : "read");
    free(alias);
    return false;
}

static bool p12_read_bag(struct p12_reader *r, PKCS12_SAFEBAG *bag)
{
    struct p12_bag *item = &r->items[r->count];
    *item = (struct p12_bag){.bag = bag};
    switch (PKCS12_SAFEBAG_get_nid(bag)) {
    case NID_keyBag:
    case NID_pkcs8ShroudedKeyBag:
        item->is_key = true;
        r->count++;
        return p12_read_key(r, item);
    case NID_certBag:
        if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate)
            return true;
        item->certificate = PKCS12_SAFEBAG_get1_cert(bag);
        item->trusted = has_trust_attribute(bag);
        r->count++;
        return item->certificate != NULL || keystore_fail(r->fail, "a certificate in it cannot be read");
    default:
        return true;
    }
}

static bool p12_read_bags(struct p12_reader *r, PKCS12 *p12)
{
    STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(p12);
    bool ok = safes != NULL || keystore_fail(r->fail, "it is damaged");
    for (int i = 0; ok && i < sk_PKCS7_num(safes); i++)
        ok = p12_read_safe(r, sk_PKCS7_value(safes, i));
    sk_PKCS7_pop_free(safes, PKCS7_free);
    r->items = xcalloc((size_t)sk_PKCS12_SAFEBAG_num(r->bags) + 1, sizeof(*r->items));
    for (int i = 0; ok && i < sk_PKCS12_SAFEBAG_num(r->bags); i++)
        ok = p12_read_bag(r, sk_PKCS12_SAFEBAG_value(r->bags, i));
    return ok;
}

/* ---- Entries ---- */

static const ASN1_OCTET_STRING *local_key_id(const PKCS12_SAFEBAG *bag)
{
    const ASN1_TYPE *value = PKCS12_SAFEBAG_get0_attr(bag, NID_localKeyID);
    return value != NULL && value->type == V_ASN1_OCTET_STRING ? value->value.octet_string : NULL;
}

static bool is_own(const struct p12_bag *key, const struct p12_bag *certificate)
{
    const ASN1_OCTET_STRING *one = local_key_id(key->bag), *other = local_key_id(certificate->bag);
    if (one != NULL && other != NULL)
        return ASN1_OCTET_STRING_cmp(one, other) == 0;
    return key->key != NULL && X509_check_private_key(certificate->certificate, key->key) == 1;
}

static X509 *issuer_of(const struct p12_reader *r, X509 *certificate)
{
    const X509_NAME *issuer = X509_get_issuer_name(certificate);
    for (int i = 0; i < r->count; i++)
        if (r->items[i].certificate != NULL &&
            X509_NAME_cmp(X509_get_subject_name(r->items[i].certificate), issuer) == 0)
            return r->items[i].certificate;
    return NULL;
}

/* Ends with one that signed itself, or with what is not there; one that is there already would come again and again. */
static STACK_OF(X509) * chain_of(const struct p12_reader *r, X509 *own)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    for (X509 *at = own; at != NULL && sk_X509_find(chain, at) < 0; at = issuer_of(r, at)) {
        X509_up_ref(at);
        sk_X509_push(chain, at);
    }
    return chain;
}

static STACK_OF(X509) * chain_of_one(X509 *own)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509_up_ref(own);
    sk_X509_push(chain, own);
    return chain;
}

static void add_entry(const struct p12_reader *r, struct p12_bag *item, struct keystore *out)
{
    X509 *own = item->trusted ? item->certificate : NULL;
    for (int i = 0; item->is_key && own == NULL && i < r->count; i++)
        if (r->items[i].certificate != NULL && is_own(item, &r->items[i]))
            own = r->items[i].certificate;
    if (own == NULL) /* a certificate of a chain, or a key without one */
        return;
    char *alias = alias_of(item->bag);
    if (item->key != NULL)
        EVP_PKEY_up_ref(item->key);
    keystore_add(out, alias, item->key, item->is_key ? chain_of(r, own) : chain_of_one(own));
    free(alias);
}

static void add_entries(const struct p12_reader *r, struct keystore *out)
{
    for (int i = 0; i < r->count; i++)
        add_entry(r, &r->items[i], out);
    ERR_clear_error(); /* of certificates that belong to other keys */
}

static bool explain_empty(const struct p12_reader *r)
{
    const char *why =
        r->passed_over ? "there is nothing in it that can be read without its password" : "there is nothing in it";
    for (int i = 0; i < r->count; i++) {
        if (r->items[i].is_key)
            return fail_set(r->fail, "the private key in it has no certificate");
        why =
            "none of its certificates has the mark by which Java knows what is trusted, which `keytool -importcert` sets";
    }
    return fail_set(r->fail, "%s", r->key_password && r->count > 0 ? "there is no private key in it" : why);
}

bool keystore_read_pkcs12(struct bytes content, const char *password, const char *key_password, struct keystore *out,
                          struct fail *fail)
{
    const uint8_t *at = content.p;
    struct p12_reader r = {password, key_password, MOST_ITERATIONS, .bags = sk_PKCS12_SAFEBAG_new_null(), .fail = fail};
    PKCS12 *p12 = PKCS12_init_ex(NID_pkcs7_data, legacy_context(), NULL); /* which the reader leaves in its context */
    bool ok = d2i_PKCS12(&p12, &at, content.len) != NULL || keystore_fail(fail, "it is damaged");
    ok = ok && check_mac(&r, p12) && p12_read_bags(&r, p12);
    if (ok)
        add_entries(&r, out);
    ok = ok && (out->count > 0 || explain_empty(&r));
    for (int i = 0; i < r.count; i++) {
        EVP_PKEY_free(r.items[i].key);
        X509_free(r.items[i].certificate);
    }
    free(r.items);
    sk_PKCS12_SAFEBAG_pop_free(r.bags, PKCS12_SAFEBAG_free);
    PKCS12_free(p12);
    return ok;
}
