/*
 * Metadata and DescribeCluster: what this broker's view of the cluster says.
 *
 * A topic that is asked for and not there may be made (auto.create.topics.enable). The answer waits for ZooKeeper then,
 * but not for leaders: LEADER_NOT_AVAILABLE makes the client ask again in a moment, as it does for Apache's broker.
 */
#include "protocol/msg/metadata.h"

#include "base/str_set.h"
#include "cluster/internal_topics.h"
#include "controller/admin.h"
#include "protocol/msg/describe_cluster.h"
#include "server/authorize.h"

enum {
    ALL_TOPICS_BY_NULL_SINCE = 1,
};

enum metadata_denial { MAY_BE_SEEN, MAY_NOT_BE_SEEN, MAY_NOT_BE_MADE };

struct metadata {
    struct metadata_request request; /* each topic once, whatever was sent: as Kafka, which has a set of them */
    enum metadata_denial *denied;    /* of each topic that is asked for */
    struct topic_creation *missing;  /* in the request's order */
    int32_t missing_count;
};

static struct str text(const char *s)
{
    return str_of(s);
}

static void metadata_fill_brokers(struct request *r, const struct view *v, struct metadata_response *out)
{
    ARRAY_MAKE(r->arena, out->brokers, v->brokers->n);
    out->brokers.len = 0;
    for (int32_t i = 0; i < v->brokers->n; i++) {
        const struct registration *b = &v->brokers->v[i];
        const struct endpoint *e = registration_endpoint(b, request_listener(r));
        if (e == NULL)
            continue;
        struct metadata_response_broker *o = &out->brokers.items[out->brokers.len++];
        metadata_response_broker_init(o);
        o->node_id = b->id;
        o->host = arena_str(r->arena, text(e->host));
        o->port = e->port;
        o->rack = b->rack ? arena_str(r->arena, text(b->rack)) : STR_NULL;
    }
}

/* Only brokers that are alive and have the client's listener. */
static bool is_reachable(struct request *r, const struct view *v, int32_t id)
{
    const struct registration *b = view_broker(v, id);
    return b != NULL && registration_endpoint(b, request_listener(r)) != NULL;
}

struct ids {
    int32_t *items;
    int32_t len;
};

static struct ids copy_ids(struct request *r, const struct view *v, struct int_list list, bool reachable_only)
{
    struct ids out = {ARENA_ARRAY(r->arena, int32_t, MAX(list.n, 1)), 0};
    for (int32_t i = 0; i < list.n; i++)
        if (!reachable_only || is_reachable(r, v, list.v[i]))
            out.items[out.len++] = list.v[i];
    return out;
}

static struct ids offline_ids(struct request *r, const struct view *v, const struct view_partition *p)
{
    struct ids out = {ARENA_ARRAY(r->arena, int32_t, MAX(p->replicas.n, 1)), 0};
    for (int32_t i = 0; i < p->replicas.n; i++)
        if (!is_reachable(r, v, p->replicas.v[i]) || int_list_has(p->offline, p->replicas.v[i]))
            out.items[out.len++] = p->replicas.v[i];
    return out;
}

static void metadata_fill_partition(struct request *r, const struct view *v, const struct view_partition *p,
                                    struct metadata_response_partition *o)
{
    bool old = r->version == 0; /* which leaves out what it cannot reach */
    metadata_response_partition_init(o);
    o->partition_index = p->index;
    o->leader_id = p->leader;
    o->leader_epoch = p->leader_epoch;
    struct ids replicas = copy_ids(r, v, p->replicas, old), isr = copy_ids(r, v, p->isr, old);
    struct ids offline = offline_ids(r, v, p);
    o->replica_nodes.items = replicas.items;
    o->replica_nodes.len = replicas.len;
    o->isr_nodes.items = isr.items;
    o->isr_nodes.len = isr.len;
    o->offline_replicas.items = offline.items;
    o->offline_replicas.len = offline.len;
    if (!is_reachable(r, v, p->leader)) {
        o->error_code =
            view_broker(v, p->leader) != NULL && r->version >= 6 ? ERR_LISTENER_NOT_FOUND : ERR_LEADER_NOT_AVAILABLE;
        o->leader_id = -1;
    } else if (old && (replicas.len < p->replicas.n || isr.len < p->isr.n)) {
        o->error_code = ERR_REPLICA_NOT_AVAILABLE;
    }
}

