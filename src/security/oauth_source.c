/*
 * Tokens that a broker shows to others, or a tool to brokers. Unsecured ones are made of the module's options, anew for
 * each login:
 *
 *     unsecuredLoginStringClaim_sub="admin" unsecuredLoginLifetimeSeconds="3600"
 *
 * With OAuthBearerLoginCallbackHandler they come from sasl.oauthbearer.token.endpoint.url, in exchange for the options
 * clientId, clientSecret and scope (RFC 6749, 4.4), or as a file. Such a token is kept, and another asked for when most
 * of its life is over (sasl.login.refresh.*), by whoever logs in then; while that fails, the old one is shown as long
 * as it is good.
 */
#include <openssl/crypto.h>

#include "base/base64.h"
#include "base/chance.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/logger.h"
#include "base/strbuf.h"
#include "security/jwt.h"
#include "security/oauth_internal.h"

enum { USUAL_LIFETIME_S = 3600, CHANCES = 1000 };

static struct log_limit endpoint_failures;

struct oauth_source {
    const struct jaas_module *module;
    struct arena memory;
    bool secured;
    struct str extensions;
    /* of unsecured tokens */
    const char *principal_claim, *scope_claim;
    double lifetime_s;
    /* of those of an endpoint */
    const char *url, *client, *secret, *form;
    struct keystore trust;
    int64_t connect_timeout_ms, read_timeout_ms, backoff_ms, backoff_max_ms, min_period_ms, buffer_ms;
    double window, jitter;
    struct lock lock;
    struct str token; /* null: none so far; on the heap */
    bool asking;
    int64_t expires_ms, renew_ms; /* wall clock */
    int64_t again_ms, wait_ms;    /* monotonic: when the endpoint may be asked again after a failure */
};

/* ---- Unsecured tokens ---- */

static const char string_claim[] = "unsecuredLoginStringClaim_", number_claim[] = "unsecuredLoginNumberClaim_",
                  list_claim[] = "unsecuredLoginListClaim_", unsecured_extension[] = "unsecuredLoginExtension_",
                  extension[] = "extension_";

static const char *behind(const char *text, const char *start)
{
    size_t len = strlen(start);
    return strncmp(text, start, len) == 0 && text[len] != '\0' ? text + len : NULL;
}

/* The first character of the value is what stands between its items. */
static json_t *claim_list(const char *text)
{
    json_t *list = json_array();
    if (*text == '\0')
        return list;
    const char between[] = {*text, '\0'};
    for (const char *p = text; *p == between[0];) {
        size_t len = strcspn(++p, between);
        json_array_append_new(list, json_stringn(p, len));
        p += len;
    }
    return list;
}

static void add_claim(json_t *claims, const struct jaas_option *o)
{
    const char *name;
    if ((name = behind(o->key, string_claim)) != NULL)
        json_object_set_new(claims, name, json_string(o->value));
    else if ((name = behind(o->key, number_claim)) != NULL)
        json_object_set_new(claims, name, json_real(strtod(o->value, NULL)));
    else if ((name = behind(o->key, list_claim)) != NULL)
        json_object_set_new(claims, name, claim_list(o->value));
}

static void add_json(struct strbuf *out, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    ensure(text != NULL);
    base64url_add(out, (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)});
    free(text);
    json_decref(json);
}

static struct str make_token(const struct oauth_source *s, struct arena *a, int64_t *expires_ms)
{
    double now = (double)clock_wall_ms() / 1000;
    struct strbuf text = {0};
    json_t *claims = json_object();
    json_object_set_new(claims, "iat", json_real(now));
    json_object_set_new(claims, "exp", json_real(now + s->lifetime_s));
    for (size_t i = 0; i < s->module->count; i++)
        add_claim(claims, &s->module->options[i]);
    add_json(&text, json_pack("{ss}", "alg", "none"));
    strbuf_puts(&text, ".");
    add_json(&text, claims);
    strbuf_puts(&text, ".");
    struct str token = arena_str(a, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
    *expires_ms = jwt_ms(now + s->lifetime_s);
    return token;
}

static bool configure_own_tokens(struct oauth_source *s, struct fail *fail)
{
    const char *principal = jaas_option(s->module, "unsecuredLoginPrincipalClaimName");
    const char *lifetime = jaas_option(s->module, "unsecuredLoginLifetimeSeconds");
    char *end = NULL;
    principal = principal != NULL ? principal : "sub";
    s->lifetime_s = lifetime != NULL ? strtod(lifetime, &end) : USUAL_LIFETIME_S;
    if ((end != NULL && *end != '\0') || !(s->lifetime_s > 0))
        return fail_set(fail, "unsecuredLoginLifetimeSeconds=%s is no number of seconds", lifetime);
    const char *key = arena_printf(&s->memory, "%s%s", string_claim, principal).p, *who = jaas_option(s->module, key);
    return (who != NULL && *who != '\0') ||
           fail_set(fail, "the JAAS configuration of OAUTHBEARER has no %s, so that there is no user to log in as",
                    key);
}

/* ---- Tokens of an endpoint ---- */

static void add_form_value(struct strbuf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || strchr("-_.*", c) != NULL)
            strbuf_add(out, text, 1);
        else if (c == ' ')
            strbuf_puts(out, "+");
        else
            strbuf_printf(out, "%%%02X", c);
    }
}

