/* What kind of broker each is: one of ours has keys that Apache's does not know. */
#include <stdio.h>

#include "monitor/round_internal.h"
#include "protocol/msg/describe_configs.h"

enum { RESOURCE_BROKER = 4, NUMBER_ROOM = 12 };

static const char protocol_key[] = "inter.broker.protocol.version", own_key[] = "barnabas.http.listeners";

static void take_kind(struct round *r, struct ask *a)
{
    const struct describe_configs_response *response = a->response;
    struct look_broker *broker = look_broker(r->look, a->broker);
    for (int32_t i = 0; broker != NULL && i < response->results.len; i++)
        for (int32_t c = 0; c < response->results.items[i].configs.len; c++) {
            struct str key = response->results.items[i].configs.items[c].name;
            struct str value = response->results.items[i].configs.items[c].value;
            broker->is_barnabas |= str_is(key, own_key);
            if (str_is(key, protocol_key) && value.p != NULL)
                broker->protocol = arena_cstr(&r->look->memory, value);
        }
}

/* Each knows only its own. */
static void ask_kind(struct round *r, int32_t id)
{
    struct ask *a = round_ask_new(r, id, API_DESCRIBE_CONFIGS, take_kind);
    struct describe_configs_request *request = a->request;
    ARRAY_MAKE(&a->memory, request->resources, 1);
    struct describe_configs_resource *resource = &request->resources.items[0];
    describe_configs_resource_init(resource);
    resource->resource_type = RESOURCE_BROKER;
    char *name = arena_alloc(&a->memory, NUMBER_ROOM);
    snprintf(name, NUMBER_ROOM, "%d", (int)id);
    resource->resource_name = str_of(name);
    ARRAY_MAKE(&a->memory, resource->configuration_keys, 2);
    resource->configuration_keys.items[0] = str_of(protocol_key);
    resource->configuration_keys.items[1] = str_of(own_key);
    round_ask(r, a);
}

void round_ask_brokers(struct round *r)
{
    for (int32_t i = 0; r->look->scope == LOOK_ALL && i < r->look->broker_count; i++)
        ask_kind(r, r->look->brokers[i].broker->id);
}
