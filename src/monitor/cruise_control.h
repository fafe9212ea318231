/*
 * Writes what Cruise Control's metrics reporter would (cruise_records.h) to its topic, at its interval, where
 * `metric.reporters` names it. The records go to the leaders of the topic's partitions over the listener between
 * brokers, as this broker; what cannot be written is tried a few times and then dropped, with a line in the log.
 */
#ifndef BARNABAS_CRUISE_CONTROL_H
#define BARNABAS_CRUISE_CONTROL_H

#include "config/config.h"
#include "metrics/bean.h"

#define CRUISE_CONTROL_REPORTER "com.linkedin.kafka.cruisecontrol.metricsreporter.CruiseControlMetricsReporter"

struct client_route;
struct loop;

struct cruise_control_options {
    struct loop *loop; /* one of those that get views; its thread is the caller's. Making the records takes a while */
    struct client_route *route;
    const struct broker_config *config;
    struct metrics *metrics;
    int32_t broker_id;
};

/* Whether the configuration asks for it. */
bool cruise_control_is_wanted(const struct broker_config *config);

struct cruise_control;
struct cruise_control *cruise_control_new(const struct cruise_control_options *options);
void cruise_control_begin(struct cruise_control *c); /* on its loop, or before its thread runs */
void cruise_control_stop(struct cruise_control *c);  /* when the loop's thread has ended; NULL is fine */
void cruise_control_free(struct cruise_control *c);

#endif
