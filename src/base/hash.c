#include "base/hash.h"

#include <sys/random.h>
#include <xxhash.h>

/* As much as XXH3 may use; the kernel's, also where runs are simulated: what lies in a table has an order of its own.
 */
enum { SECRET_SIZE = 192 };
static uint8_t secret[SECRET_SIZE];
_Static_assert(SECRET_SIZE >= XXH3_SECRET_SIZE_MIN, "or it is refused");

/* Before main(), as tables may be made by any thread. */
__attribute__((constructor)) static void make_secret(void)
{
    ssize_t n = getrandom(secret, sizeof(secret), 0);
    ensure(n == (ssize_t)sizeof(secret)); /* up to 256 bytes it cannot be less */
}

uint64_t hash_bytes(const void *p, size_t len)
{
    return XXH3_64bits_withSecret(p, len, secret, sizeof(secret));
}

uint64_t hash_pair(uint64_t a, uint64_t b)
{
    const uint64_t both[] = {a, b};
    return hash_bytes(both, sizeof(both));
}
