/*
 * Questions to the coordinator of a group or a transactional id, asked again while it loads, moves, or is not there: it
 * is looked up anew each time. A question that may have been answered by deeds is asked again only if that does no
 * harm.
 */
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
    bool repeatable; /* it may be done twice, and comes to the same */
};

/* `error` is the last one: of finding the coordinator, or of the step. */
bool coordinator_ask(struct asker *asker, const struct coordinator_call *call, int16_t *error, struct arena *a,
                     struct fail *fail) NODISCARD;

/* What is asked of all brokers, each of which tells of what it coordinates. */
struct coordinator_list_call {
    int16_t key, min_version;
    const void *request;
    void *response;
    const int16_t *error; /* in the response */
    int64_t deadline_ms;  /* until then it goes on, on the monotonic clock */
};

bool coordinator_list(struct asker *asker, int32_t broker, const struct coordinator_list_call *call, struct arena *a,
                      struct fail *fail) NODISCARD;

#endif
