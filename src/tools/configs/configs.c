/* kafka-configs: what was asked for. */
#include "tools/configs/configs.h"

#include <ctype.h>
#include <netdb.h>
#include <stdio.h>

#include "config/properties.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server to connect to", "The Kafka servers to connect to.", NULL},
    {"bootstrap-controller", OPTION_VALUE, "controller to connect to",
     "The KRaft controllers to connect to. Refused: a cluster with ZooKeeper has none.", NULL},
    {"zookeeper", OPTION_VALUE, "urls",
     "The ZooKeeper connection in the form host:port,host:port/chroot: for the SCRAM credentials of users, and for settings of brokers that do not run.",
     NULL},
    {"zk-tls-config-file", OPTION_VALUE, "ZooKeeper TLS configuration",
     "Property file with zookeeper.ssl.* for TLS to ZooKeeper.", NULL},
    {"command-config", OPTION_VALUE, "command config property file",
     "Property file with configs for the admin client; only with --bootstrap-server.", NULL},
    {"alter", OPTION_FLAG, NULL, "Alter the configuration for the entity.", NULL},
    {"describe", OPTION_FLAG, NULL, "List configs for the given entity.", NULL},
    {"all", OPTION_FLAG, NULL,
     "With --describe: list all configs of the topic, broker or broker logger, those of the server's file and the defaults included.",
     NULL},
    {"entity-type", OPTION_VALUES, "type",
     "Type of entity: topics, clients, users, brokers, broker-loggers, ips or client-metrics.", NULL},
    {"entity-name", OPTION_VALUES, "name",
     "Name of entity: topic name, client id, user principal name, broker id, address or client metrics.", NULL},
    {"entity-default", OPTION_FLAG, NULL, "The default entity of the clients, users, brokers or ips.", NULL},
    {"add-config", OPTION_VALUE, "k1=v1,k2=[v1,v2,v2],k3=v3",
     "Configs to set. Square brackets go around values with commas. Topics take the keys of server.properties(5)'s last part, brokers those that can change at run time; users and clients producer_byte_rate, consumer_byte_rate, request_percentage, controller_mutation_rate; users also SCRAM-SHA-256 and SCRAM-SHA-512 as [iterations=8192,password=secret]; ips connection_creation_rate.",
     NULL},
    {"add-config-file", OPTION_VALUE, "file", "Properties file with configs to set.", NULL},
    {"delete-config", OPTION_VALUES, "k1,k2", "Config keys to remove.", NULL},
    {"force", OPTION_FLAG, NULL, "Ask no questions (none are asked).", NULL},
    {"topic", OPTION_VALUE, "name", "The topic's name.", NULL},
    {"client", OPTION_VALUE, "id", "The client's ID.", NULL},
    {"user", OPTION_VALUE, "name", "The user's principal name.", NULL},
    {"broker", OPTION_VALUE, "id", "The broker's ID.", NULL},
    {"broker-logger", OPTION_VALUE, "id", "The broker's ID for its logger config.", NULL},
    {"ip", OPTION_VALUE, "address", "The IP address.", NULL},
    {"client-defaults", OPTION_FLAG, NULL, "The config defaults for all clients.", NULL},
    {"user-defaults", OPTION_FLAG, NULL, "The config defaults for all users.", NULL},
    {"broker-defaults", OPTION_FLAG, NULL, "The config defaults for all brokers.", NULL},
    {"ip-defaults", OPTION_FLAG, NULL, "The config defaults for all IPs.", NULL},
};

static const char purpose[] =
    "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip or client-metrics";

/* Options that are an entity's type and, unless they are a flag, its name. */
static const struct {
    const char *option, *type;
} shorthands[] = {
    {"topic", ENTITY_TOPICS},
    {"client", ENTITY_CLIENTS},
    {"user", ENTITY_USERS},
    {"broker", ENTITY_BROKERS},
    {"broker-logger", ENTITY_LOGGERS},
    {"ip", ENTITY_IPS},
    {"client-defaults", ENTITY_CLIENTS},
    {"user-defaults", ENTITY_USERS},
    {"broker-defaults", ENTITY_BROKERS},
    {"ip-defaults", ENTITY_IPS},
};

