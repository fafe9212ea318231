/*
 * kafka-features: what features a cluster has, and at which levels (KIP-584). A cluster with ZooKeeper has none, so
 * that it describes nothing and refuses each change.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "protocol/error.h"
#include "protocol/msg/update_features.h"
#include "tools/cluster/cluster_endpoint.h"

static const struct arg_spec tool_args[] = {
    {"bootstrap-server", 0, ARG_VALUE, ARG_ONE_OF,
     "A comma-separated list of host:port pairs to use for establishing the connection to the Kafka cluster."},
    {"bootstrap-controller", 0, ARG_VALUE, ARG_ONE_OF,
     "A comma-separated list of host:port pairs to use for establishing the connection to the KRaft quorum."},
    {"command-config", 0, ARG_VALUE, ARG_MAY, "Property file containing configs to be passed to Admin Client."},
};
static const struct arg_spec upgrade_args[] = {
    {"metadata", 0, ARG_VALUE, ARG_MAY, "The level to which we should upgrade the metadata. For example, 3.3-IV3."},
    {"feature", 0, ARG_VALUES, ARG_MAY,
     "A feature upgrade we should perform, in feature=level format. For example: `metadata.version=5`."},
    {"dry-run", 0, ARG_FLAG, ARG_MAY, "Validate this upgrade, but do not perform it."},
};
static const struct arg_spec downgrade_args[] = {
    {"metadata", 0, ARG_VALUE, ARG_MAY, "The level to which we should downgrade the metadata. For example, 3.3-IV0."},
    {"feature", 0, ARG_VALUES, ARG_MAY,
     "A feature downgrade we should perform, in feature=level format. For example: `metadata.version=5`."},
    {"unsafe", 0, ARG_FLAG, ARG_MAY, "Perform this downgrade even if it may irreversibly destroy metadata."},
    {"dry-run", 0, ARG_FLAG, ARG_MAY, "Validate this downgrade, but do not perform it."},
};
static const struct arg_spec disable_args[] = {
    {"feature", 0, ARG_VALUES, ARG_MAY, "A feature flag to disable."},
    {"unsafe", 0, ARG_FLAG, ARG_MAY, "Disable this feature flag even if it may irreversibly destroy metadata."},
    {"dry-run", 0, ARG_FLAG, ARG_MAY, "Perform a dry-run of this disable operation."},
};

enum { DESCRIBE, UPGRADE, DOWNGRADE, DISABLE };
static const struct command_spec commands[] = {
    [DESCRIBE] = {"describe", "Describes the current active feature flags.", NULL, 0},
    [UPGRADE] = {"upgrade", "Upgrade one or more feature flags.", upgrade_args, ARRAY_LEN(upgrade_args)},
    [DOWNGRADE] = {"downgrade", "Upgrade one or more feature flags.", downgrade_args, ARRAY_LEN(downgrade_args)},
    [DISABLE] = {"disable", "Disable one or more feature flags. This is the same as downgrading the version to zero.",
                 disable_args, ARRAY_LEN(disable_args)},
};

static const struct command_line_spec spec = {
    {"kafka-features", "This tool manages feature flags in Kafka.", tool_args, ARRAY_LEN(tool_args)},
    commands,
    ARRAY_LEN(commands)};

struct work {
    const struct command_line *c;
    struct asker *asker;
    struct arena arena;
};

/* ---- metadata.version, whose levels have names ---- */

enum { FIRST_SUPPORTED = 4, LAST_SUPPORTED = 21, BEFORE_LEVELS = -10 };

static const char metadata_feature[] = "metadata.version";

