/* The servers of an ensemble, as zookeeper.connect names them. */
#ifndef BARNABAS_CLUSTER_ZK_SERVERS_INTERNAL_H
#define BARNABAS_CLUSTER_ZK_SERVERS_INTERNAL_H

struct zk_server {
    char *host;
    int port;
};

/* Of a list without the chroot, on the heap; 2181 is the port of those that name none. */
struct zk_server *zk_servers_parse(const char *hosts, int *count);
void zk_servers_free(struct zk_server *servers, int count);

#endif
