/*
 * A client's login by SASL: what is said on a connection before its first call (KIP-43, KIP-152, KIP-368). The client
 * sends the frames and brings the answers; what takes long is done on a worker. On the client's loop.
 */
#ifndef BARNABAS_CLIENT_LOGIN_H
#define BARNABAS_CLIENT_LOGIN_H

#include "base/fail.h"
#include "base/strbuf.h"
#include "base/workers.h"
#include "security/sasl.h"

enum login_state { LOGIN_GOES_ON, LOGIN_DONE, LOGIN_FAILED };

struct login_turn {
    enum login_state state;
    struct strbuf frame; /* to be sent if it goes on; who gets the turn may take it */
    int64_t lifetime_ms; /* after LOGIN_DONE; 0: for ever */
    struct fail why;     /* of LOGIN_FAILED */
};

struct client_login;
/* `turn` is called after the start and after each answer, perhaps from within. `workers` NULL: in place. */
struct client_login *client_login_new(const struct sasl_login *login, const char *host, struct loop *loop,
                                      struct workers *workers, void (*turn)(void *ctx, struct login_turn *turn),
                                      void *ctx);
void client_login_start(struct client_login *l);
void client_login_answer(struct client_login *l, struct bytes frame);
void client_login_abandon(struct client_login *l); /* takes it; `turn` is not called any more. NULL is none. */

#endif