static void metadata_fill_topic(struct request *r, const struct metadata *m, const struct view *v,
                                const struct view_topic *t, struct metadata_response_topic *o)
{
    metadata_response_topic_init(o);
    o->name = arena_str(r->arena, text(t->name));
    o->topic_id = t->id;
    o->is_internal = topic_is_internal(o->name);
    if (m->request.include_topic_authorized_operations)
        o->topic_authorized_operations = authorized_operations(r, ACL_TOPIC, o->name);
    ARRAY_MAKE(r->arena, o->partitions, t->partition_count);
    o->partitions.len = 0;
    for (int32_t i = 0; i < t->partition_count; i++)
        metadata_fill_partition(r, v, &t->partitions[i], &o->partitions.items[o->partitions.len++]);
}

static void fill_missing(struct request *r, struct str name, struct uuid id, enum kafka_error error,
                         struct metadata_response_topic *o)
{
    metadata_response_topic_init(o);
    o->name = r->version >= 12 || name.p != NULL ? name : STR_LIT("");
    o->topic_id = id;
    o->error_code = error;
    o->is_internal = topic_is_internal(name);
    ARRAY_MAKE(r->arena, o->partitions, 0);
}

static bool wants_all(const struct request *r, const struct metadata *m)
{
    return r->version < ALL_TOPICS_BY_NULL_SINCE ? m->request.topics.len == 0 : m->request.topics.len < 0;
}

/* Ids, where there are any, are all that counts; without them the names are. */
static void metadata_drop_repeated(struct request *r, struct metadata_request *in)
{
    struct str_set seen = {0};
    int32_t kept = 0;
    bool by_id = false;
    for (int32_t i = 0; i < in->topics.len; i++)
        by_id |= !uuid_is_zero(in->topics.items[i].topic_id);
    for (int32_t i = 0; i < in->topics.len; i++) {
        struct metadata_request_topic *t = &in->topics.items[i];
        struct str id = {(const char *)t->topic_id.b, sizeof(t->topic_id.b)};
        if (by_id)
            t->name = STR_NULL;
        if (by_id && uuid_is_zero(t->topic_id))
            continue;
        /* Kept ones move down to where others have been looked at: the set must not point there. */
        if (by_id ? str_set_add_copy(&seen, r->arena, id) : str_set_add(&seen, r->arena, t->name))
            in->topics.items[kept++] = *t;
    }
    if (in->topics.len > 0)
        in->topics.len = kept;
    str_set_deinit(&seen);
}

/*
 * No controller has told this broker of everything yet, of which the last is who is there: that a topic is not in its
 * view does not mean that there is none.
 */
static bool knows_nothing(const struct view *v)
{
    return v->brokers->n == 0;
}

/* `created`: what came of making it; NULL: nobody tried. */
static void fill_asked(struct request *r, const struct metadata *m, const struct view *v,
                       const struct metadata_request_topic *asked, const struct topic_creation *created,
                       struct metadata_response_topic *o)
{
    bool by_id = asked->name.p == NULL;
    const struct view_topic *t = by_id ? view_topic_by_id(v, asked->topic_id) : view_topic(v, asked->name);
    if (t != NULL)
        metadata_fill_topic(r, m, v, t, o);
    else if (by_id)
        fill_missing(r, STR_NULL, asked->topic_id, ERR_UNKNOWN_TOPIC_ID, o);
    else if (created != NULL)
        fill_missing(r, asked->name, UUID_ZERO, created->error == ERR_NONE ? ERR_LEADER_NOT_AVAILABLE : created->error,
                     o);
    else if (topic_name_problem(r->arena, asked->name).p != NULL)
        fill_missing(r, asked->name, UUID_ZERO, ERR_INVALID_TOPIC_EXCEPTION, o);
    else if (knows_nothing(v))
        fill_missing(r, asked->name, UUID_ZERO, ERR_LEADER_NOT_AVAILABLE, o);
    else
        fill_missing(r, asked->name, UUID_ZERO, ERR_UNKNOWN_TOPIC_OR_PARTITION, o);
    if (t == NULL && m->request.include_topic_authorized_operations && o->error_code == ERR_UNKNOWN_TOPIC_OR_PARTITION)
        o->topic_authorized_operations = authorized_operations(r, ACL_TOPIC, o->name);
}

