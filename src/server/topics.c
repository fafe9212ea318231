/*
 * CreateTopics, CreatePartitions and DeleteTopics: only the controller's broker does them (KIP-4).
 *
 *     connection's loop   what can be said without anybody else: permissions, topics that are named twice
 *     control loop        if this is the controller's broker: what is to be is planned (controller/admin.c), and
 *                         written to ZooKeeper
 *     connection's loop   waits until this broker's own view shows it, as the client will ask here next; when its time
 *                         is over it is answered REQUEST_TIMED_OUT, though what was written will come to be
 *
 * An entry that is refused at one station passes the next ones with its error.
 */
#include "base/clock.h"
#include "base/str_set.h"
#include "base/topic_key.h"
#include "controller/admin.h"
#include "protocol/msg/create_partitions.h"
#include "protocol/msg/create_topics.h"
#include "protocol/msg/delete_topics.h"
#include "server/authorize.h"

/* Versions from which on a client knows THROTTLING_QUOTA_EXCEEDED. */
enum { CREATE_STRICT_SINCE = 6, DELETE_STRICT_SINCE = 5, GROW_STRICT_SINCE = 3 };

/* In one request: all are planned in one turn of the control loop. */
enum { MOST_TOPICS = 20000 };

/* A request that changes topics, through its three stations: control loop, ZooKeeper, and the view that shows it. */
struct change {
    struct request *r;
    struct topics_request work;
    void (*start)(struct topics_request *work);
    void (*answer)(struct request *r);
    bool (*visible)(const struct view *v, const struct topic_request *t);
    int32_t timeout_ms;
    struct quota_client client;
    bool strict;     /* it knows that it may be refused, when it has changed too much */
    int32_t wait_ms; /* that it has to pause for that, as of the time below; 0: not at all */
    int64_t counted_ms;
    bool *hides_configs;           /* CreateTopics: of each topic, that its settings may not be seen */
    bool *repeated;                /* of each: it is named again */
    int32_t *places;               /* DeleteTopics: where in `work` is what was asked for; NULL: in its place */
    int32_t asked;                 /* how many that are */
    struct str no_controller_text; /* said where this is not the controller */
    struct view_wait wait;
    union {
        struct create_topics_request create;
        struct delete_topics_request remove;
        struct create_partitions_request grow;
    } request;
};

static struct change *change_of(struct request *r)
{
    return r->state;
}

static void refuse_all(struct change *c, enum kafka_error error, struct str message)
{
    for (int32_t i = 0; i < c->work.count; i++) {
        c->work.topics[i].error = error;
        c->work.topics[i].message = message;
    }
}

/* True when it is answered. */
static bool refuse_too_many(struct change *c)
{
    if (c->work.count <= MOST_TOPICS)
        return false;
    refuse_all(c, ERR_POLICY_VIOLATION, STR_LIT("Excessively large number of topics per request."));
    c->answer(c->r);
    return true;
}

/* ---- How much a client may change (KIP-599) ---- */

static bool topics_api_may_change(struct topics_request *work, int32_t partitions)
{
    struct change *c = CONTAINER_OF(work, struct change, work);
    int32_t wait;
    int64_t now = clock_mono_ms();
    bool may = quotas_mutate(c->r->s->quotas, c->client, partitions, c->strict, now, &wait);
    if (wait > 0) {
        c->wait_ms = wait;
        c->counted_ms = now;
    }
    return may;
}

/* The time that the request has taken meanwhile is none to pause for any more. */
static void topics_api_judge(struct change *c)
{
    int64_t left = c->wait_ms - (clock_mono_ms() - c->counted_ms);
    if (c->wait_ms > 0)
        request_judge(c->r, (struct quota_verdict){QUOTA_MUTATION, (int32_t)MAX(left, INT64_C(0)), false});
}

/* ---- Waiting until clients can see it ---- */

static bool topics_api_is_visible(const struct change *c, const struct topic_request *t)
{
    return c->work.validate_only || t->error != ERR_NONE || c->visible(view_current(), t);
}

