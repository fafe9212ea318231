/*
 * kafka-configs through ZooKeeper: credentials of users, so that the first brokers of a cluster can log in to each
 * other, and settings of brokers that do not run, such as passwords that are not to stand in a file.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "security/password_encoder.h"
#include "security/scram.h"
#include "tools/configs/configs.h"
#include "tools/kit/tool.h"
#include "tools/kit/zk_nodes.h"

struct entity {                                        /* one, or a user's client */
    const char *root, *root_name, *child, *child_name; /* names as in ZooKeeper; NULL: all */
};

/* ---- Names ---- */

static const char *node_name(struct config_command *c, const char *type, const char *name)
{
    if (name == NULL)
        return NULL;
    if (*name == '\0')
        return CONFIG_OF_ALL_BROKERS;
    return strcmp(type, ENTITY_BROKERS) == 0 ? name : entity_name_encode(&c->arena, str_of(name));
}

/* The user comes first, whatever the order of the arguments. */
static bool parse_entity(struct config_command *c, struct entity *out, struct fail *fail)
{
    bool swap = c->type_count == 2 && strcmp(c->types[0], ENTITY_CLIENTS) == 0;
    if (c->alter && c->name_count != c->type_count)
        return fail_set(fail,
                        "--entity-name or --entity-default must be specified with each --entity-type for --alter");
    *out = (struct entity){.root = c->types[swap ? 1 : 0], .child = c->type_count == 2 ? ENTITY_CLIENTS : NULL};
    int first = swap && c->name_count == 2 ? 1 : 0;
    out->root_name = node_name(c, out->root, c->name_count > first ? c->names[first] : NULL);
    if (c->type_count == 2 && c->name_count == 2)
        out->child_name = node_name(c, ENTITY_CLIENTS, c->names[1 - first]);
    return true;
}

static const char *entity_path(struct config_command *c, const struct entity *e)
{
    if (e->child == NULL)
        return e->root_name;
    return arena_printf(&c->arena, "%s/%s/%s", e->root_name, e->child, e->child_name).p;
}

static struct str entity_part(struct config_command *c, const char *type, const char *name)
{
    bool user = strcmp(type, ENTITY_USERS) == 0, client = strcmp(type, ENTITY_CLIENTS) == 0;
    const char *label = user ? "user-principal" : client ? "client-id" : type;
    if (name == NULL)
        return str_of(type);
    if (strcmp(name, CONFIG_OF_ALL_BROKERS) == 0)
        return arena_printf(&c->arena, "default %s", label);
    return arena_printf(&c->arena, "%s '%s'", label,
                        user || client ? entity_name_decode(&c->arena, str_of(name)).p : name);
}

static struct str entity_text(struct config_command *c, const struct entity *e)
{
    struct str root = entity_part(c, e->root, e->root_name);
    if (e->child == NULL)
        return root;
    struct str child = entity_part(c, e->child, e->child_name);
    return arena_printf(&c->arena, "%.*s, %.*s", STR_ARGS(root), STR_ARGS(child));
}

/* ---- Brokers must not run: they would not be asked whether they can follow ---- */

static const char not_running[] =
    "Broker configuration operations using ZooKeeper are only supported if the affected broker(s) are not running.";

static bool check_not_alive(struct config_command *c, struct zk_session *s, const char *broker, const char *what,
                            struct fail *fail)
{
    struct registration *live;
    int32_t n;
    int64_t id;
    if (!zk_nodes_brokers(s, &c->arena, &live, &n, fail))
        return false;
    for (int32_t i = 0; java_integer(broker, INT32_MIN, INT32_MAX, &id) && i < n; i++)
        if (live[i].id == id)
            return fail_set(fail, "requirement failed: %s - broker %s is running. %s", what, broker, not_running);
    return true;
}

static bool check_not_running(struct config_command *c, struct zk_session *s, const char *broker, const char *what,
                              struct fail *fail)
{
    struct str *ids;
    int32_t n;
    if (broker == NULL || *broker == '\0')
        return fail_set(fail, "Error parsing broker . The broker's Entity Name must be a single integer value");
    if (strcmp(broker, CONFIG_OF_ALL_BROKERS) != 0)
        return check_not_alive(c, s, broker, what, fail);
    if (!zk_nodes_children(s, &c->arena, ZNODE_BROKER_IDS, &ids, &n, fail))
        return false;
    return n == 0 ||
           fail_set(fail, "requirement failed: %s - %" PRId32 " brokers are running. %s", what, n, not_running);
}

/* ---- What is written instead of what was given ---- */

static bool make_credentials(struct config_command *c, struct fail *fail)
{
    for (int32_t i = 0; i < c->add_count; i++) {
        int32_t iterations;
        struct str password;
        if (!config_parse_scram(c, &c->add[i], false, &iterations, &password, fail))
            return false;
        if (password.len == 0)
            return fail_set(fail, "Empty key");
        struct scram_credential made =
            scram_credential_make(scram_mechanism_of(c->add[i].key), password, iterations, &c->arena);
        c->add[i].value = scram_credential_text(&made, &c->arena);
    }
    return true;
}