/* ---- Entities ---- */

static void read_entities(const struct options *o, struct config_command *c)
{
    const struct option_value *types = options_all(o, "entity-type"), *names = options_all(o, "entity-name");
    size_t most = (size_t)o->given_count + 1;
    int next = 0;
    c->types = ARENA_ARRAY(&c->arena, const char *, most);
    c->names = ARENA_ARRAY(&c->arena, const char *, most);
    for (int i = 0; i < types->count; i++)
        c->types[c->type_count++] = types->values[i];
    for (int i = 0; i < o->given_count; i++) {
        const char *option = o->specs[o->given[i]].name;
        if (strcmp(option, "entity-name") == 0)
            c->names[c->name_count++] = names->values[next++];
        else if (strcmp(option, "entity-default") == 0)
            c->names[c->name_count++] = "";
    }
    for (size_t i = 0; i < ARRAY_LEN(shorthands); i++) {
        const char *name = options_get(o, shorthands[i].option);
        if (!options_has(o, shorthands[i].option))
            continue;
        c->types[c->type_count++] = shorthands[i].type;
        c->names[c->name_count++] = name != NULL ? name : "";
    }
}

bool config_entity_is(const struct config_command *c, const char *type)
{
    for (int i = 0; i < c->type_count; i++)
        if (strcmp(c->types[i], type) == 0)
            return true;
    return false;
}

static bool configs_tool_has_name(const struct config_command *c)
{
    for (int i = 0; i < c->name_count; i++)
        if (*c->names[i] != '\0')
            return true;
    return false;
}

static bool check_type(const struct options *o, const char *type, struct fail *fail)
{
    static const char *const all[] = {ENTITY_TOPICS, ENTITY_CLIENTS, ENTITY_USERS,  ENTITY_BROKERS,
                                      ENTITY_IPS,    ENTITY_LOGGERS, ENTITY_METRICS};
    bool by_requests = options_has(o, "bootstrap-server") || options_has(o, "bootstrap-controller");
    if (!by_requests && strcmp(type, ENTITY_USERS) != 0 && strcmp(type, ENTITY_BROKERS) != 0)
        return fail_set(fail,
                        "Invalid entity type %s, the entity type must be one of users, brokers with a --zookeeper "
                        "argument",
                        type);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (strcmp(all[i], type) == 0)
            return true;
    return fail_set(fail,
                    "Invalid entity type %s, the entity type must be one of topics, clients, users, brokers, ips, "
                    "broker-loggers, client-metrics with a --bootstrap-server or --bootstrap-controller argument",
                    type);
}

static bool check_types(const struct options *o, const struct config_command *c, struct fail *fail)
{
    for (int i = 0; i < c->type_count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(c->types[i], c->types[k]) == 0)
                return fail_set(fail, "Duplicate entity type(s) specified: %s", c->types[i]);
    for (int i = 0; i < c->type_count; i++)
        if (!check_type(o, c->types[i], fail))
            return false;
    if (c->type_count == 0)
        return fail_set(fail, "At least one entity type must be specified");
    if (c->type_count > 1 && !(config_entity_is(c, ENTITY_USERS) && config_entity_is(c, ENTITY_CLIENTS)))
        return fail_set(fail, "Only 'users' and 'clients' entity types may be specified together");
    bool general = options_has(o, "entity-name") || options_has(o, "entity-type") || options_has(o, "entity-default");
    for (size_t i = 0; general && i < ARRAY_LEN(shorthands); i++)
        if (options_has(o, shorthands[i].option))
            return fail_set(fail, "--entity-{type,name,default} should not be used in conjunction with specific "
                                  "entity flags");
    return true;
}

