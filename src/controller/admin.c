/*
 * What admins ask for topics. Each of a request's is checked by itself, by its name, what else is called so, and how
 * much is asked for; one that cannot be done gets its error, and the others go on. What is left is written to ZooKeeper
 * in a batch: nodes that are new, a topic's node in another version, or a mark that it is to be deleted. What is
 * already there, or was changed meanwhile, is each one's own error again. The controller sees the nodes, and does the
 * rest.
 */
#include "controller/admin.h"

#include <inttypes.h>

#include "base/logger.h"
#include "controller/placement.h"

/* As it is written in JSON, "0":[1], */
enum { LEAST_OF_A_PARTITION = 5, LEAST_OF_A_REPLICA = 2, MOST_REPLICAS = 1000000 };
#define TOO_MANY "Excessively large number of partitions per request."

/* ---- Names ---- */

struct str topic_name_problem(struct arena *a, struct str name)
{
    if (topic_name_is_legal(name))
        return STR_NULL;
    if (name.len == 0)
        return STR_LIT("Topic name is invalid: the empty string is not allowed");
    if (str_is(name, ".") || str_is(name, ".."))
        return arena_printf(a, "Topic name is invalid: '%.*s' is not allowed", STR_ARGS(name));
    if (name.len > LONGEST_TOPIC_NAME)
        return arena_printf(a, "Topic name is invalid: the length of '%.*s' is longer than the max allowed length %d",
                            STR_ARGS(name), LONGEST_TOPIC_NAME);
    return arena_printf(a,
                        "Topic name is invalid: '%.*s' contains one or more characters other than "
                        "ASCII alphanumerics, '.', '_' and '-'",
                        STR_ARGS(name));
}

/* ---- Requests ---- */

static void admin_refuse(struct topic_request *t, enum kafka_error error, struct str message)
{
    t->error = error;
    t->message = message;
}

static bool may_change(struct topics_request *r, struct topic_request *t, int32_t partitions)
{
    if (r->may_change == NULL || r->may_change(r, partitions))
        return true;
    admin_refuse(t, ERR_THROTTLING_QUOTA_EXCEEDED, STR_NULL);
    return false;
}

/* ---- Assignments that a client has made ---- */

static bool refuse_assignment(struct topic_request *t, struct str why)
{
    admin_refuse(t, ERR_INVALID_REPLICA_ASSIGNMENT, why);
    return false;
}

static bool refuse_unknown_brokers(struct topics_request *r, struct topic_request *t, struct int_list unknown)
{
    struct str text = int_list_text(r->arena, unknown);
    return refuse_assignment(t,
                             arena_printf(r->arena, "Unknown broker(s) in replica assignment: %.*s.", STR_ARGS(text)));
}

static bool has_factor(const struct topic_request *t, int32_t factor)
{
    for (int32_t p = 0; p < t->manual_count; p++)
        if (t->manual[p].n != factor)
            return false;
    return true;
}

/* Of a new topic: its replicas may be on brokers that are not there yet. */
static bool check_assignment(struct topics_request *r, struct topic_request *t)
{
    if (t->manual_has_gap)
        return refuse_assignment(t, STR_LIT("partitions should be a consecutive 0-based integer sequence"));
    if (t->manual_count > 0 && (t->factor == 0 || !has_factor(t, t->factor)))
        return refuse_assignment(t, STR_LIT("All partitions should have the same number of replicas"));
    for (int32_t p = 0; p < t->manual_count; p++) {
        struct int_list list = t->manual[p];
        struct str text = int_list_has_repeats(list) ? int_list_text(r->arena, list) : STR_NULL;
        if (text.p != NULL)
            return refuse_assignment(t, arena_printf(r->arena,
                                                     "Duplicate replica assignment found: HashMap(%" PRId32
                                                     " -> ArrayBuffer(%.*s))",
                                                     p, STR_ARGS(text)));
        for (int32_t i = 0; i < list.n; i++)
            if (list.v[i] < 0)
                return refuse_unknown_brokers(r, t, (struct int_list){&list.v[i], 1});
    }
    return true;
}

