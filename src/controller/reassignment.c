/*
 * Reassignment: a partition moves to other replicas (KIP-455). While it lasts its replicas are the new ones and
 * those of the old ones that are to go; the topic's node says which is which, so that any controller can go on.
 *
 *   start    the assignment is written to the topic's node; replicas that an earlier reassignment had begun to add and
 *            that are not wanted any more are deleted.
 *   begin    while a new replica is not in sync: a new leader epoch tells all of the new ones, which begin to fetch.
 *   end      when all are: one of the new ones leads, the old ones leave the ISR; when all have, they are deleted, the
 *            topic's node gets the final assignment, and /admin/reassign_partitions loses its entry. In this order, as
 *            nobody may count on what is deleted, and only the topic's node knows what is to be.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

struct assignment { /* of a partition before the event changed it; lists on the heap */
    struct int_list replicas, adding, removing;
    bool reassigning;
};

struct start {
    struct assignment before;
    struct int_list unneeded; /* heap: replicas that the reassignment before was to add */
};

struct ending {
    struct ctl_partition *partition;
    struct assignment before;
};

enum reassigned_by { BY_ITSELF, BY_REQUEST, BY_LIST };

struct reassigning { /* what the running event reassigns */
    enum reassigned_by by;
    struct partition_set all;
    struct start *starts; /* NULL, or by place in `all` */
    struct ending *ending;
    size_t ending_count, ending_cap;
    step_fn then;
};

static struct assignment assignment_of(const struct ctl_partition *p)
{
    return (struct assignment){int_list_dup(p->replicas), int_list_dup(p->adding), int_list_dup(p->removing),
                               p->reassigning};
}

static void assignment_deinit(struct assignment *a)
{
    free(a->replicas.v);
    free(a->adding.v);
    free(a->removing.v);
    *a = (struct assignment){0};
}

/* It could not be changed. */
static void assignment_restore(struct ctl_partition *p, struct assignment *a)
{
    partition_assign(p, a->replicas, a->adding, a->removing);
    p->reassigning = a->reassigning;
    assignment_deinit(a);
}

static void free_start(struct start *s)
{
    assignment_deinit(&s->before);
    free(s->unneeded.v);
}

static void free_starts(struct reassigning *r)
{
    for (size_t i = 0; r->starts != NULL && i < r->all.n; i++)
        free_start(&r->starts[i]);
    free(r->starts);
    r->starts = NULL;
}

void reassigning_free(struct controller *c)
{
    struct reassigning *r = c->reassigning;
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->ending_count; i++)
        assignment_deinit(&r->ending[i].before);
    for (size_t i = 0; i < r->all.n; i++)
        r->all.v[i]->in_event = false;
    free_starts(r);
    free(r->ending);
    partition_set_clear(&r->all);
    free(r);
    c->reassigning = NULL;
}

static struct reassigning *begin_event(struct controller *c, enum reassigned_by by, step_fn then)
{
    ensure(c->reassigning == NULL);
    c->reassigning = xcalloc(1, sizeof(*c->reassigning));
    c->reassigning->by = by;
    c->reassigning->then = then;
    return c->reassigning;
}

static void end_event(struct controller *c)
{
    step_fn then = c->reassigning->then;
    reassigning_free(c);
    deletions_resume(c, then);
}

/* ---- Lists ---- */

static struct int_list reassignment_minus(struct int_list list, struct int_list less)
{
    struct int_list out = {0};
    for (int32_t i = 0; i < list.n; i++)
        if (!int_list_has(less, list.v[i]))
            int_list_append(&out, list.v[i]);
    return out;
}

/* Where the partition is to be. On the heap. */
static struct int_list target_of(const struct ctl_partition *p)
{
    return reassignment_minus(p->replicas, p->removing);
}

/* Nobody needs to be in sync where nobody comes and nobody goes, as when a reassignment was cancelled. */
static bool has_arrived(const struct ctl_partition *p)
{
    struct int_list target = target_of(p);
    bool moves = p->adding.n > 0 || p->removing.n > 0;
    bool arrived = p->known && (!moves || int_list_within(target, p->leadership.isr));
    free(target.v);
    return arrived;
}

