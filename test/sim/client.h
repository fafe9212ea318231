/* Producers with acks=all and readers, one of each for every partition, and the facts that they establish. */
#ifndef BARNABAS_SIM_CLIENT_H
#define BARNABAS_SIM_CLIENT_H

#include "base/bytes.h"
#include "sim.h"

#define SIM_TOPIC "t"

enum { MAX_PARTITIONS = 4, MIN_IN_SYNC = 2 };

/*
 * A batch at an offset of a partition that somebody was told of: acknowledged, read by a consumer, or below a high
 * watermark. From then on nothing else may ever be there.
 */
void fact_state(int partition, int64_t offset, uint32_t crc, const char *who);
/* Checks a replica's whole log in the end: every fact must be in it. */
void facts_check_log(int partition, struct bytes log, const char *who);
int64_t facts_count(void);
int64_t fact_last(int partition); /* the highest offset of any; -1: none */
/* The fact of an acknowledgement, which must be on enough disks already. */
void fact_acknowledged(int partition, int64_t offset, uint32_t crc);
/* Something that must not be: said, and the run ends as failed. */
void violation(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* main.c: how many brokers have that offset on their disks. */
int replicas_with(int partition, int64_t offset);
/* main.c: who may lead next has all that anybody was told of. */
void check_in_sync(int partition);

void clients_start(int partitions);
void clients_stop(void); /* nothing new is sent */
int64_t clients_acknowledged(void);

#endif