/* 3.3-IV0 to 3.3-IV3 are levels 4 to 7, and 3.3 is the last of them; below 1 there are none. */
static const struct release {
    const char *name;
    int16_t level;
    int count;
} releases[] = {
    {"0.8.0", BEFORE_LEVELS, 0},
    {"0.8.1", BEFORE_LEVELS, 0},
    {"0.8.2", BEFORE_LEVELS, 0},
    {"0.9.0", BEFORE_LEVELS, 0},
    {"0.10.0", BEFORE_LEVELS, 2},
    {"0.10.1", BEFORE_LEVELS, 3},
    {"0.10.2", BEFORE_LEVELS, 1},
    {"0.11.0", BEFORE_LEVELS, 3},
    {"1.0", BEFORE_LEVELS, 1},
    {"1.1", BEFORE_LEVELS, 1},
    {"2.0", BEFORE_LEVELS, 2},
    {"2.1", BEFORE_LEVELS, 3},
    {"2.2", BEFORE_LEVELS, 2},
    {"2.3", BEFORE_LEVELS, 2},
    {"2.4", BEFORE_LEVELS, 2},
    {"2.5", BEFORE_LEVELS, 1},
    {"2.6", BEFORE_LEVELS, 1},
    {"2.7", BEFORE_LEVELS, 3},
    {"2.8", BEFORE_LEVELS, 2},
    {"3.0", 0, 2},
    {"3.1", 2, 1},
    {"3.2", 3, 1},
    {"3.3", 4, 4},
    {"3.4", 8, 1},
    {"3.5", 9, 3},
    {"3.6", 12, 3},
    {"3.7", 15, 5},
    {"3.8", 20, 1},
    {"3.9", 21, 1},
};

static struct str level_text(struct arena *a, struct str feature, int16_t level)
{
    if (!str_is(feature, metadata_feature))
        return arena_printf(a, "%d", level);
    for (size_t i = 0; i < ARRAY_LEN(releases); i++)
        if (level >= 1 && level >= releases[i].level && level < releases[i].level + releases[i].count)
            return arena_printf(a, "%s-IV%d", releases[i].name, level - releases[i].level);
    return arena_printf(a, "UNKNOWN %d", level);
}

/* 3.5 and 3.5.1 are 3.5-IV2. */
static bool read_version(const char *text, int16_t *level)
{
    int dots = strncmp(text, "0.", 2) == 0 ? 3 : 2;
    size_t len = 0;
    for (; text[len] != '\0'; len++)
        if (text[len] == '.' && --dots == 0)
            break;
    for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
        const struct release *r = &releases[i];
        size_t name = strlen(r->name);
        char name_of_iv[32];
        if (len < name || memcmp(r->name, text, name) != 0)
            continue;
        for (int iv = 0; iv < MAX(r->count, 1); iv++) {
            int written = snprintf(name_of_iv, sizeof(name_of_iv), "%s-IV%d", r->name, iv);
            bool whole = len == name && iv == MAX(r->count, 1) - 1;
            if (!whole && (r->count == 0 || (size_t)written != len || memcmp(name_of_iv, text, len) != 0))
                continue;
            *level = (int16_t)(r->level + iv < 1 ? -1 : r->level + iv);
            return true;
        }
    }
    return false;
}

static bool refuse_version(struct work *w, const char *text, struct fail *fail)
{
    struct strbuf names = {0};
    for (int16_t level = FIRST_SUPPORTED; level <= LAST_SUPPORTED; level++) {
        struct str name = level_text(&w->arena, STR_LIT("metadata.version"), level);
        strbuf_printf(&names, "%s%.*s", level > FIRST_SUPPORTED ? ", " : "", STR_ARGS(name));
    }
    fail_set(fail, "Unsupported metadata.version %s. Supported metadata.version are %s", text, names.p);
    strbuf_deinit(&names);
    return false;
}

/* ---- describe ---- */

static int features_by_name(const void *a, const void *b)
{
    const struct api_versions_supported_feature_key *x = a, *y = b;
    return str_cmp(x->name, y->name);
}

