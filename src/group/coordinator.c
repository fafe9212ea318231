/* Which groups this broker serves: tables, loading and unloading of their partitions. */
#include <inttypes.h>

#include "base/logger.h"
#include "group/group_internal.h"

enum { RELOAD_MS = 100 };

/* ---- Groups ---- */

/* As Java's String.hashCode(), made positive as Kafka does. */
int32_t group_partition_of(struct str group, int32_t partition_count)
{
    uint32_t hash = 0;
    for (int32_t i = 0; i < group.len;) {
        uint32_t c = (uint8_t)group.p[i++];
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        c &= more == 0 ? 0x7f : 0x3fu >> more;
        while (more-- > 0 && i < group.len)
            c = c << 6 | ((uint8_t)group.p[i++] & 0x3f);
        if (c >= 0x10000) { /* a surrogate pair */
            hash = hash * 31 + (0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        hash = hash * 31 + c;
    }
    int32_t positive = hash == 0x80000000u ? 0 : abs((int32_t)hash);
    return positive % partition_count;
}

int64_t group_now(const struct group_coordinator *gc)
{
    return gc->options.wall_ms();
}

static struct offsets_partition *partition_of(struct group_coordinator *gc, struct str id)
{
    return gc->partitions[group_partition_of(id, gc->partition_count)];
}

enum kafka_error group_check(struct group_coordinator *gc, struct str id, bool may_be_empty)
{
    if (id.p == NULL || (id.len == 0 && !may_be_empty))
        return ERR_INVALID_GROUP_ID;
    switch (partition_of(gc, id)->ownership) {
    case OWNED:
        return ERR_NONE;
    case LOADING:
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    default:
        return ERR_NOT_COORDINATOR;
    }
}

struct group *group_find(struct group_coordinator *gc, struct str id)
{
    struct group *g;
    HASH_FIND(hh, gc->groups, id.p, (size_t)id.len, g);
    return g;
}

struct group *group_make(struct group_coordinator *gc, struct str id)
{
    struct group *g = xcalloc(1, sizeof(*g));
    g->coordinator = gc;
    g->id = str_dup(id);
    g->state = GROUP_EMPTY;
    g->state_since = group_now(gc);
    timer_init(&g->rebalance, gc->options.loop, rebalance_timed_out);
    HASH_ADD_KEYPTR(hh, gc->groups, g->id, strlen(g->id), g);
    return g;
}

void group_forget(struct group *g)
{
    struct member *m, *next_member;
    struct pending_member *p, *next_pending;
    struct offset_entry *e, *next_offset;
    timer_stop(&g->rebalance);
    HASH_ITER (hh, g->members, m, next_member)
        member_remove(m);
    HASH_ITER (hh, g->pending, p, next_pending)
        pending_remove(p);
    HASH_ITER (hh, g->offsets, e, next_offset)
        offset_drop(g, e);
    HASH_DEL(g->coordinator->groups, g);
    free(g->id);
    free(g->protocol_type);
    free(g->protocol);
    free(g->leader_id);
    free(g);
}

/* ---- Loading ---- */

struct load {
    struct offsets_partition *partition;
    int64_t generation;
};

static void read_more(struct offsets_partition *p);

static void loaded(struct offsets_partition *p)
{
    struct group_coordinator *gc = p->coordinator;
    int count = 0;
    p->ownership = OWNED;
    pending_offsets_free(p);
    for (struct group *g = gc->groups; g != NULL; g = g->hh.next) {
        if (partition_of(gc, str_of(g->id)) != p)
            continue;
        count++;
        for (struct member *m = g->members; m != NULL; m = m->hh.next)
            member_keep_alive(m);
        if (group_size(g) > gc->options.config->group_max_size)
            group_prepare_rebalance(g, "the group is larger than group.max.size after loading");
    }
    log_info("Finished loading %d groups from __consumer_offsets-%" PRId32, count, p->number);
}

static void on_read(void *arg, enum kafka_error error, struct bytes batches)
{
    struct load *l = arg;
    struct offsets_partition *p = l->partition;
    bool stale = l->generation != p->generation || p->ownership != LOADING;
    free(l);
    if (stale)
        return;
    if (error != ERR_NONE) {
        log_warn("Loading __consumer_offsets-%" PRId32 " stopped: %s", p->number, error_name(error));
        p->ownership = NOT_OWNED;
        return;
    }
    int64_t next = batches.len > 0 ? records_load(p, batches) : p->next_offset;
    if (next == p->next_offset) {
        loaded(p);
        return;
    }
    p->next_offset = next;
    read_more(p);
}

static void read_more(struct offsets_partition *p)
{
    const struct group_options *o = &p->coordinator->options;
    struct load *l = xcalloc(1, sizeof(*l));
    *l = (struct load){p, p->generation};
    o->read(o->ctx, p->number, p->next_offset, on_read, l);
}

static void unload(struct offsets_partition *p)
{
    struct group_coordinator *gc = p->coordinator;
    struct group *g, *next;
    p->ownership = NOT_OWNED;
    p->generation++;
    pending_offsets_free(p);
    HASH_ITER (hh, gc->groups, g, next) {
        if (partition_of(gc, str_of(g->id)) != p)
            continue;
        for (struct member *m = g->members; m != NULL; m = m->hh.next) {
            answer_join(m, ERR_NOT_COORDINATOR);
            answer_sync(m, ERR_NOT_COORDINATOR);
        }
        group_forget(g);
    }
}

void group_partition_elected(struct group_coordinator *gc, int32_t partition, int32_t leader_epoch)
{
    if (partition >= gc->partition_room)
        group_set_partition_count(gc, partition + 1);
    struct offsets_partition *p = gc->partitions[partition];
    if (p->ownership != NOT_OWNED && leader_epoch <= p->leader_epoch)
        return;
    unload(p);
    p->ownership = LOADING;
    p->leader_epoch = leader_epoch;
    p->next_offset = 0;
    read_more(p);
}

void group_partition_resigned(struct group_coordinator *gc, int32_t partition)
{
    if (partition < gc->partition_room)
        unload(gc->partitions[partition]);
}

void group_resign_all(struct group_coordinator *gc)
{
    for (int32_t i = 0; i < gc->partition_room; i++)
        unload(gc->partitions[i]);
}

/* ---- Life ---- */

void group_set_partition_count(struct group_coordinator *gc, int32_t count)
{
    ensure(count > 0);
    if (count > gc->partition_room)
        gc->partitions = xrealloc(gc->partitions, (size_t)count * sizeof(gc->partitions[0]));
    for (; gc->partition_room < count; gc->partition_room++) {
        struct offsets_partition *p = xcalloc(1, sizeof(*p));
        *p = (struct offsets_partition){.coordinator = gc, .number = gc->partition_room, .leader_epoch = -1};
        gc->partitions[gc->partition_room] = p;
    }
    gc->partition_count = count;
}

struct group_coordinator *group_coordinator_new(const struct group_options *options)
{
    struct group_coordinator *gc = xcalloc(1, sizeof(*gc));
    gc->options = *options;
    group_set_partition_count(gc, options->config->offsets_topic_num_partitions);
    timer_init(&gc->expiry, options->loop, offsets_expire);
    timer_start(&gc->expiry, options->config->offsets_retention_check_interval_ms);
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
    for (int32_t i = 0; i < gc->partition_room; i++) {
        pending_offsets_free(gc->partitions[i]);
        free(gc->partitions[i]);
    }
    free(gc->partitions);
    free(gc);
}

void group_topic_deleted(struct group_coordinator *gc, struct str topic)
{
    for (struct group *g = gc->groups; g != NULL; g = g->hh.next) {
        struct offset_entry *e, *next;
        HASH_ITER (hh, g->offsets, e, next)
            if (str_is(topic, e->id.topic))
                offset_drop(g, e);
    }
}
