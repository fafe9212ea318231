/*
 * Partitions come online here: new ones by creating their state, others by election. Who leads is decided by pure
 * functions of what is known; the rest writes it to ZooKeeper and tells the brokers.
 *
 *   create   new partitions of c->work get a state node (creation.c).
 *   elect    from their states: the first replica that is in the ISR and alive; where unclean elections are allowed
 *            and there is none, the first that is alive.
 *   write    the new state, by the version of the one that is known and fenced by the controller's epoch.
 *   tell     LeaderAndIsr to the replicas, UpdateMetadata to all, of what was written.
 *
 * What is known of a state is what this controller has read or written last, as nobody else writes it while it is in
 * office; the version says if somebody has all the same. Then nothing is written (BadVersion), neither this one nor
 * those that share its transaction: these states are stale, and read before it is tried again. What is found there may
 * be our own write, whose answer was lost: then it is taken for done. What a newer controller has written is left
 * alone. Work is done in pieces of PIECE partitions, a turn of the loop each.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "cluster/config_watch.h"
#include "controller/controller_internal.h"

LOG_PLACE(state_changes, "state.change.logger")

static void print_ids(struct strbuf *out, struct int_list ids)
{
    for (int32_t i = 0; i < ids.n; i++)
        strbuf_printf(out, "%s%" PRId32, i > 0 ? "," : "", ids.v[i]);
}

/* Those that come to be or get a leader are Apache's, too; with what else happens its log is not filled. */
static void note_state_change(const struct controller *c, const struct ctl_partition *p, enum partition_state to)
{
    static const char *const names[] = {
        [PARTITION_NONE] = "NonExistentPartition",
        [PARTITION_NEW] = "NewPartition",
        [PARTITION_ONLINE] = "OnlinePartition",
        [PARTITION_OFFLINE] = "OfflinePartition",
    };
    enum log_level level = to == PARTITION_NEW || to == PARTITION_ONLINE ? LEVEL_INFO : LEVEL_TRACE;
    struct strbuf ids = {0};
    if (!log_is_on(&state_changes, level))
        return;
    strbuf_puts(&ids, "");
    print_ids(&ids, to == PARTITION_NEW ? p->replicas : p->leadership.isr);
    if (to == PARTITION_NEW)
        log_to(&state_changes, level,
               "[Controller id=%" PRId32 " epoch=%" PRId32 "] Changed partition %s-%" PRId32
               " state from %s to %s with assigned replicas %s",
               c->options.broker_id, c->epoch, p->topic->name, p->index, names[p->state], names[to], ids.p);
    else
        log_to(&state_changes, level,
               "[Controller id=%" PRId32 " epoch=%" PRId32 "] Changed partition %s-%" PRId32
               " from %s to %s with state LeaderAndIsr(leader=%" PRId32 ", leaderEpoch=%" PRId32 ", isr=List(%s))",
               c->options.broker_id, c->epoch, p->topic->name, p->index, names[p->state], names[to],
               p->leadership.leader, p->leadership.leader_epoch, ids.p);
    strbuf_deinit(&ids);
}