static bool check_broker_id(const struct config_command *c, const char *name, struct fail *fail)
{
    int64_t id;
    if (java_integer(name, INT32_MIN, INT32_MAX, &id))
        return true;
    return fail_set(fail, "The entity name for %s must be a valid integer broker id, but it is: %s", c->types[0], name);
}

static bool check_address(const struct config_command *c, const char *name, struct fail *fail)
{
    struct addrinfo *found = NULL;
    if (getaddrinfo(name, NULL, NULL, &found) != 0)
        return fail_set(fail, "The entity name for %s must be a valid IP or resolvable host, but it is: %s",
                        c->types[0], name);
    freeaddrinfo(found);
    return true;
}

static bool configs_tool_check_names(const struct config_command *c, struct fail *fail)
{
    bool brokers = config_entity_is(c, ENTITY_BROKERS) || config_entity_is(c, ENTITY_LOGGERS);
    for (int i = 0; i < c->name_count; i++) {
        const char *name = c->names[i];
        if (*name == '\0')
            continue;
        if (brokers && !check_broker_id(c, name, fail))
            return false;
        if (config_entity_is(c, ENTITY_IPS) && !check_address(c, name, fail))
            return false;
    }
    if (!c->alter && config_entity_is(c, ENTITY_LOGGERS) && !configs_tool_has_name(c))
        return fail_set(fail, "an entity name must be specified with --describe of %s", c->types[0]);
    return true;
}

/* ---- The arguments as a whole ---- */

static bool check_connection(const struct options *o, struct fail *fail)
{
    int ways =
        options_has(o, "bootstrap-server") + options_has(o, "bootstrap-controller") + options_has(o, "zookeeper");
    if (ways == 0)
        return fail_set(fail, "One of the required --bootstrap-server, --boostrap-controller, or --zookeeper arguments "
                              "must be specified");
    if (ways > 1)
        return fail_set(fail,
                        "Only one of --bootstrap-server, --boostrap-controller, and --zookeeper can be specified");
    if (options_has(o, "all") && options_has(o, "zookeeper"))
        return fail_set(fail, "--bootstrap-server must be specified for --all");
    if (options_has(o, "zk-tls-config-file") && !options_has(o, "zookeeper"))
        return fail_set(fail, "Only the --zookeeper option can be used with the --zk-tls-config-file option.");
    return true;
}

static bool check_alteration(const struct options *o, const struct config_command *c, struct fail *fail)
{
    static const char *const with_defaults[] = {ENTITY_USERS, ENTITY_CLIENTS, ENTITY_BROKERS, ENTITY_IPS};
    bool may_be_default = false, add = options_has(o, "add-config"), file = options_has(o, "add-config-file");
    for (size_t i = 0; i < ARRAY_LEN(with_defaults); i++)
        may_be_default |= config_entity_is(c, with_defaults[i]);
    if (may_be_default && c->name_count == 0)
        return fail_set(fail, "an entity-name or default entity must be specified with --alter of users, clients, "
                              "brokers or ips");
    if (!may_be_default && !configs_tool_has_name(c))
        return fail_set(fail, "an entity name must be specified with --alter of %s", c->types[0]);
    if (add && file)
        return fail_set(fail, "Only one of --add-config or --add-config-file must be specified");
    if (!add && !file && !options_has(o, "delete-config"))
        return fail_set(fail, "At least one of --add-config, --add-config-file, or --delete-config must be specified "
                              "with --alter");
    return true;
}

static bool check_actions(const struct options *o)
{
    if (options_has(o, "alter") == options_has(o, "describe")) {
        options_complain(o, "Command must include exactly one action: --describe, --alter");
        return false;
    }
    return options_not_both(o, "describe", "add-config") && options_not_both(o, "describe", "delete-config");
}

static bool configs_tool_check_arguments(const struct options *o, const struct config_command *c, struct fail *fail)
{
    return check_types(o, c, fail) && check_connection(o, fail) && configs_tool_check_names(c, fail) &&
           (!c->alter || check_alteration(o, c, fail));
}

/* ---- Keys and values ---- */

