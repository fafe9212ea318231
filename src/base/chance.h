/* Random numbers, of the kernel's: good enough for ids that nobody may guess. Simulated runs link their own. */
#ifndef BARNABAS_CHANCE_H
#define BARNABAS_CHANCE_H

#include "base/base.h"

void chance_fill(void *out, size_t len);
uint64_t chance_below(uint64_t limit); /* 0 to limit - 1; 0 if limit is 0 */

#endif
