/*
 * Whatever strangers write into ZooKeeper, a controller takes office and goes on, and what follows settings, ACLs and
 * tokens does. The input is lines:
 *
 *     PATH DATA    the node has this data; without a blank it has none
 *     -PATH        it goes
 *                  an empty line: until here ZooKeeper has it before this broker starts; behind it, it happens later,
 *                  and each further empty line lets everything come to rest first
 */
#include "controller_test.h"
#include "quiet.h"

#include "cluster/acl_watch.h"
#include "cluster/acl_znodes.h"
#include "cluster/quotas.h"
#include "cluster/scram_users.h"
#include "cluster/token_watch.h"
#include "cluster/token_znodes.h"

enum { MOST_LINES = 64, MOST_PATH = 300 };

struct follower {
    struct fixture *f;
    struct quotas *quotas;
    struct scram_users *users;
    struct topic_configs *configs;
    struct config_watch *config_watch;
    struct acl_board *board;
    struct acl_watch *acl_watch;
    struct tokens *tokens;
    struct token_watch *token_watch;
};

/* ---- What a broker does with what it hears ---- */

static void topic_is_different(void *ctx, const char *topic)
{
    struct follower *w = ctx;
    controller_topic_configured(w->f->c, topic);
}

static void settings_are_different(void *ctx, bool different UNUSED)
{
    struct follower *w = ctx;
    controller_defaults_configured(w->f->c);
}

static void entity_is_different(void *ctx, const char *entity, const struct config_znode *pairs)
{
    struct follower *w = ctx;
    scram_users_take(w->users, entity, pairs);
    quotas_take(w->quotas, entity, pairs);
}

static void settings_are_read(void *ctx UNUSED, const struct fail *unread UNUSED)
{
}

static void all_is_read(void *ctx UNUSED, const struct fail *fail)
{
    ensure(fail == NULL || fail->text[0] != '\0');
}

static bool cleans_always(void *ctx UNUSED)
{
    return true;
}

static void follower_start(struct follower *w, struct fixture *f)
{
    struct zk *zk = (struct zk *)f;
    struct rate_window window = {3, 1000};
    fixture_make_controller(f);
    w->f = f;
    w->quotas = quotas_new(window, window);
    w->users = scram_users_new();
    w->configs = f->c->options.topic_configs;
    w->config_watch = config_watch_new(&(struct config_watch_options){.zk = zk,
                                                                      .configs = w->configs,
                                                                      .settings = f->settings,
                                                                      .changed = topic_is_different,
                                                                      .settings_changed = settings_are_different,
                                                                      .entity_changed = entity_is_different,
                                                                      .loaded = settings_are_read,
                                                                      .ctx = w});
    w->board = acl_board_new();
    w->acl_watch = acl_watch_new(
        &(struct acl_watch_options){.loop = f->loop, .zk = zk, .board = w->board, .loaded = all_is_read, .ctx = w});
    w->tokens = tokens_new("secret");
    w->token_watch = token_watch_new(&(struct token_watch_options){.loop = f->loop,
                                                                   .zk = zk,
                                                                   .tokens = w->tokens,
                                                                   .check_interval_ms = 3600000,
                                                                   .cleans = cleans_always,
                                                                   .loaded = all_is_read,
                                                                   .ctx = w});
    controller_start(f->c);
    config_watch_start(w->config_watch, MYSELF);
    acl_watch_start(w->acl_watch);
    token_watch_start(w->token_watch);
    settle(f);
}

static void follower_stop(struct follower *w)
{
    config_watch_free(w->config_watch);
    acl_watch_free(w->acl_watch);
    acl_board_free(w->board);
    token_watch_free(w->token_watch);
    tokens_free(w->tokens);
    quotas_free(w->quotas);
    scram_users_free(w->users);
}

