/*
 * What goes: offsets whose time is up (KIP-211), of deleted partitions or by order (KIP-496), and groups that nothing
 * is left of. From memory at once, from the log by tombstones.
 *
 * Tombstones need no replicas in sync: one that is lost leaves something behind that the next coordinator finds
 * expired again.
 */
#include <inttypes.h>

#include <utlist.h>

#include "base/logger.h"
#include "base/str_set.h"
#include "group/group_internal.h"
#include "protocol/msg/delete_groups.h"
#include "protocol/msg/offset_delete.h"

struct cleanup {
    struct group *group;
    struct batch_builder tombstones;
};

static void cleanup_begin(struct cleanup *c, struct group *g)
{
    c->group = g;
    batch_builder_init(&c->tombstones, 0);
}

/* Whatever is committed of the partition, or on its way to the log, where the tombstone comes after it. */
static void cleanup_offset(struct cleanup *c, const struct topic_key *partition)
{
    struct group *g = c->group;
    struct topic_key id = *partition; /* which may be the entry's own */
    struct offset_entry *e = offset_find(g, &id);
    if (e == NULL && pending_commit_find(g, &id) == NULL)
        return;
    record_offset_gone(&c->tombstones, g, &id, group_now(g->coordinator));
    pending_commit_drop(g, &id);
    if (e != NULL)
        offset_drop(g, e);
}

/* Forgets the group if nothing is left of it. False if nothing has to be written, and `append` is not used. */
static bool cleanup_end(struct cleanup *c, struct state_append *append)
{
    struct group *g = c->group;
    bool gone = g->state == GROUP_EMPTY && g->pending == NULL && !group_has_offsets(g);
    if (gone && g->generation > 0) /* else it has no record */
        record_group_gone(&c->tombstones, g, group_now(g->coordinator));
    bool any = c->tombstones.head.count > 0;
    if (any) {
        append->leader_only = true;
        group_append(g, &c->tombstones, append);
    } else {
        batch_builder_deinit(&c->tombstones);
    }
    if (gone) {
        log_info("Group %.*s is gone in generation %" PRId32, STR_ARGS(g->id), g->generation);
        group_forget(g);
    }
    return any;
}

/* ---- Nobody waits for it ---- */

struct silent_cleanup {
    struct state_append append;
    struct str id;
};

static void on_cleaned(struct state_append *append, enum kafka_error error)
{
    struct silent_cleanup *s = CONTAINER_OF(append, struct silent_cleanup, append);
    if (error != ERR_NONE) /* they come back when the group is loaded, and expire again */
        log_warn("Tombstones for group %.*s could not be written: %s", STR_ARGS(s->id), error_name(error));
    str_free(s->id);
    free(s);
}

static void cleanup_end_silently(struct cleanup *c)
{
    struct silent_cleanup *s = xcalloc(1, sizeof(*s));
    *s = (struct silent_cleanup){{.done = on_cleaned}, str_dup(c->group->id)};
    if (!cleanup_end(c, &s->append))
        on_cleaned(&s->append, ERR_NONE);
}

/* ---- Expiry ---- */

/*
 * Since when the offset is not used: with members that do not subscribe to its topic, or without members ever, since
 * it was committed; else since the last member has left. False if it is used, or may be.
 */
static bool unused_since(const struct group *g, const struct offset_entry *e, int64_t *since)
{
    *since = e->value.commit_ms;
    if (g->state == GROUP_EMPTY && g->protocol_type.p != NULL && g->state_since >= 0)
        *since = g->state_since;
    if (g->protocol_type.p == NULL || g->state == GROUP_EMPTY)
        return true;
    return g->state == GROUP_STABLE && group_is_of_consumers(g) && !group_may_read(g, str_of(e->id.topic));
}

static bool cleanup_is_expired(const struct group *g, const struct offset_entry *e, int64_t now)
{
    int64_t retention = (int64_t)g->coordinator->options.config->offsets_retention_minutes * 60000, since;
    if (!unused_since(g, e, &since) || pending_commit_find(g, &e->id) != NULL || txn_offset_is_open(g, &e->id))
        return false;
    return e->value.expire_ms >= 0 ? now >= e->value.expire_ms : saturating_sub(now, since) >= retention;
}

static int expire_group(struct group *g, int64_t now)
{
    struct offset_entry *e, *next;
    struct cleanup c;
    int count = 0;
    cleanup_begin(&c, g);
    HASH_ITER (hh, g->offsets, e, next) {
        if (!cleanup_is_expired(g, e, now))
            continue;
        cleanup_offset(&c, &e->id);
        window_record(&g->coordinator->metrics.happenings[GROUPS_EXPIRATIONS], 1);
        count++;
    }
    cleanup_end_silently(&c);
    return count;
}

