/*
 * Which groups this broker serves: tables, loading and unloading of their partitions. join.c lets members in,
 * rebalance.c brings them to a generation, sync.c is what they ask of it, commit.c takes offsets, cleanup.c takes
 * away.
 */
#include <inttypes.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/internal_topics.h"
#include "group/group_internal.h"

/* ---- Groups ---- */

int64_t group_now(const struct group_coordinator *gc)
{
    return gc->options.wall_ms();
}

struct group *groups_of(const struct state_partition *p)
{
    return p->keys;
}

static void enter_home(struct group *g)
{
    g->home = state_topic_find(g->coordinator->topic, g->id);
    ensure(g->home->ownership != NOT_OWNED);
    struct group *all = groups_of(g->home);
    DL_APPEND2(all, g, home_prev, home_next);
    g->home->keys = all;
}

static void leave_home(struct group *g)
{
    struct group *all = groups_of(g->home);
    DL_DELETE2(all, g, home_prev, home_next);
    g->home->keys = all;
}

void group_append(struct group *g, struct batch_builder *b, struct state_append *append)
{
    ensure(loop_is_mine(g->coordinator->options.loop));
    const struct broker_config *c = g->coordinator->options.config;
    append->timeout_ms = c->offsets_commit_timeout_ms;
    append->leader_only |= c->offsets_commit_required_acks == 0 || c->offsets_commit_required_acks == 1;
    b->head.attributes |= (int16_t)c->offsets_topic_compression_codec; /* numbered as a batch numbers them */
    state_append(g->home, b, append);
}

bool group_is_served(const struct group *g)
{
    return state_partition_check(g->home) == ERR_NONE;
}

enum kafka_error group_check(struct group_coordinator *gc, struct str id, bool may_be_empty)
{
    ensure(loop_is_mine(gc->options.loop));
    if (id.p == NULL || (id.len == 0 && !may_be_empty))
        return ERR_INVALID_GROUP_ID;
    return state_partition_check(state_topic_find(gc->topic, id));
}

struct group *group_find(struct group_coordinator *gc, struct str id)
{
    ensure(loop_is_mine(gc->options.loop));
    struct group *g;
    HASH_FIND(hh, gc->groups, id.p, (size_t)id.len, g);
    return g;
}

struct group *group_make(struct group_coordinator *gc, struct str id)
{
    ensure(loop_is_mine(gc->options.loop));
    ensure(group_find(gc, id) == NULL);
    struct group *g = xcalloc(1, sizeof(*g));
    g->coordinator = gc;
    g->number = ++gc->groups_made;
    g->id = str_dup(id);
    g->state = GROUP_EMPTY;
    group_metrics_change(&gc->metrics, GROUPS_BY_STATE + (enum group_figure)GROUP_EMPTY, 1);
    g->state_since = group_now(gc);
    patience_init(&g->rebalance, gc->options.hearing, rebalance_timed_out);
    HASH_ADD_KEYPTR(hh, gc->groups, g->id.p, (size_t)g->id.len, g);
    enter_home(g);
    return g;
}

static bool is_void(const struct group *g)
{
    return g->state == GROUP_EMPTY && g->generation == 0 && !g->is_stored && g->members == NULL && g->pending == NULL &&
           !group_has_offsets(g);
}

static void drop_void(struct group *g)
{
    if (!g->noted_void)
        return;
    ensure(g->coordinator->void_count > 0);
    DL_DELETE2(g->coordinator->voids, g, void_prev, void_next);
    g->coordinator->void_count--;
    g->coordinator->void_bytes -= g->id.len;
    g->noted_void = false;
}

void group_forget(struct group *g)
{
    ensure(loop_is_mine(g->coordinator->options.loop));
    struct member *m, *next_member;
    struct pending_member *p, *next_pending;
    struct offset_entry *e, *next_offset;
    patience_stop(&g->rebalance);
    HASH_ITER (hh, g->members, m, next_member)
        member_remove(m);
    HASH_ITER (hh, g->pending, p, next_pending)
        pending_remove(p);
    HASH_ITER (hh, g->offsets, e, next_offset)
        offset_drop(g, e);
    txn_offsets_drop_all(g);
    pending_commits_drop_all(g);
    subscription_clear(g);
    drop_void(g);
    ensure(g->members == NULL && g->pending == NULL && g->offsets == NULL && g->txn_offsets == NULL);
    leave_home(g);
    HASH_DEL(g->coordinator->groups, g);
    group_metrics_change(&g->coordinator->metrics, GROUPS_BY_STATE + (enum group_figure)g->state, -1);
    str_free(g->id);
    str_free(g->protocol_type);
    str_free(g->protocol);
    str_free(g->leader_id);
    free(g);
}

