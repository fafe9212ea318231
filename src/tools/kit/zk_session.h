/* A ZooKeeper session for a tool: batches of operations, each waited for. */
#ifndef BARNABAS_TOOLS_KIT_ZK_SESSION_H
#define BARNABAS_TOOLS_KIT_ZK_SESSION_H

#include "base/fail.h"
#include "cluster/zk.h"

struct zk_session;

/* Waits until the session is there, at most 30 s. `tls_file` has zookeeper.ssl.*; NULL: there is none. */
struct zk_session *zk_session_open(const char *connect, const char *tls_file, struct fail *fail);
/* The same with time-outs of the tool's own. */
struct zk_session *zk_session_open_within(const char *connect, const char *tls_file, int32_t session_ms,
                                          int32_t connection_ms, struct fail *fail);
/* Ends the session, and with it what is open; the loop is there until zk_session_close(), which may come alone. */
void zk_session_end(struct zk_session *s);
void zk_session_close(struct zk_session *s);
struct zk *zk_session_zk(struct zk_session *s);
struct loop *zk_session_loop(struct zk_session *s);

/* A batch to fill, and to run: it is done when this returns, and is then to be freed. */
struct zk_batch *zk_session_batch(struct zk_session *s);
void zk_session_run(struct zk_session *s, struct zk_batch *b);
/* Runs the loop until zk_session_wake(): for operations that answer by a callback of their own. */
void zk_session_wait(struct zk_session *s);
void zk_session_wake(struct zk_session *s);

#endif
