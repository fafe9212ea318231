#include "server/session.h"

#include <ctype.h>

#include "base/clock.h"
#include "base/logger.h"
#include "security/tls.h"

static struct log_limit refusals;

static void connection_session_free(void *context)
{
    struct session *session = context;
    ensure(session->delayed == NULL);
    sasl_server_free(session->talk);
    token_life_unref(session->token);
    str_free(session->principal.name);
    free(session);
}

/* ---- The last answer ---- */

static void say_last_words(struct session *session)
{
    struct exchange *x = session->delayed;
    ensure(x != NULL && session->stage == SESSION_OVER);
    session->delayed = NULL;
    x->abandoned = NULL;
    exchange_answer_last(x, &session->last_words);
}

static void on_delayed(struct timer *t)
{
    say_last_words(CONTAINER_OF(t, struct session, delay));
}

static void on_abandoned(struct exchange *x)
{
    struct session *session = *connection_context(x->conn, connection_session_free);
    timer_stop(&session->delay);
    say_last_words(session);
}

void session_refuse(struct session *session, struct exchange *x, struct outgoing *out, const char *why)
{
    int64_t delay_ms = session->s->config->connection_failed_authentication_delay_ms;
    char id[128];
    ensure(session->delayed == NULL && session->stage != SESSION_OVER);
    connection_id(x->conn, id, sizeof(id));
    log_info_limited(&refusals, "Failed authentication with %s (channelId=%s) (%s)", connection_peer_host(x->conn), id,
                     why);
    session->stage = SESSION_OVER;
    connection_note_login(session->conn, session->again ? NOTE_LOGIN_FAILED_AGAIN : NOTE_LOGIN_FAILED);
    session->delayed = x;
    session->last_words = *out;
    *out = (struct outgoing){0};
    if (delay_ms <= 0 || exchange_is_orphan(x)) {
        say_last_words(session);
        return;
    }
    x->abandoned = on_abandoned;
    exchange_park(x);
    timer_start(&session->delay, delay_ms);
}

void session_refuse_garbage(struct session *session, struct exchange *x)
{
    struct outgoing nothing = {0};
    session_refuse(session, x, &nothing,
                   "Exception handling first SASL packet from client, GSSAPI is not supported by server");
}

/* ---- Life ---- */

void session_open(struct session *session, struct str user, struct token_life *token)
{
    struct str old = session->principal.name;
    ensure(session->stage != SESSION_OVER);
    session->principal = (struct principal){principal_anonymous.type, str_dup(user), token != NULL};
    str_free(old);
    if (token != NULL)
        token_life_ref(token);
    token_life_unref(session->token);
    session->token = token;
    session->stage = SESSION_OPEN;
    connection_limit_frames(session->conn, session->s->config->socket_request_max_bytes);
}

/* By the certificate that the peer has shown, if it has: its name may be none that is let in. */
static void open_at_once(struct session *session)
{
    struct arena a = {0};
    struct fail why;
    struct principal who = principal_anonymous;
    struct ssl_st *tls = connection_tls(session->conn);
    if (tls == NULL || tls_peer_principal(tls, session->logins->subject_rules, &a, &who, &why)) {
        session_open(session, who.name, NULL);
    } else {
        log_warn_limited(&refusals, "Closing connection from %s: %s", connection_peer(session->conn), why.text);
        session->stage = SESSION_OVER;
    }
    arena_deinit(&a);
}

struct session *connection_session(struct services *s, struct connection *conn)
{
    void **place = connection_context(conn, connection_session_free);
    if (*place != NULL)
        return *place;
    struct session *session = *place = xcalloc(1, sizeof(*session));
    session->s = s;
    session->conn = conn;
    session->logins = logins_of(s->logins, connection_listener(conn));
    timer_init(&session->delay, loop_current(), on_delayed);
    if (session->logins->sasl)
        connection_limit_frames(conn, s->config->sasl_server_max_receive_size);
    else
        open_at_once(session);
    return session;
}

/* ---- Admission ---- */

bool session_expects_token(const struct session *session)
{
    return session->stage == SESSION_TALKING && session->raw;
}

/* As Apache's logs call it: DESCRIBE_CONFIGS. */
static const char *upper_name(enum api_key key, struct arena *a)
{
    const char *name = api_spec((int16_t)key)->name;
    char *out = arena_alloc(a, 2 * strlen(name) + 1), *p = out;
    for (; *name != '\0'; name++) {
        if (isupper((unsigned char)*name) && p != out)
            *p++ = '_';
        *p++ = (char)toupper((unsigned char)*name);
    }
    return out;
}

/*
 * The asked API's own answer with this error, as far as an answer can be made that knows nothing of the question: what
 * has no error for all of it says nothing.
 */
static void say_error(struct request *r, enum kafka_error error, struct outgoing *out)
{
    const struct message_type *type = api_spec((int16_t)r->api->key)->response;
    char *message = arena_alloc(r->arena, type->size);
    struct writer w;
    message_init(type, message);
    for (int i = 0; i < type->field_count; i++)
        if (strcmp(type->fields[i].name, "ErrorCode") == 0 && type->fields[i].type == FIELD_INT16)
            *(int16_t *)(void *)(message + type->fields[i].offset) = (int16_t)error;
    answer_begin(r, &w);
    message_write(type, &w, r->version, message);
    answer_take(r, &w, out);
}

/* Who has said by which mechanism is told before the end, who has not is not. */
static void refuse_early_request(struct session *session, struct request *r)
{
    struct outgoing out = {0};
    bool talking = session->stage == SESSION_TALKING;
    struct str why = arena_printf(r->arena, "Unexpected Kafka request of type %s during SASL %s.",
                                  upper_name(r->api->key, r->arena), talking ? "authentication" : "handshake");
    if (talking)
        say_error(r, ERR_ILLEGAL_SASL_STATE, &out);
    session_refuse(session, r->x, &out, why.p);
}

static bool admit_greeting(struct session *session, struct request *r)
{
    bool versions = r->api->key == API_API_VERSIONS;
    if (r->api->key == API_SASL_HANDSHAKE || (versions && !session->told_versions))
        return true;
    if (versions)
        exchange_abort(r->x, "unexpected ApiVersions request during SASL authentication");
    else
        refuse_early_request(session, r);
    return false;
}

/* A token may have been revoked, or given a nearer end, since somebody has come with it. */
static bool login_is_over(const struct session *session)
{
    return (session->expires_ms > 0 && clock_mono_ms() >= session->expires_ms) ||
           (session->token != NULL && token_life_is_over(session->token, clock_wall_ms()));
}

/* A login that ran out is not told so: the connection just ends, and the client comes again. */
static bool admit_open(struct session *session, struct request *r)
{
    if (!login_is_over(session) || r->api->key == API_SASL_HANDSHAKE)
        return true;
    struct outgoing nothing = {0};
    session->stage = SESSION_OVER;
    connection_note_login(session->conn, NOTE_LOGIN_EXPIRED);
    exchange_answer_last(r->x, &nothing);
    return false;
}

bool session_admits(struct session *session, struct request *r)
{
    switch (session->stage) {
    case SESSION_OPEN:
        return admit_open(session, r);
    case SESSION_GREETING:
        return admit_greeting(session, r);
    case SESSION_TALKING:
        if (r->api->key == API_SASL_AUTHENTICATE)
            return true;
        refuse_early_request(session, r);
        return false;
    case SESSION_OVER:
        exchange_abort(r->x, "a request after the session's end");
        return false;
    }
    unreachable("a session without a stage");
}
