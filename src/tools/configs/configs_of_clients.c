/* kafka-configs for users, clients and addresses: quotas, and the SCRAM credentials of users. */
#include <stdio.h>

#include "protocol/error.h"
#include "protocol/msg/alter_client_quotas.h"
#include "protocol/msg/alter_user_scram_credentials.h"
#include "protocol/msg/describe_client_quotas.h"
#include "protocol/msg/describe_user_scram_credentials.h"
#include "security/scram.h"
#include "tools/configs/configs.h"
#include "tools/kit/tool.h"

enum { MATCH_EXACT, MATCH_DEFAULT, MATCH_ANY };

static bool is_quota(const char *name)
{
    static const char *const quotas[] = {"producer_byte_rate", "consumer_byte_rate", "request_percentage",
                                         "controller_mutation_rate"};
    for (size_t i = 0; i < ARRAY_LEN(quotas); i++)
        if (strcmp(name, quotas[i]) == 0)
            return true;
    return false;
}

static bool is_of_ip(const char *name)
{
    return strcmp(name, "connection_creation_rate") == 0;
}

static bool is_scram(const char *name)
{
    return scram_mechanism_of(name) != SCRAM_UNKNOWN;
}

static bool is_of_user(const char *name)
{
    return is_quota(name) || is_scram(name);
}

static const char *protocol_type(const char *type)
{
    return strcmp(type, ENTITY_USERS) == 0 ? "user" : strcmp(type, ENTITY_CLIENTS) == 0 ? "client-id" : "ip";
}

/* ---- Describing ---- */

static bool describe_quotas(struct config_command *c, struct describe_client_quotas_response *out, struct fail *fail)
{
    struct describe_client_quotas_request request;
    if (c->name_count > c->type_count)
        return fail_set(fail, "More entity names specified than entity types");
    describe_client_quotas_request_init(&request);
    request.strict = true;
    ARRAY_MAKE(&c->arena, request.components, c->type_count);
    for (int i = 0; i < c->type_count; i++) {
        struct describe_client_quotas_component_data *o = &request.components.items[i];
        const char *name = i < c->name_count ? c->names[i] : NULL;
        describe_client_quotas_component_data_init(o);
        o->entity_type = str_of(protocol_type(c->types[i]));
        o->match_type = name == NULL ? MATCH_ANY : *name == '\0' ? MATCH_DEFAULT : MATCH_EXACT;
        o->match = name == NULL || *name == '\0' ? STR_NULL : str_of(name);
    }
    if (!config_ask(c, ASK_ANY, API_DESCRIBE_CLIENT_QUOTAS, &request, out, fail))
        return false;
    return out->error_code == ERR_NONE || config_refused(c, out->error_code, out->error_message, fail);
}

static void client_configs_print_part(const struct describe_client_quotas_entry_data *e, const char *type,
                                      const char *label, const char **separator)
{
    for (int32_t i = 0; i < e->entity.len; i++) {
        struct str name = e->entity.items[i].entity_name;
        if (!str_is(e->entity.items[i].entity_type, type))
            continue;
        if (name.p != NULL)
            printf("%s%s '%.*s'", *separator, label, STR_ARGS(name));
        else
            printf("%sthe default %s", *separator, label);
        *separator = ", ";
    }
}

static void print_quotas(const struct describe_client_quotas_entry_data *e)
{
    const char *separator = "";
    struct strbuf values = {0};
    for (int32_t i = 0; i < e->values.len; i++) {
        strbuf_printf(&values, "%s%.*s=", i > 0 ? ", " : "", STR_ARGS(e->values.items[i].key));
        config_format_double(e->values.items[i].value, &values);
    }
    printf("Quota configs for ");
    client_configs_print_part(e, "user", "user-principal", &separator);
    client_configs_print_part(e, "client-id", "client-id", &separator);
    client_configs_print_part(e, "ip", "ip", &separator);
    printf(" are %s\n", values.p != NULL ? values.p : "");
    strbuf_deinit(&values);
}

static void print_credentials(struct config_command *c, const struct describe_user_scram_credentials_result *r)
{
    if (r->error_code != ERR_NONE) {
        struct str why = ask_exception_text(&c->arena, r->error_code, r->error_message);
        printf("Error retrieving SCRAM credential configs for user-principal '%.*s': %.*s\n", STR_ARGS(r->user),
               STR_ARGS(why));
        return;
    }
    printf("SCRAM credential configs for user-principal '%.*s' are ", STR_ARGS(r->user));
    for (int32_t i = 0; i < r->credential_infos.len; i++) {
        const char *name = scram_mechanism_name(r->credential_infos.items[i].mechanism);
        printf("%s%s=iterations=%d", i > 0 ? ", " : "", name != NULL ? name : "UNKNOWN",
               (int)r->credential_infos.items[i].iterations);
    }
    putchar('\n');
}

