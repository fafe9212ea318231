/*
 * What kafka-reassign-partitions does, by requests to brokers (--bootstrap-server) or by reading and writing znodes
 * (--zookeeper): one set of operations, two ways to carry them out.
 */
#ifndef BARNABAS_TOOLS_REASSIGN_REASSIGN_H
#define BARNABAS_TOOLS_REASSIGN_REASSIGN_H

#include "base/arena.h"
#include "base/fail.h"
#include "cluster/znodes.h"

struct placement { /* a partition, and where its replicas are or are to be */
    struct str topic;
    int32_t partition;
    struct int_list replicas;
    struct int_list adding; /* while it is reassigned; they are among the replicas */
    struct int_list removing;
    int32_t place; /* in the file that it comes from */
    int16_t error; /* of its reassignment, with a message or without */
    struct str message;
};

struct placements { /* by topic and partition */
    struct placement *v;
    int32_t n;
};

/* Those of the same partition stay in the order of the file. */
void placements_sort(struct placements *p);
struct placement *placements_find(const struct placements *p, struct str topic, int32_t partition);
/* The topics, each once, in the arena. */
struct str *placements_topics(struct arena *a, const struct placements *p, int32_t *count);

struct dir_move { /* a replica that is to be in a certain log directory of its broker */
    struct str topic;
    int32_t partition, broker;
    struct str target;
    struct str current, future; /* where it is, and where it is being copied to; null if nowhere */
    int64_t bytes, future_bytes;
    int32_t place;
    bool started;
};

struct dir_moves { /* by broker, topic and partition */
    struct dir_move *v;
    int32_t n;
};

void dir_moves_sort(struct dir_moves *m);
/* The first of that replica, among sorted ones; NULL: none. */
struct dir_move *dir_moves_find(const struct dir_moves *m, int32_t broker, struct str topic, int32_t partition);

struct config_change { /* keys of one topic or broker; a value of NULL deletes the key */
    struct str topic;
    int32_t broker; /* if there is no topic */
    const struct config_pair *pairs;
    int32_t pair_count;
};

struct reassign_backend {
    /* All partitions of those topics, in order. Topics that do not exist are left out. */
    bool (*describe)(struct reassign_backend *b, const struct str *topics, int32_t count, struct placements *out,
                     struct fail *fail);
    bool (*brokers)(struct reassign_backend *b, struct registration **out, int32_t *count, struct fail *fail);
    /* The reassignments that go on. */
    bool (*ongoing)(struct reassign_backend *b, struct placements *out, struct fail *fail);
    /* Sets the error of those that are refused. */
    bool (*start)(struct reassign_backend *b, struct placements *targets, struct fail *fail);
    /* All that can be changed, whatever fails; then the first failure. */
    bool (*configure)(struct reassign_backend *b, const struct config_change *changes, int32_t count,
                      struct fail *fail);
    /* The rest is NULL with --zookeeper. */
    bool (*cancel)(struct reassign_backend *b, struct placements *which, struct fail *fail);
    bool (*find_dirs)(struct reassign_backend *b, struct dir_moves *moves, struct fail *fail);
    /* Those that the broker has no replica of yet are not `started`. */
    bool (*move_dirs)(struct reassign_backend *b, struct dir_moves *moves, struct fail *fail);
    void (*close)(struct reassign_backend *b);
    struct arena arena; /* of all results */
};

struct reassign_backend *reassign_by_requests(const char *bootstrap, const char *command_config, struct fail *fail);
struct reassign_backend *reassign_by_znodes(const char *connect, struct fail *fail);

/* ---- The files ---- */

/* Partitions may come more than once; moves are those of log directories other than "any". */
bool reassign_read(struct arena *a, const char *path, struct placements *out, struct dir_moves *moves,
                   struct fail *fail) NODISCARD;
bool reassign_read_topics(struct arena *a, const char *path, struct str **out, int32_t *count,
                          struct fail *fail) NODISCARD;
/* In the format that reassign_read() reads, on one line of standard output. */
void reassign_print(const struct placements *p);

/* ---- Throttles: limits on the brokers, and lists of the replicas that they hold for on the topics ---- */

/* For all that move already or are to move. */
bool reassign_throttle(struct reassign_backend *b, const struct placements *ongoing, const struct placements *targets,
                       const struct placements *current, int64_t rate, struct fail *fail) NODISCARD;
bool reassign_throttle_dirs(struct reassign_backend *b, const struct dir_moves *moves, int64_t rate,
                            struct fail *fail) NODISCARD;
/*
 * Of all live brokers and of those in `targets`, as nobody remembers which of them an earlier command has set. What can
 * be cleared is, whatever fails; then the first failure.
 */
bool reassign_unthrottle(struct reassign_backend *b, const struct placements *targets, struct fail *fail) NODISCARD;

/* ---- Log directories ---- */

/*
 * Says on standard error how far the replicas are that are being copied, how fast that goes and how long it will take:
 * those of reassignments that go on, and of moves. Takes two seconds if there are any.
 */
void reassign_print_progress(struct reassign_backend *b, const struct placements *moving,
                             const struct dir_moves *moves);

/* Prints where each replica is on its way; `done` if each is somewhere and none is under way. */
bool reassign_verify_dirs(struct reassign_backend *b, struct dir_moves *moves, bool *done, struct fail *fail) NODISCARD;
/* Asks until all have started, or until the time is over: then it says so on standard output, and sets `explained`. */
bool reassign_move_dirs(struct reassign_backend *b, struct dir_moves *moves, int64_t timeout_ms, bool *explained,
                        struct fail *fail) NODISCARD;
bool reassign_cancel_dirs(struct reassign_backend *b, struct dir_moves *moves, int64_t timeout_ms, bool *explained,
                          struct fail *fail) NODISCARD;

#endif
