/* meta.properties: which broker of which cluster a log directory belongs to. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/logger.h"
#include "config/properties.h"
#include "log/file.h"
#include "storage/log_dir_internal.h"

static enum meta_result meta_parse(const struct properties *props, const char *path, struct meta_properties *out)
{
    const char *version = properties_get(props, "version"), *id = properties_get(props, "broker.id");
    const char *cluster = properties_get(props, "cluster.id");
    char *end = NULL;
    if (version != NULL && strcmp(version, "0") != 0)
        return META_WRONG_VERSION;
    if (id != NULL) {
        long n = strtol(id, &end, 10);
        if (*id == '\0' || *end != '\0' || n < 0 || n > INT32_MAX) {
            log_error("%s: broker.id=%s: not a broker id", path, id);
            return META_UNREADABLE;
        }
        out->broker_id = (int32_t)n;
    }
    if (cluster != NULL && strlen(cluster) >= sizeof(out->cluster_id)) {
        log_error("%s: cluster.id is too long", path);
        return META_UNREADABLE;
    }
    snprintf(out->cluster_id, sizeof(out->cluster_id), "%s", cluster ? cluster : "");
    return META_READ;
}

enum meta_result meta_properties_read(const char *path, struct meta_properties *out)
{
    struct properties props = {0};
    struct arena a = {0};
    struct strbuf text = {0};
    struct fail fail;
    enum meta_result result = META_UNREADABLE;
    *out = (struct meta_properties){.broker_id = -1};
    enum file_result found = file_load(path, &text);
    if (found == FILE_MISSING)
        return META_MISSING;
    if (found == FILE_FOUND) {
        if (properties_parse((struct str){text.p ? text.p : "", (int32_t)text.len}, path, &a, &props, &fail))
            result = meta_parse(&props, path, out);
        else
            log_error("%s", fail.text);
    }
    arena_deinit(&a);
    strbuf_deinit(&text);
    return result;
}

bool meta_properties_write(const char *path, const struct meta_properties *meta)
{
    char text[256], date[64];
    time_t now = time(NULL);
    struct tm tm;
    strftime(date, sizeof(date), "%a %b %d %H:%M:%S %Z %Y", localtime_r(&now, &tm));
    int n = snprintf(text, sizeof(text), "#\n#%s\nbroker.id=%" PRId32 "\nversion=0\ncluster.id=%s\n", date,
                     meta->broker_id, meta->cluster_id);
    return file_replace(path, text, (size_t)n);
}
