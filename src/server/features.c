/*
 * UpdateFeatures (KIP-584). Kafka 3.9 with ZooKeeper has no feature whose level could be finalized, so that every
 * update is refused; what is said depends on what was asked.
 */
#include <inttypes.h>

#include "protocol/msg/update_features.h"
#include "server/authorize.h"

enum { UPGRADE = 1, SAFE_DOWNGRADE = 2, UNSAFE_DOWNGRADE = 3 };

struct updating {
    struct update_features_request request;
    enum kafka_error error;
};

static struct str refusal(struct request *r, const struct update_features_feature_update_key *u)
{
    int8_t type = r->version == 0 && u->allow_downgrade ? SAFE_DOWNGRADE : u->upgrade_type;
    if (u->feature.len == 0)
        return STR_LIT("Feature name can not be empty.");
    if (type != UPGRADE && type != SAFE_DOWNGRADE && type != UNSAFE_DOWNGRADE)
        return STR_LIT("Received unknown upgrade type.");
    if (u->max_version_level < 1 && type != UPGRADE)
        return STR_LIT("Can not delete non-existing finalized feature.");
    if (u->max_version_level < 1)
        return arena_printf(r->arena,
                            "Can not provide versionLevel: %" PRId16
                            " less than 1 without setting the SAFE downgradeType in the request.",
                            u->max_version_level);
    return STR_LIT("Could not apply finalized feature update because the provided feature is not supported.");
}

static void features_answer(struct request *r)
{
    struct updating *u = r->state;
    struct update_features_response response;
    int32_t count = u->error == ERR_NONE ? u->request.feature_updates.len : 0;
    update_features_response_init(&response);
    response.error_code = (int16_t)u->error;
    if (u->error != ERR_NONE)
        response.error_message = str_of(error_message((int16_t)u->error));
    ARRAY_MAKE(r->arena, response.results, count);
    for (int32_t i = 0; i < count; i++) {
        struct update_features_updatable_feature_result *o = &response.results.items[i];
        update_features_updatable_feature_result_init(o);
        o->feature = u->request.feature_updates.items[i].feature;
        o->error_code = ERR_INVALID_REQUEST;
        o->error_message = refusal(r, &u->request.feature_updates.items[i]);
    }
    ANSWER(r, update_features_response, &response);
}

static void ask_controller(struct request *r)
{
    struct updating *u = r->state;
    u->error = controller_is_active(r->s->controller) ? ERR_NONE : ERR_NOT_CONTROLLER;
    request_return(r, features_answer);
}

static void features_handle(struct request *r)
{
    struct updating *u = ARENA_NEW(r->arena, struct updating);
    if (!DECODE(r, update_features_request, &u->request))
        return;
    r->state = u;
    if (allowed_cluster(r, ACL_ALTER)) {
        request_hop(r, r->s->control_loop, ask_controller);
        return;
    }
    u->error = ERR_CLUSTER_AUTHORIZATION_FAILED;
    features_answer(r);
}

const struct api_entry api_update_features = {
    .key = API_UPDATE_FEATURES, .min = 0, .max = 1, .handle = features_handle};
