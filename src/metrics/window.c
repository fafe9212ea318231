#include "metrics/window.h"

#include <math.h>
#include <utlist.h>

#include "metrics/metrics_internal.h"

static const int64_t sample_us = 30000000;

static void window_begin(struct window *w)
{
    struct metrics *metrics = w->metrics;
    w->now_us = metrics->now_us();
    for (int i = 0; i < WINDOW_SAMPLES; i++)
        w->samples[i].start_us = w->samples[i].last_us = w->now_us;
    lock_take(&metrics->lock);
    DL_APPEND(metrics->windows, w);
    lock_release(&metrics->lock);
}

void window_init(struct window *w, struct metrics *metrics)
{
    *w = (struct window){.metrics = metrics};
    counter_init(&w->sum);
    counter_init(&w->events);
    window_begin(w);
}

void window_init_of(struct window *w, struct metrics *metrics, int64_t (*total)(const void *of), const void *of)
{
    *w = (struct window){.metrics = metrics, .total = total, .of = of};
    window_begin(w);
}

void window_deinit(struct window *w)
{
    if (w->metrics == NULL)
        return;
    lock_take(&w->metrics->lock);
    DL_DELETE(w->metrics->windows, w);
    lock_release(&w->metrics->lock);
    counter_deinit(&w->sum);
    counter_deinit(&w->events);
    w->metrics = NULL;
}

static void window_forget(struct window *w, int64_t now_us)
{
    for (int i = 0; i < WINDOW_SAMPLES; i++)
        if (now_us - w->samples[i].last_us >= WINDOW_SAMPLES * sample_us)
            w->samples[i] = (struct window_sample){.start_us = now_us, .last_us = now_us};
}

static void window_take(struct window *w, int64_t sum, int64_t events, int64_t most, int64_t now_us)
{
    struct window_sample *s = &w->samples[w->current];
    if (now_us - s->start_us >= sample_us) {
        w->current = (w->current + 1) % WINDOW_SAMPLES;
        s = &w->samples[w->current];
        *s = (struct window_sample){.start_us = now_us};
    }
    s->last_us = now_us;
    s->sum += sum;
    s->events += events;
    s->most = MAX(s->most, most);
}

static int64_t window_total(const struct window *w)
{
    return w->total == NULL ? counter_read(&w->sum) : w->total(w->of);
}

void window_tick(struct window *w, int64_t now_us)
{
    ensure(lock_is_held(&w->metrics->lock));
    int64_t sum = window_total(w), events = w->total == NULL ? counter_read(&w->events) : sum;
    w->now_us = now_us;
    if (events != w->seen_events)
        window_take(w, sum - w->seen_sum, events - w->seen_events,
                    atomic_exchange_explicit(&w->most, 0, memory_order_relaxed), now_us);
    window_forget(w, now_us);
    w->seen_sum = sum;
    w->seen_events = events;
}

/* Since the oldest sample began, and at least all samples but one. */
static double window_seconds(const struct window *w)
{
    int64_t oldest = w->samples[0].start_us;
    for (int i = 1; i < WINDOW_SAMPLES; i++)
        oldest = MIN(oldest, w->samples[i].start_us);
    int64_t length = w->now_us - oldest, full = length / sample_us;
    if (full < WINDOW_SAMPLES - 1)
        length += (WINDOW_SAMPLES - 1 - full) * sample_us;
    return (double)length / 1e6;
}

void window_read(struct window *w, struct window_values *out)
{
    int64_t sum = 0, events = 0, most = 0;
    *out = (struct window_values){.mean = NAN, .most = NAN};
    if (w->metrics == NULL)
        return;
    out->total = window_total(w);
    out->count = counter_read(&w->events);
    lock_take(&w->metrics->lock);
    for (int i = 0; i < WINDOW_SAMPLES; i++) {
        sum += w->samples[i].sum;
        events += w->samples[i].events;
        most = MAX(most, w->samples[i].most);
    }
    out->per_second = (double)sum / window_seconds(w);
    out->rate = (double)events / window_seconds(w);
    lock_release(&w->metrics->lock);
    if (events > 0) {
        out->mean = (double)sum / (double)events;
        out->most = (double)most;
    }
}