bool topic_is_reassigning(const struct ctl_topic *t)
{
    for (int32_t i = 0; i < t->count; i++)
        if (t->partitions[i]->reassigning)
            return true;
    return false;
}

/*
 * ---- /admin/reassign_partitions ----
 *
 * Entries that are done with go, and those that a request has overtaken. Of those that were not begun yet only the
 * event that looks at the list decides: they may have been written while another one was under way.
 */

static void on_list_written(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    end_event(c);
}

static bool reassignment_is_under_way(const struct controller *c, const struct topic_partition_entry *e)
{
    const struct ctl_partition *p = context_partition(c, str_of(e->topic), e->partition);
    if (p == NULL || !p->reassigning)
        return false;
    struct int_list target = target_of(p);
    bool same = int_list_eq(target, e->replicas);
    free(target.v);
    return same;
}

static bool is_listed_still(const struct controller *c, const struct topic_partition_entry *e)
{
    const struct ctl_partition *p = context_partition(c, str_of(e->topic), e->partition);
    if (reassignment_is_under_way(c, e))
        return true;
    switch (c->reassigning->by) {
    case BY_LIST:
        return false;
    case BY_REQUEST:
        return p == NULL || !p->in_event;
    case BY_ITSELF:
        return p == NULL || !p->in_event || p->reassigning || !int_list_eq(p->replicas, e->replicas);
    }
    unreachable("a reassignment by nobody");
}

static void on_list_read(struct controller *c, struct zk_batch *b)
{
    struct partition_list_znode list = {0};
    struct zk_batch *out = ctl_batch();
    struct zk_op *read = b->first;
    int32_t kept = 0;
    if (read->result == ZK_OK && partition_list_decode(&b->arena, read->path, read->value, &list)) {
        for (int32_t i = 0; i < list.count; i++)
            if (is_listed_still(c, &list.entries[i]))
                list.entries[kept++] = list.entries[i];
        bool changed = kept != list.count;
        list.count = kept;
        if (kept == 0)
            ctl_fence(c, zk_delete(out, ZNODE_REASSIGN, ZK_ANY_VERSION));
        else if (changed)
            ctl_fence(c, zk_set(out, ZNODE_REASSIGN, partition_list_encode(&out->arena, &list, true), ZK_ANY_VERSION));
        zk_exists(out, ZNODE_REASSIGN, true);
    }
    zk_batch_free(b);
    ctl_submit(c, out, on_list_written);
}

static void clean_list(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    zk_get(b, ZNODE_REASSIGN, false);
    ctl_submit(c, b, on_list_read);
}

/* ---- End ---- */

/* Where it cannot come to its end now, all stays as it is until it can. */
static void keep_those_that_end(struct reassigning *r, bool (*ends)(const struct ending *e))
{
    size_t kept = 0;
    for (size_t i = 0; i < r->ending_count; i++) {
        struct ending *e = &r->ending[i];
        if (ends(e))
            r->ending[kept++] = *e;
        else
            assignment_restore(e->partition, &e->before);
    }
    r->ending_count = kept;
}

static bool was_written(const struct ending *e)
{
    return !e->partition->topic->unwritten;
}

static void final_is_written(struct controller *c)
{
    struct reassigning *r = c->reassigning;
    keep_those_that_end(r, was_written);
    for (size_t i = 0; i < r->ending_count; i++) {
        struct ctl_partition *p = r->ending[i].partition;
        p->reassigning = false;
        log_info("Partition %s-%" PRId32 " is reassigned", p->topic->name, p->index);
        outbox_metadata(c, p);
    }
    clean_list(c);
}

static void write_final(struct controller *c)
{
    struct reassigning *r = c->reassigning;
    struct partition_set done = {0};
    for (size_t i = 0; i < r->ending_count; i++)
        partition_set_add(&done, r->ending[i].partition);
    topics_write(c, &done, final_is_written);
    partition_set_clear(&done);
}