/* Before any of them is looked up. */
static bool may_name_so_many(struct topic_request *t)
{
    int64_t replicas = 0;
    for (int32_t p = 0; p < t->manual_count; p++)
        replicas += t->manual[p].n;
    if (replicas > MOST_REPLICAS)
        admin_refuse(t, ERR_POLICY_VIOLATION, STR_LIT(TOO_MANY));
    return replicas <= MOST_REPLICAS;
}

static bool check_brokers_known(struct topics_request *r, struct topic_request *t)
{
    struct int_list unknown = {0};
    for (int32_t p = 0; p < t->manual_count; p++)
        for (int32_t i = 0; i < t->manual[p].n; i++)
            if (view_broker(r->view, t->manual[p].v[i]) == NULL)
                int_list_append(&unknown, t->manual[p].v[i]);
    int_list_make_unique(&unknown);
    bool ok = unknown.n == 0 || refuse_unknown_brokers(r, t, unknown);
    free(unknown.v);
    return ok;
}

static bool refuse_factors(struct topics_request *r, struct topic_request *t, int32_t old, int32_t factor)
{
    struct int_list partitions = {0}, factors = {0};
    for (int32_t p = 0; p < t->manual_count; p++) {
        if (t->manual[p].n != factor) {
            int_list_append(&partitions, old + p);
            int_list_append(&factors, t->manual[p].n);
        }
    }
    struct str which = int_list_text(r->arena, partitions), what = int_list_text(r->arena, factors);
    free(partitions.v);
    free(factors.v);
    return refuse_assignment(t, arena_printf(r->arena,
                                             "Inconsistent replication factor between partitions, partition 0 has "
                                             "%" PRId32 " while partitions [%.*s] have replication factors [%.*s], "
                                             "respectively.",
                                             factor, STR_ARGS(which), STR_ARGS(what)));
}

/* Of partitions that a topic with `old` ones gets more. */
static bool check_added_assignment(struct topics_request *r, struct topic_request *t, int32_t old, int32_t factor)
{
    int32_t add = t->partitions - old;
    if (!may_name_so_many(t) || !check_brokers_known(r, t))
        return false;
    if (t->manual_count != add)
        return refuse_assignment(t, arena_printf(r->arena,
                                                 "Increasing the number of partitions by %" PRId32 " but %" PRId32
                                                 " assignments provided.",
                                                 add, t->manual_count));
    for (int32_t p = 0; p < add; p++) {
        struct int_list list = t->manual[p];
        if (list.n == 0)
            return refuse_assignment(
                t,
                arena_printf(r->arena, "Cannot have replication factor of 0 for partition id %" PRId32 ".", old + p));
        if (!int_list_has_repeats(list))
            continue;
        struct str text = int_list_text(r->arena, list);
        return refuse_assignment(t, arena_printf(r->arena,
                                                 "Duplicate brokers not allowed in replica assignment: %.*s for "
                                                 "partition id %" PRId32 ".",
                                                 STR_ARGS(text), old + p));
    }
    return has_factor(t, factor) || refuse_factors(r, t, old, factor);
}

/* ---- Creation ---- */

static struct str already_exists(struct topics_request *r, const struct topic_request *t)
{
    return arena_printf(r->arena, "Topic '%.*s' already exists.", STR_ARGS(t->name));
}

static bool check_new(struct topics_request *r, struct topic_request *t)
{
    if (view_topic(r->view, t->name) == NULL)
        return true;
    admin_refuse(t, ERR_TOPIC_ALREADY_EXISTS, already_exists(r, t));
    return false;
}

static bool check_name(struct topics_request *r, struct topic_request *t)
{
    if (str_is(t->name, CLUSTER_METADATA_TOPIC)) {
        admin_refuse(t, ERR_INVALID_REQUEST,
                     STR_LIT("Creation of internal topic " CLUSTER_METADATA_TOPIC " is prohibited."));
        return false;
    }
    struct str problem = topic_name_problem(r->arena, t->name);
    if (problem.p != NULL) {
        admin_refuse(t, ERR_INVALID_TOPIC_EXCEPTION, problem);
        return false;
    }
    const struct view_topic *other = view_topic_alike(r->view, t->name);
    if (other != NULL) {
        admin_refuse(
            t, ERR_INVALID_TOPIC_EXCEPTION,
            arena_printf(r->arena, "Topic '%.*s' collides with existing topics: %s", STR_ARGS(t->name), other->name));
        return false;
    }
    return true;
}