static bool features_describe(struct work *w, struct fail *fail)
{
    struct api_versions_request request;
    struct api_versions_response r;
    api_versions_request_init(&request);
    request.client_software_name = STR_LIT("barnabas");
    request.client_software_version = STR_LIT(BARNABAS_VERSION);
    if (!ask(w->asker, ASK_ANY, API_API_VERSIONS, 3, &request, &r, NULL, &w->arena, fail))
        return false;
    if (r.supported_features.len > 0)
        qsort(r.supported_features.items, (size_t)r.supported_features.len, sizeof(*r.supported_features.items),
              features_by_name);
    for (int32_t i = 0; i < r.supported_features.len; i++) {
        const struct api_versions_supported_feature_key *f = &r.supported_features.items[i];
        int16_t level = 0;
        for (int32_t k = 0; k < r.finalized_features.len; k++)
            if (str_eq(r.finalized_features.items[k].name, f->name))
                level = r.finalized_features.items[k].max_version_level;
        struct str epoch = r.finalized_features_epoch >= 0
                               ? arena_printf(&w->arena, "%" PRId64, r.finalized_features_epoch)
                               : STR_LIT("-");
        printf("Feature: %.*s\tSupportedMinVersion: %.*s\tSupportedMaxVersion: %.*s\tFinalizedVersionLevel: %.*s\t"
               "Epoch: %.*s\n",
               STR_ARGS(f->name), STR_ARGS(level_text(&w->arena, f->name, f->min_version)),
               STR_ARGS(level_text(&w->arena, f->name, f->max_version)),
               STR_ARGS(level_text(&w->arena, f->name, level)), STR_ARGS(epoch));
    }
    return true;
}

/* ---- upgrade, downgrade, disable ---- */

enum { TYPE_UPGRADE = 1, TYPE_SAFE_DOWNGRADE = 2, TYPE_UNSAFE_DOWNGRADE = 3 };

struct updates {
    struct update_features_feature_update_key *v;
    int32_t n;
    int8_t type;
};

static bool updates_add(struct updates *u, struct str name, int16_t level, struct fail *fail)
{
    if (level == 0 && u->type == TYPE_UPGRADE)
        return fail_set(fail, "The upgradeType flag should be set to SAFE_DOWNGRADE or UNSAFE_DOWNGRADE when the "
                              "provided maxVersionLevel:0 is < 1.");
    if (level < 0)
        return fail_set(fail, "Cannot specify a negative version level.");
    for (int32_t i = 0; i < u->n; i++)
        if (str_eq(u->v[i].feature, name))
            return fail_set(fail, "Feature %.*s was specified more than once.", STR_ARGS(name));
    struct update_features_feature_update_key *f = &u->v[u->n++];
    update_features_feature_update_key_init(f);
    f->feature = name;
    f->max_version_level = level;
    f->upgrade_type = u->type;
    f->allow_downgrade = u->type != TYPE_UPGRADE;
    return true;
}

static struct str trimmed(const char *text, size_t len)
{
    while (len > 0 && isspace((unsigned char)*text)) {
        text++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    return (struct str){text, (int32_t)len};
}

static bool add_level(struct work *w, struct updates *u, const char *text, struct fail *fail)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return fail_set(fail, "Can't parse feature=level string %s: equals sign not found.", text);
    const char *level = arena_cstr(&w->arena, trimmed(equals + 1, strlen(equals + 1)));
    int64_t value;
    if (!java_integer(level, INT16_MIN, INT16_MAX, &value))
        return fail_set(fail, "Can't parse feature=level string %s: unable to parse %s as a short.", text, level);
    return updates_add(u, trimmed(text, (size_t)(equals - text)), (int16_t)value, fail);
}

static bool updates_read(struct work *w, struct updates *u, struct fail *fail)
{
    const char *metadata = command_line_get(w->c, "metadata");
    const struct option_value *features = command_line_all(w->c, "feature");
    bool disable = w->c->command == &commands[DISABLE];
    int16_t level;
    u->v = ARENA_ARRAY(&w->arena, struct update_features_feature_update_key, features->count + 1);
    u->type = w->c->command == &commands[UPGRADE] ? TYPE_UPGRADE
              : command_line_has(w->c, "unsafe")  ? TYPE_UNSAFE_DOWNGRADE
                                                  : TYPE_SAFE_DOWNGRADE;
    if (metadata != NULL && !read_version(metadata, &level))
        return refuse_version(w, metadata, fail);
    if (metadata != NULL && !updates_add(u, STR_LIT("metadata.version"), level, fail))
        return false;
    for (int i = 0; i < features->count; i++)
        if (disable ? !updates_add(u, str_of(features->values[i]), 0, fail)
                    : !add_level(w, u, features->values[i], fail))
            return false;
    if (u->n == 0)
        return fail_set(fail, "You must specify at least one feature to %s", w->c->command->name);
    for (int32_t i = 0; i < u->n; i++)
        if (trimmed(u->v[i].feature.p, (size_t)u->v[i].feature.len).len == 0)
            return fail_set(fail, "Provided feature can not be empty.");
    return true;
}

