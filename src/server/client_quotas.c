/*
 * DescribeClientQuotas and AlterClientQuotas (KIP-546, KIP-612): limits of users, clients and addresses, which lie in
 * ZooKeeper. Any broker reads and writes them there; whoever writes leaves a notification for all.
 *
 *   describe   lists what there is, reads what is asked for, and of users the clients too.
 *   alter      reads an entity, makes of it what is to be, and writes that if nobody else has meanwhile; else again.
 *
 * What else an entity's node has stays: the SCRAM credentials of a user. A node that has nothing any more goes, and
 * with it those above it that were there for its sake alone.
 */
#include <inttypes.h>
#include <math.h>

#include "net/addresses.h"
#include "protocol/msg/alter_client_quotas.h"
#include "protocol/msg/describe_client_quotas.h"
#include "server/authorize.h"

/* A name service that hangs may take ten seconds for each name, on a thread that others want, too. */
enum { QUOTA_ATTEMPTS = 10, MOST_HOST_NAMES = 16 };

#define IP_KEY "connection_creation_rate"
#define TYPE_USER "user"
#define TYPE_CLIENT "client-id"
#define TYPE_IP "ip"

/* ---- Keys ---- */

enum quota_form { FORM_UNKNOWN, FORM_DOUBLE, FORM_LONG, FORM_INT };

static enum quota_form quota_form(const char *key, bool of_ip)
{
    if (of_ip)
        return strcmp(key, IP_KEY) == 0 ? FORM_INT : FORM_UNKNOWN;
    for (int t = 0; t < QUOTA_TYPES; t++)
        if (strcmp(key, quota_key((enum quota_type)t)) == 0)
            return t == QUOTA_PRODUCE || t == QUOTA_FETCH ? FORM_LONG : FORM_DOUBLE;
    return FORM_UNKNOWN;
}

static const char *double_text(struct arena *a, double value)
{
    struct strbuf text = {0};
    config_format_double(value, &text);
    const char *out = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
    return out;
}

/* NULL: the value is not of that form. A whole number may be off by a millionth. */
static const char *value_text(struct arena *a, enum quota_form form, double value)
{
    double most = form == FORM_LONG ? 9e18 : INT32_MAX, off = 1e-6;
    if (form == FORM_DOUBLE)
        return isfinite(value) ? double_text(a, value) : NULL;
    if (!(fabs(value) <= most) || fabs((double)(int64_t)(value + off) - value) > off)
        return NULL;
    return arena_printf(a, "%" PRId64, (int64_t)(value + off)).p;
}

/* ---- Alter ---- */

/* One entity: what is asked for, and what became of it. */
struct quota_change {
    const struct alter_client_quotas_entry_data *in;
    enum kafka_error error;
    struct str message;
    bool done;
    const char *entity; /* below /config */
    const char *user;   /* the node of the user whose client it is, and the node of all its clients; NULL: it is none */
    const char *clients;
    const struct zk_op *clients_gone; /* while what is left of them is cleaned up */
    const char *host;                 /* of an address: it must have one */
    bool host_is_name;
    bool has_children;
    struct config_znode pairs; /* that it is to have */
};

struct quota_changes {
    struct request *r;
    struct alter_client_quotas_request request;
    struct quota_change *items;
    int32_t count, attempts;
};

static void quota_settle(struct quota_change *x, enum kafka_error error, struct str message)
{
    x->error = error;
    x->message = message;
    x->done = true;
}

static void quota_refuse(struct quota_change *x, struct str message)
{
    quota_settle(x, ERR_INVALID_REQUEST, message);
}

/* The names as paths have them; NULL: the entity has no such part. */
struct quota_names {
    const char *user, *client, *ip;
};

static const char *coded_name(struct arena *a, struct str name)
{
    return name.p == NULL ? CONFIG_OF_ALL_BROKERS : entity_name_encode(a, name);
}

