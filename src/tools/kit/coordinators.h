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

/* ---- Of several keys at once ---- */

struct coordinator_item {
    struct str key;
    void *arg; /* the caller's */
    struct coordinator at;
    bool answered;   /* with the error, or none */
    int16_t error;   /* of finding the coordinator, or of the step */
    const char *why; /* there is no answer; NULL: there was one, which does not speak of it */
};

/*
 * Asks the broker once about items that it coordinates, sorted by their keys, and sets `answered` and `error` of those
 * that the answer has, or `why` where it cannot be used. False: there is no answer.
 */
typedef bool coordinator_step_of_all(struct asker *asker, int32_t broker, struct coordinator_item **items, int32_t n,
                                     struct arena *a, struct fail *fail);

/*
 * As coordinator_ask(), but by `step` and for all items, whose keys differ, until one deadline for all of them: each
 * coordinator gets one request for what it has, and no more than its share of the time, so that one which is silent
 * takes it from no other.
 */
void coordinator_ask_all(struct asker *asker, const struct coordinator_call *call, coordinator_step_of_all *step,
                         struct coordinator_item *items, int32_t n, struct arena *a);
/* The item that has the key; NULL: none of these. */
struct coordinator_item *coordinator_item_find(struct coordinator_item **items, int32_t n, struct str key);

/* ---- Of all brokers ---- */

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
