/* A broker's life: start in order, serve, stop in order. */
#ifndef BARNABAS_BROKER_BROKER_H
#define BARNABAS_BROKER_BROKER_H

#include "config/config.h"

/* Runs on the calling thread until SIGTERM or SIGINT, or until it cannot go on. Returns the exit code. */
int broker_run(const struct broker_config *config);

#endif