static bool refuse_size(struct topics_request *r, struct topic_request *t)
{
    admin_refuse(t, ERR_INVALID_PARTITIONS,
                 arena_printf(r->arena,
                              "Number of partitions is too large: what ZooKeeper has of a topic is at most %d bytes.",
                              ZK_LARGEST_DATA));
    return false;
}

/*
 * Before anything is done for them: the request's partitions and their replicas, by the least that ZooKeeper needs for
 * each topic's, and by what one request may cost.
 */
static bool may_ask_for(struct topics_request *r, struct topic_request *t, int32_t partitions, int32_t factor)
{
    int64_t count = MAX(partitions, 0), replicas = count * MAX(factor, 1);
    if (count * LEAST_OF_A_PARTITION + replicas * LEAST_OF_A_REPLICA > ZK_LARGEST_DATA)
        return refuse_size(r, t);
    r->replicas += replicas;
    if (r->replicas <= MOST_REPLICAS)
        return true;
    admin_refuse(t, ERR_POLICY_VIOLATION, STR_LIT(TOO_MANY));
    return false;
}

static bool plan_topic(struct topics_request *r, struct topic_request *t, struct topic_znode *out)
{
    struct fail fail;
    const struct view_brokers *b = r->view->brokers;
    if (t->error != ERR_NONE || !check_new(r, t))
        return false;
    if (t->flaw != ERR_NONE) {
        admin_refuse(t, t->flaw, t->flaw_message);
        return false;
    }
    if (t->manual != NULL) {
        t->partitions = t->manual_count;
        t->factor = t->manual_count > 0 ? t->manual[0].n : 0;
        out->replicas = t->manual;
        if (!may_ask_for(r, t, t->partitions, t->factor) || !check_name(r, t) || !check_assignment(r, t))
            return false;
    } else {
        if (t->partitions == -1)
            t->partitions = r->config->num_partitions;
        if (t->factor == -1)
            t->factor = r->config->default_replication_factor;
        if (!may_ask_for(r, t, t->partitions, MIN(t->factor, b->n)))
            return false;
        out->replicas = ARENA_ARRAY(r->arena, struct int_list, MAX(t->partitions, 1));
        struct str message = STR_NULL;
        enum kafka_error error =
            replicas_place(r->arena, b->v, b->n, t->partitions, t->factor, -1, 0, out->replicas, &message);
        if (error != ERR_NONE) {
            admin_refuse(t, error, message);
            return false;
        }
        if (!check_name(r, t))
            return false;
    }
    if (!topic_config_check(r->config, t->configs, (size_t)t->config_count, &fail)) {
        admin_refuse(t, ERR_INVALID_CONFIG, arena_printf(r->arena, "%s", fail.text));
        return false;
    }
    out->partition_count = t->partitions;
    out->id = t->id = uuid_random();
    return topic_encoded_size(out) <= ZK_LARGEST_DATA || refuse_size(r, t);
}

/* What is asked of ZooKeeper for one topic; in the request's arena. */
struct creation {
    struct topic_request *topic;
    struct topic_znode planned;
    const struct zk_op *node, *config, *mark; /* of the batch under way; NULL: none */
};

/* It has got an id when it was planned. */
static void refuse_creation(struct topic_request *t, enum kafka_error error, struct str message)
{
    admin_refuse(t, error, message);
    t->id = UUID_ZERO;
}

static void finish_batch(struct zk_batch *b)
{
    struct topics_request *r = b->ctx;
    zk_batch_free(b);
    r->done(r);
}

