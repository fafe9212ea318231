#include "coordinator/election.h"

#include "cluster/view.h"
#include "replica/replica.h"

struct role_news { /* on its way to the coordinators' loop */
    struct message message;
    struct state_topic *topic;
    struct partition *partition; /* with a reference */
};

static void deliver_role(struct message *m)
{
    struct role_news *n = CONTAINER_OF(m, struct role_news, message);
    struct partition_role role = partition_role(n->partition);
    const struct view_topic *known = view_topic(view_current(), str_of(partition_topic(n->partition)));
    if (known != NULL)
        state_topic_set_count(n->topic, view_topic_width(known));
    if (role.leads)
        state_topic_elected(n->topic, partition_index(n->partition), role.leader_epoch);
    else
        state_topic_resigned(n->topic, partition_index(n->partition));
    partition_unref(n->partition);
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
