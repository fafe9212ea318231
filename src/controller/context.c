/* What the controller knows: brokers, topics, partitions. */
#include <inttypes.h>
#include <utlist.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

void partition_set_add(struct partition_set *set, struct ctl_partition *p)
{
    set->v = xgrow(set->v, set->n + 1, &set->cap, sizeof(struct ctl_partition *));
    set->v[set->n++] = p;
}

void partition_set_clear(struct partition_set *set)
{
    free(set->v);
    *set = (struct partition_set){0};
}

void partition_set_drop_repeats(struct partition_set *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->n; i++)
        set->v[i]->in_set = false;
    for (size_t i = 0; i < set->n; i++) {
        if (!set->v[i]->in_set)
            set->v[kept++] = set->v[i];
        set->v[i]->in_set = true;
    }
    set->n = kept;
}

/* One more topic's partitions stay together, if they are not too many. */
static void take_piece(struct controller *c)
{
    enum { MOST = 2 * PIECE };
    partition_set_clear(&c->work);
    c->rounds = 0;
    while (c->later.n > 0) {
        struct ctl_partition *p = c->later.v[c->later.n - 1];
        if (c->work.n >= MOST || (c->work.n >= PIECE && p->topic != c->piece_ends))
            break;
        partition_set_add(&c->work, p);
        c->piece_ends = p->topic;
        c->later.n--;
    }
    ensure(c->work.n <= MOST);
}

void work_begin(struct controller *c)
{
    partition_set_drop_repeats(&c->work); /* written twice by one version, it would be in its own way */
    partition_set_clear(&c->later);
    c->later = c->work;
    c->work = (struct partition_set){0};
    for (size_t i = 0, n = c->later.n; i < n / 2; i++) { /* what comes next is last, where it is easily taken */
        struct ctl_partition *p = c->later.v[i];
        c->later.v[i] = c->later.v[n - 1 - i];
        c->later.v[n - 1 - i] = p;
    }
    take_piece(c);
}

/* There are new partitions to come of a topic that begins in the outbox: nobody is to take a part of it for all. */
static bool topic_is_cut(const struct controller *c)
{
    const struct ctl_partition *next = c->later.n > 0 ? c->later.v[c->later.n - 1] : NULL;
    return next != NULL && next->topic == c->piece_ends && next->state == PARTITION_NEW;
}

bool work_next(struct controller *c)
{
    ensure(c->running != NULL);
    if (c->later.n > 0 && !topic_is_cut(c))
        outbox_flush(c);
    take_piece(c);
    return c->work.n > 0;
}

bool work_goes_alone(const struct controller *c)
{
    enum { TRIES_TOGETHER = 3 };
    return c->rounds >= TRIES_TOGETHER;
}

bool work_again(struct controller *c, struct partition_set *again)
{
    enum { MOST_ROUNDS = 50 };
    partition_set_clear(&c->work);
    c->work = *again;
    *again = (struct partition_set){0};
    if (c->work.n == 0 || ++c->rounds < MOST_ROUNDS)
        return c->work.n > 0;
    for (size_t i = 0; i < c->work.n; i++)
        log_error("The state of partition %s-%" PRId32 " cannot be changed: somebody else writes it all the time",
                  c->work.v[i]->topic->name, c->work.v[i]->index);
    return false;
}

static void broker_free(struct ctl_broker *b)
{
    channel_free(b->channel);
    arena_deinit(&b->memory);
    free(b);
}

static void partition_free(struct ctl_partition *p)
{
    free(p->replicas.v);
    free(p->adding.v);
    free(p->removing.v);
    free(p->leadership.isr.v);
    free(p->failed.v);
    free(p->just_failed.v);
    free(p->leaving.v);
    free(p->replica_states);
    free(p);
}

void context_remove_topic(struct controller *c, struct ctl_topic *t)
{
    ensure(context_topic(c, str_of(t->name)) == t);
    HASH_DEL(c->topics, t);
    HASH_DELETE(hh_id, c->topics_by_id, t);
    if (t->deleting)
        DL_DELETE(c->deleting, t);
    for (int32_t i = 0; i < t->count; i++)
        partition_free(t->partitions[i]);
    free(t->partitions);
    free(t->name);
    free(t);
}

