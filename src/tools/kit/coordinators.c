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

static bool ask_once(struct asker *asker, const struct coordinator_call *call, int16_t *error, struct arena *a,
                     struct fail *fail)
{
    struct coordinator at;
    if (!find_coordinator(asker, call, &at, error, a, fail))
        return false;
    return *error != ERR_NONE || call->step(asker, &at, call->arg, error, a, fail);
}

bool coordinator_ask(struct asker *asker, const struct coordinator_call *call, int16_t *error, struct arena *a,
                     struct fail *fail)
{
    int64_t deadline = clock_mono_ms() + call->timeout_ms;
    bool ok;
    while ((ok = ask_once(asker, call, error, a, fail)) && coordinator_is_away(*error) && clock_mono_ms() < deadline)
        usleep(RETRY_US);
    return ok;
}
