/*
 * A client names a mechanism by SaslHandshake, and then sends tokens: as bare frames if the handshake was of version 0,
 * else by SaslAuthenticate. Before Kafka 0.10 there was no handshake: a first frame that is of no API is taken for a
 * token of GSSAPI.
 *
 * A step takes thousands of hashes, or asks a file or another server, and is made by a worker. Nothing more of the
 * connection is begun meanwhile, so that worker and loop never have the session at the same time.
 */
#include "server/sasl.h"

#include "base/clock.h"
#include "base/logger.h"
#include "protocol/msg/sasl_authenticate.h"
#include "protocol/msg/sasl_handshake.h"

enum { LEAST_BETWEEN_LOGINS_MS = 1000, LENGTH_SIZE = 4 };

/* ---- SaslHandshake ---- */

static void list_mechanisms(struct request *r, const struct listener_logins *logins,
                            struct sasl_handshake_response *out)
{
    ARRAY_MAKE(r->arena, out->mechanisms, logins->count);
    for (int i = 0; i < logins->count; i++)
        out->mechanisms.items[i] = str_of(logins->names[i]);
}

static const struct mechanism_login *find_mechanism(const struct listener_logins *logins, struct str name)
{
    for (int i = 0; i < logins->count; i++)
        if (str_is(name, logins->names[i]))
            return &logins->mechanisms[i];
    return NULL;
}

static void begin_talk(struct session *session, const struct mechanism_login *mechanism, bool raw)
{
    ensure(session->stage != SESSION_OVER && session->stage != SESSION_TALKING);
    session->mechanism = mechanism;
    session->raw = raw;
    session->stage = SESSION_TALKING;
    sasl_server_free(session->talk);
    session->talk = sasl_server_new(&mechanism->login);
}

/* Of one who is served already: 34, or the login is made anew. */
static bool may_begin_again(struct session *session)
{
    int64_t now = clock_mono_ms();
    if (session->expires_ms == 0 ||
        (session->last_again_ms > 0 && now - session->last_again_ms < LEAST_BETWEEN_LOGINS_MS))
        return false;
    session->last_again_ms = now;
    session->again = true;
    return true;
}

static void refuse_mechanism(struct session *session, struct request *r, struct sasl_handshake_response *response,
                             struct str name)
{
    struct outgoing out;
    struct str why = arena_printf(r->arena, "Unsupported SASL mechanism %.*s", STR_ARGS(str_head(name, MOST_SAID)));
    response->error_code = ERR_UNSUPPORTED_SASL_MECHANISM;
    if (session->again)
        out = (struct outgoing){0}; /* as Kafka does: who is served already knows what there is */
    else
        ANSWER_INTO(r, sasl_handshake_response, response, &out);
    session_refuse(session, r->x, &out, why.p);
}

static void sasl_handshake_handle(struct request *r)
{
    struct session *session = connection_session(r->s, r->x->conn);
    struct sasl_handshake_request request;
    struct sasl_handshake_response response;
    if (!DECODE(r, sasl_handshake_request, &request))
        return;
    sasl_handshake_response_init(&response);
    if (session->stage == SESSION_OPEN && !may_begin_again(session)) {
        response.error_code = ERR_ILLEGAL_SASL_STATE;
        ANSWER(r, sasl_handshake_response, &response);
        return;
    }
    list_mechanisms(r, session->logins, &response);
    const struct mechanism_login *mechanism = find_mechanism(session->logins, request.mechanism);
    if (mechanism == NULL) {
        refuse_mechanism(session, r, &response, request.mechanism);
        return;
    }
    begin_talk(session, mechanism, r->version == 0);
    ANSWER(r, sasl_handshake_response, &response);
}

const struct api_entry api_sasl_handshake = {
    .key = API_SASL_HANDSHAKE, .min = 0, .max = 1, .handle = sasl_handshake_handle};

/* ---- A step of the conversation, on a worker ---- */

struct login_step {
    struct session *session;
    struct bytes token;
    struct sasl_step step;
};

static void take_step(struct request *r)
{
    struct login_step *l = r->state;
    sasl_server_step(l->session->talk, l->token, r->arena, &l->step);
}

static int64_t remaining_ms(const struct sasl_identity *who, int64_t max_reauth_ms)
{
    int64_t left = who->expires_ms > 0 ? MAX(who->expires_ms - clock_wall_ms(), (int64_t)0) : INT64_MAX;
    return max_reauth_ms > 0 ? MIN(left, max_reauth_ms) : left;
}

/* NULL: it is whom it was before. */
static const char *another_one(struct session *session, const struct sasl_identity *who, struct arena *a)
{
    if (!session->again || str_eq(session->principal.name, who->name))
        return NULL;
    return arena_printf(a, "Cannot change principals during re-authentication from User.%.*s: User.%.*s",
                        STR_ARGS(str_head(session->principal.name, MOST_SAID)),
                        STR_ARGS(str_head(who->name, MOST_SAID)))
        .p;
}

/* Somebody has come; how long that is good for, in ms, 0 if for ever. */
static int64_t let_in(struct session *session, const struct sasl_identity *who)
{
    int64_t lifetime = remaining_ms(who, session->mechanism->max_reauth_ms);
    log_debug("Successfully authenticated as principal User:%.*s from %s", STR_ARGS(who->name),
              connection_peer(session->conn));
    session->expires_ms = lifetime == INT64_MAX ? 0 : clock_mono_ms() + lifetime;
    if (!session->again)
        session->first = session->mechanism;
    if (session->again)
        connection_note_login(session->conn, NOTE_LOGIN_OK_AGAIN);
    else
        connection_note_login(session->conn, session->raw ? NOTE_LOGIN_OK_FOR_GOOD : NOTE_LOGIN_OK);
    session_open(session, who->name, who->token);
    sasl_server_free(session->talk);
    session->talk = NULL;
    return lifetime == INT64_MAX ? 0 : lifetime;
}

