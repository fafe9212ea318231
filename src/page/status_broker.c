/* This broker: what its beans say, and its process, its disks. */
#include "page/status_internal.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "metrics/bean_ask.h"

static double number_or(struct metrics *m, const char *name, double otherwise)
{
    double value;
    return bean_number(m, name, &value) && isfinite(value) ? value : otherwise;
}

static struct str status_says(struct status *s, struct metrics *m, const char *name)
{
    char room[128];
    return bean_says(m, name, room, sizeof(room)) ? status_text(s, str_of(room)) : STR_NULL;
}

/* ---- Directories ---- */

static double of_dir(struct metrics *m, const char *name, const char *key, const char *path, double otherwise)
{
    struct strbuf text = {0};
    strbuf_printf(&text, "kafka.log:type=LogManager,name=%s,%s=", name, key);
    bean_quote(str_of(path), &text);
    double value = number_or(m, text.p, otherwise);
    strbuf_deinit(&text);
    return value;
}

static void gather_dirs(struct status *s, const struct status_matter *from)
{
    const struct config_list *paths = &from->config->log_dirs;
    s->dirs = ARENA_ARRAY(&s->memory, struct status_dir, paths->count + 1);
    for (int i = 0; i < paths->count; i++) {
        const char *path = paths->items[i];
        struct statvfs fs;
        struct status_dir *d = &s->dirs[s->dir_count++];
        *d = (struct status_dir){status_text(s, str_of(path)), .free = STATUS_UNKNOWN, .size = STATUS_UNKNOWN};
        d->offline = of_dir(from->metrics, "LogDirectoryOffline", "logDirectory", path, 0) > 0;
        d->to_recover = (int64_t)of_dir(from->metrics, "remainingLogsToRecover", "dir", path, STATUS_UNKNOWN);
        if (statvfs(path, &fs) == 0 && fs.f_blocks > 0) {
            d->free = (int64_t)(fs.f_bavail * fs.f_frsize);
            d->size = (int64_t)(fs.f_blocks * fs.f_frsize);
        }
    }
}

/* ---- Who is connected ---- */

enum { MOST_CLIENTS = 32 };

static bool take_client(void *ctx, const struct bean *b)
{
    struct status *s = ctx;
    char rooms[2][256];
    double connections;
    struct str name = bean_key_value(b, "clientSoftwareName", rooms[0], sizeof(rooms[0]));
    struct str version = bean_key_value(b, "clientSoftwareVersion", rooms[1], sizeof(rooms[1]));
    if (!bean_attribute_number(b, "connections", &connections) || connections <= 0)
        return true;
    name = status_text(s, name);
    version = status_text(s, version);
    for (int i = 0; i < s->client_count; i++)
        if (str_eq(s->clients[i].name, name) && str_eq(s->clients[i].version, version)) {
            s->clients[i].connections += (int64_t)connections;
            return true;
        }
    if (s->client_count < MOST_CLIENTS)
        s->clients[s->client_count++] = (struct status_client){name, version, (int64_t)connections};
    return true;
}

static int by_connections(const void *a, const void *b)
{
    int64_t x = ((const struct status_client *)a)->connections, y = ((const struct status_client *)b)->connections;
    return (x < y) - (x > y);
}

static void gather_clients(struct status *s, struct metrics *m)
{
    double connections;
    s->clients = ARENA_ARRAY(&s->memory, struct status_client, MOST_CLIENTS);
    beans_visit(m, "kafka.server:type=socket-server-metrics,clientSoftwareName=*,clientSoftwareVersion=*,*",
                take_client, s);
    qsort(s->clients, (size_t)s->client_count, sizeof(*s->clients), by_connections);
    (void)bean_sum(m, "kafka.server:type=socket-server-metrics,listener=*,networkProcessor=*", "connection-count",
                   &connections);
    s->connections = (int64_t)connections;
}

/* ---- Who will not be served by Kafka 4.0 ---- */

enum { MOST_DEPRECATED = 512, SHOWN_DEPRECATED = 20 };

static bool take_deprecated(void *ctx, const struct bean *b)
{
    static const char *const keys[] = {"clientSoftwareName", "clientSoftwareVersion", "request", "version"};
    struct status *s = ctx;
    double count, rate;
    struct str values[ARRAY_LEN(keys)];
    if (!bean_attribute_number(b, "Count", &count) || !bean_attribute_number(b, "OneMinuteRate", &rate))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char room[256];
        values[i] = status_text(s, bean_key_value(b, keys[i], room, sizeof(room)));
    }
    s->deprecated[s->deprecated_list.total++] =
        (struct status_deprecated){values[0], values[1], values[2], values[3], (int64_t)count, rate};
    return s->deprecated_list.total < MOST_DEPRECATED;
}

static int by_count(const void *a, const void *b)
{
    int64_t x = ((const struct status_deprecated *)a)->count, y = ((const struct status_deprecated *)b)->count;
    return (x < y) - (x > y);
}

