#include "security/jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "base/base64.h"

enum { LEAST_RSA_BITS = 2048, MOST_KEY_BYTES = 2048 };

/* ---- Tokens ---- */

static bool jwt_take_part(struct str *rest, struct str *part)
{
    const char *dot = rest->len > 0 ? memchr(rest->p, '.', (size_t)rest->len) : NULL;
    if (dot == NULL)
        return false;
    *part = (struct str){rest->p, (int32_t)(dot - rest->p)};
    *rest = (struct str){dot + 1, rest->len - part->len - 1};
    return true;
}

static json_t *load_object(struct str coded, struct arena *a)
{
    struct bytes text;
    if (!base64url_decode(coded, a, &text))
        return NULL;
    json_t *json = json_loadb((const char *)text.p, (size_t)text.len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

bool jwt_parse(struct str token, struct arena *a, struct jwt *out, struct fail *fail)
{
    struct str rest = token, header, claims;
    *out = (struct jwt){0};
    if (jwt_take_part(&rest, &header) && jwt_take_part(&rest, &claims) && base64url_decode(rest, a, &out->signature)) {
        out->signed_text = (struct str){token.p, header.len + 1 + claims.len};
        out->header = load_object(header, a);
        out->claims = load_object(claims, a);
    }
    if (out->header != NULL && out->claims != NULL)
        return true;
    jwt_deinit(out);
    return fail_set(fail, "this is no token: it has not the form of a JWS");
}

void jwt_deinit(struct jwt *token)
{
    json_decref(token->header);
    json_decref(token->claims);
    token->header = token->claims = NULL;
}

const char *jwt_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

bool jwt_time(const struct jwt *token, const char *claim, double *out)
{
    const json_t *value = json_object_get(token->claims, claim);
    *out = json_number_value(value);
    return json_is_number(value);
}

int64_t jwt_ms(double seconds)
{
    static const double most = 1e12;
    return (int64_t)(1000 * MIN(MAX(seconds, -most), most));
}

/* ---- Keys ---- */

enum jwk_kind { JWK_RSA, JWK_EC };

struct jwk {
    enum jwk_kind kind;
    char *id, *algorithm; /* NULL: it names none */
    const char *curve;    /* of an EC key */
    EVP_PKEY *key;
};

struct jwks {
    struct jwk *keys;
    size_t count;
};

static const struct curve {
    const char *name;
    int size; /* of a coordinate, and of half a signature */
} curves[] = {{"P-256", 32}, {"P-384", 48}, {"P-521", 66}};

static const struct curve *find_curve(const char *name)
{
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(curves); i++)
        if (strcmp(curves[i].name, name) == 0)
            return &curves[i];
    return NULL;
}

static bool read_member(const json_t *jwk, const char *name, struct arena *a, struct bytes *out)
{
    const char *text = jwt_text(jwk, name);
    return text != NULL && strlen(text) < MOST_KEY_BYTES && base64url_decode(str_of(text), a, out) && out->len > 0;
}

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (params != NULL && ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        if (EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
            key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *rsa_key(const json_t *jwk, struct arena *a)
{
    struct bytes n, e;
    if (!read_member(jwk, "n", a, &n) || !read_member(jwk, "e", a, &e))
        return NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn(n.p, n.len, NULL), *exponent = BN_bin2bn(e.p, e.len, NULL);
    EVP_PKEY *key = NULL;
    if (build != NULL && modulus != NULL && exponent != NULL && BN_num_bits(modulus) >= LEAST_RSA_BITS &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = key_from("RSA", build);
    OSSL_PARAM_BLD_free(build);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *ec_key(const json_t *jwk, const struct curve *curve, struct arena *a)
{
    struct bytes x, y;
    if (curve == NULL || !read_member(jwk, "x", a, &x) || !read_member(jwk, "y", a, &y) || x.len != curve->size ||
        y.len != curve->size)
        return NULL;
    size_t size = (size_t)curve->size;
    uint8_t *point = arena_alloc(a, 2 * size + 1);
    point[0] = POINT_CONVERSION_UNCOMPRESSED;
    memcpy(point + 1, x.p, size);
    memcpy(point + 1 + size, y.p, size);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (build != NULL && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve->name, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 2 * size + 1) == 1)
        key = key_from("EC", build);
    OSSL_PARAM_BLD_free(build);
    return key;
}

/* False: it is none that could sign. */
static bool read_jwk(const json_t *jwk, struct jwk *out)
{
    struct arena a = {0};
    const char *type = jwt_text(jwk, "kty"), *use = jwt_text(jwk, "use");
    const char *id = jwt_text(jwk, "kid"), *algorithm = jwt_text(jwk, "alg");
    const struct curve *curve = find_curve(jwt_text(jwk, "crv"));
    *out = (struct jwk){.kind = JWK_RSA};
    if (type != NULL && (use == NULL || strcmp(use, "sig") == 0)) {
        if (strcmp(type, "RSA") == 0) {
            out->key = rsa_key(jwk, &a);
        } else if (strcmp(type, "EC") == 0) {
            out->kind = JWK_EC;
            out->curve = curve != NULL ? curve->name : NULL;
            out->key = ec_key(jwk, curve, &a);
        }
    }
    ERR_clear_error();
    arena_deinit(&a);
    if (out->key == NULL)
        return false;
    out->id = id != NULL ? xstrdup(id) : NULL;
    out->algorithm = algorithm != NULL ? xstrdup(algorithm) : NULL;
    return true;
}

struct jwks *jwks_parse(struct bytes text, struct fail *fail)
{
    json_t *json = json_loadb((const char *)text.p, (size_t)text.len, 0, NULL), *list = json_object_get(json, "keys");
    struct jwks *keys = xcalloc(1, sizeof(*keys));
    keys->keys = xcalloc(json_array_size(list) + 1, sizeof(*keys->keys));
    for (size_t i = 0; i < json_array_size(list); i++)
        keys->count += read_jwk(json_array_get(list, i), &keys->keys[keys->count]);
    bool is_set = json_is_array(list);
    json_decref(json);
    if (keys->count > 0)
        return keys;
    jwks_free(keys);
    fail_set(fail, is_set ? "none of its keys is one of RSA or EC that could sign" : "it is no JSON Web Key Set");
    return NULL;
}

void jwks_free(struct jwks *keys)
{
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->count; i++) {
        free(keys->keys[i].id);
        free(keys->keys[i].algorithm);
        EVP_PKEY_free(keys->keys[i].key);
    }
    free(keys->keys);
    free(keys);
}

/* ---- Signatures ---- */

static const struct jws_algorithm {
    const char *name, *digest;
    enum jwk_kind kind;
    bool pss;
    const char *curve;
} jws_algorithms[] = {
    {"RS256", "SHA256", JWK_RSA, false, NULL},   {"RS384", "SHA384", JWK_RSA, false, NULL},
    {"RS512", "SHA512", JWK_RSA, false, NULL},   {"PS256", "SHA256", JWK_RSA, true, NULL},
    {"PS384", "SHA384", JWK_RSA, true, NULL},    {"PS512", "SHA512", JWK_RSA, true, NULL},
    {"ES256", "SHA256", JWK_EC, false, "P-256"}, {"ES384", "SHA384", JWK_EC, false, "P-384"},
    {"ES512", "SHA512", JWK_EC, false, "P-521"},
};

static const struct jws_algorithm *find_algorithm(const char *name)
{
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(jws_algorithms); i++)
        if (strcmp(jws_algorithms[i].name, name) == 0)
            return &jws_algorithms[i];
    return NULL;
}

/* Two numbers of fixed size, one behind the other, as what OpenSSL takes. */
static bool der_signature(struct bytes raw, const struct curve *curve, struct arena *a, struct bytes *out)
{
    if (raw.len != 2 * curve->size)
        return false;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.p, curve->size, NULL), *s = BN_bin2bn(raw.p + curve->size, curve->size, NULL);
    uint8_t *der = NULL;
    int len = -1;
    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* the signature's now */
        len = i2d_ECDSA_SIG(sig, &der);
    }
    if (len > 0)
        *out = (struct bytes){arena_copy(a, der, (size_t)len), len};
    OPENSSL_free(der);
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return len > 0;
}

