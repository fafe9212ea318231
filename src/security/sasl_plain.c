/* PLAIN (RFC 4616): [authorization id] NUL user NUL password. Users are options of the module: user_NAME="password". */
#include "base/strbuf.h"
#include "security/sasl_internal.h"

enum { TOKENS = 3 };

/* How many there are; the first three are told. */
static int plain_split(struct bytes token, struct str parts[TOKENS])
{
    int count = 0;
    const char *p = (const char *)token.p, *end = p + token.len;
    for (;;) {
        const char *zero = p < end ? memchr(p, '\0', (size_t)(end - p)) : NULL;
        const char *stop = zero != NULL ? zero : end;
        if (count < TOKENS)
            parts[count] = (struct str){p, (int32_t)(stop - p)};
        count++;
        if (zero == NULL)
            return count;
        p = zero + 1;
    }
}

static bool is_password(const struct sasl_login *login, struct str user, struct str password, struct arena *a)
{
    const char *key = arena_printf(a, "user_%.*s", STR_ARGS(user)).p, *expected = jaas_option(&login->module, key);
    bool same = sasl_is_secret(password, expected != NULL ? expected : "");
    return same && expected != NULL;
}

static void serve(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out)
{
    struct str parts[TOKENS];
    int count = plain_split(token, parts);
    if (count != TOKENS) {
        struct str text = arena_printf(a, "Invalid SASL/PLAIN response: expected 3 tokens, got %d", count);
        sasl_refuse(out, text.p, text.p);
    } else if (parts[1].len == 0) {
        sasl_refuse(out, "Authentication failed: username not specified", "no user was named");
    } else if (parts[2].len == 0) {
        sasl_refuse(out, "Authentication failed: password not specified", "no password was given");
    } else if (!is_password(s->login, parts[1], parts[2], a)) {
        sasl_refuse(out, "Authentication failed: Invalid username or password", "no such user, or another password");
    } else if (parts[0].len > 0 && !str_eq(parts[0], parts[1])) {
        sasl_refuse(out, "Authentication failed: Client requested an authorization id that is different from username",
                    "the authorization id is another's");
    } else {
        s->identity.name = arena_str(&s->memory, parts[1]);
        sasl_say(out, SASL_DONE, (struct bytes){(const uint8_t *)"", 0});
    }
}

static void plain_ask(struct sasl_client *c, struct bytes challenge UNUSED, struct arena *a, struct sasl_step *out)
{
    const char *user = jaas_option(&c->login->module, "username"),
               *password = jaas_option(&c->login->module, "password");
    if (user == NULL || password == NULL) {
        sasl_refuse(out, NULL, "the JAAS configuration has no username or no password");
        return;
    }
    struct strbuf text = {0};
    strbuf_add(&text, "", 1);
    strbuf_add(&text, user, strlen(user) + 1);
    strbuf_puts(&text, password);
    uint8_t *token = arena_copy(a, text.p, text.len);
    sasl_say(out, SASL_DONE, (struct bytes){token, (int32_t)text.len});
    strbuf_deinit(&text);
}

const struct sasl_mechanism_kind sasl_plain = {"PLAIN", serve, plain_ask, NULL};