static void admin_on_created(struct zk_batch *b)
{
    struct topics_request *r = b->ctx;
    const struct zk_op *node;
    ZK_OWNED_FOREACH (b, node) {
        const struct creation *c = node->owner;
        struct topic_request *t = c->topic;
        enum zk_result result = node->result, config = c->config->result;
        if (result == ZK_NODE_EXISTS || config == ZK_NODE_EXISTS || config == ZK_BAD_VERSION)
            refuse_creation(t, ERR_TOPIC_ALREADY_EXISTS, already_exists(r, t));
        else if (result == ZK_TOO_LARGE)
            refuse_creation(t, ERR_INVALID_CONFIG,
                            STR_LIT("The topic's configuration is larger than ZooKeeper takes."));
        else if (result == ZK_SESSION_EXPIRED)
            refuse_creation(t, ERR_NOT_CONTROLLER, STR_LIT("The ZooKeeper session has expired."));
        else if (result != ZK_OK || config != ZK_OK)
            refuse_creation(t, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("ZooKeeper refused to store the topic."));
        else
            log_info("Created topic %.*s with %" PRId32 " partitions", STR_ARGS(t->name), t->partitions);
    }
    finish_batch(b);
}

static void submit_or_finish(struct zk_batch *b, struct topics_request *r)
{
    b->ctx = r;
    if (b->count > 0)
        zk_submit(r->zk, b);
    else
        finish_batch(b);
}

/*
 * The topic's node and its configuration are made in one transaction: of two that create it at once, the loser must
 * not leave its configuration to the winner's topic.
 */
static void add_creation(struct zk_batch *b, struct creation *c)
{
    char path[ZNODE_PATH_ROOM];
    struct topic_request *t = c->topic;
    char *name = arena_cstr(&b->arena, t->name);
    struct config_znode configs = {t->configs, t->config_count};
    struct bytes data = config_encode(&b->arena, &configs);
    struct zk_op *config;
    config_path(path, "topics", name);
    if (c->config->result == ZK_OK) /* left by an earlier topic of that name */
        config = zk_set(b, path, data, c->config->stat.version);
    else
        config = zk_create(b, path, data, ZK_PERSISTENT);
    config->with_next = true;
    c->config = config;
    zk_create(b, topic_path(path, name), topic_encode(&b->arena, &c->planned), ZK_PERSISTENT)->owner = c;
}

static void on_places_seen(struct zk_batch *seen)
{
    struct topics_request *r = seen->ctx;
    struct zk_batch *b = zk_batch_new(admin_on_created);
    const struct zk_op *node;
    ZK_OWNED_FOREACH (seen, node) {
        struct creation *c = node->owner;
        struct topic_request *t = c->topic;
        if (c->mark->result == ZK_OK)
            refuse_creation(t, ERR_TOPIC_ALREADY_EXISTS,
                            arena_printf(r->arena, "Topic '%.*s' is marked for deletion.", STR_ARGS(t->name)));
        else if (node->result == ZK_OK)
            refuse_creation(t, ERR_TOPIC_ALREADY_EXISTS, already_exists(r, t));
        else if (r->validate_only)
            continue;
        else if (may_change(r, t, t->partitions))
            add_creation(b, c);
        else
            t->id = UUID_ZERO;
    }
    zk_batch_free(seen);
    submit_or_finish(b, r);
}

void topics_create(struct topics_request *r)
{
    struct zk_batch *b = zk_batch_new(on_places_seen);
    char path[ZNODE_PATH_ROOM];
    for (int32_t i = 0; i < r->count; i++) {
        struct creation *c = ARENA_NEW(r->arena, struct creation);
        c->topic = &r->topics[i];
        if (!plan_topic(r, c->topic, &c->planned))
            continue;
        char *name = arena_cstr(&b->arena, c->topic->name);
        zk_exists(b, topic_path(path, name), false)->owner = c;
        c->config = zk_exists(b, config_path(path, "topics", name), false);
        c->mark = zk_exists(b, delete_topic_path(path, name), false);
    }
    submit_or_finish(b, r);
}

/* ---- Deletion ---- */