static void make_form(struct oauth_source *s)
{
    struct strbuf form = {0};
    const char *scope = jaas_option(s->module, "scope");
    strbuf_puts(&form, "grant_type=client_credentials");
    if (scope != NULL && *scope != '\0') {
        strbuf_puts(&form, "&scope=");
        add_form_value(&form, scope);
    }
    s->form = arena_cstr(&s->memory, (struct str){form.p, (int32_t)form.len});
    strbuf_deinit(&form);
}

static bool configure_endpoint(struct oauth_source *s, const struct login_settings *settings, struct fail *fail)
{
    s->url = oauth_url(settings, "sasl.oauthbearer.token.endpoint.url", fail);
    if (s->url == NULL || !oauth_trust(s->module, &s->trust, fail))
        return false;
    s->client = jaas_option(s->module, "clientId");
    s->secret = jaas_option(s->module, "clientSecret");
    s->connect_timeout_ms = login_number(settings, "sasl.login.connect.timeout.ms");
    s->read_timeout_ms = login_number(settings, "sasl.login.read.timeout.ms");
    s->backoff_ms = login_number(settings, "sasl.login.retry.backoff.ms");
    s->backoff_max_ms = login_number(settings, "sasl.login.retry.backoff.max.ms");
    s->min_period_ms = 1000 * login_number(settings, "sasl.login.refresh.min.period.seconds");
    s->buffer_ms = 1000 * login_number(settings, "sasl.login.refresh.buffer.seconds");
    s->window = login_fraction(settings, "sasl.login.refresh.window.factor");
    s->jitter = login_fraction(settings, "sasl.login.refresh.window.jitter");
    make_form(s);
    return strncmp(s->url, "file:", 5) == 0 || (s->client != NULL && s->secret != NULL) ||
           fail_set(fail, "the JAAS configuration of OAUTHBEARER has no clientId or no clientSecret");
}

/* What the endpoint says, or what is in the file, which is the token itself. */
static bool find_token(const struct oauth_source *s, struct bytes answer, struct arena *a, struct str *out,
                       struct fail *fail)
{
    if (strncmp(s->url, "file:", 5) == 0) {
        const char *p = (const char *)answer.p;
        int32_t len = answer.len;
        while (len > 0 && strchr(" \r\n\t", p[len - 1]) != NULL)
            len--;
        *out = (struct str){p, len};
        return true;
    }
    json_t *json = json_loadb((const char *)answer.p, (size_t)answer.len, 0, NULL);
    const char *token = jwt_text(json, "access_token");
    *out = token != NULL ? arena_str(a, str_of(token)) : STR_NULL;
    json_decref(json);
    return out->p != NULL || fail_set(fail, "%s: the answer has no access_token", s->url);
}

static bool ask_endpoint(const struct oauth_source *s, struct arena *a, struct str *token, int64_t *expires_ms,
                         struct fail *fail)
{
    bool file = strncmp(s->url, "file:", 5) == 0;
    struct http_question question = {.url = s->url,
                                     .form = file ? NULL : s->form,
                                     .user = file ? NULL : s->client,
                                     .password = s->secret,
                                     .trust = s->trust.count > 0 ? &s->trust : NULL,
                                     .connect_timeout_ms = s->connect_timeout_ms,
                                     .read_timeout_ms = s->read_timeout_ms};
    struct bytes answer;
    struct jwt parsed;
    double expires;
    if (!http_ask(&question, a, &answer, fail) || !find_token(s, answer, a, token, fail) ||
        !jwt_parse(*token, a, &parsed, fail))
        return false;
    bool ok = jwt_time(&parsed, "exp", &expires);
    *expires_ms = ok ? jwt_ms(expires) : 0;
    jwt_deinit(&parsed);
    return ok || fail_set(fail, "%s: the token does not say when it expires", s->url);
}

