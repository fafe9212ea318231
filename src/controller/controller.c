/* The event queue, the race for /controller, and the way out of office. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/logger.h"
#include "controller/controller_internal.h"

/* ---- Events ---- */

struct event *event_new(const char *name, void (*run)(struct controller *, struct event *))
{
    struct event *e = xcalloc(1, sizeof(*e));
    e->name = name;
    e->run = run;
    return e;
}

static void event_free(struct event *e)
{
    if (e != NULL)
        free(e->text);
    free(e);
}

void event_add(struct controller *c, struct event *e)
{
    ensure(loop_is_mine(c->options.loop));
    ensure(c->queue_end != NULL);
    *c->queue_end = e;
    c->queue_end = &e->next;
    if (c->running == NULL && !timer_is_running(&c->next_event))
        timer_start(&c->next_event, 0);
}

void event_post(struct controller *c, const char *name, void (*run)(struct controller *, struct event *))
{
    event_add(c, event_new(name, run));
}

void event_post_once(struct controller *c, const char *name, void (*run)(struct controller *, struct event *))
{
    const struct event *last = c->queue != NULL ? CONTAINER_OF(c->queue_end, struct event, next) : NULL;
    if (last == NULL || last->run != run)
        event_post(c, name, run);
}

static void run_next(struct timer *t)
{
    struct controller *c = CONTAINER_OF(t, struct controller, next_event);
    if (c->running != NULL || c->queue == NULL)
        return;
    struct event *e = c->queue;
    c->queue = e->next;
    if (c->queue == NULL)
        c->queue_end = &c->queue;
    c->running = e;
    log_debug("Controller event %s", e->name);
    e->run(c, e);
}

void event_done(struct controller *c)
{
    ensure(loop_is_mine(c->options.loop));
    ensure(c->running != NULL);
    struct event *e = c->running;
    partition_set_clear(&c->work);
    partition_set_clear(&c->later);
    c->running = NULL;
    event_free(e);
    if (c->active)
        outbox_flush(c);
    if (c->queue != NULL)
        timer_start(&c->next_event, 0);
}

void event_done_step(struct controller *c)
{
    event_done(c);
}

static void drop_event(struct controller *c, struct event *e)
{
    if (e->dropped != NULL)
        e->dropped(c, e);
    if (e->call != NULL)
        e->call->done(e->call, ERR_NOT_CONTROLLER);
    event_free(e);
}

static void drop_all_events(struct controller *c)
{
    struct event *list = c->queue, *running = c->running;
    c->queue = c->running = NULL;
    c->queue_end = &c->queue;
    if (running != NULL)
        drop_event(c, running);
    while (list != NULL) {
        struct event *e = list;
        list = e->next;
        drop_event(c, e);
    }
}

/* ---- Steps ---- */

struct step {
    struct controller *controller;
    batch_fn fn;
    int64_t generation;
};

struct zk_batch *ctl_batch(void)
{
    return zk_batch_new(NULL);
}

static void on_batch(struct zk_batch *b)
{
    struct step *s = b->ctx;
    struct step step = *s;
    struct controller *c = step.controller;
    bool fenced = false, expired = false;
    free(s);
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        fenced |= op->fenced;
        expired |= op->result == ZK_SESSION_EXPIRED;
    }
    if (step.generation != c->generation || expired) {
        zk_batch_free(b);
    } else if (fenced) {
        zk_batch_free(b);
        ctl_resign(c, "another controller was elected");
    } else {
        step.fn(c, b);
    }
}

void ctl_submit(struct controller *c, struct zk_batch *b, batch_fn fn)
{
    ensure(loop_is_mine(c->options.loop));
    struct step *s = xcalloc(1, sizeof(*s));
    *s = (struct step){c, fn, c->generation};
    if (b->count == 0) /* a step without work is still a step */
        zk_exists(b, ZNODE_CONTROLLER, false);
    b->ctx = s;
    b->done = on_batch;
    zk_submit(c->options.zk, b);
}

void ctl_breathe(struct controller *c, batch_fn step)
{
    ctl_submit(c, ctl_batch(), step);
}