static bool take_names(struct quota_change *x, struct arena *a, struct quota_names *names)
{
    for (int32_t i = 0; i < x->in->entity.len; i++) {
        struct str type = x->in->entity.items[i].entity_type, name = x->in->entity.items[i].entity_name;
        const char **place = str_is(type, TYPE_USER)     ? &names->user
                             : str_is(type, TYPE_CLIENT) ? &names->client
                             : str_is(type, TYPE_IP)     ? &names->ip
                                                         : NULL;
        if (place == NULL)
            quota_refuse(
                x, arena_printf(a, "Unhandled client quota entity type: %.*s", STR_ARGS(str_head(type, MOST_SAID))));
        else if (name.p != NULL && name.len == 0)
            quota_refuse(x, arena_printf(a, "Empty %.*s not supported", STR_ARGS(type)));
        else if (!zk_name_is_legal(str_of(coded_name(a, name))))
            quota_refuse(x, arena_printf(a, "The %.*s cannot be the name of a node in ZooKeeper", STR_ARGS(type)));
        if (x->done)
            return false;
        *place = coded_name(a, name);
    }
    return true;
}

static void name_entity(struct quota_change *x, struct arena *a)
{
    struct quota_names n = {0};
    if (x->in->entity.len <= 0) {
        quota_refuse(x, STR_LIT("Invalid empty client quota entity"));
        return;
    }
    if (!take_names(x, a, &n))
        return;
    if (n.ip != NULL && (n.user != NULL || n.client != NULL)) {
        quota_refuse(x, STR_LIT("Invalid quota entity combination, IP entity should not be used with user/client ID "
                                "entity."));
    } else if (n.ip != NULL) {
        x->entity = arena_printf(a, "ips/%s", n.ip).p;
        x->host = n.ip;
    } else if (n.user == NULL) {
        x->entity = arena_printf(a, "clients/%s", n.client).p;
    } else if (n.client == NULL) {
        x->entity = arena_printf(a, "users/%s", n.user).p;
    } else {
        x->entity = arena_printf(a, "users/%s/clients/%s", n.user, n.client).p;
        x->user = arena_printf(a, ZNODE_CONFIG_USERS "/%s", n.user).p;
        x->clients = arena_printf(a, "%s/clients", x->user).p;
    }
}

static const char *node_of(struct arena *a, const struct quota_change *x)
{
    return arena_printf(a, ZNODE_CONFIG "/%s", x->entity).p;
}

static bool has_address(const char *host, bool numeric)
{
    struct addresses found = {0};
    bool any = addresses_find(&found, host, 0, numeric);
    addresses_clear(&found);
    return any;
}

/* How many hosts have names that must be looked up, which the first few are. */
static int32_t count_host_names(struct quota_changes *all)
{
    int32_t count = 0;
    for (int32_t i = 0; i < all->count; i++) {
        struct quota_change *x = &all->items[i];
        if (x->done || x->host == NULL || strcmp(x->host, CONFIG_OF_ALL_BROKERS) == 0)
            continue;
        x->host_is_name = !has_address(x->host, true);
        count += x->host_is_name;
        if (x->host_is_name && count > MOST_HOST_NAMES)
            quota_refuse(x, arena_printf(all->r->arena,
                                         "%s is not looked up: a request may have %d names of hosts at most, and as "
                                         "many addresses as it likes",
                                         x->host, MOST_HOST_NAMES));
    }
    return count;
}

/* On a worker. */
static void find_hosts(struct request *r)
{
    struct quota_changes *all = r->state;
    for (int32_t i = 0; i < all->count; i++) {
        struct quota_change *x = &all->items[i];
        if (!x->done && x->host_is_name && !has_address(x->host, false))
            quota_refuse(x, arena_printf(r->arena, "%s is not a valid IP or resolvable host.", x->host));
    }
}

