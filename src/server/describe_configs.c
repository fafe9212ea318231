/*
 * DescribeConfigs (KIP-133, KIP-226, KIP-569): every key with its value, where that comes from, and what it means. Of
 * topics ZooKeeper is asked anew each time, as a client that has changed something through another broker expects to
 * see it here, too.
 *
 * A worker describes what takes long: all keys of a broker take a quarter of a millisecond, and a request may name it,
 * or each of ten thousand topics.
 */
#include "protocol/msg/describe_configs.h"
#include "base/logger.h"
#include "base/str_set.h"
#include "controller/admin.h"
#include "server/authorize.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_BROKER_LOGGER = 8, RESOURCE_CLIENT_METRICS = 16 };
enum { DESCRIBED_AT_ONCE = 32 }; /* resources and keys that are named: a few milliseconds */

struct describing {
    struct request *r;
    const struct describe_configs_request *request;
    const struct describe_configs_resource *in;
    struct describe_configs_result *out;
    bool known;                         /* of a topic: there is one of that name */
    struct str_set wanted;              /* the keys, if some are named */
    struct config_znode own;            /* of a topic */
    const struct broker_config *config; /* what counts now */
};

static struct str describe_configs_text_or_null(const char *s)
{
    return s != NULL ? str_of(s) : STR_NULL;
}

static bool describe_configs_is_wanted(const struct describing *d, const char *name)
{
    return d->in->configuration_keys.len <= 0 || str_set_has(&d->wanted, str_of(name));
}

static void fill_synonyms(struct describing *d, const struct config_description *c,
                          struct describe_configs_resource_result *o)
{
    ARRAY_MAKE(d->r->arena, o->synonyms, c->synonym_count);
    for (int i = 0; i < c->synonym_count; i++) {
        struct describe_configs_synonym *s = &o->synonyms.items[i];
        describe_configs_synonym_init(s);
        s->name = arena_str(d->r->arena, str_of(c->synonyms[i].name));
        s->value = c->synonyms[i].value ? arena_str(d->r->arena, str_of(c->synonyms[i].value)) : STR_NULL;
        s->source = (int8_t)c->synonyms[i].source;
    }
}

static void describe_configs_add_row(struct describing *d, const struct config_description *c)
{
    struct describe_configs_resource_result *o = &d->out->configs.items[d->out->configs.len++];
    describe_configs_resource_result_init(o);
    o->name = str_of(c->name);
    o->value = describe_configs_text_or_null(c->value);
    o->read_only = c->read_only;
    o->is_default = c->source == CONFIG_DEFAULT;
    o->config_source = (int8_t)c->source;
    o->is_sensitive = c->sensitive;
    o->config_type = (int8_t)c->type;
    if (d->request->include_synonyms)
        fill_synonyms(d, c, o);
    else
        ARRAY_MAKE(d->r->arena, o->synonyms, 0);
    o->documentation = d->request->include_documentation ? describe_configs_text_or_null(c->doc) : STR_NULL;
}

static void describe_broker(struct describing *d)
{
    struct config_list names = config_names(d->config, d->r->arena);
    ARRAY_MAKE(d->r->arena, d->out->configs, names.count);
    d->out->configs.len = 0;
    for (int i = 0; i < names.count; i++) {
        struct config_description c;
        if (describe_configs_is_wanted(d, names.items[i]) &&
            config_describe(d->config, names.items[i], d->r->arena, &c))
            describe_configs_add_row(d, &c);
    }
}

/* Only what was set for all brokers, with that alone as its source. */
static void describe_all_brokers(struct describing *d)
{
    struct config_znode set = broker_settings_own(d->r->s->settings, SETTINGS_OF_ALL, d->r->arena);
    ARRAY_MAKE(d->r->arena, d->out->configs, set.count);
    d->out->configs.len = 0;
    for (int32_t i = 0; i < set.count; i++) {
        struct config_description c;
        if (!describe_configs_is_wanted(d, set.entries[i].key) ||
            !config_describe(d->config, set.entries[i].key, d->r->arena, &c))
            continue;
        c.value = c.sensitive ? NULL : set.entries[i].value;
        c.source = CONFIG_DYNAMIC_CLUSTER;
        c.synonyms[0] = (struct config_synonym){c.name, c.value, CONFIG_DYNAMIC_CLUSTER};
        c.synonym_count = 1;
        describe_configs_add_row(d, &c);
    }
}

