/* Committed offsets: the table of them, those on their way to the log, and OffsetFetch. */
#include "group/group_internal.h"
#include "protocol/msg/offset_fetch.h"

/* ---- The table ---- */

void offset_value_free(struct offset_value *v)
{
    str_free(v->metadata);
}

void offset_value_assign(struct offset_value *to, const struct offset_value *from)
{
    struct str metadata = str_dup(from->metadata.p ? from->metadata : STR_LIT(""));
    offset_value_free(to);
    *to = *from;
    to->metadata = metadata;
}

struct offset_entry *offset_find(const struct group *g, const struct topic_key *id)
{
    struct offset_entry *e;
    HASH_FIND(hh, g->offsets, id, topic_key_size(id), e);
    return e;
}

void offset_put(struct group *g, const struct topic_key *id, const struct offset_value *v)
{
    struct offset_entry *e = offset_find(g, id);
    if (e != NULL && e->value.at > v->at)
        return;
    if (e == NULL) {
        e = xcalloc(1, sizeof(*e));
        e->id = *id;
        HASH_ADD(hh, g->offsets, id, topic_key_size(id), e);
        group_metrics_change(&g->coordinator->metrics, GROUPS_OFFSETS, 1);
    }
    offset_value_assign(&e->value, v);
}

void offset_drop(struct group *g, struct offset_entry *e)
{
    HASH_DEL(g->offsets, e);
    group_metrics_change(&g->coordinator->metrics, GROUPS_OFFSETS, -1);
    offset_value_free(&e->value);
    free(e);
}

bool group_has_offsets(const struct group *g)
{
    return g->offsets != NULL || g->pending_commits != NULL || g->txn_offsets != NULL;
}

/* ---- On their way ---- */

struct pending_commit *pending_commit_find(const struct group *g, const struct topic_key *id)
{
    struct pending_commit *p;
    HASH_FIND(hh, g->pending_commits, id, topic_key_size(id), p);
    return p;
}

void pending_commit_put(struct group *g, const struct topic_key *id, const void *commit)
{
    struct pending_commit *p = pending_commit_find(g, id);
    if (p == NULL) {
        p = xcalloc(1, sizeof(*p));
        p->id = *id;
        HASH_ADD(hh, g->pending_commits, id, topic_key_size(id), p);
    }
    p->last = commit;
}

void pending_commit_over(struct group *g, const struct topic_key *id, const void *commit)
{
    const struct pending_commit *p = pending_commit_find(g, id);
    if (p != NULL && p->last == commit)
        pending_commit_drop(g, id);
}

void pending_commit_drop(struct group *g, const struct topic_key *id)
{
    struct pending_commit *p = pending_commit_find(g, id);
    if (p == NULL)
        return;
    HASH_DEL(g->pending_commits, p);
    free(p);
}

void pending_commits_drop_all(struct group *g)
{
    struct pending_commit *p, *next;
    HASH_ITER (hh, g->pending_commits, p, next) {
        HASH_DEL(g->pending_commits, p);
        free(p);
    }
}

/* ---- Fetch ---- */

struct found_offset {
    enum kafka_error error;
    int64_t offset;
    int32_t leader_epoch;
    struct str metadata;
};

/* `e` NULL: nothing was committed. */
static struct found_offset found(struct arena *a, const struct offset_entry *e)
{
    if (e == NULL)
        return (struct found_offset){ERR_NONE, -1, -1, STR_LIT("")};
    return (struct found_offset){ERR_NONE, e->value.offset, e->value.leader_epoch, arena_str(a, e->value.metadata)};
}

/* `stable`: not while a commit under way or an open transaction may change it (KIP-447). */
static struct found_offset offsets_find_offset(struct arena *a, const struct group *g, struct str topic,
                                               int32_t partition, bool stable)
{
    struct topic_key id;
    if (g == NULL || !topic_key_make(topic, partition, &id))
        return found(a, NULL);
    if (stable && (txn_offset_is_open(g, &id) || pending_commit_find(g, &id) != NULL))
        return (struct found_offset){ERR_UNSTABLE_OFFSET_COMMIT, -1, -1, STR_LIT("")};
    return found(a, offset_find(g, &id));
}

/* The shapes of one group (to version 7) and of several (from 8) differ in their names only. */
#define FILL_PARTITION(o, index, x)                     \
    do {                                                \
        (o)->partition_index = (index);                 \
        (o)->committed_offset = (x).offset;             \
        (o)->committed_leader_epoch = (x).leader_epoch; \
        (o)->metadata = (x).metadata;                   \
        (o)->error_code = (x).error;                    \
    } while (0)

#define FILL_ASKED(a, g, in_topics, out_topics, stable)                                                              \
    do {                                                                                                             \
        ARRAY_MAKE((a), (out_topics), MAX((in_topics).len, 0));                                                      \
        for (int32_t t_ = 0; t_ < (in_topics).len && !(a)->spent; t_++) {                                            \
            struct str name_ = (in_topics).items[t_].name;                                                           \
            (out_topics).items[t_].name = name_;                                                                     \
            ARRAY_MAKE((a), (out_topics).items[t_].partitions, MAX((in_topics).items[t_].partition_indexes.len, 0)); \
            for (int32_t i_ = 0; i_ < (in_topics).items[t_].partition_indexes.len && !(a)->spent; i_++) {            \
                int32_t index_ = (in_topics).items[t_].partition_indexes.items[i_];                                  \
                struct found_offset x_ = offsets_find_offset((a), (g), name_, index_, (stable));                     \
                FILL_PARTITION(&(out_topics).items[t_].partitions.items[i_], index_, x_);                            \
            }                                                                                                        \
        }                                                                                                            \
    } while (0)

