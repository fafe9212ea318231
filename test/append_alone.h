/* For tests of logs: one append, synced if it has to be. */
#ifndef BARNABAS_APPEND_ALONE_H
#define BARNABAS_APPEND_ALONE_H

#include "log/plog.h"

static inline enum kafka_error append_alone(struct plog *log, const struct prepared *p, int32_t leader_epoch,
                                            struct append_result *out)
{
    struct leader_append one = {.records = p}, *all[] = {&one};
    plog_append_leader(log, all, ARRAY_LEN(all), leader_epoch);
    *out = one.result;
    if (out->flush_due && !plog_flush_to(log, out->last_offset + 1))
        return ERR_KAFKA_STORAGE_ERROR;
    return one.error;
}

#endif
