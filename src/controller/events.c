/*
 * Events and their steps. What happens, by a watch or a request, becomes an event in a queue; one at a time is worked
 * on, as a chain of steps. A step makes a batch of ZooKeeper operations, and the next one gets it answered. The last
 * one calls event_done(), which sends brokers what the event has put into the outbox for them.
 *
 * When the controller resigns, all events are dropped, the running one as well, and what is still under way for it in
 * ZooKeeper is of an older generation: its answer reaches no step any more. A write that is fenced by the epoch of
 * another controller makes it resign.
 */
#include <inttypes.h>

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
    ensure(c->queue_end != NULL && e->next == NULL);
    *c->queue_end = e;
    c->queue_end = &e->next;
    e->posted_us = loop_callback_us();
    controller_count_queued(c, 1);
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
    ensure(loop_is_mine(c->options.loop));
    struct event *e = c->queue;
    c->queue = e->next;
    if (c->queue == NULL)
        c->queue_end = &c->queue;
    c->running = e;
    controller_count_queued(c, -1);
    controller_count_begun(c, e);
    log_debug("Controller event %s", e->name);
    e->run(c, e);
}

/* Of many that follow each other, brokers are told at once. */
static bool news_may_wait(struct controller *c, const struct event *e)
{
    return e->gathers && c->queue != NULL && c->queue->run == e->run && outbox_may_wait(c);
}

void event_done(struct controller *c)
{
    ensure(loop_is_mine(c->options.loop));
    ensure(c->running != NULL);
    ensure(c->then == NULL);
    struct event *e = c->running;
    partition_set_clear(&c->work);
    partition_set_clear(&c->later);
    c->running = NULL;
    controller_count_done(c, e);
    if (c->active && !news_may_wait(c, e))
        outbox_flush(c);
    event_free(e);
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

void events_drop(struct controller *c)
{
    ensure(loop_is_mine(c->options.loop));
    struct event *list = c->queue, *running = c->running;
    c->queue = c->running = NULL;
    c->queue_end = &c->queue;
    if (running != NULL)
        drop_event(c, running);
    while (list != NULL) {
        struct event *e = list;
        list = e->next;
        controller_count_queued(c, -1);
        drop_event(c, e);
    }
}

void events_init(struct controller *c)
{
    c->queue_end = &c->queue;
    timer_init(&c->next_event, c->options.loop, run_next);
}

/* ---- Of requests ---- */

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

void call_answer(struct controller *c, enum kafka_error error)
{
    ensure(loop_is_mine(c->options.loop));
    struct controller_call *call = c->running->call;
    ensure(call != NULL);
    c->running->call = NULL;
    event_done(c); /* before the caller is told, who may end this controller's term */
    call->done(call, error);
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
    ensure(c->running != NULL && fn != NULL);
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

static void walk_piece(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    for (int i = 0; i < GLANCE; i++) {
        if (!walk_on(c, &c->walk)) {
            c->walked(c);
            return;
        }
        c->visit(c, c->walk.partition);
    }
    outbox_flush_if_full(c);
    ctl_breathe(c, walk_piece);
}

static void tell_piece(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    outbox_flush(c);
    for (int i = 0; i < PIECE || !walk_is_between_topics(&c->walk); i++) {
        if (!walk_on(c, &c->walk)) {
            c->walked(c);
            return;
        }
        c->visit(c, c->walk.partition);
    }
    ctl_breathe(c, tell_piece);
}

static void begin_walk(struct controller *c, visit_fn visit, step_fn then)
{
    ensure(c->running != NULL && then != NULL);
    c->walk = (struct partition_walk){0};
    c->visit = visit;
    c->walked = then;
}

void ctl_walk(struct controller *c, visit_fn visit, step_fn then)
{
    begin_walk(c, visit, then);
    walk_piece(c, NULL);
}

void ctl_tell(struct controller *c, visit_fn tell, step_fn then)
{
    begin_walk(c, tell, then);
    tell_piece(c, NULL);
}

void ctl_fence(struct controller *c, struct zk_op *op)
{
    ensure(c->active && op->fence_path == NULL);
    op->fence_path = ZNODE_CONTROLLER_EPOCH;
    op->fence_version = c->epoch_version;
}

void ctl_together(struct controller *c, struct ctl_multi *m, struct zk_op *op)
{
    if (m->count == ZK_MOST_TOGETHER)
        *m = (struct ctl_multi){0};
    if (m->last != NULL)
        m->last->with_next = true;
    else
        ctl_fence(c, op); /* one check for all */
    ensure(m->last == NULL || m->last->next == op);
    m->last = op;
    m->count++;
}

/* ---- Of watches ---- */

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
        event_post(c, "ControllerChange", office_changed);
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
