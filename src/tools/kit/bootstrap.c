#include "tools/kit/bootstrap.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tools/kit/tool.h"

static const char host_characters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-%._:";

/* A listener's protocol may stand before the address, and says nothing. */
static const char *behind_protocol(const char *entry)
{
    const char *mark = strstr(entry, "://");
    return mark != NULL && entry + strspn(entry, host_characters) == mark + 1 ? mark + 3 : entry;
}

static bool read_address(const char *entry, struct arena *a, struct bootstrap_address *out, struct fail *fail)
{
    const char *host = behind_protocol(entry), *colon = strrchr(host, ':');
    if (colon == NULL || colon == host || colon[1] == '\0' || colon[1 + strspn(colon + 1, "0123456789")] != '\0')
        return fail_set(fail, "Invalid url in bootstrap.servers: %s", entry);
    int64_t port;
    const char *stop = colon;
    if (*host == '[' && stop[-1] == ']') {
        host++;
        stop--;
    }
    out->host = arena_cstr(a, (struct str){host, (int32_t)(stop - host)});
    if (host[strspn(host, host_characters)] != '\0' && host + strspn(host, host_characters) != stop)
        return fail_set(fail, "Invalid url in bootstrap.servers: %s", entry);
    if (!java_integer(colon + 1, 1, UINT16_MAX, &port))
        return fail_set(fail, "Invalid port in bootstrap.servers: %s", entry);
    out->port = (int)port;
    return true;
}

static bool bootstrap_is_known(const char *host)
{
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    freeaddrinfo(found);
    return true;
}

bool bootstrap_read(const char *text, struct arena *a, struct bootstrap_address **out, int *count, struct fail *fail)
{
    char *rest = arena_cstr(a, str_of(text)), *entry;
    struct bootstrap_address *all = ARENA_ARRAY(a, struct bootstrap_address, strlen(text) + 1);
    *count = 0;
    while ((entry = strsep(&rest, ", ")) != NULL) {
        if (*entry == '\0')
            continue;
        if (!read_address(entry, a, &all[*count], fail))
            return false;
        if (bootstrap_is_known(all[*count].host))
            (*count)++;
        else
            fprintf(stderr, "WARN Couldn't resolve server %s from bootstrap.servers as DNS resolution failed for %s\n",
                    entry, all[*count].host);
    }
    *out = all;
    return *count > 0 || fail_set(fail, "No resolvable bootstrap urls given in bootstrap.servers");
}
