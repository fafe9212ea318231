/*
 * CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken and DescribeDelegationToken (KIP-48, KIP-373): any
 * broker answers from what it knows, and writes to ZooKeeper itself (cluster/token_watch.h).
 *
 * They are refused on connections that do not say who somebody is, or that others can listen to; and to whoever has
 * come with a token, as a token is not to be a way to another that lasts longer. The next question is whether the
 * asker may have what it asks for, and only then whether there are tokens at all.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/str_set.h"
#include "base/uuid.h"
#include "protocol/msg/create_delegation_token.h"
#include "protocol/msg/describe_delegation_token.h"
#include "protocol/msg/expire_delegation_token.h"
#include "protocol/msg/renew_delegation_token.h"
#include "server/authorize.h"

enum { NO_TIME = -1 };

static bool may_ask_for_tokens(const struct request *r)
{
    enum security_protocol protocol = connection_listener(r->x->conn)->protocol;
    struct principal who = request_principal(r);
    bool is_anonymous = protocol == SECURITY_PROTOCOL_SSL && principal_eq(who, principal_anonymous);
    return !who.by_token && protocol != SECURITY_PROTOCOL_PLAINTEXT && !is_anonymous;
}

/* For other loops: the connection may come to be somebody else's meanwhile (KIP-368). */
static struct principal asker_copy(const struct request *r)
{
    struct principal who = request_principal(r);
    return (struct principal){who.type, arena_str(r->arena, who.name), who.by_token};
}

static bool allowed_of_user(const struct request *r, enum acl_operation o, struct principal user)
{
    return allowed(r, o, ACL_USER, principal_text(user, r->arena));
}

/* ---- CreateDelegationToken ---- */

struct token_making {
    struct request *r;
    struct token_creation creation;
};

static void answer_create_token(struct request *r)
{
    const struct token_making *m = r->state;
    const struct token *t = &m->creation.token;
    struct create_delegation_token_response out;
    bool ok = m->creation.call.error == ERR_NONE;
    create_delegation_token_response_init(&out);
    out.error_code = (int16_t)m->creation.call.error;
    out.principal_type = t->owner.type;
    out.principal_name = t->owner.name;
    out.token_requester_principal_type = t->requester.type;
    out.token_requester_principal_name = t->requester.name;
    out.issue_timestamp_ms = ok ? t->issued_ms : NO_TIME;
    out.expiry_timestamp_ms = ok ? t->expires_ms : NO_TIME;
    out.max_timestamp_ms = ok ? t->max_ms : NO_TIME;
    out.token_id = ok ? t->id : STR_LIT("");
    out.hmac = ok ? tokens_hmac(r->s->tokens, t->id, r->arena) : (struct bytes){(const uint8_t *)"", 0};
    ANSWER(r, create_delegation_token_response, &out);
}

static void on_token_created(struct token_call *call)
{
    struct token_making *m = call->ctx;
    request_return(m->r, answer_create_token);
}

static void begin_creation(struct request *r)
{
    struct token_making *m = r->state;
    token_watch_create(r->s->token_watch, &m->creation);
}

static enum kafka_error judge_creation(const struct request *r, const struct token *t)
{
    if (!may_ask_for_tokens(r))
        return ERR_DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
    if (!principal_eq(t->owner, t->requester) && !allowed_of_user(r, ACL_CREATE_TOKENS, t->owner))
        return ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED;
    for (int32_t i = 0; i < t->renewer_count; i++)
        if (!str_eq(t->renewers[i].type, principal_anonymous.type))
            return ERR_INVALID_PRINCIPAL_TYPE;
    return r->s->tokens != NULL ? ERR_NONE : ERR_DELEGATION_TOKEN_AUTH_DISABLED;
}

/* Whom it is for and who may renew it, as the request says. */
static void read_token_principals(struct request *r, const struct create_delegation_token_request *in, struct token *t)
{
    bool is_own = in->owner_principal_name.len == 0;
    t->requester = asker_copy(r);
    t->owner = is_own ? t->requester : (struct principal){in->owner_principal_type, in->owner_principal_name, false};
    t->renewers = ARENA_ARRAY(r->arena, struct principal, MAX(in->renewers.len, 1));
    t->renewer_count = in->renewers.len;
    for (int32_t i = 0; i < t->renewer_count; i++)
        t->renewers[i] =
            (struct principal){in->renewers.items[i].principal_type, in->renewers.items[i].principal_name, false};
}

