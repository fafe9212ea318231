#include "metrics/meter.h"

#include <math.h>
#include <utlist.h>

#include "metrics/metrics_internal.h"

static const int64_t tick_us = 5000000;

void meter_init(struct meter *m, struct metrics *metrics, const char *event)
{
    *m = (struct meter){.event = event, .metrics = metrics};
    counter_init(&m->counter);
    m->born_us = metrics->now_us();
    m->due_us = m->born_us + tick_us;
    lock_take(&metrics->lock);
    DL_APPEND(metrics->meters, m);
    lock_release(&metrics->lock);
}

void meter_deinit(struct meter *m)
{
    if (m->metrics == NULL)
        return;
    lock_take(&m->metrics->lock);
    DL_DELETE(m->metrics->meters, m);
    lock_release(&m->metrics->lock);
    counter_deinit(&m->counter);
    m->metrics = NULL;
}

static const struct meter *lazy_meter_make(struct lazy_meter *l, struct metrics *metrics, const char *event)
{
    struct meter *made = xcalloc(1, sizeof(*made)), *there = NULL;
    meter_init(made, metrics, event);
    if (atomic_compare_exchange_strong(&l->made, &there, made))
        return made;
    meter_deinit(made); /* another thread was faster */
    free(made);
    return there;
}

void lazy_meter_mark(struct lazy_meter *l, struct metrics *metrics, const char *event, int64_t n)
{
    const struct meter *m = lazy_meter_get(l);
    meter_mark(m != NULL ? m : lazy_meter_make(l, metrics, event), n);
}

void lazy_meter_deinit(struct lazy_meter *l)
{
    struct meter *m = atomic_load_explicit(&l->made, memory_order_acquire);
    if (m != NULL)
        meter_deinit(m);
    free(m);
    atomic_store_explicit(&l->made, NULL, memory_order_relaxed);
}

static void move_average(_Atomic double *average, bool first, double now, double minutes)
{
    double old = atomic_load_explicit(average, memory_order_relaxed);
    double alpha = 1 - exp(-5.0 / 60 / minutes);
    atomic_store_explicit(average, first ? now : old + alpha * (now - old), memory_order_relaxed);
}

void meter_tick(struct meter *m, int64_t now_us)
{
    static const double minutes[] = {1, 5, 15};
    ensure(lock_is_held(&m->metrics->lock));
    for (; m->due_us <= now_us; m->due_us += tick_us) {
        int64_t count = meter_count(m);
        double now = (double)(count - m->ticked) * 1e6 / (double)tick_us;
        m->ticked = count;
        for (int i = 0; i < METER_AVERAGES; i++)
            move_average(&m->averages[i], !m->has_ticked, now, minutes[i]);
        m->has_ticked = true;
    }
}

static double in_its_unit(const struct meter *m, double per_second)
{
    return m->per_nanosecond ? per_second / 1e9 : per_second;
}

double meter_average(const struct meter *m, enum meter_average which)
{
    return in_its_unit(m, atomic_load_explicit(&m->averages[which], memory_order_relaxed));
}

double meter_mean(const struct meter *m)
{
    int64_t count = meter_count(m), now = m->metrics != NULL ? m->metrics->now_us() : 0;
    return count != 0 && now > m->born_us ? in_its_unit(m, (double)count * 1e6 / (double)(now - m->born_us)) : 0;
}

int meter_attributes(const struct meter *m, struct bean_attribute *out)
{
    struct str unit = m->per_nanosecond ? STR_LIT("NANOSECONDS") : STR_LIT("SECONDS");
    int n = 0;
    out[n++] = (struct bean_attribute){"Count", "long", bean_long(meter_count(m))};
    out[n++] = (struct bean_attribute){"EventType", "java.lang.String", bean_string(str_of(m->event))};
    out[n++] = (struct bean_attribute){"FifteenMinuteRate", "double", bean_double(meter_average(m, METER_15_MINUTES))};
    out[n++] = (struct bean_attribute){"FiveMinuteRate", "double", bean_double(meter_average(m, METER_5_MINUTES))};
    out[n++] = (struct bean_attribute){"MeanRate", "double", bean_double(meter_mean(m))};
    out[n++] = (struct bean_attribute){"OneMinuteRate", "double", bean_double(meter_average(m, METER_1_MINUTE))};
    out[n++] = (struct bean_attribute){"RateUnit", "java.util.concurrent.TimeUnit", bean_string(unit)};
    return n;
}