static bool is_number_above(const char *text, int32_t least, int32_t *out)
{
    int64_t v;
    if (text == NULL)
        return true;
    if (!java_integer(text, least, INT32_MAX, &v))
        return false;
    *out = (int32_t)v;
    return true;
}

static bool read_encoder(const struct config_command *c, struct password_encoder *out, struct fail *fail)
{
    const char *cipher = config_added(c, "password.encoder.cipher.algorithm");
    *out = (struct password_encoder){.secret = config_added(c, "password.encoder.secret"),
                                     .cipher = cipher != NULL ? cipher : "AES/CBC/PKCS5Padding",
                                     .key_length = 128,
                                     .iterations = 4096};
    return (is_number_above(config_added(c, "password.encoder.key.length"), 8, &out->key_length) &&
            is_number_above(config_added(c, "password.encoder.iterations"), 1024, &out->iterations)) ||
           fail_set(fail, "password.encoder.key.length must be a number of at least 8, password.encoder.iterations of "
                          "at least 1024");
}

/* The encoder's own keys say how to encode; they are not stored. */
static void drop_encoder(struct config_command *c)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < c->add_count; i++)
        if (strncmp(c->add[i].key, "password.encoder.", strlen("password.encoder.")) != 0)
            c->add[kept++] = c->add[i];
    c->add_count = kept;
}

static bool encode_passwords(struct config_command *c, bool one_broker, struct fail *fail)
{
    struct password_encoder encoder;
    if (!read_encoder(c, &encoder, fail))
        return false;
    drop_encoder(c);
    for (int32_t i = 0; i < c->add_count; i++) {
        struct config_pair *p = &c->add[i];
        if (!config_check_dynamic(p->key, p->value, one_broker, fail))
            return false;
        if (!config_is_password(p->key))
            continue;
        if (encoder.secret == NULL)
            return fail_set(fail,
                            "requirement failed: password.encoder.secret must be specified to update Set(%s). Other "
                            "password encoder configs like cipher algorithm and iterations may also be specified to "
                            "override the default encoding parameters. Password encoder configs will not be persisted "
                            "in ZooKeeper.",
                            p->key);
        if (!password_encode(&encoder, p->value, &c->arena, &p->value, fail))
            return false;
    }
    return true;
}

/* ---- Altering ---- */

static struct str list_changes(struct config_command *c)
{
    struct str add = STR_LIT(""), drop = STR_LIT("");
    for (int32_t i = 0; i < c->add_count; i++)
        add = arena_printf(&c->arena, "%.*s%s%s=%s", STR_ARGS(add), add.len > 0 ? ", " : "", c->add[i].key,
                           c->add[i].value);
    for (int32_t i = 0; i < c->drop_count; i++)
        drop = arena_printf(&c->arena, "%.*s%s%s", STR_ARGS(drop), drop.len > 0 ? ", " : "", c->drop[i]);
    return arena_printf(&c->arena, "{add: {%.*s}, delete: %s(%.*s)}", STR_ARGS(add),
                        c->drop_count > 0 ? "ArrayBuffer" : "List", STR_ARGS(drop));
}

static bool is_credential(const char *key)
{
    return scram_mechanism_of(key) != SCRAM_UNKNOWN;
}

static bool check_credentials(const struct config_command *c, const char *what, struct fail *fail)
{
    bool ok = true;
    for (int32_t i = 0; i < c->add_count; i++)
        ok &= is_credential(c->add[i].key);
    for (int32_t i = 0; i < c->drop_count; i++)
        ok &= is_credential(c->drop[i]);
    return ok || fail_set(fail,
                          "requirement failed: %s. User configuration updates using ZooKeeper are only supported for "
                          "SCRAM credential updates.",
                          what);
}

static bool configs_by_znodes_prepare(struct config_command *c, struct zk_session *s, const struct entity *e,
                                      struct fail *fail)
{
    struct str changes = list_changes(c),
               what = arena_printf(&c->arena, "--bootstrap-server option must be specified to update %s configs: %.*s",
                                   e->root, STR_ARGS(changes));
    if (strcmp(e->root, ENTITY_USERS) == 0)
        return check_credentials(c, what.p, fail) && make_credentials(c, fail);
    return check_not_running(c, s, e->root_name, what.p, fail) &&
           encode_passwords(c, strcmp(e->root_name, CONFIG_OF_ALL_BROKERS) != 0, fail);
}

static bool configs_by_znodes_is_dropped(const struct config_command *c, const char *key)
{
    for (int32_t i = 0; i < c->drop_count; i++)
        if (strcmp(c->drop[i], key) == 0)
            return true;
    return false;
}

