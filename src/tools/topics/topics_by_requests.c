#include <inttypes.h>

#include "protocol/error.h"
#include "protocol/msg/create_partitions.h"
#include "protocol/msg/create_topics.h"
#include "protocol/msg/delete_topics.h"
#include "protocol/msg/describe_configs.h"
#include "protocol/msg/list_partition_reassignments.h"
#include "tools/kit/ask.h"
#include "tools/topics/topics.h"

enum { RESOURCE_TOPIC = 2, SOURCE_DEFAULT = 5 };

struct by_requests {
    struct topic_backend base;
    struct asker *asker;
};

static struct by_requests *topics_by_requests_self_of(struct topic_backend *b)
{
    return CONTAINER_OF(b, struct by_requests, base);
}

#define LIST_OF(array) ((struct int_list){(array).items, (array).len})

static bool failed_with(struct fail *fail, int16_t code, struct str message)
{
    struct str text = ask_error_text(code, message);
    return fail_set(fail, "%.*s", STR_ARGS(text));
}

/* ---- Names ---- */

static void to_name(const struct metadata_response_topic *t, struct topic_name *out)
{
    *out = (struct topic_name){.name = t->name, .id = t->topic_id, .internal = t->is_internal};
}

static bool names_by_requests(struct topic_backend *b, struct topic_name **out, int32_t *count, struct fail *fail)
{
    struct metadata_response m;
    if (!ask_metadata(topics_by_requests_self_of(b)->asker, NULL, -1, &m, &b->arena, fail))
        return false;
    *count = m.topics.len;
    *out = ARENA_ARRAY(&b->arena, struct topic_name, MAX(m.topics.len, 1));
    for (int32_t i = 0; i < m.topics.len; i++)
        to_name(&m.topics.items[i], &(*out)[i]);
    return true;
}

/* ---- Describe ---- */

static int by_index(const void *a, const void *b)
{
    return ((const struct topic_part *)a)->index - ((const struct topic_part *)b)->index;
}

static bool to_info(struct topic_backend *b, const struct metadata_response_topic *t, const struct metadata_response *m,
                    struct topic_info *out, struct fail *fail)
{
    if (t->error_code != ERR_NONE)
        return failed_with(fail, t->error_code, STR_NULL);
    to_name(t, &out->name);
    out->part_count = t->partitions.len;
    out->parts = ARENA_ARRAY(&b->arena, struct topic_part, MAX(t->partitions.len, 1));
    for (int32_t i = 0; i < t->partitions.len; i++) {
        const struct metadata_response_partition *p = &t->partitions.items[i];
        out->parts[i] = (struct topic_part){.index = p->partition_index,
                                            .leader = p->leader_id,
                                            .replicas = LIST_OF(p->replica_nodes),
                                            .isr = LIST_OF(p->isr_nodes)};
    }
    qsort(out->parts, (size_t)out->part_count, sizeof(*out->parts), by_index);
    out->broker_count = m->brokers.len;
    out->brokers = ARENA_ARRAY(&b->arena, int32_t, MAX(m->brokers.len, 1));
    for (int32_t i = 0; i < m->brokers.len; i++)
        out->brokers[i] = m->brokers.items[i].node_id;
    return true;
}

static int info_by_name(const void *a, const void *b)
{
    return str_cmp(((const struct topic_info *)a)->name.name, ((const struct topic_info *)b)->name.name);
}

/* Of those that are sorted; NULL: it was not asked for. */
static struct topic_info *find_info(struct topic_info *topics, int32_t count, struct str name)
{
    struct topic_info key = {.name.name = name};
    return bsearch(&key, topics, (size_t)count, sizeof(key), info_by_name);
}

