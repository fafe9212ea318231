#include "security/sasl_internal.h"

#include <openssl/crypto.h>

static const struct sasl_mechanism_kind *const kinds[SASL_MECHANISM_COUNT] = {
    [SASL_PLAIN] = &sasl_plain,
    [SASL_SCRAM_SHA_256] = &sasl_scram_sha_256,
    [SASL_SCRAM_SHA_512] = &sasl_scram_sha_512,
    [SASL_OAUTHBEARER] = &sasl_oauthbearer,
    [SASL_GSSAPI] = &sasl_gssapi,
};

const char *sasl_mechanism_name(enum sasl_mechanism mechanism)
{
    ensure(mechanism < SASL_MECHANISM_COUNT);
    return kinds[mechanism]->name;
}

bool sasl_mechanism_parse(struct str name, enum sasl_mechanism *out)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_is(name, kinds[i]->name)) {
            *out = (enum sasl_mechanism)i;
            return true;
        }
    }
    return false;
}

void sasl_say(struct sasl_step *out, enum sasl_outcome outcome, struct bytes answer)
{
    *out = (struct sasl_step){.outcome = outcome, .answer = answer};
}

void sasl_refuse(struct sasl_step *out, const char *refusal, const char *reason)
{
    *out = (struct sasl_step){.outcome = SASL_REFUSED, .refusal = refusal, .reason = reason};
}

bool sasl_is_secret(struct str given, const char *secret)
{
    size_t len = strlen(secret);
    return (size_t)given.len == len && CRYPTO_memcmp(given.p, secret, len) == 0;
}

/* ---- The server's side ---- */

struct sasl_server *sasl_server_new(const struct sasl_login *login)
{
    struct sasl_server *s = xcalloc(1, sizeof(*s));
    s->login = login;
    return s;
}

void sasl_server_step(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out)
{
    *out = (struct sasl_step){.outcome = SASL_REFUSED};
    kinds[s->login->mechanism]->serve(s, token, a, out);
    s->stage++;
}

const struct sasl_identity *sasl_server_identity(const struct sasl_server *s)
{
    ensure(s->identity.name.p != NULL);
    return &s->identity;
}

void sasl_server_free(struct sasl_server *s)
{
    if (s == NULL)
        return;
    if (kinds[s->login->mechanism]->end != NULL)
        kinds[s->login->mechanism]->end(s->state);
    token_life_unref(s->identity.token);
    arena_wipe(&s->memory);
    free(s);
}

/* ---- The client's side ---- */

struct sasl_client *sasl_client_new(const struct sasl_login *login, const char *host)
{
    struct sasl_client *c = xcalloc(1, sizeof(*c));
    c->login = login;
    c->host = arena_cstr(&c->memory, str_of(host));
    return c;
}

void sasl_client_step(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    *out = (struct sasl_step){.outcome = SASL_REFUSED};
    kinds[c->login->mechanism]->ask(c, challenge, a, out);
    c->stage++;
}

void sasl_client_free(struct sasl_client *c)
{
    if (c == NULL)
        return;
    if (kinds[c->login->mechanism]->end != NULL)
        kinds[c->login->mechanism]->end(c->state);
    arena_wipe(&c->memory);
    free(c);
}
