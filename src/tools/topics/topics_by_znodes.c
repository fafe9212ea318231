/*
 * The way of Kafka before 2.2, for a cluster whose brokers cannot be asked: topics are read and written in ZooKeeper,
 * where the controller finds what is to be created, grown or deleted. Nobody tells whether it will come to that: what
 * is printed is what was written.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cluster/internal_topics.h"
#include "controller/admin.h"
#include "tools/kit/zk_nodes.h"
#include "tools/topics/topics.h"

struct by_znodes {
    struct topic_backend base;
    struct zk_session *session;
    struct broker_config config; /* Kafka's defaults */
};

static struct by_znodes *topics_by_znodes_self_of(struct topic_backend *b)
{
    return CONTAINER_OF(b, struct by_znodes, base);
}

/* ---- Reading ---- */

static bool topics_by_znodes_has_name(const struct str *names, int32_t count, struct str name)
{
    for (int32_t i = 0; i < count; i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

static bool names_by_znodes(struct topic_backend *b, struct topic_name **out, int32_t *count, struct fail *fail)
{
    struct str *topics, *deleted;
    int32_t n, deleted_count;
    struct by_znodes *s = topics_by_znodes_self_of(b);
    if (!zk_nodes_children(s->session, &s->base.arena, ZNODE_TOPICS, &topics, &n, fail) ||
        !zk_nodes_children(s->session, &s->base.arena, ZNODE_DELETE_TOPICS, &deleted, &deleted_count, fail))
        return false;
    *out = ARENA_ARRAY(&b->arena, struct topic_name, MAX(n, 1));
    *count = n;
    for (int32_t i = 0; i < n; i++)
        (*out)[i] = (struct topic_name){.name = topics[i],
                                        .internal = topic_is_internal(topics[i]),
                                        .being_deleted = topics_by_znodes_has_name(deleted, deleted_count, topics[i])};
    return true;
}

/* Parts and their states, one batch for all. */
static bool topics_by_znodes_read_states(struct by_znodes *s, struct topic_info *t, const struct topic_znode *z,
                                         struct fail *fail)
{
    char path[ZNODE_PATH_ROOM];
    struct arena *a = &s->base.arena;
    char *name = arena_cstr(a, t->name.name);
    struct zk_batch *b = zk_session_batch(s->session);
    t->part_count = z->partition_count;
    t->parts = ARENA_ARRAY(a, struct topic_part, MAX(t->part_count, 1));
    for (int32_t p = 0; p < t->part_count; p++)
        zk_get(b, state_path(path, name, topic_number(z, p)), false)->owner = &t->parts[p];
    if (t->part_count > 0)
        zk_session_run(s->session, b);
    bool ok = true;
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read) {
        bool there;
        struct partition_znode state = {.leader = -1};
        struct topic_part *part = read->owner;
        int32_t p = (int32_t)(part - t->parts);
        ok = ok && zk_nodes_read(read, &there, fail);
        if (ok && there && !partition_decode(a, name, topic_number(z, p), read->value, &state))
            state.leader = -1;
        *part = (struct topic_part){.index = topic_number(z, p),
                                    .leader = state.leader,
                                    .replicas = z->replicas[p],
                                    .isr = int_list_copy(a, state.isr)};
        if (z->adding != NULL)
            part->adding = z->adding[p];
        if (z->removing != NULL)
            part->removing = z->removing[p];
        part->reassigning = part->adding.n + part->removing.n > 0;
    }
    zk_batch_free(b);
    return ok;
}

static void read_configs(struct by_znodes *s, struct topic_info *t, const struct config_znode *own)
{
    struct strbuf text = {0};
    const struct config_pair *min_isr = config_find(own, "min.insync.replicas");
    t->min_isr = min_isr != NULL ? atoi(min_isr->value) : s->config.min_insync_replicas;
    for (int32_t i = 0; i < own->count; i++)
        strbuf_printf(&text, "%s%s=%s", i > 0 ? "," : "", own->entries[i].key, own->entries[i].value);
    t->configs = arena_str(&s->base.arena, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
}

static bool topics_by_znodes_describe_one(struct by_znodes *s, const struct topic_name *name, struct topic_info *out,
                                          struct fail *fail)
{
    char path[ZNODE_PATH_ROOM];
    struct arena *a = &s->base.arena;
    struct topic_znode z;
    struct config_znode own = {0};
    char *text = arena_cstr(a, name->name);
    struct zk_batch *b = zk_session_batch(s->session);
    const struct zk_op *topic = zk_get(b, topic_path(path, text), false);
    const struct zk_op *config = zk_get(b, config_path(path, "topics", text), false);
    zk_session_run(s->session, b);
    out->name = *name;
    bool there, configured, ok = zk_nodes_read(topic, &there, fail) && zk_nodes_read(config, &configured, fail);
    bool readable = ok && there && topic_decode(a, text, topic->value, &z) &&
                    (!configured || config_decode(a, path, config->value, &own));
    if (ok && !readable)
        fail_set(fail, "The znodes of topic %s cannot be read", text);
    zk_batch_free(b);
    if (!readable)
        return false;
    out->name.id = z.id;
    read_configs(s, out, &own);
    return topics_by_znodes_read_states(s, out, &z, fail);
}

static bool topics_describe_by_znodes(struct topic_backend *b, const struct topic_name *names, int32_t count,
                                      struct topic_info *out, struct fail *fail)
{
    struct registration *brokers;
    int32_t broker_count;
    struct by_znodes *s = topics_by_znodes_self_of(b);
    if (!zk_nodes_brokers(s->session, &s->base.arena, &brokers, &broker_count, fail))
        return false;
    int32_t *ids = ARENA_ARRAY(&b->arena, int32_t, MAX(broker_count, 1));
    for (int32_t i = 0; i < broker_count; i++)
        ids[i] = brokers[i].id;
    for (int32_t i = 0; i < count; i++) {
        if (!topics_by_znodes_describe_one(s, &names[i], &out[i], fail))
            return false;
        out[i].brokers = ids;
        out[i].broker_count = broker_count;
    }
    return true;
}

/* ---- Changes: the same checks and znodes as the broker's ---- */

/* Brokers, and topics by name only: all that the checks look at. */
static struct view *read_view(struct by_znodes *s, struct fail *fail)
{
    struct registration *brokers;
    struct str *topics;
    int32_t broker_count, topic_count;
    if (!zk_nodes_brokers(s->session, &s->base.arena, &brokers, &broker_count, fail) ||
        !zk_nodes_children(s->session, &s->base.arena, ZNODE_TOPICS, &topics, &topic_count, fail))
        return NULL;
    struct int_list somebody = {(int32_t[]){0}, 1}; /* a view has no partitions without replicas */
    struct partition_change *parts = ARENA_ARRAY(&s->base.arena, struct partition_change, MAX(topic_count, 1));
    for (int32_t i = 0; i < topic_count; i++)
        parts[i] =
            (struct partition_change){.topic = topics[i], .state = {.leader = LEADER_NONE, .replicas = somebody}};
    struct view *empty = view_new();
    struct view *v = view_apply(empty, &(struct view_change){.controller_id = -1,
                                                             .brokers = brokers,
                                                             .broker_count = broker_count,
                                                             .partitions = parts,
                                                             .partition_count = topic_count});
    view_unref(empty);
    return v;
}

struct change {
    struct topics_request request;
    struct zk_session *session;
};

static void topics_by_znodes_on_changed(struct topics_request *r)
{
    zk_session_wake(CONTAINER_OF(r, struct change, request)->session);
}

/* Carries out `change` for the topics; the first that failed gives the message. */
static bool apply(struct by_znodes *s, void (*change)(struct topics_request *r), struct topic_request *topics,
                  int32_t count, struct fail *fail)
{
    struct view *view = read_view(s, fail);
    if (view == NULL)
        return false;
    struct change c = {.session = s->session,
                       .request = {.arena = &s->base.arena,
                                   .zk = zk_session_zk(s->session),
                                   .config = &s->config,
                                   .view = view,
                                   .topics = topics,
                                   .count = count,
                                   .done = topics_by_znodes_on_changed}};
    change(&c.request);
    zk_session_wait(s->session);
    view_unref(view);
    for (int32_t i = 0; i < count; i++)
        if (topics[i].error != ERR_NONE) {
            struct str text =
                topics[i].message.len > 0 ? topics[i].message : str_of(error_message((int16_t)topics[i].error));
            return fail_set(fail, "%.*s", STR_ARGS(text));
        }
    return true;
}

static struct topic_request to_request(const struct topic_plan *plan)
{
    return (struct topic_request){.name = plan->name,
                                  .partitions = plan->partitions,
                                  .factor = plan->factor,
                                  .manual = plan->assignments,
                                  .manual_count = plan->assignment_count,
                                  .configs = plan->configs,
                                  .config_count = plan->config_count};
}

static bool create_by_znodes(struct topic_backend *b, struct topic_plan *plan, bool *exists, struct fail *fail)
{
    struct topic_request t = to_request(plan);
    bool ok = apply(topics_by_znodes_self_of(b), topics_create, &t, 1, fail);
    *exists = t.error == ERR_TOPIC_ALREADY_EXISTS;
    return ok;
}

static bool grow_by_znodes(struct topic_backend *b, struct topic_plan *plans, int32_t count, struct fail *fail)
{
    struct topic_request *topics = ARENA_ARRAY(&b->arena, struct topic_request, MAX(count, 1));
    for (int32_t i = 0; i < count; i++) {
        if (str_is(plans[i].name, GROUP_METADATA_TOPIC))
            return fail_set(fail, "The number of partitions for the offsets topic cannot be changed.");
        topics[i] = to_request(&plans[i]);
    }
    return apply(topics_by_znodes_self_of(b), partitions_create, topics, count, fail);
}

static bool remove_by_znodes(struct topic_backend *b, const struct topic_name *names, int32_t count, struct fail *fail)
{
    for (int32_t i = 0; i < count; i++) {
        struct topic_request t = {.name = names[i].name};
        if (names[i].internal)
            return fail_set(fail, "Topic %.*s is a kafka internal topic and is not allowed to be marked for deletion.",
                            STR_ARGS(names[i].name));
        if (names[i].being_deleted) {
            printf("Topic %.*s is already marked for deletion.\n", STR_ARGS(names[i].name));
            continue;
        }
        if (!apply(topics_by_znodes_self_of(b), topics_delete, &t, 1, fail))
            return false;
        printf("Topic %.*s is marked for deletion.\n"
               "Note: This will have no impact if delete.topic.enable is not set to true.\n",
               STR_ARGS(names[i].name));
    }
    return true;
}

static bool topics_by_znodes_is_dropped(const char *key, const struct config_pair *add, int32_t add_count,
                                        const char *const *drop, int32_t drop_count)
{
    for (int32_t i = 0; i < add_count; i++)
        if (strcmp(add[i].key, key) == 0)
            return true;
    for (int32_t i = 0; i < drop_count; i++)
        if (strcmp(drop[i], key) == 0)
            return true;
    return false;
}

static bool topics_configure_by_znodes(struct topic_backend *b, struct str topic, const struct config_pair *add,
                                       int32_t add_count, const char *const *drop, int32_t drop_count,
                                       struct fail *fail)
{
    struct by_znodes *s = topics_by_znodes_self_of(b);
    bool there;
    char *name = arena_cstr(&b->arena, topic);
    struct config_znode old, new = {0};
    if (!zk_nodes_read_config(s->session, &b->arena, "topics", name, &old, &there, fail))
        return false;
    new.entries = ARENA_ARRAY(&b->arena, struct config_pair, old.count + add_count + 1);
    for (int32_t i = 0; i < old.count; i++)
        if (!topics_by_znodes_is_dropped(old.entries[i].key, add, add_count, drop, drop_count))
            new.entries[new.count++] = old.entries[i];
    for (int32_t i = 0; i < add_count; i++)
        new.entries[new.count++] = add[i];
    return topic_config_check(&s->config, new.entries, (size_t) new.count, fail) &&
           zk_nodes_write_config(s->session, "topics", name, &new, there, fail);
}

/* ---- Life ---- */

static void topics_close_by_znodes(struct topic_backend *b)
{
    struct by_znodes *s = topics_by_znodes_self_of(b);
    zk_session_close(s->session);
    config_deinit(&s->config);
    arena_deinit(&b->arena);
    free(s);
}

struct topic_backend *topics_by_znodes(const char *connect, struct fail *fail)
{
    static const char *const overrides[] = {"zookeeper.connect=unused"}; /* a broker must have one */
    struct by_znodes *s = xcalloc(1, sizeof(*s));
    struct config_options options = {.overrides = overrides, .override_count = 1};
    s->base = (struct topic_backend){.names = names_by_znodes,
                                     .describe = topics_describe_by_znodes,
                                     .layout = topics_describe_by_znodes,
                                     .create = create_by_znodes,
                                     .grow = grow_by_znodes,
                                     .remove = remove_by_znodes,
                                     .configure = topics_configure_by_znodes,
                                     .close = topics_close_by_znodes};
    if (!config_load(&s->config, &options, fail)) {
        free(s);
        return NULL;
    }
    s->session = zk_session_open(connect, NULL, fail);
    if (s->session != NULL)
        return &s->base;
    config_deinit(&s->config);
    free(s);
    return NULL;
}
