/*
 * A round goes from phase to phase: each asks its questions, all at once, and the next begins with the last answer, or
 * at once if there was nothing to ask. A question that fails is counted and otherwise passed over: what it would have
 * told stays unknown, and the look is there all the same.
 */
#include "monitor/round.h"

#include <utlist.h>

#include "base/clock.h"
#include "monitor/round_internal.h"

/* ---- Questions ---- */

static void round_go_on(struct round *r);

static void ask_free(struct ask *a)
{
    arena_deinit(&a->memory);
    free(a);
}

static void on_answer(struct broker_call *call, enum kafka_error error)
{
    struct ask *a = CONTAINER_OF(call, struct ask, call);
    struct round *r = a->round;
    ensure(r->look != NULL); /* a round is not done while it waits for an answer */
    DL_DELETE(r->asks, a);
    if (error == ERR_NONE)
        a->take(r, a);
    else if (error != ERR_UNSUPPORTED_VERSION || !a->optional)
        r->look->unanswered++;
    ask_free(a);
    if (r->asks == NULL && !r->asking)
        round_go_on(r);
}

struct ask *round_ask_new(struct round *r, int32_t broker, int16_t key, round_take_fn take)
{
    struct ask *a = xcalloc(1, sizeof(*a));
    const struct api_spec *spec = api_spec(key);
    a->round = r;
    a->broker = broker;
    a->take = take;
    a->request = arena_alloc(&a->memory, spec->request->size);
    a->response = arena_alloc(&a->memory, spec->response->size);
    message_init(spec->request, a->request);
    a->call = (struct broker_call){
        .key = key, .request = a->request, .response = a->response, .arena = &a->memory, .done = on_answer};
    return a;
}

void round_ask(struct round *r, struct ask *a)
{
    DL_APPEND(r->asks, a);
    broker_links_send(r->links, a->broker, &a->call);
}

enum { RATE_GOOD_MS = 2 * 60 * 1000 };

int64_t round_since_before(const struct round *r)
{
    const struct look *before = r->before[LOOK_ALL];
    int64_t passed = before != NULL ? r->look->taken_ms - before->taken_ms : 0;
    return passed > 0 && passed <= RATE_GOOD_MS ? passed : 0;
}

/* ---- Phases ---- */

/* Each asks what the answers to the one before have shown to be of interest. */
static void ask_what_there_is(struct round *r)
{
    round_ask_brokers(r);
    round_ask_groups(r);
    round_ask_transactions(r);
}

static void ask_details(struct round *r)
{
    round_ask_group_details(r);
    round_ask_transaction_details(r);
}

static void (*const phases[])(struct round *r) = {
    round_ask_topics,  ask_what_there_is,    ask_details,
    round_ask_offsets, round_ask_timestamps, round_ask_timestamps_alone,
};

static void round_go_on(struct round *r)
{
    while (r->asks == NULL && r->phase < ARRAY_LEN(phases)) {
        r->asking = true;
        phases[r->phase++](r);
        r->asking = false;
    }
    if (r->asks != NULL || r->look == NULL)
        return;
    struct look *look = r->look;
    look->taken_ms = clock_wall_ms();
    round_measure_moves(r);
    round_measure_lag(r);
    r->look = NULL;
    r->done(r->ctx, look);
}

/* ---- What is known without asking ---- */

static void list_brokers(struct look *look)
{
    const struct view_brokers *brokers = look->view->brokers;
    look->brokers = ARENA_ARRAY(&look->memory, struct look_broker, brokers->n + 1);
    for (look->broker_count = 0; look->broker_count < brokers->n; look->broker_count++)
        look->brokers[look->broker_count] =
            (struct look_broker){&brokers->v[look->broker_count], LOOK_UNKNOWN, NULL, false};
}

struct round *round_begin(const struct monitor_options *options, struct broker_links *links, enum look_scope scope,
                          struct look *const before[LOOK_ALL + 1], void (*done)(void *ctx, struct look *look),
                          void *ctx)
{
    struct round *r = xcalloc(1, sizeof(*r));
    struct look *look = xcalloc(1, sizeof(*look));
    *r = (struct round){.options = options, .links = links, .look = look, .done = done, .ctx = ctx};
    for (int i = 0; i <= LOOK_ALL; i++)
        r->before[i] = before[i];
    atomic_init(&look->refs, 1);
    look->scope = scope;
    look->broker_id = options->broker_id;
    look->cluster_id = arena_cstr(&look->memory, str_of(options->cluster_id));
    look->view = view_board_latest(options->board);
    look->leader_change_count = view_board_leader_changes(options->board, look->leader_changes);
    list_brokers(look);
    round_go_on(r);
    return r;
}

void round_free(struct round *r)
{
    struct ask *a, *next;
    if (r == NULL)
        return;
    DL_FOREACH_SAFE (r->asks, a, next)
        ask_free(a);
    look_unref(r->look);
    free(r->groups);
    free(r->transactions);
    free(r->places);
    free(r);
}
