/*
 * Preloaded into a broker, is the name service for hosts that end in ".test": each has the address ::1 and then
 * 127.0.0.1. As long as the file named by NAMES_HANG exists, it does not answer.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *suffix = host != NULL ? strrchr(host, '.') : NULL;
    if (suffix == NULL || strcmp(suffix, ".test") != 0 || (hints->ai_flags & AI_NUMERICHOST))
        return real(host, service, hints, out);
    while (access(getenv("NAMES_HANG"), F_OK) == 0)
        usleep(20000);
    int rc = real("::1", service, hints, out);
    return rc != 0 ? rc : real("127.0.0.1", service, hints, &(*out)->ai_next);
}
