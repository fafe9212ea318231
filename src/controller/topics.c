/* Topics and partitions appear in ZooKeeper, whoever writes them there; small notifications. */
#include <inttypes.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

/* ---- Their nodes ---- */

static void set_place(struct topic_znode *z, int32_t i, int32_t number, struct int_list replicas,
                      struct int_list adding, struct int_list removing)
{
    z->numbers[i] = number;
    z->replicas[i] = replicas;
    z->adding[i] = adding;
    z->removing[i] = removing;
}

/* As it is known; and partitions that only `now` has, which is what stands there, NULL if that is what is known. */
static void topic_write(struct controller *c, struct zk_batch *b, struct ctl_topic *t, const struct topic_znode *now)
{
    char path[ZNODE_PATH_ROOM];
    size_t room = (size_t)t->count + (now != NULL ? (size_t)now->partition_count : 0) + 1;
    struct topic_znode z = {.id = t->id, .partition_count = t->count};
    z.numbers = ARENA_ARRAY(&b->arena, int32_t, room);
    z.replicas = ARENA_ARRAY(&b->arena, struct int_list, room);
    z.adding = ARENA_ARRAY(&b->arena, struct int_list, room);
    z.removing = ARENA_ARRAY(&b->arena, struct int_list, room);
    for (int32_t i = 0; i < t->count; i++) {
        const struct ctl_partition *p = t->partitions[i];
        set_place(&z, i, p->index, p->replicas, p->adding, p->removing);
    }
    for (int32_t i = 0; now != NULL && i < now->partition_count; i++)
        if (topic_partition(t, now->numbers[i]) == NULL)
            set_place(&z, z.partition_count++, now->numbers[i], now->replicas[i], now->adding[i], now->removing[i]);
    struct zk_op *set = zk_set(b, topic_path(path, t->name), topic_encode(&b->arena, &z), t->version);
    set->owner = t;
    ctl_fence(c, set);
}

/* Perhaps by our own write, whose answer was lost. */
static bool topic_is_as_known(const struct ctl_topic *t, const struct topic_znode *now)
{
    for (int32_t i = 0; i < now->partition_count; i++) {
        const struct ctl_partition *p = topic_partition(t, now->numbers[i]);
        if (p == NULL || !int_list_eq(p->replicas, now->replicas[i]) || !int_list_eq(p->adding, now->adding[i]) ||
            !int_list_eq(p->removing, now->removing[i]))
            return false;
    }
    return now->partition_count == t->count;
}

static void topics_on_written(struct controller *c, struct zk_batch *b);

static void topics_on_reread(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *again = ctl_batch();
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read) {
        struct ctl_topic *t = read->owner;
        struct topic_znode now;
        if (read->result != ZK_OK || !topic_decode(&b->arena, t->name, read->value, &now) || !uuid_eq(now.id, t->id))
            continue;
        t->version = read->stat.version;
        t->unwritten = !topic_is_as_known(t, &now);
        if (t->unwritten)
            topic_write(c, again, t, &now);
    }
    zk_batch_free(b);
    ctl_submit(c, again, topics_on_written);
}

/* What somebody else has written meanwhile, as new partitions, is read, and stays. */
static void topics_on_written(struct controller *c, struct zk_batch *b)
{
    enum { MOST_TRIES = 5 };
    char path[ZNODE_PATH_ROOM];
    struct zk_batch *reads = ctl_batch();
    const struct zk_op *set;
    bool again = ++c->topic_tries < MOST_TRIES;
    ZK_OWNED_FOREACH (b, set) {
        struct ctl_topic *t = set->owner;
        t->unwritten = set->result != ZK_OK;
        if (set->result == ZK_OK)
            t->version = set->stat.version;
        else if (set->result == ZK_BAD_VERSION && again)
            zk_get(reads, topic_path(path, t->name), false)->owner = t;
        else
            log_error("Cannot write %s, which reassigns its partitions", set->path);
    }
    zk_batch_free(b);
    if (reads->count > 0) {
        ctl_submit(c, reads, topics_on_reread);
        return;
    }
    zk_batch_free(reads);
    c->topics_written(c);
}

