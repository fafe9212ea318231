#include "tools/cluster/cluster_endpoint.h"

#include "protocol/error.h"
#include "protocol/msg/describe_cluster.h"

enum { ENDPOINT_CONTROLLER = 2 };

/* A broker refuses who takes it for a controller. */
static bool is_controller(struct asker *asker, struct fail *fail)
{
    struct arena a = {0};
    struct describe_cluster_request request;
    struct describe_cluster_response response;
    describe_cluster_request_init(&request);
    request.endpoint_type = ENDPOINT_CONTROLLER;
    bool ok = ask(asker, ASK_ANY, API_DESCRIBE_CLUSTER, 1, &request, &response, NULL, &a, fail);
    if (ok && response.error_code != ERR_NONE) {
        struct str why = ask_exception_text(&a, response.error_code, response.error_message);
        ok = fail_set(fail, "%.*s", STR_ARGS(why));
    }
    arena_deinit(&a);
    return ok;
}

struct asker *cluster_endpoint(const struct command_line *c, const char *config, struct fail *fail)
{
    bool controller = command_line_has(c, "bootstrap-controller");
    struct asker *asker = asker_new(command_line_get(c, controller ? "bootstrap-controller" : "bootstrap-server"),
                                    command_line_get(c, config), fail);
    if (asker == NULL || !controller || is_controller(asker, fail))
        return asker;
    asker_free(asker);
    return NULL;
}
