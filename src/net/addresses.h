/* Where a host can be reached, and asking for it off the loop. */
#ifndef BARNABAS_NET_ADDRESSES_H
#define BARNABAS_NET_ADDRESSES_H

#include <sys/socket.h>

#include "base/workers.h"

enum { ADDRESS_ROOM = 52 };

/* IPv4 before IPv6, which is the order of Kafka's Java clients and brokers. All zeroes is valid and empty. */
struct addresses {
    struct sockaddr_storage *items;
    size_t count, cap;
};
/* False: none is known. `numeric`: it must be an address itself; otherwise this may ask the name service and wait. */
bool addresses_find(struct addresses *a, const char *host, int port, bool numeric);
void addresses_clear(struct addresses *a);
socklen_t address_len(const struct sockaddr_storage *a);
int address_port(const struct sockaddr_storage *a);
/* As Java writes it, without the port: IPv4 that came by IPv6 as IPv4, IPv6 with all its groups. */
void address_text(const struct sockaddr_storage *a, char text[ADDRESS_ROOM]);
/* The name of an address, if the name service says the same in the other direction; it may be waited for. */
bool address_find_name(const struct sockaddr_storage *a, char *name, size_t room) NODISCARD;

/* A question to the name service, which may take so long that it outlives who asks, and that one's loop. */
struct lookup;
/* Asks on a thread of `resolvers`; then `done` on the loop, with what was found, perhaps nothing, to be left or taken.
 */
struct lookup *lookup_start(struct loop *loop, struct workers *resolvers, const char *host, int port,
                            void (*done)(void *ctx, struct addresses *found), void *ctx);
void lookup_abandon(struct lookup *l); /* `done` will not be called. NULL is none. */

#endif