static bool topics_api_all_visible(struct request *r)
{
    const struct change *c = change_of(r);
    for (int32_t i = 0; i < c->work.count; i++)
        if (!topics_api_is_visible(c, &c->work.topics[i]))
            return false;
    return true;
}

static void topics_api_waited(struct request *r)
{
    struct change *c = change_of(r);
    for (int32_t i = 0; i < c->work.count; i++)
        if (!topics_api_is_visible(c, &c->work.topics[i]))
            c->work.topics[i].error = ERR_REQUEST_TIMED_OUT;
    c->answer(r);
}

static void topics_api_wait_until_visible(struct request *r)
{
    struct change *c = change_of(r);
    c->wait = (struct view_wait){.visible = topics_api_all_visible, .over = topics_api_waited};
    view_wait(r, &c->wait, c->timeout_ms);
}

/* ---- On the control loop ---- */

static void topics_api_on_written(struct topics_request *work)
{
    struct change *c = CONTAINER_OF(work, struct change, work);
    view_unref((struct view *)(uintptr_t)work->view);
    request_return(c->r, topics_api_wait_until_visible);
}

static void on_control_loop(struct request *r)
{
    struct change *c = change_of(r);
    ensure(loop_is_mine(r->s->control_loop) && c->visible != NULL);
    if (!controller_is_active(r->s->controller)) {
        refuse_all(c, ERR_NOT_CONTROLLER, c->no_controller_text);
        request_return(r, c->answer);
        return;
    }
    c->work.zk = r->s->zk;
    c->work.view = view_board_latest(r->s->board);
    c->start(&c->work);
}

static struct change *change_new(struct request *r, int16_t strict_since, void (*start)(struct topics_request *),
                                 void (*answer)(struct request *))
{
    struct change *c = ARENA_NEW(r->arena, struct change);
    c->r = r;
    c->start = start;
    c->answer = answer;
    c->work = (struct topics_request){.arena = r->arena, .config = r->s->config, .done = topics_api_on_written};
    c->strict = r->version >= strict_since;
    if (request_has_limit(r, QUOTA_MUTATION)) {
        c->client = request_quota_client_copy(r);
        c->work.may_change = topics_api_may_change;
    }
    r->state = c;
    return c;
}

static void change_topics(struct change *c, int32_t count)
{
    c->work.topics = ARENA_ARRAY(c->r->arena, struct topic_request, MAX(count, 1));
    c->work.count = MAX(count, 0);
}

static void refuse_duplicates(struct change *c, const char *why)
{
    struct arena *a = c->r->arena;
    struct str *names = ARENA_ARRAY(a, struct str, MAX(c->work.count, 1));
    int32_t named = 0;
    c->repeated = ARENA_ARRAY(a, bool, MAX(c->work.count, 1));
    for (int32_t i = 0; i < c->work.count; i++)
        if (c->work.topics[i].name.p != NULL)
            names[named++] = c->work.topics[i].name;
    struct str_set twice = str_set_of_repeated(a, names, named);
    for (int32_t i = 0; i < c->work.count; i++) {
        struct topic_request *t = &c->work.topics[i];
        if (t->name.p == NULL || !str_set_has(&twice, t->name))
            continue;
        t->error = ERR_INVALID_REQUEST;
        t->message = str_of(why);
        c->repeated[i] = true;
    }
    str_set_deinit(&twice);
}

/* ---- CreateTopics ---- */

static bool has_leaders(const struct view *v, const struct topic_request *t)
{
    const struct view_topic *topic = view_topic(v, t->name);
    if (topic == NULL || topic->partition_count < t->partitions)
        return false;
    for (int32_t i = 0; i < t->partitions; i++)
        if (topic->partitions[i].leader < 0)
            return false;
    return true;
}

