/* Topics, and two of their settings: of those that this broker has no replica of, ZooKeeper must be asked. */

#include "base/clock.h"
#include "monitor/round_internal.h"
#include "protocol/msg/describe_configs.h"
#include "protocol/msg/list_partition_reassignments.h"

enum { TOPICS_AT_ONCE = 500, RESOURCE_TOPIC = 2, SETTINGS_GOOD_MS = 5 * 60 * 1000 };

static const char *const keys[] = {"cleanup.policy", "min.insync.replicas"};

static bool is_here(const struct view_topic *t, int32_t broker)
{
    for (int32_t p = 0; p < t->partition_count; p++)
        if (int_list_has(t->partitions[p].replicas, broker))
            return true;
    return false;
}

static const char *policy_text(const struct topic_config *c)
{
    static const char *const texts[] = {"", "delete", "compact", "compact,delete"};
    return texts[((c->cleanup_policy & CLEANUP_POLICY_DELETE) != 0 ? 1 : 0) +
                 ((c->cleanup_policy & CLEANUP_POLICY_COMPACT) != 0 ? 2 : 0)];
}

/* What was answered before is taken for a while, if the topic is the same. */
static bool know_settings(const struct round *r, const struct look *before, struct look_topic *t, int64_t now)
{
    struct topic_config config;
    if (is_here(t->topic, r->options->broker_id)) {
        r->options->topic_config(r->options->ctx, t->topic->name, &config);
        t->cleanup_policy = policy_text(&config);
        t->min_isr = config.min_insync_replicas;
        return true;
    }
    const struct look_topic *old = before != NULL ? look_topic(before, str_of(t->topic->name)) : NULL;
    if (old == NULL || old->topic != t->topic || old->cleanup_policy == NULL || now - old->asked_ms > SETTINGS_GOOD_MS)
        return false;
    t->cleanup_policy = arena_cstr(&r->look->memory, str_of(old->cleanup_policy));
    t->min_isr = old->min_isr;
    t->asked_ms = old->asked_ms;
    return true;
}

static void take_setting(struct round *r, struct look_topic *t, struct str key, struct str value)
{
    if (value.p == NULL)
        return;
    if (str_is(key, keys[0]))
        t->cleanup_policy = arena_cstr(&r->look->memory, value);
    else if (str_is(key, keys[1]) && !str_to_int32(value, &t->min_isr))
        t->min_isr = LOOK_UNKNOWN;
}

static void take_settings(struct round *r, struct ask *a)
{
    const struct describe_configs_response *response = a->response;
    for (int32_t i = 0; i < response->results.len; i++) {
        const struct describe_configs_result *from = &response->results.items[i];
        struct look_topic *t = look_topic(r->look, from->resource_name);
        for (int32_t c = 0; t != NULL && c < from->configs.len; c++)
            take_setting(r, t, from->configs.items[c].name, from->configs.items[c].value);
    }
}

static void ask_settings(struct round *r, struct look_topic *const *topics, int32_t count)
{
    struct ask *a = round_ask_new(r, r->options->broker_id, API_DESCRIBE_CONFIGS, take_settings);
    struct describe_configs_request *request = a->request;
    ARRAY_MAKE(&a->memory, request->resources, count);
    for (int32_t i = 0; i < count; i++) {
        struct describe_configs_resource *resource = &request->resources.items[i];
        describe_configs_resource_init(resource);
        resource->resource_type = RESOURCE_TOPIC;
        resource->resource_name = str_of(topics[i]->topic->name);
        ARRAY_MAKE(&a->memory, resource->configuration_keys, ARRAY_LEN(keys));
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            resource->configuration_keys.items[k] = str_of(keys[k]);
    }
    round_ask(r, a);
}

