/*
 * Since when records wait for a group: the time of the first that it has not read, which only the log has. A marker of
 * a transaction is no record that anybody waits for, although it has an offset of its own: who has read all of a
 * transaction and committed that lags by one for ever, and waits for nothing.
 *
 * What was read once is not read again while the commit stays where it is, or each look would have a disk turn for each
 * group that stands. But what is at an offset may change, as retention takes it away, or an unclean election puts
 * another in its place: so after some minutes it is.
 */
#include "base/clock.h"
#include "monitor/look.h"
#include "record/record.h"

enum { FIRST_GOOD_MS = 10 * 60 * 1000 };

bool look_waits(const struct look_group_topic *t, const struct look_commit *c)
{
    return look_end(t, c) > c->first;
}

int64_t look_waits_ms(const struct look_group_topic *t, const struct look_commit *c, int64_t now_ms)
{
    if (look_end(t, c) == LOOK_UNKNOWN)
        return LOOK_UNKNOWN;
    if (!look_waits(t, c))
        return 0;
    return c->timestamp != LOOK_UNKNOWN ? MAX(now_ms - c->timestamp, INT64_C(0)) : LOOK_UNKNOWN;
}

static bool has_record(const struct batch *b)
{
    return !batch_is_control(b) && b->count > 0; /* compaction keeps the last batch of a producer, though empty */
}

static int64_t first_timestamp(const struct batch *b)
{
    bool by_producer = b->magic == 2 && (b->attributes & ATTR_LOG_APPEND_TIME) == 0 && !batch_has_delete_horizon(b);
    return by_producer ? b->base_timestamp : b->max_timestamp;
}

/* Of a batch with records its head is enough. */
void look_take_first(struct look_commit *c, struct bytes records)
{
    struct batch b;
    while (records.len > 0 && batch_peek(records, &b) == BATCH_OK) {
        if (has_record(&b)) {
            c->timestamp = first_timestamp(&b);
            return;
        }
        c->first = MAX(c->first, b.last_offset + 1);
        records.p += MIN(b.size, records.len);
        records.len -= MIN(b.size, records.len);
    }
}

/* ---- What was known before ---- */

static void remember_first(struct look_commit *c, const struct look_commit *old, int64_t now_ms)
{
    int64_t age = now_ms - old->asked_ms;
    c->asked_ms = MAX(c->asked_ms, old->asked_ms);
    if (old->offset != c->offset || c->timestamp != LOOK_UNKNOWN || age < 0 || age > FIRST_GOOD_MS)
        return;
    c->first = MAX(c->first, old->first);
    c->timestamp = old->timestamp;
}

/* Commits of both are in the order of their partitions. */
static void remember_topic(struct look_group_topic *t, const struct look_group_topic *old, int64_t now_ms)
{
    for (int32_t i = 0, k = 0; i < t->commit_count; i++) {
        while (k < old->commit_count && old->commits[k].partition < t->commits[i].partition)
            k++;
        if (k < old->commit_count && old->commits[k].partition == t->commits[i].partition)
            remember_first(&t->commits[i], &old->commits[k], now_ms);
    }
}

static bool is_same_topic(const struct look_group_topic *a, const struct look_group_topic *b)
{
    return a->topic != NULL && b->topic != NULL && uuid_eq(a->topic->topic->id, b->topic->topic->id);
}

void look_remember_firsts(struct look *l, const struct look *before, int64_t now_ms)
{
    for (int32_t g = 0; g < l->group_count; g++) {
        struct look_group *group = &l->groups[g];
        const struct look_group *old = look_group(before, group->coordinator, group->id);
        for (int32_t t = 0; old != NULL && t < group->topic_count; t++) {
            const struct look_group_topic *known = look_find_group_topic(old, group->topics[t].name);
            if (known != NULL && is_same_topic(&group->topics[t], known))
                remember_topic(&group->topics[t], known, now_ms);
        }
    }
}