static bool verify_by(const struct jwk *k, const struct jws_algorithm *algorithm, const struct jwt *token)
{
    struct arena a = {0};
    struct bytes signature = token->signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how = NULL;
    bool ok = ctx != NULL && (k->kind != JWK_EC || der_signature(signature, find_curve(k->curve), &a, &signature)) &&
              EVP_DigestVerifyInit_ex(ctx, &how, algorithm->digest, NULL, NULL, k->key, NULL) == 1;
    if (ok && algorithm->pss)
        ok = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestVerify(ctx, signature.p, (size_t)signature.len, (const uint8_t *)token->signed_text.p,
                                (size_t)token->signed_text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    arena_deinit(&a);
    return ok;
}

static bool is_key_for(const struct jwk *k, const struct jws_algorithm *algorithm, const char *id)
{
    return k->kind == algorithm->kind && (id == NULL || (k->id != NULL && strcmp(k->id, id) == 0)) &&
           (k->algorithm == NULL || strcmp(k->algorithm, algorithm->name) == 0) &&
           (algorithm->curve == NULL || strcmp(k->curve, algorithm->curve) == 0);
}

enum jwt_verdict jwt_verify(const struct jwt *token, const struct jwks *keys, struct fail *fail)
{
    const char *id = jwt_text(token->header, "kid");
    const struct jws_algorithm *algorithm = find_algorithm(jwt_text(token->header, "alg"));
    bool known = false;
    if (algorithm == NULL || json_object_get(token->header, "crit") != NULL) {
        fail_set(fail, "the token is not signed, or in a way that is not known here");
        return JWT_REFUSED;
    }
    for (size_t i = 0; i < keys->count; i++) {
        if (!is_key_for(&keys->keys[i], algorithm, id))
            continue;
        known = true;
        if (verify_by(&keys->keys[i], algorithm, token))
            return JWT_SIGNED;
    }
    fail_set(fail, known ? "the token's signature is wrong" : "the token is signed by a key that is not known here");
    return known ? JWT_REFUSED : JWT_KEY_UNKNOWN;
}
