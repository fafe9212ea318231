#include "server/deprecated_requests.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/lock.h"
#include "metrics/meter.h"
#include "protocol/msg/api.h"

/* Of so many kinds; what comes after them is told together, as of unknown software. */
enum { MOST_KINDS = 500, LONGEST_KEY = 1024 };

struct kind {
    char *key;
    const char *request;
    char version[8];
    char *software_name, *software_version;
    int64_t id;
    struct meter meter;
    UT_hash_handle hh;
};

struct deprecated_requests {
    struct metrics *metrics;
    struct bean_source source;
    struct lock lock;   /* guards the table; kinds stay */
    struct kind *kinds; /* uthash, in the order in which they came */
};

bool is_deprecated_request(int16_t api_key, int16_t version)
{
    /* The last version that is, of APIs of which any is. */
    static const struct {
        int16_t key, last;
    } old[] = {{API_PRODUCE, 6},
               {API_FETCH, 3},
               {API_LIST_OFFSETS, 0},
               {API_METADATA, 3},
               {API_OFFSET_COMMIT, 1},
               {API_OFFSET_FETCH, 0},
               {API_FIND_COORDINATOR, 0},
               {API_JOIN_GROUP, 1},
               {API_SASL_HANDSHAKE, 0},
               {API_CREATE_TOPICS, 1},
               {API_DELETE_TOPICS, 0},
               {API_OFFSET_FOR_LEADER_EPOCH, 1},
               {API_DESCRIBE_ACLS, 0},
               {API_CREATE_ACLS, 0},
               {API_DELETE_ACLS, 0},
               {API_DESCRIBE_CONFIGS, 0},
               {API_ALTER_REPLICA_LOG_DIRS, 0},
               {API_DESCRIBE_LOG_DIRS, 0},
               {API_CREATE_DELEGATION_TOKEN, 0},
               {API_RENEW_DELEGATION_TOKEN, 0},
               {API_EXPIRE_DELEGATION_TOKEN, 0},
               {API_DESCRIBE_DELEGATION_TOKEN, 0},
               {API_DELETE_GROUPS, 0}};
    for (size_t i = 0; i < ARRAY_LEN(old); i++)
        if (old[i].key == api_key)
            return version <= old[i].last;
    return false;
}

/* ---- Counting ---- */

static struct kind *kind_add(struct deprecated_requests *d, const char *key, size_t len, const char *request,
                             int16_t version, struct str software_name, struct str software_version)
{
    struct kind *k = xcalloc(1, sizeof(*k));
    k->key = xstrndup(key, len);
    k->request = request;
    snprintf(k->version, sizeof(k->version), "%d", version);
    k->software_name = xstrndup(software_name.p, (size_t)software_name.len);
    k->software_version = xstrndup(software_version.p, (size_t)software_version.len);
    k->id = metrics_ids(d->metrics, 1);
    meter_init(&k->meter, d->metrics, "requests");
    HASH_ADD_KEYPTR(hh, d->kinds, k->key, strlen(k->key), k);
    return k;
}

void deprecated_requests_count(struct deprecated_requests *d, const char *request, int16_t version,
                               struct str software_name, struct str software_version)
{
    static const struct str unknown = {"unknown", 7};
    char key[LONGEST_KEY];
    struct kind *k;
    lock_take(&d->lock);
    for (;;) {
        int len = snprintf(key, sizeof(key), "%s %d %.*s %.*s", request, version, STR_ARGS(software_name),
                           STR_ARGS(software_version));
        bool fits = len > 0 && (size_t)len < sizeof(key);
        HASH_FIND_STR(d->kinds, key, k);
        if (k != NULL && fits)
            break;
        /* Of any other version it is somebody's name, too: there is no end to those. */
        bool is_unknown = str_eq(software_name, unknown) && str_eq(software_version, unknown);
        if (fits && (is_unknown || HASH_COUNT(d->kinds) < MOST_KINDS)) {
            k = kind_add(d, key, (size_t)len, request, version, software_name, software_version);
            break;
        }
        software_name = software_version = unknown;
    }
    lock_release(&d->lock);
    meter_mark(&k->meter, 1);
}

/* ---- As beans ---- */

static void deprecated_requests_visit(void *ctx, struct bean_walk *w)
{
    struct deprecated_requests *d = ctx;
    bool more = walk_wants(w, "kafka.network", "RequestMetrics");
    lock_take(&d->lock);
    struct kind *k = d->kinds;
    lock_release(&d->lock);
    while (more && k != NULL) {
        struct bean_name name = {"kafka.network",
                                 "RequestMetrics",
                                 "DeprecatedRequestsPerSec",
                                 {{"request", str_of(k->request)},
                                  {"version", str_of(k->version)},
                                  {"clientSoftwareName", str_of(k->software_name)},
                                  {"clientSoftwareVersion", str_of(k->software_version)}}};
        more = yield_meter(w, k->id, &name, &k->meter);
        lock_take(&d->lock);
        k = k->hh.next;
        lock_release(&d->lock);
    }
}

/* ---- Life ---- */

struct deprecated_requests *deprecated_requests_new(struct metrics *m)
{
    struct deprecated_requests *d = xcalloc(1, sizeof(*d));
    d->metrics = m;
    lock_init(&d->lock, RANK_DEPRECATED_REQUESTS);
    d->source = (struct bean_source){.visit = deprecated_requests_visit, .ctx = d};
    metrics_add_source(m, &d->source);
    return d;
}

void deprecated_requests_free(struct deprecated_requests *d)
{
    struct kind *k, *next;
    if (d == NULL)
        return;
    metrics_remove_source(d->metrics, &d->source);
    HASH_ITER (hh, d->kinds, k, next) {
        HASH_DEL(d->kinds, k);
        meter_deinit(&k->meter);
        free(k->key);
        free(k->software_name);
        free(k->software_version);
        free(k);
    }
    lock_deinit(&d->lock);
    free(d);
}
