/*
 * The addresses of hosts that limits on connections name. A name is looked up when it is new, and when its limit
 * becomes another; what was found stays until something else is. What is an address itself needs nothing of this.
 */
#ifndef BARNABAS_NET_HOST_NAMES_H
#define BARNABAS_NET_HOST_NAMES_H

#include "net/addresses.h"

/* In which setting; each has a limit of its own for a host. */
enum host_name_use { HOST_OVERRIDES, HOST_RATES, HOST_NAME_USES };

struct host_names;
struct host_names *host_names_new(void);
void host_names_free(struct host_names *n);
/*
 * From now on names are looked up on threads of `resolvers`, few at a time, and found() is called on the loop, on
 * which all else is done. Until then look-ups are made in place.
 */
void host_names_ask_by(struct host_names *n, struct loop *loop, struct workers *resolvers, void (*found)(void *ctx),
                       void *ctx);
/* The names are read anew: those that are not asked for until the end are forgotten. */
void host_names_begin(struct host_names *n);
const struct addresses *host_names_find(struct host_names *n, const char *host, enum host_name_use use, int limit);
void host_names_end(struct host_names *n);

#endif