static void fill_created_configs(struct request *r, const struct broker_config *now, const struct topic_request *t,
                                 struct create_topics_creatable_topic_result *out)
{
    size_t n;
    const struct config_key *keys = config_topic_keys(&n);
    ARRAY_MAKE(r->arena, out->configs, (int32_t)n);
    out->configs.len = 0;
    for (size_t i = 0; i < n; i++) {
        struct config_description d;
        if (!topic_config_describe(now, t->configs, (size_t)t->config_count, keys[i].name, r->arena, &d))
            continue;
        struct create_topics_creatable_topic_configs *o = &out->configs.items[out->configs.len++];
        create_topics_creatable_topic_configs_init(o);
        o->name = str_of(d.name);
        o->value = str_of(d.value);
        o->config_source = (int8_t)d.source;
        o->is_sensitive = d.sensitive;
        o->read_only = d.read_only;
    }
}

static void answer_create(struct request *r)
{
    struct change *c = change_of(r);
    struct create_topics_response response;
    const struct broker_config *now = broker_settings_hold(r->s->settings);
    create_topics_response_init(&response);
    ARRAY_MAKE(r->arena, response.topics, c->work.count);
    for (int32_t i = 0; i < c->work.count; i++) {
        const struct topic_request *t = &c->work.topics[i];
        struct create_topics_creatable_topic_result *out = &response.topics.items[i];
        create_topics_creatable_topic_result_init(out);
        out->name = t->name;
        out->topic_id = c->work.validate_only ? UUID_ZERO : t->id;
        out->error_code = t->error;
        out->error_message = t->message;
        bool untried = t->error == ERR_TOPIC_AUTHORIZATION_FAILED || c->repeated[i];
        if (c->hides_configs[i] && (t->error == ERR_NONE || untried)) {
            out->topic_config_error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
            out->topic_id = UUID_ZERO;
            continue;
        }
        if (t->error != ERR_NONE)
            continue;
        out->num_partitions = t->partitions;
        out->replication_factor = (int16_t)t->factor;
        if (r->version >= 5 && !request_is_spent(r))
            fill_created_configs(r, now, t, out);
    }
    topics_api_judge(c);
    ANSWER(r, create_topics_response, &response);
    broker_settings_release(now);
}

/* Assignments come in any order, and must be for partitions 0 to n-1. */
static void take_assignments(struct request *r, const struct create_topics_creatable_topic *in, struct topic_request *t)
{
    int32_t n = in->assignments.len;
    if (n <= 0)
        return;
    t->manual = ARENA_ARRAY(r->arena, struct int_list, n);
    t->manual_count = n;
    for (int32_t i = 0; i < n; i++) {
        int32_t p = in->assignments.items[i].partition_index;
        if (p < 0 || p >= n || t->manual[p].v != NULL) {
            t->manual_has_gap = true;
            break;
        }
        t->manual[p] = (struct int_list){in->assignments.items[i].broker_ids.items,
                                         MAX(in->assignments.items[i].broker_ids.len, 0)};
    }
    if (in->num_partitions != -1 || in->replication_factor != -1) {
        t->flaw = ERR_INVALID_REQUEST;
        t->flaw_message =
            STR_LIT("Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be "
                    "used at the same time.");
    }
}

/* Those without a value, all of them. */
static struct str null_configs(struct request *r, const struct create_topics_creatable_topic *in)
{
    struct strbuf names = {0};
    for (int32_t i = 0; i < in->configs.len; i++)
        if (in->configs.items[i].value.p == NULL)
            strbuf_printf(&names, "%s%.*s", names.len > 0 ? "," : "",
                          STR_ARGS(str_head(in->configs.items[i].name, MOST_SAID)));
    struct str text =
        names.len == 0 ? STR_NULL : arena_str(r->arena, str_head((struct str){names.p, (int32_t)names.len}, MOST_SAID));
    strbuf_deinit(&names);
    return text;
}