static void quota_apply(struct quota_change *x, struct arena *a, const struct alter_client_quotas_op_data *op)
{
    const char *key = str_has_zero(op->key) ? "" : arena_cstr(a, op->key);
    enum quota_form form = quota_form(key, x->host != NULL);
    struct config_pair *pair = config_find(&x->pairs, key);
    if (op->remove) {
        if (form != FORM_UNKNOWN && pair != NULL)
            *pair = x->pairs.entries[--x->pairs.count];
        return;
    }
    struct str said = str_head(op->key, MOST_SAID);
    const char *text = value_text(a, form, op->value);
    if (form == FORM_UNKNOWN)
        quota_refuse(x, arena_printf(a, "Invalid configuration key %.*s", STR_ARGS(said)));
    else if (text == NULL)
        quota_refuse(x, arena_printf(a, "Configuration %.*s must be a %s value", STR_ARGS(said),
                                     form == FORM_DOUBLE ? "DOUBLE"
                                     : form == FORM_LONG ? "LONG"
                                                         : "INT"));
    if (x->done)
        return;
    if (pair == NULL)
        pair = &x->pairs.entries[x->pairs.count++];
    *pair = (struct config_pair){key, text};
}

/* What an address is to have must be 0 at least. Apache's finds it as it writes, and answers as for a fault of its own.
 */
static void check_rate(struct quota_change *x)
{
    const struct config_pair *pair = config_find(&x->pairs, IP_KEY);
    if (!x->done && x->host != NULL && pair != NULL && pair->value[0] == '-')
        quota_settle(x, ERR_UNKNOWN_SERVER_ERROR, STR_NULL);
}

static void quota_plan(struct quota_changes *all, struct quota_change *x, const struct config_znode *now)
{
    struct arena *a = all->r->arena;
    int32_t ops = MAX(x->in->ops.len, 0);
    x->pairs = (struct config_znode){ARENA_ARRAY(a, struct config_pair, now->count + ops + 1), now->count};
    for (int32_t i = 0; i < now->count; i++)
        x->pairs.entries[i] = now->entries[i];
    for (int32_t i = 0; i < ops && !x->done; i++)
        quota_apply(x, a, &x->in->ops.items[i]);
    if (!all->request.validate_only)
        check_rate(x);
}

static void quota_answer_changes(struct request *r)
{
    const struct quota_changes *all = r->state;
    struct alter_client_quotas_response response;
    alter_client_quotas_response_init(&response);
    ARRAY_MAKE(r->arena, response.entries, all->count);
    for (int32_t i = 0; i < all->count; i++) {
        const struct quota_change *x = &all->items[i];
        struct alter_client_quotas_response_entry_data *out = &response.entries.items[i];
        alter_client_quotas_response_entry_data_init(out);
        out->error_code = (int16_t)x->error;
        out->error_message = x->message;
        out->entity.items = x->in->entity.items;
        out->entity.len = MAX(x->in->entity.len, 0);
    }
    ANSWER(r, alter_client_quotas_response, &response);
}

/* ---- ZooKeeper, on the control loop ---- */

static void quota_read_all(struct request *r);

static void quota_submit(struct quota_changes *all, struct zk_batch *b)
{
    request_submit(all->r, b, all, quota_answer_changes);
}

static void on_user_cleaned(struct zk_batch *b)
{
    struct quota_changes *all = b->ctx;
    zk_batch_free(b);
    request_return(all->r, quota_answer_changes);
}

/* A user's node that only held those of its clients. If somebody puts something there meanwhile, it stays. */
static void on_clients_cleaned(struct zk_batch *cleaned)
{
    struct quota_changes *all = cleaned->ctx;
    struct zk_batch *b = zk_batch_new(on_user_cleaned);
    const struct zk_op *o;
    ZK_OWNED_FOREACH (cleaned, o) {
        const struct quota_change *x = o->owner;
        struct config_znode pairs = {0};
        bool emptied = x->clients_gone->result == ZK_OK && o->result == ZK_OK;
        if (emptied && config_decode(all->r->arena, o->path, o->value, &pairs) && pairs.count == 0)
            zk_delete(b, x->user, o->stat.version);
    }
    zk_batch_free(cleaned);
    quota_submit(all, b);
}

/* Of clients that have no settings any more, what was above them. */
static void clean_users(struct quota_changes *all)
{
    struct zk_batch *b = zk_batch_new(on_clients_cleaned);
    for (int32_t i = 0; i < all->count; i++) {
        struct quota_change *x = &all->items[i];
        if (all->request.validate_only || x->error != ERR_NONE || x->clients == NULL || x->pairs.count > 0)
            continue;
        x->clients_gone = zk_delete(b, x->clients, ZK_ANY_VERSION);
        zk_get(b, x->user, false)->owner = x;
    }
    quota_submit(all, b);
}

