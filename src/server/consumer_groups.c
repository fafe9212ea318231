/*
 * Groups of the new protocol (KIP-848): a cluster with ZooKeeper has none, and says so to who asks, as Apache Kafka
 * does. Clients then speak of groups by the classic protocol.
 */
#include "protocol/msg/consumer_group_describe.h"
#include "protocol/msg/consumer_group_heartbeat.h"
#include "server/server_internal.h"

static void handle_heartbeat(struct request *r)
{
    struct consumer_group_heartbeat_request request;
    struct consumer_group_heartbeat_response response;
    if (!DECODE(r, consumer_group_heartbeat_request, &request))
        return;
    consumer_group_heartbeat_response_init(&response);
    response.error_code = ERR_UNSUPPORTED_VERSION;
    ANSWER(r, consumer_group_heartbeat_response, &response);
}

const struct api_entry api_consumer_group_heartbeat = {
    .key = API_CONSUMER_GROUP_HEARTBEAT, .min = 0, .max = 0, .handle = handle_heartbeat};

static void consumer_groups_api_handle_describe(struct request *r)
{
    struct consumer_group_describe_request request;
    struct consumer_group_describe_response response;
    if (!DECODE(r, consumer_group_describe_request, &request))
        return;
    consumer_group_describe_response_init(&response);
    ARRAY_MAKE(r->arena, response.groups, MAX(request.group_ids.len, 0));
    for (int32_t i = 0; i < request.group_ids.len; i++) {
        struct consumer_group_describe_described_group *o = &response.groups.items[i];
        consumer_group_describe_described_group_init(o);
        o->group_id = request.group_ids.items[i];
        o->error_code = ERR_UNSUPPORTED_VERSION;
    }
    ANSWER(r, consumer_group_describe_response, &response);
}

const struct api_entry api_consumer_group_describe = {
    .key = API_CONSUMER_GROUP_DESCRIBE, .min = 0, .max = 0, .handle = consumer_groups_api_handle_describe};
