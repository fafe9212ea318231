/*
 * What clients may use (KIP-13, KIP-55, KIP-124, KIP-219, KIP-546, KIP-599): limits of users and clients, as ZooKeeper
 * has them, and what each has used of late.
 *
 * Of the limits of a type the first that is set counts, and says with whom a client shares it:
 *
 *     users/U/clients/C, users/U/clients/<default>                    U's clients C by themselves
 *     users/U                                                         all clients of U together
 *     users/<default>/clients/C, users/<default>/clients/<default>    each user's clients C by themselves
 *     users/<default>                                                 all clients of a user together, each user
 *     clients/C, clients/<default>                                    all clients C together, whoever they are
 *
 * A client without an id has only the limits of its user. Who has no limit is only counted to be told of, and only in
 * types in which others have one. A limit of 0 lets one request pass, and then none for weeks.
 *
 * Any thread. As long as no limit of a type is set, that type costs a branch; then a lock for each request, one for
 * each type.
 */
#ifndef BARNABAS_QUOTAS_H
#define BARNABAS_QUOTAS_H

#include <stdatomic.h>

#include "base/rate.h"
#include "cluster/znodes.h"
#include "metrics/bean.h"

enum quota_type {
    QUOTA_PRODUCE,  /* bytes a second */
    QUOTA_FETCH,    /* the same */
    QUOTA_REQUEST,  /* percent of one thread's time */
    QUOTA_MUTATION, /* partitions made and deleted, a second */
    QUOTA_TYPES
};

const char *quota_key(enum quota_type type); /* as settings are called: "producer_byte_rate" */

/* Those of one client for whom something is counted; names as they are, not as paths have them. */
struct quota_client {
    struct str user, id;
};

struct quotas;

/* `mutations` is the window of QUOTA_MUTATION, `others` that of all others. */
struct quotas *quotas_new(struct rate_window others, struct rate_window mutations);
/* What each client for whom something is counted has used of late becomes beans, until the quotas are freed. */
void quotas_count(struct quotas *q, struct metrics *m);
void quotas_free(struct quotas *q);

/* What the entity has now, by its path below /config ("users/al%20ice/clients/x"); others than users and clients are
 * passed over. */
void quotas_take(struct quotas *q, const char *entity, const struct config_znode *pairs);

/* Whether any limit of the type is set: if not, nothing need be asked below. */
bool quotas_limit(const struct quotas *q, enum quota_type type);

struct quota_verdict {
    enum quota_type type;
    int32_t wait_ms; /* how long the client has to pause; 0: not at all */
    /* It is the amount alone that is too much, whenever it comes: who makes it wait makes it wait for ever. */
    bool always;
};

/* Counts the amount. Not of QUOTA_MUTATION. */
struct quota_verdict quotas_charge(struct quotas *q, enum quota_type type, struct quota_client who, double amount,
                                   int64_t now_ms);
/* The client has to pause by that verdict. Where connections are counted that do, for as long as this one does. */
atomic_int *quotas_count_pause(struct quotas *q, struct quota_verdict verdict, struct quota_client who, int64_t now_ms);
/* It has not happened after all. `now_ms` is that of the charge. */
void quotas_refund(struct quotas *q, enum quota_type type, struct quota_client who, double amount, int64_t now_ms);
/* So many microseconds of a thread went to what nobody is charged for: requests between brokers, those without an
 * answer. Without a lock. */
void quotas_count_exempt(struct quotas *q, int64_t us);
/* More than this at once always makes it wait. */
double quotas_most_at_once(struct quotas *q, enum quota_type type, struct quota_client who);

/*
 * Takes so many changes of partitions off what the client may make. Who is in debt already is refused if it knows of
 * such refusals (`strict`), and the amount is not counted; else it has to pause afterwards.
 */
bool quotas_mutate(struct quotas *q, struct quota_client who, int32_t partitions, bool strict, int64_t now_ms,
                   int32_t *wait_ms) NODISCARD;

#endif
