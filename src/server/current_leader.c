/*
 * KIP-951: who is told that a partition is led elsewhere, or in another epoch, is told by whom and where, and need not
 * ask for metadata first. What the partition here knows counts, as orders come before the view that goes with them;
 * where there is none, the view. Brokers are named once each, however many partitions they lead.
 */
#include "server/server_internal.h"

static struct current_leader look_up(struct str topic, int32_t index, struct partition *p)
{
    if (p != NULL) {
        struct partition_role role = partition_role(p);
        if (role.leader >= 0)
            return (struct current_leader){role.leader, role.leader_epoch};
    }
    const struct view_partition *known = view_partition(view_current(), topic, index);
    return known != NULL ? (struct current_leader){known->leader, known->leader_epoch}
                         : (struct current_leader){-1, -1};
}

static void name_broker(struct leaders_told *t, int32_t id)
{
    const struct view *v = view_current();
    const struct registration *b = view_broker(v, id);
    const struct endpoint *e = b != NULL ? registration_endpoint(b, request_listener(t->r)) : NULL;
    if (e == NULL)
        return;
    if (t->named == NULL) {
        t->named = ARENA_ARRAY(t->r->arena, bool, v->brokers->n);
        t->nodes = ARENA_ARRAY(t->r->arena, struct leader_node, v->brokers->n);
    }
    bool *named = &t->named[b - v->brokers->v];
    if (*named)
        return;
    *named = true;
    t->nodes[t->count++] =
        (struct leader_node){.id = id,
                             .host = arena_str(t->r->arena, str_of(e->host)),
                             .port = e->port,
                             .rack = b->rack != NULL ? arena_str(t->r->arena, str_of(b->rack)) : STR_NULL};
}

struct current_leader leaders_tell(struct leaders_told *t, struct str topic, int32_t index, struct partition *p)
{
    struct current_leader leader = look_up(topic, index, p);
    name_broker(t, leader.id);
    return leader;
}
