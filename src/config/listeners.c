/* Listeners: what listens where, what is advertised, and which listener the brokers use among
 * themselves. */
#include <arpa/inet.h>
#include <stdio.h>

#include "config/config_internal.h"

struct protocol_map {
    struct {
        const char *listener;
        enum security_protocol protocol;
    } * items;
    int count;
};

static bool map_find(const struct protocol_map *map, const char *listener, enum security_protocol *out)
{
    for (int i = map->count - 1; i >= 0; i--) { /* the later one counts */
        if (strcmp(map->items[i].listener, listener) == 0) {
            *out = map->items[i].protocol;
            return true;
        }
    }
    return false;
}

static bool map_parse(struct broker_config *c, struct protocol_map *map, struct fail *fail)
{
    static const char key[] = "listener.security.protocol.map";
    struct arena *a = &c->memory;
    struct config_list parts = text_split(c->listener_security_protocol_map, true, a);
    map->items = arena_alloc(a, sizeof(*map->items) * (size_t)parts.count);
    for (; map->count < parts.count; map->count++) {
        const char *part = parts.items[map->count], *colon = strrchr(part, ':');
        if (colon == NULL)
            return config_refuse(c, fail, key, "%s is not of the form NAME:PROTOCOL", part);
        struct str name = {part, (int32_t)(colon - part)};
        map->items[map->count].listener = text_upper(text_trim(arena_cstr(a, name), a), a);
        if (!security_protocol_parse(text_upper(text_trim(colon + 1, a), a), &map->items[map->count].protocol))
            return config_refuse(c, fail, key,
                                 "no security protocol is called %s (allowed: PLAINTEXT, SSL, "
                                 "SASL_PLAINTEXT, SASL_SSL)",
                                 colon + 1);
    }
    return true;
}

/* ---- One endpoint ---- */

static struct str listener_cut(const char *from, const char *end)
{
    return (struct str){from, (int32_t)(end - from)};
}

static bool is_host(struct str host)
{
    for (int32_t i = 0; i < host.len; i++) {
        char c = host.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && strchr("-%._:", c) == NULL)
            return false;
    }
    return true;
}

/* Finds the last "://": a name may be odd, but neither host nor port can hold it. */
static const char *end_of_name(const char *text)
{
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, "://")) != NULL; at++)
        found = at;
    return found;
}

/* NAME://host:port, NAME://[host]:port or NAME://:port */
static bool endpoint_split(const char *text, struct arena *a, struct listener *out)
{
    const char *name_end = end_of_name(text), *colon = strrchr(text, ':');
    int64_t port;
    if (name_end == NULL || name_end == text || colon < name_end + 3 || colon[1] == '+')
        return false;
    struct str host = listener_cut(name_end + 3, colon);
    if (host.len > 0 && host.p[0] == '[')
        host = listener_cut(host.p + 1, colon);
    if (host.len > 0 && host.p[host.len - 1] == ']')
        host.len--;
    if (!is_host(host) || !number_parse(colon + 1, 0, UINT16_MAX, &port))
        return false;
    out->name = text_upper(arena_cstr(a, listener_cut(text, name_end)), a);
    out->host = arena_cstr(a, host);
    out->port = (int)port;
    return true;
}

static bool endpoints_parse(struct broker_config *c, const char *key, const char *text, const struct protocol_map *map,
                            struct listener_list *out, struct fail *fail)
{
    struct config_list parts = text_split(text_trim(text, &c->memory), true, &c->memory);
    struct listener *items = ARENA_ARRAY(&c->memory, struct listener, parts.count);
    for (int i = 0; i < parts.count; i++) {
        if (!endpoint_split(parts.items[i], &c->memory, &items[i]))
            return config_refuse(c, fail, key, "%s is not of the form NAME://host:port, with a port up to 65535",
                                 parts.items[i]);
        if (!map_find(map, items[i].name, &items[i].protocol))
            return config_refuse(c, fail, key, "listener.security.protocol.map has no protocol for %s", items[i].name);
    }
    *out = (struct listener_list){items, parts.count};
    return true;
}

/* ---- All of them together ---- */

/* 4 or 6 when the host is an IP address, else 0. */
static int ip_version(const char *host)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN + 1];
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(host, "%"), host);
    return inet_pton(AF_INET, text, &address) == 1 ? 4 : inet_pton(AF_INET6, text, &address) == 1 ? 6 : 0;
}

/* Two listeners may share a port only when one has an IPv4 and the other an IPv6 address. */
static bool may_share_port(const struct listener *a, const struct listener *b)
{
    return ip_version(a->host) + ip_version(b->host) == 10;
}

