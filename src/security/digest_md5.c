#include "security/digest_md5.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/strbuf.h"

enum { MD5_BYTES = 16 };

/* ---- Directives ---- */

static const char *skip_gap(const char *p, const char *end)
{
    while (p < end && (*p == ',' || *p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p;
}

/* A value with or without quotes, in which a backslash makes the next character a plain one. */
static const char *directive_take_value(const char *p, const char *end, struct arena *a, struct str *out)
{
    char *value = arena_alloc(a, (size_t)(end - p) + 1);
    int32_t n = 0;
    bool quoted = p < end && *p == '"';
    p += quoted;
    while (p < end && *p != (quoted ? '"' : ',')) {
        if (quoted && *p == '\\' && ++p == end)
            return NULL;
        value[n++] = *p++;
    }
    if (quoted && p == end)
        return NULL;
    *out = (struct str){value, n};
    return p + quoted;
}

/* The value of the first directive of that name. False: there is none, or the text is malformed. */
static bool directive_find(struct str text, const char *name, struct arena *a, struct str *out)
{
    const char *p = text.p, *end = text.p + text.len;
    for (p = skip_gap(p, end); p < end; p = skip_gap(p, end)) {
        const char *equals = memchr(p, '=', (size_t)(end - p));
        if (equals == NULL)
            return false;
        struct str key = {p, (int32_t)(equals - p)};
        p = directive_take_value(equals + 1, end, a, out);
        if (p == NULL)
            return false;
        if (str_is(key, name))
            return true;
    }
    return false;
}

static void quote(struct strbuf *b, const char *name, struct str value)
{
    strbuf_printf(b, "%s=\"", name);
    for (int32_t i = 0; i < value.len; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\')
            strbuf_puts(b, "\\");
        strbuf_add(b, &value.p[i], 1);
    }
    strbuf_puts(b, "\",");
}

/* ---- Hashes ---- */

static bool hash(const struct strbuf *text, uint8_t out[MD5_BYTES])
{
    return EVP_Digest(text->p, text->len, out, NULL, EVP_md5(), NULL) == 1;
}

static void hex_of(const uint8_t bytes[MD5_BYTES], char out[DIGEST_HEX + 1])
{
    for (int i = 0; i < MD5_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* What Latin-1 can say is hashed as Latin-1, everything else as UTF-8. */
static void digest_add_name(struct strbuf *b, struct str text)
{
    size_t before = b->len;
    for (int32_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.p[i], next = i + 1 < text.len ? (uint8_t)text.p[i + 1] : 0;
        if (c >= 0x80) {
            if ((c != 0xc2 && c != 0xc3) || (next & 0xc0) != 0x80) {
                b->len = before;
                strbuf_str(b, text);
                return;
            }
            c = (uint8_t)((c << 6) | (next & 0x3f));
            i++;
        }
        strbuf_add(b, &c, 1);
    }
}

struct digest_parts {
    const struct digest_login *login;
    struct str realm, nonce;
    const char *cnonce;
};

/* The hash over user and password that everything else is made of. */
static bool hash_secret(const struct digest_parts *parts, char out[DIGEST_HEX + 1])
{
    uint8_t bytes[MD5_BYTES];
    struct strbuf b = {0};
    digest_add_name(&b, str_of(parts->login->user));
    strbuf_puts(&b, ":");
    digest_add_name(&b, parts->realm);
    strbuf_puts(&b, ":");
    digest_add_name(&b, str_of(parts->login->password));
    bool ok = hash(&b, bytes);
    OPENSSL_cleanse(b.p, b.len);
    strbuf_clear(&b);
    strbuf_add(&b, bytes, sizeof(bytes));
    strbuf_printf(&b, ":%.*s:%s", STR_ARGS(parts->nonce), parts->cnonce);
    ok = ok && hash(&b, bytes);
    hex_of(bytes, out);
    strbuf_deinit(&b);
    return ok;
}

/* `action` is AUTHENTICATE of a client, nothing of a server. */
static bool hash_proof(const struct digest_parts *parts, const char *secret, const char *action,
                       char out[DIGEST_HEX + 1])
{
    uint8_t bytes[MD5_BYTES];
    struct strbuf b = {0};
    strbuf_printf(&b, "%s:%s", action, parts->login->uri);
    bool ok = hash(&b, bytes);
    hex_of(bytes, out);
    strbuf_clear(&b);
    strbuf_printf(&b, "%s:%.*s:00000001:%s:auth:%s", secret, STR_ARGS(parts->nonce), parts->cnonce, out);
    ok = ok && hash(&b, bytes);
    hex_of(bytes, out);
    strbuf_deinit(&b);
    return ok;
}

/* ---- The conversation ---- */

static struct str answer_text(const struct digest_parts *parts, const char *proof, bool utf8, struct arena *a)
{
    struct strbuf b = {0};
    if (utf8)
        strbuf_puts(&b, "charset=utf-8,");
    quote(&b, "username", str_of(parts->login->user));
    quote(&b, "realm", parts->realm);
    quote(&b, "nonce", parts->nonce);
    strbuf_puts(&b, "nc=00000001,");
    quote(&b, "cnonce", str_of(parts->cnonce));
    quote(&b, "digest-uri", str_of(parts->login->uri));
    strbuf_printf(&b, "response=%s,qop=auth", proof);
    struct str text = arena_str(a, (struct str){b.p, (int32_t)b.len});
    strbuf_deinit(&b);
    return text;
}

bool digest_md5_respond(const struct digest_login *login, struct str challenge, const char *cnonce, struct arena *a,
                        struct digest_answer *out, struct fail *fail)
{
    struct digest_parts parts = {.login = login, .cnonce = cnonce};
    struct str algorithm, charset;
    char secret[DIGEST_HEX + 1], proof[DIGEST_HEX + 1];
    if (!directive_find(challenge, "nonce", a, &parts.nonce) ||
        !directive_find(challenge, "algorithm", a, &algorithm) || !str_is(algorithm, "md5-sess"))
        return fail_set(fail, "its challenge is none of DIGEST-MD5");
    if (!directive_find(challenge, "realm", a, &parts.realm))
        parts.realm = (struct str){"", 0};
    bool utf8 = directive_find(challenge, "charset", a, &charset) && str_is(charset, "utf-8");
    if (!hash_secret(&parts, secret) || !hash_proof(&parts, secret, "AUTHENTICATE", proof) ||
        !hash_proof(&parts, secret, "", out->proof))
        return fail_set(fail, "OpenSSL gives no MD5 here, which DIGEST-MD5 is made of");
    out->text = answer_text(&parts, proof, utf8, a);
    OPENSSL_cleanse(secret, sizeof(secret));
    return true;
}

bool digest_md5_check(const struct digest_answer *answer, struct str last_word, struct arena *a)
{
    struct str proof;
    return directive_find(last_word, "rspauth", a, &proof) && proof.len == DIGEST_HEX &&
           CRYPTO_memcmp(proof.p, answer->proof, DIGEST_HEX) == 0;
}