/* When most of its life is over, but neither at once nor in its last minutes. */
static int64_t renewal(const struct oauth_source *s, int64_t now, int64_t expires)
{
    double life = (double)MAX(expires - now, (int64_t)0);
    double part = s->window + s->jitter * (double)chance_below(CHANCES) / CHANCES;
    int64_t at = now + (int64_t)(life * MIN(part, 1.0)), earliest = now + s->min_period_ms;
    if (earliest + s->buffer_ms > expires) /* its life is too short for both */
        return now + (int64_t)(life * s->window);
    return MAX(MIN(at, expires - s->buffer_ms), earliest);
}

static void take_token(struct oauth_source *s, struct str token, int64_t expires_ms)
{
    int64_t now = clock_wall_ms();
    ensure(lock_is_held(&s->lock));
    str_free(s->token);
    s->token = str_dup(token);
    s->expires_ms = expires_ms;
    s->renew_ms = renewal(s, now, expires_ms);
    s->again_ms = s->wait_ms = 0;
}

/* With the lock, which is given back meanwhile. */
static bool renew_token(struct oauth_source *s, struct fail *fail)
{
    struct arena a = {0};
    struct str token;
    int64_t expires_ms;
    ensure(lock_is_held(&s->lock) && !s->asking);
    s->asking = true;
    lock_release(&s->lock);
    bool ok = ask_endpoint(s, &a, &token, &expires_ms, fail);
    lock_take(&s->lock);
    s->asking = false;
    if (ok) {
        take_token(s, token, expires_ms);
    } else {
        s->wait_ms = s->wait_ms == 0 ? MAX(s->backoff_ms, (int64_t)1) : MIN(2 * s->wait_ms, s->backoff_max_ms);
        s->again_ms = clock_mono_ms() + s->wait_ms;
        log_error_limited(&endpoint_failures, "No token to log in to brokers by: %s", fail->text);
    }
    arena_deinit(&a);
    return ok;
}

bool oauth_source_token(struct oauth_source *s, struct arena *a, struct str *out, int64_t *expires_ms,
                        struct fail *fail)
{
    if (!s->secured) {
        *out = make_token(s, a, expires_ms);
        return true;
    }
    lock_take(&s->lock);
    fail_set(fail, "there is no token so far, and the endpoint was asked just now");
    if ((s->token.p == NULL || clock_wall_ms() >= s->renew_ms) && !s->asking && clock_mono_ms() >= s->again_ms &&
        !renew_token(s, fail))
        fail_wrap(fail, "no token");
    bool good = s->token.p != NULL && clock_wall_ms() < s->expires_ms;
    *out = good ? arena_str(a, s->token) : STR_NULL;
    *expires_ms = s->expires_ms;
    lock_release(&s->lock);
    return good;
}

/* ---- Life ---- */

static struct str find_extensions(struct oauth_source *s)
{
    struct strbuf text = {0};
    for (size_t i = 0; i < s->module->count; i++) {
        const char *name = behind(s->module->options[i].key, s->secured ? extension : unsecured_extension);
        if (name != NULL)
            strbuf_printf(&text, "%s=%s\x01", name, s->module->options[i].value);
    }
    struct str copy = arena_str(&s->memory, (struct str){text.p != NULL ? text.p : "", (int32_t)text.len});
    strbuf_deinit(&text);
    return copy;
}

struct str oauth_source_extensions(const struct oauth_source *s)
{
    return s->extensions;
}

struct oauth_source *oauth_source_new(const struct login_settings *settings, const struct jaas_module *module,
                                      struct fail *fail)
{
    struct oauth_source *s = xcalloc(1, sizeof(*s));
    s->module = module;
    lock_init(&s->lock, RANK_TOKENS);
    bool ok = oauth_handler(settings, "sasl.login.callback.handler.class", "OAuthBearerLoginCallbackHandler",
                            "internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler", &s->secured, fail);
    if (ok)
        ok = s->secured ? configure_endpoint(s, settings, fail) : configure_own_tokens(s, fail);
    if (ok) {
        s->extensions = find_extensions(s);
        return s;
    }
    oauth_source_free(s);
    return NULL;
}

void oauth_source_free(struct oauth_source *s)
{
    if (s == NULL)
        return;
    str_free(s->token);
    keystore_deinit(&s->trust);
    lock_deinit(&s->lock);
    arena_deinit(&s->memory);
    free(s);
}
