#include <inttypes.h>

#include "protocol/error.h"
#include "protocol/msg/alter_partition_reassignments.h"
#include "protocol/msg/alter_replica_log_dirs.h"
#include "protocol/msg/describe_log_dirs.h"
#include "protocol/msg/incremental_alter_configs.h"
#include "protocol/msg/list_partition_reassignments.h"
#include "tools/kit/ask.h"
#include "tools/reassign/reassign.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, OP_SET = 0, OP_DELETE = 1 };

struct by_requests {
    struct reassign_backend base;
    struct asker *asker;
};

#define LIST_OF(array) ((struct int_list){(array).items, (array).len})

static struct asker *asker_of(struct reassign_backend *b)
{
    return CONTAINER_OF(b, struct by_requests, base)->asker;
}

static bool thrown(struct reassign_backend *b, struct fail *fail, int16_t code, struct str message)
{
    struct str text = ask_exception_text(&b->arena, code, message);
    return fail_set(fail, "%.*s", STR_ARGS(text));
}

/* ---- How it is ---- */

static bool reassign_describe_by_requests(struct reassign_backend *b, const struct str *topics, int32_t count,
                                          struct placements *out, struct fail *fail)
{
    struct metadata_response m;
    int32_t parts = 0;
    if (!ask_metadata(asker_of(b), topics, count, &m, &b->arena, fail))
        return false;
    for (int32_t i = 0; i < m.topics.len; i++)
        parts += m.topics.items[i].partitions.len;
    *out = (struct placements){ARENA_ARRAY(&b->arena, struct placement, parts + 1), 0};
    for (int32_t i = 0; i < m.topics.len; i++) {
        const struct metadata_response_topic *t = &m.topics.items[i];
        if (t->error_code != ERR_NONE && t->error_code != ERR_UNKNOWN_TOPIC_OR_PARTITION)
            return thrown(b, fail, t->error_code, STR_NULL);
        for (int32_t p = 0; p < t->partitions.len; p++)
            out->v[out->n++] = (struct placement){.topic = t->name,
                                                  .partition = t->partitions.items[p].partition_index,
                                                  .replicas = LIST_OF(t->partitions.items[p].replica_nodes)};
    }
    placements_sort(out);
    return true;
}

static bool brokers_by_requests(struct reassign_backend *b, struct registration **out, int32_t *count,
                                struct fail *fail)
{
    struct metadata_response m;
    if (!ask_metadata(asker_of(b), NULL, 0, &m, &b->arena, fail))
        return false;
    *count = m.brokers.len;
    *out = ARENA_ARRAY(&b->arena, struct registration, m.brokers.len + 1);
    for (int32_t i = 0; i < m.brokers.len; i++) {
        const struct metadata_response_broker *at = &m.brokers.items[i];
        (*out)[i] = (struct registration){.id = at->node_id,
                                          .rack = at->rack.p != NULL ? arena_cstr(&b->arena, at->rack) : NULL};
    }
    return true;
}

static bool ongoing_by_requests(struct reassign_backend *b, struct placements *out, struct fail *fail)
{
    struct list_partition_reassignments_request request;
    struct list_partition_reassignments_response r;
    int32_t count = 0;
    list_partition_reassignments_request_init(&request);
    request.timeout_ms = ask_timeout_ms(asker_of(b));
    request.topics.len = -1;
    if (!ask(asker_of(b), ASK_CONTROLLER, API_LIST_PARTITION_REASSIGNMENTS, 0, &request, &r, NULL, &b->arena, fail))
        return false;
    if (r.error_code != ERR_NONE)
        return thrown(b, fail, r.error_code, r.error_message);
    for (int32_t i = 0; i < r.topics.len; i++)
        count += r.topics.items[i].partitions.len;
    *out = (struct placements){ARENA_ARRAY(&b->arena, struct placement, count + 1), 0};
    for (int32_t i = 0; i < r.topics.len; i++)
        for (int32_t k = 0; k < r.topics.items[i].partitions.len; k++) {
            const struct list_partition_reassignments_ongoing_partition_reassignment *p =
                &r.topics.items[i].partitions.items[k];
            out->v[out->n++] = (struct placement){.topic = r.topics.items[i].name,
                                                  .partition = p->partition_index,
                                                  .replicas = LIST_OF(p->replicas),
                                                  .adding = LIST_OF(p->adding_replicas),
                                                  .removing = LIST_OF(p->removing_replicas)};
        }
    placements_sort(out);
    return true;
}

