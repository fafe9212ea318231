#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
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

socklen_t address_len(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

int address_port(const struct sockaddr_storage *a)
{
    return ntohs(a->ss_family == AF_INET ? ((const struct sockaddr_in *)a)->sin_port
                                         : ((const struct sockaddr_in6 *)a)->sin6_port);
}

static void ipv4_text(const uint8_t *b, char text[ADDRESS_ROOM])
{
    snprintf(text, ADDRESS_ROOM, "%d.%d.%d.%d", b[0], b[1], b[2], b[3]);
}

static void ipv6_text(const struct sockaddr_in6 *a, char text[ADDRESS_ROOM])
{
    size_t at = 0;
    for (int i = 0; i < 16; i += 2)
        at += (size_t)snprintf(text + at, ADDRESS_ROOM - at, "%s%x", i > 0 ? ":" : "",
                               be16_get(a->sin6_addr.s6_addr + i));
    if (a->sin6_scope_id != 0)
        snprintf(text + at, ADDRESS_ROOM - at, "%%%" PRIu32, a->sin6_scope_id);
}

void address_text(const struct sockaddr_storage *a, char text[ADDRESS_ROOM])
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    if (a->ss_family == AF_INET)
        ipv4_text((const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr, text);
    else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        ipv4_text(v6->sin6_addr.s6_addr + 12, text);
    else
        ipv6_text(v6, text);
}

static bool addresses_is_among(const struct sockaddr_storage *address, const struct addresses *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (memcmp(&a->items[i], address, sizeof(*address)) == 0)
            return true;
    return false;
}

bool address_find_name(const struct sockaddr_storage *a, char *name, size_t room)
{
    struct addresses back;
    bool ok =
        getnameinfo((const struct sockaddr *)a, address_len(a), name, (socklen_t)room, NULL, 0, NI_NAMEREQD) == 0 &&
        addresses_find(&back, name, address_port(a), false);
    if (!ok)
        return false;
    ok = addresses_is_among(a, &back);
    addresses_clear(&back);
    return ok;
}

char *own_host_name(struct fail *fail)
{
    char own[HOST_NAME_MAX + 1] = "", name[NI_MAXHOST];
    struct addresses a;
    if (gethostname(own, sizeof(own) - 1) != 0 || !addresses_find(&a, own, 0, false)) {
        fail_set(fail, "This machine's own name, %s, has no address: give advertised.listeners a host", own);
        return NULL;
    }
    if (!address_find_name(&a.items[0], name, sizeof(name)))
        address_text(&a.items[0], name);
    addresses_clear(&a);
    return xstrdup(name);
}