static void take_configs(struct request *r, const struct create_topics_creatable_topic *in, struct topic_request *t)
{
    struct str nulls = null_configs(r, in);
    t->configs = ARENA_ARRAY(r->arena, struct config_pair, MAX(in->configs.len, 1));
    if (nulls.p != NULL) {
        t->flaw = ERR_INVALID_CONFIG;
        t->flaw_message = arena_printf(r->arena, "Null value not supported for topic configs: %.*s", STR_ARGS(nulls));
        return;
    }
    for (int32_t i = 0; i < in->configs.len; i++) {
        if (str_has_zero(in->configs.items[i].name) || str_has_zero(in->configs.items[i].value)) {
            t->flaw = ERR_INVALID_CONFIG;
            t->flaw_message = STR_LIT("A config name or value holds a zero byte");
            return;
        }
        t->configs[t->config_count++] = (struct config_pair){arena_cstr(r->arena, in->configs.items[i].name),
                                                             arena_cstr(r->arena, in->configs.items[i].value)};
    }
}

static void refuse(struct topic_request *t, const char *why)
{
    t->error = ERR_TOPIC_AUTHORIZATION_FAILED;
    t->message = str_of(why);
}

/* Who may create in the cluster may create any topic. */
static void check_creation(struct change *c)
{
    struct request *r = c->r;
    c->hides_configs = ARENA_ARRAY(r->arena, bool, MAX(c->work.count, 1));
    if (!has_authorizer(r))
        return;
    bool any = allowed_cluster_quietly(r, ACL_CREATE);
    for (int32_t i = 0; i < c->work.count; i++) {
        struct topic_request *t = &c->work.topics[i];
        if (str_is(t->name, CLUSTER_METADATA_TOPIC))
            continue; /* nobody may, which topics_create() says */
        bool may = any || allowed(r, ACL_CREATE, ACL_TOPIC, t->name);
        c->hides_configs[i] = !allowed_to_see(r, ACL_DESCRIBE_CONFIGS, ACL_TOPIC, t->name);
        if (!may)
            refuse(t, "Authorization failed.");
    }
}

static void handle_create(struct request *r)
{
    struct change *c = change_new(r, CREATE_STRICT_SINCE, topics_create, answer_create);
    struct create_topics_request *request = &c->request.create;
    if (!DECODE(r, create_topics_request, request))
        return;
    change_topics(c, request->topics.len);
    c->work.validate_only = r->version >= 1 && request->validate_only;
    c->timeout_ms = request->timeout_ms;
    c->visible = has_leaders;
    c->no_controller_text = STR_LIT("");
    for (int32_t i = 0; i < c->work.count; i++) {
        struct topic_request *t = &c->work.topics[i];
        *t = (struct topic_request){.name = request->topics.items[i].name,
                                    .partitions = request->topics.items[i].num_partitions,
                                    .factor = request->topics.items[i].replication_factor};
        take_assignments(r, &request->topics.items[i], t);
        take_configs(r, &request->topics.items[i], t);
    }
    check_creation(c);
    refuse_duplicates(c, "Found multiple entries for this topic.");
    if (refuse_too_many(c))
        return;
    request_hop(r, r->s->control_loop, on_control_loop);
}

const struct api_entry api_create_topics = {.key = API_CREATE_TOPICS, .min = 0, .max = 7, .handle = handle_create};

/* ---- DeleteTopics ---- */

static bool topics_api_is_gone(const struct view *v, const struct topic_request *t)
{
    return view_topic(v, t->name) == NULL;
}

static void answer_delete(struct request *r)
{
    struct change *c = change_of(r);
    struct delete_topics_response response;
    delete_topics_response_init(&response);
    ARRAY_MAKE(r->arena, response.responses, c->asked);
    for (int32_t i = 0; i < c->asked; i++) {
        const struct topic_request *t = &c->work.topics[c->places != NULL ? c->places[i] : i];
        struct delete_topics_deletable_topic_result *out = &response.responses.items[i];
        delete_topics_deletable_topic_result_init(out);
        out->name = t->name;
        out->topic_id = t->id;
        out->error_code = t->error;
        out->error_message = t->message;
    }
    topics_api_judge(c);
    ANSWER(r, delete_topics_response, &response);
}