static void describe_configs_of_topic(struct describing *d)
{
    size_t n;
    const struct config_key *keys = config_topic_keys(&n);
    if (!d->known) {
        struct str problem = topic_name_problem(d->r->arena, d->in->resource_name);
        d->out->error_code = problem.p != NULL ? ERR_INVALID_TOPIC_EXCEPTION : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        d->out->error_message = problem.p != NULL ? problem : STR_LIT("");
        return;
    }
    d->own = topic_configs_own(d->r->s->topic_configs, d->r->arena, d->in->resource_name);
    ARRAY_MAKE(d->r->arena, d->out->configs, (int32_t)n);
    d->out->configs.len = 0;
    for (size_t i = 0; i < n; i++) {
        struct config_description c;
        if (describe_configs_is_wanted(d, keys[i].name) &&
            topic_config_describe(d->config, d->own.entries, (size_t)d->own.count, keys[i].name, d->r->arena, &c))
            describe_configs_add_row(d, &c);
    }
}

static void add_logger(void *ctx, const char *name, enum log_level level)
{
    struct describing *d = ctx;
    struct config_description c = {.name = name, .value = logger_level_name(level), .source = CONFIG_DYNAMIC_LOGGER};
    if (describe_configs_is_wanted(d, name))
        describe_configs_add_row(d, &c);
}

static void count_logger(void *ctx, const char *name UNUSED, enum log_level level UNUSED)
{
    ++*(int32_t *)ctx;
}

static void describe_loggers(struct describing *d)
{
    int32_t count = 0;
    logger_each(count_logger, &count);
    ARRAY_MAKE(d->r->arena, d->out->configs, count);
    d->out->configs.len = 0;
    logger_each(add_logger, d);
}

static void describe_configs_refuse(struct describing *d, struct str why)
{
    d->out->error_code = ERR_INVALID_REQUEST;
    d->out->error_message = why;
}

/* Whether the resource is this broker; if not, that is the answer. */
static bool describe_configs_is_own(struct describing *d, const char *instead)
{
    struct arena *a = d->r->arena;
    struct str name = d->in->resource_name;
    int32_t id;
    if (!str_to_int32(name, &id))
        describe_configs_refuse(
            d, arena_printf(a, "Broker id must be an integer, but it is: %.*s", STR_ARGS(str_head(name, MOST_SAID))));
    else if (id != d->r->s->broker_id)
        describe_configs_refuse(d, arena_printf(a, "Unexpected broker id, expected %d%s but received %.*s",
                                                d->r->s->broker_id, instead, STR_ARGS(name)));
    return d->out->error_code == ERR_NONE;
}

static void describe_configs_of(struct describing *d)
{
    bool all = d->in->resource_name.len == 0;
    switch (d->in->resource_type) {
    case RESOURCE_TOPIC:
        describe_configs_of_topic(d);
        return;
    case RESOURCE_BROKER:
        if (all)
            describe_all_brokers(d);
        else if (describe_configs_is_own(d, " or empty string,"))
            describe_broker(d);
        return;
    case RESOURCE_BROKER_LOGGER:
        if (all)
            describe_configs_refuse(d, STR_LIT("Broker id must not be empty"));
        else if (describe_configs_is_own(d, ""))
            describe_loggers(d);
        return;
    case RESOURCE_CLIENT_METRICS:
        describe_configs_refuse(d, STR_LIT("Config type client-metrics is only supported on KRaft clusters"));
        return;
    default:
        describe_configs_refuse(d, str_of(error_message(ERR_INVALID_REQUEST)));
    }
}

static bool may_be_described(const struct request *r, const struct describe_configs_resource *in)
{
    switch (in->resource_type) {
    case RESOURCE_TOPIC:
        return allowed(r, ACL_DESCRIBE_CONFIGS, ACL_TOPIC, in->resource_name);
    case RESOURCE_BROKER:
    case RESOURCE_BROKER_LOGGER:
    case RESOURCE_CLIENT_METRICS:
        return allowed_cluster(r, ACL_DESCRIBE_CONFIGS);
    default:
        return true; /* it is none, and answered so */
    }
}

static void describe_configs_deny(struct describing *d)
{
    bool of_topic = d->in->resource_type == RESOURCE_TOPIC;
    d->out->error_code = of_topic ? ERR_TOPIC_AUTHORIZATION_FAILED : ERR_CLUSTER_AUTHORIZATION_FAILED;
    d->out->error_message = str_of(error_message(d->out->error_code));
}

/* What has come, what its connection's loop knows of it, and what is answered. */
struct describe_configs_call {
    struct describe_configs_request request;
    bool *denied, *known; /* of each resource */
    struct str *topics;
    int32_t topic_count;
    struct writer answer;
};

static void describe_one(struct describing *d, bool denied)
{
    struct arena names = {0};
    describe_configs_result_init(d->out);
    d->out->resource_type = d->in->resource_type;
    d->out->resource_name = d->in->resource_name;
    ARRAY_MAKE(d->r->arena, d->out->configs, 0);
    if (denied) {
        describe_configs_deny(d);
        return;
    }
    for (int32_t i = 0; i < d->in->configuration_keys.len; i++)
        str_set_add(&d->wanted, &names, d->in->configuration_keys.items[i]);
    describe_configs_of(d);
    str_set_deinit(&d->wanted);
    arena_deinit(&names);
}