static void quota_take_result(struct quota_changes *all, struct quota_change *x, const struct zk_op *op)
{
    switch (config_write_result(op)) {
    case CONFIG_WRITTEN:
        quota_settle(x, ERR_NONE, STR_NULL);
        config_watch_written(all->r->s->config_watch, x->entity, &x->pairs);
        break;
    case CONFIG_TOO_LARGE:
        quota_settle(x, ERR_INVALID_CONFIG, STR_LIT("The configuration is larger than ZooKeeper takes"));
        break;
    case CONFIG_UNWRITTEN:
        quota_settle(x, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("ZooKeeper cannot be asked now"));
        break;
    case CONFIG_OVERTAKEN:
        x->has_children |= op->result == ZK_NOT_EMPTY;
        break;
    }
}

static void quota_on_written(struct zk_batch *b)
{
    struct quota_changes *all = b->ctx;
    const struct zk_op *op;
    bool again = false;
    ZK_OWNED_FOREACH (b, op) {
        struct quota_change *x = op->owner;
        quota_take_result(all, x, op);
        again |= !x->done;
    }
    zk_batch_free(b);
    if (again)
        quota_read_all(all->r); /* somebody else has changed it meanwhile */
    else
        clean_users(all);
}

static void quota_add_write(struct zk_batch *b, struct quota_change *x, const struct zk_op *read)
{
    struct zk_op *write;
    struct bytes data = config_encode(&b->arena, &x->pairs), nothing = {0};
    if (read->result != ZK_OK && x->user != NULL) { /* they may be there */
        zk_create(b, x->user, nothing, ZK_PERSISTENT);
        zk_create(b, x->clients, nothing, ZK_PERSISTENT);
    }
    if (read->result != ZK_OK)
        write = zk_create(b, read->path, data, ZK_PERSISTENT);
    else if (x->pairs.count == 0 && !x->has_children)
        write = zk_delete(b, read->path, read->stat.version);
    else
        write = zk_set(b, read->path, data, read->stat.version);
    config_write_notified(b, write, x, x->entity);
}

static void quota_on_read(struct zk_batch *read)
{
    struct quota_changes *all = read->ctx;
    struct zk_batch *b = zk_batch_new(quota_on_written);
    const struct zk_op *o;
    ZK_OWNED_FOREACH (read, o) {
        struct quota_change *x = o->owner;
        struct config_znode now;
        if (config_read(all->r->arena, o, &now))
            quota_plan(all, x, &now);
        else
            quota_settle(x, ERR_UNKNOWN_SERVER_ERROR,
                         arena_printf(all->r->arena, "%s cannot be read in ZooKeeper", o->path));
        bool nothing_to_do = o->result == ZK_NO_NODE && x->pairs.count == 0;
        if (!x->done && (all->request.validate_only || nothing_to_do))
            quota_settle(x, ERR_NONE, STR_NULL);
        if (!x->done)
            quota_add_write(b, x, o);
    }
    zk_batch_free(read);
    quota_submit(all, b);
}

static void quota_read_all(struct request *r)
{
    struct quota_changes *all = r->state;
    struct zk_batch *b = zk_batch_new(quota_on_read);
    all->attempts++;
    for (int32_t i = 0; i < all->count; i++) {
        struct quota_change *x = &all->items[i];
        if (!x->done && all->attempts > QUOTA_ATTEMPTS)
            quota_settle(x, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("Others keep changing it"));
        else if (!x->done)
            zk_get(b, node_of(&b->arena, x), false)->owner = x;
    }
    quota_submit(all, b);
}

static void quota_begin(struct request *r)
{
    request_hop(r, r->s->control_loop, quota_read_all);
}