static void on_marked(struct zk_batch *b)
{
    const struct zk_op *mark;
    ZK_OWNED_FOREACH (b, mark)
        if (mark->result != ZK_OK && mark->result != ZK_NODE_EXISTS) /* being deleted already is as good */
            admin_refuse(mark->owner, ERR_UNKNOWN_SERVER_ERROR, STR_NULL);
    finish_batch(b);
}

void topics_delete(struct topics_request *r)
{
    struct zk_batch *b = zk_batch_new(on_marked);
    char path[ZNODE_PATH_ROOM];
    for (int32_t i = 0; i < r->count; i++) {
        struct topic_request *t = &r->topics[i];
        const struct view_topic *known = t->error == ERR_NONE ? view_topic(r->view, t->name) : NULL;
        if (t->error != ERR_NONE || !may_change(r, t, known != NULL ? known->partition_count : 0))
            continue;
        delete_topic_path(path, arena_cstr(&b->arena, t->name));
        zk_create(b, path, (struct bytes){NULL, 0}, ZK_PERSISTENT)->owner = t;
    }
    submit_or_finish(b, r);
}

/* ---- More partitions ---- */

/* Those of `all` behind the topic's: as the client says, or on from the broker that leads the topic's first one. */
static bool place_added(struct topics_request *r, struct topic_request *t, const struct topic_znode *z,
                        struct int_list *all)
{
    const struct view_brokers *b = r->view->brokers;
    int32_t old = z->partition_count, add = t->partitions - old, factor = z->replicas[0].n, start = 0;
    struct str message = STR_NULL;
    if (t->manual != NULL) {
        if (!check_added_assignment(r, t, old, factor))
            return false;
        memcpy(all + old, t->manual, (size_t)add * sizeof(*all));
        return true;
    }
    while (start < b->n - 1 && b->v[start].id < z->replicas[0].v[0])
        start++;
    enum kafka_error error = replicas_place(r->arena, b->v, b->n, add, factor, start, old, all + old, &message);
    if (error != ERR_NONE)
        admin_refuse(t, error, message);
    return error == ERR_NONE;
}

static bool plan_growth(struct topics_request *r, struct topic_request *t, struct topic_znode *z)
{
    int32_t old = z->partition_count;
    if (t->partitions <= old) {
        admin_refuse(t, ERR_INVALID_PARTITIONS,
                     t->partitions == old ? arena_printf(r->arena, "Topic already has %" PRId32 " partitions.", old)
                                          : arena_printf(r->arena,
                                                         "Topic currently has %" PRId32
                                                         " partitions, which is higher than the requested %" PRId32 ".",
                                                         old, t->partitions));
        return false;
    }
    if (topic_number(z, old - 1) != old - 1 || z->replicas[0].n == 0) {
        admin_refuse(t, ERR_INVALID_PARTITIONS,
                     STR_LIT("The topic's partitions are not numbered from 0 on without a gap, or have no replicas."));
        return false;
    }
    if (!may_ask_for(r, t, t->partitions, z->replicas[0].n))
        return false;
    struct int_list *all = ARENA_ARRAY(r->arena, struct int_list, t->partitions);
    memcpy(all, z->replicas, (size_t)old * sizeof(*all));
    if (!place_added(r, t, z, all))
        return false;
    z->replicas = all;
    z->partition_count = t->partitions;
    z->adding = z->removing = NULL;
    z->numbers = NULL;
    return topic_encoded_size(z) <= ZK_LARGEST_DATA || refuse_size(r, t);
}

struct growth { /* in the request's arena */
    struct topic_request *topic;
    const struct zk_op *deletion; /* of the batch that reads */
    struct bytes written;
};

static bool any_is_reassigned(const struct topic_znode *z)
{
    for (int32_t i = 0; i < z->partition_count; i++)
        if ((z->adding != NULL && z->adding[i].n > 0) || (z->removing != NULL && z->removing[i].n > 0))
            return true;
    return false;
}

/* Two would write the topic's node, each without what the other has changed. */
static bool check_rest(struct topics_request *r, struct topic_request *t, const struct topic_znode *z)
{
    if (!any_is_reassigned(z))
        return true;
    admin_refuse(
        t, ERR_REASSIGNMENT_IN_PROGRESS,
        arena_printf(r->arena, "A partition reassignment is in progress for the topic '%.*s'.", STR_ARGS(t->name)));
    return false;
}