static bool check_endpoints(const struct broker_config *c, const char *key, const struct listener_list *list,
                            bool share_ports, struct fail *fail)
{
    for (int i = 0; i < list->count; i++) {
        for (int j = 0; j < i; j++) {
            const struct listener *a = &list->items[i], *b = &list->items[j];
            if (strcmp(a->name, b->name) == 0)
                return config_refuse(c, fail, key, "two listeners are called %s", a->name);
            if (!share_ports && a->port != 0 && a->port == b->port && !may_share_port(a, b))
                return config_refuse(c, fail, key,
                                     "%s and %s have the same port, which needs an IPv4 and an IPv6 address", b->name,
                                     a->name);
        }
    }
    return true;
}

const struct listener *config_listener(const struct listener_list *list, const char *name)
{
    for (int i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

static bool resolve_advertised(struct broker_config *c, const struct protocol_map *map, struct fail *fail)
{
    static const char key[] = "advertised.listeners";
    const char *text = config_raw(c, key);
    if (text == NULL)
        c->advertised_listeners = c->listeners;
    else if (!endpoints_parse(c, key, text, map, &c->advertised_listeners, fail) ||
             !check_endpoints(c, key, &c->advertised_listeners, true, fail))
        return false;
    if (c->advertised_listeners.count == 0)
        return config_refuse(c, fail, text ? key : "listeners", "there must be one to advertise");
    for (int i = 0; i < c->advertised_listeners.count; i++) {
        const struct listener *l = &c->advertised_listeners.items[i];
        if (config_listener(&c->listeners, l->name) == NULL)
            return config_refuse(c, fail, key, "%s is not one of the listeners", l->name);
        if (strcmp(l->host, "0.0.0.0") == 0)
            return config_refuse(c, fail, text ? key : "listeners",
                                 "nobody can connect to 0.0.0.0: advertised.listeners must name an address");
    }
    return true;
}

/* The upper-case name, which must be advertised, and its protocol. */
static bool find_named(struct broker_config *c, const char *key, const char **name, const struct protocol_map *map,
                       enum security_protocol *protocol, struct fail *fail)
{
    *name = text_upper(*name, &c->memory);
    if (!map_find(map, *name, protocol))
        return config_refuse(c, fail, key, "listener.security.protocol.map has no protocol for %s", *name);
    if (config_listener(&c->advertised_listeners, *name) == NULL)
        return config_refuse(c, fail, key, "%s is not an advertised listener", *name);
    return true;
}

static bool resolve_inter_broker(struct broker_config *c, const struct protocol_map *map, struct fail *fail)
{
    const char *key = "inter.broker.listener.name", *other = "security.inter.broker.protocol";
    if (c->inter_broker_listener_name == NULL) {
        key = other;
        c->inter_broker_listener_name = security_protocol_name((int16_t)c->security_inter_broker_protocol);
    } else if (config_entry(c, other) != NULL) {
        return config_refuse(c, fail, key, "cannot be set together with %s", other);
    }
    enum security_protocol protocol = c->security_inter_broker_protocol;
    if (!find_named(c, key, &c->inter_broker_listener_name, map, &protocol, fail))
        return false;
    if (key != other) /* a protocol that was named holds whatever the map says of a listener like it */
        c->security_inter_broker_protocol = protocol;
    return true;
}

static bool resolve_control_plane(struct broker_config *c, const struct protocol_map *map, struct fail *fail)
{
    static const char key[] = "control.plane.listener.name";
    enum security_protocol protocol;
    if (c->control_plane_listener_name == NULL)
        return true;
    if (!find_named(c, key, &c->control_plane_listener_name, map, &protocol, fail))
        return false;
    if (strcmp(c->control_plane_listener_name, c->inter_broker_listener_name) == 0)
        return config_refuse(c, fail, key, "must not be the listener that the brokers use for the rest");
    return true;
}

bool listeners_resolve(struct broker_config *c, struct fail *fail)
{
    struct protocol_map map = {0};
    const char *text = config_raw(c, "listeners");
    if (text == NULL)
        text = config_broker_key("listeners")->default_text;
    return map_parse(c, &map, fail) && endpoints_parse(c, "listeners", text, &map, &c->listeners, fail) &&
           check_endpoints(c, "listeners", &c->listeners, false, fail) && resolve_advertised(c, &map, fail) &&
           resolve_inter_broker(c, &map, fail) && resolve_control_plane(c, &map, fail);
}
