/*
 * Hash tables, uthash's, by one function: XXH3 with a secret of this process. Names of topics, groups, members and
 * clients, ids of producers are chosen by others, who could make them all fall into one place if they knew where each
 * falls, as of uthash's own function they do. This is the one place that includes <uthash.h>.
 */
#ifndef BARNABAS_HASH_H
#define BARNABAS_HASH_H

#include "base/base.h"

/* Of nothing, too. Another one in each process: not to be kept or sent. */
uint64_t hash_bytes(const void *p, size_t len);
uint64_t hash_pair(uint64_t a, uint64_t b);

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)hash_bytes((keyptr), (keylen)))
#include <uthash.h>

#endif
