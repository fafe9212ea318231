/*
 * The way between ZooKeeper's client library and the servers. The library keeps the session: its id, its requests, its
 * watches, its time-outs. The bridge carries the frames, and is what stands between the library's habits and a large
 * cluster:
 *
 *   - after a reconnect the library sends all its watches in one frame. With more than a million bytes of them a server
 *     hangs up, each time. The bridge cuts that frame into several.
 *   - it looks up hosts itself, and waits for that: the bridge asks on threads of their own.
 *   - Debian's library speaks plain TCP only, and has no logins but those of ZooKeeper's own kind. The bridge speaks
 * TLS to the servers, and on each connection says by SASL who it is before anything of the library's is served.
 *
 * The library connects to a socket on the loopback, which serves nobody else. There are other ways to come between
 * them: to speak the protocol ourselves would make that code ours, with sessions and all that goes wrong with them;
 * a library of our own build would have to be cared for; and putting other sockets behind the library's back depends on
 * what is inside of it. Frames have looked the same since ZooKeeper's first version.
 *
 * On the loop. One connection of the library's at a time.
 */
#ifndef BARNABAS_CLUSTER_ZK_BRIDGE_INTERNAL_H
#define BARNABAS_CLUSTER_ZK_BRIDGE_INTERNAL_H

#include "base/fail.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "cluster/zk.h"

struct zk_bridge;

/* `hosts`: host:port,... */
struct zk_bridge *zk_bridge_new(const struct zk_options *options, const char *hosts);
void zk_bridge_free(struct zk_bridge *b);
/* Where the library is to connect to. False if there is no socket to be had now. */
bool zk_bridge_open(struct zk_bridge *b, int *port, struct fail *fail) NODISCARD;
/* The library's socket: who comes from it is served. -1: nobody. */
void zk_bridge_expect(struct zk_bridge *b, int fd);
/* The library is about to close a session. It waits for the server's hanging up, which the loop could not bring it. */
void zk_bridge_say_end(struct zk_bridge *b);
/*
 * The library has closed its socket: what it has sent before goes out now, as the loop may not come to it again. If
 * that ends the session, waits for the server's hanging up, a second at most.
 */
void zk_bridge_finish(struct zk_bridge *b, bool session_ends);
int zk_bridge_server_count(const struct zk_bridge *b);
/* How many frames servers have sent since the start, other than the answers to handshakes. */
int64_t zk_bridge_answers(const struct zk_bridge *b);
/* Why the last server that was reached has not served, as far as that is known; empty: none, or it has. */
const char *zk_bridge_trouble(const struct zk_bridge *b);

#endif
