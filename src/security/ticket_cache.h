/*
 * Tickets of Kerberos that lie in a cache, where kinit has put them: they can be had anew, without a password, until
 * the day that they were made renewable to, if that is done before they end. It is what kinit -R does.
 */
#ifndef BARNABAS_TICKET_CACHE_H
#define BARNABAS_TICKET_CACHE_H

#include "base/fail.h"

enum ticket_renewal { RENEWAL_NOT_DUE, RENEWAL_DONE, RENEWAL_FAILED };

/*
 * Renews the tickets of the owner of the cache, "" being the library's own choice, when that part of their life is
 * over. It may wait for a KDC. Any thread; for one cache, one at a time. `fail` is set if it has failed.
 */
enum ticket_renewal ticket_cache_renew(const char *cache, double part, struct fail *fail);

#endif
