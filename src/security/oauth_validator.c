/*
 * Whom a token names.
 *
 *     unsecured   {"alg":"none"} . {"sub":"alice","exp":1700000000,"scope":"kafka"} .        and no signature
 *     secured     {"alg":"RS256","kid":"k1"} . {"sub":"alice","iat":...,"exp":...} . SIGNATURE
 *
 * Keys that sign tokens are replaced from time to time. They are fetched again when they are older than
 * sasl.oauthbearer.jwks.endpoint.refresh.ms, and when a token names a key that is not among them, by whoever logs in
 * then, while others go by the old ones. So that nobody has them fetched all the time with keys of his invention, the
 * latter happens once in a while only. What cannot be fetched leaves what there was.
 */
#include "base/clock.h"
#include "base/lock.h"
#include "base/logger.h"
#include "security/jwt.h"
#include "security/oauth_internal.h"

enum { BETWEEN_UNKNOWN_MS = 5000 };

static struct log_limit fetches;

struct oauth_validator {
    struct arena memory;
    bool secured;
    const char *principal_claim, *scope_claim;
    /* of unsecured tokens */
    struct str *required;
    int32_t required_count;
    const char *required_text;
    int64_t skew_ms;
    /* of secured ones */
    const char *url, *issuer, *audience; /* a list with commas */
    struct keystore trust;
    int64_t refresh_ms, backoff_ms, backoff_max_ms, connect_timeout_ms, read_timeout_ms;
    struct lock lock;
    struct jwks *keys; /* NULL: none were there so far */
    bool fetching;
    int64_t fetched_ms, again_ms; /* monotonic: when they came, and when they may be asked for again after a failure */
    int64_t wait_ms;              /* until then, doubled by each failure */
    int64_t unknown_ms;           /* when a key was asked for that was unknown */
};

/* ---- Settings ---- */

static const char *option_or(const struct jaas_module *module, const char *key, const char *otherwise)
{
    const char *value = jaas_option(module, key);
    return value != NULL && *value != '\0' ? value : otherwise;
}

static void list_scope(struct oauth_validator *v, const char *text)
{
    struct str list = STR_LIT("[");
    v->required = ARENA_ARRAY(&v->memory, struct str, strlen(text) / 2 + 1);
    for (const char *p = text + strspn(text, " "); *p != '\0'; p += strspn(p, " ")) {
        struct str *item = &v->required[v->required_count++];
        *item = arena_str(&v->memory, (struct str){p, (int32_t)strcspn(p, " ")});
        list =
            arena_printf(&v->memory, "%.*s%s%.*s", STR_ARGS(list), v->required_count > 1 ? ", " : "", STR_ARGS(*item));
        p += item->len;
    }
    v->required_text = arena_printf(&v->memory, "%.*s]", STR_ARGS(list)).p;
}

static bool configure_unsecured(struct oauth_validator *v, const struct jaas_module *module, struct fail *fail)
{
    char *end;
    const char *skew = option_or(module, "unsecuredValidatorAllowableClockSkewMs", "0");
    v->principal_claim = option_or(module, "unsecuredValidatorPrincipalClaimName", "sub");
    v->scope_claim = option_or(module, "unsecuredValidatorScopeClaimName", "scope");
    list_scope(v, option_or(module, "unsecuredValidatorRequiredScope", ""));
    v->skew_ms = strtoll(skew, &end, 10);
    return (*end == '\0' && v->skew_ms >= 0 && v->skew_ms <= INT32_MAX) ||
           fail_set(fail, "unsecuredValidatorAllowableClockSkewMs=%s is no number of milliseconds", skew);
}

static bool configure_secured(struct oauth_validator *v, const struct login_settings *s,
                              const struct jaas_module *module, struct fail *fail)
{
    v->principal_claim = login_text(s, "sasl.oauthbearer.sub.claim.name");
    v->scope_claim = login_text(s, "sasl.oauthbearer.scope.claim.name");
    v->skew_ms = 1000 * login_number(s, "sasl.oauthbearer.clock.skew.seconds");
    v->issuer = login_text(s, "sasl.oauthbearer.expected.issuer");
    v->audience = login_text(s, "sasl.oauthbearer.expected.audience");
    v->refresh_ms = login_number(s, "sasl.oauthbearer.jwks.endpoint.refresh.ms");
    v->backoff_ms = login_number(s, "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms");
    v->backoff_max_ms = login_number(s, "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms");
    v->connect_timeout_ms = login_number(s, "sasl.login.connect.timeout.ms");
    v->read_timeout_ms = login_number(s, "sasl.login.read.timeout.ms");
    v->url = oauth_url(s, "sasl.oauthbearer.jwks.endpoint.url", fail);
    if (v->principal_claim == NULL || v->scope_claim == NULL)
        return fail_set(fail, "sasl.oauthbearer.sub.claim.name and sasl.oauthbearer.scope.claim.name name no claim");
    return v->url != NULL && oauth_trust(module, &v->trust, fail);
}

/* ---- Keys ---- */

