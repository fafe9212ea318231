#include "coordinator/election.h"

#include "base/logger.h"
#include "cluster/view.h"
#include "replica/replica.h"

/* A topic's znode has room for fewer. The table of an internal topic has a place for each number up to the highest. */
enum { MOST_STATE_PARTITIONS = 100000 };

struct role_news { /* on its way to the coordinators' loop */
    struct message message;
    struct state_topic *topic;
    struct partition *partition; /* with a reference */
};

/* `count`: of the topic's partitions; 0: not known. */
static void take_role(struct state_topic *t, struct partition *p, int32_t count)
{
    struct partition_role role = partition_role(p);
    if (count > 0)
        state_topic_set_count(t, count);
    if (role.leads)
        state_topic_elected(t, partition_index(p), role.leader_epoch, role.led_since);
    else
        state_topic_resigned(t, partition_index(p));
}

static void deliver_role(struct message *m)
{
    static struct log_limit refusals;
    struct role_news *n = CONTAINER_OF(m, struct role_news, message);
    struct partition *p = n->partition;
    const struct view_topic *known = view_topic(view_current(), str_of(partition_topic(p)));
    int32_t count = known != NULL ? view_topic_width(known) : 0;
    if (MAX(count, partition_index(p) + 1) <= MOST_STATE_PARTITIONS)
        take_role(n->topic, p, count);
    else
        log_warn_limited(&refusals, "%s-%d is not served: the topic cannot have so many partitions", partition_topic(p),
                         partition_index(p));
    partition_unref(p);
    free(n);
}

void election_tell(struct state_topic *topic, struct partition *p)
{
    if (strcmp(partition_topic(p), state_topic_name(topic)) != 0)
        return;
    struct role_news *n = xcalloc(1, sizeof(*n));
    partition_ref(p);
    *n = (struct role_news){{.deliver = deliver_role}, topic, p};
    loop_post(state_topic_loop(topic), &n->message);
}
