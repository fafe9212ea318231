#include "net/net.h"

static bool ip_rate_is_of(const struct ip_rate *r, const char *host)
{
    return r->host == NULL || host == NULL ? r->host == host : strcmp(r->host, host) == 0;
}

bool ip_rates_set(struct ip_rates *r, const char *host, int per_second)
{
    size_t i = 0;
    while (i < r->count && !ip_rate_is_of(&r->items[i], host))
        i++;
    if ((i < r->count ? r->items[i].per_second : -1) == MAX(per_second, -1))
        return false;
    if (i == r->count) {
        r->items = xgrow(r->items, r->count + 1, &r->cap, sizeof(*r->items));
        r->items[r->count++] = (struct ip_rate){host != NULL ? xstrdup(host) : NULL, per_second};
    } else if (per_second >= 0) {
        r->items[i].per_second = per_second;
    } else {
        free(r->items[i].host);
        r->items[i] = r->items[--r->count];
    }
    return true;
}

void ip_rates_clear(struct ip_rates *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->items[i].host);
    free(r->items);
    *r = (struct ip_rates){0};
}
