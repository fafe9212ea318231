/*
 * FindCoordinator (KIP-699: several at a time): who leads the partition that a group or transactional id lives in, by
 * the hash of its name. It is what a client asks before all else; so the internal topic is made for whoever asks first,
 * and he is told COORDINATOR_NOT_AVAILABLE until it has leaders.
 */
#include "protocol/msg/find_coordinator.h"

#include "cluster/internal_topics.h"
#include "server/authorize.h"

enum { KEY_GROUP = 0, KEY_TRANSACTION = 1, KEY_SHARE = 2, SEVERAL_SINCE = 4, SHARE_SINCE = 6 };

struct finding {
    struct find_coordinator_request request;
    enum kafka_error *denials; /* of each key */
    struct topic_creation creation;
};

struct found {
    enum kafka_error error;
    int32_t node_id, port;
    struct str host;
};

static struct found nobody(enum kafka_error error)
{
    return (struct found){error, -1, -1, STR_LIT("")};
}

static struct str topic_of(int8_t type)
{
    return type == KEY_TRANSACTION ? STR_LIT(TRANSACTION_STATE_TOPIC) : STR_LIT(GROUP_METADATA_TOPIC);
}

static enum kafka_error find_coordinator_check(const struct request *r, int8_t type, struct str key)
{
    if (type == KEY_TRANSACTION && !allowed(r, ACL_DESCRIBE, ACL_TRANSACTIONAL_ID, key))
        return ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    if (type == KEY_GROUP && !allowed(r, ACL_DESCRIBE, ACL_GROUP, key))
        return ERR_GROUP_AUTHORIZATION_FAILED;
    if (type == KEY_SHARE && r->version >= SHARE_SINCE && !allowed_cluster(r, ACL_CLUSTER_ACTION))
        return ERR_CLUSTER_AUTHORIZATION_FAILED;
    return ERR_NONE;
}

/* Whether any key may be looked for. */
static bool find_coordinator_check_keys(struct request *r, struct finding *f, int8_t type)
{
    int32_t count = r->version >= SEVERAL_SINCE ? MAX(f->request.coordinator_keys.len, 0) : 1;
    bool any = false;
    f->denials = ARENA_ARRAY(r->arena, enum kafka_error, MAX(count, 1));
    for (int32_t i = 0; i < count; i++) {
        struct str key = r->version >= SEVERAL_SINCE ? f->request.coordinator_keys.items[i] : f->request.key;
        f->denials[i] = find_coordinator_check(r, type, key);
        any |= f->denials[i] == ERR_NONE;
    }
    return any;
}

static struct found find_coordinator_of(struct request *r, int8_t type, struct str key, enum kafka_error denied)
{
    if (denied != ERR_NONE)
        return nobody(denied);
    const struct view *v = view_current();
    const struct view_topic *topic = view_topic(v, topic_of(type));
    if (type == KEY_SHARE && r->version >= SHARE_SINCE) /* a later Kafka's */
        return nobody(ERR_COORDINATOR_NOT_AVAILABLE);
    if (type != KEY_GROUP && type != KEY_TRANSACTION)
        return nobody(ERR_INVALID_REQUEST);
    if (topic == NULL)
        return nobody(ERR_COORDINATOR_NOT_AVAILABLE);
    struct state_topic *state = type == KEY_GROUP ? group_topic(r->s->groups) : txn_topic(r->s->transactions);
    const struct view_partition *p =
        view_topic_partition(topic, state_topic_number_of(state, key, view_topic_width(topic)));
    const struct registration *b = p != NULL ? view_broker(v, p->leader) : NULL;
    const struct endpoint *e = b ? registration_endpoint(b, request_listener(r)) : NULL;
    if (e == NULL)
        return nobody(ERR_COORDINATOR_NOT_AVAILABLE);
    return (struct found){ERR_NONE, b->id, e->port, arena_str(r->arena, str_of(e->host))};
}

static void answer_one(struct request *r, const struct finding *f, struct find_coordinator_response *out)
{
    struct found x =
        find_coordinator_of(r, r->version >= 1 ? f->request.key_type : KEY_GROUP, f->request.key, f->denials[0]);
    out->error_code = x.error;
    out->error_message = x.error == ERR_NONE ? STR_LIT("NONE") : str_of(error_message((int16_t)x.error));
    out->node_id = x.node_id;
    out->host = x.host;
    out->port = x.port;
}

static void answer_several(struct request *r, const struct finding *f, struct find_coordinator_response *out)
{
    /* Words come only with what fails before any key is looked at. */
    bool kept = f->request.key_type >= KEY_GROUP && f->request.key_type <= KEY_SHARE;
    ARRAY_MAKE(r->arena, out->coordinators, MAX(f->request.coordinator_keys.len, 0));
    for (int32_t i = 0; i < f->request.coordinator_keys.len; i++) {
        struct find_coordinator_coordinator *o = &out->coordinators.items[i];
        struct found x =
            find_coordinator_of(r, f->request.key_type, f->request.coordinator_keys.items[i], f->denials[i]);
        find_coordinator_coordinator_init(o);
        o->key = f->request.coordinator_keys.items[i];
        o->error_code = x.error;
        o->error_message = kept ? STR_LIT("") : str_of(error_message((int16_t)x.error));
        o->node_id = x.node_id;
        o->host = x.host;
        o->port = x.port;
    }
}

static void answer_find(struct request *r)
{
    struct finding *f = r->state;
    struct find_coordinator_response response;
    find_coordinator_response_init(&response);
    if (r->version >= SEVERAL_SINCE)
        answer_several(r, f, &response);
    else
        answer_one(r, f, &response);
    ANSWER(r, find_coordinator_response, &response);
}

static void handle_find(struct request *r)
{
    struct finding *f = ARENA_NEW(r->arena, struct finding);
    if (!DECODE(r, find_coordinator_request, &f->request))
        return;
    r->state = f;
    int8_t type = r->version >= 1 ? f->request.key_type : KEY_GROUP;
    bool known = type == KEY_GROUP || type == KEY_TRANSACTION;
    if (!find_coordinator_check_keys(r, f, type) || !known || view_topic(view_current(), topic_of(type)) != NULL) {
        answer_find(r);
        return;
    }
    f->creation.name = topic_of(type);
    create_topics_then(r, &f->creation, 1, answer_find);
}

const struct api_entry api_find_coordinator = {.key = API_FIND_COORDINATOR, .min = 0, .max = 6, .handle = handle_find};