/* `now` is the newest view: another loop may have shown a topic to this client that this one does not know yet. */
static void name_topic(struct request *r, const struct view *now, struct topic_request *t)
{
    const struct view_topic *known = t->name.p != NULL ? view_topic(now, t->name) : view_topic_by_id(now, t->id);
    if (known == NULL) {
        t->error = t->name.p != NULL ? ERR_UNKNOWN_TOPIC_OR_PARTITION : ERR_UNKNOWN_TOPIC_ID;
    } else {
        t->name = arena_str(r->arena, str_of(known->name));
        t->id = known->id;
    }
}

/* Who knows the id of a topic is not told its name for that. An id that is not known is nothing to be denied. */
static void check_deletion(struct request *r, struct topic_request *t, struct str name, struct uuid id)
{
    bool by_id = name.p == NULL;
    if (!has_authorizer(r) || t->name.p == NULL)
        return;
    bool sees = allowed(r, ACL_DESCRIBE, ACL_TOPIC, t->name), deletes = allowed(r, ACL_DELETE, ACL_TOPIC, t->name);
    if (deletes && (sees || !by_id))
        return;
    t->error = ERR_TOPIC_AUTHORIZATION_FAILED;
    t->id = id;
    if (by_id && !sees)
        t->name = STR_NULL;
}

/* One of them is asked for by both: then none is looked at. */
static bool any_has_both(const struct change *c)
{
    for (int32_t i = 0; i < c->work.count; i++)
        if (c->work.topics[i].name.p != NULL && !uuid_is_zero(c->work.topics[i].id))
            return true;
    return false;
}

static void look_up_deleted(struct change *c)
{
    struct view *now = view_board_latest(c->r->s->board);
    for (int32_t i = 0; i < c->work.count; i++) {
        struct topic_request *t = &c->work.topics[i];
        struct str name = t->name;
        struct uuid id = t->id;
        name_topic(c->r, now, t);
        check_deletion(c->r, t, name, id);
    }
    view_unref(now);
}

static int topics_by_name_and_place(const void *a, const void *b)
{
    const struct topic_request *x = *(const struct topic_request *const *)a;
    const struct topic_request *y = *(const struct topic_request *const *)b;
    int order = str_cmp(x->name, y->name);
    return order != 0 ? order : (x > y) - (x < y);
}

/* Of each topic that can be deleted, the place of the first that names it; of others, their own. */
static int32_t *first_of_each(struct arena *a, const struct topic_request *topics, int32_t count)
{
    const struct topic_request **sorted = ARENA_ARRAY(a, const struct topic_request *, MAX(count, 1));
    int32_t *first = ARENA_ARRAY(a, int32_t, MAX(count, 1)), n = 0;
    for (int32_t i = 0; i < count; i++) {
        first[i] = i;
        if (topics[i].error == ERR_NONE)
            sorted[n++] = &topics[i];
    }
    qsort(sorted, (size_t)n, sizeof(*sorted), topics_by_name_and_place);
    for (int32_t i = 1; i < n; i++)
        if (str_eq(sorted[i]->name, sorted[i - 1]->name))
            first[sorted[i] - topics] = first[sorted[i - 1] - topics];
    return first;
}

/* A topic is deleted once, and counts once for how much may be changed, however often it is named. */
static void look_for_repeated(struct change *c)
{
    struct arena *a = c->r->arena;
    const struct topic_request *asked = c->work.topics;
    int32_t *first = first_of_each(a, asked, c->asked);
    c->places = ARENA_ARRAY(a, int32_t, MAX(c->asked, 1));
    c->work.topics = ARENA_ARRAY(a, struct topic_request, MAX(c->asked, 1));
    c->work.count = 0;
    for (int32_t i = 0; i < c->asked; i++) {
        ensure(first[i] <= i);
        c->places[i] = first[i] < i ? c->places[first[i]] : c->work.count;
        if (first[i] == i)
            c->work.topics[c->work.count++] = asked[i];
    }
}