void group_note_void(struct group *g)
{
    if (g == NULL || g->noted_void || !is_void(g))
        return;
    struct group_coordinator *gc = g->coordinator;
    DL_APPEND2(gc->voids, g, void_prev, void_next);
    g->noted_void = true;
    gc->void_count++;
    gc->void_bytes += g->id.len;
    while (gc->voids != g && (gc->void_count > MOST_VOID || gc->void_bytes > MOST_VOID_BYTES)) {
        struct group *oldest = gc->voids;
        drop_void(oldest);
        if (is_void(oldest))
            group_forget(oldest);
    }
}

/* ---- Loading ---- */

static void resume(struct group *g)
{
    group_note_subscription(g);
    for (struct member *m = g->members; m != NULL; m = m->hh.next)
        member_keep_alive(m);
    if (group_size(g) > g->coordinator->options.config->group_max_size)
        group_prepare_rebalance(g, "the group is larger than group.max.size after loading");
}

static void groups_on_loaded(void *ctx, struct state_partition *p)
{
    struct group_coordinator *gc = ctx;
    struct group *g, *next;
    int count = 0;
    ensure(loop_is_mine(gc->options.loop) && p->ownership == OWNED);
    window_record(&gc->metrics.loads, (clock_mono_us() - p->load_began_us) / 1000);
    DL_FOREACH_SAFE2 (groups_of(p), g, next, home_next) {
        if (!g->is_stored && !group_has_offsets(g)) { /* later records have taken away all that was read of it */
            group_forget(g);
            continue;
        }
        count++;
        resume(g);
    }
    log_info("Finished loading %d groups from " GROUP_METADATA_TOPIC "-%" PRId32, count, p->number);
}

static void groups_on_unloaded(void *ctx, struct state_partition *p)
{
    struct group_coordinator *gc = ctx;
    struct group *g, *next;
    ensure(loop_is_mine(gc->options.loop) && p->ownership == NOT_OWNED);
    DL_FOREACH_SAFE2 (groups_of(p), g, next, home_next) {
        for (struct member *m = g->members; m != NULL; m = m->hh.next) {
            answer_join(m, ERR_NOT_COORDINATOR);
            answer_sync(m, ERR_NOT_COORDINATOR);
        }
        group_forget(g);
    }
}

struct state_topic *group_topic(struct group_coordinator *gc)
{
    return gc->topic;
}

/* ---- Life ---- */

struct group_coordinator *group_coordinator_new(const struct group_options *options)
{
    struct group_coordinator *gc = xcalloc(1, sizeof(*gc));
    const struct broker_config *c = options->config;
    gc->options = *options;
    gc->topic = state_topic_new(&(struct state_options){.topic = GROUP_METADATA_TOPIC,
                                                        .loop = options->loop,
                                                        .log = options->log,
                                                        .load_buffer_size = c->offsets_load_buffer_size,
                                                        .take = records_take,
                                                        .loaded = groups_on_loaded,
                                                        .unloaded = groups_on_unloaded,
                                                        .ctx = gc},
                                c->offsets_topic_num_partitions);
    group_metrics_init(&gc->metrics, options->metrics);
    timer_init(&gc->expiry, options->loop, offsets_expire);
    timer_start(&gc->expiry, c->offsets_retention_check_interval_ms);
    return gc;
}

void group_coordinator_free(struct group_coordinator *gc)
{
    struct group *g, *next;
    if (gc == NULL)
        return;
    timer_stop(&gc->expiry);
    HASH_ITER (hh, gc->groups, g, next)
        group_forget(g);
    state_topic_free(gc->topic);
    group_metrics_deinit(&gc->metrics);
    free(gc);
}
