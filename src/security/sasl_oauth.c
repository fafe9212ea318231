/*
 * OAUTHBEARER (RFC 7628, KIP-255): the client shows a token.
 *
 *     client  n,[a=AUTHZID],\1auth=Bearer TOKEN\1[KEY=VALUE\1...]\1
 *     server  (nothing)                        or  {"status":"invalid_token"}
 *     client                                       \1
 *     server                                       refused
 */
#include "base/strbuf.h"
#include "security/oauth.h"
#include "security/sasl_internal.h"

enum { SEPARATOR = 1 };

struct bearer_message {
    struct str authorization_id, token;
};

/* ---- The server's side ---- */

static bool is_saslname(struct str s)
{
    for (int32_t i = 0; i < s.len; i++) {
        bool coded = s.len - i >= 3 && (memcmp(s.p + i, "=2C", 3) == 0 || memcmp(s.p + i, "=3D", 3) == 0);
        if (s.p[i] <= 0 || s.p[i] == ',' || (s.p[i] == '=' && !coded))
            return false;
    }
    return s.len > 0;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_printable_value(struct str s)
{
    for (int32_t i = 0; i < s.len; i++)
        if ((s.p[i] < 0x21 || s.p[i] > 0x7e) && memchr(" \t\r\n", s.p[i], 4) == NULL)
            return false;
    return s.len > 0;
}

/* "Bearer", blanks, and a token without any. */
static bool read_bearer(struct str value, struct str *token)
{
    static const char scheme[] = "bearer";
    int32_t at = (int32_t)sizeof(scheme) - 1;
    if (value.len <= at || strncasecmp(value.p, scheme, (size_t)at) != 0 || value.p[at] != ' ')
        return false;
    while (at < value.len && value.p[at] == ' ')
        at++;
    *token = (struct str){value.p + at, value.len - at};
    for (int32_t i = 0; i < token->len; i++)
        if (!is_letter(token->p[i]) && (token->p[i] < '0' || token->p[i] > '9') &&
            memchr("-_~+/.=", token->p[i], 7) == NULL)
            return false;
    return token->len > 0;
}

/* KEY=VALUE and the separator behind it. */
static bool take_pair(struct str *rest, struct str *key, struct str *value)
{
    const char *end = rest->len > 0 ? memchr(rest->p, SEPARATOR, (size_t)rest->len) : NULL;
    if (end == NULL)
        return false;
    struct str pair = {rest->p, (int32_t)(end - rest->p)};
    int32_t n = 0;
    while (n < pair.len && is_letter(pair.p[n]))
        n++;
    if (n == 0 || n == pair.len || pair.p[n] != '=')
        return false;
    *key = (struct str){pair.p, n};
    *value = (struct str){pair.p + n + 1, pair.len - n - 1};
    *rest = (struct str){end + 1, rest->len - pair.len - 1};
    return is_printable_value(*value);
}

static bool read_bearer_message(struct bytes message, struct bearer_message *out)
{
    struct str rest = {(const char *)message.p, message.len}, key, value, auth = STR_NULL;
    *out = (struct bearer_message){.authorization_id = STR_LIT("")};
    const char *comma =
        rest.len > 2 && memcmp(rest.p, "n,", 2) == 0 ? memchr(rest.p + 2, ',', (size_t)rest.len - 2) : NULL;
    if (comma == NULL)
        return false;
    struct str name = {rest.p + 2, (int32_t)(comma - rest.p - 2)};
    rest = (struct str){comma + 1, (int32_t)(rest.p + rest.len - comma - 1)};
    if (name.len > 0) {
        out->authorization_id = (struct str){name.p + 2, name.len - 2};
        if (name.len < 3 || memcmp(name.p, "a=", 2) != 0 || !is_saslname(out->authorization_id))
            return false;
    }
    if (rest.len < 2 || rest.p[0] != SEPARATOR || rest.p[rest.len - 1] != SEPARATOR)
        return false;
    for (rest = (struct str){rest.p + 1, rest.len - 2}; rest.len > 0;) {
        if (!take_pair(&rest, &key, &value))
            return false;
        if (str_is(key, "auth"))
            auth = value;
    }
    return auth.p != NULL && read_bearer(auth, &out->token);
}

/* The client is told at once, though it is the next step that fails. */
static void refuse_token(struct sasl_server *s, enum oauth_verdict verdict, const char *why, struct sasl_step *out)
{
    const char *scope = oauth_required_scope(s->login->validator);
    struct str text = verdict == OAUTH_SCOPE_MISSING
                          ? arena_printf(&s->memory, "{\"status\":\"insufficient_scope\", \"scope\":\"%s\"}", scope)
                          : STR_LIT("{\"status\":\"invalid_token\"}");
    char **state = s->state = ARENA_ARRAY(&s->memory, char *, 2);
    state[0] = arena_cstr(&s->memory, text);
    state[1] = arena_cstr(&s->memory, str_of(why));
    sasl_say(out, SASL_GOES_ON, (struct bytes){(const uint8_t *)state[0], text.len});
}

static void oauth_serve(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out)
{
    struct bearer_message message;
    struct oauth_token who;
    struct fail why;
    if (s->state != NULL) { /* whatever it says to that */
        sasl_refuse(out, ((char **)s->state)[0], ((char **)s->state)[1]);
        return;
    }
    if (!read_bearer_message(token, &message)) {
        sasl_refuse(out, NULL, "the message is malformed");
        return;
    }
    enum oauth_verdict verdict = oauth_validate(s->login->validator, message.token, a, &who, &why);
    if (verdict != OAUTH_ACCEPTED) {
        refuse_token(s, verdict, why.text, out);
        return;
    }
    if (message.authorization_id.len > 0 && !str_eq(message.authorization_id, who.principal)) {
        struct str text = arena_printf(a,
                                       "Authentication failed: Client requested an authorization id (%.*s) that is "
                                       "different from the token's principal name (%.*s)",
                                       STR_ARGS(str_head(message.authorization_id, MOST_NAME_SAID)),
                                       STR_ARGS(str_head(who.principal, MOST_NAME_SAID)));
        sasl_refuse(out, text.p, "the authorization id is another's");
        return;
    }
    s->identity.name = arena_str(&s->memory, who.principal);
    s->identity.expires_ms = who.expires_ms;
    sasl_say(out, SASL_DONE, (struct bytes){(const uint8_t *)"", 0});
}

/* ---- The client's side ---- */

static void show_token(struct sasl_client *c, struct arena *a, struct sasl_step *out)
{
    struct oauth_source *source = c->login->source;
    struct fail why;
    struct str token;
    int64_t expires_ms;
    if (!oauth_source_token(source, a, &token, &expires_ms, &why)) {
        sasl_refuse(out, NULL, arena_cstr(a, str_of(why.text)));
        return;
    }
    struct str message = arena_printf(a,
                                      "n,,\x01"
                                      "auth=Bearer %.*s\x01%.*s\x01",
                                      STR_ARGS(token), STR_ARGS(oauth_source_extensions(source)));
    sasl_say(out, SASL_GOES_ON, (struct bytes){(const uint8_t *)message.p, message.len});
}

static void oauth_ask(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out)
{
    if (c->stage == 0)
        show_token(c, a, out);
    else if (challenge.len == 0)
        sasl_say(out, SASL_DONE, (struct bytes){NULL, 0});
    else if (c->stage == 1) /* refused, which is to be heard in full */
        sasl_say(out, SASL_GOES_ON, (struct bytes){(const uint8_t *)"\x01", 1});
    else
        sasl_refuse(out, NULL, "the server neither accepts the token nor refuses it");
}

const struct sasl_mechanism_kind sasl_oauthbearer = {"OAUTHBEARER", oauth_serve, oauth_ask, NULL};
