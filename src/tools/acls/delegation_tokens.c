/* kafka-delegation-tokens: makes, renews, ends and lists delegation tokens, as Kafka's tool of that name. */
#include <time.h>

#include "base/base64.h"
#include "protocol/error.h"
#include "protocol/msg/create_delegation_token.h"
#include "protocol/msg/describe_delegation_token.h"
#include "protocol/msg/expire_delegation_token.h"
#include "protocol/msg/renew_delegation_token.h"
#include "security/token.h"
#include "tools/kit/ask.h"
#include "tools/kit/tool.h"

enum { COLUMNS = 8, VERSION_WITH_OWNER = 3 };

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "String", "REQUIRED: The brokers to connect to, as host1:port1,host2:port2.",
     NULL},
    {"command-config", OPTION_VALUE, "String",
     "REQUIRED: A property file with configs for the admin client: brokers speak of tokens only where somebody has logged in.",
     NULL},
    {"create", OPTION_FLAG, NULL, "Create a token. --renewer-principal says who may renew it beside its owner.", NULL},
    {"renew", OPTION_FLAG, NULL, "Renew a token, for --renew-time-period.", NULL},
    {"expire", OPTION_FLAG, NULL, "Give a token another end, after --expiry-time-period.", NULL},
    {"describe", OPTION_FLAG, NULL,
     "Describe tokens that those of --owner-principal own or may renew. Without that option it is none.", NULL},
    {"owner-principal", OPTION_OPTIONALS, "String",
     "Owner, as principalType:name; of a new token it is who creates it, if it is not given.", NULL},
    {"renewer-principal", OPTION_OPTIONALS, "String", "Who may renew the token, as principalType:name.", NULL},
    {"max-life-time-period", OPTION_OPTIONAL, "Long",
     "How old the token may become in milliseconds. With -1 the brokers' delegation.token.max.lifetime.ms counts.",
     NULL},
    {"renew-time-period", OPTION_OPTIONAL, "Long",
     "How long it is to be good from now on in milliseconds. With -1 the brokers' delegation.token.expiry.time.ms counts.",
     NULL},
    {"expiry-time-period", OPTION_OPTIONAL, "Long",
     "After how many milliseconds it is to end. With -1 it ends at once.", NULL},
    {"hmac", OPTION_OPTIONAL, "String", "The token's HMAC.", NULL},
};

static const char purpose[] = "This tool helps to create, renew, expire, or describe delegation tokens.";

struct token_command {
    const struct options *options;
    struct arena arena;
    struct asker *asker;
    int64_t period_ms;
    struct bytes hmac;
    struct principal *owners, *renewers;
    int32_t owner_count, renewer_count;
};

/* ---- Arguments ---- */

static bool none_of(const struct options *o, const char *action, const char *const *others, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!options_not_both(o, action, others[i]))
            return false;
    return true;
}

static bool tokens_check_action(const struct options *o)
{
    static const char *const not_created[] = {"hmac", "renew-time-period", "expiry-time-period"};
    static const char *const not_renewed[] = {"renewer-principal", "max-life-time-period", "expiry-time-period",
                                              "owner-principal"};
    static const char *const not_expired[] = {"max-life-time-period", "renew-time-period", "owner-principal"};
    static const char *const not_described[] = {"renew-time-period", "max-life-time-period", "hmac",
                                                "expiry-time-period"};
    if (options_has(o, "create") + options_has(o, "renew") + options_has(o, "expire") + options_has(o, "describe") != 1)
        return options_complain(
                   o, "Command must include exactly one action: --create, --renew, --expire or --describe") == 0;
    if (!options_need(o, "bootstrap-server") || !options_need(o, "command-config") ||
        (options_has(o, "create") && !options_need(o, "max-life-time-period")) ||
        (options_has(o, "renew") && (!options_need(o, "hmac") || !options_need(o, "renew-time-period"))) ||
        (options_has(o, "expire") && (!options_need(o, "hmac") || !options_need(o, "expiry-time-period"))))
        return false;
    return none_of(o, "create", not_created, ARRAY_LEN(not_created)) &&
           none_of(o, "renew", not_renewed, ARRAY_LEN(not_renewed)) &&
           none_of(o, "expire", not_expired, ARRAY_LEN(not_expired)) &&
           none_of(o, "describe", not_described, ARRAY_LEN(not_described));
}

/* The option is given, but its value may have been left out. */
static bool read_period(struct token_command *c, const char *option)
{
    if (!options_has(c->options, option))
        return true;
    if (options_get(c->options, option) == NULL)
        return options_complain(c->options, "Option %s requires an argument", option) == 0;
    return options_number(c->options, option, INT64_MIN, INT64_MAX, &c->period_ms);
}

static bool read_principals(struct token_command *c, const char *option, struct principal **out, int32_t *count,
                            struct fail *fail)
{
    const struct option_value *v = options_all(c->options, option);
    *out = ARENA_ARRAY(&c->arena, struct principal, MAX(v->count, 1));
    *count = 0;
    for (int i = 0; v->values != NULL && i < v->count; i++) {
        if (v->values[i] == NULL)
            continue;
        struct str text = str_trim(str_of(v->values[i]));
        if (!principal_parse(text, &(*out)[(*count)++]))
            return fail_set(fail, "expected a string in format principalType:principalName but got %.*s",
                            STR_ARGS(text));
    }
    return true;
}