const char *config_added(const struct config_command *c, const char *key)
{
    for (int32_t i = 0; i < c->add_count; i++)
        if (strcmp(c->add[i].key, key) == 0)
            return c->add[i].value;
    return NULL;
}

static bool add_pair(struct config_command *c, const char *key, const char *value, struct fail *fail)
{
    struct config_pair *to = &c->add[c->add_count];
    for (int32_t i = 0; i < c->add_count; i++)
        if (strcmp(c->add[i].key, key) == 0)
            to = &c->add[i];
    c->add_count += to == &c->add[c->add_count];
    *to = (struct config_pair){key, value};
    for (const char *at = key; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr("._-", *at) == NULL)
            return fail_set(fail, "Invalid character found for config key: %s", key);
    return true;
}

/* The separator, or the text's end. Between square brackets it is part of a value. */
static char *next_separator(char *text, char separator)
{
    for (char *at = text; (at = strchr(at, separator)) != NULL; at++) {
        const char *bracket = strpbrk(at, "[]");
        if (bracket == NULL || *bracket == '[')
            return at;
    }
    return text + strlen(text);
}

/* Without blanks around it; of a value, also without brackets. */
static const char *clean(struct arena *a, const char *from, const char *end, bool is_value)
{
    char *out = arena_alloc(a, (size_t)(end - from) + 1), *to = out;
    while (from < end && isspace((unsigned char)*from))
        from++;
    for (; from < end; from++)
        if (!is_value || (*from != '[' && *from != ']'))
            *to++ = *from;
    while (to > out && isspace((unsigned char)to[-1]))
        to--;
    *to = '\0';
    return out;
}

static bool add_text(struct config_command *c, char *pair, struct fail *fail)
{
    char *equals = next_separator(pair, '=');
    if (*equals == '\0' || *next_separator(equals + 1, '=') != '\0')
        return fail_set(fail, "requirement failed: Invalid entity config: all configs to be added must be in the "
                              "format \"key=val\".");
    return add_pair(c, clean(&c->arena, pair, equals, false),
                    clean(&c->arena, equals + 1, equals + strlen(equals), true), fail);
}

static bool parse_pairs(struct config_command *c, const char *text, struct fail *fail)
{
    char *rest = arena_cstr(&c->arena, str_of(text));
    size_t len = strlen(rest);
    while (len > 1 && rest[len - 1] == ',') /* nothing behind the last comma is nothing */
        rest[--len] = '\0';
    c->add = ARENA_ARRAY(&c->arena, struct config_pair, len + 1);
    for (;;) {
        char *comma = next_separator(rest, ',');
        bool last = *comma == '\0';
        *comma = '\0';
        if (!add_text(c, rest, fail))
            return false;
        if (last)
            return true;
        rest = comma + 1;
    }
}

static bool read_pairs(struct config_command *c, const char *file, struct fail *fail)
{
    struct properties p;
    if (!properties_read(file, &c->arena, &p, fail))
        return false;
    c->add = ARENA_ARRAY(&c->arena, struct config_pair, p.count + 1);
    for (int i = 0; i < p.count; i++)
        if (!add_pair(c, p.items[i].key, p.items[i].value, fail))
            return false;
    return true;
}

static void read_deletions(const struct options *o, struct config_command *c)
{
    const struct option_value *given = options_all(o, "delete-config");
    size_t most = 1;
    for (int i = 0; i < given->count; i++)
        most += strlen(given->values[i]) + 1;
    c->drop = ARENA_ARRAY(&c->arena, const char *, most);
    for (int i = 0; i < given->count; i++) {
        char *copy = arena_cstr(&c->arena, str_of(given->values[i])), *save = NULL;
        for (char *key = strtok_r(copy, ",", &save); key != NULL; key = strtok_r(NULL, ",", &save))
            c->drop[c->drop_count++] = clean(&c->arena, key, key + strlen(key), false);
    }
}