static int offsets_by_topic(const void *a, const void *b)
{
    const struct offset_entry *x = *(const struct offset_entry *const *)a, *y = *(const struct offset_entry *const *)b;
    int order = strcmp(x->id.topic, y->id.topic);
    return order != 0 ? order : (x->id.index > y->id.index) - (x->id.index < y->id.index);
}

/* All offsets of the group, those of a topic together. */
static const struct offset_entry **sorted_offsets(struct arena *a, const struct group *g, int32_t *count)
{
    int32_t n = 0;
    *count = g != NULL ? (int32_t)HASH_COUNT(g->offsets) : 0;
    const struct offset_entry **list = ARENA_ARRAY(a, const struct offset_entry *, MAX(*count, 1));
    for (const struct offset_entry *e = g != NULL ? g->offsets : NULL; e != NULL; e = e->hh.next)
        list[n++] = e;
    qsort(list, (size_t)n, sizeof(*list), offsets_by_topic);
    return list;
}

/* How many of the list, from the first on, are of its topic. */
static int32_t count_of_topic(const struct offset_entry *const *list, int32_t count)
{
    int32_t n = 1;
    while (n < count && strcmp(list[n]->id.topic, list[0]->id.topic) == 0)
        n++;
    return n;
}

#define FILL_ALL(a, g, out_topics, stable)                                                       \
    do {                                                                                         \
        int32_t count_, n_;                                                                      \
        const struct offset_entry **list_ = sorted_offsets((a), (g), &count_);                   \
        ARRAY_MAKE((a), (out_topics), count_);                                                   \
        (out_topics).len = 0;                                                                    \
        for (int32_t at_ = 0; at_ < count_ && !(a)->spent; at_ += n_) {                          \
            int32_t t_ = (out_topics).len++;                                                     \
            n_ = count_of_topic(&list_[at_], count_ - at_);                                      \
            struct str name_ = arena_str((a), str_of(list_[at_]->id.topic));                     \
            (out_topics).items[t_].name = name_;                                                 \
            ARRAY_MAKE((a), (out_topics).items[t_].partitions, n_);                              \
            for (int32_t i_ = 0; i_ < n_; i_++) {                                                \
                int32_t index_ = list_[at_ + i_]->id.index;                                      \
                struct found_offset x_ = offsets_find_offset((a), (g), name_, index_, (stable)); \
                FILL_PARTITION(&(out_topics).items[t_].partitions.items[i_], index_, x_);        \
            }                                                                                    \
        }                                                                                        \
    } while (0)

/* Old clients look for the error of the whole in each partition. */
static void spread_error(struct offset_fetch_response *response, enum kafka_error error)
{
    for (int32_t t = 0; t < response->topics.len; t++)
        for (int32_t i = 0; i < response->topics.items[t].partitions.len; i++)
            response->topics.items[t].partitions.items[i].error_code = error;
}

static void fetch_one(struct group_coordinator *gc, const struct offset_fetch_request *request,
                      struct offset_fetch_response *response, struct group_call *call)
{
    enum kafka_error error = group_check(gc, request->group_id, true);
    const struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    response->error_code = error;
    if (request->topics.len < 0 && error == ERR_NONE) {
        FILL_ALL(call->arena, g, response->topics, request->require_stable);
        return;
    }
    FILL_ASKED(call->arena, g, request->topics, response->topics, request->require_stable);
    if (error != ERR_NONE && call->client.version < 2)
        spread_error(response, error);
    else if (error != ERR_NONE)
        response->topics.len = 0;
}

static void fetch_several(struct group_coordinator *gc, const struct offset_fetch_request *request,
                          struct offset_fetch_response *response, struct group_call *call)
{
    ARRAY_MAKE(call->arena, response->groups, MAX(request->groups.len, 0));
    for (int32_t i = 0; i < request->groups.len && !call->arena->spent; i++) {
        const struct offset_fetch_request_group *in = &request->groups.items[i];
        struct offset_fetch_response_group *o = &response->groups.items[i];
        offset_fetch_response_group_init(o);
        o->group_id = in->group_id;
        o->error_code = group_check(gc, in->group_id, true);
        const struct group *g = o->error_code == ERR_NONE ? group_find(gc, in->group_id) : NULL;
        if (o->error_code != ERR_NONE)
            ARRAY_MAKE(call->arena, o->topics, 0);
        else if (in->topics.len < 0)
            FILL_ALL(call->arena, g, o->topics, request->require_stable);
        else
            FILL_ASKED(call->arena, g, in->topics, o->topics, request->require_stable);
    }
}

void group_fetch_offsets(struct group_coordinator *gc, const struct offset_fetch_request *request,
                         struct offset_fetch_response *response, struct group_call *call)
{
    if (call->client.version >= 8)
        fetch_several(gc, request, response, call);
    else
        fetch_one(gc, request, response, call);
    call->done(call);
}