static struct jwks *fetch_keys(const struct oauth_validator *v, struct fail *fail)
{
    struct arena a = {0};
    struct bytes text;
    struct http_question question = {.url = v->url,
                                     .trust = v->trust.count > 0 ? &v->trust : NULL,
                                     .connect_timeout_ms = v->connect_timeout_ms,
                                     .read_timeout_ms = v->read_timeout_ms};
    struct jwks *keys = NULL;
    if (http_ask(&question, &a, &text, fail)) {
        keys = jwks_parse(text, fail);
        if (keys == NULL)
            fail_wrap(fail, "%s", v->url);
    }
    arena_deinit(&a);
    return keys;
}

static void take_keys(struct oauth_validator *v, struct jwks *keys)
{
    int64_t now = clock_mono_ms();
    ensure(lock_is_held(&v->lock));
    if (keys != NULL) {
        jwks_free(v->keys);
        v->keys = keys;
        v->fetched_ms = now;
        v->wait_ms = 0;
        v->again_ms = 0;
        return;
    }
    v->wait_ms = v->wait_ms == 0 ? MAX(v->backoff_ms, (int64_t)1) : MIN(2 * v->wait_ms, v->backoff_max_ms);
    v->again_ms = now + v->wait_ms;
}

/* With the lock, which is given back meanwhile. One at a time does it. */
static void refresh_keys(struct oauth_validator *v)
{
    struct fail why;
    ensure(lock_is_held(&v->lock) && !v->fetching);
    v->fetching = true;
    lock_release(&v->lock);
    struct jwks *keys = fetch_keys(v, &why);
    if (keys == NULL)
        log_error_limited(&fetches, "The keys that tokens are signed by cannot be fetched: %s", why.text);
    lock_take(&v->lock);
    v->fetching = false;
    take_keys(v, keys);
}

static bool keys_are_due(const struct oauth_validator *v)
{
    int64_t now = clock_mono_ms();
    return !v->fetching && now >= v->again_ms && (v->keys == NULL || now - v->fetched_ms >= v->refresh_ms);
}

static bool unknown_key_is_due(struct oauth_validator *v)
{
    int64_t now = clock_mono_ms();
    if (v->fetching || now < v->again_ms || (v->unknown_ms > 0 && now - v->unknown_ms < BETWEEN_UNKNOWN_MS))
        return false;
    v->unknown_ms = now;
    return true;
}

static bool is_signed(struct oauth_validator *v, const struct jwt *token, struct fail *fail)
{
    enum jwt_verdict verdict = JWT_KEY_UNKNOWN;
    lock_take(&v->lock);
    if (keys_are_due(v))
        refresh_keys(v);
    fail_set(fail, "there are no keys so far that tokens could be signed by");
    if (v->keys != NULL)
        verdict = jwt_verify(token, v->keys, fail);
    if (verdict == JWT_KEY_UNKNOWN && v->keys != NULL && unknown_key_is_due(v)) {
        refresh_keys(v);
        verdict = jwt_verify(token, v->keys, fail);
    }
    lock_release(&v->lock);
    return verdict == JWT_SIGNED;
}

/* ---- Claims ---- */

static const char *trimmed_claim(const char *text, struct arena *a)
{
    static const char blanks[] = " \t\r\n\f\v";
    if (text == NULL)
        return "";
    text += strspn(text, blanks);
    size_t len = strlen(text);
    while (len > 0 && strchr(blanks, text[len - 1]) != NULL)
        len--;
    return arena_cstr(a, (struct str){text, (int32_t)len});
}

/* Of a list with commas. */
static bool is_among(const char *list, const char *item)
{
    size_t len = strlen(item);
    for (const char *p = list; p != NULL; p = strchr(p, ',') != NULL ? strchr(p, ',') + 1 : NULL) {
        p += strspn(p, " ");
        size_t n = strcspn(p, ",");
        while (n > 0 && p[n - 1] == ' ')
            n--;
        if (n == len && strncmp(p, item, n) == 0)
            return true;
    }
    return false;
}

/* A token that says for whom it is has to be for us, also if nothing says who we are. */
static bool is_for_us(const struct oauth_validator *v, const struct jwt *token)
{
    const json_t *audience = json_object_get(token->claims, "aud");
    if (audience == NULL)
        return v->audience == NULL;
    if (v->audience == NULL)
        return false;
    if (json_is_string(audience))
        return is_among(v->audience, json_string_value(audience));
    for (size_t i = 0; i < json_array_size(audience); i++) {
        const char *item = json_string_value(json_array_get(audience, i));
        if (item != NULL && is_among(v->audience, item))
            return true;
    }
    return false;
}

static bool is_in_time(const struct oauth_validator *v, const struct jwt *token, double *expires, struct fail *fail)
{
    double issued, not_before, now = (double)clock_wall_ms(), skew = (double)v->skew_ms;
    if (!jwt_time(token, "exp", expires) || !jwt_time(token, "iat", &issued) || *expires < 0 || issued < 0)
        return fail_set(fail, "the token does not say when it was issued and when it expires");
    if (now - skew >= 1000 * *expires)
        return fail_set(fail, "the token has expired");
    if (json_object_get(token->claims, "nbf") == NULL)
        return true;
    return (jwt_time(token, "nbf", &not_before) && now + skew >= 1000 * not_before) ||
           fail_set(fail, "the token is not good yet");
}

