/*
 * What kafka-topics does, by requests to a broker (--bootstrap-server) or by reading and writing znodes
 * (--zookeeper): one set of operations, two ways to carry them out.
 */
#ifndef BARNABAS_TOOLS_TOPICS_TOPICS_H
#define BARNABAS_TOOLS_TOPICS_TOPICS_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/uuid.h"
#include "cluster/znodes.h"

struct topic_name {
    struct str name;
    struct uuid id;
    bool internal, being_deleted;
};

struct topic_part {
    int32_t index, leader; /* leader -1: none */
    struct int_list replicas, isr;
    struct int_list adding, removing;
    bool reassigning;
};

struct topic_info {
    struct topic_name name;
    struct topic_part *parts; /* by index */
    int32_t part_count;
    struct str configs; /* name=value,... of those that are not defaults */
    int32_t min_isr;
    int32_t *brokers; /* that are alive */
    int32_t broker_count;
};

struct topic_plan { /* of a topic to be made, or to grow */
    struct str name;
    int32_t partitions, factor;   /* -1: the cluster's default */
    struct int_list *assignments; /* by partition; NULL: placed */
    int32_t assignment_count;
    struct config_pair *configs;
    int32_t config_count;
};

struct topic_backend {
    bool (*names)(struct topic_backend *b, struct topic_name **out, int32_t *count, struct fail *fail);
    /* In the order of the names, which are sorted. */
    bool (*describe)(struct topic_backend *b, const struct topic_name *names, int32_t count, struct topic_info *out,
                     struct fail *fail);
    /* Only the partitions, with their replicas; the same for who may not see the topics' configurations. */
    bool (*layout)(struct topic_backend *b, const struct topic_name *names, int32_t count, struct topic_info *out,
                   struct fail *fail);
    /* `exists` tells the one failure that --if-not-exists forgives. */
    bool (*create)(struct topic_backend *b, struct topic_plan *plan, bool *exists, struct fail *fail);
    bool (*grow)(struct topic_backend *b, struct topic_plan *plans, int32_t count, struct fail *fail);
    bool (*remove)(struct topic_backend *b, const struct topic_name *names, int32_t count, struct fail *fail);
    /* Adds and removes keys of a topic's own configuration; NULL: not this way. */
    bool (*configure)(struct topic_backend *b, struct str topic, const struct config_pair *add, int32_t add_count,
                      const char *const *drop, int32_t drop_count, struct fail *fail);
    void (*close)(struct topic_backend *b);
    struct arena arena; /* of all results */
};

struct topic_backend *topics_by_requests(const char *bootstrap, const char *command_config, struct fail *fail);
struct topic_backend *topics_by_znodes(const char *connect, struct fail *fail);

#endif