void ctl_fence(struct controller *c, struct zk_op *op)
{
    op->fence_path = ZNODE_CONTROLLER_EPOCH;
    op->fence_version = c->epoch_version;
}

/* ---- Elections ---- */

static void elect(struct controller *c, struct event *e);

static void stop_being_active(struct controller *c)
{
    c->active = false;
    c->generation++;
    timer_stop(&c->rebalance);
    context_clear(c);
    c->then = NULL;
    drop_all_events(c);
}

void ctl_resign(struct controller *c, const char *why)
{
    ensure(loop_is_mine(c->options.loop));
    log_info("Resigning as controller of epoch %" PRId32 ": %s", c->epoch, why);
    stop_being_active(c);
    c->active_id = -1;
    if (c->started)
        event_post(c, "Reelect", elect);
}

static void won(struct controller *c, int32_t epoch, int32_t version)
{
    c->active = true;
    c->active_id = c->options.broker_id;
    c->epoch = epoch;
    c->epoch_version = version;
    log_info("Broker %" PRId32 " was elected as the controller, epoch %" PRId32, c->options.broker_id, epoch);
    failover_start(c);
}

static void note_other(struct controller *c, struct bytes data)
{
    int32_t id;
    if (controller_decode(data, &id) && id != c->active_id) {
        c->active_id = id;
        log_info("Broker %" PRId32 " is the controller", id);
    }
    event_done(c);
}

/* The answer to the race may have been lost on the way: then the nodes say who won. */
static void on_recheck(struct controller *c, struct zk_batch *b)
{
    int32_t id;
    int64_t epoch;
    struct zk_op *who = zk_find(b, ZK_GET, ZNODE_CONTROLLER), *fence = zk_find(b, ZK_GET, ZNODE_CONTROLLER_EPOCH);
    if (who->result == ZK_OK && controller_decode(who->value, &id)) {
        bool mine = id == c->options.broker_id && who->stat.ephemeral_owner == zk_session_id(c->options.zk) &&
                    int_decode(fence->value, &epoch) && epoch == c->epoch;
        if (mine)
            won(c, (int32_t)epoch, fence->stat.version);
        else
            note_other(c, who->value);
    } else {
        event_post(c, "Reelect", elect);
        event_done(c);
    }
    zk_batch_free(b);
}

static void recheck(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    zk_get(b, ZNODE_CONTROLLER, false);
    zk_get(b, ZNODE_CONTROLLER_EPOCH, false);
    ctl_submit(c, b, on_recheck);
}

static void on_race(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *office = b->first, *fence = office->next;
    bool ok = office->result == ZK_OK && fence->result == ZK_OK;
    int32_t version = fence->stat.version;
    zk_batch_free(b);
    if (ok)
        won(c, c->epoch, version);
    else
        recheck(c);
}

static void race(struct controller *c, int64_t epoch, int32_t version)
{
    struct zk_batch *b = ctl_batch();
    c->epoch = (int32_t)epoch + 1;
    zk_create(b, ZNODE_CONTROLLER, controller_encode(&b->arena, c->options.broker_id, clock_wall_ms()), ZK_EPHEMERAL)
        ->with_next = true;
    zk_set(b, ZNODE_CONTROLLER_EPOCH, int_encode(&b->arena, c->epoch), version);
    ctl_submit(c, b, on_race);
}

static void on_epoch_created(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    event_post(c, "Reelect", elect);
    event_done(c);
}

static void on_candidates(struct controller *c, struct zk_batch *b)
{
    struct zk_op *who = zk_find(b, ZK_GET, ZNODE_CONTROLLER), *fence = zk_find(b, ZK_GET, ZNODE_CONTROLLER_EPOCH);
    int64_t epoch = 0;
    if (who->result == ZK_OK) {
        note_other(c, who->value);
    } else if (fence->result == ZK_NO_NODE) {
        struct zk_batch *create = ctl_batch();
        zk_create(create, ZNODE_CONTROLLER_EPOCH, int_encode(&create->arena, 0), ZK_PERSISTENT);
        ctl_submit(c, create, on_epoch_created);
    } else if (fence->result != ZK_OK || !int_decode(fence->value, &epoch)) {
        log_error("Cannot use %s, so that this broker cannot become controller", ZNODE_CONTROLLER_EPOCH);
        event_done(c);
    } else {
        race(c, epoch, fence->stat.version);
    }
    zk_batch_free(b);
}

