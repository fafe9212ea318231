#include "base/chance.h"

#include <sys/random.h>

void chance_fill(void *out, size_t len)
{
    ssize_t n = getrandom(out, len, 0);
    ensure(n == (ssize_t)len); /* up to 256 bytes it cannot be less, once the kernel has started */
}

uint64_t chance_below(uint64_t limit)
{
    uint64_t x;
    chance_fill(&x, sizeof(x));
    return limit > 0 ? x % limit : 0;
}