void context_set_deleting(struct controller *c, struct ctl_topic *t)
{
    if (!t->deleting)
        DL_APPEND(c->deleting, t);
    t->deleting = true;
}

struct ignored *context_ignored(const struct controller *c, struct str name)
{
    struct ignored *i;
    HASH_FIND(hh, c->ignored, name.p, (size_t)name.len, i);
    return i;
}

void context_ignore(struct controller *c, struct str name)
{
    struct ignored *i = xcalloc(1, sizeof(*i));
    i->name = xstrndup(name.p, (size_t)name.len);
    i->listed = true;
    HASH_ADD_KEYPTR(hh, c->ignored, i->name, (size_t)name.len, i);
}

void context_stop_ignoring(struct controller *c, struct ignored *i)
{
    HASH_DEL(c->ignored, i);
    free(i->name);
    free(i);
}

void context_clear(struct controller *c)
{
    struct ignored *i, *next_ignored;
    struct ctl_broker *b, *next_broker;
    struct ctl_topic *t, *next_topic;
    HASH_CLEAR(hh, c->brokers_by_id);
    LL_FOREACH_SAFE (c->brokers, b, next_broker)
        broker_free(b);
    c->brokers = NULL;
    HASH_ITER (hh, c->topics, t, next_topic)
        context_remove_topic(c, t);
    HASH_ITER (hh, c->ignored, i, next_ignored)
        context_stop_ignoring(c, i);
    ensure(c->topics_by_id == NULL && c->deleting == NULL);
}

struct ctl_broker *context_broker(const struct controller *c, int32_t id)
{
    struct ctl_broker *b;
    HASH_FIND_INT(c->brokers_by_id, &id, b);
    return b;
}

bool broker_is_live_or_stopping(const struct controller *c, int32_t id)
{
    return context_broker(c, id) != NULL;
}

bool broker_is_live(const struct controller *c, int32_t id)
{
    const struct ctl_broker *b = context_broker(c, id);
    return b != NULL && !b->shutting_down;
}

bool replica_is_online(const struct controller *c, const struct ctl_partition *p, int32_t broker)
{
    return broker_is_live(c, broker) && !int_list_has(p->failed, broker);
}

static void copy_registration(struct ctl_broker *b, const struct registration *r)
{
    arena_deinit(&b->memory);
    b->registration = *r;
    b->registration.rack = r->rack ? arena_cstr(&b->memory, str_of(r->rack)) : NULL;
    b->registration.endpoints = ARENA_ARRAY(&b->memory, struct endpoint, MAX(r->endpoint_count, 1));
    for (int32_t i = 0; i < r->endpoint_count; i++) {
        const struct endpoint *e = &r->endpoints[i];
        b->registration.endpoints[i] =
            (struct endpoint){arena_cstr(&b->memory, str_of(e->listener)), arena_cstr(&b->memory, str_of(e->protocol)),
                              arena_cstr(&b->memory, str_of(e->host)), e->port};
    }
}

int32_t context_partition_count(const struct controller *c)
{
    int32_t n = 0;
    for (const struct ctl_topic *t = c->topics; t != NULL; t = t->hh.next)
        n += t->count;
    return n;
}

bool walk_on(const struct controller *c, struct partition_walk *w)
{
    if (w->over)
        return false;
    if (w->topic == NULL)
        w->topic = c->topics;
    while (w->topic != NULL && w->next == w->topic->count) {
        w->topic = w->topic->hh.next;
        w->next = 0;
    }
    ensure(w->topic == NULL || w->next < w->topic->count); /* nothing is taken away while somebody walks */
    if (w->topic == NULL) {
        w->over = true;
        return false;
    }
    w->partition = w->topic->partitions[w->next++];
    return true;
}

bool walk_is_between_topics(const struct partition_walk *w)
{
    return w->topic == NULL || w->next == w->topic->count;
}

struct ctl_broker *context_add_broker(struct controller *c, const struct registration *r)
{
    struct ctl_broker *b = context_broker(c, r->id);
    if (b == NULL) {
        b = xcalloc(1, sizeof(*b));
        b->id = r->id;
        LL_APPEND(c->brokers, b);
        HASH_ADD(hh, c->brokers_by_id, id, sizeof(b->id), b);
        copy_registration(b, r);
        b->channel = channel_new(c, &b->registration);
    } else {
        copy_registration(b, r);
    }
    ensure(context_broker(c, r->id) == b && b->channel != NULL);
    return b;
}

