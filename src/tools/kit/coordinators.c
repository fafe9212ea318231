#include "tools/kit/coordinators.h"

#include <unistd.h>

#include "base/clock.h"
#include "protocol/error.h"
#include "protocol/msg/find_coordinator.h"

enum { RETRY_US = 100000, FIRST_WITH_SEVERAL_KEYS = 4 };

bool coordinator_is_away(int16_t error)
{
    return error == ERR_COORDINATOR_NOT_AVAILABLE || error == ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           error == ERR_NOT_COORDINATOR;
}

static bool find_coordinator(struct asker *asker, const struct coordinator_call *call, struct coordinator *out,
                             int16_t *error, struct arena *a, struct fail *fail)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    int16_t version;
    find_coordinator_request_init(&request);
    request.key = call->key;
    request.key_type = (int8_t)call->kind;
    ARRAY_MAKE(a, request.coordinator_keys, 1);
    request.coordinator_keys.items[0] = call->key;
    if (!ask(asker, ASK_ANY, API_FIND_COORDINATOR, 1, &request, &response, &version, a, fail))
        return false;
    if (version < FIRST_WITH_SEVERAL_KEYS) {
        *out = (struct coordinator){response.node_id, response.port, response.host};
        *error = response.error_code;
        return true;
    }
    if (response.coordinators.len != 1)
        return fail_set(fail, "The broker does not say who coordinates %.*s", STR_ARGS(call->key));
    const struct find_coordinator_coordinator *c = &response.coordinators.items[0];
    *out = (struct coordinator){c->node_id, c->port, c->host};
    *error = c->error_code;
    return true;
}

static bool is_silence(const struct asker *asker, bool repeatable)
{
    enum ask_outcome outcome = ask_outcome(asker);
    return outcome == ASK_UNSENT || (outcome == ASK_UNANSWERED && repeatable);
}

static bool try_coordinator(struct asker *asker, const struct coordinator_call *call, int16_t *error, bool *again,
                            struct arena *a, struct fail *fail)
{
    struct coordinator at;
    bool found = find_coordinator(asker, call, &at, error, a, fail),
         ok = found && (*error != ERR_NONE || call->step(asker, &at, call->arg, error, a, fail));
    *again = ok ? coordinator_is_away(*error) : is_silence(asker, !found || call->repeatable);
    return ok;
}

bool coordinator_ask(struct asker *asker, const struct coordinator_call *call, int16_t *error, struct arena *a,
                     struct fail *fail)
{
    int64_t deadline = clock_mono_ms() + call->timeout_ms;
    for (;;) {
        struct fail why = {.text = ""};
        bool again, ok = try_coordinator(asker, call, error, &again, a, &why);
        if (!again || clock_mono_ms() >= deadline)
            return fail_unless(ok, &why, fail);
        usleep(RETRY_US);
    }
}

/* ---- Of several keys at once ---- */

static int coordinators_by_key(const void *a, const void *b)
{
    const struct coordinator_item *const *x = a, *const *y = b;
    return str_cmp((*x)->key, (*y)->key);
}

static int coordinators_by_broker(const void *a, const void *b)
{
    const struct coordinator_item *const *x = a, *const *y = b;
    int order = ((*x)->at.id > (*y)->at.id) - ((*x)->at.id < (*y)->at.id);
    return order != 0 ? order : coordinators_by_key(a, b);
}

struct coordinator_item *coordinator_item_find(struct coordinator_item **items, int32_t n, struct str key)
{
    struct coordinator_item wanted = {.key = key}, *to_wanted = &wanted, **found;
    found = n > 0 ? bsearch(&to_wanted, items, (size_t)n, sizeof(*items), coordinators_by_key) : NULL;
    return found != NULL ? *found : NULL;
}

/* Of the first key, or of all of them if the broker takes several at once; `taken` is how many it was. */
static bool find_coordinators(struct asker *asker, enum coordinator_kind kind, struct coordinator_item **items,
                              int32_t n, int32_t *taken, struct arena *a, struct fail *fail)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    int16_t version;
    find_coordinator_request_init(&request);
    request.key = items[0]->key;
    request.key_type = (int8_t)kind;
    ARRAY_MAKE(a, request.coordinator_keys, n);
    for (int32_t i = 0; i < n; i++)
        request.coordinator_keys.items[i] = items[i]->key;
    if (!ask(asker, ASK_ANY, API_FIND_COORDINATOR, 1, &request, &response, &version, a, fail))
        return false;
    *taken = version < FIRST_WITH_SEVERAL_KEYS ? 1 : n;
    if (version < FIRST_WITH_SEVERAL_KEYS) {
        items[0]->at = (struct coordinator){response.node_id, response.port, response.host};
        items[0]->error = response.error_code;
        items[0]->answered = true;
        return true;
    }
    for (int32_t i = 0; i < response.coordinators.len; i++) {
        const struct find_coordinator_coordinator *c = &response.coordinators.items[i];
        struct coordinator_item *item = coordinator_item_find(items, n, c->key);
        if (item == NULL)
            continue;
        item->at = (struct coordinator){c->node_id, c->port, c->host};
        item->error = c->error_code;
        item->answered = true;
    }
    return true;
}