/* Somebody has written the node since it was read; perhaps it was this broker, and the answer was lost. */
static void on_read_again(struct zk_batch *b)
{
    struct topics_request *r = b->ctx;
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read) {
        const struct growth *g = read->owner;
        struct topic_znode z = {0};
        struct bytes found = read->value;
        if (read->result == ZK_OK && found.len == g->written.len &&
            memcmp(found.p, g->written.p, (size_t)found.len) == 0)
            continue;
        if (read->result != ZK_OK || !topic_decode(r->arena, arena_cstr(r->arena, g->topic->name), found, &z) ||
            check_rest(r, g->topic, &z))
            admin_refuse(g->topic, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("The topic was changed at the same time."));
    }
    finish_batch(b);
}

static void on_grown(struct zk_batch *b)
{
    struct zk_batch *again = zk_batch_new(on_read_again);
    const struct zk_op *set;
    ZK_OWNED_FOREACH (b, set) {
        struct growth *g = set->owner;
        if (set->result == ZK_BAD_VERSION)
            zk_get(again, set->path, false)->owner = g;
        else if (set->result != ZK_OK)
            admin_refuse(g->topic, ERR_UNKNOWN_SERVER_ERROR, STR_NULL);
    }
    struct topics_request *r = b->ctx;
    zk_batch_free(b);
    submit_or_finish(again, r);
}

/* By the version that was read, as a reassignment may begin meanwhile. */
static void write_growth(struct topics_request *r, struct zk_batch *b, struct growth *g, const struct topic_znode *z,
                         const struct zk_op *read)
{
    g->written = topic_encode(r->arena, z);
    zk_set(b, read->path, g->written, read->stat.version)->owner = g;
}

static void refuse_unknown(struct topics_request *r, struct topic_request *t)
{
    admin_refuse(t, ERR_UNKNOWN_TOPIC_OR_PARTITION,
                 arena_printf(r->arena, "The topic '%.*s' does not exist.", STR_ARGS(t->name)));
}

static void admin_on_topics_read(struct zk_batch *reads)
{
    struct topics_request *r = reads->ctx;
    struct zk_batch *b = zk_batch_new(on_grown);
    const struct zk_op *read;
    ZK_OWNED_FOREACH (reads, read) {
        struct growth *g = read->owner;
        struct topic_request *t = g->topic;
        struct topic_znode z = {0};
        char *name = arena_cstr(r->arena, t->name);
        int32_t old;
        if (read->result != ZK_OK || !topic_decode(r->arena, name, read->value, &z) || z.partition_count == 0)
            refuse_unknown(r, t);
        else if (g->deletion->result == ZK_OK)
            admin_refuse(t, ERR_INVALID_TOPIC_EXCEPTION, STR_LIT("The topic is queued for deletion."));
        else if (old = z.partition_count, check_rest(r, t, &z) && plan_growth(r, t, &z) && !r->validate_only &&
                                              may_change(r, t, t->partitions - old))
            write_growth(r, b, g, &z, read);
    }
    zk_batch_free(reads);
    submit_or_finish(b, r);
}

void partitions_create(struct topics_request *r)
{
    struct zk_batch *b = zk_batch_new(admin_on_topics_read);
    char path[ZNODE_PATH_ROOM];
    for (int32_t i = 0; i < r->count; i++) {
        struct topic_request *t = &r->topics[i];
        if (t->error == ERR_NONE && topic_name_problem(r->arena, t->name).p != NULL)
            refuse_unknown(r, t);
        if (t->error != ERR_NONE)
            continue;
        char *name = arena_cstr(&b->arena, t->name);
        struct growth *g = ARENA_NEW(r->arena, struct growth);
        zk_get(b, topic_path(path, name), false)->owner = g;
        *g = (struct growth){t, zk_exists(b, delete_topic_path(path, name), false), {NULL, 0}};
    }
    submit_or_finish(b, r);
}
