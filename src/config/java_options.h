/* What operators say to Java's start by the environment, and what of it means something here. */
#ifndef BARNABAS_JAVA_OPTIONS_H
#define BARNABAS_JAVA_OPTIONS_H

#include "base/arena.h"

/*
 * The value of -DNAME=VALUE in KAFKA_OPTS, else in KAFKA_LOG4J_OPTS; of the last one if there are several; NULL: there
 * is none. In the arena.
 */
const char *java_property(const char *name, struct arena *a);

/* The next -javaagent:PATH=ARGUMENTS in KAFKA_OPTS; `at` is 0 first. False: no more. In the arena. */
bool java_agent_next(size_t *at, struct arena *a, const char **path, const char **arguments);

#endif