/* Nothing but what was asked is said of it, whether it exists or not. */
static void fill_denied(struct request *r, const struct metadata_request_topic *asked, enum metadata_denial denied,
                        struct metadata_response_topic *o)
{
    bool by_id = asked->name.p == NULL;
    fill_missing(r, asked->name, by_id ? asked->topic_id : UUID_ZERO, ERR_TOPIC_AUTHORIZATION_FAILED, o);
    if (denied == MAY_NOT_BE_SEEN)
        o->is_internal = false;
}

static void fill_all_asked(struct request *r, const struct metadata *m, const struct view *v,
                           struct metadata_response *out)
{
    int32_t made = 0;
    ARRAY_MAKE(r->arena, out->topics, MAX(m->request.topics.len, 0));
    for (int32_t i = 0; i < m->request.topics.len && !request_is_spent(r); i++) {
        const struct metadata_request_topic *asked = &m->request.topics.items[i];
        bool tried = made < m->missing_count && str_eq(m->missing[made].name, asked->name);
        if (m->denied[i] != MAY_BE_SEEN)
            fill_denied(r, asked, m->denied[i], &out->topics.items[i]);
        else
            fill_asked(r, m, v, asked, tried ? &m->missing[made++] : NULL, &out->topics.items[i]);
    }
}

static int32_t cluster_operations(const struct request *r)
{
    return allowed_cluster(r, ACL_DESCRIBE) ? authorized_operations(r, ACL_CLUSTER, STR_LIT(ACL_CLUSTER_NAME)) : 0;
}

static void fill_all(struct request *r, const struct metadata *m, const struct view *v, struct metadata_response *out)
{
    ARRAY_MAKE(r->arena, out->topics, v->topic_count);
    out->topics.len = 0;
    for (int32_t i = 0; i < v->topic_count && !knows_nothing(v) && !request_is_spent(r); i++)
        if (allowed_to_see(r, ACL_DESCRIBE, ACL_TOPIC, str_of(v->by_name[i]->name)))
            metadata_fill_topic(r, m, v, v->by_name[i], &out->topics.items[out->topics.len++]);
}

static void metadata_answer(struct request *r)
{
    struct metadata *m = r->state;
    const struct view *v = view_current();
    struct metadata_response response;
    metadata_response_init(&response);
    metadata_fill_brokers(r, v, &response);
    response.cluster_id = text(r->s->cluster_id);
    response.controller_id = is_reachable(r, v, v->controller_id) ? v->controller_id : -1;
    if (m->request.include_cluster_authorized_operations)
        response.cluster_authorized_operations = cluster_operations(r);
    if (wants_all(r, m))
        fill_all(r, m, v, &response);
    else
        fill_all_asked(r, m, v, &response);
    ANSWER(r, metadata_response, &response);
}

static void find_denied(struct request *r, struct metadata *m)
{
    m->denied = ARENA_ARRAY(r->arena, enum metadata_denial, MAX(m->request.topics.len, 1));
    for (int32_t i = 0; has_authorizer(r) && i < m->request.topics.len; i++) {
        const struct metadata_request_topic *asked = &m->request.topics.items[i];
        const struct view_topic *t = asked->name.p == NULL ? view_topic_by_id(view_current(), asked->topic_id) : NULL;
        struct str name = t != NULL ? str_of(t->name) : asked->name;
        if (name.p != NULL && !allowed(r, ACL_DESCRIBE, ACL_TOPIC, name))
            m->denied[i] = MAY_NOT_BE_SEEN;
    }
}

/* Who may create in the cluster may create any topic. */
static bool may_create(const struct request *r, struct str name)
{
    return allowed_cluster_quietly(r, ACL_CREATE) || allowed(r, ACL_CREATE, ACL_TOPIC, name);
}

/* The topics that are to be made because somebody asked for them. */
static void collect_missing(struct request *r, struct metadata *m)
{
    bool allowed = r->s->config->auto_create_topics_enable &&
                   (r->version < 4 || m->request.allow_auto_topic_creation) && !knows_nothing(view_current());
    m->missing = ARENA_ARRAY(r->arena, struct topic_creation, MAX(m->request.topics.len, 1));
    for (int32_t i = 0; allowed && i < m->request.topics.len; i++) {
        struct str name = m->request.topics.items[i].name;
        if (name.p == NULL || m->denied[i] != MAY_BE_SEEN || view_topic(view_current(), name) != NULL)
            continue;
        if (!may_create(r, name))
            m->denied[i] = MAY_NOT_BE_MADE;
        else if (topic_name_problem(r->arena, name).p == NULL)
            m->missing[m->missing_count++] = (struct topic_creation){.name = name};
    }
}

