/* A broker's life: start in order, serve, stop in order. */
#ifndef BARNABAS_BROKER_BROKER_H
#define BARNABAS_BROKER_BROKER_H

#include "config/config.h"

/* Runs on the calling thread until SIGTERM or SIGINT, or until it cannot go on. Returns the exit code. */
int broker_run(const struct broker_config *config);

/*
 * Whether it could start, as far as that shows without ZooKeeper, without a port and without a file being written.
 * Identity providers are asked for their keys.
 */
bool broker_check(const struct broker_config *config, struct fail *fail) NODISCARD;

/*
 * Writes a file for who is to find out from afar what is wrong with this machine's broker, which need not run: build,
 * settings without secrets, disks, what it says of itself, the end of its log. False: the file cannot be written.
 */
bool broker_diagnose(const struct broker_config *config, const char *path, struct fail *fail) NODISCARD;

#endif