/* The denied ones are answered behind the others. */
static void describe_configs_all(struct request *r, const struct broker_config *config,
                                 struct describe_configs_response *response)
{
    const struct describe_configs_call *call = r->state;
    int32_t n = MAX(call->request.resources.len, 0), at = 0;
    ARRAY_MAKE(r->arena, response->results, n);
    for (int pass = 0; pass <= 1; pass++)
        for (int32_t i = 0; i < n && !request_is_spent(r); i++) {
            if (call->denied[i] != (pass == 1))
                continue;
            struct describing d = {.r = r,
                                   .request = &call->request,
                                   .in = &call->request.resources.items[i],
                                   .out = &response->results.items[at++],
                                   .known = call->known[i],
                                   .config = config};
            describe_one(&d, call->denied[i]);
        }
}

/* Encoded here, too, as the texts lie in the configuration; but not what will not be sent. */
static void describe_configs_work(struct request *r)
{
    struct describe_configs_call *call = r->state;
    struct describe_configs_response response;
    describe_configs_response_init(&response);
    const struct broker_config *config = broker_settings_hold(r->s->settings);
    describe_configs_all(r, config, &response);
    answer_begin(r, &call->answer);
    if (!request_is_spent(r))
        describe_configs_response_write(&call->answer, r->version, &response);
    broker_settings_release(config);
}

static void describe_configs_send(struct request *r)
{
    const struct describe_configs_call *call = r->state;
    struct writer answer = call->answer; /* with what is not sent goes the request's memory */
    answer_send(r, &answer);
}

static bool takes_long(const struct describe_configs_request *request)
{
    int64_t named = 0;
    for (int32_t i = 0; i < request->resources.len; i++)
        named += 1 + MAX(request->resources.items[i].configuration_keys.len, 0);
    return named > DESCRIBED_AT_ONCE;
}

static void describe_configs_answer(struct request *r)
{
    const struct describe_configs_call *call = r->state;
    if (takes_long(&call->request)) {
        request_work(r, describe_configs_work, describe_configs_send);
        return;
    }
    describe_configs_work(r);
    describe_configs_send(r);
}

static void describe_configs_refreshed(struct message *m)
{
    describe_configs_answer(CONTAINER_OF(m, struct request, message));
}

/*
 * What a topic was made with comes without a notification, and a broker without a replica of it has not read it; what
 * was changed by another broker may not have been told yet.
 */
static void describe_configs_refresh(struct request *r)
{
    const struct describe_configs_call *call = r->state;
    r->message.deliver = describe_configs_refreshed;
    config_watch_refresh(r->s->config_watch, call->topics, call->topic_count, exchange_loop(r->x), &r->message);
}

/* Each once, however often it is named. */
static void list_topics_to_read(struct request *r, struct describe_configs_call *call)
{
    struct str_set seen = {0};
    int32_t n = MAX(call->request.resources.len, 0);
    call->topics = ARENA_ARRAY(r->arena, struct str, MAX(n, 1));
    for (int32_t i = 0; i < n; i++) {
        const struct describe_configs_resource *in = &call->request.resources.items[i];
        call->known[i] = in->resource_type == RESOURCE_TOPIC && view_topic(view_current(), in->resource_name) != NULL;
        if (call->known[i] && !call->denied[i] && str_set_add(&seen, r->arena, in->resource_name))
            call->topics[call->topic_count++] = in->resource_name;
    }
    str_set_deinit(&seen);
}

static void describe_configs_handle(struct request *r)
{
    struct describe_configs_call *call = ARENA_NEW(r->arena, struct describe_configs_call);
    r->state = call;
    if (!DECODE(r, describe_configs_request, &call->request))
        return;
    int32_t n = MAX(call->request.resources.len, 0);
    call->denied = ARENA_ARRAY(r->arena, bool, MAX(n, 1));
    call->known = ARENA_ARRAY(r->arena, bool, MAX(n, 1));
    for (int32_t i = 0; has_authorizer(r) && i < n; i++)
        call->denied[i] = !may_be_described(r, &call->request.resources.items[i]);
    list_topics_to_read(r, call);
    if (call->topic_count > 0)
        request_hop(r, r->s->control_loop, describe_configs_refresh);
    else
        describe_configs_answer(r);
}

const struct api_entry api_describe_configs = {
    .key = API_DESCRIBE_CONFIGS, .min = 0, .max = 4, .handle = describe_configs_handle};