void topics_write(struct controller *c, const struct partition_set *of, step_fn then)
{
    struct zk_batch *b = ctl_batch();
    for (size_t i = 0; i < of->n; i++)
        of->v[i]->topic->to_write = true;
    for (size_t i = 0; i < of->n; i++) {
        struct ctl_topic *t = of->v[i]->topic;
        if (t->to_write)
            topic_write(c, b, t, NULL);
        t->to_write = false;
    }
    c->topics_written = then;
    c->topic_tries = 0;
    ctl_submit(c, b, topics_on_written);
}

/* Writes an id for the topic into its node, if it has none. */
static void topic_take_id(struct controller *c, struct zk_batch *ids, const char *name, struct topic_znode *z)
{
    char path[ZNODE_PATH_ROOM];
    z->id = uuid_random();
    ctl_fence(c, zk_set(ids, topic_path(path, name), topic_encode(&ids->arena, z), ZK_ANY_VERSION));
}

struct ctl_topic *topic_take(struct controller *c, struct zk_batch *ids, const struct zk_op *read,
                             struct topic_znode *z)
{
    const char *name = strrchr(read->path, '/') + 1;
    bool has_id = !uuid_is_zero(z->id);
    if (!has_id)
        topic_take_id(c, ids, name, z);
    struct ctl_topic *t = context_add_topic(c, name, z->id);
    t->version = has_id ? read->stat.version : ZK_ANY_VERSION;
    return t;
}

static bool has_new_partitions(const struct ctl_topic *t, const struct topic_znode *z)
{
    for (int32_t i = 0; i < z->partition_count; i++)
        if (topic_partition(t, z->numbers[i]) == NULL)
            return true;
    return false;
}

/* Partitions that are new: known to us, not yet to anybody else. */
static void topics_add_partitions(struct controller *c, struct ctl_topic *t, const struct topic_znode *z)
{
    for (int32_t i = 0; i < z->partition_count; i++) {
        if (topic_partition(t, z->numbers[i]) != NULL)
            continue;
        struct ctl_partition *p = topic_add_partition(t, z->numbers[i]);
        partition_assign(p, z->replicas[i], z->adding[i], z->removing[i]);
        for (int32_t r = 0; r < p->replicas.n; r++)
            p->replica_states[r] = REPLICA_ONLINE;
        partition_change_state(c, p, PARTITION_NEW);
        partition_set_add(&c->work, p);
    }
}

static void on_topic_ids(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    partitions_online(c, ELECT_OFFLINE, event_done_step);
}

void topic_read(struct controller *c, struct zk_batch *b, struct str name)
{
    char path[ZNODE_PATH_ROOM];
    if (topic_name_is_legal(name)) {
        zk_get(b, topic_path(path, arena_cstr(&b->arena, name)), true);
        return;
    }
    log_warn("%s/%.*s is no topic of ours: it has a name that topics cannot have", ZNODE_TOPICS, STR_ARGS(name));
    context_ignore(c, name);
}

bool topic_understand(struct controller *c, struct arena *a, const struct zk_op *read, struct topic_znode *z)
{
    const char *name = strrchr(read->path, '/') + 1;
    if (read->result != ZK_OK)
        return false;
    if (topic_decode(a, name, read->value, z))
        return true;
    context_ignore(c, str_of(name)); /* until its node changes, which is watched */
    return false;
}

static void topics_on_topics_read(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *ids = ctl_batch();
    for (const struct zk_op *read = b->first; read != NULL; read = read->next) {
        struct topic_znode z;
        if (read->kind != ZK_GET || !topic_understand(c, &ids->arena, read, &z))
            continue;
        struct ctl_topic *t = topic_take(c, ids, read, &z);
        log_info("New topic %s with %" PRId32 " partitions", t->name, z.partition_count);
        topics_add_partitions(c, t, &z);
    }
    zk_batch_free(b);
    ctl_submit(c, ids, on_topic_ids);
}

