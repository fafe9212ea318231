/* What the files of cluster/ that write znodes in JSON share. */
#ifndef BARNABAS_ZNODES_INTERNAL_H
#define BARNABAS_ZNODES_INTERNAL_H

#include <jansson.h>

#include "base/arena.h"

/* Its text in the arena. Takes the reference. */
struct bytes znode_dump(struct arena *a, json_t *json);

#endif
