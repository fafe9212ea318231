/* Sockets that listen. */
#ifndef BARNABAS_NET_LISTENING_H
#define BARNABAS_NET_LISTENING_H

/*
 * A socket that does not block, or -1, and why. An empty host means all addresses: IPv6 with IPv4 where there is IPv6,
 * else IPv4; that of a name is IPv4 if it can be. A negative receive buffer is the kernel's.
 */
int listen_at(const char *host, int port, int backlog, int receive_buffer, const char **why);
int listening_port(int fd);

#endif