static bool describe_credentials(struct config_command *c, struct fail *fail)
{
    struct describe_user_scram_credentials_request request;
    struct describe_user_scram_credentials_response response;
    describe_user_scram_credentials_request_init(&request);
    ARRAY_MAKE(&c->arena, request.users, c->name_count);
    for (int i = 0; i < c->name_count; i++)
        request.users.items[i].name = str_of(c->names[i]);
    if (!config_ask(c, ASK_CONTROLLER, API_DESCRIBE_USER_SCRAM_CREDENTIALS, &request, &response, fail))
        return false;
    if (response.error_code != ERR_NONE)
        return config_refused(c, response.error_code, response.error_message, fail);
    for (int32_t i = 0; i < response.results.len; i++) /* a user without any is no news */
        if (response.results.items[i].error_code != ERR_RESOURCE_NOT_FOUND)
            print_credentials(c, &response.results.items[i]);
    return true;
}

static bool client_configs_is_default(const struct config_command *c)
{
    for (int i = 0; i < c->name_count; i++)
        if (*c->names[i] == '\0')
            return true;
    return false;
}

static bool client_configs_describe(struct config_command *c, struct fail *fail)
{
    struct describe_client_quotas_response quotas = {0};
    if (!describe_quotas(c, &quotas, fail))
        return false;
    for (int32_t i = 0; i < quotas.entries.len; i++)
        print_quotas(&quotas.entries.items[i]);
    if (config_entity_is(c, ENTITY_CLIENTS) || config_entity_is(c, ENTITY_IPS) || client_configs_is_default(c))
        return true;
    return describe_credentials(c, fail);
}

/* ---- Quotas ---- */

static bool has_quota(const struct describe_client_quotas_response *old, const char *key)
{
    if (old->entries.len <= 0)
        return false;
    for (int32_t i = 0; i < old->entries.items[0].values.len; i++)
        if (str_is(old->entries.items[0].values.items[i].key, key))
            return true;
    return false;
}

static bool check_old_quotas(struct config_command *c, struct fail *fail)
{
    struct describe_client_quotas_response old = {0};
    struct str unknown = STR_NULL;
    if (!describe_quotas(c, &old, fail))
        return false;
    for (int32_t i = 0; i < c->drop_count; i++)
        if (!has_quota(&old, c->drop[i]))
            unknown = arena_printf(&c->arena, "%.*s%s%s", STR_ARGS(unknown), unknown.len > 0 ? "," : "", c->drop[i]);
    return unknown.len == 0 || fail_set(fail, "Invalid config(s): %.*s", STR_ARGS(unknown));
}

static bool fill_quotas(struct config_command *c, struct alter_client_quotas_entry_data *e, struct fail *fail)
{
    ARRAY_MAKE(&c->arena, e->entity, c->type_count);
    for (int i = 0; i < c->type_count; i++) {
        e->entity.items[i].entity_type = str_of(protocol_type(c->types[i]));
        e->entity.items[i].entity_name = *c->names[i] == '\0' ? STR_NULL : str_of(c->names[i]);
    }
    ARRAY_MAKE(&c->arena, e->ops, c->add_count + c->drop_count);
    for (int32_t i = 0; i < c->add_count; i++) {
        char *end;
        struct alter_client_quotas_op_data *op = &e->ops.items[i];
        op->key = str_of(c->add[i].key);
        op->value = strtod(c->add[i].value, &end);
        if (*c->add[i].value == '\0' || *end != '\0')
            return fail_set(fail, "Cannot parse quota configuration value for %s: %s", c->add[i].key, c->add[i].value);
    }
    for (int32_t i = 0; i < c->drop_count; i++) {
        e->ops.items[c->add_count + i].key = str_of(c->drop[i]);
        e->ops.items[c->add_count + i].remove = true;
    }
    return true;
}

static bool alter_quotas(struct config_command *c, struct fail *fail)
{
    struct alter_client_quotas_request request;
    struct alter_client_quotas_response response;
    alter_client_quotas_request_init(&request);
    ARRAY_MAKE(&c->arena, request.entries, 1);
    if (!check_old_quotas(c, fail) || !fill_quotas(c, &request.entries.items[0], fail) ||
        !config_ask(c, ASK_CONTROLLER, API_ALTER_CLIENT_QUOTAS, &request, &response, fail))
        return false;
    for (int32_t i = 0; i < response.entries.len; i++)
        if (response.entries.items[i].error_code != ERR_NONE)
            return config_refused(c, response.entries.items[i].error_code, response.entries.items[i].error_message,
                                  fail);
    return true;
}