static bool merge(struct config_command *c, const struct config_znode *old, struct config_znode *out, struct fail *fail)
{
    struct str unknown = STR_NULL;
    for (int32_t k = 0; k < c->drop_count; k++) {
        bool known = false;
        for (int32_t i = 0; i < old->count; i++)
            known |= strcmp(old->entries[i].key, c->drop[k]) == 0;
        if (!known)
            unknown = arena_printf(&c->arena, "%.*s%s%s", STR_ARGS(unknown), unknown.len > 0 ? "," : "", c->drop[k]);
    }
    if (unknown.len > 0)
        return fail_set(fail, "Invalid config(s): %.*s", STR_ARGS(unknown));
    *out = (struct config_znode){ARENA_ARRAY(&c->arena, struct config_pair, old->count + c->add_count + 1), 0};
    for (int32_t i = 0; i < old->count; i++)
        if (config_added(c, old->entries[i].key) == NULL && !configs_by_znodes_is_dropped(c, old->entries[i].key))
            out->entries[out->count++] = old->entries[i];
    for (int32_t i = 0; i < c->add_count; i++)
        if (!configs_by_znodes_is_dropped(c, c->add[i].key))
            out->entries[out->count++] = c->add[i];
    return true;
}

static bool configs_by_znodes_alter(struct config_command *c, struct zk_session *s, const struct entity *e,
                                    struct fail *fail)
{
    struct config_znode old, new;
    bool there;
    const char *path = entity_path(c, e);
    if (!configs_by_znodes_prepare(c, s, e, fail) ||
        !zk_nodes_read_config(s, &c->arena, e->root, path, &old, &there, fail) || !merge(c, &old, &new, fail) ||
        !zk_nodes_write_config(s, e->root, path, &new, there, fail))
        return false;
    printf("Completed updating config for entity: %.*s.\n", STR_ARGS(entity_text(c, e)));
    return true;
}

/* ---- Describing ---- */

static bool configs_by_znodes_describe_one(struct config_command *c, struct zk_session *s, const struct entity *e,
                                           bool even_if_empty, struct fail *fail)
{
    struct config_znode own;
    bool there;
    if (!zk_nodes_read_config(s, &c->arena, e->root, entity_path(c, e), &own, &there, fail))
        return false;
    if (own.count == 0 && !even_if_empty)
        return true;
    printf("Configs for %.*s are ", STR_ARGS(entity_text(c, e)));
    for (int32_t i = 0; i < own.count; i++)
        printf("%s%s=%s", i > 0 ? "," : "", own.entries[i].key, own.entries[i].value);
    putchar('\n');
    return true;
}

static bool describe_children(struct config_command *c, struct zk_session *s, struct entity e, struct fail *fail)
{
    struct str *names;
    int32_t n;
    const char *path = arena_printf(&c->arena, ZNODE_CONFIG "/%s/%s/%s", e.root, e.root_name, e.child).p;
    if (!zk_nodes_children(s, &c->arena, path, &names, &n, fail))
        return false;
    for (int32_t i = 0; i < n; i++) {
        e.child_name = arena_cstr(&c->arena, names[i]);
        if (!configs_by_znodes_describe_one(c, s, &e, true, fail))
            return false;
    }
    return true;
}

static bool describe_entity(struct config_command *c, struct zk_session *s, const struct entity *e, bool even_if_empty,
                            struct fail *fail)
{
    if (e->child != NULL && e->child_name == NULL)
        return describe_children(c, s, *e, fail);
    return configs_by_znodes_describe_one(c, s, e, even_if_empty, fail);
}

static bool configs_by_znodes_describe(struct config_command *c, struct zk_session *s, struct entity e,
                                       struct fail *fail)
{
    struct str *names;
    int32_t n;
    bool brokers = strcmp(e.root, ENTITY_BROKERS) == 0;
    if (brokers &&
        !check_not_running(c, s, e.root_name, "--bootstrap-server option must be specified to describe brokers", fail))
        return false;
    if (e.root_name != NULL)
        return describe_entity(c, s, &e, true, fail);
    if (!zk_nodes_children(s, &c->arena, arena_printf(&c->arena, ZNODE_CONFIG "/%s", e.root).p, &names, &n, fail))
        return false;
    for (int32_t i = 0; i < n; i++) {
        e.root_name = arena_cstr(&c->arena, names[i]);
        if (!describe_entity(c, s, &e, e.child != NULL, fail))
            return false;
    }
    return true;
}

bool configs_by_znodes(struct config_command *c, const char *connect, const char *tls_file, struct fail *fail)
{
    struct entity e = {0};
    if (!parse_entity(c, &e, fail))
        return false;
    struct zk_session *s = zk_session_open(connect, tls_file, fail);
    c->thrown = s == NULL;
    bool ok =
        s != NULL && (c->alter ? configs_by_znodes_alter(c, s, &e, fail) : configs_by_znodes_describe(c, s, e, fail));
    zk_session_close(s);
    return ok;
}
