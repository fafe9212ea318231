/* AlterPartitionReassignments and ListPartitionReassignments (KIP-455): questions to the controller. */
#include "protocol/msg/alter_partition_reassignments.h"
#include "protocol/msg/list_partition_reassignments.h"
#include "server/authorize.h"

static struct str controller_error_text(enum kafka_error error)
{
    return error == ERR_NONE ? STR_NULL : str_of(error_message((int16_t)error));
}

/* ---- Alter ---- */

struct alteration {
    struct request *r;
    struct alter_partition_reassignments_request request;
    struct reassign_call call;
    enum kafka_error error;
};

static void fill_results(struct request *r, const struct alteration *a,
                         struct alter_partition_reassignments_response *out)
{
    const struct reassign_item *item = a->call.items;
    ARRAY_MAKE(r->arena, out->responses, a->request.topics.len);
    for (int32_t t = 0; t < a->request.topics.len; t++) {
        struct alter_partition_reassignments_reassignable_topic_response *topic = &out->responses.items[t];
        int32_t count = a->request.topics.items[t].partitions.len;
        alter_partition_reassignments_reassignable_topic_response_init(topic);
        topic->name = a->request.topics.items[t].name;
        ARRAY_MAKE(r->arena, topic->partitions, count);
        for (int32_t i = 0; i < count; i++, item++) {
            alter_partition_reassignments_reassignable_partition_response_init(&topic->partitions.items[i]);
            topic->partitions.items[i].partition_index = item->partition;
            topic->partitions.items[i].error_code = (int16_t)item->error;
            topic->partitions.items[i].error_message =
                item->message.p != NULL ? item->message : controller_error_text(item->error);
        }
    }
    ensure(item == a->call.items + a->call.count);
}

static void reassignments_answer_alteration(struct request *r)
{
    const struct alteration *a = r->state;
    struct alter_partition_reassignments_response response;
    alter_partition_reassignments_response_init(&response);
    response.error_code = (int16_t)a->error;
    response.error_message = a->error == ERR_NONE ? STR_LIT("") : controller_error_text(a->error);
    if (a->error == ERR_NONE || a->error == ERR_CLUSTER_AUTHORIZATION_FAILED)
        fill_results(r, a, &response);
    ANSWER(r, alter_partition_reassignments_response, &response);
}

static void reassignments_altered(struct controller_call *call, enum kafka_error error)
{
    struct alteration *a = CONTAINER_OF(CONTAINER_OF(call, struct reassign_call, call), struct alteration, call);
    a->error = error;
    request_return(a->r, reassignments_answer_alteration);
}

static void reassignments_alter(struct request *r)
{
    struct alteration *a = r->state;
    controller_reassign(r->s->controller, &a->call);
}

static void reassignments_list_items(struct request *r, struct alteration *a)
{
    int32_t count = 0;
    for (int32_t t = 0; t < a->request.topics.len; t++)
        count += a->request.topics.items[t].partitions.len;
    a->call.items = ARENA_ARRAY(r->arena, struct reassign_item, MAX(count, 1));
    for (int32_t t = 0; t < a->request.topics.len; t++) {
        const struct alter_partition_reassignments_reassignable_topic *topic = &a->request.topics.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            const struct alter_partition_reassignments_reassignable_partition *p = &topic->partitions.items[i];
            a->call.items[a->call.count++] = (struct reassign_item){.topic = topic->name,
                                                                    .partition = p->partition_index,
                                                                    .target = {p->replicas.items, p->replicas.len},
                                                                    .cancel = p->replicas.len < 0};
        }
    }
}

static void reassignments_handle_alter(struct request *r)
{
    struct alteration *a = ARENA_NEW(r->arena, struct alteration);
    if (!DECODE(r, alter_partition_reassignments_request, &a->request))
        return;
    a->r = r;
    a->call = (struct reassign_call){.call = {.done = reassignments_altered}, .arena = r->arena};
    reassignments_list_items(r, a);
    r->state = a;
    if (allowed_cluster(r, ACL_ALTER)) {
        request_hop(r, r->s->control_loop, reassignments_alter);
        return;
    }
    a->error = ERR_CLUSTER_AUTHORIZATION_FAILED;
    for (int32_t i = 0; i < a->call.count; i++)
        a->call.items[i].error = a->error;
    reassignments_answer_alteration(r);
}

