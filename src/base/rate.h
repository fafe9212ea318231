/*
 * How fast something goes, over a moving window of samples, and how long it has to pause where that is too fast: the
 * arithmetic of Kafka's quotas (KIP-13), to the millisecond, so that a client meets the same waits on every broker.
 *
 * A sample begins with the first event after the one before it is full, and is dropped when nothing has come to it for
 * the whole window. The rate is the sum of what is kept by the time since the oldest of it began; where that is less
 * than all windows but one, it counts as so many, or the first events would look like a flood.
 *
 *     11 samples of a second, at most 10000 a second, and 150113 at once: over 10 s that is 15011.3 a second,
 *     (15011.3 - 10000) / 10000 * 10 s = 5011 ms to wait.
 *
 * Nothing here looks at a clock: `now_ms` never goes back.
 */
#ifndef BARNABAS_RATE_H
#define BARNABAS_RATE_H

#include "base/base.h"

struct rate_window {
    int32_t samples;   /* 1 or more */
    int64_t sample_ms; /* how long one lasts; 1 or more */
};

int64_t rate_window_ms(const struct rate_window *w); /* of all samples */

struct rate_sample {
    int64_t start_ms, last_ms; /* of its first and last event */
    double sum;
};

struct rate { /* zeroed: nothing has happened yet */
    struct rate_sample *samples;
    size_t cap;
    int32_t count, current;
    double most; /* no less than all that the samples have, whichever are dropped */
};

void rate_deinit(struct rate *r);
void rate_record(struct rate *r, const struct rate_window *w, double amount, int64_t now_ms);

/*
 * Whether what was just recorded leaves it within the limit, for sure. Quicker than to measure it, and enough for most;
 * to be measured later is as if it was measured now.
 */
bool rate_is_within(const struct rate *r, const struct rate_window *w, double limit);

struct rate_measure {
    double per_second;
    int64_t over_ms; /* the time that it is the rate of */
};
struct rate_measure rate_measure(struct rate *r, const struct rate_window *w, int64_t now_ms);
/* How long nothing may come so that the rate sinks to the limit; 0: it is not above it. */
int32_t rate_excess_ms(struct rate_measure m, double limit);

/* ---- Tokens: for what comes in bursts (KIP-599) ---- */

/* It fills at so many tokens a second up to what a whole window brings. What is taken last may be more than it has. */
struct token_bucket { /* zeroed: full */
    double tokens;
    int64_t filled_ms;
    bool used;
};

double token_bucket_fill(struct token_bucket *b, const struct rate_window *w, double per_second, int64_t now_ms);
void token_bucket_take(struct token_bucket *b, double amount);
/* Until there are none too few; 0: there are not. */
int32_t token_bucket_debt_ms(const struct token_bucket *b, double per_second);

#endif
