/*
 * Partitions and replicas change state here and nowhere else. What has to be decided is decided by pure
 * functions of what is known; the rest writes it to ZooKeeper and tells the brokers.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

static void elect_offline(struct controller *c);

static void set_partition_state(struct ctl_partition *p, enum partition_state to)
{
    static const bool legal[4][4] = {
        /* from NONE, NEW, ONLINE, OFFLINE; to the same */
        [PARTITION_NONE] = {[PARTITION_NEW] = true, [PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true},
        [PARTITION_NEW] = {[PARTITION_NEW] = true, [PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true},
        [PARTITION_ONLINE] = {[PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true},
        [PARTITION_OFFLINE] = {[PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true, [PARTITION_NONE] = true},
    };
    ensure(legal[p->state][to]);
    p->state = to;
}

/* ---- Choosing a leader ---- */

struct choice {
    int32_t leader; /* -1: nobody can be */
    int32_t isr[64];
    int32_t isr_count;
    bool unclean;
};

/* What an election knows: who is there, and who is on the way out. */
static bool is_online(const struct controller *c, int32_t broker)
{
    return broker_is_live(c, broker);
}

static void keep_isr(struct choice *out, const struct controller *c, struct int_list isr,
                     bool (*keep)(const struct controller *, int32_t))
{
    for (int32_t i = 0; i < isr.n && out->isr_count < (int32_t)ARRAY_LEN(out->isr); i++)
        if (keep(c, isr.v[i]))
            out->isr[out->isr_count++] = isr.v[i];
}

static bool keep_all(const struct controller *c UNUSED, int32_t broker UNUSED)
{
    return true;
}

static struct choice choose_leader(const struct controller *c, const struct ctl_partition *p,
                                   const struct partition_znode *now)
{
    struct choice out = {.leader = -1};
    if (c->election == ELECT_PREFERRED) {
        int32_t head = p->replicas.n > 0 ? p->replicas.v[0] : -1;
        if (is_online(c, head) && int_list_has(now->isr, head))
            out.leader = head;
        keep_isr(&out, c, now->isr, keep_all);
        return out;
    }
    for (int32_t i = 0; i < p->replicas.n && out.leader < 0; i++)
        if (is_online(c, p->replicas.v[i]) && int_list_has(now->isr, p->replicas.v[i]))
            out.leader = p->replicas.v[i];
    keep_isr(&out, c, now->isr, is_online);
    return out;
}

static struct int_list live_replicas(struct controller *c, const struct ctl_partition *p, int32_t *room)
{
    struct int_list live = {room, 0};
    for (int32_t i = 0; i < p->replicas.n; i++)
        if (broker_is_live_or_stopping(c, p->replicas.v[i]))
            room[live.n++] = p->replicas.v[i];
    return live;
}

static void announce(struct controller *c, struct ctl_partition *p, bool is_new)
{
    int32_t *room = xcalloc((size_t)MAX(p->replicas.n, 1), sizeof(*room));
    outbox_leader_and_isr(c, live_replicas(c, p, room), p, is_new);
    free(room);
}

/* ---- New partitions: their state node is made ---- */

static bool first_leadership(struct controller *c, struct ctl_partition *p, int32_t *room, struct partition_znode *out)
{
    struct int_list live = {room, 0};
    for (int32_t i = 0; i < p->replicas.n; i++)
        if (broker_is_live(c, p->replicas.v[i]))
            room[live.n++] = p->replicas.v[i];
    if (live.n == 0) {
        log_warn("Partition %s-%" PRId32 " cannot come online: none of its replicas is alive", p->topic->name,
                 p->index);
        return false;
    }
    *out = (struct partition_znode){.leader = live.v[0], .controller_epoch = c->epoch, .isr = live};
    return true;
}

static void on_states_created(struct controller *c, struct zk_batch *b)
{
    size_t op = 0;
    for (size_t i = 0; i < c->work.n; i++) {
        struct ctl_partition *p = c->work.v[i];
        if (p->state != PARTITION_NEW || op >= b->count)
            continue;
        char path[ZNODE_PATH_ROOM];
        struct zk_op *state = &b->ops[op + 2];
        if (strcmp(state->path, state_path(path, p->topic->name, p->index)) != 0)
            continue; /* this one was not tried */
        op += 3;
        if (state->result != ZK_OK) {
            log_error("Cannot create %s, which exists already or was refused", path);
            continue;
        }
        set_partition_state(p, PARTITION_ONLINE);
        announce(c, p, true);
    }
    zk_batch_free(b);
    elect_offline(c);
}

static void create_states(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    char path[ZNODE_PATH_ROOM];
    for (size_t i = 0; i < c->work.n; i++) {
        struct ctl_partition *p = c->work.v[i];
        struct partition_znode l;
        int32_t *room = arena_alloc(&b->arena, (size_t)MAX(p->replicas.n, 1) * sizeof(*room));
        if (p->state != PARTITION_NEW || !first_leadership(c, p, room, &l))
            continue;
        struct bytes none = {NULL, 0};
        ctl_fence(c, zk_create(b, partitions_path(path, p->topic->name), none, ZK_PERSISTENT));
        ctl_fence(c, zk_create(b, partition_path(path, p->topic->name, p->index), none, ZK_PERSISTENT));
        ctl_fence(c, zk_create(b, state_path(path, p->topic->name, p->index), partition_encode(&b->arena, &l),
                               ZK_PERSISTENT));
        partition_set_leadership(p, &l);
    }
    ctl_submit(c, b, on_states_created);
}

/* ---- The others: their state is read, a leader chosen, the state written if nobody else did ---- */

static void finish(struct controller *c)
{
    step_fn then = c->then;
    partition_set_clear(&c->work);
    c->then = NULL;
    then(c);
}

static void on_elected(struct controller *c, struct zk_batch *b)
{
    struct partition_set again = {0};
    size_t op = 0;
    for (size_t i = 0; i < c->work.n && op < b->count; i++) {
        struct ctl_partition *p = c->work.v[i];
        char path[ZNODE_PATH_ROOM];
        struct zk_op *set = &b->ops[op];
        if (set->kind != ZK_SET || strcmp(set->path, state_path(path, p->topic->name, p->index)) != 0)
            continue;
        op++;
        if (set->result == ZK_BAD_VERSION) {
            partition_set_add(&again, p);
            continue;
        }
        struct partition_znode l;
        if (set->result != ZK_OK || !partition_decode(&b->arena, p->topic->name, p->index, set->data, &l))
            continue;
        l.version = set->stat.version;
        partition_set_leadership(p, &l);
        set_partition_state(p, PARTITION_ONLINE);
        announce(c, p, false);
    }
    zk_batch_free(b);
    partition_set_clear(&c->work);
    c->work = again;
    if (c->work.n > 0)
        elect_offline(c);
    else
        finish(c);
}

static void elect_one(struct controller *c, struct ctl_partition *p, struct zk_op *read, struct zk_batch *b)
{
    char path[ZNODE_PATH_ROOM];
    struct partition_znode now;
    if (read->result != ZK_OK || !partition_decode(&b->arena, p->topic->name, p->index, read->value, &now))
        return;
    now.version = read->stat.version;
    if (now.controller_epoch > c->epoch) {
        log_error("%s was written by a controller of epoch %" PRId32 ", mine is %" PRId32, read->path,
                  now.controller_epoch, c->epoch);
        return;
    }
    struct choice choice = choose_leader(c, p, &now);
    if (choice.leader < 0) {
        partition_set_leadership(p, &now);
        log_warn("No leader can be elected for partition %s-%" PRId32, p->topic->name, p->index);
        return;
    }
    if (c->election == ELECT_PREFERRED && choice.leader == now.leader)
        return;
    struct partition_znode next = {.leader = choice.leader,
                                   .leader_epoch = now.leader_epoch + 1,
                                   .controller_epoch = c->epoch,
                                   .recovery_state = choice.unclean ? 1 : now.recovery_state,
                                   .isr = {choice.isr, choice.isr_count}};
    struct bytes data = partition_encode(&b->arena, &next);
    ctl_fence(c, zk_set(b, state_path(path, p->topic->name, p->index), data, now.version));
}

static void on_states_read(struct controller *c, struct zk_batch *read)
{
    struct zk_batch *b = ctl_batch();
    size_t op = 0;
    for (size_t i = 0; i < c->work.n; i++)
        if (c->work.v[i]->state != PARTITION_NEW && op < read->count && read->ops[op].kind == ZK_GET)
            elect_one(c, c->work.v[i], &read->ops[op++], b);
    zk_batch_free(read);
    ctl_submit(c, b, on_elected);
}

static void elect_offline(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    struct partition_set rest = {0};
    char path[ZNODE_PATH_ROOM];
    for (size_t i = 0; i < c->work.n; i++) {
        struct ctl_partition *p = c->work.v[i];
        bool needed = p->state == PARTITION_OFFLINE || (p->state == PARTITION_ONLINE && c->election != ELECT_OFFLINE);
        if (!needed)
            continue;
        partition_set_add(&rest, p);
        zk_get(b, state_path(path, p->topic->name, p->index), false);
    }
    partition_set_clear(&c->work);
    c->work = rest;
    if (rest.n > 0) {
        ctl_submit(c, b, on_states_read);
        return;
    }
    zk_batch_free(b);
    finish(c);
}

void partitions_online(struct controller *c, enum election election, step_fn then)
{
    ensure(c->then == NULL);
    c->election = election;
    c->then = then;
    bool any_new = false;
    for (size_t i = 0; i < c->work.n; i++)
        any_new |= c->work.v[i]->state == PARTITION_NEW;
    if (any_new)
        create_states(c);
    else
        elect_offline(c);
}

void collect_electable(struct controller *c)
{
    for (struct ctl_topic *t = c->topics; t != NULL; t = t->hh.next)
        for (int32_t i = 0; i < t->count && !t->deleting; i++)
            if (t->partitions[i]->state == PARTITION_NEW || t->partitions[i]->state == PARTITION_OFFLINE)
                partition_set_add(&c->work, t->partitions[i]);
}

/* ---- Replicas ---- */

static int32_t leaving_broker(const struct controller *c)
{
    return c->running->number;
}

/* The state without `broker` in the ISR; the last member stays. */
static bool without_broker(struct controller *c, const struct partition_znode *now, int32_t broker, int32_t *room,
                           struct partition_znode *out)
{
    if (!int_list_has(now->isr, broker))
        return false;
    struct int_list isr = {room, 0};
    for (int32_t i = 0; i < now->isr.n; i++)
        if (now->isr.v[i] != broker)
            isr.v[isr.n++] = now->isr.v[i];
    if (isr.n == 0)
        isr.v[isr.n++] = broker;
    *out = *now;
    out->leader = now->leader == broker ? -1 : now->leader;
    out->leader_epoch = now->leader_epoch + 1;
    out->controller_epoch = c->epoch;
    out->isr = isr;
    return true;
}

static void shrink_next(struct controller *c);

static void on_shrunk(struct controller *c, struct zk_batch *b)
{
    struct partition_set again = {0};
    size_t op = 0;
    for (size_t i = 0; i < c->work.n; i++) {
        struct ctl_partition *p = c->work.v[i];
        char path[ZNODE_PATH_ROOM];
        struct zk_op *set = op < b->count ? &b->ops[op] : NULL;
        if (set != NULL && set->kind == ZK_SET && strcmp(set->path, state_path(path, p->topic->name, p->index)) == 0) {
            struct partition_znode l;
            op++;
            if (set->result == ZK_BAD_VERSION) {
                partition_set_add(&again, p);
                continue;
            }
            if (set->result == ZK_OK && partition_decode(&b->arena, p->topic->name, p->index, set->data, &l)) {
                l.version = set->stat.version;
                partition_set_leadership(p, &l);
            }
        }
        if (!p->topic->deleting)
            announce(c, p, false);
    }
    zk_batch_free(b);
    partition_set_clear(&c->work);
    c->work = again;
    if (again.n > 0)
        shrink_next(c);
    else
        finish(c);
}

static void on_shrink_read(struct controller *c, struct zk_batch *read)
{
    struct zk_batch *b = ctl_batch();
    char path[ZNODE_PATH_ROOM];
    for (size_t i = 0; i < c->work.n && i < read->count; i++) {
        struct ctl_partition *p = c->work.v[i];
        struct partition_znode now, next;
        if (read->ops[i].result != ZK_OK ||
            !partition_decode(&b->arena, p->topic->name, p->index, read->ops[i].value, &now))
            continue;
        now.version = read->ops[i].stat.version;
        int32_t *room = arena_alloc(&b->arena, (size_t)MAX(now.isr.n, 1) * sizeof(*room));
        if (without_broker(c, &now, leaving_broker(c), room, &next))
            ctl_fence(c, zk_set(b, state_path(path, p->topic->name, p->index), partition_encode(&b->arena, &next),
                                now.version));
    }
    zk_batch_free(read);
    ctl_submit(c, b, on_shrunk);
}

static void shrink_next(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    char path[ZNODE_PATH_ROOM];
    if (c->work.n == 0) {
        zk_batch_free(b);
        finish(c);
        return;
    }
    for (size_t i = 0; i < c->work.n; i++)
        zk_get(b, state_path(path, c->work.v[i]->topic->name, c->work.v[i]->index), false);
    ctl_submit(c, b, on_shrink_read);
}

void replicas_offline(struct controller *c, int32_t broker, step_fn then)
{
    ensure(c->then == NULL);
    c->then = then;
    c->running->number = broker;
    for (struct ctl_topic *t = c->topics; t != NULL; t = t->hh.next) {
        for (int32_t i = 0; i < t->count; i++) {
            struct ctl_partition *p = t->partitions[i];
            enum replica_state *state = replica_state_of(p, broker);
            if (state == NULL)
                continue;
            if (*state == REPLICA_ONLINE || *state == REPLICA_NEW)
                *state = REPLICA_OFFLINE;
            outbox_stop_replica(c, broker, p, false);
            if (p->known && p->leadership.leader != broker && int_list_has(p->leadership.isr, broker))
                partition_set_add(&c->work, p);
        }
    }
    shrink_next(c);
}