/*
 * Somebody removed the node without asking for deletion. Nobody is told that it goes, as with Kafka: coordinators would
 * forget what is committed of it, and it may come back, by a restore or with ZooKeeper's next snapshot.
 */
static void forget_topic(struct controller *c, struct ctl_topic *t)
{
    log_warn("Topic %s has vanished from ZooKeeper: its replicas stay as they are", t->name);
    outbox_flush(c); /* what it holds of its partitions */
    context_remove_topic(c, t);
}

static void forget_unlisted(struct controller *c)
{
    struct ctl_topic *t, *next;
    struct ignored *i, *next_ignored;
    HASH_ITER (hh, c->topics, t, next) {
        if (!t->listed && !t->deleting)
            forget_topic(c, t);
        else
            t->listed = false;
    }
    HASH_ITER (hh, c->ignored, i, next_ignored) {
        if (!i->listed)
            context_stop_ignoring(c, i);
        else
            i->listed = false;
    }
}

static void take_listed(struct controller *c, struct zk_batch *reads, struct str name)
{
    struct ctl_topic *t = context_topic(c, name);
    struct ignored *i = t == NULL ? context_ignored(c, name) : NULL;
    if (t != NULL)
        t->listed = true;
    else if (i != NULL)
        i->listed = true;
    else
        topic_read(c, reads, name);
}

static void on_topic_list(struct controller *c, struct zk_batch *b)
{
    struct zk_op *list = b->first;
    struct zk_batch *reads = ctl_batch();
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
        take_listed(c, reads, list->children[i]);
    if (list->result == ZK_OK)
        forget_unlisted(c);
    zk_batch_free(b);
    ctl_submit(c, reads, topics_on_topics_read);
}

void topics_changed(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_children(b, ZNODE_TOPICS, true);
    ctl_submit(c, b, on_topic_list);
}

/* ---- More partitions ---- */

static void on_restored(struct controller *c, struct zk_batch *b)
{
    struct ctl_topic *t = b->first->owner;
    if (b->first->result == ZK_OK)
        t->version = b->first->stat.version;
    zk_batch_free(b);
    event_done(c);
}

/* A topic that is being deleted does not grow: its node becomes again what is being deleted. */
static void restore_topic(struct controller *c, struct ctl_topic *t)
{
    struct zk_batch *b = ctl_batch();
    topic_write(c, b, t, NULL);
    ctl_submit(c, b, on_restored);
}

static void on_topic_read(struct controller *c, struct zk_batch *b)
{
    struct topic_znode z;
    struct ctl_topic *t = context_topic(c, str_of(c->running->text));
    struct zk_op *read = b->first;
    bool grows = t != NULL && read->result == ZK_OK && topic_decode(&b->arena, t->name, read->value, &z) &&
                 has_new_partitions(t, &z);
    bool allowed = grows && !t->deleting;
    if (t != NULL && read->result == ZK_OK) {
        t->version = read->stat.version;
        reassignment_topic_changed(c, t);
    }
    if (allowed) {
        log_info("Topic %s grows from %" PRId32 " to %" PRId32 " partitions", t->name, t->count, z.partition_count);
        topics_add_partitions(c, t, &z);
    }
    zk_batch_free(b);
    if (grows && !allowed)
        restore_topic(c, t);
    else
        partitions_online(c, ELECT_OFFLINE, event_done_step);
}

/* One that made no sense may make sense now. */
static void look_again(struct controller *c, struct ignored *i)
{
    context_stop_ignoring(c, i);
    topics_changed(c, c->running);
}

void topic_modified(struct controller *c, struct event *e)
{
    char path[ZNODE_PATH_ROOM];
    struct ignored *i = context_ignored(c, str_of(e->text));
    if (i != NULL) {
        look_again(c, i);
        return;
    }
    struct zk_batch *b = ctl_batch();
    zk_get(b, topic_path(path, e->text), true);
    ctl_submit(c, b, on_topic_read);
}