void context_remove_broker(struct controller *c, int32_t id)
{
    struct ctl_broker *b = context_broker(c, id);
    if (b == NULL)
        return;
    LL_DELETE(c->brokers, b);
    HASH_DEL(c->brokers_by_id, b);
    ensure(context_broker(c, id) == NULL);
    broker_free(b);
}

struct ctl_topic *context_topic(const struct controller *c, struct str name)
{
    struct ctl_topic *t;
    HASH_FIND(hh, c->topics, name.p, (size_t)name.len, t);
    return t;
}

struct ctl_topic *context_topic_by_id(const struct controller *c, struct uuid id)
{
    struct ctl_topic *t;
    HASH_FIND(hh_id, c->topics_by_id, &id, sizeof(id), t);
    return t;
}

struct ctl_partition *context_partition(const struct controller *c, struct str topic, int32_t index)
{
    const struct ctl_topic *t = context_topic(c, topic);
    return t != NULL ? topic_partition(t, index) : NULL;
}

struct ctl_topic *context_add_topic(struct controller *c, const char *name, struct uuid id)
{
    struct ctl_topic *t = context_topic(c, str_of(name));
    ensure(t == NULL && !uuid_is_zero(id));
    t = xcalloc(1, sizeof(*t));
    t->name = xstrdup(name);
    t->id = id;
    HASH_ADD_KEYPTR(hh, c->topics, t->name, strlen(t->name), t);
    HASH_ADD(hh_id, c->topics_by_id, id, sizeof(t->id), t);
    return t;
}

/* The place of that number, or the one where it would be. */
static int32_t context_place_of(const struct ctl_topic *t, int32_t index)
{
    int32_t low = 0, high = t->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (t->partitions[middle]->index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct ctl_partition *topic_partition(const struct ctl_topic *t, int32_t index)
{
    int32_t at = context_place_of(t, index);
    return at < t->count && t->partitions[at]->index == index ? t->partitions[at] : NULL;
}

struct ctl_partition *topic_add_partition(struct ctl_topic *t, int32_t index)
{
    int32_t at = context_place_of(t, index);
    ensure(index >= 0 && topic_partition(t, index) == NULL);
    ensure(at >= 0 && at <= t->count);
    t->partitions = xgrow(t->partitions, (size_t)t->count + 1, &t->room, sizeof(struct ctl_partition *));
    memmove(t->partitions + at + 1, t->partitions + at, (size_t)(t->count - at) * sizeof(struct ctl_partition *));
    struct ctl_partition *p = xcalloc(1, sizeof(*p));
    p->topic = t;
    p->index = index;
    t->partitions[at] = p;
    t->count++;
    ensure(at == 0 || t->partitions[at - 1]->index < index);
    return p;
}

void partition_assign(struct ctl_partition *p, struct int_list replicas, struct int_list adding,
                      struct int_list removing)
{
    enum replica_state *states = xcalloc((size_t)MAX(replicas.n, 1), sizeof(*states));
    for (int32_t i = 0; i < replicas.n; i++) {
        enum replica_state *old = replica_state_of(p, replicas.v[i]);
        states[i] = old != NULL ? *old : REPLICA_NONE;
    }
    free(p->replica_states);
    free(p->replicas.v);
    free(p->adding.v);
    free(p->removing.v);
    p->replica_states = states;
    p->replicas = int_list_dup(replicas);
    p->adding = int_list_dup(adding);
    p->removing = int_list_dup(removing);
}

void partition_set_leadership(struct ctl_partition *p, const struct partition_znode *l)
{
    struct int_list isr = int_list_dup(l->isr);
    free(p->leadership.isr.v);
    p->leadership = *l;
    p->leadership.isr = isr;
    p->known = true;
    p->stale = false;
}

enum replica_state *replica_state_of(struct ctl_partition *p, int32_t broker)
{
    for (int32_t i = 0; i < p->replicas.n; i++)
        if (p->replicas.v[i] == broker)
            return &p->replica_states[i];
    return NULL;
}
