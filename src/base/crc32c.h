/* CRC32C (Castagnoli), as Kafka checks record batches and producer snapshots. */
#ifndef BARNABAS_CRC32C_H
#define BARNABAS_CRC32C_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>

static inline uint32_t crc32c(const void *p, size_t len)
{
    return ~crc32_iscsi((unsigned char *)(uintptr_t)p, (int)len, ~0U);
}

#endif
