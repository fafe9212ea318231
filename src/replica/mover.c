#include "replica/mover.h"

#include <inttypes.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"

enum { REST_MS = 100, LONGEST_REST_MS = 10000, SAY_EACH_MS = 10000 };

struct move {
    struct message wanted;
    struct job job;
    struct mover *mover;
    struct partition *partition; /* with a reference */
    enum move_result result;
    bool running, again;         /* `again`: asked for while a step runs, which may not have seen why */
    int64_t rest_ms, rest_until; /* as long as something is in its way; 0: nothing is */
    int64_t said_ms;             /* monotonic: when it was last said how far it is */
    struct move *prev, *next;
};

struct mover {
    struct loop *loop;
    struct workers *workers;
    struct move *moves; /* by turns */
    int32_t running, most_at_once;
    struct timer rest;  /* of all, as what may be copied is used up */
    struct timer retry; /* of the first one whose rest is over */
    bool closed;
};

static void mover_go_on(struct mover *m);

static void move_free(struct move *v)
{
    partition_unref(v->partition);
    free(v);
}

static void run_step(struct job *job)
{
    struct move *v = CONTAINER_OF(job, struct move, job);
    v->result = partition_move_some(v->partition);
}

/* Longer each time: what is in its way may go, as a descriptor may come, but it may also be damage that stays. */
static void move_rest(struct move *v)
{
    v->rest_ms = v->rest_ms > 0 ? MIN(2 * v->rest_ms, (int64_t)LONGEST_REST_MS) : REST_MS;
    v->rest_until = clock_mono_ms() + v->rest_ms;
}

static void say_progress_of_move(struct move *v)
{
    int64_t now = clock_mono_ms(), done, end;
    if (now - v->said_ms < SAY_EACH_MS || !partition_move_progress(v->partition, &done, &end))
        return;
    v->said_ms = now;
    log_info("The move of %s-%" PRId32 " to another directory has come to offset %" PRId64 " of %" PRId64,
             partition_topic(v->partition), partition_index(v->partition), done, end);
}

/* Behind the others. */
static void step_done(struct message *msg)
{
    struct move *v = CONTAINER_OF(msg, struct move, job.done);
    struct mover *m = v->mover;
    ensure(loop_is_mine(m->loop) && v->running && m->running > 0);
    m->running--;
    v->running = false;
    DL_DELETE(m->moves, v);
    if (v->result == MOVE_GOES_ON)
        say_progress_of_move(v);
    if (v->result != MOVE_RESTS || v->again)
        v->rest_ms = v->rest_until = 0;
    else
        move_rest(v);
    if (v->result == MOVE_GOES_ON || v->result == MOVE_RESTS || v->again)
        DL_APPEND(m->moves, v);
    else
        move_free(v);
    if (!m->closed)
        mover_go_on(m);
}

static void start_step(struct mover *m, struct move *v)
{
    ensure(!v->running && m->running < m->most_at_once);
    v->running = true;
    v->again = false;
    m->running++;
    v->job = (struct job){.run = run_step, .home = m->loop, .done = {.deliver = step_done}};
    workers_submit(m->workers, &v->job);
}

static void mover_on_rested(struct timer *t)
{
    mover_go_on(CONTAINER_OF(t, struct mover, rest));
}

static void mover_go_on(struct mover *m)
{
    struct move *v;
    int64_t now = clock_mono_ms(), next = INT64_MAX;
    DL_FOREACH (m->moves, v) {
        if (v->running)
            continue;
        if (m->running >= m->most_at_once || timer_is_running(&m->rest))
            break;
        if (v->rest_until > now) {
            next = MIN(next, v->rest_until);
            continue;
        }
        if (partition_moves_rest(v->partition)) {
            timer_start(&m->rest, REST_MS);
            break;
        }
        start_step(m, v);
    }
    if (next < INT64_MAX)
        timer_start(&m->retry, next - now);
}

static void mover_on_retry(struct timer *t)
{
    mover_go_on(CONTAINER_OF(t, struct mover, retry));
}

static struct move *mover_find(struct mover *m, const struct partition *p)
{
    struct move *v;
    DL_FOREACH (m->moves, v)
        if (v->partition == p)
            return v;
    return NULL;
}

static void mover_on_wanted(struct message *msg)
{
    struct move *v = CONTAINER_OF(msg, struct move, wanted), *known = mover_find(v->mover, v->partition);
    struct mover *m = v->mover;
    ensure(loop_is_mine(m->loop));
    if (known != NULL || m->closed)
        move_free(v);
    else
        DL_APPEND(m->moves, v);
    if (known != NULL) {
        known->again = true;
        known->rest_ms = known->rest_until = 0;
    }
    if (!m->closed)
        mover_go_on(m);
}

void mover_add(struct mover *m, struct partition *p)
{
    struct move *v = xcalloc(1, sizeof(*v));
    partition_ref(p);
    *v = (struct move){.wanted = {.deliver = mover_on_wanted}, .mover = m, .partition = p, .said_ms = clock_mono_ms()};
    loop_post(m->loop, &v->wanted);
}

struct mover *mover_new(struct loop *loop, struct workers *workers, int32_t most_at_once)
{
    struct mover *m = xcalloc(1, sizeof(*m));
    *m = (struct mover){.loop = loop, .workers = workers, .most_at_once = MAX(most_at_once, 1)};
    timer_init(&m->rest, loop, mover_on_rested);
    timer_init(&m->retry, loop, mover_on_retry);
    return m;
}

void mover_close(struct mover *m)
{
    ensure(loop_is_mine(m->loop));
    m->closed = true;
    timer_stop(&m->rest);
    timer_stop(&m->retry);
}

void mover_free(struct mover *m)
{
    struct move *v, *next;
    DL_FOREACH_SAFE (m->moves, v, next)
        move_free(v);
    free(m);
}