static void gather_deprecated(struct status *s, struct metrics *m)
{
    struct status_list *list = &s->deprecated_list;
    s->deprecated = ARENA_ARRAY(&s->memory, struct status_deprecated, MOST_DEPRECATED);
    beans_visit(m, "kafka.network:type=RequestMetrics,name=DeprecatedRequestsPerSec,*", take_deprecated, s);
    qsort(s->deprecated, (size_t)list->total, sizeof(*s->deprecated), by_count);
    list->shown = MIN(list->total, SHOWN_DEPRECATED);
}

/* ---- What is going on ---- */

enum { MOST_MOVES = 100, MOST_COMPACTIONS = 32 };

/* What a bean of a partition says; false: it is none, or does not say it. */
static bool take_of_partition(struct status *s, const struct bean *b, struct str *topic, struct str *partition,
                              double *value)
{
    char rooms[2][256];
    struct str t = bean_key_value(b, "topic", rooms[0], sizeof(rooms[0]));
    struct str p = bean_key_value(b, "partition", rooms[1], sizeof(rooms[1]));
    if (t.p == NULL || p.p == NULL || !bean_attribute_number(b, "Value", value))
        return false;
    *topic = status_text(s, t);
    *partition = status_text(s, p);
    return true;
}

static bool take_move(void *ctx, const struct bean *b)
{
    struct status *s = ctx;
    struct str topic, partition;
    double done;
    if (take_of_partition(s, b, &topic, &partition, &done))
        s->moves[s->move_count++] = (struct status_move){topic, partition, (int64_t)done, STATUS_UNKNOWN};
    return s->move_count < MOST_MOVES;
}

static void gather_moves(struct status *s, struct metrics *m)
{
    s->moves = ARENA_ARRAY(&s->memory, struct status_move, MOST_MOVES);
    beans_visit(m, "kafka.log:type=Log,name=LogEndOffset,is-future=true,*", take_move, s);
    for (int i = 0; i < s->move_count; i++) {
        struct status_move *move = &s->moves[i];
        struct strbuf name = {0};
        strbuf_puts(&name, "kafka.log:type=Log,name=LogEndOffset,topic=");
        bean_quote(move->topic, &name);
        strbuf_printf(&name, ",partition=%.*s", STR_ARGS(move->partition));
        move->end = (int64_t)number_or(m, name.p, STATUS_UNKNOWN);
        strbuf_deinit(&name);
    }
}

static bool take_compaction(void *ctx, const struct bean *b)
{
    struct status *s = ctx;
    struct str topic, partition;
    double percent;
    if (take_of_partition(s, b, &topic, &partition, &percent))
        s->compactions[s->compaction_count++] = (struct status_compaction){topic, partition, (int32_t)percent};
    return s->compaction_count < MOST_COMPACTIONS;
}

static void gather_compactions(struct status *s, struct metrics *m)
{
    s->compactions = ARENA_ARRAY(&s->memory, struct status_compaction, MOST_COMPACTIONS);
    beans_visit(m, BEAN_OWN_DOMAIN ":type=LogCleaner,name=CompactionPercent,*", take_compaction, s);
}

/* ---- The process ---- */

static int64_t count_open_files(void)
{
    int64_t n = -3; /* . and .., and the folder itself */
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        closedir(d);
    return MAX(n, INT64_C(0));
}

static bool take_start(void *ctx, const struct bean *b)
{
    struct status *s = ctx;
    double started;
    char room[16];
    struct str id = bean_key_value(b, "id", room, sizeof(room));
    if (bean_attribute_number(b, "StartTimeMs", &started))
        s->started_ms = (int64_t)started;
    if (id.p != NULL && !str_to_int32(id, &s->broker_id))
        s->broker_id = STATUS_UNKNOWN;
    return true;
}

void status_gather_broker(struct status *s, const struct status_matter *from)
{
    struct metrics *m = from->metrics;
    struct rlimit files = {0};
    s->state = (int)number_or(m, "kafka.server:type=KafkaServer,name=BrokerState", STATUS_UNKNOWN);
    s->cluster_id = status_says(s, m, "kafka.server:type=KafkaServer,name=ClusterId");
    s->session = status_says(s, m, "kafka.server:type=SessionExpireListener,name=SessionState");
    s->rack = status_text(s, str_of(from->config->broker_rack));
    beans_visit(m, "kafka.server:type=app-info,*", take_start, s);
    gather_dirs(s, from);
    gather_clients(s, m);
    gather_deprecated(s, m);
    s->loop_count = history_read_loops(from->history, s->loops);
    gather_moves(s, m);
    gather_compactions(s, m);
    s->reassigning = (int64_t)number_or(m, "kafka.server:type=ReplicaManager,name=ReassigningPartitions", 0);
    s->late_transactions =
        (int64_t)number_or(m, "kafka.server:type=ReplicaManager,name=PartitionsWithLateTransactionsCount", 0);
    double uncleanable;
    (void)bean_sum(m, "kafka.log:type=LogCleanerManager,name=uncleanable-partitions-count,*", "Value", &uncleanable);
    s->uncleanable = (int64_t)uncleanable;
    s->open_files = count_open_files();
    s->most_files = getrlimit(RLIMIT_NOFILE, &files) == 0 ? (int64_t)files.rlim_cur : STATUS_UNKNOWN;
    for (int i = 0; i < HISTORY_SERIES; i++)
        s->point_count[i] = history_read(from->history, (enum history_series)i, s->points[i]);
}