static void elect(struct controller *c, struct event *e UNUSED)
{
    if (c->active) {
        event_done(c);
        return;
    }
    struct zk_batch *b = ctl_batch();
    zk_exists(b, ZNODE_CONTROLLER, true);
    zk_get(b, ZNODE_CONTROLLER, false);
    zk_get(b, ZNODE_CONTROLLER_EPOCH, false);
    ctl_submit(c, b, on_candidates);
}

/* /controller was made, changed or deleted. */
static void on_controller_read(struct controller *c, struct zk_batch *b)
{
    int32_t id = -1;
    struct zk_op *who = zk_find(b, ZK_GET, ZNODE_CONTROLLER);
    bool mine = who->result == ZK_OK && controller_decode(who->value, &id) && id == c->options.broker_id &&
                who->stat.ephemeral_owner == zk_session_id(c->options.zk);
    bool gone = who->result == ZK_NO_NODE;
    zk_batch_free(b);
    if (c->active && !mine) {
        ctl_resign(c, "/controller no longer names this broker");
        return;
    }
    if (!mine)
        c->active_id = id;
    if (gone)
        event_post(c, "Reelect", elect);
    event_done(c);
}

static void controller_node_changed(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_exists(b, ZNODE_CONTROLLER, true);
    zk_get(b, ZNODE_CONTROLLER, false);
    ctl_submit(c, b, on_controller_read);
}

/* ---- Life ---- */

struct controller *controller_new(const struct controller_options *options)
{
    struct controller *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->active_id = -1;
    c->queue_end = &c->queue;
    c->outbox = outbox_new();
    timer_init(&c->next_event, options->loop, run_next);
    return c;
}

void controller_free(struct controller *c)
{
    if (c == NULL)
        return;
    c->started = false;
    stop_being_active(c);
    timer_stop(&c->next_event);
    outbox_free(c->outbox);
    free(c);
}

void controller_start(struct controller *c)
{
    ensure(loop_is_mine(c->options.loop));
    c->started = true;
    event_post(c, "Startup", elect);
}

void controller_expire(struct controller *c)
{
    ensure(loop_is_mine(c->options.loop));
    if (c->active)
        log_info("Resigning as controller of epoch %" PRId32 ": the ZooKeeper session has expired", c->epoch);
    c->started = false;
    stop_being_active(c);
    c->active_id = -1;
}

bool controller_is_active(const struct controller *c)
{
    return c->active;
}

int32_t controller_epoch(const struct controller *c)
{
    return c->epoch;
}

/* ---- Watches ---- */

