#include "cluster/leader_changes.h"

enum { TOGETHER_MS = 1000 };

static struct leader_change *leader_changes_nth(struct leader_changes *e, int64_t n)
{
    ensure(n >= 0);
    return &e->ring[n % LEADER_CHANGES_KEPT];
}

/* The one that this is part of; NULL: none. */
static struct leader_change *same_change(struct leader_changes *e, int64_t now_ms, int32_t from, int32_t to)
{
    int64_t oldest = MAX(e->count - LEADER_CHANGES_KEPT, INT64_C(0));
    for (int64_t i = e->count - 1; i >= oldest && leader_changes_nth(e, i)->ms > now_ms - TOGETHER_MS; i--)
        if (leader_changes_nth(e, i)->from == from && leader_changes_nth(e, i)->to == to)
            return leader_changes_nth(e, i);
    return NULL;
}

void leader_changes_note(struct leader_changes *e, int64_t now_ms, int32_t from, int32_t to, struct str topic,
                         int32_t partition)
{
    ensure(from != to && topic.len > 0 && topic.len <= LONGEST_TOPIC_NAME);
    struct leader_change *known = same_change(e, now_ms, from, to);
    if (known != NULL) {
        known->partitions++;
        return;
    }
    struct leader_change *fresh = leader_changes_nth(e, e->count++);
    *fresh = (struct leader_change){.ms = now_ms, .from = from, .to = to, .partitions = 1, .partition = partition};
    memcpy(fresh->topic, topic.p, (size_t)topic.len);
}

int leader_changes_read(const struct leader_changes *e, struct leader_change out[LEADER_CHANGES_KEPT])
{
    int count = (int)MIN(e->count, LEADER_CHANGES_KEPT);
    for (int i = 0; i < count; i++)
        out[i] = e->ring[(e->count - 1 - i) % LEADER_CHANGES_KEPT];
    return count;
}