static void token_begin(struct request *r, int64_t lifetime_ms, struct token *t)
{
    const struct broker_config *c = r->s->config;
    char *id = arena_alloc(r->arena, UUID_TEXT_LEN + 1);
    int64_t most = c->delegation_token_max_lifetime_ms;
    uuid_format(uuid_random(), id);
    t->id = str_of(id);
    t->issued_ms = clock_wall_ms();
    t->max_ms = saturating_add(t->issued_ms, lifetime_ms <= 0 ? most : MIN(lifetime_ms, most));
    t->expires_ms = token_end_after(t->issued_ms, c->delegation_token_expiry_time_ms, t->max_ms);
}

static void handle_create_token(struct request *r)
{
    struct create_delegation_token_request in;
    struct token_making *m = ARENA_NEW(r->arena, struct token_making);
    struct token *t = &m->creation.token;
    if (!DECODE(r, create_delegation_token_request, &in))
        return;
    r->state = m;
    m->r = r;
    m->creation.call = (struct token_call){.done = on_token_created, .ctx = m};
    read_token_principals(r, &in, t);
    if (t->owner.type.p == NULL) { /* a name alone: Kafka's broker stumbles over it, and says so */
        t->owner = t->requester = principal_anonymous;
        m->creation.call.error = ERR_UNKNOWN_SERVER_ERROR;
    } else {
        m->creation.call.error = judge_creation(r, t);
    }
    if (m->creation.call.error != ERR_NONE) {
        answer_create_token(r);
        return;
    }
    token_begin(r, in.max_lifetime_ms, t);
    request_park(r);
    request_hop(r, r->s->control_loop, begin_creation);
}

const struct api_entry api_create_delegation_token = {
    .key = API_CREATE_DELEGATION_TOKEN, .min = 0, .max = 3, .handle = handle_create_token};

/* ---- RenewDelegationToken, ExpireDelegationToken ---- */

struct token_change {
    struct request *r;
    struct token_ending ending;
    void (*answer)(struct request *r);
};

static void on_token_changed(struct token_call *call)
{
    struct token_change *c = call->ctx;
    request_return(c->r, c->answer);
}

static void begin_change(struct request *r)
{
    struct token_change *c = r->state;
    token_watch_end(r->s->token_watch, &c->ending);
}

static int64_t new_end(const struct token_change *c)
{
    return c->ending.call.error == ERR_NONE ? c->ending.end_ms : NO_TIME;
}

static struct token_change *token_change_new(struct request *r, struct bytes hmac, int64_t period_ms,
                                             void (*answer)(struct request *r))
{
    struct token_change *c = r->state = ARENA_NEW(r->arena, struct token_change);
    c->r = r;
    c->answer = answer;
    c->ending.call = (struct token_call){.done = on_token_changed, .ctx = c};
    c->ending.hmac = hmac;
    c->ending.who = asker_copy(r);
    c->ending.period_ms = period_ms;
    return c;
}

static void change_token(struct token_change *c)
{
    struct request *r = c->r;
    c->ending.call.error = !may_ask_for_tokens(r) ? ERR_DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
                           : r->s->tokens == NULL ? ERR_DELEGATION_TOKEN_AUTH_DISABLED
                                                  : ERR_NONE;
    if (c->ending.call.error != ERR_NONE) {
        c->answer(r);
        return;
    }
    request_park(r);
    request_hop(r, r->s->control_loop, begin_change);
}

static void answer_renew_token(struct request *r)
{
    const struct token_change *c = r->state;
    struct renew_delegation_token_response out;
    renew_delegation_token_response_init(&out);
    out.error_code = (int16_t)c->ending.call.error;
    out.expiry_timestamp_ms = new_end(c);
    ANSWER(r, renew_delegation_token_response, &out);
}

static void handle_renew_token(struct request *r)
{
    struct renew_delegation_token_request in;
    if (!DECODE(r, renew_delegation_token_request, &in))
        return;
    int64_t usual = r->s->config->delegation_token_expiry_time_ms;
    change_token(token_change_new(r, in.hmac, in.renew_period_ms < 0 ? usual : in.renew_period_ms, answer_renew_token));
}

const struct api_entry api_renew_delegation_token = {
    .key = API_RENEW_DELEGATION_TOKEN, .min = 0, .max = 2, .handle = handle_renew_token};

static void answer_expire_token(struct request *r)
{
    const struct token_change *c = r->state;
    struct expire_delegation_token_response out;
    expire_delegation_token_response_init(&out);
    out.error_code = (int16_t)c->ending.call.error;
    out.expiry_timestamp_ms = new_end(c);
    ANSWER(r, expire_delegation_token_response, &out);
}

static void handle_expire_token(struct request *r)
{
    struct expire_delegation_token_request in;
    if (!DECODE(r, expire_delegation_token_request, &in))
        return;
    struct token_change *c = token_change_new(r, in.hmac, in.expiry_time_period_ms, answer_expire_token);
    c->ending.at_once = in.expiry_time_period_ms < 0;
    change_token(c);
}