static bool read_changes(const struct options *o, struct config_command *c, struct fail *fail)
{
    const char *file = options_get(o, "add-config-file"), *text = options_get(o, "add-config");
    if ((file != NULL && !read_pairs(c, file, fail)) || (text != NULL && !parse_pairs(c, text, fail)))
        return false;
    const char *format = config_added(c, "message.format.version");
    if (format != NULL)
        printf("WARNING: The configuration message.format.version=%s is specified. This configuration will be ignored "
               "if the version is newer than the inter.broker.protocol.version specified in the broker or if the "
               "inter.broker.protocol.version is 3.0 or newer. This configuration is deprecated and it will be removed "
               "in Apache Kafka 4.0.\n",
               format);
    read_deletions(o, c);
    return true;
}

/* ---- Carrying it out ---- */

bool config_ask_into(struct config_command *c, int32_t broker, int16_t key, const void *request, void *response,
                     struct arena *arena, struct fail *fail)
{
    bool ok = ask(c->asker, broker, key, 0, request, response, NULL, arena, fail);
    c->thrown |= !ok;
    return ok;
}

bool config_ask(struct config_command *c, int32_t broker, int16_t key, const void *request, void *response,
                struct fail *fail)
{
    return config_ask_into(c, broker, key, request, response, &c->arena, fail);
}

bool config_refused(struct config_command *c, int16_t code, struct str message, struct fail *fail)
{
    struct str text = ask_exception_text(&c->arena, code, message);
    c->thrown = true;
    return fail_set(fail, "java.util.concurrent.ExecutionException: %.*s", STR_ARGS(text));
}

static bool by_requests(const struct options *o, struct config_command *c, struct fail *fail)
{
    if (options_has(o, "bootstrap-controller"))
        return fail_set(fail, "--bootstrap-controller is for KRaft clusters; use --bootstrap-server");
    c->asker = asker_new(options_get(o, "bootstrap-server"), options_get(o, "command-config"), fail);
    if (c->asker == NULL)
        return false;
    if (c->alter && c->type_count != c->name_count)
        return fail_set(fail, "An entity name must be specified for every entity type");
    if (c->alter && !read_changes(o, c, fail))
        return false;
    bool clients =
        config_entity_is(c, ENTITY_USERS) || config_entity_is(c, ENTITY_CLIENTS) || config_entity_is(c, ENTITY_IPS);
    return clients ? configs_of_clients(c, fail) : configs_of_resources(c, fail);
}

static bool configs_go_by_znodes(const struct options *o, struct config_command *c, struct fail *fail)
{
    puts("Warning: --zookeeper is deprecated and will be removed in a future version of Kafka.\n"
         "Use --bootstrap-server instead to specify a broker to connect to.");
    if (c->alter && !read_changes(o, c, fail))
        return false;
    return configs_by_znodes(c, options_get(o, "zookeeper"), options_get(o, "zk-tls-config-file"), fail);
}

static bool configs_tool_run(const struct options *o, struct config_command *c, struct fail *fail)
{
    c->alter = options_has(o, "alter");
    c->all = options_has(o, "all");
    read_entities(o, c);
    if (!configs_tool_check_arguments(o, c, fail))
        return false;
    return options_has(o, "zookeeper") ? configs_go_by_znodes(o, c, fail) : by_requests(o, c, fail);
}

static void print_failure(const struct config_command *c, int argc, char **argv, const char *text)
{
    if (c->thrown) {
        fputs("Error while executing config command with args '", stderr);
        for (int i = 1; i < argc; i++)
            fprintf(stderr, "%s%s", i > 1 ? " " : "", argv[i]);
        fputs("'\n", stderr);
    }
    fprintf(stderr, "%s\n", text);
}

int tool_configs(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct config_command c = {0};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    if (code < 0 && !check_actions(&o))
        code = 1;
    if (code < 0) {
        code = configs_tool_run(&o, &c, &fail) ? 0 : 1;
        if (code != 0)
            print_failure(&c, argc, argv, fail.text);
        asker_free(c.asker);
    }
    arena_deinit(&c.arena);
    options_free(&o);
    return code;
}
