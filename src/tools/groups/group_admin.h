/* What administration does with consumer groups, by requests to their coordinators. */
#ifndef BARNABAS_TOOLS_GROUPS_GROUP_ADMIN_H
#define BARNABAS_TOOLS_GROUPS_GROUP_ADMIN_H

#include "protocol/msg/list_groups.h"
#include "tools/kit/coordinators.h"
#include "tools/kit/partition_offsets.h"

struct group_admin {
    struct asker *asker;
    struct arena *arena; /* of all that is given back */
    int64_t timeout_ms;  /* how long coordinators and leaders that are not there now are waited for */
};

/* A question to a group's coordinator that may be asked twice, again while that is not there. What it refuses is a
 * failure. */
typedef coordinator_step group_step;
bool group_ask(const struct group_admin *g, struct str id, group_step *step, void *arg, struct fail *fail) NODISCARD;
/* False, with the text that Java clients have for the error. */
bool group_refused(const struct group_admin *g, int16_t error, struct str message, struct fail *fail);

/* ---- Groups ---- */

struct str_list {
    const struct str *v;
    int32_t n;
};

struct group_listing {
    struct list_groups_listed_group *v; /* sorted by id */
    int32_t n;
};

/* The consumer groups of all brokers; of some states or types only, where such are given. */
bool group_admin_list(const struct group_admin *g, struct str_list states, struct str_list types,
                      struct group_listing *out, struct fail *fail) NODISCARD;

struct group_member {
    struct str id, instance_id, client_id, host; /* instance_id: empty if it has none */
    struct partition_offsets assigned;           /* sorted */
};

struct group_description {
    struct str id, state, assignor;
    struct coordinator coordinator;
    struct group_member *members;
    int32_t member_count;
};

/*
 * Of all groups at once, whose ids differ, and within the time for all of them; `out` has a place for each. A group
 * that is not there is "Dead".
 */
bool group_admin_describe(const struct group_admin *g, struct str_list ids, struct group_description *out,
                          struct fail *fail) NODISCARD;
/* The same way; of each group NULL, or why it is not deleted. */
void group_admin_delete(const struct group_admin *g, struct str_list ids, const char **failures);
/* Makes members leave. */
bool group_remove_members(const struct group_admin *g, const struct group_description *group,
                          struct fail *fail) NODISCARD;

/* ---- Their offsets ---- */

/* Sorted. */
bool group_offsets(const struct group_admin *g, struct str id, struct partition_offsets *out,
                   struct fail *fail) NODISCARD;
bool group_admin_commit(const struct group_admin *g, struct str id, const struct partition_offsets *offsets,
                        struct fail *fail) NODISCARD;
/* `error` is the whole group's; partitions have errors of their own. */
bool group_admin_delete_offsets(const struct group_admin *g, struct str id, struct partition_offsets *offsets,
                                int16_t *error, struct fail *fail) NODISCARD;

/* ---- Topics ---- */

/* Adds the partitions of a topic. */
bool topic_partitions(const struct group_admin *g, struct str topic, struct partition_offsets *out, int16_t *error,
                      struct fail *fail) NODISCARD;
/* Finds the leaders of the sorted list's partitions, and asks them for the offsets at `time`. */
bool topic_offsets(const struct group_admin *g, struct partition_offsets *list, int64_t time,
                   struct fail *fail) NODISCARD;
/* The first records at that time or later. Partitions without one have their ends, after `tell` was called for each. */
bool topic_offsets_since(const struct group_admin *g, struct partition_offsets *list, int64_t time,
                         void (*tell)(const struct partition_offset *p), struct fail *fail) NODISCARD;

#endif