/* Where replicas could not be taken out, as ZooKeeper has refused it, what they have may still be counted on. */
static bool are_out_of_isr(const struct ctl_partition *p, struct int_list gone)
{
    bool out = !state_must_be_read(p);
    for (int32_t i = 0; i < gone.n; i++)
        out &= !int_list_has(p->leadership.isr, gone.v[i]);
    return out;
}

static void delete_replicas(struct controller *c, struct ctl_partition *p, struct int_list gone)
{
    for (int32_t i = 0; i < gone.n && are_out_of_isr(p, gone); i++)
        outbox_stop_replica(c, gone.v[i], p, true);
}

static void stop_replicas_of(struct controller *c, struct ctl_partition *p, struct int_list leaving)
{
    for (int32_t i = 0; i < leaving.n; i++)
        replica_leaves(c, p, leaving.v[i]);
}

static bool old_ones_are_out(const struct ending *e)
{
    return are_out_of_isr(e->partition, e->before.removing);
}

static void delete_old_replicas(struct controller *c)
{
    struct reassigning *r = c->reassigning;
    keep_those_that_end(r, old_ones_are_out);
    for (size_t i = 0; i < r->ending_count; i++)
        delete_replicas(c, r->ending[i].partition, r->ending[i].before.removing);
    outbox_flush(c);
    write_final(c);
}

/* Or nothing was to move any more: then it is over whoever leads. */
static bool a_new_one_leads(const struct ending *e)
{
    return e->partition->outcome == ERR_NONE || (e->before.adding.n == 0 && e->before.removing.n == 0);
}

static void take_old_replicas_out(struct controller *c)
{
    struct reassigning *r = c->reassigning;
    keep_those_that_end(r, a_new_one_leads);
    for (size_t i = 0; i < r->ending_count; i++)
        stop_replicas_of(c, r->ending[i].partition, r->ending[i].before.removing);
    replicas_offline(c, delete_old_replicas);
}

static void add_ending(struct controller *c, struct ctl_partition *p)
{
    struct reassigning *r = c->reassigning;
    struct int_list target = target_of(p), none = {0};
    r->ending = xgrow(r->ending, r->ending_count + 1, &r->ending_cap, sizeof(*r->ending));
    r->ending[r->ending_count++] = (struct ending){p, assignment_of(p)};
    partition_assign(p, target, none, none);
    free(target.v);
    p->outcome = ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
    partition_set_add(&c->work, p);
}

static void end_arrived(struct controller *c)
{
    for (size_t i = 0; i < c->reassigning->all.n; i++)
        if (has_arrived(c->reassigning->all.v[i]))
            add_ending(c, c->reassigning->all.v[i]);
    partitions_online(c, ELECT_REASSIGN, take_old_replicas_out);
}

/* ---- Begin ---- */

static void begin_others(struct controller *c)
{
    for (size_t i = 0; i < c->reassigning->all.n; i++) {
        struct ctl_partition *p = c->reassigning->all.v[i];
        if (!p->known || has_arrived(p))
            continue;
        for (int32_t k = 0; k < p->replicas.n; k++)
            if (p->replica_states[k] == REPLICA_NONE && int_list_has(p->adding, p->replicas.v[k]))
                p->replica_states[k] = REPLICA_ONLINE;
        partition_set_add(&c->work, p);
    }
    partitions_online(c, ELECT_REFRESH, end_arrived);
}

void reassignments_go_on(struct controller *c, step_fn then)
{
    struct reassigning *r = begin_event(c, BY_ITSELF, then);
    r->all = c->work;
    c->work = (struct partition_set){0};
    for (size_t i = 0; i < r->all.n; i++)
        r->all.v[i]->in_event = true;
    if (r->all.n > 0)
        begin_others(c);
    else
        end_event(c);
}