static int updates_by_name(const void *a, const void *b)
{
    const struct update_features_feature_update_key *x = a, *y = b;
    return str_cmp(x->feature, y->feature);
}

/* Empty: it has been done. */
static struct str why_not(struct work *w, const struct update_features_response *r, struct str feature)
{
    if (r->error_code != ERR_NONE)
        return ask_error_text(r->error_code, r->error_message);
    for (int32_t i = 0; i < r->results.len; i++)
        if (str_eq(r->results.items[i].feature, feature))
            return r->results.items[i].error_code == ERR_NONE
                       ? STR_LIT("")
                       : ask_error_text(r->results.items[i].error_code, r->results.items[i].error_message);
    return arena_printf(&w->arena, "The controller response did not contain a result for feature %.*s",
                        STR_ARGS(feature));
}

static bool print_updates(struct work *w, const struct updates *u, const struct update_features_response *r,
                          struct fail *fail)
{
    bool dry = command_line_has(w->c, "dry-run"), disable = w->c->command == &commands[DISABLE];
    const char *command = w->c->command->name;
    int failures = 0;
    for (int32_t i = 0; i < u->n; i++) {
        struct str name = u->v[i].feature, why = why_not(w, r, name);
        struct str level = disable ? STR_LIT("") : arena_printf(&w->arena, " to %d", u->v[i].max_version_level);
        if (why.len > 0)
            printf("%s not %s %.*s%.*s. %.*s\n", dry ? "Can" : "Could", command, STR_ARGS(name), STR_ARGS(level),
                   STR_ARGS(why));
        else
            printf("%.*s %s %sd%.*s.\n", STR_ARGS(name), dry ? "can be" : "was", command, STR_ARGS(level));
        failures += why.len > 0;
    }
    return failures == 0 || fail_set(fail, "%d out of %" PRId32 " operation(s) failed.", failures, u->n);
}

static bool update(struct work *w, struct fail *fail)
{
    struct updates u = {0};
    struct update_features_request request;
    struct update_features_response response;
    if (!updates_read(w, &u, fail))
        return false;
    qsort(u.v, (size_t)u.n, sizeof(*u.v), updates_by_name);
    update_features_request_init(&request);
    request.timeout_ms = ask_timeout_ms(w->asker);
    request.validate_only = command_line_has(w->c, "dry-run");
    request.feature_updates.items = u.v;
    request.feature_updates.len = u.n;
    return ask(w->asker, ASK_CONTROLLER, API_UPDATE_FEATURES, request.validate_only ? 1 : 0, &request, &response, NULL,
               &w->arena, fail) &&
           print_updates(w, &u, &response, fail);
}

int tool_features(int argc, char **argv)
{
    struct command_line c;
    struct work w = {.c = &c};
    struct fail fail;
    int code = command_line_parse(&c, &spec, argc, argv);
    if (code < 0) {
        w.asker = cluster_endpoint(&c, "command-config", &fail);
        bool ok =
            w.asker != NULL && (c.command == &commands[DESCRIBE] ? features_describe(&w, &fail) : update(&w, &fail));
        code = ok ? 0 : 1;
        if (!ok)
            fprintf(stderr, "%s\n", fail.text);
    }
    asker_free(w.asker);
    arena_deinit(&w.arena);
    command_line_deinit(&c);
    return code;
}
