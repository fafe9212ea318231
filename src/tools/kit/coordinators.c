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
