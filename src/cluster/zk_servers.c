#include "cluster/zk_servers_internal.h"

#include "base/base.h"

enum { DEFAULT_PORT = 2181 };

/* host, host:port, [IPv6]:port, or an IPv6 address alone. */
static struct zk_server parse_server(const char *text, size_t len)
{
    struct zk_server s = {xstrndup(text, len), DEFAULT_PORT};
    char *colon = strrchr(s.host, ':'), *bracket = strrchr(s.host, ']');
    bool ipv6 = bracket == NULL && colon != NULL && strchr(s.host, ':') != colon;
    if (colon != NULL && colon > bracket && !ipv6) {
        *colon = '\0';
        s.port = atoi(colon + 1);
    }
    if (s.host[0] == '[' && bracket != NULL) {
        *bracket = '\0';
        memmove(s.host, s.host + 1, strlen(s.host));
    }
    return s;
}

struct zk_server *zk_servers_parse(const char *hosts, int *count)
{
    struct zk_server *servers = NULL;
    for (*count = 0; *hosts != '\0';) {
        size_t len = strcspn(hosts, ", ");
        if (len > 0) {
            servers = xrealloc(servers, (size_t)(*count + 1) * sizeof(*servers));
            servers[(*count)++] = parse_server(hosts, len);
        }
        hosts += len + (hosts[len] != '\0');
    }
    return servers;
}

void zk_servers_free(struct zk_server *servers, int count)
{
    for (int i = 0; i < count; i++)
        free(servers[i].host);
    free(servers);
}
