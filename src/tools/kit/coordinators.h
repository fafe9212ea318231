/* Questions to the coordinator of a group or a transactional id, asked again while it loads or moves. */
#ifndef BARNABAS_TOOLS_KIT_COORDINATORS_H
#define BARNABAS_TOOLS_KIT_COORDINATORS_H

#include "tools/kit/ask.h"

enum coordinator_kind { COORDINATOR_GROUP = 0, COORDINATOR_TRANSACTION = 1 }; /* as in FindCoordinator */

struct coordinator {
    int32_t id, port;
    struct str host;
};

/* It loads, moves, or is not known yet: the error goes by itself. */
bool coordinator_is_away(int16_t error);

/* Asks the broker once. What the answer refuses is left in `error`; false: there is no answer. */
typedef bool coordinator_step(struct asker *asker, const struct coordinator *at, void *arg, int16_t *error,
                              struct arena *a, struct fail *fail);

struct coordinator_call {
    enum coordinator_kind kind;
    struct str key;
    int64_t timeout_ms; /* how long it goes on while the coordinator is not there */
    coordinator_step *step;
    void *arg;
};

/* `error` is the last one: of finding the coordinator, or of the step. */
bool coordinator_ask(struct asker *asker, const struct coordinator_call *call, int16_t *error, struct arena *a,
                     struct fail *fail) NODISCARD;

#endif