static const char *general_refusal(const struct session *session, struct arena *a)
{
    return arena_printf(a, "Authentication failed during %s due to invalid credentials with SASL mechanism %s",
                        session->again ? "re-authentication" : "authentication",
                        sasl_mechanism_name(session->mechanism->login.mechanism))
        .p;
}

static void frame_token(struct bytes token, struct outgoing *out)
{
    *out = (struct outgoing){0};
    be32_put(strbuf_extend(&out->mem, LENGTH_SIZE), (uint32_t)token.len);
    strbuf_add(&out->mem, token.p, (size_t)token.len);
}

static void refuse_login(struct request *r, struct login_step *l)
{
    struct session *session = l->session;
    struct outgoing out = {0};
    const char *reason = l->step.reason != NULL ? l->step.reason : l->step.refusal;
    if (!session->raw && !l->step.silent) {
        struct sasl_authenticate_response response;
        sasl_authenticate_response_init(&response);
        response.error_code = ERR_SASL_AUTHENTICATION_FAILED;
        response.error_message = str_of(l->step.refusal != NULL ? l->step.refusal : general_refusal(session, r->arena));
        response.auth_bytes = (struct bytes){(const uint8_t *)"", 0};
        ANSWER_INTO(r, sasl_authenticate_response, &response, &out);
    }
    session_refuse(session, r->x, &out, reason != NULL ? reason : "invalid credentials");
}

static void answer_step(struct request *r, struct login_step *l, int64_t lifetime_ms)
{
    if (l->session->raw && l->step.answer.p == NULL) { /* not even an empty frame */
        exchange_finish(r->x);
        return;
    }
    if (l->session->raw) {
        struct outgoing out;
        frame_token(l->step.answer, &out);
        exchange_answer(r->x, &out);
        return;
    }
    struct sasl_authenticate_response response;
    sasl_authenticate_response_init(&response);
    response.error_message = STR_LIT("");
    response.auth_bytes = l->step.answer.p != NULL ? l->step.answer : (struct bytes){(const uint8_t *)"", 0};
    response.session_lifetime_ms = lifetime_ms;
    ANSWER(r, sasl_authenticate_response, &response);
}

static void on_step_taken(struct request *r)
{
    struct login_step *l = r->state;
    struct session *session = l->session;
    int64_t lifetime_ms = 0;
    ensure(session->stage == SESSION_TALKING); /* nothing else of the connection is begun meanwhile */
    if (l->step.outcome == SASL_DONE) {
        const struct sasl_identity *who = sasl_server_identity(session->talk);
        const char *wrong = another_one(session, who, r->arena);
        if (wrong != NULL)
            l->step = (struct sasl_step){.outcome = SASL_REFUSED, .refusal = wrong};
        else
            lifetime_ms = let_in(session, who);
    }
    if (l->step.outcome == SASL_REFUSED)
        refuse_login(r, l);
    else
        answer_step(r, l, lifetime_ms);
}

static void step_on(struct session *session, struct request *r, struct bytes token)
{
    ensure(session->stage == SESSION_TALKING && session->talk != NULL);
    struct login_step *l = ARENA_NEW(r->arena, struct login_step);
    *l = (struct login_step){.session = session, .token = token};
    r->state = l;
    /* Another mechanism than the first is not logged in by again. */
    if (session->again && session->mechanism != session->first) {
        struct outgoing nothing = {0};
        session_refuse(session, r->x, &nothing, "a login of a session that runs is by another mechanism than before");
        return;
    }
    request_work_on(r, session->s->shakers, take_step, on_step_taken);
}

/* ---- SaslAuthenticate ---- */

static void sasl_authenticate_handle(struct request *r)
{
    struct session *session = connection_session(r->s, r->x->conn);
    struct sasl_authenticate_request request;
    if (!DECODE(r, sasl_authenticate_request, &request))
        return;
    if (session->stage == SESSION_TALKING) {
        step_on(session, r, request.auth_bytes);
        return;
    }
    struct sasl_authenticate_response response;
    sasl_authenticate_response_init(&response);
    response.error_code = ERR_ILLEGAL_SASL_STATE;
    response.error_message = STR_LIT("SaslAuthenticate request received after successful authentication");
    response.auth_bytes = (struct bytes){(const uint8_t *)"", 0};
    ANSWER(r, sasl_authenticate_response, &response);
}

const struct api_entry api_sasl_authenticate = {
    .key = API_SASL_AUTHENTICATE, .min = 0, .max = 2, .handle = sasl_authenticate_handle};

/* ---- Tokens without a frame of Kafka's ---- */

bool sasl_takes_old_token(struct session *session, struct exchange *x)
{
    const struct mechanism_login *mechanism = find_mechanism(session->logins, STR_LIT("GSSAPI"));
    if (session->stage != SESSION_GREETING || mechanism == NULL)
        return false;
    begin_talk(session, mechanism, true);
    sasl_take_token(session, x);
    return true;
}

void sasl_take_token(struct session *session, struct exchange *x)
{
    struct request *r = ARENA_NEW(&x->arena, struct request);
    *r = (struct request){.s = session->s, .x = x, .arena = &x->arena};
    x->context = r;
    step_on(session, r, (struct bytes){x->frame, x->frame_len});
}