/* ---- Starting and cancelling ---- */

static void fill_alteration(struct arena *a, const struct placements *p, bool cancel,
                            struct alter_partition_reassignments_request *out)
{
    ARRAY_MAKE(a, out->topics, p->n);
    out->topics.len = 0;
    for (int32_t i = 0, end; i < p->n; i = end) {
        struct alter_partition_reassignments_reassignable_topic *t = &out->topics.items[out->topics.len++];
        for (end = i + 1; end < p->n && str_eq(p->v[end].topic, p->v[i].topic);)
            end++;
        alter_partition_reassignments_reassignable_topic_init(t);
        t->name = p->v[i].topic;
        ARRAY_MAKE(a, t->partitions, end - i);
        for (int32_t k = i; k < end; k++) {
            struct alter_partition_reassignments_reassignable_partition *part = &t->partitions.items[k - i];
            part->partition_index = p->v[k].partition;
            part->replicas.items = p->v[k].replicas.v;
            part->replicas.len = cancel ? -1 : p->v[k].replicas.n;
        }
    }
}

static bool reassign_by_requests_alter(struct reassign_backend *b, struct placements *which, bool cancel,
                                       struct fail *fail)
{
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_response r;
    alter_partition_reassignments_request_init(&request);
    request.timeout_ms = ask_timeout_ms(asker_of(b));
    fill_alteration(&b->arena, which, cancel, &request);
    if (!ask(asker_of(b), ASK_CONTROLLER, API_ALTER_PARTITION_REASSIGNMENTS, 0, &request, &r, NULL, &b->arena, fail))
        return false;
    for (int32_t i = 0; i < which->n; i++) {
        which->v[i].error = r.error_code;
        which->v[i].message = r.error_message;
    }
    for (int32_t i = 0; r.error_code == ERR_NONE && i < r.responses.len; i++)
        for (int32_t k = 0; k < r.responses.items[i].partitions.len; k++) {
            const struct alter_partition_reassignments_reassignable_partition_response *p =
                &r.responses.items[i].partitions.items[k];
            struct placement *at = placements_find(which, r.responses.items[i].name, p->partition_index);
            if (at == NULL)
                continue;
            at->error = p->error_code;
            at->message = p->error_message;
        }
    return true;
}

static bool start_by_requests(struct reassign_backend *b, struct placements *targets, struct fail *fail)
{
    return reassign_by_requests_alter(b, targets, false, fail);
}

static bool cancel_by_requests(struct reassign_backend *b, struct placements *which, struct fail *fail)
{
    return reassign_by_requests_alter(b, which, true, fail);
}

/* ---- Configuration ---- */

static void fill_change(struct arena *a, const struct config_change *c,
                        struct incremental_alter_configs_alter_configs_resource *out)
{
    incremental_alter_configs_alter_configs_resource_init(out);
    out->resource_type = c->topic.p != NULL ? RESOURCE_TOPIC : RESOURCE_BROKER;
    out->resource_name = c->topic.p != NULL ? c->topic : arena_printf(a, "%" PRId32, c->broker);
    ARRAY_MAKE(a, out->configs, c->pair_count);
    for (int32_t i = 0; i < c->pair_count; i++) {
        incremental_alter_configs_alterable_config_init(&out->configs.items[i]);
        out->configs.items[i].name = str_of(c->pairs[i].key);
        out->configs.items[i].config_operation = c->pairs[i].value != NULL ? OP_SET : OP_DELETE;
        out->configs.items[i].value = str_of(c->pairs[i].value);
    }
}