void partition_change_state(const struct controller *c, struct ctl_partition *p, enum partition_state to)
{
    static const bool legal[4][4] = {
        /* from NONE, NEW, ONLINE, OFFLINE; to the same */
        [PARTITION_NONE] = {[PARTITION_NEW] = true, [PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true},
        [PARTITION_NEW] = {[PARTITION_NEW] = true, [PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true},
        [PARTITION_ONLINE] = {[PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true},
        [PARTITION_OFFLINE] = {[PARTITION_ONLINE] = true, [PARTITION_OFFLINE] = true, [PARTITION_NONE] = true},
    };
    ensure(legal[p->state][to]);
    note_state_change(c, p, to);
    p->state = to;
}

/* ---- Choosing a leader ---- */

struct choice {
    int32_t leader; /* -1: nobody can be */
    struct int_list isr;
    bool unclean;
};

struct candidates { /* what an election goes by */
    const struct controller *c;
    const struct ctl_partition *partition;
    struct arena *arena;
};

static bool is_online(const struct candidates *e, int32_t broker)
{
    return replica_is_online(e->c, e->partition, broker);
}

static bool is_in_sync_and_online(const struct candidates *e, int32_t broker)
{
    return int_list_has(e->partition->leadership.isr, broker) && is_online(e, broker);
}

static bool is_not_stopping(const struct candidates *e, int32_t broker)
{
    const struct ctl_broker *b = context_broker(e->c, broker);
    return b == NULL || !b->shutting_down;
}

static int32_t first_of(const struct candidates *e, struct int_list list,
                        bool (*fits)(const struct candidates *, int32_t))
{
    for (int32_t i = 0; i < list.n; i++)
        if (fits(e, list.v[i]))
            return list.v[i];
    return -1;
}

static struct int_list those_of(const struct candidates *e, struct int_list list,
                                bool (*fits)(const struct candidates *, int32_t))
{
    struct int_list out = {ARENA_ARRAY(e->arena, int32_t, MAX(list.n, 1)), 0};
    for (int32_t i = 0; i < list.n; i++)
        if (fits(e, list.v[i]))
            out.v[out.n++] = list.v[i];
    return out;
}

static bool may_be_unclean(const struct candidates *e)
{
    struct topic_config config;
    if (e->c->election == ELECT_UNCLEAN)
        return true;
    if (e->partition->topic->unsettled)
        return false;
    topic_configs_get(e->c->options.topic_configs, e->partition->topic->name, &config);
    return config.unclean_leader_election_enable;
}

static struct choice choose_after_loss(const struct candidates *e)
{
    struct int_list replicas = e->partition->replicas;
    struct choice out = {.leader = first_of(e, replicas, is_in_sync_and_online)};
    out.isr = those_of(e, e->partition->leadership.isr, is_online);
    if (out.leader >= 0 || !may_be_unclean(e))
        return out;
    out.leader = first_of(e, replicas, is_online);
    out.unclean = true;
    out.isr = (struct int_list){ARENA_NEW(e->arena, int32_t), 1};
    out.isr.v[0] = out.leader;
    return out;
}

static struct choice choose_reassigned(const struct candidates *e)
{
    const struct partition_znode *now = &e->partition->leadership;
    bool stays = int_list_has(e->partition->replicas, now->leader) && is_online(e, now->leader);
    return (struct choice){stays ? now->leader : first_of(e, e->partition->replicas, is_in_sync_and_online), now->isr,
                           false};
}

static struct choice choose_leader(const struct candidates *e)
{
    const struct partition_znode *now = &e->partition->leadership;
    struct int_list replicas = e->partition->replicas;
    struct int_list head = {replicas.v, MIN(replicas.n, 1)};
    switch (e->c->election) {
    case ELECT_OFFLINE:
    case ELECT_UNCLEAN:
        return choose_after_loss(e);
    case ELECT_PREFERRED:
        return (struct choice){first_of(e, head, is_in_sync_and_online), now->isr, false};
    case ELECT_SHUTDOWN:
        return (struct choice){first_of(e, replicas, is_in_sync_and_online), those_of(e, now->isr, is_not_stopping),
                               false};
    case ELECT_REASSIGN:
        return choose_reassigned(e);
    case ELECT_REFRESH: /* or a first one, where who led was taken out by the reassignment before */
        return (struct choice){now->leader >= 0 ? now->leader : first_of(e, replicas, is_in_sync_and_online), now->isr,
                               false};
    }
    unreachable("an election of no kind");
}

/* By its reassignment: it may have its log in any directory, even if one is offline, where it could have been. */
static bool is_being_added(const struct controller *c, const struct ctl_partition *p, int32_t broker)
{
    return c->election == ELECT_REFRESH && int_list_has(p->adding, broker) && !int_list_has(p->leadership.isr, broker);
}

void partition_announce(struct controller *c, struct ctl_partition *p, bool is_new)
{
    for (int32_t i = 0; i < p->replicas.n; i++) {
        int32_t broker = p->replicas.v[i];
        if (!int_list_has(p->leaving, broker))
            outbox_order(c, (struct int_list){&broker, 1}, p, is_new || is_being_added(c, p, broker));
    }
    p->untold = false;
    outbox_metadata(c, p);
}

struct zk_op *read_state(struct zk_batch *b, struct ctl_partition *p)
{
    char path[ZNODE_PATH_ROOM];
    struct zk_op *read = zk_get(b, state_path(path, p->topic->name, p->index), false);
    read->owner = p;
    return read;
}

bool state_must_be_read(const struct ctl_partition *p)
{
    return !p->known || p->stale;
}

struct zk_batch *states_to_read(const struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    for (size_t i = 0; i < c->work.n; i++)
        if (state_must_be_read(c->work.v[i]))
            read_state(b, c->work.v[i]);
    return b;
}

struct zk_op *write_state(struct controller *c, struct zk_batch *b, struct ctl_multi *m, struct ctl_partition *p,
                          const struct partition_znode *next, int32_t version)
{
    char path[ZNODE_PATH_ROOM];
    ensure(next->controller_epoch == c->epoch);
    struct bytes data = partition_encode(&b->arena, next);
    struct zk_op *set = zk_set(b, state_path(path, p->topic->name, p->index), data, version);
    set->owner = p;
    if (m != NULL)
        ctl_together(c, m, set);
    else
        ctl_fence(c, set);
    return set;
}

bool write_is_overtaken(const struct zk_op *set)
{
    return set->result == ZK_BAD_VERSION || set->result == ZK_UNDONE;
}

void partition_take_read(const struct controller *c, struct arena *a, const struct zk_op *read)
{
    struct ctl_partition *p = read->owner;
    struct partition_znode now;
    if (read->result != ZK_OK || !partition_decode(a, p->topic->name, p->index, read->value, &now))
        return;
    now.version = read->stat.version;
    if (now.controller_epoch > c->epoch) {
        log_error("%s was written by a controller of epoch %" PRId32 ", mine is %" PRId32, read->path,
                  now.controller_epoch, c->epoch);
        return;
    }
    p->untold = p->known && now.version > p->leadership.version;
    partition_set_leadership(p, &now);
}

bool partition_take_written(struct ctl_partition *p, struct arena *a, const struct zk_op *set)
{
    struct partition_znode l;
    p->stale |= set->result != ZK_OK;
    if (set->result != ZK_OK || !partition_decode(a, p->topic->name, p->index, set->data, &l))
        return false;
    l.version = set->kind == ZK_CREATE ? 0 : set->stat.version;
    partition_set_leadership(p, &l);
    return true;
}

/* ---- A leader is chosen, and the state written if nobody else did ---- */

static void bring_piece_online(struct controller *c);

static void election_finish(struct controller *c)
{
    step_fn then = c->then;
    if (work_next(c)) {
        bring_piece_online(c);
        return;
    }
    c->then = NULL;
    ensure(then != NULL);
    then(c);
}

static void on_elected(struct controller *c, struct zk_batch *b)
{
    struct partition_set again = {0};
    const struct zk_op *set;
    ZK_OWNED_FOREACH (b, set) {
        struct ctl_partition *p = set->owner;
        if (!partition_take_written(p, &b->arena, set)) {
            if (write_is_overtaken(set))
                partition_set_add(&again, p);
            continue;
        }
        if (p->leadership.leader >= 0)
            partition_change_state(c, p, PARTITION_ONLINE);
        p->outcome = ERR_NONE;
        partition_announce(c, p, false);
    }
    zk_batch_free(b);
    if (work_again(c, &again))
        partitions_elect(c);
    else
        election_finish(c);
}

/* A leader that was not in sync is said to be recovering (KIP-704). */
static int32_t recovering(const struct controller *c)
{
    return c->options.config->inter_broker_protocol_version >= IBP_3_2_IV0;
}

/* The preferred one leads already; perhaps by our own write, whose answer was lost: then nobody was told of it. */
static void already_leads(struct controller *c, struct ctl_partition *p)
{
    p->outcome = p->untold ? ERR_NONE : ERR_ELECTION_NOT_NEEDED;
    if (p->untold)
        partition_announce(c, p, false);
}

static void elect_one(struct controller *c, struct ctl_partition *p, struct zk_batch *b, struct ctl_multi *m)
{
    const struct partition_znode *now = &p->leadership;
    if (state_must_be_read(p))
        return; /* it could not be */
    struct candidates candidates = {c, p, &b->arena};
    struct choice choice = choose_leader(&candidates);
    if (choice.leader < 0 && c->election != ELECT_REFRESH) {
        log_warn("No leader can be elected for partition %s-%" PRId32, p->topic->name, p->index);
        return;
    }
    if (c->election == ELECT_PREFERRED && choice.leader == now->leader) {
        already_leads(c, p);
        return;
    }
    if (choice.unclean)
        controller_count_unclean(c);
    if (choice.unclean)
        log_warn("Partition %s-%" PRId32 " gets broker %" PRId32
                 " as its leader, which was not in sync: records may be lost",
                 p->topic->name, p->index, choice.leader);
    struct partition_znode next = {.leader = choice.leader,
                                   .leader_epoch = now->leader_epoch + 1,
                                   .controller_epoch = c->epoch,
                                   .recovery_state = choice.unclean ? recovering(c) : now->recovery_state,
                                   .isr = choice.isr};
    write_state(c, b, work_goes_alone(c) ? NULL : m, p, &next, now->version);
}

static void elect_all(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    struct ctl_multi m = {0};
    for (size_t i = 0; i < c->work.n; i++)
        elect_one(c, c->work.v[i], b, &m);
    ctl_submit(c, b, on_elected);
}

static void on_settings_read(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *op;
    struct config_znode own;
    ZK_OWNED_FOREACH (b, op) {
        struct ctl_topic *t = op->owner;
        t->to_read = false;
        t->unsettled = !config_read(&b->arena, op, &own);
        if (!t->unsettled)
            topic_configs_take(c->options.topic_configs, t->name, &own);
        else
            log_error("Cannot read the settings of topic %s: no replica that is not in sync can lead it", t->name);
    }
    zk_batch_free(b);
    elect_all(c);
}

static bool nobody_in_sync(struct controller *c, struct ctl_partition *p)
{
    struct candidates candidates = {c, p, NULL};
    return !state_must_be_read(p) && first_of(&candidates, p->replicas, is_in_sync_and_online) < 0;
}

/*
 * Where nobody in sync is left, it depends on the settings of the topic whether somebody else may lead: they are read,
 * as this broker hears of them only where they change, or where it has a replica.
 */
static void election_read_settings(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    char path[ZNODE_PATH_ROOM];
    for (size_t i = 0; c->election == ELECT_OFFLINE && i < c->work.n; i++) {
        struct ctl_topic *t = c->work.v[i]->topic;
        if (t->to_read || !nobody_in_sync(c, c->work.v[i]))
            continue;
        t->to_read = true;
        zk_get(b, config_path(path, "topics", t->name), false)->owner = t;
    }
    if (b->count > 0) {
        ctl_submit(c, b, on_settings_read);
        return;
    }
    zk_batch_free(b);
    elect_all(c);
}

static void election_on_states_read(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read)
        partition_take_read(c, &b->arena, read);
    zk_batch_free(b);
    election_read_settings(c);
}

/* Those of c->work that there is something to be done for. */
static void keep_those_in_need(struct controller *c)
{
    struct partition_set rest = {0};
    for (size_t i = 0; i < c->work.n; i++) {
        struct ctl_partition *p = c->work.v[i];
        bool needed = p->state == PARTITION_OFFLINE || (p->state == PARTITION_ONLINE && c->election != ELECT_OFFLINE);
        if (!needed)
            continue;
        p->outcome =
            c->election == ELECT_PREFERRED ? ERR_PREFERRED_LEADER_NOT_AVAILABLE : ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
        partition_set_add(&rest, p);
    }
    partition_set_clear(&c->work);
    c->work = rest;
}

void partitions_elect(struct controller *c)
{
    keep_those_in_need(c);
    if (c->work.n == 0) {
        election_finish(c);
        return;
    }
    struct zk_batch *b = states_to_read(c);
    if (b->count > 0) {
        ctl_submit(c, b, election_on_states_read);
        return;
    }
    zk_batch_free(b);
    election_read_settings(c);
}

static void bring_piece_online(struct controller *c)
{
    bool any_new = false;
    for (size_t i = 0; i < c->work.n; i++)
        any_new |= c->work.v[i]->state == PARTITION_NEW;
    if (any_new)
        states_create(c);
    else
        partitions_elect(c);
}

void partitions_online(struct controller *c, enum election election, step_fn then)
{
    ensure(c->then == NULL);
    ensure(c->running != NULL && then != NULL);
    c->election = election;
    c->then = then;
    work_begin(c);
    bring_piece_online(c);
}

void collect_electable(struct controller *c, struct ctl_partition *p)
{
    if (!p->topic->deleting && (p->state == PARTITION_NEW || p->state == PARTITION_OFFLINE))
        partition_set_add(&c->work, p);
}