static void expire_some(struct group_coordinator *gc, struct state_partition *p)
{
    struct group *g, *next;
    if (state_partition_check(p) != ERR_NONE)
        return;
    DL_FOREACH_SAFE2 (groups_of(p), g, next, home_next)
        gc->expired += expire_group(g, group_now(gc));
}

/* A partition's groups at a time: others are served in between, as there may be very many. */
void offsets_expire(struct timer *t)
{
    struct group_coordinator *gc = CONTAINER_OF(t, struct group_coordinator, expiry);
    struct state_partition *p = state_topic_next(gc->topic, &gc->expiry_at);
    ensure(loop_is_mine(gc->options.loop));
    if (p != NULL) {
        expire_some(gc, p);
        timer_start(t, 0);
        return;
    }
    if (gc->expired > 0)
        log_info("Removed %d expired offsets", gc->expired);
    gc->expired = 0;
    timer_start(t, gc->options.config->offsets_retention_check_interval_ms);
}

/* ---- Deleted partitions ---- */

static void drop_partition(struct cleanup *c, const struct topic_key *id)
{
    cleanup_offset(c, id);
    window_record(&c->group->coordinator->metrics.happenings[GROUPS_DELETIONS], 1);
    txn_offsets_drop_partition(c->group, id);
}

struct deleted_set {
    struct str_set keys; /* topic_keys */
    struct arena arena;
};

static bool cleanup_is_deleted(const struct deleted_set *deleted, const struct topic_key *id)
{
    return str_set_has(&deleted->keys, topic_key_bytes(id));
}

static void cleanup_note_deleted(struct deleted_set *deleted, const struct group_partition *p)
{
    struct topic_key id;
    if (topic_key_make(p->topic, p->index, &id))
        str_set_add_copy(&deleted->keys, &deleted->arena, topic_key_bytes(&id));
}

/* What a group has is looked at, not what was deleted: of thousands of groups most have a few partitions. */
static void drop_deleted(struct cleanup *c, const struct deleted_set *deleted)
{
    struct group *g = c->group;
    struct offset_entry *e, *next_offset;
    struct pending_commit *p, *next_commit;
    struct txn_offset *o, *next_txn;
    HASH_ITER (hh, g->offsets, e, next_offset)
        if (cleanup_is_deleted(deleted, &e->id))
            cleanup_offset(c, &e->id);
    HASH_ITER (hh, g->pending_commits, p, next_commit)
        if (cleanup_is_deleted(deleted, &p->id))
            cleanup_offset(c, &p->id);
    HASH_ITER (hh, g->txn_offsets, o, next_txn)
        if (cleanup_is_deleted(deleted, &o->key.id))
            txn_offset_drop(o);
}

void group_partitions_deleted(struct group_coordinator *gc, const struct group_partition *partitions, int32_t count)
{
    struct group *g, *next;
    struct deleted_set deleted = {0};
    ensure(loop_is_mine(gc->options.loop));
    for (int32_t i = 0; i < count; i++)
        cleanup_note_deleted(&deleted, &partitions[i]);
    HASH_ITER (hh, gc->groups, g, next) {
        struct cleanup c;
        if (group_check(gc, g->id, true) != ERR_NONE)
            continue;
        cleanup_begin(&c, g);
        drop_deleted(&c, &deleted);
        cleanup_end_silently(&c);
    }
    str_set_deinit(&deleted.keys);
    arena_deinit(&deleted.arena);
}

/* ---- DeleteGroups ---- */

struct group_deletion {
    struct state_append append;
    struct group_call *call;
    int *left; /* of the whole request */
    struct delete_groups_deletable_group_result *out;
};

static void step(struct group_call *call, int *left)
{
    ensure(*left > 0);
    if (--*left == 0)
        call->done(call);
}

static void cleanup_on_deleted(struct state_append *append, enum kafka_error error)
{
    struct group_deletion *d = CONTAINER_OF(append, struct group_deletion, append);
    d->out->error_code = state_append_error(error);
    step(d->call, d->left);
}

static void cleanup_delete_one(struct group *g, struct group_deletion *d)
{
    struct offset_entry *e, *next_offset;
    struct pending_commit *o, *next_commit;
    struct pending_member *p, *next_pending;
    struct cleanup c;
    ensure(g->state == GROUP_EMPTY);
    cleanup_begin(&c, g);
    HASH_ITER (hh, g->offsets, e, next_offset)
        cleanup_offset(&c, &e->id);
    HASH_ITER (hh, g->pending_commits, o, next_commit)
        cleanup_offset(&c, &o->id);
    HASH_ITER (hh, g->pending, p, next_pending)
        pending_remove(p);
    txn_offsets_drop_all(g);
    d->append.done = cleanup_on_deleted;
    if (!cleanup_end(&c, &d->append))
        cleanup_on_deleted(&d->append, ERR_NONE);
}

