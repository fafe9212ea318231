/*
 * A broker that is about to stop: what it leads and others could lead goes to them, then it leaves the ISRs of what it
 * follows. It is answered with what it leads still, and asks again while there is any.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

static struct shutdown_call *shutdown_of(struct controller *c)
{
    return CONTAINER_OF(c->running->call, struct shutdown_call, call);
}

static void answer_shutdown(struct controller *c)
{
    struct shutdown_call *call = shutdown_of(c);
    call->remaining = ARENA_ARRAY(call->arena, struct topic_partition_entry, MAX(context_partition_count(c), 1));
    for (struct partition_walk w = {0}; walk_on(c, &w);) {
        const struct ctl_partition *p = w.partition;
        if (p->known && p->leadership.leader == call->broker_id && p->replicas.n > 1)
            call->remaining[call->remaining_count++] = (struct topic_partition_entry){
                .topic = arena_cstr(call->arena, str_of(p->topic->name)), .partition = p->index};
    }
    call_answer(c, ERR_NONE);
}

/* Partitions without another replica stay as they are: nobody else could take them. */
static bool has_others(const struct ctl_partition *p)
{
    return p->known && p->replicas.n > 1 && !p->topic->deleting;
}

static bool is_follower(const struct ctl_partition *p, int32_t broker)
{
    return has_others(p) && p->leadership.leader != broker;
}

/*
 * It stops fetching while the ISRs are written: a leader that still saw it fetch, in the ISR without it, would ask to
 * have it back.
 */
static void stop_followers(struct controller *c)
{
    broker_replicas_leave(c, shutdown_of(c)->broker_id, is_follower);
    outbox_flush(c);
    replicas_offline(c, answer_shutdown);
}

static void collect_led(struct controller *c, int32_t broker)
{
    for (struct partition_walk w = {0}; walk_on(c, &w);)
        if (has_others(w.partition) && w.partition->leadership.leader == broker)
            partition_set_add(&c->work, w.partition);
}

static void controlled_shutdown(struct controller *c, struct event *e UNUSED)
{
    struct shutdown_call *call = shutdown_of(c);
    struct ctl_broker *b = context_broker(c, call->broker_id);
    if (b == NULL) {
        call_answer(c, ERR_BROKER_NOT_AVAILABLE);
        return;
    }
    if (call->broker_epoch >= 0 && call->broker_epoch < b->registration.epoch) {
        call_answer(c, ERR_STALE_BROKER_EPOCH);
        return;
    }
    b->shutting_down = true;
    log_info("Broker %" PRId32 " is shutting down", b->id);
    collect_led(c, b->id);
    partitions_online(c, ELECT_SHUTDOWN, stop_followers);
}

void controller_controlled_shutdown(struct controller *c, struct shutdown_call *call)
{
    ctl_post_call(c, "ControlledShutdown", controlled_shutdown, &call->call, ERR_STALE_CONTROLLER_EPOCH);
}