/* ---- Credentials ---- */

static bool parse_iterations(struct config_command *c, const char *text, size_t len, int32_t *out, struct fail *fail)
{
    const char *number = arena_cstr(&c->arena, (struct str){text, (int32_t)len});
    int64_t value;
    if (!java_integer(number, INT32_MIN, INT32_MAX, &value))
        return fail_set(fail, "For input string: \"%s\"", number);
    *out = (int32_t)value;
    return true;
}

/* The mechanism as the messages name it that have Java's constant in them. */
static const char *constant_of(struct config_command *c, const char *mechanism)
{
    char *text = arena_cstr(&c->arena, str_of(mechanism));
    for (char *at = text; *at != '\0'; at++)
        if (*at == '-')
            *at = '_';
    return text;
}

/* By requests -1 stands for the usual number; into ZooKeeper no number may be below 0. */
bool config_parse_scram(struct config_command *c, const struct config_pair *pair, bool by_requests, int32_t *iterations,
                        struct str *password, struct fail *fail)
{
    static const char first[] = "iterations=", second[] = "password=";
    const char *text = pair->value, *number = NULL;
    size_t len = 0;
    if (strncmp(text, first, sizeof(first) - 1) == 0) {
        number = text + sizeof(first) - 1;
        len = (size_t)(by_requests && *number == '-');
        len += strspn(number + len, "0123456789");
        text = number[len] == ',' ? number + len + 1 : "";
    }
    if (strncmp(text, second, sizeof(second) - 1) != 0)
        return fail_set(fail, "Invalid credential property %s=[hidden]", constant_of(c, pair->key));
    *password = str_of(text + sizeof(second) - 1);
    *iterations = SCRAM_DEFAULT_ITERATIONS;
    if (number != NULL && !(by_requests && strncmp(number, "-1,", 3) == 0) &&
        !parse_iterations(c, number, len, iterations, fail))
        return false;
    return *iterations >= SCRAM_MIN_ITERATIONS ||
           fail_set(fail, "Iterations %d is less than the minimum %d required for %s", (int)*iterations,
                    SCRAM_MIN_ITERATIONS, by_requests ? pair->key : constant_of(c, pair->key));
}

/* Kafka's client refuses the first; the second a broker would, but only after this side has counted that far. */
static bool check_credential(struct config_command *c, struct str password, int32_t iterations, struct fail *fail)
{
    if (password.len == 0)
        return config_refused(c, ERR_UNACCEPTABLE_CREDENTIAL, STR_LIT("Password must not be empty"), fail);
    return iterations <= SCRAM_MAX_ITERATIONS ||
           config_refused(c, ERR_UNACCEPTABLE_CREDENTIAL, STR_LIT("Too many iterations"), fail);
}

static bool fill_upsertion(struct config_command *c, const struct config_pair *pair,
                           struct alter_user_scram_credentials_scram_credential_upsertion *out, struct fail *fail)
{
    struct str password = STR_NULL;
    alter_user_scram_credentials_scram_credential_upsertion_init(out);
    if (!config_parse_scram(c, pair, true, &out->iterations, &password, fail) ||
        !check_credential(c, password, out->iterations, fail))
        return false;
    enum scram_mechanism m = scram_mechanism_of(pair->key);
    out->name = str_of(c->names[0]);
    out->mechanism = (int8_t)m;
    out->salt = scram_random_salt(&c->arena);
    out->salted_password = scram_salted_password(m, (struct bytes){(const uint8_t *)password.p, password.len},
                                                 out->salt, out->iterations, &c->arena);
    return true;
}

static bool alter_credentials(struct config_command *c, struct fail *fail)
{
    struct alter_user_scram_credentials_request request;
    struct alter_user_scram_credentials_response response;
    alter_user_scram_credentials_request_init(&request);
    ARRAY_MAKE(&c->arena, request.upsertions, c->add_count);
    for (int32_t i = 0; i < c->add_count; i++)
        if (!fill_upsertion(c, &c->add[i], &request.upsertions.items[i], fail))
            return false;
    ARRAY_MAKE(&c->arena, request.deletions, c->drop_count);
    for (int32_t i = 0; i < c->drop_count; i++) {
        request.deletions.items[i].name = str_of(c->names[0]);
        request.deletions.items[i].mechanism = (int8_t)scram_mechanism_of(c->drop[i]);
    }
    if (!config_ask(c, ASK_CONTROLLER, API_ALTER_USER_SCRAM_CREDENTIALS, &request, &response, fail))
        return false;
    for (int32_t i = 0; i < response.results.len; i++)
        if (response.results.items[i].error_code != ERR_NONE)
            return config_refused(c, response.results.items[i].error_code, response.results.items[i].error_message,
                                  fail);
    return true;
}

