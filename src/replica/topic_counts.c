#include "replica/topic_counts.h"

struct topic_counts {
    char topic[LONGEST_TOPIC_NAME + 1];
    struct metrics *metrics;
    int64_t ids;
    atomic_int refs, led;
    int hosted; /* 0: it is in the table no more */
    struct lazy_meter meters[TOPIC_METER_COUNT];
    UT_hash_handle hh;
};

static const struct {
    const char *name, *event;
} rows[] = {
#define ROW(id, name, event) {name, event},
    TOPIC_METERS(ROW) BROKER_METERS(ROW)
#undef ROW
};

static struct bean_name bean_of(enum topic_meter which)
{
    return (struct bean_name){"kafka.server", "BrokerTopicMetrics", rows[which].name, {{0}}};
}

/* ---- Of the broker ---- */

void broker_counts_init(struct broker_counts *b, struct metrics *m)
{
    *b = (struct broker_counts){.metrics = m};
    lock_init(&b->lock, RANK_TOPIC_COUNTS);
    if (m == NULL)
        return;
    b->ids = metrics_ids(m, BROKER_METER_COUNT);
    for (int i = 0; i < BROKER_METER_COUNT; i++)
        meter_init(&b->all[i], m, rows[i].event);
}

void broker_counts_deinit(struct broker_counts *b)
{
    struct topic_counts *t, *tmp;
    HASH_ITER (hh, b->table, t, tmp) {
        HASH_DEL(b->table, t);
        topic_counts_unref(t);
    }
    for (int i = 0; i < BROKER_METER_COUNT; i++)
        meter_deinit(&b->all[i]);
    lock_deinit(&b->lock);
}

/* ---- Of topics ---- */

static struct topic_counts *topic_counts_new(struct broker_counts *b, const char *topic)
{
    struct topic_counts *t = xcalloc(1, sizeof(*t));
    ensure(strlen(topic) < sizeof(t->topic));
    strcpy(t->topic, topic);
    t->metrics = b->metrics;
    t->ids = metrics_ids(b->metrics, TOPIC_METER_COUNT);
    atomic_init(&t->refs, 1);
    return t;
}

void topic_counts_unref(struct topic_counts *t)
{
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1)
        return;
    for (int i = 0; i < TOPIC_METER_COUNT; i++)
        lazy_meter_deinit(&t->meters[i]);
    free(t);
}

struct topic_counts *topic_counts_enter(struct broker_counts *b, const char *topic)
{
    struct topic_counts *t;
    if (b->metrics == NULL)
        return NULL;
    lock_take(&b->lock);
    HASH_FIND_STR(b->table, topic, t);
    if (t == NULL) {
        t = topic_counts_new(b, topic);
        HASH_ADD_STR(b->table, topic, t);
    }
    t->hosted++;
    atomic_fetch_add(&t->refs, 1);
    lock_release(&b->lock);
    return t;
}

void topic_counts_leave(struct broker_counts *b, struct topic_counts *t)
{
    if (t == NULL)
        return;
    lock_take(&b->lock);
    ensure(t->hosted > 0);
    bool last = --t->hosted == 0;
    if (last)
        HASH_DEL(b->table, t);
    lock_release(&b->lock);
    if (last)
        topic_counts_unref(t);
}

void topic_counts_lead(struct topic_counts *t, int more)
{
    if (t == NULL)
        return;
    int before = atomic_fetch_add(&t->led, more);
    ensure(before + more >= 0);
}

void topic_counts_mark(struct broker_counts *b, struct topic_counts *t, enum topic_meter which, int64_t n)
{
    meter_mark(&b->all[which], n);
    if (t != NULL && which < TOPIC_METER_COUNT)
        lazy_meter_mark(&t->meters[which], t->metrics, rows[which].event, n);
}

/* ---- As beans ---- */

static struct topic_counts **topic_counts_list(struct broker_counts *b, size_t *count)
{
    struct topic_counts *t, *tmp;
    *count = 0;
    lock_take(&b->lock);
    struct topic_counts **list = xcalloc(HASH_COUNT(b->table) + 1, sizeof(struct topic_counts *));
    HASH_ITER (hh, b->table, t, tmp) {
        atomic_fetch_add(&t->refs, 1);
        list[(*count)++] = t;
    }
    lock_release(&b->lock);
    return list;
}

/* As Kafka's brokers take these away from a topic that they lead no partition of. */
static bool meter_is_told(const struct topic_counts *t, int which)
{
    return which >= LEADERS_METERS || atomic_load(&t->led) > 0;
}

static void topic_counts_visit(const struct topic_counts *t, struct bean_walk *w)
{
    for (int i = 0; i < TOPIC_METER_COUNT && !walk_is_over(w); i++) {
        struct bean_name name = bean_of((enum topic_meter)i);
        const struct meter *m = lazy_meter_get(&t->meters[i]);
        name.tags[0] = (struct bean_tag){"topic", str_of(t->topic)};
        if (m != NULL && meter_is_told(t, i))
            yield_meter(w, t->ids + i, &name, m);
    }
}

void broker_counts_visit(struct broker_counts *b, struct bean_walk *w)
{
    size_t count;
    if (!walk_wants(w, "kafka.server", "BrokerTopicMetrics"))
        return;
    for (int i = 0; i < BROKER_METER_COUNT; i++) {
        struct bean_name name = bean_of((enum topic_meter)i);
        yield_meter(w, b->ids + i, &name, &b->all[i]);
    }
    struct topic_counts **list = topic_counts_list(b, &count);
    for (size_t i = 0; i < count; i++) {
        topic_counts_visit(list[i], w);
        topic_counts_unref(list[i]);
    }
    free(list);
}
