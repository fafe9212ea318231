/* kafka-consumer-groups: what its actions share. */
#ifndef BARNABAS_TOOLS_GROUPS_CONSUMER_GROUPS_H
#define BARNABAS_TOOLS_GROUPS_CONSUMER_GROUPS_H

#include "tools/groups/group_admin.h"
#include "tools/kit/tool.h"

struct group_work {
    struct options o;
    struct group_admin admin;
    struct arena arena;
};

/* Actions: false with a failure, which is told without changing the exit code, or after a complaint of wrong usage. */
bool groups_describe(struct group_work *w, struct fail *fail) NODISCARD;
bool groups_reset(struct group_work *w, struct fail *fail) NODISCARD;

/* Kafka's way to tell of what went wrong, on standard output. */
void groups_print_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Where Kafka's tool tells of the exception around the one that says what went wrong. Returns `ok`. */
bool groups_asked(bool ok, struct fail *fail) NODISCARD;
/* The groups that the options name, or all that there are. */
bool groups_named(struct group_work *w, struct str_list *out, struct fail *fail) NODISCARD;
/* Adds the partitions of a word like topic:0,1; complains if it is not like that. */
bool groups_read_partitions(struct group_work *w, const char *word, struct partition_offsets *out) NODISCARD;

#endif
