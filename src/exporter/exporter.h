/*
 * What tells those who look at a broker how it is, over HTTP: metrics in several dialects, health, and beans as Jolokia
 * has them. Off unless it is asked for: by barnabas.http.listeners, by the agents that a Java broker would have been
 * started with in KAFKA_OPTS, jmx_exporter's with its file of rules and Jolokia's, or by metric.reporters, where
 * Strimzi's is named.
 *
 * It knows the broker by its beans, and the cluster by what a monitor sees of it.
 */
#ifndef BARNABAS_EXPORTER_H
#define BARNABAS_EXPORTER_H

#include "config/config.h"
#include "metrics/bean.h"
#include "monitor/monitor.h"

struct exporter;
/* Refused: what is asked for cannot be had. `out` is NULL if nothing is asked for. `config` and `metrics` outlive it.
 */
bool exporter_start(const struct broker_config *config, struct metrics *metrics, struct exporter **out,
                    struct fail *fail) NODISCARD;
/* Whether what is asked for can be had, but for the ports. */
bool exporter_check(const struct broker_config *config, struct fail *fail) NODISCARD;
/* From now on there is one, which outlives the exporter. */
void exporter_set_monitor(struct exporter *e, struct monitor *monitor);
/* What may change at run time: which names the reporter tells. NULL is fine. */
void exporter_follow(struct exporter *e, const struct broker_config *now);
/* Its stores are read again, if they are others now. Blocks; by one thread at a time. NULL is fine. */
void exporter_renew(struct exporter *e, const struct broker_config *now);
void exporter_stop(struct exporter *e); /* before any part of the broker goes that has beans; NULL is fine */

#endif
