/*
 * DescribeLogDirs and AlterReplicaLogDirs (KIP-113, KIP-827): where this broker's logs are, and where they are to be. A
 * move is only begun here; how far it is the sizes tell of the current log and of the future one, which the former
 * lists beside each other.
 */
#include "base/logger.h"
#include "base/str_set.h"
#include "base/topic_key.h"
#include "protocol/msg/alter_replica_log_dirs.h"
#include "protocol/msg/describe_log_dirs.h"
#include "server/authorize.h"

/* ---- DescribeLogDirs ---- */

struct described {
    struct plog *log; /* with a reference */
    struct log_name {
        const char *dir, *topic;
        int32_t partition;
        bool future;
    } name;
};

struct description {
    struct request *r;
    struct describe_log_dirs_request request;
    struct describe_log_dirs_response response;
    struct str_set asked;   /* topic_keys of the partitions that the request names */
    struct described *logs; /* heap; by directory, topic and partition */
    size_t count, cap;
};

static void note_asked(struct description *d, struct arena *a)
{
    for (int32_t t = 0; t < d->request.topics.len; t++) {
        const struct describe_log_dirs_describable_log_dir_topic *asked = &d->request.topics.items[t];
        for (int32_t i = 0; i < asked->partitions.len && !a->spent; i++) {
            struct topic_key key;
            if (topic_key_make(asked->topic, asked->partitions.items[i], &key))
                str_set_add_copy(&d->asked, a, topic_key_bytes(&key));
        }
    }
}

static bool is_asked(const struct description *d, const char *topic, int32_t partition)
{
    struct topic_key key;
    return d->request.topics.len < 0 ||
           (topic_key_make(str_of(topic), partition, &key) && str_set_has(&d->asked, topic_key_bytes(&key)));
}

static void take_log(void *ctx, struct plog *log)
{
    struct description *d = ctx;
    if (!is_asked(d, plog_topic(log), plog_partition(log)))
        return;
    plog_ref(log);
    d->logs = xgrow(d->logs, d->count + 1, &d->cap, sizeof(*d->logs));
    d->logs[d->count++] =
        (struct described){log, {plog_dir(log), plog_topic(log), plog_partition(log), plog_is_future(log)}};
}

static int log_dirs_by_name(const void *a, const void *b)
{
    const struct log_name *x = &((const struct described *)a)->name, *y = &((const struct described *)b)->name;
    int order = strcmp(x->dir, y->dir);
    order = order != 0 ? order : strcmp(x->topic, y->topic);
    order = order != 0 ? order : (x->partition > y->partition) - (x->partition < y->partition);
    return order != 0 ? order : x->future - y->future;
}

/* A future log is behind the current one, the current one behind the high watermark; -1 where none is in use. */
static int64_t lag_of(const struct description *d, const struct described *x)
{
    struct partition *p = replica_partition(d->r->s->replicas, str_of(x->name.topic), x->name.partition);
    if (p == NULL)
        return -1;
    struct plog *current = partition_log(p);
    int64_t end = plog_end_offset(x->log);
    int64_t lag = x->name.future ? plog_end_offset(current) - end : MAX(plog_high_watermark(current) - end, (int64_t)0);
    partition_unref(p);
    return lag;
}

static void log_dirs_describe_topic(const struct description *d, const struct described *from, int32_t count,
                                    struct describe_log_dirs_topic *out)
{
    describe_log_dirs_topic_init(out);
    out->name = str_of(from->name.topic);
    ARRAY_MAKE(d->r->arena, out->partitions, count);
    for (int32_t i = 0; i < count; i++) {
        struct describe_log_dirs_partition *o = &out->partitions.items[i];
        describe_log_dirs_partition_init(o);
        o->partition_index = from[i].name.partition;
        o->partition_size = plog_size(from[i].log);
        o->offset_lag = lag_of(d, &from[i]);
        o->is_future_key = from[i].name.future;
    }
}

/* How many from there on are in the same directory, and, if that is asked for, of the same topic. */
static int32_t run_of(const struct description *d, size_t at, bool of_topic)
{
    const struct log_name *first = &d->logs[at].name;
    int32_t n = 1;
    for (size_t i = at + 1; i < d->count; i++, n++) {
        const struct log_name *name = &d->logs[i].name;
        if (strcmp(name->dir, first->dir) != 0 || (of_topic && strcmp(name->topic, first->topic) != 0))
            break;
    }
    return n;
}

