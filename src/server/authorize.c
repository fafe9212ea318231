#include "server/authorize.h"

#include "base/logger.h"

/* An audit wants each line, a disk not more than this many a second. */
enum { AUDIT_LINES_PER_SECOND = 1000 };

LOG_PLACE(audit, "kafka.authorizer.logger")
static struct log_limit denials = {.per_second = AUDIT_LINES_PER_SECOND},
                        permissions = {.per_second = AUDIT_LINES_PER_SECOND};

static struct acl_asker authorize_asker(const struct request *r)
{
    return acl_asker(request_principal(r), str_of(connection_peer_host(r->x->conn) + 1));
}

static void note_answer(const struct request *r, const struct acl_asker *who, bool yes, enum acl_operation o,
                        enum acl_type t, const char *pattern, struct str name, int32_t references,
                        enum authorize_purpose purpose)
{
    enum log_level level = yes ? LEVEL_DEBUG : purpose == AUTHORIZE_FILTER ? LEVEL_TRACE : LEVEL_INFO;
    if (!log_is_on(&audit, level) || !log_limit_allows(yes ? &permissions : &denials, &audit))
        return;
    logger_write(level, &audit, __LINE__,
                 "Principal = %.*s:%.*s is %s Operation = %s from host = %.*s on resource = %s:%s:%.*s for "
                 "request = %s with resourceRefCount = %d",
                 STR_ARGS(who->principal.type), STR_ARGS(who->principal.name), yes ? "Allowed" : "Denied",
                 acl_operation_name(o), STR_ARGS(who->host), acl_type_name(t), pattern, STR_ARGS(name),
                 api_spec((int16_t)r->api->key)->name, references);
}

/* What may be looked at until this callback of the loop returns. */
static const struct acl_set *acls_of(const struct request *r)
{
    ensure(loop_is_mine(exchange_loop(r->x)));
    return acl_board_current(r->s->acls);
}

bool authorize(const struct request *r, enum acl_operation o, enum acl_type t, struct str name, int32_t references,
               enum authorize_purpose purpose)
{
    struct acl_asker who = authorize_asker(r);
    bool yes = acl_allowed(acls_of(r), &r->s->acl_policy, &who, t, name) >> o & 1;
    note_answer(r, &who, yes, o, t, acl_pattern_constant(ACL_LITERAL), name, references, purpose);
    return yes;
}

bool authorize_somewhere(const struct request *r, enum acl_operation o, enum acl_type t)
{
    struct acl_asker who = authorize_asker(r);
    bool yes = acl_allowed_somewhere(acls_of(r), &r->s->acl_policy, &who, t, o);
    if (!acl_is_super_user(&r->s->acl_policy, &who))
        note_answer(r, &who, yes, o, t, "UNKNOWN", STR_LIT("NONE"), 0, AUTHORIZE_REQUESTED);
    return yes;
}

int32_t authorized_operations(const struct request *r, enum acl_type t, struct str name)
{
    uint32_t all = acl_type_operations(t);
    if (!has_authorizer(r))
        return (int32_t)all;
    struct acl_asker who = authorize_asker(r);
    return (int32_t)(acl_allowed(acls_of(r), &r->s->acl_policy, &who, t, name) & all);
}
