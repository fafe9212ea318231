#include "base/rate.h"

int64_t rate_window_ms(const struct rate_window *w)
{
    return w->samples * w->sample_ms;
}

void rate_deinit(struct rate *r)
{
    free(r->samples);
    *r = (struct rate){0};
}

static void rate_sample_reset(struct rate_sample *s, int64_t now_ms)
{
    *s = (struct rate_sample){now_ms, now_ms, 0};
}

static void rate_add_sample(struct rate *r, int64_t now_ms)
{
    r->samples = xgrow(r->samples, (size_t)r->count + 1, &r->cap, sizeof(*r->samples));
    rate_sample_reset(&r->samples[r->count++], now_ms);
}

/* One more is kept than there are in a window, as the oldest lies in it only in part. */
static struct rate_sample *rate_advance(struct rate *r, const struct rate_window *w, int64_t now_ms)
{
    r->current = r->current == w->samples ? 0 : r->current + 1;
    if (r->current == r->count) {
        rate_add_sample(r, now_ms);
    } else {
        r->most -= MAX(r->samples[r->current].sum, 0.0);
        rate_sample_reset(&r->samples[r->current], now_ms);
    }
    ensure(r->count <= w->samples + 1); /* a rate has one window all its life */
    return &r->samples[r->current];
}

void rate_record(struct rate *r, const struct rate_window *w, double amount, int64_t now_ms)
{
    ensure(w->samples >= 1 && w->sample_ms >= 1);
    if (r->count == 0)
        rate_add_sample(r, now_ms);
    struct rate_sample *s = &r->samples[r->current];
    if (now_ms - s->start_ms >= w->sample_ms)
        s = rate_advance(r, w, now_ms);
    s->sum += amount;
    s->last_ms = now_ms;
    r->most += MAX(amount, 0.0); /* what is taken back is seen when it is measured */
}

/* It is never by less time than all windows but one. */
bool rate_is_within(const struct rate *r, const struct rate_window *w, double limit)
{
    static const double rounding = 1 - 1e-9;
    return r->most <= limit * (double)((w->samples - 1) * w->sample_ms) / 1000 * rounding;
}

/* Those that are dropped count as beginning now. */
static int64_t rate_drop_old(struct rate *r, const struct rate_window *w, int64_t now_ms)
{
    int64_t oldest = now_ms;
    for (int32_t i = 0; i < r->count; i++) {
        struct rate_sample *s = &r->samples[i];
        if (now_ms - s->last_ms >= rate_window_ms(w))
            rate_sample_reset(s, now_ms);
        oldest = MIN(oldest, s->start_ms);
    }
    return oldest;
}

struct rate_measure rate_measure(struct rate *r, const struct rate_window *w, int64_t now_ms)
{
    int64_t over = now_ms - rate_drop_old(r, w, now_ms), full = over / w->sample_ms, least = w->samples - 1;
    double sum = 0;
    if (full < least)
        over += (least - full) * w->sample_ms;
    over = MAX(over, INT64_C(1));
    r->most = 0;
    for (int32_t i = 0; i < r->count; i++) {
        sum += r->samples[i].sum;
        r->most += MAX(r->samples[i].sum, 0.0);
    }
    return (struct rate_measure){sum / ((double)over / 1000), over};
}

/* A limit of 0 makes it infinite. */
static int32_t rounded_ms(double ms)
{
    return ms < INT32_MAX ? (int32_t)(ms + 0.5) : INT32_MAX;
}

int32_t rate_excess_ms(struct rate_measure m, double limit)
{
    return m.per_second > limit ? rounded_ms((m.per_second - limit) / limit * (double)m.over_ms) : 0;
}

/* ---- Tokens ---- */

double token_bucket_fill(struct token_bucket *b, const struct rate_window *w, double per_second, int64_t now_ms)
{
    double most = (double)rate_window_ms(w) / 1000 * per_second;
    double more = (double)(now_ms - b->filled_ms) / 1000 * per_second;
    b->tokens = b->used ? MIN(most, b->tokens + more) : most;
    b->filled_ms = now_ms;
    b->used = true;
    return b->tokens;
}

void token_bucket_take(struct token_bucket *b, double amount)
{
    ensure(b->used);
    b->tokens -= amount;
}

int32_t token_bucket_debt_ms(const struct token_bucket *b, double per_second)
{
    return b->tokens < 0 ? rounded_ms(-b->tokens / per_second * 1000) : 0;
}