static bool is_child_of(const char *path, const char *parent)
{
    size_t n = strlen(parent);
    return strncmp(path, parent, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

static void post_modified(struct controller *c, const char *path)
{
    struct event *e;
    if (is_child_of(path, ZNODE_BROKER_IDS)) {
        e = event_new("BrokerModifications", broker_modified);
        e->number = (int32_t)strtol(path + strlen(ZNODE_BROKER_IDS) + 1, NULL, 10);
    } else if (is_child_of(path, ZNODE_TOPICS)) {
        e = event_new("PartitionModifications", topic_modified);
        e->text = xstrdup(path + strlen(ZNODE_TOPICS) + 1);
    } else {
        return;
    }
    event_add(c, e);
}

void controller_changed(struct controller *c, const char *path)
{
    ensure(loop_is_mine(c->options.loop));
    static const struct {
        const char *path, *event;
        void (*run)(struct controller *, struct event *);
    } watched[] = {
        {ZNODE_BROKER_IDS, "BrokerChange", brokers_changed},
        {ZNODE_TOPICS, "TopicChange", topics_changed},
        {ZNODE_DELETE_TOPICS, "TopicDeletion", deletions_changed},
        {ZNODE_ISR_CHANGES, "IsrChangeNotification", isr_changed},
        {ZNODE_LOG_DIR_EVENTS, "LogDirEventNotification", log_dirs_changed},
        {ZNODE_REASSIGN, "ZkPartitionReassignment", reassignment_requested},
        {ZNODE_PREFERRED_ELECTION, "ReplicaLeaderElection", preferred_election_requested},
    };
    if (!c->started)
        return;
    if (strcmp(path, ZNODE_CONTROLLER) == 0) {
        event_post(c, "ControllerChange", controller_node_changed);
        return;
    }
    if (!c->active)
        return;
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        if (strcmp(path, watched[i].path) == 0) {
            event_post(c, watched[i].event, watched[i].run);
            return;
        }
    }
    post_modified(c, path);
}

/* ---- Producer ids ---- */

enum { PRODUCER_ID_BLOCK = 1000 };

static struct producer_ids_call *ids_call(struct controller *c)
{
    return CONTAINER_OF(c->running->call, struct producer_ids_call, call);
}

void call_answer(struct controller *c, enum kafka_error error)
{
    ensure(loop_is_mine(c->options.loop));
    struct controller_call *call = c->running->call;
    c->running->call = NULL;
    event_done(c); /* before the caller is told, who may end this controller's term */
    call->done(call, error);
}

static void read_producer_ids(struct controller *c);

static void on_producer_ids_written(struct controller *c, struct zk_batch *b)
{
    enum zk_result result = b->first->result;
    zk_batch_free(b);
    if (result == ZK_BAD_VERSION || result == ZK_NODE_EXISTS)
        read_producer_ids(c);
    else
        call_answer(c, result == ZK_OK ? ERR_NONE : ERR_UNKNOWN_SERVER_ERROR);
}

static void on_producer_ids_read(struct controller *c, struct zk_batch *b)
{
    struct producer_ids_call *call = ids_call(c);
    struct producer_id_block last = {-1, -1, -1};
    struct zk_op *op = b->first;
    bool ok = op->result == ZK_OK || op->result == ZK_NO_NODE;
    if (op->result == ZK_OK && op->value.p != NULL)
        ok = producer_ids_decode(op->value, &last);
    int32_t version = op->stat.version;
    bool missing = op->result == ZK_NO_NODE;
    zk_batch_free(b);
    if (!ok || last.last > INT64_MAX - PRODUCER_ID_BLOCK) {
        call_answer(c, ERR_UNKNOWN_SERVER_ERROR);
        return;
    }
    struct producer_id_block next = {last.last + 1, last.last + PRODUCER_ID_BLOCK, call->broker_id};
    call->first = next.first;
    call->count = PRODUCER_ID_BLOCK;
    b = ctl_batch();
    struct bytes data = producer_ids_encode(&b->arena, &next);
    if (missing)
        zk_create(b, ZNODE_PRODUCER_IDS, data, ZK_PERSISTENT);
    else
        zk_set(b, ZNODE_PRODUCER_IDS, data, version);
    ctl_submit(c, b, on_producer_ids_written);
}

static void read_producer_ids(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    zk_get(b, ZNODE_PRODUCER_IDS, false);
    ctl_submit(c, b, on_producer_ids_read);
}

static void allocate_producer_ids(struct controller *c, struct event *e UNUSED)
{
    struct producer_ids_call *call = ids_call(c);
    const struct ctl_broker *b = context_broker(c, call->broker_id);
    if (b == NULL)
        call_answer(c, ERR_BROKER_ID_NOT_REGISTERED);
    else if (b->registration.epoch != call->broker_epoch)
        call_answer(c, ERR_STALE_BROKER_EPOCH);
    else
        read_producer_ids(c);
}

void ctl_post_call(struct controller *c, const char *name, void (*run)(struct controller *, struct event *),
                   struct controller_call *call, enum kafka_error inactive)
{
    if (!c->active) {
        call->done(call, inactive);
        return;
    }
    struct event *e = event_new(name, run);
    e->call = call;
    event_add(c, e);
}

void controller_allocate_producer_ids(struct controller *c, struct producer_ids_call *call)
{
    ctl_post_call(c, "AllocateProducerIds", allocate_producer_ids, &call->call, ERR_NOT_CONTROLLER);
}

/* ---- Controlled shutdown ---- */

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
