/* The JSON that kafka-reassign-partitions reads and writes, and the lists that come of it. */
#include <inttypes.h>

#include "tools/kit/json_input.h"
#include "tools/reassign/reassign.h"

static const char any_log_dir[] = "any";

/* ---- Lists ---- */

static int reassign_file_compare(struct str topic, int32_t partition, const struct placement *p)
{
    int order = str_cmp(topic, p->topic);
    return order != 0 ? order : (partition > p->partition) - (partition < p->partition);
}

static int reassign_file_by_partition(const void *a, const void *b)
{
    const struct placement *x = a, *y = b;
    int order = reassign_file_compare(x->topic, x->partition, y);
    return order != 0 ? order : x->place - y->place;
}

void placements_sort(struct placements *p)
{
    if (p->n > 0)
        qsort(p->v, (size_t)p->n, sizeof(*p->v), reassign_file_by_partition);
}

struct placement *placements_find(const struct placements *p, struct str topic, int32_t partition)
{
    for (int32_t from = 0, to = p->n; from < to;) {
        int32_t middle = from + (to - from) / 2;
        int order = reassign_file_compare(topic, partition, &p->v[middle]);
        if (order == 0)
            return &p->v[middle];
        if (order > 0)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

struct str *placements_topics(struct arena *a, const struct placements *p, int32_t *count)
{
    struct str *topics = ARENA_ARRAY(a, struct str, MAX(p->n, 1));
    *count = 0;
    for (int32_t i = 0; i < p->n; i++)
        if (*count == 0 || !str_eq(topics[*count - 1], p->v[i].topic))
            topics[(*count)++] = p->v[i].topic;
    return topics;
}

static int reassign_file_replica_order(const struct dir_move *x, int32_t broker, struct str topic, int32_t partition)
{
    if (x->broker != broker)
        return (x->broker > broker) - (x->broker < broker);
    int order = str_cmp(x->topic, topic);
    return order != 0 ? order : (x->partition > partition) - (x->partition < partition);
}

static int reassign_file_by_replica(const void *a, const void *b)
{
    const struct dir_move *x = a, *y = b;
    int order = reassign_file_replica_order(x, y->broker, y->topic, y->partition);
    return order != 0 ? order : x->place - y->place;
}

struct dir_move *dir_moves_find(const struct dir_moves *m, int32_t broker, struct str topic, int32_t partition)
{
    int32_t low = 0, high = m->n;
    while (low < high) {
        int32_t mid = (low + high) / 2;
        if (reassign_file_replica_order(&m->v[mid], broker, topic, partition) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < m->n && reassign_file_replica_order(&m->v[low], broker, topic, partition) == 0 ? &m->v[low] : NULL;
}

void dir_moves_sort(struct dir_moves *m)
{
    if (m->n > 0)
        qsort(m->v, (size_t)m->n, sizeof(*m->v), reassign_file_by_replica);
}

/* Of a replica that is named twice, the last counts. */
static void reassign_file_drop_repeated(struct dir_moves *m)
{
    int32_t kept = 0;
    dir_moves_sort(m);
    for (int32_t i = 0; i < m->n; i++) {
        const struct dir_move *x = &m->v[i], *next = &m->v[i + 1];
        if (i + 1 == m->n || x->broker != next->broker || x->partition != next->partition ||
            !str_eq(x->topic, next->topic))
            m->v[kept++] = *x;
    }
    m->n = kept;
}

/* ---- Reading ---- */

static bool read_replicas(const json_t *array, struct arena *a, struct int_list *out, struct fail *fail)
{
    *out = (struct int_list){ARENA_ARRAY(a, int32_t, json_array_size(array) + 1), 0};
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_input_int(json_array_get(array, i), &out->v[out->n++], fail))
            return false;
    return true;
}

static bool sizes_differ(const struct placement *p, const json_t *dirs, struct fail *fail)
{
    struct strbuf replicas = {0}, names = {0};
    strbuf_puts(&replicas, "[");
    strbuf_puts(&names, "[");
    for (int32_t i = 0; i < p->replicas.n; i++)
        strbuf_printf(&replicas, "%s%" PRId32, i > 0 ? ", " : "", p->replicas.v[i]);
    for (size_t i = 0; i < json_array_size(dirs); i++) {
        const char *name = json_string_value(json_array_get(dirs, i));
        strbuf_printf(&names, "%s%s", i > 0 ? ", " : "", name != NULL ? name : "?");
    }
    fail_set(fail, "Size of replicas list %s] is different from size of log dirs list %s] for partition %.*s-%" PRId32,
             replicas.p, names.p, STR_ARGS(p->topic), p->partition);
    strbuf_deinit(&replicas);
    strbuf_deinit(&names);
    return false;
}

static bool read_log_dirs(const json_t *dirs, struct arena *a, const struct placement *p, struct dir_moves *moves,
                          struct fail *fail)
{
    if (json_array_size(dirs) != (size_t)p->replicas.n)
        return sizes_differ(p, dirs, fail);
    for (int32_t i = 0; i < p->replicas.n; i++) {
        struct str dir;
        if (!json_input_string(json_array_get(dirs, (size_t)i), a, &dir, fail))
            return false;
        if (str_is(dir, any_log_dir))
            continue;
        moves->v[moves->n] = (struct dir_move){
            .topic = p->topic, .partition = p->partition, .broker = p->replicas.v[i], .target = dir, .place = moves->n};
        moves->n++;
    }
    return true;
}

static bool read_placement(const json_t *json, struct arena *a, struct placement *p, struct dir_moves *moves,
                           struct fail *fail)
{
    const json_t *replicas, *dirs;
    if (!json_input_topic(json, a, &p->topic, fail) || !json_input_partition(json, &p->partition, fail) ||
        !json_input_field(json, "replicas", &replicas, fail) || !json_input_array(json, "replicas", &replicas, fail) ||
        !read_replicas(replicas, a, &p->replicas, fail) || !json_input_array(json, "log_dirs", &dirs, fail))
        return false;
    return dirs == NULL || read_log_dirs(dirs, a, p, moves, fail);
}

static size_t count_replicas(const json_t *partitions)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(partitions); i++)
        count += json_array_size(json_object_get(json_array_get(partitions, i), "replicas"));
    return count;
}

bool reassign_read(struct arena *a, const char *path, struct placements *out, struct dir_moves *moves,
                   struct fail *fail)
{
    const json_t *partitions = NULL;
    json_t *json = json_input_read(path, fail);
    bool ok = json != NULL && json_input_version(json, fail) && json_input_array(json, "partitions", &partitions, fail);
    int32_t count = (int32_t)json_array_size(partitions);
    *out = (struct placements){ARENA_ARRAY(a, struct placement, MAX(count, 1)), 0};
    *moves = (struct dir_moves){ARENA_ARRAY(a, struct dir_move, count_replicas(partitions) + 1), 0};
    for (; ok && out->n < count; out->n++) {
        out->v[out->n].place = out->n;
        ok = read_placement(json_array_get(partitions, (size_t)out->n), a, &out->v[out->n], moves, fail);
    }
    json_decref(json);
    placements_sort(out);
    reassign_file_drop_repeated(moves);
    return ok;
}

bool reassign_read_topics(struct arena *a, const char *path, struct str **out, int32_t *count, struct fail *fail)
{
    const json_t *topics = NULL;
    json_t *json = json_input_read(path, fail);
    bool ok = json != NULL && json_input_version(json, fail) && json_input_array(json, "topics", &topics, fail);
    *count = (int32_t)json_array_size(topics);
    *out = ARENA_ARRAY(a, struct str, MAX(*count, 1));
    for (int32_t i = 0; ok && i < *count; i++)
        ok = json_input_topic(json_array_get(topics, (size_t)i), a, &(*out)[i], fail);
    json_decref(json);
    return ok;
}

/* ---- Writing ---- */

void reassign_print(const struct placements *p)
{
    json_t *partitions = json_array();
    for (int32_t i = 0; i < p->n; i++) {
        const struct placement *at = &p->v[i];
        json_t *replicas = json_array(), *dirs = json_array();
        for (int32_t k = 0; k < at->replicas.n; k++) {
            json_array_append_new(replicas, json_integer(at->replicas.v[k]));
            json_array_append_new(dirs, json_string(any_log_dir));
        }
        json_array_append_new(partitions,
                              json_pack("{s:s%, s:i, s:o, s:o}", "topic", at->topic.p, (size_t)at->topic.len,
                                        "partition", (int)at->partition, "replicas", replicas, "log_dirs", dirs));
    }
    json_t *all = json_pack("{s:i, s:o}", "version", 1, "partitions", partitions);
    json_dumpf(all, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(all);
}
