/*
 * SCRAM (RFC 5802, RFC 7677, KIP-84), without channel binding, and with Kafka's extension tokenauth=true for delegation
 * tokens (KIP-48).
 *
 *     client  n,[a=AUTHZID],n=USER,r=NONCE[,EXTENSIONS]
 *     server  r=NONCE+OURS,s=SALT,i=ITERATIONS
 *     client  c=biws,r=NONCE+OURS,p=PROOF
 *     server  v=SIGNATURE
 *
 * What is signed is what was sent, not what was understood of it.
 */
#include <openssl/crypto.h>

#include "base/base64.h"
#include "base/chance.h"
#include "base/strbuf.h"
#include "security/sasl_internal.h"

enum { NONCE_BYTES = 18, MOST_ITERATIONS_ASKED = 1 << 22 };

struct scram {
    enum scram_mechanism m;
    struct scram_credential credential;
    struct str user, authorization_id;
    struct str nonce;        /* the client's, and from the server's first message on both */
    struct str auth_message; /* as far as it goes */
    struct bytes server_signature;
};

static struct str token_text(struct bytes token)
{
    return (struct str){(const char *)token.p, token.len};
}

/* ---- Parts of messages ---- */

/* Takes "K=value" and a comma behind it off the front. */
static bool take_attribute(struct str *rest, char key, struct str *value)
{
    if (rest->len < 2 || rest->p[0] != key || rest->p[1] != '=')
        return false;
    const char *p = rest->p + 2, *end = rest->p + rest->len, *comma = memchr(p, ',', (size_t)(end - p));
    *value = (struct str){p, (int32_t)((comma != NULL ? comma : end) - p)};
    const char *next = comma != NULL ? comma + 1 : end;
    *rest = (struct str){next, (int32_t)(end - next)};
    return true;
}

/* =2C and =3D are , and = in a name. */
static bool decode_name(struct str coded, struct arena *a, struct str *out)
{
    char *p = arena_alloc(a, (size_t)coded.len + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < coded.len; i++) {
        p[n++] = coded.p[i];
        if (coded.p[i] != '=')
            continue;
        if (coded.len - i < 3 || (memcmp(coded.p + i, "=2C", 3) != 0 && memcmp(coded.p + i, "=3D", 3) != 0))
            return false;
        p[n - 1] = coded.p[i + 1] == '2' ? ',' : '=';
        i += 2;
    }
    *out = (struct str){p, n};
    return n > 0;
}

static void add_user_name(struct strbuf *out, const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == ',' || *name == '=')
            strbuf_puts(out, *name == ',' ? "=2C" : "=3D");
        else
            strbuf_add(out, name, 1);
    }
}