static enum kafka_error check_deletable(struct group_coordinator *gc, struct str id, struct group **g)
{
    enum kafka_error error = group_check(gc, id, true);
    if (error != ERR_NONE)
        return error;
    *g = group_find(gc, id);
    if (*g == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    return (*g)->state == GROUP_EMPTY ? ERR_NONE : ERR_NON_EMPTY_GROUP;
}

void group_delete(struct group_coordinator *gc, const struct delete_groups_request *request,
                  struct delete_groups_response *response, struct group_call *call)
{
    int *left = ARENA_NEW(call->arena, int);
    struct str_set seen = {0};
    *left = 1;
    ARRAY_MAKE(call->arena, response->results, MAX(request->groups_names.len, 0));
    response->results.len = 0;
    for (int32_t i = 0; i < request->groups_names.len; i++) {
        struct group *g;
        if (!str_set_add(&seen, call->arena, request->groups_names.items[i]))
            continue;
        struct delete_groups_deletable_group_result *o = &response->results.items[response->results.len++];
        delete_groups_deletable_group_result_init(o);
        o->group_id = request->groups_names.items[i];
        o->error_code = check_deletable(gc, o->group_id, &g);
        if (o->error_code != ERR_NONE)
            continue;
        struct group_deletion *d = ARENA_NEW(call->arena, struct group_deletion);
        *d = (struct group_deletion){.call = call, .left = left, .out = o};
        ++*left;
        cleanup_delete_one(g, d);
    }
    str_set_deinit(&seen);
    step(call, left);
}

/* ---- OffsetDelete ---- */

struct offset_deletion {
    struct state_append append;
    struct group_call *call;
    struct offset_delete_response *response;
};

static void end_offset_deletion(struct offset_deletion *d, enum kafka_error error)
{
    d->response->error_code = error;
    if (error != ERR_NONE)
        d->response->topics.len = 0;
    d->call->done(d->call);
}

static void on_offsets_deleted(struct state_append *append, enum kafka_error error)
{
    struct offset_deletion *d = CONTAINER_OF(append, struct offset_deletion, append);
    end_offset_deletion(d, state_append_error(error));
}

/* Whether any partition of the request is left to be looked at: without one, not even an empty group goes. */
static bool asks_for_any(const struct offset_delete_response *response)
{
    for (int32_t t = 0; t < response->topics.len; t++)
        for (int32_t i = 0; i < response->topics.items[t].partitions.len; i++)
            if (response->topics.items[t].partitions.items[i].error_code == ERR_NONE)
                return true;
    return false;
}

static void delete_topic_offsets(struct cleanup *c, const struct offset_delete_request_topic *in,
                                 struct offset_delete_response_topic *out)
{
    struct topic_key id;
    bool subscribed = c->group->state != GROUP_EMPTY && group_may_read(c->group, in->name);
    for (int32_t i = 0; i < in->partitions.len; i++) {
        struct offset_delete_response_partition *o = &out->partitions.items[i];
        if (o->error_code == ERR_NONE && subscribed)
            o->error_code = ERR_GROUP_SUBSCRIBED_TO_TOPIC;
        else if (o->error_code == ERR_NONE && topic_key_make(in->name, o->partition_index, &id))
            drop_partition(c, &id);
    }
}

static enum kafka_error check_offsets_deletable(struct group_coordinator *gc, struct str id, struct group **g)
{
    enum kafka_error error = group_check(gc, id, false);
    if (error != ERR_NONE)
        return error;
    *g = group_find(gc, id);
    if (*g == NULL)
        return ERR_GROUP_ID_NOT_FOUND;
    return (*g)->state == GROUP_EMPTY || group_is_of_consumers(*g) ? ERR_NONE : ERR_NON_EMPTY_GROUP;
}

void group_delete_offsets(struct group_coordinator *gc, const struct offset_delete_request *request,
                          struct offset_delete_response *response, struct group_call *call)
{
    struct offset_deletion *d = ARENA_NEW(call->arena, struct offset_deletion);
    struct cleanup c;
    struct group *g;
    *d = (struct offset_deletion){{.done = on_offsets_deleted}, call, response};
    enum kafka_error error = check_offsets_deletable(gc, request->group_id, &g);
    if (error != ERR_NONE || !asks_for_any(response)) {
        end_offset_deletion(d, error);
        return;
    }
    cleanup_begin(&c, g);
    for (int32_t t = 0; t < request->topics.len; t++)
        delete_topic_offsets(&c, &request->topics.items[t], &response->topics.items[t]);
    if (!cleanup_end(&c, &d->append))
        on_offsets_deleted(&d->append, ERR_NONE);
}