static void check_topics_to_delete(struct request *r)
{
    struct change *c = change_of(r);
    if (!r->s->config->delete_topic_enable) {
        refuse_all(c, r->version < 3 ? ERR_INVALID_REQUEST : ERR_TOPIC_DELETION_DISABLED, STR_NULL);
        answer_delete(r);
    } else if (any_has_both(c)) {
        refuse_all(c, ERR_INVALID_REQUEST, STR_NULL);
        answer_delete(r);
    } else {
        look_up_deleted(c);
        look_for_repeated(c);
        request_hop(r, r->s->control_loop, on_control_loop);
    }
}

/* Only the controller says anything of topics: to the others they are named as they were asked for. */
static void find_controller(struct request *r)
{
    bool active = controller_is_active(r->s->controller);
    if (!active)
        refuse_all(change_of(r), ERR_NOT_CONTROLLER, STR_NULL);
    request_return(r, active ? check_topics_to_delete : answer_delete);
}

static void handle_delete(struct request *r)
{
    struct change *c = change_new(r, DELETE_STRICT_SINCE, topics_delete, answer_delete);
    const struct delete_topics_request *in = &c->request.remove;
    if (!DECODE(r, delete_topics_request, &c->request.remove))
        return;
    bool by_state = r->version >= 6;
    change_topics(c, by_state ? in->topics.len : in->topic_names.len);
    c->asked = c->work.count;
    c->timeout_ms = in->timeout_ms;
    c->visible = topics_api_is_gone;
    for (int32_t i = 0; i < c->work.count; i++)
        c->work.topics[i] =
            by_state ? (struct topic_request){.name = in->topics.items[i].name, .id = in->topics.items[i].topic_id}
                     : (struct topic_request){.name = in->topic_names.items[i]};
    if (refuse_too_many(c))
        return;
    request_hop(r, r->s->control_loop, find_controller);
}

const struct api_entry api_delete_topics = {.key = API_DELETE_TOPICS, .min = 0, .max = 6, .handle = handle_delete};

/* ---- CreatePartitions (KIP-195) ---- */

static void answer_grow(struct request *r)
{
    struct change *c = change_of(r);
    struct create_partitions_response response;
    create_partitions_response_init(&response);
    ARRAY_MAKE(r->arena, response.results, c->work.count);
    for (int32_t i = 0; i < c->work.count; i++) {
        struct create_partitions_topic_result *out = &response.results.items[i];
        create_partitions_topic_result_init(out);
        out->name = c->work.topics[i].name;
        out->error_code = c->work.topics[i].error;
        out->error_message = c->work.topics[i].message;
    }
    topics_api_judge(c);
    ANSWER(r, create_partitions_response, &response);
}

static void handle_grow(struct request *r)
{
    struct change *c = change_new(r, GROW_STRICT_SINCE, partitions_create, answer_grow);
    struct create_partitions_request *request = &c->request.grow;
    if (!DECODE(r, create_partitions_request, request))
        return;
    change_topics(c, request->topics.len);
    c->work.validate_only = request->validate_only;
    c->timeout_ms = request->timeout_ms;
    c->visible = has_leaders;
    for (int32_t i = 0; i < c->work.count; i++) {
        const struct create_partitions_topic *in = &request->topics.items[i];
        struct topic_request *t = &c->work.topics[i];
        t->name = in->name;
        t->partitions = in->count;
        if (!allowed(r, ACL_ALTER, ACL_TOPIC, t->name))
            refuse(t, "The topic authorization is failed.");
        if (in->assignments.len < 0)
            continue;
        t->manual = ARENA_ARRAY(r->arena, struct int_list, MAX(in->assignments.len, 1));
        t->manual_count = in->assignments.len;
        for (int32_t p = 0; p < in->assignments.len; p++)
            t->manual[p] = (struct int_list){in->assignments.items[p].broker_ids.items,
                                             MAX(in->assignments.items[p].broker_ids.len, 0)};
    }
    refuse_duplicates(c, "Duplicate topic in request.");
    if (refuse_too_many(c))
        return;
    request_hop(r, r->s->control_loop, on_control_loop);
}

const struct api_entry api_create_partitions = {
    .key = API_CREATE_PARTITIONS, .min = 0, .max = 3, .handle = handle_grow};