static bool is_printable(struct str s)
{
    for (int32_t i = 0; i < s.len; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    return s.len > 0;
}

static bool has_extension(struct str rest, const char *wanted)
{
    size_t len = strlen(wanted);
    for (const char *p = rest.p, *end = rest.p + rest.len, *comma; p < end; p = comma + 1) {
        comma = memchr(p, ',', (size_t)(end - p));
        comma = comma != NULL ? comma : end;
        if ((size_t)(comma - p) == len && memcmp(p, wanted, len) == 0)
            return true;
    }
    return false;
}

static struct str take_text(struct strbuf *text, struct arena *a)
{
    struct str copy = arena_str(a, (struct str){text->p, (int32_t)text->len});
    strbuf_deinit(text);
    return copy;
}

static struct str make_nonce(struct arena *a)
{
    uint8_t noise[NONCE_BYTES];
    struct strbuf text = {0};
    chance_fill(noise, sizeof(noise));
    base64_add(&text, (struct bytes){noise, sizeof(noise)});
    return take_text(&text, a);
}

static struct bytes token_of(struct strbuf *text, struct arena *a)
{
    struct str copy = take_text(text, a);
    return (struct bytes){(const uint8_t *)copy.p, copy.len};
}

/* ---- The server's side ---- */

struct first_message {
    struct str bare, authorization_id, user, nonce, extensions;
};

static bool read_first(struct str message, struct arena *a, struct first_message *out)
{
    struct str rest = message, coded;
    *out = (struct first_message){.authorization_id = STR_LIT("")};
    if (rest.len < 3 || memcmp(rest.p, "n,", 2) != 0)
        return false; /* y and p are for who can bind channels */
    rest = (struct str){rest.p + 2, rest.len - 2};
    if (rest.p[0] == ',')
        rest = (struct str){rest.p + 1, rest.len - 1};
    else if (!take_attribute(&rest, 'a', &coded) || !decode_name(coded, a, &out->authorization_id))
        return false;
    out->bare = rest;
    if (!take_attribute(&rest, 'n', &coded) || !decode_name(coded, a, &out->user) ||
        !take_attribute(&rest, 'r', &out->nonce))
        return false;
    out->extensions = rest;
    return is_printable(out->nonce) && !str_has_zero(out->user);
}

static bool find_credential(struct sasl_server *s, struct scram *x, struct str extensions)
{
    const struct sasl_accounts *accounts = s->login->accounts;
    if (!has_extension(extensions, "tokenauth=true")) {
        s->identity.name = x->user;
        return accounts->scram(accounts->ctx, x->m, x->user, &s->memory, &x->credential);
    }
    struct sasl_token_login token;
    if (accounts->token == NULL || !accounts->token(accounts->ctx, x->m, x->user, &s->memory, &token))
        return false;
    s->identity.name = token.owner;
    s->identity.expires_ms = token.expires_ms;
    s->identity.token = token.life;
    x->credential = token.credential;
    return true;
}

static void serve_first(struct sasl_server *s, enum scram_mechanism m, struct bytes token, struct arena *a,
                        struct sasl_step *out)
{
    struct scram *x = s->state = ARENA_NEW(&s->memory, struct scram);
    struct first_message first;
    x->m = m;
    if (!read_first(token_text(token), &s->memory, &first)) {
        sasl_refuse(out, NULL, "the first message is malformed");
        return;
    }
    x->user = first.user;
    x->authorization_id = first.authorization_id;
    if (!find_credential(s, x, first.extensions)) {
        sasl_refuse(out, NULL, "no credentials for such a user and mechanism");
        return;
    }
    if (x->authorization_id.len > 0 && !str_eq(x->authorization_id, x->user)) {
        sasl_refuse(out, "Authentication failed: Client requested an authorization id that is different from username",
                    "the authorization id is another's");
        return;
    }
    if (x->credential.iterations < SCRAM_MIN_ITERATIONS) {
        sasl_refuse(out, NULL, "the user's credentials have too few iterations");
        return;
    }
    struct str ours = make_nonce(a);
    struct strbuf text = {0};
    strbuf_printf(&text, "%.*s%.*s", STR_ARGS(first.nonce), STR_ARGS(ours));
    x->nonce = take_text(&text, &s->memory);
    strbuf_printf(&text, "r=%.*s,s=", STR_ARGS(x->nonce));
    base64_add(&text, x->credential.salt);
    strbuf_printf(&text, ",i=%d", (int)x->credential.iterations);
    struct bytes answer = token_of(&text, a);
    strbuf_printf(&text, "%.*s,%.*s,", STR_ARGS(first.bare), STR_ARGS(token_text(answer)));
    x->auth_message = take_text(&text, &s->memory);
    sasl_say(out, SASL_GOES_ON, answer);
}

/* Older versions of librdkafka put their own nonce before it once more; Kafka's broker takes that, too. */
static bool is_nonce(const struct scram *x, struct str given)
{
    int32_t more = given.len - x->nonce.len;
    return more >= 0 && memcmp(given.p + more, x->nonce.p, (size_t)x->nonce.len) == 0;
}

/* c=...,r=...[,extensions],p=PROOF: what stands before the proof is signed. */
static bool read_final(const struct scram *x, struct str message, struct arena *a, struct str *unproven,
                       struct bytes *proof)
{
    struct str rest = message, binding, nonce, coded;
    struct bytes bound;
    const char *at = memmem(message.p, (size_t)message.len, ",p=", 3);
    if (at == NULL || !take_attribute(&rest, 'c', &binding) || !take_attribute(&rest, 'r', &nonce))
        return false;
    *unproven = (struct str){message.p, (int32_t)(at - message.p)};
    coded = (struct str){at + 3, (int32_t)(message.p + message.len - at - 3)};
    return base64_decode(binding, a, &bound) && is_nonce(x, nonce) && base64_decode(coded, a, proof);
}

static bool is_proven(const struct scram *x, struct str signed_text, struct bytes proof, struct arena *a)
{
    struct bytes stored = x->credential.stored_key, signature = scram_hmac(x->m, stored, signed_text, a);
    if (proof.len != signature.len)
        return false;
    struct bytes hashed = scram_hash(x->m, scram_xor(proof, signature, a), a);
    return hashed.len == stored.len && CRYPTO_memcmp(hashed.p, stored.p, (size_t)stored.len) == 0;
}

static void serve_final(struct scram *x, struct bytes token, struct arena *a, struct sasl_step *out)
{
    struct str unproven;
    struct bytes proof;
    struct strbuf text = {0};
    if (!read_final(x, token_text(token), a, &unproven, &proof)) {
        sasl_refuse(out, NULL, "the final message is malformed, or its nonce another");
        return;
    }
    strbuf_printf(&text, "%.*s%.*s", STR_ARGS(x->auth_message), STR_ARGS(unproven));
    struct str signed_text = take_text(&text, a);
    if (!is_proven(x, signed_text, proof, a)) {
        sasl_refuse(out, NULL, "another password");
        return;
    }
    strbuf_puts(&text, "v=");
    base64_add(&text, scram_hmac(x->m, x->credential.server_key, signed_text, a));
    sasl_say(out, SASL_DONE, token_of(&text, a));
}

static void scram_serve(struct sasl_server *s, enum scram_mechanism m, struct bytes token, struct arena *a,
                        struct sasl_step *out)
{
    if (s->stage == 0)
        serve_first(s, m, token, a, out);
    else
        serve_final(s->state, token, a, out);
}

/* ---- The client's side ---- */

static void ask_first(struct sasl_client *c, enum scram_mechanism m, struct arena *a, struct sasl_step *out)
{
    struct scram *x = c->state = ARENA_NEW(&c->memory, struct scram);
    const char *user = jaas_option(&c->login->module, "username");
    const char *by_token = jaas_option(&c->login->module, "tokenauth");
    struct strbuf text = {0};
    x->m = m;
    if (user == NULL || jaas_option(&c->login->module, "password") == NULL) {
        sasl_refuse(out, NULL, "the JAAS configuration has no username or no password");
        return;
    }
    x->nonce = make_nonce(&c->memory);
    strbuf_puts(&text, "n=");
    add_user_name(&text, user);
    strbuf_printf(&text, ",r=%.*s", STR_ARGS(x->nonce));
    if (by_token != NULL && strcmp(by_token, "true") == 0)
        strbuf_puts(&text, ",tokenauth=true");
    x->auth_message = take_text(&text, &c->memory);
    strbuf_printf(&text, "n,,%.*s", STR_ARGS(x->auth_message));
    sasl_say(out, SASL_GOES_ON, token_of(&text, a));
}

static bool message_begins_with(struct str s, struct str start)
{
    return s.len > start.len && memcmp(s.p, start.p, (size_t)start.len) == 0;
}

static bool read_challenge(struct scram *x, struct str message, struct arena *a, struct bytes *salt,
                           int32_t *iterations)
{
    struct str rest = message, nonce, coded, count;
    if (!take_attribute(&rest, 'r', &nonce) || !take_attribute(&rest, 's', &coded) ||
        !take_attribute(&rest, 'i', &count))
        return false;
    if (!message_begins_with(nonce, x->nonce) || !base64_decode(coded, a, salt) || !str_to_int32(count, iterations))
        return false;
    x->nonce = nonce;
    return *iterations >= SCRAM_MIN_ITERATIONS && *iterations <= MOST_ITERATIONS_ASKED;
}

static void ask_final(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    struct scram *x = c->state;
    struct str password = str_of(jaas_option(&c->login->module, "password"));
    struct bytes salt;
    int32_t iterations;
    struct strbuf text = {0};
    if (!read_challenge(x, token_text(challenge), a, &salt, &iterations)) {
        sasl_refuse(out, NULL, "the server's first message is malformed, or asks for too few iterations or too many");
        return;
    }
    strbuf_printf(&text, "c=biws,r=%.*s", STR_ARGS(x->nonce));
    struct str unproven = take_text(&text, a);
    strbuf_printf(&text, "%.*s,%.*s,%.*s", STR_ARGS(x->auth_message), STR_ARGS(token_text(challenge)),
                  STR_ARGS(unproven));
    struct str signed_text = take_text(&text, a);
    struct bytes salted =
        scram_salted_password(x->m, (struct bytes){(const uint8_t *)password.p, password.len}, salt, iterations, a);
    struct scram_credential mine = scram_credential_of(x->m, salted, salt, iterations, a);
    struct bytes signature = scram_hmac(x->m, mine.stored_key, signed_text, a);
    x->server_signature = scram_hmac(x->m, mine.server_key, signed_text, &c->memory);
    strbuf_printf(&text, "%.*s,p=", STR_ARGS(unproven));
    base64_add(&text, scram_xor(scram_client_key(x->m, salted, a), signature, a));
    sasl_say(out, SASL_GOES_ON, token_of(&text, a));
}

/* The server knows the password, too, or a key made of it. */
static void ask_end(const struct scram *x, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    struct str rest = token_text(challenge), coded;
    struct bytes signature, expected = x->server_signature;
    bool ok = take_attribute(&rest, 'v', &coded) && base64_decode(coded, a, &signature) &&
              signature.len == expected.len && CRYPTO_memcmp(signature.p, expected.p, (size_t)expected.len) == 0;
    if (ok)
        sasl_say(out, SASL_DONE, (struct bytes){NULL, 0});
    else
        sasl_refuse(out, NULL, "the server's signature is not that of who knows the password");
}

static void scram_ask(struct sasl_client *c, enum scram_mechanism m, struct bytes challenge, struct arena *a,
                      struct sasl_step *out)
{
    if (c->stage == 0)
        ask_first(c, m, a, out);
    else if (c->stage == 1)
        ask_final(c, challenge, a, out);
    else
        ask_end(c->state, challenge, a, out);
}

/* ---- Both hashes ---- */

static void serve_256(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out)
{
    scram_serve(s, SCRAM_SHA_256, token, a, out);
}

static void serve_512(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out)
{
    scram_serve(s, SCRAM_SHA_512, token, a, out);
}

static void ask_256(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    scram_ask(c, SCRAM_SHA_256, challenge, a, out);
}

static void ask_512(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    scram_ask(c, SCRAM_SHA_512, challenge, a, out);
}

const struct sasl_mechanism_kind sasl_scram_sha_256 = {"SCRAM-SHA-256", serve_256, ask_256, NULL};
const struct sasl_mechanism_kind sasl_scram_sha_512 = {"SCRAM-SHA-512", serve_512, ask_512, NULL};
