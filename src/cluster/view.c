/*
 * Views and their board. A change makes the next view from the newest one, under the board's lock: topics that did not
 * change are shared. It is posted to every loop; when all have it, the request that brought it is answered, so that a
 * client that was answered finds it wherever it asks. Requests of a controller that is older than the one known change
 * nothing.
 */
#include "cluster/view.h"

#include <utlist.h>

#include "base/clock.h"
#include "base/lock.h"
#include "cluster/znodes.h"

/* ---- Counting ---- */

static struct view_brokers *brokers_new(void)
{
    struct view_brokers *b = xcalloc(1, sizeof(*b));
    atomic_init(&b->refs, 1);
    return b;
}

static void brokers_unref(struct view_brokers *b)
{
    if (atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    arena_deinit(&b->memory);
    free(b);
}

static void topic_unref(struct view_topic *t)
{
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    arena_deinit(&t->memory);
    free(t);
}

struct view *view_new(void)
{
    struct view *v = xcalloc(1, sizeof(*v));
    atomic_init(&v->refs, 1);
    v->controller_id = -1;
    v->brokers = brokers_new();
    return v;
}

void view_ref(struct view *v)
{
    int before = atomic_fetch_add(&v->refs, 1);
    ensure(before > 0);
}

void view_unref(struct view *v)
{
    if (v == NULL || atomic_fetch_sub(&v->refs, 1) != 1)
        return;
    for (int32_t i = 0; i < v->topic_count; i++)
        topic_unref(v->by_name[i]);
    brokers_unref(v->brokers);
    free(v->by_name);
    free(v->by_id);
    free(v);
}

/* ---- Looking up ---- */

/* Where `name` is, or would be, in the ascending list. */
static int32_t name_position(struct view_topic *const *list, int32_t n, struct str name, bool *found)
{
    int32_t lo = 0, hi = n;
    *found = false;
    while (lo < hi) {
        int32_t mid = (lo + hi) / 2;
        int order = str_cmp(name, str_of(list[mid]->name));
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

const struct view_topic *view_topic(const struct view *v, struct str name)
{
    bool found;
    int32_t at = name_position(v->by_name, v->topic_count, name, &found);
    return found ? v->by_name[at] : NULL;
}

static int view_by_id(const void *a, const void *b)
{
    const struct view_topic *const *x = a, *const *y = b;
    return memcmp(&(*x)->id, &(*y)->id, sizeof(struct uuid));
}

struct name_range { /* of the topics by name: those whose first `at` bytes are the same */
    int32_t from, to, at;
};

/* Of the range, those that go on with so many bytes of `text`. */
static struct name_range narrow(const struct view *v, struct name_range r, const char *text, int32_t len)
{
    struct name_range out = {.at = r.at + len};
    int32_t ends[2];
    for (int above = 0; above < 2; above++) {
        int32_t low = r.from, high = r.to;
        while (low < high) {
            int32_t middle = low + (high - low) / 2;
            if (strncmp(v->by_name[middle]->name + r.at, text, (size_t)len) < above)
                low = middle + 1;
            else
                high = middle;
        }
        ends[above] = low;
    }
    out.from = ends[0];
    out.to = ends[1];
    return out;
}

static const struct view_topic *find_alike(const struct view *v, struct str name, struct name_range r)
{
    int32_t plain = 0;
    while (r.at + plain < name.len && name.p[r.at + plain] != '.' && name.p[r.at + plain] != '_')
        plain++;
    r = narrow(v, r, name.p + r.at, plain);
    if (r.from == r.to)
        return NULL;
    if (r.at == name.len) /* the one that ends here comes before those that go on */
        return v->by_name[r.from]->name[r.at] == '\0' ? v->by_name[r.from] : NULL;
    const struct view_topic *found = find_alike(v, name, narrow(v, r, ".", 1));
    return found != NULL ? found : find_alike(v, name, narrow(v, r, "_", 1));
}

const struct view_topic *view_topic_alike(const struct view *v, struct str name)
{
    return find_alike(v, name, (struct name_range){0, v->topic_count, 0});
}

const struct view_topic *view_topic_by_id(const struct view *v, struct uuid id)
{
    struct view_topic key = {.id = id}, *key_ptr = &key;
    if (v->id_count == 0)
        return NULL;
    struct view_topic **found = bsearch(&key_ptr, v->by_id, (size_t)v->id_count, sizeof(key_ptr), view_by_id);
    return found ? *found : NULL;
}

const struct view_partition *view_partition(const struct view *v, struct str topic, int32_t partition)
{
    const struct view_topic *t = view_topic(v, topic);
    return t != NULL ? view_topic_partition(t, partition) : NULL;
}

const struct view_partition *view_topic_partition(const struct view_topic *t, int32_t partition)
{
    int32_t low = 0, high = t->partition_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (t->partitions[middle].index < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->partition_count && t->partitions[low].index == partition ? &t->partitions[low] : NULL;
}

int32_t view_topic_width(const struct view_topic *t)
{
    return t->partition_count > 0 ? t->partitions[t->partition_count - 1].index + 1 : 0;
}

const struct registration *view_broker(const struct view *v, int32_t id)
{
    for (int32_t i = 0; i < v->brokers->n; i++)
        if (v->brokers->v[i].id == id)
            return &v->brokers->v[i];
    return NULL;
}

const struct endpoint *registration_endpoint(const struct registration *r, const char *listener)
{
    for (int32_t i = 0; i < r->endpoint_count; i++)
        if (strcmp(r->endpoints[i].listener, listener) == 0)
            return &r->endpoints[i];
    return NULL;
}

/* ---- The next view ---- */

static void copy_partition(struct arena *a, const struct view_partition *from, struct view_partition *to)
{
    *to = *from;
    to->isr = int_list_copy(a, from->isr);
    to->replicas = int_list_copy(a, from->replicas);
    to->offline = int_list_copy(a, from->offline);
}

static struct view_topic *topic_new(struct str name, struct uuid id, int32_t room)
{
    struct view_topic *t = xcalloc(1, sizeof(*t));
    atomic_init(&t->refs, 1);
    t->name = arena_cstr(&t->memory, name);
    t->id = id;
    t->partitions = ARENA_ARRAY(&t->memory, struct view_partition, MAX(room, 1));
    return t;
}

static void view_add_partition(struct view_topic *t, const struct view_partition *from, int32_t index)
{
    struct view_partition *p = &t->partitions[t->partition_count++];
    copy_partition(&t->memory, from, p);
    p->index = index;
}

static void add_known(struct view_topic *t, const struct view_partition *p)
{
    view_add_partition(t, p, p->index);
}

static int view_by_topic(const void *a, const void *b)
{
    const struct partition_change *const *x = a, *const *y = b;
    int order = str_cmp((*x)->topic, (*y)->topic);
    if (order == 0)
        order = ((*x)->partition > (*y)->partition) - ((*x)->partition < (*y)->partition);
    return order != 0 ? order : (*x > *y) - (*x < *y); /* what is said twice keeps its order */
}

/*
 * What a controller sent may come twice, the second time late: when it gave up waiting, its kernel went on sending.
 * The partition epoch only grows, as long as it is the same topic.
 */
static bool is_outdated(const struct view_topic *old, const struct view_partition *known,
                        const struct partition_change *c)
{
    return known != NULL && !uuid_is_zero(old->id) && uuid_eq(old->id, c->topic_id) &&
           c->state.leader != LEADER_DELETED && c->state.partition_epoch < known->partition_epoch;
}

/* A partition without replicas is none. */
static bool view_is_deleted(const struct partition_change *c)
{
    return c->state.leader == LEADER_DELETED || c->state.replicas.n == 0;
}

/* The topic with `n` changes, all of it; NULL if no partition is left. */
static struct view_topic *change_topic(const struct view_topic *old, const struct partition_change *const *changes,
                                       int32_t n)
{
    int32_t known = old != NULL ? old->partition_count : 0, at = 0;
    struct uuid id = uuid_is_zero(changes[0]->topic_id) && old ? old->id : changes[0]->topic_id;
    struct view_topic *t = topic_new(changes[0]->topic, id, known + n);
    for (int32_t i = 0; i < n; i++) {
        const struct partition_change *c = changes[i];
        while (at < known && old->partitions[at].index < c->partition)
            add_known(t, &old->partitions[at++]);
        const struct view_partition *now =
            at < known && old->partitions[at].index == c->partition ? &old->partitions[at++] : NULL;
        while (i + 1 < n && changes[i + 1]->partition == c->partition)
            c = changes[++i]; /* said twice: the last word counts */
        if (is_outdated(old, now, c))
            view_add_partition(t, now, c->partition);
        else if (!view_is_deleted(c))
            view_add_partition(t, &c->state, c->partition);
    }
    while (at < known)
        add_known(t, &old->partitions[at++]);
    if (t->partition_count > 0)
        return t;
    topic_unref(t);
    return NULL;
}

static struct view_brokers *copy_brokers(const struct registration *list, int32_t n)
{
    struct view_brokers *b = brokers_new();
    b->v = ARENA_ARRAY(&b->memory, struct registration, MAX(n, 1));
    b->n = n;
    for (int32_t i = 0; i < n; i++) {
        struct registration *r = &b->v[i];
        *r = list[i];
        r->rack = list[i].rack ? arena_cstr(&b->memory, str_of(list[i].rack)) : NULL;
        r->endpoints = ARENA_ARRAY(&b->memory, struct endpoint, MAX(r->endpoint_count, 1));
        for (int32_t e = 0; e < r->endpoint_count; e++) {
            const struct endpoint *from = &list[i].endpoints[e];
            r->endpoints[e] = (struct endpoint){arena_cstr(&b->memory, str_of(from->listener)),
                                                arena_cstr(&b->memory, str_of(from->protocol)),
                                                arena_cstr(&b->memory, str_of(from->host)), from->port};
        }
    }
    return b;
}

/* Merges the sorted changes into the sorted topics. */
static void merge_topics(const struct view *old, const struct partition_change **changes, int32_t n, struct view *out)
{
    out->by_name = xcalloc((size_t)(old->topic_count + n) + 1, sizeof(*out->by_name));
    int32_t at = 0;
    for (int32_t i = 0; i < n;) {
        bool found;
        int32_t same = i + 1, stop = name_position(old->by_name, old->topic_count, changes[i]->topic, &found);
        while (same < n && str_eq(changes[same]->topic, changes[i]->topic))
            same++;
        for (; at < stop; at++)
            out->by_name[out->topic_count++] = old->by_name[at];
        struct view_topic *t = change_topic(found ? old->by_name[stop] : NULL, changes + i, same - i);
        at += found;
        i = same;
        if (t != NULL)
            out->by_name[out->topic_count++] = t;
    }
    for (; at < old->topic_count; at++)
        out->by_name[out->topic_count++] = old->by_name[at];
}

/* Topics that one of two views has and the other has not, in the order of ids; those without an id are left out. */
struct difference {
    struct view_topic **fresh, **gone;
    int32_t fresh_count, gone_count;
};

static void add_difference(struct view_topic **list, int32_t *count, struct view_topic *t)
{
    if (!uuid_is_zero(t->id))
        list[(*count)++] = t;
}

/* Topics that are in both views gain a reference; changed ones were made with theirs. */
static void share_unchanged(const struct view *old, struct view *out, struct difference *d)
{
    int32_t i = 0, j = 0;
    while (i < out->topic_count || j < old->topic_count) {
        struct view_topic *mine = i < out->topic_count ? out->by_name[i] : NULL;
        struct view_topic *its = j < old->topic_count ? old->by_name[j] : NULL;
        if (mine == its) {
            atomic_fetch_add(&mine->refs, 1);
            i++;
            j++;
        } else if (its == NULL || (mine != NULL && strcmp(mine->name, its->name) < 0)) {
            add_difference(d->fresh, &d->fresh_count, mine);
            i++;
        } else {
            add_difference(d->gone, &d->gone_count, its);
            j++;
        }
    }
    qsort(d->fresh, (size_t)d->fresh_count, sizeof(*d->fresh), view_by_id);
    qsort(d->gone, (size_t)d->gone_count, sizeof(*d->gone), view_by_id);
}

/* Ids should differ; if two topics have the same, each is looked for behind `from`. */
static bool view_is_gone(const struct difference *d, int32_t from, const struct view_topic *t)
{
    for (int32_t i = from; i < d->gone_count && uuid_eq(d->gone[i]->id, t->id); i++)
        if (d->gone[i] == t)
            return true;
    return false;
}

/* Those of the old view that stay are in order already: a new topic costs little, however many there are. */
static void merge_ids(const struct view *old, const struct difference *d, struct view *out)
{
    int32_t fresh = 0, gone = 0;
    out->by_id = xcalloc((size_t)out->topic_count + 1, sizeof(*out->by_id));
    for (int32_t i = 0; i < old->id_count; i++) {
        struct view_topic *t = old->by_id[i];
        while (gone < d->gone_count && view_by_id(&d->gone[gone], &t) < 0)
            gone++;
        if (view_is_gone(d, gone, t))
            continue;
        while (fresh < d->fresh_count && view_by_id(&d->fresh[fresh], &t) < 0)
            out->by_id[out->id_count++] = d->fresh[fresh++];
        out->by_id[out->id_count++] = t;
    }
    while (fresh < d->fresh_count)
        out->by_id[out->id_count++] = d->fresh[fresh++];
}

static void merge_with(const struct view *old, int32_t changes, struct view *out)
{
    struct difference d = {.fresh = xcalloc((size_t)changes + 1, sizeof(*d.fresh)),
                           .gone = xcalloc((size_t)changes + 1, sizeof(*d.gone))};
    share_unchanged(old, out, &d);
    merge_ids(old, &d, out);
    free(d.fresh);
    free(d.gone);
}

static bool view_is_late(const struct view *v, const struct view_change *change)
{
    return change->controller_epoch < v->controller_epoch ||
           (change->controller_epoch == v->controller_epoch && change->source < v->source);
}

struct view *view_apply(struct view *old, const struct view_change *change)
{
    if (view_is_late(old, change)) {
        view_ref(old);
        return old;
    }
    struct view *v = xcalloc(1, sizeof(*v));
    atomic_init(&v->refs, 1);
    v->controller_id = change->controller_id;
    v->controller_epoch = change->controller_epoch;
    v->source = change->source;
    if (change->brokers != NULL) {
        v->brokers = copy_brokers(change->brokers, change->broker_count);
    } else {
        v->brokers = old->brokers;
        atomic_fetch_add(&v->brokers->refs, 1);
    }
    const struct partition_change **sorted = xcalloc((size_t)change->partition_count + 1, sizeof(*sorted));
    int32_t n = 0;
    for (int32_t i = 0; i < change->partition_count; i++)
        if (topic_name_is_legal(change->partitions[i].topic)) /* others have no place in the order of names */
            sorted[n++] = &change->partitions[i];
    qsort(sorted, (size_t)n, sizeof(*sorted), view_by_topic);
    merge_topics(old, sorted, n, v);
    free(sorted);
    merge_with(old, n, v);
    return v;
}

/* ---- Publishing ---- */

struct view_slot { /* of one loop, which keeps it as its local */
    struct loop *loop;
    struct view *view;
    struct view_watcher *watchers;
};

struct view_board {
    struct lock lock;
    struct view *latest;
    struct leader_changes leader_changes;
    atomic_bool closed;
    int loop_count;
    struct view_slot slots[];
};

struct publication {
    struct view_board *board;
    atomic_int left;
    struct loop *home;
    struct message *seen;
};

struct delivery {
    struct message message;
    struct view *view;
    struct view_slot *slot;
    struct publication *publication;
};

static void publication_step(struct publication *p)
{
    if (atomic_fetch_sub(&p->left, 1) != 1)
        return;
    if (p->seen != NULL && !atomic_load(&p->board->closed))
        loop_post(p->home, p->seen);
    free(p);
}

static void view_deliver(struct message *m)
{
    struct delivery *d = CONTAINER_OF(m, struct delivery, message);
    view_unref(d->slot->view);
    d->slot->view = d->view;
    struct view_watcher *w, *tmp;
    DL_FOREACH_SAFE (d->slot->watchers, w, tmp)
        w->changed(w); /* may remove itself, and only itself */
    publication_step(d->publication);
    free(d);
}

static struct view_slot *mine(void)
{
    const struct loop *loop = loop_current();
    ensure(loop != NULL); /* workers have no view: view_board_latest() */
    struct view_slot *slot = loop_local(loop);
    ensure(slot != NULL);
    return slot;
}

void view_watch(struct view_watcher *w)
{
    DL_APPEND(mine()->watchers, w);
}

void view_unwatch(struct view_watcher *w)
{
    DL_DELETE(mine()->watchers, w);
}

/* With the lock held, so that all loops get views in the same order. */
static void publish(struct view_board *b, struct loop *home, struct message *seen)
{
    struct publication *p = xcalloc(1, sizeof(*p));
    *p = (struct publication){.board = b, .home = home, .seen = seen};
    atomic_init(&p->left, b->loop_count);
    for (int i = 0; i < b->loop_count; i++) {
        struct delivery *d = xcalloc(1, sizeof(*d));
        *d = (struct delivery){{.deliver = view_deliver}, b->latest, &b->slots[i], p};
        view_ref(b->latest);
        loop_post(b->slots[i].loop, &d->message);
    }
}

struct view_board *view_board_new(struct loop *const *loops, int count)
{
    struct view_board *b = xcalloc(1, sizeof(*b) + (size_t)count * sizeof(b->slots[0]));
    ensure(count > 0);
    lock_init(&b->lock, RANK_VIEW_BOARD);
    b->latest = view_new();
    b->loop_count = count;
    for (int i = 0; i < count; i++) {
        b->slots[i].loop = loops[i];
        loop_set_local(loops[i], &b->slots[i]);
    }
    publish(b, NULL, NULL);
    return b;
}

void view_board_close(struct view_board *b)
{
    if (b != NULL)
        atomic_store(&b->closed, true);
}

void view_board_free(struct view_board *b)
{
    if (b == NULL)
        return;
    for (int i = 0; i < b->loop_count; i++)
        view_unref(b->slots[i].view);
    view_unref(b->latest);
    lock_deinit(&b->lock);
    free(b);
}

/* A partition that is new has none yet, and one that goes none any more. */
static void note_leader_changes(struct view_board *b, const struct view *next, const struct view_change *change)
{
    int64_t now_ms = clock_wall_ms();
    for (int32_t i = 0; next != b->latest && i < change->partition_count; i++) {
        const struct partition_change *c = &change->partitions[i];
        const struct view_partition *was = view_partition(b->latest, c->topic, c->partition);
        const struct view_partition *is = was != NULL ? view_partition(next, c->topic, c->partition) : NULL;
        if (is != NULL && is->leader != was->leader && c->topic.len > 0 && c->topic.len <= LONGEST_TOPIC_NAME)
            leader_changes_note(&b->leader_changes, now_ms, was->leader, is->leader, c->topic, c->partition);
    }
}

void view_board_apply(struct view_board *b, const struct view_change *change, struct loop *home, struct message *seen)
{
    lock_take(&b->lock);
    struct view *next = view_apply(b->latest, change);
    note_leader_changes(b, next, change);
    view_unref(b->latest);
    b->latest = next;
    publish(b, home, seen);
    lock_release(&b->lock);
}

struct view *view_board_latest(struct view_board *b)
{
    lock_take(&b->lock);
    struct view *v = b->latest;
    view_ref(v);
    lock_release(&b->lock);
    return v;
}

int view_board_leader_changes(struct view_board *b, struct leader_change out[LEADER_CHANGES_KEPT])
{
    lock_take(&b->lock);
    int count = leader_changes_read(&b->leader_changes, out);
    lock_release(&b->lock);
    return count;
}

const struct view *view_current(void)
{
    const struct view *v = mine()->view;
    ensure(v != NULL);
    return v;
}