/* All of these are one broker's business, or all are any broker's. */
static bool change_together(struct reassign_backend *b, int32_t broker, const struct config_change *changes,
                            int32_t count, struct fail *fail)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_response r;
    incremental_alter_configs_request_init(&request);
    ARRAY_MAKE(&b->arena, request.resources, count);
    for (int32_t i = 0; i < count; i++)
        fill_change(&b->arena, &changes[i], &request.resources.items[i]);
    if (!ask(asker_of(b), broker, API_INCREMENTAL_ALTER_CONFIGS, 0, &request, &r, NULL, &b->arena, fail))
        return false;
    for (int32_t i = 0; i < r.responses.len; i++)
        if (r.responses.items[i].error_code != ERR_NONE)
            return thrown(b, fail, r.responses.items[i].error_code, r.responses.items[i].error_message);
    return true;
}

/* A broker changes only its own configuration, whether others are there or not. */
static bool configure_by_requests(struct reassign_backend *b, const struct config_change *changes, int32_t count,
                                  struct fail *fail)
{
    bool ok = true;
    if (count > 0 && changes[0].topic.p != NULL)
        return change_together(b, ASK_ANY, changes, count, fail);
    for (int32_t i = 0; i < count; i++)
        ok &= change_together(b, changes[i].broker, &changes[i], 1, ok ? fail : NULL);
    return ok;
}

/* ---- Log directories: `from` to `to` are the replicas of one broker ---- */

static void note_dir(struct dir_move *from, const struct dir_move *to, struct str dir, struct str topic,
                     const struct describe_log_dirs_partition *p)
{
    const struct dir_moves all = {from, (int32_t)(to - from)};
    struct dir_move *m = dir_moves_find(&all, from->broker, topic, p->partition_index);
    for (; m != NULL && m < to && m->partition == p->partition_index && str_eq(m->topic, topic); m++)
        if (p->is_future_key) {
            m->future = dir;
            m->future_bytes = p->partition_size;
        } else {
            m->current = dir;
            m->bytes = p->partition_size;
        }
}

static bool find_on_broker(struct reassign_backend *b, struct dir_move *from, const struct dir_move *to,
                           struct fail *fail)
{
    struct describe_log_dirs_request request;
    struct describe_log_dirs_response r;
    describe_log_dirs_request_init(&request);
    ARRAY_MAKE(&b->arena, request.topics, (int32_t)(to - from));
    for (int32_t i = 0; i < request.topics.len; i++) {
        describe_log_dirs_describable_log_dir_topic_init(&request.topics.items[i]);
        request.topics.items[i].topic = from[i].topic;
        ARRAY_MAKE(&b->arena, request.topics.items[i].partitions, 1);
        request.topics.items[i].partitions.items[0] = from[i].partition;
    }
    if (!ask(asker_of(b), from->broker, API_DESCRIBE_LOG_DIRS, 0, &request, &r, NULL, &b->arena, fail))
        return false;
    if (r.error_code != ERR_NONE)
        return thrown(b, fail, r.error_code, STR_NULL);
    for (int32_t i = 0; i < r.results.len; i++) {
        const struct describe_log_dirs_result *d = &r.results.items[i];
        if (d->error_code != ERR_NONE && d->error_code != ERR_KAFKA_STORAGE_ERROR)
            return thrown(b, fail, d->error_code, STR_NULL);
        for (int32_t t = 0; d->error_code == ERR_NONE && t < d->topics.len; t++)
            for (int32_t p = 0; p < d->topics.items[t].partitions.len; p++)
                note_dir(from, to, d->log_dir, d->topics.items[t].name, &d->topics.items[t].partitions.items[p]);
    }
    return true;
}