static bool read_hmac(struct token_command *c, struct fail *fail)
{
    const char *text = options_get(c->options, "hmac");
    if (!options_has(c->options, "hmac"))
        return true;
    return (text != NULL && base64_decode(str_of(text), &c->arena, &c->hmac)) ||
           fail_set(fail, "The HMAC is not base64");
}

/* ---- Printing ---- */

/* As Java prints a list. */
static const char *principals_text(struct arena *a, const struct principal *all, int32_t count)
{
    struct strbuf text = {0};
    strbuf_puts(&text, "[");
    for (int32_t i = 0; i < count; i++) {
        strbuf_puts(&text, i > 0 ? ", " : "");
        strbuf_str(&text, principal_text(all[i], a));
    }
    strbuf_puts(&text, "]");
    const char *copy = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
    return copy;
}

static const char *date_text(struct arena *a, int64_t ms)
{
    char text[64];
    struct tm t;
    time_t seconds = (time_t)(ms / 1000);
    if (localtime_r(&seconds, &t) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M", &t) == 0)
        return arena_printf(a, "%lld", (long long)ms).p;
    return arena_cstr(a, str_of(text));
}

static void tokens_print_row(const char *const row[COLUMNS])
{
    static const int widths[COLUMNS] = {15, 30, 15, 15, 25, 15, 15, 15};
    putchar('\n');
    for (int i = 0; i < COLUMNS; i++)
        printf("%s%s%*s", i > 0 ? " " : "", row[i], MAX(widths[i] - str_utf16_length(str_of(row[i])), 0), "");
    putchar('\n');
}

static void tokens_print_heading(void)
{
    static const char *const row[COLUMNS] = {"TOKENID",  "HMAC",      "OWNER",      "REQUESTER",
                                             "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE"};
    tokens_print_row(row);
}

static void tokens_print(struct arena *a, const struct token *t, struct bytes hmac)
{
    struct strbuf secret = {0};
    base64_add(&secret, hmac);
    const char *const row[COLUMNS] = {arena_cstr(a, t->id),
                                      secret.p != NULL ? secret.p : "",
                                      principal_text(t->owner, a).p,
                                      principal_text(t->requester, a).p,
                                      principals_text(a, t->renewers, t->renewer_count),
                                      date_text(a, t->issued_ms),
                                      date_text(a, t->expires_ms),
                                      date_text(a, t->max_ms)};
    tokens_print_row(row);
    strbuf_deinit(&secret);
}

/* ---- Actions ---- */

static bool tokens_refused(struct token_command *c, int16_t code, struct fail *fail)
{
    return fail_set(fail, "%.*s", STR_ARGS(ask_exception_text(&c->arena, code, STR_NULL)));
}

static bool tokens_create(struct token_command *c, struct fail *fail)
{
    struct create_delegation_token_request request;
    struct create_delegation_token_response out;
    printf("Calling create token operation with renewers :%s , max-life-time-period :%lld\n",
           principals_text(&c->arena, c->renewers, c->renewer_count), (long long)c->period_ms);
    create_delegation_token_request_init(&request);
    request.max_lifetime_ms = c->period_ms;
    ARRAY_MAKE(&c->arena, request.renewers, c->renewer_count);
    for (int32_t i = 0; i < c->renewer_count; i++) {
        request.renewers.items[i].principal_type = c->renewers[i].type;
        request.renewers.items[i].principal_name = c->renewers[i].name;
    }
    if (c->owner_count > 0) {
        request.owner_principal_type = c->owners[0].type;
        request.owner_principal_name = c->owners[0].name;
    }
    int16_t oldest = c->owner_count > 0 ? VERSION_WITH_OWNER : 0;
    if (!ask(c->asker, ASK_ANY, API_CREATE_DELEGATION_TOKEN, oldest, &request, &out, NULL, &c->arena, fail))
        return false;
    if (out.error_code != ERR_NONE)
        return tokens_refused(c, out.error_code, fail);
    struct token t = {.id = out.token_id,
                      .owner = {out.principal_type, out.principal_name, false},
                      .requester = {out.token_requester_principal_type, out.token_requester_principal_name, false},
                      .renewers = c->renewers,
                      .renewer_count = c->renewer_count,
                      .issued_ms = out.issue_timestamp_ms,
                      .max_ms = out.max_timestamp_ms,
                      .expires_ms = out.expiry_timestamp_ms};
    printf("Created delegation token with tokenId : %.*s\n", STR_ARGS(t.id));
    tokens_print_heading();
    tokens_print(&c->arena, &t, out.hmac);
    return true;
}

static bool tokens_renew(struct token_command *c, struct fail *fail)
{
    struct renew_delegation_token_request request;
    struct renew_delegation_token_response out;
    printf("Calling renew token operation with hmac :%s , renew-time-period :%lld\n", options_get(c->options, "hmac"),
           (long long)c->period_ms);
    renew_delegation_token_request_init(&request);
    request.hmac = c->hmac;
    request.renew_period_ms = c->period_ms;
    if (!ask(c->asker, ASK_ANY, API_RENEW_DELEGATION_TOKEN, 0, &request, &out, NULL, &c->arena, fail))
        return false;
    if (out.error_code != ERR_NONE)
        return tokens_refused(c, out.error_code, fail);
    printf("Completed renew operation. New expiry date : %s", date_text(&c->arena, out.expiry_timestamp_ms));
    return true;
}

static bool tokens_expire(struct token_command *c, struct fail *fail)
{
    struct expire_delegation_token_request request;
    struct expire_delegation_token_response out;
    printf("Calling expire token operation with hmac :%s , expire-time-period :%lld\n", options_get(c->options, "hmac"),
           (long long)c->period_ms);
    expire_delegation_token_request_init(&request);
    request.hmac = c->hmac;
    request.expiry_time_period_ms = c->period_ms;
    if (!ask(c->asker, ASK_ANY, API_EXPIRE_DELEGATION_TOKEN, 0, &request, &out, NULL, &c->arena, fail))
        return false;
    if (out.error_code != ERR_NONE)
        return tokens_refused(c, out.error_code, fail);
    printf("Completed expire operation. New expiry date : %s", date_text(&c->arena, out.expiry_timestamp_ms));
    return true;
}

static void tokens_print_described(struct token_command *c,
                                   const struct describe_delegation_token_described_delegation_token *d)
{
    struct token t = {.id = d->token_id,
                      .owner = {d->principal_type, d->principal_name, false},
                      .requester = {d->token_requester_principal_type, d->token_requester_principal_name, false},
                      .renewers = ARENA_ARRAY(&c->arena, struct principal, MAX(d->renewers.len, 1)),
                      .renewer_count = d->renewers.len,
                      .issued_ms = d->issue_timestamp,
                      .max_ms = d->max_timestamp,
                      .expires_ms = d->expiry_timestamp};
    for (int32_t i = 0; i < d->renewers.len; i++)
        t.renewers[i] =
            (struct principal){d->renewers.items[i].principal_type, d->renewers.items[i].principal_name, false};
    tokens_print(&c->arena, &t, d->hmac);
}

/* Without owners Kafka's tool asks for the tokens of nobody, whatever it says. */
static bool tokens_describe(struct token_command *c, struct fail *fail)
{
    struct describe_delegation_token_request request;
    struct describe_delegation_token_response out;
    if (c->owner_count == 0)
        puts("Calling describe token operation for current user.");
    else
        printf("Calling describe token operation for owners: %s\n",
               principals_text(&c->arena, c->owners, c->owner_count));
    describe_delegation_token_request_init(&request);
    ARRAY_MAKE(&c->arena, request.owners, c->owner_count);
    for (int32_t i = 0; i < c->owner_count; i++) {
        request.owners.items[i].principal_type = c->owners[i].type;
        request.owners.items[i].principal_name = c->owners[i].name;
    }
    if (!ask(c->asker, ASK_ANY, API_DESCRIBE_DELEGATION_TOKEN, 0, &request, &out, NULL, &c->arena, fail))
        return false;
    if (out.error_code != ERR_NONE)
        return tokens_refused(c, out.error_code, fail);
    printf("Total number of tokens : %d", (int)out.tokens.len);
    tokens_print_heading();
    for (int32_t i = 0; i < out.tokens.len; i++)
        tokens_print_described(c, &out.tokens.items[i]);
    return true;
}

/* ---- The command ---- */

static bool tokens_execute(struct token_command *c, struct fail *fail)
{
    const struct options *o = c->options;
    if (!read_principals(c, "owner-principal", &c->owners, &c->owner_count, fail) ||
        !read_principals(c, "renewer-principal", &c->renewers, &c->renewer_count, fail) || !read_hmac(c, fail))
        return false;
    c->asker = asker_new(options_get(o, "bootstrap-server"), options_get(o, "command-config"), fail);
    if (c->asker == NULL)
        return false;
    bool ok = options_has(o, "create")   ? tokens_create(c, fail)
              : options_has(o, "renew")  ? tokens_renew(c, fail)
              : options_has(o, "expire") ? tokens_expire(c, fail)
                                         : tokens_describe(c, fail);
    asker_free(c->asker);
    return ok;
}

int tool_delegation_tokens(int argc, char **argv)
{
    struct options o;
    struct fail fail = {.text = ""};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    struct token_command c = {.options = &o};
    if (code < 0) {
        bool ok = tokens_check_action(&o) && read_period(&c, "max-life-time-period") &&
                  read_period(&c, "renew-time-period") && read_period(&c, "expiry-time-period") &&
                  tokens_execute(&c, &fail);
        code = ok ? 0 : 1;
        if (fail.text[0] != '\0')
            fprintf(stderr, "%s\n", fail.text);
    }
    arena_deinit(&c.arena);
    options_free(&o);
    return code;
}