/* Clients come, and are judged by what was read. */
static void follower_is_asked(struct follower *w)
{
    struct arena a = {0};
    struct topic_config config;
    struct scram_credential credential;
    struct acl_policy policy = {0};
    struct acl_asker who =
        acl_asker((struct principal){.type = STR_LIT("User"), .name = STR_LIT("u")}, STR_LIT("1.1.1.1"));
    int32_t count;
    for (enum acl_type t = ACL_TOPIC; t < ACL_TYPES; t++)
        acl_allowed(acl_board_current(w->board), &policy, &who, t, STR_LIT("t"));
    for (enum quota_type t = QUOTA_PRODUCE; t < QUOTA_MUTATION; t++)
        quotas_charge(w->quotas, t, (struct quota_client){STR_LIT("u"), STR_LIT("c")}, 1e6, 0);
    if (scram_users_find(w->users, SCRAM_SHA_256, STR_LIT("u"), &a, &credential))
        ensure(credential.iterations > 0);
    topic_configs_get(w->configs, "t", &config);
    topic_configs_throttle(w->configs, "t", "leader.replication.throttled.replicas", 0, MYSELF);
    tokens_list(w->tokens, &a, &count);
    token_watch_clean(w->token_watch);
    arena_deinit(&a);
}

/* ---- The lines ---- */

/* As ZooKeeper has them: no part is empty, "." or "..", and all above are there. */
static bool path_is_possible(const char *path)
{
    const char *part = path;
    if (strlen(path) > MOST_PATH || path[0] != '/')
        return false;
    do {
        size_t len = strcspn(++part, "/");
        if (!zk_name_is_legal((struct str){part, (int32_t)len}))
            return false;
        part += len;
    } while (*part == '/');
    return true;
}

/* A line; what is behind it is `*rest`. */
static char *next_line(char **rest)
{
    char *line = *rest, *end = strchr(line, '\n');
    *rest = end != NULL ? end + 1 : line + strlen(line);
    if (end != NULL)
        *end = '\0';
    return line;
}

static bool change_tree(struct fixture *f, char *line, const char **path)
{
    bool gone = line[0] == '-';
    char *blank = strchr(line, ' ');
    if (blank != NULL)
        *blank = '\0';
    *path = line + gone;
    if (!path_is_possible(*path))
        return false;
    if (gone && znode_has_children(f, *path))
        return false;
    if (gone)
        znode_remove(f, *path);
    else
        znode_put(f, *path, text_bytes(blank != NULL ? blank + 1 : ""));
    return true;
}

/* Those who watch the node, or the list that it is in; notifications are in lists only. */
static void tell_watchers(struct follower *w, const char *path)
{
    char folder[MOST_PATH + 1];
    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    for (int i = 0; i < 2; i++) {
        const char *changed = i == 0 ? folder : path;
        if (strcmp(changed, ZNODE_CONFIG_CHANGES) == 0)
            config_watch_changed(w->config_watch);
        else if (!token_watch_changed(w->token_watch, changed))
            controller_changed(w->f->c, changed);
        acl_watch_changed(w->acl_watch, changed);
    }
}

static void run_lines(struct fixture *f, char *text)
{
    struct follower w = {0};
    bool started = false;
    const char *path;
    for (int n = 0; *text != '\0' && n < MOST_LINES; n++) {
        char *line = next_line(&text);
        bool rest = line[0] == '\0';
        if (rest && !started)
            follower_start(&w, f);
        else if (rest)
            settle(f);
        else if (change_tree(f, line, &path) && started)
            tell_watchers(&w, path);
        started |= rest;
    }
    if (!started)
        follower_start(&w, f);
    settle(f);
    follower_is_asked(&w);
    settle(f);
    follower_stop(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *state = NULL;
    if (size > 1 << 13)
        return 0;
    char *text = xstrndup((const char *)data, size);
    set_up(&state);
    struct fixture *f = state;
    register_broker(f, MYSELF);
    register_broker(f, 2);
    run_lines(f, text);
    tear_down(&state);
    free(text);
    return 0;
}