const struct api_entry api_alter_partition_reassignments = {
    .key = API_ALTER_PARTITION_REASSIGNMENTS, .min = 0, .max = 0, .handle = reassignments_handle_alter};

/* ---- List ---- */

struct listing {
    struct request *r;
    struct list_reassignments_call call;
    enum kafka_error error;
};

static int reassignments_by_topic(const void *a, const void *b)
{
    const struct reassignment *x = a, *y = b;
    return partition_order(x->topic, x->partition, y->topic, y->partition);
}

static void reassignments_fill_topic(struct request *r, const struct reassignment *list, int32_t count,
                                     struct list_partition_reassignments_ongoing_topic_reassignment *out)
{
    list_partition_reassignments_ongoing_topic_reassignment_init(out);
    out->name = list[0].topic;
    ARRAY_MAKE(r->arena, out->partitions, count);
    for (int32_t i = 0; i < count; i++) {
        struct list_partition_reassignments_ongoing_partition_reassignment *p = &out->partitions.items[i];
        list_partition_reassignments_ongoing_partition_reassignment_init(p);
        p->partition_index = list[i].partition;
        p->replicas.items = list[i].replicas.v;
        p->replicas.len = list[i].replicas.n;
        p->adding_replicas.items = list[i].adding.v;
        p->adding_replicas.len = list[i].adding.n;
        p->removing_replicas.items = list[i].removing.v;
        p->removing_replicas.len = list[i].removing.n;
    }
}

static void answer_listing(struct request *r)
{
    const struct listing *l = r->state;
    struct list_partition_reassignments_response response;
    int32_t count = l->call.found_count;
    list_partition_reassignments_response_init(&response);
    response.error_code = (int16_t)l->error;
    response.error_message = l->error == ERR_NONE ? STR_LIT("") : controller_error_text(l->error);
    ARRAY_MAKE(r->arena, response.topics, count);
    response.topics.len = 0;
    if (count > 0)
        qsort(l->call.found, (size_t)count, sizeof(*l->call.found), reassignments_by_topic);
    for (int32_t i = 0, same; i < count; i = same) {
        for (same = i + 1; same < count && str_eq(l->call.found[same].topic, l->call.found[i].topic);)
            same++;
        reassignments_fill_topic(r, &l->call.found[i], same - i, &response.topics.items[response.topics.len++]);
    }
    ANSWER(r, list_partition_reassignments_response, &response);
}

static void listed(struct controller_call *call, enum kafka_error error)
{
    struct listing *l = CONTAINER_OF(CONTAINER_OF(call, struct list_reassignments_call, call), struct listing, call);
    l->error = error;
    request_return(l->r, answer_listing);
}

static void reassignments_list(struct request *r)
{
    struct listing *l = r->state;
    controller_list_reassignments(r->s->controller, &l->call);
}

static void list_asked(struct request *r, const struct list_partition_reassignments_request *request,
                       struct list_reassignments_call *call)
{
    int32_t count = 0;
    for (int32_t t = 0; t < request->topics.len; t++)
        count += request->topics.items[t].partition_indexes.len;
    struct topic_partition_entry *asked = ARENA_ARRAY(r->arena, struct topic_partition_entry, MAX(count, 1));
    call->asked = asked;
    for (int32_t t = 0; t < request->topics.len; t++) {
        const char *topic = arena_cstr(r->arena, request->topics.items[t].name);
        for (int32_t i = 0; i < request->topics.items[t].partition_indexes.len; i++)
            asked[call->asked_count++] = (struct topic_partition_entry){
                .topic = topic, .partition = request->topics.items[t].partition_indexes.items[i]};
    }
}

static void handle_list(struct request *r)
{
    struct list_partition_reassignments_request request;
    struct listing *l = ARENA_NEW(r->arena, struct listing);
    if (!DECODE(r, list_partition_reassignments_request, &request))
        return;
    l->r = r;
    l->call = (struct list_reassignments_call){.call = {.done = listed}, .arena = r->arena};
    if (request.topics.len >= 0)
        list_asked(r, &request, &l->call);
    r->state = l;
    if (allowed_cluster(r, ACL_DESCRIBE)) {
        request_hop(r, r->s->control_loop, reassignments_list);
        return;
    }
    l->error = ERR_CLUSTER_AUTHORIZATION_FAILED;
    answer_listing(r);
}

const struct api_entry api_list_partition_reassignments = {
    .key = API_LIST_PARTITION_REASSIGNMENTS, .min = 0, .max = 0, .handle = handle_list};