static void alter_quotas_handle(struct request *r)
{
    struct quota_changes *all = ARENA_NEW(r->arena, struct quota_changes);
    all->r = r;
    r->state = all;
    if (!DECODE(r, alter_client_quotas_request, &all->request))
        return;
    bool denied = !allowed_cluster(r, ACL_ALTER_CONFIGS);
    all->count = MAX(all->request.entries.len, 0);
    all->items = ARENA_ARRAY(r->arena, struct quota_change, MAX(all->count, 1));
    for (int32_t i = 0; i < all->count; i++) {
        struct quota_change *x = &all->items[i];
        *x = (struct quota_change){.in = &all->request.entries.items[i]};
        if (denied)
            quota_settle(x, ERR_CLUSTER_AUTHORIZATION_FAILED, STR_LIT("Cluster authorization failed."));
        else
            name_entity(x, r->arena);
    }
    if (denied)
        quota_answer_changes(r);
    else if (count_host_names(all) > 0)
        request_work(r, find_hosts, quota_begin);
    else
        quota_begin(r);
}

const struct api_entry api_alter_client_quotas = {
    .key = API_ALTER_CLIENT_QUOTAS, .min = 0, .max = 1, .handle = alter_quotas_handle};

/* ---- Describe ---- */

enum match_type { MATCH_EXACT, MATCH_DEFAULT, MATCH_ANY };

enum quota_part { PART_USER, PART_CLIENT, PART_IP, QUOTA_PARTS };

static const char *const part_types[QUOTA_PARTS] = {TYPE_USER, TYPE_CLIENT, TYPE_IP};
static const char *const part_words[QUOTA_PARTS] = {"user", "client", "ip"};

/* A name that an entity has: NULL: it has none, "<default>" or as paths have it. */
struct quota_entity {
    const char *parts[QUOTA_PARTS];
};

struct quota_filter {
    struct request *r;
    struct describe_client_quotas_request request;
    const struct describe_client_quotas_component_data *parts[QUOTA_PARTS]; /* NULL: not asked for */
    const char *matches[QUOTA_PARTS]; /* of those, what is asked for by its name, as paths have it */
    struct describe_client_quotas_entry_data *found;
    size_t count, cap; /* of what is found, on the heap */
    bool failed;
};

static void quota_answer_filter(struct request *r, enum kafka_error error, struct str message)
{
    struct quota_filter *f = r->state;
    struct describe_client_quotas_response response;
    describe_client_quotas_response_init(&response);
    response.error_code = (int16_t)error;
    response.error_message = error == ERR_NONE ? STR_LIT("") : message;
    response.entries.items = f->found;
    response.entries.len = error == ERR_NONE ? (int32_t)f->count : -1;
    struct writer w;
    answer_begin(r, &w);
    describe_client_quotas_response_write(&w, r->version, &response);
    free(f->found);
    answer_send(r, &w);
}

static void quota_answer_found(struct request *r)
{
    const struct quota_filter *f = r->state;
    quota_answer_filter(r, f->failed ? ERR_UNKNOWN_SERVER_ERROR : ERR_NONE,
                        f->failed ? STR_LIT("ZooKeeper cannot be asked now") : STR_NULL);
}

/* Whether an entity with that part, or without, is asked for. */
static bool part_matches(const struct quota_filter *f, enum quota_part p, const char *coded)
{
    const struct describe_client_quotas_component_data *c = f->parts[p];
    if (c == NULL)
        return coded == NULL || !f->request.strict;
    if (coded == NULL)
        return false;
    if (c->match_type == MATCH_ANY)
        return true;
    bool is_default = strcmp(coded, CONFIG_OF_ALL_BROKERS) == 0;
    return c->match_type == MATCH_DEFAULT ? is_default : !is_default && strcmp(coded, f->matches[p]) == 0;
}

static bool entity_matches(const struct quota_filter *f, const struct quota_entity *e)
{
    bool of_ip = e->parts[PART_IP] != NULL;
    if (of_ip && (f->parts[PART_USER] != NULL || f->parts[PART_CLIENT] != NULL))
        return false;
    if (!of_ip && f->parts[PART_IP] != NULL)
        return false;
    return of_ip
               ? part_matches(f, PART_IP, e->parts[PART_IP])
               : part_matches(f, PART_USER, e->parts[PART_USER]) && part_matches(f, PART_CLIENT, e->parts[PART_CLIENT]);
}

