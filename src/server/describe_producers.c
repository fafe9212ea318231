/* DescribeProducers (KIP-664): what a replica knows of the producers that have written to it. */
#include "protocol/msg/describe_producers.h"

#include "controller/admin.h"
#include "server/authorize.h"

static void describe_producers_of(struct request *r, struct partition *p,
                                  struct describe_producers_partition_response *out)
{
    struct producer_state *states;
    int32_t count = plog_producers(partition_log(p), r->arena, &states);
    ARRAY_MAKE(r->arena, out->active_producers, count);
    for (int32_t i = 0; i < count; i++) {
        struct describe_producers_producer_state *o = &out->active_producers.items[i];
        o->producer_id = states[i].id;
        o->producer_epoch = states[i].epoch;
        o->last_sequence = states[i].last_sequence;
        o->last_timestamp = states[i].last_timestamp;
        o->coordinator_epoch = states[i].coordinator_epoch;
        o->current_txn_start_offset = states[i].txn_first_offset;
    }
}

/* Of a topic that nobody knows it is said in words. */
static void describe_producers_refuse(struct request *r, struct str topic, int32_t index,
                                      struct describe_producers_partition_response *out)
{
    out->error_code = partition_missing(r->s, topic, index);
    if (view_topic(view_current(), topic) == NULL)
        out->error_message = str_of(error_message(out->error_code));
}

static void describe_partition(struct request *r, struct str topic, int32_t index, bool denied,
                               struct describe_producers_partition_response *out)
{
    describe_producers_partition_response_init(out);
    out->partition_index = index;
    struct str problem = topic_name_problem(r->arena, topic);
    if (problem.p != NULL) {
        out->error_code = ERR_INVALID_TOPIC_EXCEPTION;
        out->error_message = problem;
        return;
    }
    if (denied) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        out->error_message = str_of(error_message(ERR_TOPIC_AUTHORIZATION_FAILED));
        return;
    }
    struct partition *p = replica_partition(r->s->replicas, topic, index);
    if (p != NULL)
        describe_producers_of(r, p, out);
    else
        describe_producers_refuse(r, topic, index, out);
    partition_unref(p);
}

static void describe_producers_handle(struct request *r)
{
    struct describe_producers_request request;
    struct describe_producers_response response;
    if (!DECODE(r, describe_producers_request, &request))
        return;
    describe_producers_response_init(&response);
    ARRAY_MAKE(r->arena, response.topics, MAX(request.topics.len, 0));
    for (int32_t t = 0; t < request.topics.len && !request_is_spent(r); t++) {
        const struct describe_producers_topic_request *in = &request.topics.items[t];
        struct describe_producers_topic_response *out = &response.topics.items[t];
        out->name = in->name;
        ARRAY_MAKE(r->arena, out->partitions, MAX(in->partition_indexes.len, 0));
        bool legal = topic_name_is_legal(in->name); /* of others nobody asks who may read them */
        bool denied = legal && !allowed_topic(r, ACL_READ, in->name, in->partition_indexes.len);
        for (int32_t i = 0; i < in->partition_indexes.len && !request_is_spent(r); i++)
            describe_partition(r, in->name, in->partition_indexes.items[i], denied, &out->partitions.items[i]);
    }
    ANSWER(r, describe_producers_response, &response);
}

const struct api_entry api_describe_producers = {
    .key = API_DESCRIBE_PRODUCERS, .min = 0, .max = 0, .handle = describe_producers_handle};
