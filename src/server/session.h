/*
 * A connection's session: who is at its other end, and what that one has to do before it is served. On the connection's
 * loop, but for the steps of a SASL conversation.
 *
 *     GREETING ─ SaslHandshake ─► TALKING ─ last token ─► OPEN ─ SaslHandshake, if it has a lifetime ─► TALKING
 *                                    └────── refused ──────► OVER
 *
 * A listener without SASL has open sessions from the start.
 */
#ifndef BARNABAS_SESSION_H
#define BARNABAS_SESSION_H

#include "security/principal.h"
#include "server/logins.h"
#include "server/server_internal.h"

enum session_stage { SESSION_GREETING, SESSION_TALKING, SESSION_OPEN, SESSION_OVER };

struct session {
    struct services *s;
    struct connection *conn;
    const struct listener_logins *logins;
    enum session_stage stage;
    struct principal principal; /* whose name it owns; null before it is open */

    bool told_versions; /* not one of them that is unknown, or of a client that must not be called so (KIP-511) */
    bool raw;           /* tokens come in frames of their own, without a header (SaslHandshake 0) */
    bool again;         /* it was open, and logs in anew (KIP-368) */
    const struct mechanism_login *mechanism; /* of the conversation, and then of the session */
    const struct mechanism_login *first;     /* by which it was opened */
    struct sasl_server *talk;
    int64_t expires_ms;       /* when its login runs out, monotonic; 0: never */
    struct token_life *token; /* by which it was opened: the session is over with it, too. NULL: by none */
    int64_t last_again_ms;    /* when it began to log in anew */

    struct timer delay;       /* connection.failed.authentication.delay.ms runs */
    struct exchange *delayed; /* whose answer waits for it, and is the last */
    struct outgoing last_words;
};

struct session *connection_session(struct services *s, struct connection *conn);
/* Whether the request is to be handled. If not, it is being dealt with. */
bool session_admits(struct session *session, struct request *r);
/* The next frame is no request, but a token. */
bool session_expects_token(const struct session *session);

/* Logs why, and closes the connection after what `out` has, when the time for those who fail is over. */
void session_refuse(struct session *session, struct exchange *x, struct outgoing *out, const char *why);
/* The same for a first frame that is no request: who knocks with anything is to wait as those who fail do. */
void session_refuse_garbage(struct session *session, struct exchange *x);
/* Requests are served for this user from now on, who has come with that token, or with none. */
void session_open(struct session *session, struct str user, struct token_life *token);

#endif