static void describe_logs(const struct description *d, const char *dir, struct describe_log_dirs_result *out)
{
    size_t at = 0;
    while (at < d->count && strcmp(d->logs[at].name.dir, dir) != 0)
        at++;
    if (at == d->count)
        return;
    size_t end = at + (size_t)run_of(d, at, false);
    ARRAY_MAKE(d->r->arena, out->topics, (int32_t)(end - at));
    out->topics.len = 0;
    for (int32_t n; at < end; at += (size_t)n) {
        n = run_of(d, at, true);
        log_dirs_describe_topic(d, &d->logs[at], n, &out->topics.items[out->topics.len++]);
    }
}

static void describe_dir(const struct description *d, const char *dir, struct describe_log_dirs_result *out)
{
    describe_log_dirs_result_init(out);
    ARRAY_MAKE(d->r->arena, out->topics, 0);
    out->log_dir = str_of(dir);
    out->error_code = (int16_t)log_manager_space(d->r->s->logs, dir, &out->total_bytes, &out->usable_bytes);
    if (out->error_code == ERR_NONE)
        describe_logs(d, dir, out);
}

/* On a worker: a file system may let one wait. */
static void log_dirs_describe(struct request *r)
{
    struct description *d = r->state;
    int32_t n = 0;
    while (log_manager_dir(r->s->logs, n) != NULL)
        n++;
    note_asked(d, r->arena);
    log_manager_each(r->s->logs, take_log, d);
    str_set_deinit(&d->asked);
    if (d->count > 0)
        qsort(d->logs, d->count, sizeof(*d->logs), log_dirs_by_name);
    ARRAY_MAKE(r->arena, d->response.results, n);
    for (int32_t i = 0; i < n; i++)
        describe_dir(d, log_manager_dir(r->s->logs, i), &d->response.results.items[i]);
}

static void answer_description(struct request *r)
{
    struct description *d = r->state;
    struct described *logs = d->logs;
    size_t count = d->count;
    ANSWER(r, describe_log_dirs_response, &d->response); /* which takes the request's memory */
    for (size_t i = 0; i < count; i++)
        plog_unref(logs[i].log);
    free(logs);
}

static void log_dirs_handle_describe(struct request *r)
{
    struct description *d = ARENA_NEW(r->arena, struct description);
    if (!DECODE(r, describe_log_dirs_request, &d->request))
        return;
    describe_log_dirs_response_init(&d->response);
    d->r = r;
    r->state = d;
    if (allowed_cluster(r, ACL_DESCRIBE)) {
        request_disk_work(r, log_dirs_describe, answer_description);
        return;
    }
    d->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
    ARRAY_MAKE(r->arena, d->response.results, 0);
    answer_description(r);
}

const struct api_entry api_describe_log_dirs = {
    .key = API_DESCRIBE_LOG_DIRS, .min = 0, .max = 4, .handle = log_dirs_handle_describe};

/* ---- AlterReplicaLogDirs ---- */

struct move_order {
    struct str topic;
    int32_t partition, place; /* `place` in the request */
    const char *dir;
    bool exists; /* somewhere in the cluster */
    enum kafka_error error;
};

static struct log_limit refusals;

struct alteration {
    struct alter_replica_log_dirs_request request;
    struct move_order *orders; /* by topic and partition, each once */
    int32_t count;
};

static int log_dirs_by_partition(const void *a, const void *b)
{
    const struct move_order *x = a, *y = b;
    int order = partition_order(x->topic, x->partition, y->topic, y->partition);
    return order != 0 ? order : x->place - y->place;
}

static void add_orders(struct alteration *a, struct arena *arena,
                       const struct alter_replica_log_dirs_alter_replica_log_dir *in)
{
    const char *dir = arena_cstr(arena, in->path);
    for (int32_t t = 0; t < in->topics.len; t++)
        for (int32_t i = 0; i < in->topics.items[t].partitions.len; i++, a->count++)
            a->orders[a->count] = (struct move_order){.topic = in->topics.items[t].name,
                                                      .partition = in->topics.items[t].partitions.items[i],
                                                      .place = a->count,
                                                      .dir = dir};
}