static bool is_secured_token(struct oauth_validator *v, const struct jwt *token, double *expires, struct fail *fail)
{
    const char *issuer = jwt_text(token->claims, "iss");
    if (!is_signed(v, token, fail) || !is_in_time(v, token, expires, fail))
        return false;
    if (!is_for_us(v, token))
        return fail_set(fail, "the token is for somebody else, by its audience");
    return v->issuer == NULL || (issuer != NULL && strcmp(issuer, v->issuer) == 0) ||
           fail_set(fail, "the token is of another issuer");
}

static bool is_unsecured_token(const struct oauth_validator *v, const struct jwt *token, double *expires,
                               struct fail *fail)
{
    double issued, now = (double)clock_wall_ms(), skew = (double)v->skew_ms;
    const char *algorithm = jwt_text(token->header, "alg");
    if (algorithm == NULL || strcmp(algorithm, "none") != 0 || token->signature.len > 0)
        return fail_set(fail, "the token is signed, and this listener takes unsecured ones");
    if (!jwt_time(token, "exp", expires) || now - skew >= 1000 * *expires)
        return fail_set(fail, "the token has expired, or does not say when it does");
    if (json_object_get(token->claims, "iat") == NULL)
        return true;
    return (jwt_time(token, "iat", &issued) && 1000 * issued <= now + skew && *expires > issued) ||
           fail_set(fail, "the token was not issued yet, or after it expires");
}

static bool has_scope(const json_t *scope, struct str wanted, struct arena *a)
{
    if (json_is_string(scope))
        return str_is(wanted, trimmed_claim(json_string_value(scope), a));
    for (size_t i = 0; i < json_array_size(scope); i++)
        if (str_is(wanted, trimmed_claim(json_string_value(json_array_get(scope, i)), a)))
            return true;
    return false;
}

static enum oauth_verdict judge_token(struct oauth_validator *v, const struct jwt *token, struct arena *a,
                                      struct oauth_token *out, struct fail *fail)
{
    double expires = 0;
    const json_t *scope = json_object_get(token->claims, v->scope_claim);
    const char *principal = trimmed_claim(jwt_text(token->claims, v->principal_claim), a);
    if (!(v->secured ? is_secured_token(v, token, &expires, fail) : is_unsecured_token(v, token, &expires, fail)))
        return OAUTH_REFUSED;
    if (*principal == '\0') {
        fail_set(fail, "the token names nobody in its claim %s", v->principal_claim);
        return OAUTH_REFUSED;
    }
    for (int32_t i = 0; i < v->required_count; i++) {
        if (!has_scope(scope, v->required[i], a)) {
            fail_set(fail, "the token lacks a scope of %s", v->required_text);
            return OAUTH_SCOPE_MISSING;
        }
    }
    *out = (struct oauth_token){str_of(principal), MAX(jwt_ms(expires), (int64_t)1)};
    return OAUTH_ACCEPTED;
}

enum oauth_verdict oauth_validate(struct oauth_validator *v, struct str text, struct arena *a, struct oauth_token *out,
                                  struct fail *fail)
{
    struct jwt token;
    if (!jwt_parse(text, a, &token, fail))
        return OAUTH_REFUSED;
    enum oauth_verdict verdict = judge_token(v, &token, a, out, fail);
    jwt_deinit(&token);
    return verdict;
}

const char *oauth_required_scope(const struct oauth_validator *v)
{
    return v->required_text;
}

/* ---- Life ---- */

/* A file that is not there will hardly come; a server that does not answer may. */
static bool first_keys(struct oauth_validator *v, struct fail *fail)
{
    struct jwks *keys = fetch_keys(v, fail);
    lock_take(&v->lock);
    take_keys(v, keys);
    lock_release(&v->lock);
    if (keys != NULL || strncmp(v->url, "file:", 5) == 0)
        return keys != NULL;
    log_error_limited(&fetches, "The keys that tokens are signed by cannot be fetched: %s", fail->text);
    return true;
}

struct oauth_validator *oauth_validator_new(const struct login_settings *settings, const struct jaas_module *module,
                                            struct fail *fail)
{
    struct oauth_validator *v = xcalloc(1, sizeof(*v));
    lock_init(&v->lock, RANK_TOKENS);
    bool ok = oauth_handler(settings, "sasl.server.callback.handler.class", "OAuthBearerValidatorCallbackHandler",
                            "internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler", &v->secured, fail);
    if (ok && v->secured)
        ok = configure_secured(v, settings, module, fail) && first_keys(v, fail);
    else if (ok)
        ok = configure_unsecured(v, module, fail);
    if (ok)
        return v;
    oauth_validator_free(v);
    return NULL;
}

void oauth_validator_free(struct oauth_validator *v)
{
    if (v == NULL)
        return;
    jwks_free(v->keys);
    keystore_deinit(&v->trust);
    lock_deinit(&v->lock);
    arena_deinit(&v->memory);
    free(v);
}
