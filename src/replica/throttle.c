#include "replica/throttle.h"

static const int64_t told_for_ms = 3600 * INT64_C(1000), touch_every_ms = 1000;

void throttle_init(struct throttle *t, int32_t sample_count, int32_t sample_seconds)
{
    *t = (struct throttle){.limit = INT64_MAX,
                           .sample_ms = (int64_t)MAX(sample_seconds, 1) * 1000,
                           .sample_count = MIN(MAX(sample_count, 1), THROTTLE_MOST_SAMPLES)};
    lock_init(&t->lock, RANK_THROTTLE);
}

void throttle_deinit(struct throttle *t)
{
    lock_deinit(&t->lock);
}

void throttle_touch(struct throttle *t, int64_t now)
{
    int64_t last = atomic_load_explicit(&t->mattered_ms, memory_order_relaxed);
    if (last == 0 || now - last >= touch_every_ms) /* else many threads would take its line of the cache in turn */
        atomic_store_explicit(&t->mattered_ms, now, memory_order_relaxed);
}

static bool throttle_is_told(const struct throttle *t, int64_t now)
{
    int64_t last = atomic_load_explicit(&t->mattered_ms, memory_order_relaxed);
    return last != 0 && now - last < told_for_ms;
}

void throttle_set_limit(struct throttle *t, int64_t bytes_a_second)
{
    lock_take(&t->lock);
    t->limit = bytes_a_second;
    lock_release(&t->lock);
}

/* With the lock held: the samples between the last one and now are empty. */
static void throttle_move_to(struct throttle *t, int64_t now)
{
    ensure(lock_is_held(&t->lock));
    int64_t sample = now / t->sample_ms;
    for (int64_t i = MAX(t->newest + 1, sample - t->sample_count + 1); i <= sample; i++)
        t->bytes[i % t->sample_count] = 0;
    t->newest = MAX(t->newest, sample);
}

void throttle_note(struct throttle *t, int64_t bytes, int64_t now)
{
    ensure(bytes >= 0);
    throttle_touch(t, now);
    lock_take(&t->lock);
    throttle_move_to(t, now);
    t->bytes[t->newest % t->sample_count] += bytes;
    lock_release(&t->lock);
}

/* The time that is averaged over begins with the oldest sample that has anything, and is a whole sample at least. */
static double rate(const struct throttle *t, int64_t now)
{
    int64_t sum = 0, oldest = t->newest;
    for (int64_t i = t->newest; i > t->newest - t->sample_count && i >= 0; i--) {
        sum += t->bytes[i % t->sample_count];
        if (t->bytes[i % t->sample_count] > 0)
            oldest = i;
    }
    ensure(lock_is_held(&t->lock) && sum >= 0);
    return (double)sum * 1000 / (double)MAX(now - oldest * t->sample_ms, t->sample_ms);
}

bool throttle_read(struct throttle *t, int64_t now, double *bytes_a_second)
{
    lock_take(&t->lock);
    throttle_move_to(t, now);
    *bytes_a_second = rate(t, now);
    lock_release(&t->lock);
    return throttle_is_told(t, now);
}

bool throttle_is_spent(struct throttle *t, int64_t now)
{
    if (!throttle_is_told(t, now)) /* to ask makes Kafka's sensor, and keeps none */
        throttle_touch(t, now);
    lock_take(&t->lock);
    throttle_move_to(t, now);
    bool spent = t->limit != INT64_MAX && rate(t, now) > (double)t->limit;
    lock_release(&t->lock);
    return spent;
}