static bool quota_parse_path(struct arena *a, const char *path, struct quota_entity *e)
{
    char *copy = arena_cstr(a, str_of(path + strlen(ZNODE_CONFIG "/"))), *name = strchr(copy, '/'), *rest;
    *e = (struct quota_entity){{NULL}};
    if (name == NULL)
        return false;
    *name++ = '\0';
    rest = strchr(name, '/');
    if (rest != NULL)
        *rest++ = '\0';
    e->parts[copy[0] == 'u' ? PART_USER : copy[0] == 'c' ? PART_CLIENT : PART_IP] = name;
    if (rest != NULL && strncmp(rest, "clients/", 8) == 0)
        e->parts[PART_CLIENT] = rest + 8;
    return rest == NULL || e->parts[PART_CLIENT] != NULL;
}

static void fill_entity(struct arena *a, const struct quota_entity *e, struct describe_client_quotas_entry_data *out)
{
    ARRAY_MAKE(a, out->entity, QUOTA_PARTS);
    out->entity.len = 0;
    for (int p = 0; p < QUOTA_PARTS; p++) {
        const char *name = e->parts[p];
        if (name == NULL)
            continue;
        struct describe_client_quotas_entity_data *o = &out->entity.items[out->entity.len++];
        o->entity_type = str_of(part_types[p]);
        o->entity_name = strcmp(name, CONFIG_OF_ALL_BROKERS) == 0
                             ? STR_NULL
                             : entity_name_decode(a, str_of(arena_cstr(a, str_of(name))));
    }
}

static void fill_values(struct arena *a, const struct config_znode *pairs, bool of_ip,
                        struct describe_client_quotas_entry_data *out)
{
    ARRAY_MAKE(a, out->values, pairs->count);
    out->values.len = 0;
    for (int32_t i = 0; i < pairs->count; i++) {
        char *end;
        double value = strtod(pairs->entries[i].value, &end);
        if (quota_form(pairs->entries[i].key, of_ip) == FORM_UNKNOWN || *end != '\0' || end == pairs->entries[i].value)
            continue;
        struct describe_client_quotas_value_data *o = &out->values.items[out->values.len++];
        o->key = arena_str(a, str_of(pairs->entries[i].key));
        o->value = value;
    }
}

static void take_found(struct quota_filter *f, const struct zk_op *op)
{
    struct arena *a = f->r->arena;
    struct config_znode pairs = {0};
    struct quota_entity e;
    struct describe_client_quotas_entry_data entry;
    if (op->result != ZK_OK || op->value.len <= 0 || !quota_parse_path(a, op->path, &e) ||
        !config_decode(a, op->path, op->value, &pairs))
        return;
    fill_values(a, &pairs, e.parts[PART_IP] != NULL, &entry);
    if (entry.values.len == 0)
        return;
    fill_entity(a, &e, &entry);
    f->found = xgrow(f->found, f->count + 1, &f->cap, sizeof(*f->found));
    f->found[f->count++] = entry;
}

/* A user's clients are asked for, whatever is asked for of itself. */
static bool wants_clients_of(const struct quota_filter *f, const char *user)
{
    return (f->parts[PART_CLIENT] != NULL || !f->request.strict) && f->parts[PART_IP] == NULL &&
           part_matches(f, PART_USER, user);
}

static void read_children(struct quota_filter *f, struct zk_batch *more, const struct zk_op *list)
{
    for (int32_t i = 0; i < list->child_count; i++) {
        struct quota_entity e;
        const char *path;
        if (!zk_name_is_legal(list->children[i]))
            continue;
        path = zk_child_path(more, list, i);
        if (quota_parse_path(&more->arena, path, &e) && entity_matches(f, &e))
            zk_get(more, path, false);
        if (strcmp(list->path, ZNODE_CONFIG_USERS) == 0 && wants_clients_of(f, e.parts[PART_USER]))
            zk_children(more, arena_printf(&more->arena, "%s/clients", path).p, false);
    }
}