/* Versions 10 and 11 have room for an id, or for no name, and mean neither. */
static bool means_nothing(const struct request *r, const struct metadata_request *in)
{
    bool nothing = false;
    for (int32_t i = 0; i < in->topics.len; i++)
        nothing |= !uuid_is_zero(in->topics.items[i].topic_id) || in->topics.items[i].name.p == NULL;
    return nothing && r->version >= 10 && r->version < 12;
}

static void refuse_whole(struct request *r, const struct metadata_request *in)
{
    struct metadata_response response;
    metadata_response_init(&response);
    ARRAY_MAKE(r->arena, response.topics, MAX(in->topics.len, 0));
    for (int32_t i = 0; i < in->topics.len; i++) {
        const struct metadata_request_topic *t = &in->topics.items[i];
        fill_missing(r, t->name.p != NULL ? t->name : STR_LIT(""), t->topic_id, ERR_INVALID_REQUEST,
                     &response.topics.items[i]);
    }
    response.cluster_id = STR_NULL;
    response.controller_id = -1;
    ANSWER(r, metadata_response, &response);
}

static void handle_metadata(struct request *r)
{
    struct metadata *m = ARENA_NEW(r->arena, struct metadata);
    if (!DECODE(r, metadata_request, &m->request))
        return;
    r->state = m;
    if (means_nothing(r, &m->request)) {
        refuse_whole(r, &m->request);
        return;
    }
    metadata_drop_repeated(r, &m->request);
    find_denied(r, m);
    collect_missing(r, m);
    if (m->missing_count > 0)
        create_topics_then(r, m->missing, m->missing_count, metadata_answer);
    else
        metadata_answer(r);
}

const struct api_entry api_metadata = {.key = API_METADATA, .min = 0, .max = 12, .handle = handle_metadata};

/* ---- DescribeCluster (KIP-700) ---- */

enum { ENDPOINT_BROKERS = 1, ENDPOINT_CONTROLLERS = 2 };

static void fill_cluster(struct request *r, struct describe_cluster_response *out)
{
    const struct view *v = view_current();
    out->cluster_id = text(r->s->cluster_id);
    out->controller_id = is_reachable(r, v, v->controller_id) ? v->controller_id : -1;
    ARRAY_MAKE(r->arena, out->brokers, v->brokers->n);
    out->brokers.len = 0;
    for (int32_t i = 0; i < v->brokers->n; i++) {
        const struct registration *b = &v->brokers->v[i];
        const struct endpoint *e = registration_endpoint(b, request_listener(r));
        if (e == NULL)
            continue;
        struct describe_cluster_broker *o = &out->brokers.items[out->brokers.len++];
        describe_cluster_broker_init(o);
        o->broker_id = b->id;
        o->host = arena_str(r->arena, text(e->host));
        o->port = e->port;
        o->rack = b->rack ? arena_str(r->arena, text(b->rack)) : STR_NULL;
    }
}

static void handle_describe_cluster(struct request *r)
{
    struct describe_cluster_request request;
    struct describe_cluster_response response;
    if (!DECODE(r, describe_cluster_request, &request))
        return;
    describe_cluster_response_init(&response);
    ARRAY_MAKE(r->arena, response.brokers, 0);
    response.cluster_id = STR_LIT("");
    if (r->version >= 1 && request.endpoint_type != ENDPOINT_BROKERS && request.endpoint_type != ENDPOINT_CONTROLLERS) {
        response.error_code = ERR_UNSUPPORTED_ENDPOINT_TYPE;
        response.error_message = arena_printf(r->arena, "Unsupported endpoint type %d", request.endpoint_type);
    } else if (r->version >= 1 && request.endpoint_type != ENDPOINT_BROKERS) {
        response.error_code = ERR_MISMATCHED_ENDPOINT_TYPE;
        response.error_message = STR_LIT("The request was sent to an endpoint of type BROKER, but we wanted an "
                                         "endpoint of type CONTROLLER");
    } else {
        fill_cluster(r, &response);
        if (request.include_cluster_authorized_operations)
            response.cluster_authorized_operations = cluster_operations(r);
    }
    ANSWER(r, describe_cluster_response, &response);
}

const struct api_entry api_describe_cluster = {
    .key = API_DESCRIBE_CLUSTER, .min = 0, .max = 1, .handle = handle_describe_cluster};