static void ask_unknown_settings(struct round *r, const struct look *before)
{
    struct look_topic *unknown[TOPICS_AT_ONCE];
    int64_t now = clock_wall_ms();
    int32_t count = 0;
    for (int32_t i = 0; i < r->look->view->topic_count; i++) {
        struct look_topic *t = &r->look->topics[i];
        if (know_settings(r, before, t, now))
            continue;
        t->asked_ms = now;
        unknown[count++] = t;
        if (count == TOPICS_AT_ONCE) {
            ask_settings(r, unknown, count);
            count = 0;
        }
    }
    if (count > 0)
        ask_settings(r, unknown, count);
}

/* ---- What is being reassigned ---- */

static void take_moves(struct round *r, struct ask *a)
{
    const struct list_partition_reassignments_response *response = a->response;
    struct look *look = r->look;
    size_t count = 0;
    if (response->error_code != ERR_NONE) {
        look->unanswered++;
        return;
    }
    for (int32_t t = 0; t < response->topics.len; t++)
        count += (size_t)MAX(response->topics.items[t].partitions.len, 0);
    look->moves = ARENA_ARRAY(&look->memory, struct look_move, count + 1);
    look->move_count = 0;
    for (int32_t t = 0; t < response->topics.len; t++) {
        struct str name = arena_str(&look->memory, response->topics.items[t].name);
        for (int32_t p = 0; p < response->topics.items[t].partitions.len; p++)
            look->moves[look->move_count++] =
                (struct look_move){name, response->topics.items[t].partitions.items[p].partition_index, LOOK_UNKNOWN,
                                   LOOK_UNKNOWN, LOOK_UNKNOWN};
    }
}

static double copy_rate(const struct round *r, const struct look_move *m)
{
    int64_t passed = round_since_before(r);
    const struct look_topic *t = passed > 0 ? look_topic(r->before[LOOK_ALL], m->topic) : NULL;
    const struct look_partition *p = t != NULL ? look_partition(t, m->partition) : NULL;
    if (p == NULL || p->smallest == LOOK_UNKNOWN || m->copied == LOOK_UNKNOWN)
        return LOOK_UNKNOWN;
    return (double)MAX(m->copied - p->smallest, INT64_C(0)) * 1000 / (double)passed;
}

void round_measure_moves(struct round *r)
{
    for (int32_t i = 0; i < r->look->move_count; i++) {
        struct look_move *m = &r->look->moves[i];
        const struct look_topic *t = look_topic(r->look, m->topic);
        const struct look_partition *p = t != NULL ? look_partition(t, m->partition) : NULL;
        m->copied = p != NULL ? p->smallest : LOOK_UNKNOWN;
        m->whole = p != NULL ? p->largest : LOOK_UNKNOWN;
        m->rate = copy_rate(r, m);
    }
}

static void ask_moves(struct round *r)
{
    struct ask *a;
    r->look->move_count = -1;
    if (r->look->view->controller_id < 0)
        return;
    a = round_ask_new(r, r->look->view->controller_id, API_LIST_PARTITION_REASSIGNMENTS, take_moves);
    ((struct list_partition_reassignments_request *)a->request)->topics.len = -1; /* all */
    round_ask(r, a);
}

void round_ask_topics(struct round *r)
{
    struct look *look = r->look;
    const struct view *v = look->view;
    look->topics = ARENA_ARRAY(&look->memory, struct look_topic, v->topic_count + 1);
    for (int32_t i = 0; i < v->topic_count; i++) {
        struct look_topic *t = &look->topics[i];
        t->topic = v->by_name[i];
        t->bytes = LOOK_UNKNOWN;
        t->min_isr = LOOK_UNKNOWN;
        t->partitions = ARENA_ARRAY(&look->memory, struct look_partition, t->topic->partition_count + 1);
        for (int32_t p = 0; p < t->topic->partition_count; p++)
            t->partitions[p] = (struct look_partition){LOOK_UNKNOWN, LOOK_UNKNOWN, LOOK_UNKNOWN, LOOK_UNKNOWN};
    }
    ask_moves(r);
    if (look->scope == LOOK_ALL)
        ask_unknown_settings(r, r->before[LOOK_ALL]);
}