bool is_reassigned_to(const struct ctl_partition *p, int32_t broker)
{
    return int_list_has(p->replicas, broker) && !int_list_has(p->removing, broker);
}

void collect_reassigning(struct controller *c, struct ctl_partition *p)
{
    if (p->reassigning)
        partition_set_add(&c->work, p);
}

static void collect_arrived(struct controller *c, struct ctl_partition *p)
{
    if (p->reassigning && has_arrived(p))
        partition_set_add(&c->work, p);
}

static void go_on_with_arrived(struct controller *c)
{
    reassignments_go_on(c, event_done_step);
}

static void reassignment_progress(struct controller *c, struct event *e UNUSED)
{
    ctl_walk(c, collect_arrived, go_on_with_arrived);
}

void reassignment_isr_changed(struct controller *c, const struct ctl_partition *p)
{
    if (p->reassigning && has_arrived(p))
        event_post_once(c, "PartitionReassignmentIsrChange", reassignment_progress);
}

void reassignment_topic_changed(struct controller *c, const struct ctl_topic *t)
{
    if (topic_is_reassigning(t))
        event_post_once(c, "PartitionReassignmentIsrChange", reassignment_progress);
}

/* ---- Start ---- */

static void delete_unneeded(struct controller *c)
{
    struct reassigning *r = c->reassigning;
    for (size_t i = 0; i < r->all.n; i++)
        delete_replicas(c, r->all.v[i], r->starts[i].unneeded);
    free_starts(r);
    begin_others(c);
}

/* Of topics whose nodes could not be written nothing has begun: the next controller would know nothing of it. */
static void drop_unwritten(struct reassigning *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->all.n; i++) {
        struct ctl_partition *p = r->all.v[i];
        if (p->topic->unwritten) {
            p->in_event = false;
            assignment_restore(p, &r->starts[i].before);
            free_start(&r->starts[i]);
            continue;
        }
        r->all.v[kept] = p;
        r->starts[kept++] = r->starts[i];
    }
    r->all.n = kept;
}

static void refuse_unwritten(struct controller *c)
{
    const struct reassign_call *call = CONTAINER_OF(c->running->call, struct reassign_call, call);
    for (int32_t i = 0; i < call->count; i++) {
        const struct ctl_topic *t = context_topic(c, call->items[i].topic);
        if (call->items[i].error == ERR_NONE && t != NULL && t->unwritten)
            call->items[i].error = ERR_UNKNOWN_SERVER_ERROR;
    }
}

static void start_is_written(struct controller *c)
{
    struct reassigning *r = c->reassigning;
    drop_unwritten(r);
    if (r->by == BY_REQUEST)
        refuse_unwritten(c);
    for (size_t i = 0; i < r->all.n; i++)
        stop_replicas_of(c, r->all.v[i], r->starts[i].unneeded);
    replicas_offline(c, delete_unneeded);
}

static void add_start(struct reassigning *r, struct ctl_partition *p, struct int_list unneeded)
{
    p->in_event = true;
    partition_set_add(&r->all, p);
    r->starts = xrealloc(r->starts, r->all.n * sizeof(*r->starts));
    r->starts[r->all.n - 1] = (struct start){assignment_of(p), unneeded};
}

/* The target first, then those of the original replicas that it does not have. */
static void start_one(struct controller *c, struct ctl_partition *p, struct int_list target)
{
    if (p->in_event)
        return; /* named twice: the last word counts, and is taken first */
    struct int_list origin = reassignment_minus(p->replicas, p->adding), full = int_list_dup(target);
    for (int32_t i = 0; i < origin.n; i++)
        if (!int_list_has(full, origin.v[i]))
            int_list_append(&full, origin.v[i]);
    struct int_list adding = reassignment_minus(full, origin), removing = reassignment_minus(origin, target);
    add_start(c->reassigning, p, reassignment_minus(p->replicas, full));
    partition_assign(p, full, adding, removing);
    p->reassigning = true;
    log_info("Partition %s-%" PRId32 " is to be reassigned: %" PRId32 " replicas are added, %" PRId32 " removed",
             p->topic->name, p->index, adding.n, removing.n);
    free(origin.v);
    free(full.v);
    free(adding.v);
    free(removing.v);
}