/* ---- Which of them ---- */

struct counts {
    int32_t quotas, credentials;
};

static void count_key(struct counts *n, const char *key)
{
    n->quotas += is_quota(key);
    n->credentials += is_scram(key);
}

/* Fails with the message and a list of those names that are not known, if there are any. */
static bool client_configs_check_names(struct config_command *c, bool (*known)(const char *name),
                                       const char *const *names, int32_t count, struct fail *fail, const char *message)
{
    struct str list = STR_NULL;
    for (int32_t i = 0; i < count; i++)
        if (!known(names[i]))
            list = arena_printf(&c->arena, "%.*s%s%s", STR_ARGS(list), list.len > 0 ? ", " : "", names[i]);
    return list.len == 0 || fail_set(fail, "%s(%.*s)", message, STR_ARGS(list));
}

static bool check_keys(struct config_command *c, bool (*known)(const char *name), const char *what, struct fail *fail)
{
    const char **added = ARENA_ARRAY(&c->arena, const char *, c->add_count + 1);
    for (int32_t i = 0; i < c->add_count; i++)
        added[i] = c->add[i].key;
    struct str add = arena_printf(&c->arena,
                                  "Only %s configs can be added for '%s' using --bootstrap-server. "
                                  "Unexpected config names: Set",
                                  what, c->type_count == 2 ? ENTITY_CLIENTS : c->types[0]),
               drop = arena_printf(&c->arena,
                                   "Only %s configs can be deleted for '%s' using --bootstrap-server. "
                                   "Unexpected config names: ArrayBuffer",
                                   what, c->type_count == 2 ? ENTITY_CLIENTS : c->types[0]);
    return client_configs_check_names(c, known, added, c->add_count, fail, add.p) &&
           client_configs_check_names(c, known, c->drop, c->drop_count, fail, drop.p);
}

static bool alter_user(struct config_command *c, struct fail *fail)
{
    struct counts n = {0, 0};
    if (!check_keys(c, is_of_user, "quota and SCRAM credential", fail))
        return false;
    for (int32_t i = 0; i < c->add_count; i++)
        count_key(&n, c->add[i].key);
    for (int32_t i = 0; i < c->drop_count; i++)
        count_key(&n, c->drop[i]);
    if (n.credentials > 0 && client_configs_is_default(c))
        return fail_set(fail, "The use of --entity-default or --user-defaults is not allowed with User SCRAM "
                              "Credentials using --bootstrap-server.");
    if (n.credentials > 0 && n.quotas > 0)
        return fail_set(fail, "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using "
                              "--bootstrap-server.");
    return n.quotas > 0 ? alter_quotas(c, fail) : alter_credentials(c, fail);
}

static bool alter_ip(struct config_command *c, struct fail *fail)
{
    struct str unknown = STR_NULL;
    for (int32_t i = 0; i < c->add_count + c->drop_count; i++) {
        const char *key = i < c->add_count ? c->add[i].key : c->drop[i - c->add_count];
        if (!is_of_ip(key))
            unknown = arena_printf(&c->arena, "%.*s%s%s", STR_ARGS(unknown), unknown.len > 0 ? "," : "", key);
    }
    if (unknown.len > 0)
        return fail_set(fail,
                        "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected "
                        "config names: %.*s",
                        STR_ARGS(unknown));
    return alter_quotas(c, fail);
}

static bool alter_client(struct config_command *c, struct fail *fail)
{
    return check_keys(c, is_quota, "quota", fail) && alter_quotas(c, fail);
}

bool configs_of_clients(struct config_command *c, struct fail *fail)
{
    const char *type = c->types[0];
    if (!c->alter)
        return client_configs_describe(c, fail);
    bool ok = config_entity_is(c, ENTITY_CLIENTS) ? alter_client(c, fail)
              : config_entity_is(c, ENTITY_IPS)   ? alter_ip(c, fail)
                                                  : alter_user(c, fail);
    if (!ok)
        return false;
    if (*c->names[0] != '\0')
        printf("Completed updating config for %.*s %s.\n", (int)strlen(type) - 1, type, c->names[0]);
    else
        printf("Completed updating default config for %s in the cluster.\n", type);
    return true;
}