static void to_configs(struct topic_backend *b, const struct describe_configs_result *r, struct topic_info *out)
{
    struct strbuf text = {0};
    out->min_isr = 1;
    for (int32_t i = 0; i < r->configs.len; i++) {
        const struct describe_configs_resource_result *c = &r->configs.items[i];
        if (str_is(c->name, "min.insync.replicas") && c->value.p != NULL)
            out->min_isr = atoi(arena_cstr(&b->arena, c->value));
        if (c->config_source != SOURCE_DEFAULT && !c->is_default)
            strbuf_printf(&text, "%s%.*s=%.*s", text.len > 0 ? "," : "", STR_ARGS(c->name), STR_ARGS(c->value));
    }
    out->configs = arena_str(&b->arena, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
}

static bool add_configs(struct topic_backend *b, struct topic_info *topics, int32_t count, struct fail *fail)
{
    struct describe_configs_request request;
    struct describe_configs_response response;
    describe_configs_request_init(&request);
    ARRAY_MAKE(&b->arena, request.resources, count);
    for (int32_t i = 0; i < count; i++) {
        struct describe_configs_resource *r = &request.resources.items[i];
        describe_configs_resource_init(r);
        r->resource_type = RESOURCE_TOPIC;
        r->resource_name = topics[i].name.name;
        r->configuration_keys.len = -1;
    }
    if (!ask(topics_by_requests_self_of(b)->asker, ASK_ANY, API_DESCRIBE_CONFIGS, 1, &request, &response, NULL,
             &b->arena, fail))
        return false;
    for (int32_t i = 0; i < response.results.len; i++) {
        const struct describe_configs_result *r = &response.results.items[i];
        if (r->error_code != ERR_NONE)
            return failed_with(fail, r->error_code, r->error_message);
        struct topic_info *t = find_info(topics, count, r->resource_name);
        if (t != NULL)
            to_configs(b, r, t);
    }
    return true;
}

static void mark_reassignment(struct topic_info *t,
                              const struct list_partition_reassignments_ongoing_partition_reassignment *r)
{
    struct topic_part key = {.index = r->partition_index},
                      *p = bsearch(&key, t->parts, (size_t)t->part_count, sizeof(key), by_index);
    if (p == NULL)
        return;
    p->reassigning = true;
    p->adding = LIST_OF(r->adding_replicas);
    p->removing = LIST_OF(r->removing_replicas);
}

/* A cluster that cannot tell has none, as far as the output goes, nor one that does not tell everybody. */
static bool add_reassignments(struct topic_backend *b, struct topic_info *topics, int32_t count, struct fail *fail)
{
    struct asker *asker = topics_by_requests_self_of(b)->asker;
    struct list_partition_reassignments_request request;
    struct list_partition_reassignments_response response;
    list_partition_reassignments_request_init(&request);
    request.timeout_ms = ask_timeout_ms(asker);
    request.topics.len = -1;
    if (!ask(asker, ASK_CONTROLLER, API_LIST_PARTITION_REASSIGNMENTS, 0, &request, &response, NULL, &b->arena, fail))
        return ask_was_unsupported(asker);
    if (response.error_code != ERR_NONE)
        return response.error_code == ERR_CLUSTER_AUTHORIZATION_FAILED ||
               response.error_code == ERR_UNSUPPORTED_VERSION ||
               failed_with(fail, response.error_code, response.error_message);
    for (int32_t i = 0; i < response.topics.len; i++) {
        struct topic_info *t = find_info(topics, count, response.topics.items[i].name);
        for (int32_t k = 0; t != NULL && k < response.topics.items[i].partitions.len; k++)
            mark_reassignment(t, &response.topics.items[i].partitions.items[k]);
    }
    return true;
}

static int metadata_by_name(const void *a, const void *b)
{
    return str_cmp(((const struct metadata_response_topic *)a)->name,
                   ((const struct metadata_response_topic *)b)->name);
}

static bool layout_by_requests(struct topic_backend *b, const struct topic_name *names, int32_t count,
                               struct topic_info *out, struct fail *fail)
{
    struct metadata_response m;
    struct str *wanted = ARENA_ARRAY(&b->arena, struct str, count);
    for (int32_t i = 0; i < count; i++)
        wanted[i] = names[i].name;
    if (!ask_metadata(topics_by_requests_self_of(b)->asker, wanted, count, &m, &b->arena, fail))
        return false;
    if (m.topics.len > 0)
        qsort(m.topics.items, (size_t)m.topics.len, sizeof(*m.topics.items), metadata_by_name);
    for (int32_t i = 0; i < count; i++) {
        struct metadata_response_topic key = {.name = names[i].name}, *found = NULL;
        if (m.topics.len > 0)
            found = bsearch(&key, m.topics.items, (size_t)m.topics.len, sizeof(key), metadata_by_name);
        if (found == NULL)
            return failed_with(fail, ERR_UNKNOWN_TOPIC_OR_PARTITION, STR_NULL);
        if (!to_info(b, found, &m, &out[i], fail))
            return false;
    }
    return true;
}

static bool topics_describe_by_requests(struct topic_backend *b, const struct topic_name *names, int32_t count,
                                        struct topic_info *out, struct fail *fail)
{
    if (count == 0)
        return true;
    return layout_by_requests(b, names, count, out, fail) && add_reassignments(b, out, count, fail) &&
           add_configs(b, out, count, fail);
}

/* ---- Changes ---- */

static bool create_by_requests(struct topic_backend *b, struct topic_plan *plan, bool *exists, struct fail *fail)
{
    struct create_topics_request request;
    struct create_topics_response response;
    ensure(plan->assignments != NULL || plan->assignment_count == 0);
    create_topics_request_init(&request);
    request.timeout_ms = ask_timeout_ms(topics_by_requests_self_of(b)->asker);
    ARRAY_MAKE(&b->arena, request.topics, 1);
    struct create_topics_creatable_topic *t = &request.topics.items[0];
    create_topics_creatable_topic_init(t);
    t->name = plan->name;
    t->num_partitions = plan->assignments != NULL ? -1 : plan->partitions;
    t->replication_factor = (int16_t)(plan->assignments != NULL ? -1 : plan->factor);
    ARRAY_MAKE(&b->arena, t->assignments, plan->assignment_count);
    for (int32_t i = 0; i < plan->assignment_count; i++) {
        t->assignments.items[i].partition_index = i;
        t->assignments.items[i].broker_ids.items = plan->assignments[i].v;
        t->assignments.items[i].broker_ids.len = plan->assignments[i].n;
    }
    ARRAY_MAKE(&b->arena, t->configs, plan->config_count);
    for (int32_t i = 0; i < plan->config_count; i++) {
        t->configs.items[i].name = str_of(plan->configs[i].key);
        t->configs.items[i].value = str_of(plan->configs[i].value);
    }
    /* Before version 4 a broker does not know "the cluster's default". */
    int16_t oldest = plan->assignments == NULL && (plan->partitions < 0 || plan->factor < 0) ? 4 : 0;
    if (!ask(topics_by_requests_self_of(b)->asker, ASK_CONTROLLER, API_CREATE_TOPICS, oldest, &request, &response, NULL,
             &b->arena, fail))
        return false;
    for (int32_t i = 0; i < response.topics.len; i++) {
        const struct create_topics_creatable_topic_result *r = &response.topics.items[i];
        *exists = r->error_code == ERR_TOPIC_ALREADY_EXISTS;
        if (r->error_code != ERR_NONE)
            return failed_with(fail, r->error_code, r->error_message);
    }
    return true;
}

static bool grow_by_requests(struct topic_backend *b, struct topic_plan *plans, int32_t count, struct fail *fail)
{
    struct create_partitions_request request;
    struct create_partitions_response response;
    create_partitions_request_init(&request);
    request.timeout_ms = ask_timeout_ms(topics_by_requests_self_of(b)->asker);
    ARRAY_MAKE(&b->arena, request.topics, count);
    for (int32_t i = 0; i < count; i++) {
        struct create_partitions_topic *t = &request.topics.items[i];
        create_partitions_topic_init(t);
        t->name = plans[i].name;
        t->count = plans[i].partitions;
        t->assignments.len = -1;
        if (plans[i].assignments == NULL)
            continue;
        ARRAY_MAKE(&b->arena, t->assignments, plans[i].assignment_count);
        for (int32_t p = 0; p < plans[i].assignment_count; p++) {
            t->assignments.items[p].broker_ids.items = plans[i].assignments[p].v;
            t->assignments.items[p].broker_ids.len = plans[i].assignments[p].n;
        }
    }
    if (!ask(topics_by_requests_self_of(b)->asker, ASK_CONTROLLER, API_CREATE_PARTITIONS, 0, &request, &response, NULL,
             &b->arena, fail))
        return false;
    for (int32_t i = 0; i < response.results.len; i++) {
        const struct create_partitions_topic_result *r = &response.results.items[i];
        if (r->error_code != ERR_NONE)
            return failed_with(fail, r->error_code, r->error_message);
    }
    return true;
}

static bool remove_by_requests(struct topic_backend *b, const struct topic_name *names, int32_t count,
                               struct fail *fail)
{
    struct delete_topics_request request;
    struct delete_topics_response response;
    delete_topics_request_init(&request);
    request.timeout_ms = ask_timeout_ms(topics_by_requests_self_of(b)->asker);
    ARRAY_MAKE(&b->arena, request.topics, count);      /* from version 6 on */
    ARRAY_MAKE(&b->arena, request.topic_names, count); /* before */
    for (int32_t i = 0; i < count; i++) {
        delete_topics_delete_topic_state_init(&request.topics.items[i]);
        request.topics.items[i].name = names[i].name;
        request.topic_names.items[i] = names[i].name;
    }
    if (!ask(topics_by_requests_self_of(b)->asker, ASK_CONTROLLER, API_DELETE_TOPICS, 0, &request, &response, NULL,
             &b->arena, fail))
        return false;
    for (int32_t i = 0; i < response.responses.len; i++) {
        const struct delete_topics_deletable_topic_result *r = &response.responses.items[i];
        if (r->error_code != ERR_NONE)
            return failed_with(fail, r->error_code, r->error_message);
    }
    return true;
}

/* ---- Life ---- */

static void topics_close_by_requests(struct topic_backend *b)
{
    struct by_requests *self = topics_by_requests_self_of(b);
    asker_free(self->asker);
    arena_deinit(&b->arena);
    free(self);
}

struct topic_backend *topics_by_requests(const char *bootstrap, const char *command_config, struct fail *fail)
{
    struct asker *asker = asker_new(bootstrap, command_config, fail);
    if (asker == NULL)
        return NULL;
    struct by_requests *self = xcalloc(1, sizeof(*self));
    self->asker = asker;
    self->base = (struct topic_backend){.names = names_by_requests,
                                        .describe = topics_describe_by_requests,
                                        .layout = layout_by_requests,
                                        .create = create_by_requests,
                                        .grow = grow_by_requests,
                                        .remove = remove_by_requests,
                                        .close = topics_close_by_requests};
    return &self->base;
}
