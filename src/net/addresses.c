#include <netdb.h>
#include <stdio.h>

#include "net/net_internal.h"

static void take_family(struct addresses *a, const struct addrinfo *list, bool ipv4)
{
    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        if ((ai->ai_family == AF_INET) != ipv4 || ai->ai_addrlen > sizeof(*a->items))
            continue;
        a->items = xgrow(a->items, a->count + 1, &a->cap, sizeof(*a->items));
        a->items[a->count] = (struct sockaddr_storage){0};
        memcpy(&a->items[a->count++], ai->ai_addr, ai->ai_addrlen);
    }
}

bool addresses_find(struct addresses *a, const char *host, int port, bool numeric)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = numeric ? AI_NUMERICHOST : 0}, *list;
    *a = (struct addresses){0};
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return false;
    take_family(a, list, true);
    take_family(a, list, false);
    freeaddrinfo(list);
    return a->count > 0;
}

void addresses_clear(struct addresses *a)
{
    free(a->items);
    *a = (struct addresses){0};
}
