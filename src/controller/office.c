/*
 * The office: the race for /controller, and the way out.
 *
 * All brokers watch /controller. When it is not there, each reads /controller_epoch and tries, in one transaction, to
 * create the node and to raise the epoch: one of them wins. The epoch's version in ZooKeeper is the fence of all that
 * the winner writes from then on. If the answer was lost on the way, the nodes say who won. Out of office goes who sees
 * another name in /controller, whose write was fenced, or whose session has ended; it forgets all it knew. Who may not
 * write the nodes tries again once a second, as their ACLs, or what ZooKeeper knows of the broker, may be mended.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/probe.h"
#include "controller/controller_internal.h"

enum { OFFICE_RETRY_MS = 1000 };

static void office_elect(struct controller *c, struct event *e);

static void stop_being_active(struct controller *c)
{
    c->active = false;
    c->generation++;
    timer_stop(&c->rebalance);
    timer_stop(&c->deletion_retry);
    timer_stop(&c->office_retry);
    deletions_drop(c);
    partition_set_clear(&c->work);
    partition_set_clear(&c->later);
    zk_batch_free(c->loading);
    c->loading = NULL;
    zk_batch_free(c->entities);
    zk_batch_free(c->ids);
    c->entities = c->ids = NULL;
    c->then = NULL;
    reassigning_free(c);
    free(c->gone.v);
    c->gone = (struct int_list){0};
    outbox_clear(c->outbox);
    context_clear(c);
    events_drop(c);
    ensure(c->topics == NULL && c->brokers == NULL && c->running == NULL);
    controller_count_office(c);
}

static void leave_office(struct controller *c, const char *why)
{
    ensure(loop_is_mine(c->options.loop));
    log_info("Resigning as controller of epoch %" PRId32 ": %s", c->epoch, why);
    stop_being_active(c);
    c->active_id = -1;
}

void ctl_resign(struct controller *c, const char *why)
{
    leave_office(c, why);
    if (c->started)
        event_post(c, "Reelect", office_elect);
}

/* The same would come of it at once. */
void ctl_resign_for_now(struct controller *c, const char *why)
{
    leave_office(c, why);
    if (c->started)
        timer_start(&c->office_retry, OFFICE_RETRY_MS);
}

static void won(struct controller *c, int32_t epoch, int32_t version)
{
    ensure(!c->active && c->running != NULL);
    c->office_refused = false;
    c->active = true;
    c->active_id = c->options.broker_id;
    c->epoch = epoch;
    c->epoch_version = version;
    controller_count_office(c);
    PROBE(election, epoch);
    log_info("Broker %" PRId32 " was elected as the controller, epoch %" PRId32, c->options.broker_id, epoch);
    failover_start(c);
    c->options.elected(c->options.ctx);
}

static void on_office_retry(struct timer *t)
{
    struct controller *c = CONTAINER_OF(t, struct controller, office_retry);
    event_post(c, "Reelect", office_elect);
}

static void office_refused(struct controller *c, const char *path)
{
    if (!c->office_refused)
        log_error("Cannot use %s, so that this broker cannot become controller: it tries again once a second", path);
    c->office_refused = true;
    timer_start(&c->office_retry, OFFICE_RETRY_MS);
    event_done(c);
}

static void note_other(struct controller *c, struct bytes data)
{
    int32_t id;
    c->office_refused = false;
    if (controller_decode(data, &id) && id != c->active_id) {
        c->was_told = true;
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
        event_post(c, "Reelect", office_elect);
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

/* Not of who has lost a race, or the answer. */
static bool is_refusal(enum zk_result result)
{
    return result == ZK_NO_AUTH || result == ZK_TOO_LARGE || result == ZK_FAILED;
}

static void on_race(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *office = b->first, *fence = office->next;
    bool ok = office->result == ZK_OK && fence->result == ZK_OK;
    bool office_failed = is_refusal(office->result), failed = office_failed || is_refusal(fence->result);
    int32_t version = fence->stat.version;
    zk_batch_free(b);
    if (ok)
        won(c, c->epoch, version);
    else if (failed)
        office_refused(c, office_failed ? ZNODE_CONTROLLER : ZNODE_CONTROLLER_EPOCH);
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
    bool refused = is_refusal(b->first->result);
    zk_batch_free(b);
    if (refused) {
        office_refused(c, ZNODE_CONTROLLER_EPOCH);
        return;
    }
    event_post(c, "Reelect", office_elect);
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
    } else if (fence->result != ZK_OK || !int_decode(fence->value, &epoch) || epoch < 0 || epoch >= INT32_MAX) {
        office_refused(c, ZNODE_CONTROLLER_EPOCH);
    } else {
        race(c, epoch, fence->stat.version);
    }
    zk_batch_free(b);
}

static void office_elect(struct controller *c, struct event *e UNUSED)
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
        event_post(c, "Reelect", office_elect);
    event_done(c);
}

void office_changed(struct controller *c, struct event *e UNUSED)
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
    c->outbox = outbox_new();
    events_init(c);
    deletions_init(c);
    timer_init(&c->office_retry, c->options.loop, on_office_retry);
    controller_metrics_new(c);
    return c;
}

void controller_free(struct controller *c)
{
    if (c == NULL)
        return;
    c->started = false;
    stop_being_active(c);
    timer_stop(&c->next_event);
    controller_metrics_free(c);
    outbox_free(c->outbox);
    free(c);
}

void controller_start(struct controller *c)
{
    ensure(loop_is_mine(c->options.loop));
    c->started = true;
    c->office_refused = false;
    event_post(c, "Startup", office_elect);
}

void controller_stop(struct controller *c, const char *why)
{
    ensure(loop_is_mine(c->options.loop));
    if (c->active)
        log_info("Resigning as controller of epoch %" PRId32 ": %s", c->epoch, why);
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