static int32_t count_orders(const struct alter_replica_log_dirs_request *in)
{
    int32_t n = 0;
    for (int32_t d = 0; d < in->dirs.len; d++)
        for (int32_t t = 0; t < in->dirs.items[d].topics.len; t++)
            n += MAX(in->dirs.items[d].topics.items[t].partitions.len, 0);
    return n;
}

/* Of several for a partition, the last one counts. */
static void sort_orders(struct alteration *a)
{
    int32_t kept = 0;
    ensure(a->orders != NULL && a->count >= 0);
    if (a->count > 0)
        qsort(a->orders, (size_t)a->count, sizeof(*a->orders), log_dirs_by_partition);
    for (int32_t i = 0; i < a->count; i++) {
        const struct move_order *next = i + 1 < a->count ? &a->orders[i + 1] : NULL;
        if (next == NULL || next->partition != a->orders[i].partition || !str_eq(next->topic, a->orders[i].topic))
            a->orders[kept++] = a->orders[i];
    }
    a->count = kept;
    for (int32_t i = 0; i < a->count; i++)
        a->orders[i].exists = view_partition(view_current(), a->orders[i].topic, a->orders[i].partition) != NULL;
}

static void alter_all(struct request *r)
{
    struct alteration *a = r->state;
    for (int32_t i = 0; i < a->count; i++) {
        struct move_order *o = &a->orders[i];
        o->error = replica_alter_dir(r->s->replicas, o->topic, o->partition, o->exists, o->dir);
        if (o->error != ERR_NONE)
            log_warn_limited(&refusals, "The log of %.*s-%d is not moved to %s: %s", STR_ARGS(o->topic), o->partition,
                             o->dir, error_name((int16_t)o->error));
    }
}

static void log_dirs_answer_alteration(struct request *r)
{
    struct alteration *a = r->state;
    struct alter_replica_log_dirs_response response;
    alter_replica_log_dirs_response_init(&response);
    ARRAY_MAKE(r->arena, response.results, a->count);
    response.results.len = 0;
    for (int32_t i = 0; i < a->count;) {
        struct alter_replica_log_dirs_alter_replica_log_dir_topic_result *t =
            &response.results.items[response.results.len++];
        int32_t first = i;
        while (i < a->count && str_eq(a->orders[i].topic, a->orders[first].topic))
            i++;
        alter_replica_log_dirs_alter_replica_log_dir_topic_result_init(t);
        t->topic_name = a->orders[first].topic;
        ARRAY_MAKE(r->arena, t->partitions, i - first);
        for (int32_t k = 0; k < i - first; k++) {
            alter_replica_log_dirs_alter_replica_log_dir_partition_result_init(&t->partitions.items[k]);
            t->partitions.items[k].partition_index = a->orders[first + k].partition;
            t->partitions.items[k].error_code = (int16_t)a->orders[first + k].error;
        }
    }
    ANSWER(r, alter_replica_log_dirs_response, &response);
}

static void log_dirs_handle_alter(struct request *r)
{
    struct alteration *a = ARENA_NEW(r->arena, struct alteration);
    if (!DECODE(r, alter_replica_log_dirs_request, &a->request))
        return;
    a->orders = ARENA_ARRAY(r->arena, struct move_order, MAX(count_orders(&a->request), 1));
    for (int32_t i = 0; i < a->request.dirs.len; i++)
        add_orders(a, r->arena, &a->request.dirs.items[i]);
    sort_orders(a);
    r->state = a;
    if (allowed_cluster(r, ACL_ALTER)) {
        request_disk_work(r, alter_all, log_dirs_answer_alteration);
        return;
    }
    for (int32_t i = 0; i < a->count; i++)
        a->orders[i].error = ERR_CLUSTER_AUTHORIZATION_FAILED;
    log_dirs_answer_alteration(r);
}

const struct api_entry api_alter_replica_log_dirs = {
    .key = API_ALTER_REPLICA_LOG_DIRS, .min = 0, .max = 2, .handle = log_dirs_handle_alter};
