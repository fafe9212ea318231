/* What operators say to Java's start by the environment, and what of it means something here. */
#ifndef BARNABAS_JAVA_OPTIONS_H
#define BARNABAS_JAVA_OPTIONS_H

#include "base/arena.h"

/* The value of -DNAME=VALUE in KAFKA_OPTS, of the last one if there are several; NULL: there is none. In the arena. */
const char *java_property(const char *name, struct arena *a);

#endif
