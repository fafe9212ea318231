/*
 * Whether a broker could start with a configuration, as far as that shows without ZooKeeper, without a port and without
 * a file being written: stores of keys, logins, rules of exporters, directories.
 */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/broker_internal.h"
#include "cluster/zk_protection.h"
#include "exporter/exporter.h"

static bool check_zookeeper(const struct broker_config *config, struct fail *fail)
{
    struct zk_protection *p = zk_protection_of(config, false, fail);
    bool ok = p != NULL;
    zk_protection_unref(p);
    return ok;
}

static bool check_authorizer(const struct broker_config *config, struct fail *fail)
{
    struct arena a = {0};
    struct acl_policy policy;
    bool ok = config->authorizer_class_name[0] == '\0' || authorization_policy(config, &a, &policy, fail);
    struct zk_protection *p = ok ? zk_protection_of(config, true, fail) : NULL;
    ok = p != NULL;
    zk_protection_unref(p);
    arena_deinit(&a);
    return ok;
}

static bool check_listeners(const struct broker_config *config, struct fail *fail)
{
    struct broker *b = xcalloc(1, sizeof(*b));
    b->config = config;
    client_route_init(&b->route, NULL, NULL);
    client_route_init(&b->control_route, NULL, NULL);
    bool ok = protection_make(b, fail);
    protection_stop(b);
    protection_free(b);
    free(b);
    return ok;
}

/* One that is not there is made at start, with those above it. */
static bool check_directory(const char *path, struct fail *fail)
{
    struct stat st;
    struct arena a = {0};
    char *at = arena_cstr(&a, str_of(path));
    bool ok = true;
    while (stat(at, &st) != 0 && errno == ENOENT && strcmp(at, "/") != 0 && strcmp(at, ".") != 0)
        at = dirname(at);
    if (stat(at, &st) != 0)
        ok = fail_set(fail, "log.dirs: %s: %s", at, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        ok = fail_set(fail, "log.dirs: %s is no directory", at);
    else if (access(at, R_OK | W_OK | X_OK) != 0)
        ok = fail_set(fail, "log.dirs: %s may not be written to: %s", at, strerror(errno));
    arena_deinit(&a);
    return ok;
}

static bool check_directories(const struct broker_config *config, struct fail *fail)
{
    for (int i = 0; i < config->log_dirs.count; i++)
        if (!check_directory(config->log_dirs.items[i], fail))
            return false;
    return true;
}

bool broker_check(const struct broker_config *config, struct fail *fail)
{
    return check_zookeeper(config, fail) && check_authorizer(config, fail) && check_listeners(config, fail) &&
           exporter_check(config, fail) && check_directories(config, fail);
}