const struct api_entry api_expire_delegation_token = {
    .key = API_EXPIRE_DELEGATION_TOKEN, .min = 0, .max = 2, .handle = handle_expire_token};

/* ---- DescribeDelegationToken ---- */

static struct str principal_key(struct arena *a, struct str type, struct str name)
{
    char *key = arena_alloc(a, 4 + (size_t)type.len + (size_t)name.len);
    be32_put(key, (uint32_t)type.len); /* so that it is known where the one ends, whatever bytes they have */
    memcpy(key + 4, type.p, (size_t)type.len);
    memcpy(key + 4 + type.len, name.p, (size_t)name.len);
    return (struct str){key, 4 + type.len + name.len};
}

/* Those whose tokens are asked for, who may be millions. */
static struct str_set wanted_principals(struct arena *a, const struct describe_delegation_token_request *in)
{
    struct str_set wanted = {0};
    for (int32_t i = 0; i < in->owners.len && !a->spent; i++)
        str_set_add(&wanted, a,
                    principal_key(a, in->owners.items[i].principal_type, in->owners.items[i].principal_name));
    return wanted;
}

static bool is_wanted(struct arena *a, const struct str_set *wanted, const struct token *t)
{
    bool any = str_set_has(wanted, principal_key(a, t->owner.type, t->owner.name)) ||
               str_set_has(wanted, principal_key(a, t->requester.type, t->requester.name));
    for (int32_t i = 0; i < t->renewer_count && !any; i++)
        any = str_set_has(wanted, principal_key(a, t->renewers[i].type, t->renewers[i].name));
    return any;
}

static bool may_see_token(const struct request *r, const struct token *t)
{
    return token_concerns(t, request_principal(r)) || allowed(r, ACL_DESCRIBE, ACL_DELEGATION_TOKEN, t->id) ||
           allowed_of_user(r, ACL_DESCRIBE_TOKENS, t->owner);
}

static void describe_token(const struct request *r, const struct token *t,
                           struct describe_delegation_token_described_delegation_token *out)
{
    describe_delegation_token_described_delegation_token_init(out);
    out->principal_type = t->owner.type;
    out->principal_name = t->owner.name;
    out->token_requester_principal_type = t->requester.type;
    out->token_requester_principal_name = t->requester.name;
    out->issue_timestamp = t->issued_ms;
    out->expiry_timestamp = t->expires_ms;
    out->max_timestamp = t->max_ms;
    out->token_id = t->id;
    out->hmac = tokens_hmac(r->s->tokens, t->id, r->arena);
    ARRAY_MAKE(r->arena, out->renewers, t->renewer_count);
    for (int32_t i = 0; i < t->renewer_count; i++) {
        describe_delegation_token_described_delegation_token_renewer_init(&out->renewers.items[i]);
        out->renewers.items[i].principal_type = t->renewers[i].type;
        out->renewers.items[i].principal_name = t->renewers[i].name;
    }
}

static void describe_tokens(const struct request *r, const struct describe_delegation_token_request *in,
                            struct describe_delegation_token_response *out)
{
    int32_t count;
    struct str_set wanted = wanted_principals(r->arena, in);
    const struct token *all = tokens_list(r->s->tokens, r->arena, &count);
    ARRAY_MAKE(r->arena, out->tokens, count);
    out->tokens.len = 0;
    for (int32_t i = 0; i < count && !request_is_spent(r); i++)
        if ((in->owners.len < 0 || is_wanted(r->arena, &wanted, &all[i])) && may_see_token(r, &all[i]))
            describe_token(r, &all[i], &out->tokens.items[out->tokens.len++]);
    str_set_deinit(&wanted);
}

static void handle_describe_tokens(struct request *r)
{
    struct describe_delegation_token_request in;
    struct describe_delegation_token_response out;
    if (!DECODE(r, describe_delegation_token_request, &in))
        return;
    describe_delegation_token_response_init(&out);
    ARRAY_MAKE(r->arena, out.tokens, 0);
    if (!may_ask_for_tokens(r))
        out.error_code = ERR_DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
    else if (r->s->tokens == NULL)
        out.error_code = ERR_DELEGATION_TOKEN_AUTH_DISABLED;
    else if (in.owners.len != 0)
        describe_tokens(r, &in, &out);
    ANSWER(r, describe_delegation_token_response, &out);
}

const struct api_entry api_describe_delegation_token = {
    .key = API_DESCRIBE_DELEGATION_TOKEN, .min = 0, .max = 3, .handle = handle_describe_tokens};
