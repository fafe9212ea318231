/* meta.properties: which broker of which cluster a log directory belongs to. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "config/properties.h"
#include "storage/file_internal.h"
#include "storage/storage.h"

static char *meta_path(const char *dir)
{
    return xasprintf("%s/meta.properties", dir);
}

static bool merge(struct meta_properties *out, const struct meta_properties *one, const char *path, struct fail *fail)
{
    if (one->broker_id >= 0 && out->broker_id >= 0 && one->broker_id != out->broker_id)
        return fail_set(fail, "Stored node id %" PRId32 " in %s doesn't match %" PRId32 " of another log directory",
                        one->broker_id, path, out->broker_id);
    if (one->cluster_id[0] && out->cluster_id[0] && strcmp(one->cluster_id, out->cluster_id) != 0)
        return fail_set(fail, "Stored cluster id %s in %s doesn't match %s of another log directory", one->cluster_id,
                        path, out->cluster_id);
    if (one->broker_id >= 0)
        out->broker_id = one->broker_id;
    if (one->cluster_id[0])
        snprintf(out->cluster_id, sizeof(out->cluster_id), "%s", one->cluster_id);
    return true;
}

static bool parse_meta(const struct properties *props, const char *path, struct meta_properties *out, struct fail *fail)
{
    const char *version = properties_get(props, "version"), *id = properties_get(props, "broker.id");
    const char *cluster = properties_get(props, "cluster.id");
    char *end = NULL;
    if (version != NULL && strcmp(version, "0") != 0)
        return fail_set(fail, "%s: version=%s: only version 0, of ZooKeeper mode, can be used", path, version);
    if (id != NULL) {
        long n = strtol(id, &end, 10);
        if (*id == '\0' || *end != '\0' || n < 0 || n > INT32_MAX)
            return fail_set(fail, "%s: broker.id=%s: not a broker id", path, id);
        out->broker_id = (int32_t)n;
    }
    if (cluster != NULL && strlen(cluster) >= sizeof(out->cluster_id))
        return fail_set(fail, "%s: cluster.id is too long", path);
    snprintf(out->cluster_id, sizeof(out->cluster_id), "%s", cluster ? cluster : "");
    return true;
}

bool meta_properties_read(const struct broker_config *config, struct meta_properties *out, struct fail *fail)
{
    *out = (struct meta_properties){.broker_id = -1};
    for (int i = 0; i < config->log_dirs.count; i++) {
        struct meta_properties one = {.broker_id = -1};
        struct properties props = {0};
        struct arena a = {0};
        struct strbuf text = {0};
        char *path = meta_path(config->log_dirs.items[i]);
        bool ok = true;
        if (file_load(path, &text))
            ok = properties_parse((struct str){text.p ? text.p : "", (int32_t)text.len}, path, &a, &props, fail) &&
                 parse_meta(&props, path, &one, fail) && merge(out, &one, path, fail);
        arena_deinit(&a);
        strbuf_deinit(&text);
        free(path);
        if (!ok)
            return false;
    }
    return true;
}

bool meta_properties_write(const struct broker_config *config, const struct meta_properties *meta, struct fail *fail)
{
    char text[256], date[64];
    time_t now = time(NULL);
    struct tm tm;
    strftime(date, sizeof(date), "%a %b %d %H:%M:%S %Z %Y", localtime_r(&now, &tm));
    int n = snprintf(text, sizeof(text), "#\n#%s\nbroker.id=%" PRId32 "\nversion=0\ncluster.id=%s\n", date,
                     meta->broker_id, meta->cluster_id);
    for (int i = 0; i < config->log_dirs.count; i++) {
        char *path = meta_path(config->log_dirs.items[i]);
        bool ok = dir_make(config->log_dirs.items[i]) && file_replace(path, text, (size_t)n);
        free(path);
        if (!ok)
            return fail_set(fail, "Cannot write meta.properties in %s", config->log_dirs.items[i]);
    }
    return true;
}