/* ---- Notifications ---- */

/* Leaders of an old protocol version have written ISRs to ZooKeeper themselves: they are read, and told to all. */
static void on_changed_states(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read) {
        struct ctl_partition *p = read->owner;
        struct partition_znode now;
        if (read->result != ZK_OK || !partition_decode(&b->arena, p->topic->name, p->index, read->value, &now))
            continue;
        now.version = read->stat.version;
        partition_set_leadership(p, &now);
        outbox_metadata(c, p);
        reassignment_isr_changed(c, p);
    }
    zk_batch_free(b);
    event_done(c);
}

static void on_notifications_deleted(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *reads = ctl_batch();
    zk_batch_free(b);
    for (size_t i = 0; i < c->work.n; i++)
        read_state(reads, c->work.v[i]);
    ctl_submit(c, reads, on_changed_states);
}

static void topics_on_notifications(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *deletes = ctl_batch();
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        struct partition_list_znode list;
        if (op->kind != ZK_GET || op->result != ZK_OK)
            continue;
        ctl_fence(c, zk_delete(deletes, op->path, ZK_ANY_VERSION));
        if (!partition_list_decode(&b->arena, op->path, op->value, &list))
            continue;
        for (int32_t n = 0; n < list.count; n++) {
            struct ctl_partition *p = context_partition(c, str_of(list.entries[n].topic), list.entries[n].partition);
            if (p != NULL && p->known)
                partition_set_add(&c->work, p);
        }
    }
    zk_batch_free(b);
    partition_set_drop_repeats(&c->work);
    ctl_submit(c, deletes, on_notifications_deleted);
}

static void read_children_then(struct controller *c, struct zk_batch *lists, batch_fn next)
{
    struct zk_batch *reads = ctl_batch();
    const struct zk_op *list = lists->first;
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
        zk_get(reads, zk_child_path(reads, list, i), false);
    zk_batch_free(lists);
    ctl_submit(c, reads, next);
}

static void on_isr_list(struct controller *c, struct zk_batch *b)
{
    read_children_then(c, b, topics_on_notifications);
}

void isr_changed(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_children(b, ZNODE_ISR_CHANGES, true);
    ctl_submit(c, b, on_isr_list);
}

/* A broker has lost a log directory: it is asked about all its replicas, and says which are gone. */
static void ask_of_failed(struct controller *c, struct ctl_partition *p)
{
    bool counts = p->known && !p->topic->deleting; /* of what is being deleted, one might be made again */
    for (int32_t i = 0; counts && i < p->replicas.n; i++) {
        struct ctl_broker *b = context_broker(c, p->replicas.v[i]);
        if (b != NULL && b->lost_dir)
            outbox_leader_and_isr(c, (struct int_list){&b->id, 1}, p, false);
    }
}

static void all_are_asked(struct controller *c)
{
    for (struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        b->lost_dir = false;
    event_done(c);
}

static void on_log_dir_events_deleted(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    ctl_walk(c, ask_of_failed, all_are_asked);
}

static void on_log_dir_events(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *deletes = ctl_batch();
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        int32_t broker;
        if (op->kind != ZK_GET || op->result != ZK_OK)
            continue;
        ctl_fence(c, zk_delete(deletes, op->path, ZK_ANY_VERSION));
        if (log_dir_event_decode(op->value, &broker) && broker_is_live(c, broker))
            context_broker(c, broker)->lost_dir = true;
    }
    zk_batch_free(b);
    ctl_submit(c, deletes, on_log_dir_events_deleted);
}

static void on_log_dir_list(struct controller *c, struct zk_batch *b)
{
    read_children_then(c, b, on_log_dir_events);
}

void log_dirs_changed(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_children(b, ZNODE_LOG_DIR_EVENTS, true);
    ctl_submit(c, b, on_log_dir_list);
}
