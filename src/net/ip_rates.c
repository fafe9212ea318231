#include "net/net.h"

static void ip_rate_drop(struct ip_rates *r, struct ip_rate *rate)
{
    HASH_DEL(r->table, rate);
    free(rate->host);
    free(rate);
}

bool ip_rates_set(struct ip_rates *r, const char *host, int per_second)
{
    const char *name = host != NULL ? host : "";
    struct ip_rate *rate;
    HASH_FIND_STR(r->table, name, rate);
    if ((rate != NULL ? rate->per_second : -1) == MAX(per_second, -1))
        return false;
    if (per_second < 0) {
        ip_rate_drop(r, rate);
        return true;
    }
    if (rate == NULL) {
        rate = xcalloc(1, sizeof(*rate));
        rate->host = xstrdup(name);
        HASH_ADD_KEYPTR(hh, r->table, rate->host, strlen(rate->host), rate);
    }
    rate->per_second = per_second;
    return true;
}

void ip_rates_clear(struct ip_rates *r)
{
    while (r->table != NULL)
        ip_rate_drop(r, r->table);
}