static void start_all(struct controller *c)
{
    topics_write(c, &c->reassigning->all, start_is_written);
}

/* ---- By request ---- */

static bool reassignment_refuse(struct reassign_item *item, enum kafka_error error, struct str message)
{
    item->error = error;
    item->message = message;
    return false;
}

/* One of so many has somebody twice, or who is not there: it is not looked at, and nobody is told all of it. */
static bool names_too_many(const struct controller *c, struct int_list target)
{
    enum { READABLE = 1000 };
    return target.n > MAX(READABLE, (int32_t)HASH_COUNT(c->brokers_by_id));
}

static bool refuse_dead(struct controller *c, struct reassign_item *item, struct int_list added, struct arena *a)
{
    struct int_list live = {0};
    for (const struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        if (!b->shutting_down)
            int_list_append(&live, b->id);
    struct str who = int_list_text(a, added), alive = int_list_text(a, live);
    free(live.v);
    return reassignment_refuse(
        item, ERR_INVALID_REPLICA_ASSIGNMENT,
        arena_printf(a,
                     "Replica assignment has brokers that are not alive. Replica list: ArrayBuffer(%.*s), live broker "
                     "list: Set(%.*s)",
                     STR_ARGS(who), STR_ARGS(alive)));
}

static bool all_alive(struct controller *c, const struct ctl_partition *p, struct reassign_item *item, struct arena *a)
{
    struct int_list origin = p != NULL ? reassignment_minus(p->replicas, p->adding) : (struct int_list){0};
    struct int_list added = reassignment_minus(item->target, origin);
    bool ok = true;
    for (int32_t i = 0; i < added.n; i++)
        ok &= broker_is_live(c, added.v[i]);
    ok = ok || refuse_dead(c, item, added, a);
    free(origin.v);
    free(added.v);
    return ok;
}

/* `what`, and the brokers that are named. */
static bool refuse_target(struct reassign_item *item, const char *what, struct arena *a)
{
    struct str text = int_list_text(a, item->target);
    return reassignment_refuse(item, ERR_INVALID_REPLICA_ASSIGNMENT,
                               arena_printf(a, "%s: ArrayBuffer(%.*s)", what, STR_ARGS(text)));
}

static bool reassignment_is_valid(struct controller *c, const struct ctl_partition *p, struct reassign_item *item,
                                  struct arena *a)
{
    struct int_list target = item->target;
    if (target.n == 0)
        return reassignment_refuse(item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                   STR_LIT("Empty replica list specified in partition reassignment."));
    if (names_too_many(c, target))
        return reassignment_refuse(item, ERR_INVALID_REPLICA_ASSIGNMENT,
                                   arena_printf(a, "Replica assignment has %" PRId32 " brokers, of which there are %u.",
                                                target.n, HASH_COUNT(c->brokers_by_id)));
    if (int_list_has_repeats(target))
        return refuse_target(item, "Duplicate replica ids in partition reassignment replica list", a);
    for (int32_t i = 0; i < target.n; i++)
        if (target.v[i] < 0)
            return refuse_target(item, "Invalid broker id in replica list", a);
    return all_alive(c, p, item, a);
}

static void start_item(struct controller *c, struct reassign_item *item, struct arena *a)
{
    struct ctl_partition *p = context_partition(c, item->topic, item->partition);
    item->error = ERR_NONE;
    if (item->cancel && (p == NULL || !p->reassigning)) {
        reassignment_refuse(item, ERR_NO_REASSIGNMENT_IN_PROGRESS, STR_NULL);
        return;
    }
    if (!item->cancel && !reassignment_is_valid(c, p, item, a))
        return;
    if (p == NULL || p->topic->deleting) {
        reassignment_refuse(item, ERR_UNKNOWN_TOPIC_OR_PARTITION, STR_LIT("The partition does not exist."));
        return;
    }
    struct int_list origin = reassignment_minus(p->replicas, p->adding);
    start_one(c, p, item->cancel ? origin : item->target);
    free(origin.v);
}

static struct reassign_call *reassign_of(struct controller *c)
{
    return CONTAINER_OF(c->running->call, struct reassign_call, call);
}

static void answer_reassign(struct controller *c)
{
    call_answer(c, ERR_NONE);
}

static void reassign(struct controller *c, struct event *e UNUSED)
{
    struct reassign_call *call = reassign_of(c);
    begin_event(c, BY_REQUEST, answer_reassign);
    for (int32_t i = call->count - 1; i >= 0; i--)
        start_item(c, &call->items[i], call->arena);
    start_all(c);
}

void controller_reassign(struct controller *c, struct reassign_call *call)
{
    ctl_post_call(c, "ApiPartitionReassignment", reassign, &call->call, ERR_NOT_CONTROLLER);
}

static void reassignment_list_one(struct list_reassignments_call *call, const struct ctl_partition *p)
{
    if (!p->reassigning || (p->adding.n == 0 && p->removing.n == 0))
        return;
    call->found[call->found_count++] = (struct reassignment){
        arena_str(call->arena, str_of(p->topic->name)), p->index, int_list_copy(call->arena, p->replicas),
        int_list_copy(call->arena, p->adding), int_list_copy(call->arena, p->removing)};
}

static void answer_list(struct controller *c)
{
    struct list_reassignments_call *call = CONTAINER_OF(c->running->call, struct list_reassignments_call, call);
    call->found = ARENA_ARRAY(call->arena, struct reassignment, MAX(c->work.n, (size_t)1));
    for (size_t i = 0; i < c->work.n; i++)
        reassignment_list_one(call, c->work.v[i]);
    call_answer(c, ERR_NONE);
}

static void reassignment_list(struct controller *c, struct event *e UNUSED)
{
    struct list_reassignments_call *call = CONTAINER_OF(c->running->call, struct list_reassignments_call, call);
    ensure(call->asked != NULL || call->asked_count == 0);
    if (call->asked == NULL) {
        ctl_walk(c, collect_reassigning, answer_list);
        return;
    }
    for (int32_t i = 0; i < call->asked_count; i++) {
        struct ctl_partition *p = context_partition(c, str_of(call->asked[i].topic), call->asked[i].partition);
        if (p != NULL)
            partition_set_add(&c->work, p);
    }
    partition_set_drop_repeats(&c->work);
    answer_list(c);
}

void controller_list_reassignments(struct controller *c, struct list_reassignments_call *call)
{
    ctl_post_call(c, "ListPartitionReassignments", reassignment_list, &call->call, ERR_NOT_CONTROLLER);
}

/* ---- By /admin/reassign_partitions ---- */

static void on_requested(struct controller *c, struct zk_batch *b)
{
    struct partition_list_znode wanted = {0};
    struct zk_op *read = zk_find(b, ZK_GET, ZNODE_REASSIGN);
    begin_event(c, BY_LIST, event_done_step);
    if (read->result == ZK_OK && partition_list_decode(&b->arena, read->path, read->value, &wanted)) {
        for (int32_t i = wanted.count - 1; i >= 0; i--) {
            struct topic_partition_entry *e = &wanted.entries[i];
            struct ctl_partition *p = context_partition(c, str_of(e->topic), e->partition);
            if (p != NULL && !p->topic->deleting && e->replicas.n > 0 && !reassignment_is_under_way(c, e))
                start_one(c, p, e->replicas);
        }
    }
    bool there = read->result == ZK_OK;
    zk_batch_free(b);
    if (there)
        start_all(c); /* even if there is nothing to start: entries that make no sense go */
    else
        end_event(c);
}

void reassignment_requested(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_exists(b, ZNODE_REASSIGN, true);
    zk_get(b, ZNODE_REASSIGN, false);
    ctl_submit(c, b, on_requested);
}