static bool note_started(struct dir_move *from, const struct dir_move *to, struct str topic,
                         const struct alter_replica_log_dirs_alter_replica_log_dir_partition_result *r,
                         struct fail *fail)
{
    for (; from < to; from++) {
        if (from->partition != r->partition_index || !str_eq(from->topic, topic))
            continue;
        if (r->error_code != ERR_NONE && r->error_code != ERR_REPLICA_NOT_AVAILABLE)
            return fail_set(fail, "Failed to alter dir for %.*s-%" PRId32 "-%" PRId32 ": %s", STR_ARGS(topic),
                            from->partition, from->broker, error_message(r->error_code));
        from->started = r->error_code == ERR_NONE;
    }
    return true;
}

/* Each replica in an entry of its own: brokers take directories that come more than once. */
static bool move_on_broker(struct reassign_backend *b, struct dir_move *from, const struct dir_move *to,
                           struct fail *fail)
{
    struct alter_replica_log_dirs_request request;
    struct alter_replica_log_dirs_response r;
    alter_replica_log_dirs_request_init(&request);
    ARRAY_MAKE(&b->arena, request.dirs, (int32_t)(to - from));
    for (int32_t i = 0; i < request.dirs.len; i++) {
        struct alter_replica_log_dirs_alter_replica_log_dir *d = &request.dirs.items[i];
        alter_replica_log_dirs_alter_replica_log_dir_init(d);
        d->path = from[i].target;
        ARRAY_MAKE(&b->arena, d->topics, 1);
        alter_replica_log_dirs_alter_replica_log_dir_topic_init(&d->topics.items[0]);
        d->topics.items[0].name = from[i].topic;
        ARRAY_MAKE(&b->arena, d->topics.items[0].partitions, 1);
        d->topics.items[0].partitions.items[0] = from[i].partition;
    }
    if (!ask(asker_of(b), from->broker, API_ALTER_REPLICA_LOG_DIRS, 0, &request, &r, NULL, &b->arena, fail))
        return false;
    bool ok = true;
    for (int32_t t = 0; t < r.results.len; t++)
        for (int32_t p = 0; p < r.results.items[t].partitions.len; p++)
            ok &= note_started(from, to, r.results.items[t].topic_name, &r.results.items[t].partitions.items[p],
                               ok ? fail : NULL);
    return ok;
}

static bool each_broker(struct reassign_backend *b, struct dir_moves *moves,
                        bool (*act)(struct reassign_backend *b, struct dir_move *from, const struct dir_move *to,
                                    struct fail *fail),
                        struct fail *fail)
{
    bool ok = true;
    dir_moves_sort(moves);
    for (int32_t i = 0, end; i < moves->n; i = end) {
        for (end = i + 1; end < moves->n && moves->v[end].broker == moves->v[i].broker;)
            end++;
        ok &= act(b, &moves->v[i], moves->v + end, ok ? fail : NULL);
    }
    return ok;
}

static bool find_dirs_by_requests(struct reassign_backend *b, struct dir_moves *moves, struct fail *fail)
{
    return each_broker(b, moves, find_on_broker, fail);
}

static bool move_dirs_by_requests(struct reassign_backend *b, struct dir_moves *moves, struct fail *fail)
{
    return each_broker(b, moves, move_on_broker, fail);
}

/* ---- Life ---- */

static void reassign_close_by_requests(struct reassign_backend *b)
{
    asker_free(asker_of(b));
    arena_deinit(&b->arena);
    free(CONTAINER_OF(b, struct by_requests, base));
}

struct reassign_backend *reassign_by_requests(const char *bootstrap, const char *command_config, struct fail *fail)
{
    struct asker *asker = asker_new(bootstrap, command_config, fail);
    if (asker == NULL)
        return NULL;
    struct by_requests *self = xcalloc(1, sizeof(*self));
    self->asker = asker;
    self->base = (struct reassign_backend){.describe = reassign_describe_by_requests,
                                           .brokers = brokers_by_requests,
                                           .ongoing = ongoing_by_requests,
                                           .start = start_by_requests,
                                           .configure = configure_by_requests,
                                           .cancel = cancel_by_requests,
                                           .find_dirs = find_dirs_by_requests,
                                           .move_dirs = move_dirs_by_requests,
                                           .close = reassign_close_by_requests};
    return &self->base;
}
