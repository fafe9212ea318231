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

/* Partitions without another replica stay as they are: nobody else could take them. */
static bool has_others(const struct ctl_partition *p)
{
    return p->known && p->replicas.n > 1 && !p->topic->deleting;
}

static void list_remaining(struct controller *c, struct ctl_partition *p)
{
    struct shutdown_call *call = shutdown_of(c);
    if (has_others(p) && p->leadership.leader == call->broker_id)
        call->remaining[call->remaining_count++] = (struct topic_partition_entry){
            .topic = arena_cstr(call->arena, str_of(p->topic->name)), .partition = p->index};
}

static void end_shutdown(struct controller *c)
{
    call_answer(c, ERR_NONE);
}

static void answer_shutdown(struct controller *c)
{
    struct shutdown_call *call = shutdown_of(c);
    call->remaining = ARENA_ARRAY(call->arena, struct topic_partition_entry, MAX(context_partition_count(c), 1));
    ctl_walk(c, list_remaining, end_shutdown);
}

static void followers_leave(struct controller *c, struct ctl_partition *p)
{
    int32_t broker = shutdown_of(c)->broker_id;
    if (has_others(p) && p->leadership.leader != broker && int_list_has(p->replicas, broker))
        replica_leaves(c, p, broker);
}

/*
 * It stops fetching while the ISRs are written: a leader that still saw it fetch, in the ISR without it, would ask to
 * have it back.
 */
static void take_followers_out(struct controller *c)
{
    outbox_flush(c);
    replicas_offline(c, answer_shutdown);
}

static void stop_followers(struct controller *c)
{
    ctl_walk(c, followers_leave, take_followers_out);
}

static void collect_led(struct controller *c, struct ctl_partition *p)
{
    if (has_others(p) && p->leadership.leader == shutdown_of(c)->broker_id)
        partition_set_add(&c->work, p);
}

static void elect_others(struct controller *c)
{
    partitions_online(c, ELECT_SHUTDOWN, stop_followers);
}

static void controlled_shutdown(struct controller *c, struct event *e UNUSED)
{
    struct shutdown_call *call = shutdown_of(c);
    struct ctl_broker *b = context_broker(c, call->broker_id);
    if (b == NULL) {
        call_answer(c, call->broker_epoch >= 0 ? ERR_UNKNOWN_SERVER_ERROR : ERR_BROKER_NOT_AVAILABLE);
        return;
    }
    if (call->broker_epoch >= 0 && call->broker_epoch < b->registration.epoch) {
        call_answer(c, ERR_STALE_BROKER_EPOCH);
        return;
    }
    b->shutting_down = true;
    log_info("Broker %" PRId32 " is shutting down", b->id);
    ctl_walk(c, collect_led, elect_others);
}

void controller_controlled_shutdown(struct controller *c, struct shutdown_call *call)
{
    ctl_post_call(c, "ControlledShutdown", controlled_shutdown, &call->call, ERR_STALE_CONTROLLER_EPOCH);
}
