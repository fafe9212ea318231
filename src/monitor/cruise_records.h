/*
 * What Cruise Control's metrics reporter tells of a broker, as records that its sampler reads: of each bean that it
 * knows a number or four, in a form of its own (com.linkedin.kafka.cruisecontrol.metricsreporter, version 0).
 *
 *     class       int8     of the broker 0, of a topic 1, of a partition 2
 *     version     int8     0
 *     type        int8     what the number is of
 *     time        int64    milliseconds
 *     broker      int32
 *     topic       int32, and as many bytes; of a topic or a partition. Dots are underscores, as in the names of beans
 *     partition   int32    of a partition
 *     value       float64
 */
#ifndef BARNABAS_CRUISE_RECORDS_H
#define BARNABAS_CRUISE_RECORDS_H

#include "base/strbuf.h"
#include "metrics/bean.h"

struct cruise_record {
    struct str key; /* of the record: the topic of a topic's, else the broker */
    struct bytes value;
};

struct cruise_options {
    int32_t broker;
    int64_t now_ms, interval_ms; /* the averages are those of one, five or fifteen minutes, as long as the interval */
    double cpu;                  /* how much of the machine's the process has used, up to 1; below 0: not known */
};

/* Calls `take` for each; what the record points to is good until it returns. Any thread. */
void cruise_records_make(struct metrics *m, const struct cruise_options *options,
                         void (*take)(void *ctx, const struct cruise_record *r), void *ctx);

#endif