static void quota_on_listed(struct zk_batch *b)
{
    struct quota_filter *f = b->ctx;
    struct zk_batch *more = zk_batch_new(quota_on_listed);
    more->ctx = f;
    more->gentle = true;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        f->failed |= op->result != ZK_OK && op->result != ZK_NO_NODE;
        if (op->kind == ZK_CHILDREN && op->result == ZK_OK)
            read_children(f, more, op);
        else if (op->kind == ZK_GET)
            take_found(f, op);
    }
    zk_batch_free(b);
    if (more->count > 0 && !f->failed && !request_is_spent(f->r)) {
        zk_submit(f->r->s->zk, more);
        return;
    }
    zk_batch_free(more);
    request_return(f->r, quota_answer_found);
}

static void quota_list(struct request *r)
{
    struct zk_batch *b = zk_batch_new(quota_on_listed);
    b->ctx = r->state;
    zk_children(b, ZNODE_CONFIG_USERS, false);
    zk_children(b, ZNODE_CONFIG_CLIENTS, false);
    zk_children(b, ZNODE_CONFIG_IPS, false);
    zk_submit(r->s->zk, b);
}

/* Null: it is fine. */
static struct str component_problem(struct quota_filter *f, const struct describe_client_quotas_component_data *c,
                                    enum kafka_error *error)
{
    struct arena *a = f->r->arena;
    int p = 0;
    *error = ERR_INVALID_REQUEST;
    while (p < QUOTA_PARTS && !str_is(c->entity_type, part_types[p]))
        p++;
    if (c->match_type < MATCH_EXACT || c->match_type > MATCH_ANY ||
        (c->match_type == MATCH_EXACT && c->match.p == NULL)) {
        *error = ERR_UNKNOWN_SERVER_ERROR;
        return arena_printf(a, "Unexpected match type: %d", c->match_type);
    }
    if (c->entity_type.len == 0)
        return STR_LIT("Unexpected empty filter component entity type");
    if (p == QUOTA_PARTS) {
        *error = ERR_UNSUPPORTED_VERSION;
        return arena_printf(a, "Custom entity type '%.*s' not supported",
                            STR_ARGS(str_head(c->entity_type, MOST_SAID)));
    }
    if (f->parts[p] != NULL)
        return arena_printf(a, "Duplicate %s filter component entity type", part_words[p]);
    f->parts[p] = c;
    if (c->match_type == MATCH_EXACT)
        f->matches[p] = entity_name_encode(a, c->match);
    return STR_NULL;
}

static struct str filter_problem(struct quota_filter *f, enum kafka_error *error)
{
    for (int32_t i = 0; i < f->request.components.len; i++) {
        struct str problem = component_problem(f, &f->request.components.items[i], error);
        if (problem.p != NULL)
            return problem;
    }
    *error = ERR_INVALID_REQUEST;
    return f->parts[PART_IP] != NULL && (f->parts[PART_USER] != NULL || f->parts[PART_CLIENT] != NULL)
               ? STR_LIT(
                     "Invalid entity filter component combination, IP filter component should not be used with user "
                     "or clientId filter component.")
               : STR_NULL;
}

static void describe_quotas_handle(struct request *r)
{
    struct quota_filter *f = ARENA_NEW(r->arena, struct quota_filter);
    enum kafka_error error;
    f->r = r;
    r->state = f;
    if (!DECODE(r, describe_client_quotas_request, &f->request))
        return;
    if (!allowed_cluster(r, ACL_DESCRIBE_CONFIGS)) {
        quota_answer_filter(r, ERR_CLUSTER_AUTHORIZATION_FAILED, STR_LIT("Cluster authorization failed."));
        return;
    }
    struct str problem = filter_problem(f, &error);
    if (problem.p != NULL)
        quota_answer_filter(r, error, problem);
    else
        request_hop(r, r->s->control_loop, quota_list);
}

const struct api_entry api_describe_client_quotas = {
    .key = API_DESCRIBE_CLIENT_QUOTAS, .min = 0, .max = 1, .handle = describe_quotas_handle};
