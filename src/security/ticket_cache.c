#include "security/ticket_cache.h"

#include <krb5.h>

#include "base/base.h"

struct ticket_cache {
    krb5_context context;
    krb5_ccache cache;
    krb5_principal owner;
};

static krb5_error_code ticket_cache_open(struct ticket_cache *c, const char *name)
{
    krb5_error_code rc =
        *name != '\0' ? krb5_cc_resolve(c->context, name, &c->cache) : krb5_cc_default(c->context, &c->cache);
    return rc != 0 ? rc : krb5_cc_get_principal(c->context, c->cache, &c->owner);
}

static void ticket_cache_close(struct ticket_cache *c)
{
    krb5_free_principal(c->context, c->owner);
    if (c->cache != NULL)
        krb5_cc_close(c->context, c->cache);
    krb5_free_context(c->context);
}

/* The ticket that others are had by: that of the KDC of the owner's realm. */
static krb5_error_code find_first_ticket(const struct ticket_cache *c, krb5_creds *out)
{
    const krb5_data *realm = krb5_princ_realm(c->context, c->owner);
    krb5_creds wanted = {.client = c->owner};
    krb5_error_code rc = krb5_build_principal_ext(c->context, &wanted.server, realm->length, realm->data,
                                                  KRB5_TGS_NAME_SIZE, KRB5_TGS_NAME, realm->length, realm->data, 0);
    if (rc != 0)
        return rc;
    rc = krb5_cc_retrieve_cred(c->context, c->cache, 0, &wanted, out);
    krb5_free_principal(c->context, wanted.server);
    return rc;
}

/* The library's times are seconds since 1970, in 32 bits that have no sign since its version 1.16. */
static int64_t ticket_time(krb5_timestamp t)
{
    return (uint32_t)t;
}

static krb5_error_code is_renewal_due(const struct ticket_cache *c, double part, bool *out)
{
    krb5_creds ticket = {0};
    krb5_timestamp now;
    krb5_error_code rc = find_first_ticket(c, &ticket);
    if (rc != 0)
        return rc;
    rc = krb5_timeofday(c->context, &now);
    int64_t begin = ticket_time(ticket.times.starttime != 0 ? ticket.times.starttime : ticket.times.authtime);
    int64_t life = ticket_time(ticket.times.endtime) - begin;
    *out = (double)(ticket_time(now) - begin) >= (double)life * part;
    krb5_free_cred_contents(c->context, &ticket);
    return rc;
}

/* Who looks for tickets between the two finds none, and tries again: the library cannot put one in another's place. */
static krb5_error_code put_renewed(const struct ticket_cache *c)
{
    krb5_creds ticket = {0};
    krb5_error_code rc = krb5_get_renewed_creds(c->context, &ticket, c->owner, c->cache, NULL);
    if (rc != 0)
        return rc;
    rc = krb5_cc_initialize(c->context, c->cache, c->owner);
    if (rc == 0)
        rc = krb5_cc_store_cred(c->context, c->cache, &ticket);
    krb5_free_cred_contents(c->context, &ticket);
    return rc;
}

enum ticket_renewal ticket_cache_renew(const char *cache, double part, struct fail *fail)
{
    struct ticket_cache c = {0};
    bool due = false;
    krb5_error_code rc = krb5_init_context(&c.context);
    if (rc != 0) {
        fail_set(fail, "the configuration of Kerberos cannot be read (error %d)", (int)rc);
        return RENEWAL_FAILED;
    }
    rc = ticket_cache_open(&c, cache);
    if (rc == 0)
        rc = is_renewal_due(&c, part, &due);
    if (rc == 0 && due)
        rc = put_renewed(&c);
    if (rc != 0) {
        const char *why = krb5_get_error_message(c.context, rc);
        fail_set(fail, "%s", why);
        krb5_free_error_message(c.context, why);
    }
    ticket_cache_close(&c);
    return rc != 0 ? RENEWAL_FAILED : due ? RENEWAL_DONE : RENEWAL_NOT_DUE;
}