struct round { /* of the items whose answers are not final yet */
    struct asker *asker;
    const struct coordinator_call *call;
    coordinator_step_of_all *step;
    struct coordinator_item **open;
    int32_t open_count, kept; /* those that are open for another round are the first of `open` */
    struct arena *arena;
};

static void forget_answers(struct coordinator_item **items, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        items[i]->answered = false;
        items[i]->why = NULL;
    }
}

static void note_failure(struct round *r, struct coordinator_item *item, const struct fail *why, bool again)
{
    item->answered = false;
    item->why = arena_cstr(r->arena, str_of(why->text));
    if (again)
        r->open[r->kept++] = item;
}

/* Those that were found are the first of `found`. */
static int32_t find_all(struct round *r, struct coordinator_item **found)
{
    int32_t found_count = 0, count = r->open_count;
    struct coordinator_item **all = arena_copy(r->arena, r->open, sizeof(*r->open) * (size_t)count);
    qsort(all, (size_t)count, sizeof(*all), coordinators_by_key);
    r->kept = 0;
    forget_answers(all, count);
    for (int32_t i = 0, taken = 0; i < count; i += taken) {
        struct fail why = {.text = ""};
        bool ok = find_coordinators(r->asker, r->call->kind, all + i, count - i, &taken, r->arena, &why);
        if (!ok)
            taken = count - i;
        for (int32_t k = i; k < i + taken; k++)
            if (!ok)
                note_failure(r, all[k], &why, is_silence(r->asker, true));
            else if (all[k]->answered && all[k]->error == ERR_NONE)
                found[found_count++] = all[k];
            else if (all[k]->answered && coordinator_is_away(all[k]->error))
                r->open[r->kept++] = all[k];
    }
    return found_count;
}

static void coordinators_ask_one(struct round *r, struct coordinator_item **items, int32_t n)
{
    struct fail why = {.text = ""};
    forget_answers(items, n);
    bool ok = r->step(r->asker, items[0]->at.id, items, n, r->arena, &why),
         again = !ok && is_silence(r->asker, r->call->repeatable);
    for (int32_t i = 0; i < n; i++)
        if (!ok)
            note_failure(r, items[i], &why, again);
        else if (items[i]->answered && coordinator_is_away(items[i]->error))
            r->open[r->kept++] = items[i];
}

static int32_t same_broker(struct coordinator_item **items, int32_t n)
{
    int32_t same = 1;
    while (same < n && items[same]->at.id == items[0]->at.id)
        same++;
    return same;
}

static void ask_round(struct round *r, int64_t deadline)
{
    struct coordinator_item **found = ARENA_ARRAY(r->arena, struct coordinator_item *, r->open_count);
    ask_until(r->asker, deadline);
    int32_t count = find_all(r, found), brokers = 0;
    if (count > 0)
        qsort(found, (size_t)count, sizeof(*found), coordinators_by_broker);
    for (int32_t i = 0; i < count; i += same_broker(found + i, count - i))
        brokers++;
    for (int32_t i = 0, n; i < count; i += n, brokers--) {
        int64_t now = clock_mono_ms();
        n = same_broker(found + i, count - i);
        ask_until(r->asker, now + MAX(deadline - now, INT64_C(0)) / MAX(brokers, 1));
        coordinators_ask_one(r, found + i, n);
    }
    r->open_count = r->kept;
}

/* Who was cut short by the deadline knows less of the trouble than the round before. */
static void keep_reasons(struct coordinator_item **items, const struct coordinator_item *before, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        if (!items[i]->answered && (before[i].answered || before[i].why != NULL))
            *items[i] = before[i];
}

/* False: it is over. */
static bool ask_again(struct round *r, int64_t deadline)
{
    int32_t n = r->open_count;
    struct coordinator_item **items = arena_copy(r->arena, r->open, sizeof(*items) * (size_t)n),
                            *before = ARENA_ARRAY(r->arena, struct coordinator_item, n);
    for (int32_t i = 0; i < n; i++)
        before[i] = *items[i];
    ask_round(r, deadline);
    bool over = clock_mono_ms() >= deadline;
    if (over)
        keep_reasons(items, before, n);
    return !over && r->open_count > 0;
}

void coordinator_ask_all(struct asker *asker, const struct coordinator_call *call, coordinator_step_of_all *step,
                         struct coordinator_item *items, int32_t n, struct arena *a)
{
    struct round r = {.asker = asker,
                      .call = call,
                      .step = step,
                      .open = ARENA_ARRAY(a, struct coordinator_item *, n + 1),
                      .arena = a};
    int64_t deadline = clock_mono_ms() + call->timeout_ms;
    for (; r.open_count < n; r.open_count++)
        r.open[r.open_count] = &items[r.open_count];
    while (n > 0 && ask_again(&r, deadline))
        usleep(RETRY_US);
    ask_until(asker, INT64_MAX);
}

/* ---- Of all brokers ---- */

bool coordinator_list(struct asker *asker, int32_t broker, const struct coordinator_list_call *call, struct arena *a,
                      struct fail *fail)
{
    for (;;) {
        struct fail why = {.text = ""};
        bool ok = ask(asker, broker, call->key, call->min_version, call->request, call->response, NULL, a, &why),
             again = ok ? coordinator_is_away(*call->error) : is_silence(asker, true);
        if (!again || clock_mono_ms() >= call->deadline_ms)
            return fail_unless(ok, &why, fail);
        usleep(RETRY_US);
    }
}
