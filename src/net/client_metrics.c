/*
 * What is counted of clients, by their kinds: kafka.server:type=replica-fetcher-metrics and those like it, which
 * Kafka's selectors have. Who makes and frees clients holds up no visitor for long, nor is held up: figures are copied
 * under the lock, and told without.
 */
#include <stdio.h>
#include <utlist.h>

#include "net/net_internal.h"

struct client_counts {
    struct client_metrics *of;
    int64_t id;
    struct client_kind kind;
    struct traffic traffic;
    struct loop_time time;
    atomic_int sockets; /* those that are being connected, too */
    struct client_counts *prev, *next;
};

struct client_metrics {
    struct metrics *metrics;
    struct bean_source source;
    struct lock lock; /* guards the list */
    struct client_counts *list;
    size_t count;
};

/* ---- Counting ---- */

void client_count(struct client_counts *c, enum traffic_sum which, int64_t n)
{
    if (c != NULL)
        traffic_add(&c->traffic, which, n);
}

void client_count_sent(struct client_counts *c, int64_t size)
{
    if (c != NULL)
        window_record(&c->traffic.sent, size);
}

void client_count_socket(struct client_counts *c, bool is_there)
{
    if (c == NULL)
        return;
    int before = atomic_fetch_add_explicit(&c->sockets, is_there ? 1 : -1, memory_order_relaxed);
    ensure(is_there || before > 0);
    if (!is_there)
        traffic_add(&c->traffic, TRAFFIC_CLOSED, 1);
}

/* ---- As beans ---- */

struct client_figures {
    int64_t id;
    struct client_kind kind;
    struct attributes attributes;
};

/* Of those that are wanted; the caller's to free. */
static struct client_figures *client_figures_copy(struct client_metrics *m, const struct bean_walk *w, size_t *count)
{
    struct client_counts *c;
    *count = 0;
    lock_take(&m->lock);
    struct client_figures *list = xcalloc(MAX(m->count, (size_t)1), sizeof(*list));
    DL_FOREACH (m->list, c) {
        if (!walk_wants(w, "kafka.server", c->kind.type))
            continue;
        struct client_figures *f = &list[(*count)++];
        f->id = c->id;
        f->kind = c->kind;
        attributes_add_traffic(&f->attributes, &c->traffic, &c->time,
                               atomic_load_explicit(&c->sockets, memory_order_relaxed), false);
    }
    lock_release(&m->lock);
    return list;
}

static void yield_figures(struct bean_walk *w, const struct client_figures *f)
{
    struct bean_name name = {"kafka.server", f->kind.type, NULL, {{0}}};
    char numbers[CLIENT_KIND_TAGS][12];
    for (int i = 0; i < CLIENT_KIND_TAGS && f->kind.tags[i].key != NULL; i++) {
        snprintf(numbers[i], sizeof(numbers[i]), "%d", f->kind.tags[i].value);
        name.tags[i] = (struct bean_tag){f->kind.tags[i].key, str_of(numbers[i])};
    }
    yield_attributes(w, f->id, &name, &f->attributes);
}

static void client_metrics_visit(void *ctx, struct bean_walk *w)
{
    size_t count;
    if (!walk_wants(w, "kafka.server", NULL))
        return;
    struct client_figures *list = client_figures_copy(ctx, w, &count);
    for (size_t i = 0; i < count; i++)
        yield_figures(w, &list[i]);
    free(list);
}

/* ---- Life ---- */

struct client_metrics *client_metrics_new(struct metrics *metrics)
{
    struct client_metrics *m = xcalloc(1, sizeof(*m));
    m->metrics = metrics;
    lock_init(&m->lock, RANK_CLIENT_COUNTS);
    m->source = (struct bean_source){.visit = client_metrics_visit, .ctx = m};
    metrics_add_source(metrics, &m->source);
    return m;
}

void client_metrics_free(struct client_metrics *m)
{
    if (m == NULL)
        return;
    metrics_remove_source(m->metrics, &m->source);
    ensure(m->list == NULL && m->count == 0);
    lock_deinit(&m->lock);
    free(m);
}

struct client_counts *client_counts_new(const struct client_route *route, struct loop *loop,
                                        const struct client_kind *kind)
{
    struct client_metrics *m = route != NULL ? route->metrics : NULL;
    if (m == NULL)
        return NULL;
    struct client_counts *c = xcalloc(1, sizeof(*c));
    c->of = m;
    c->id = metrics_ids(m->metrics, 1);
    c->kind = *kind;
    traffic_init(&c->traffic, m->metrics);
    loop_time_init(&c->time, loop, m->metrics);
    lock_take(&m->lock);
    DL_APPEND(m->list, c);
    m->count++;
    lock_release(&m->lock);
    return c;
}

void client_counts_free(struct client_counts *c)
{
    if (c == NULL)
        return;
    struct client_metrics *m = c->of;
    ensure(atomic_load(&c->sockets) == 0);
    lock_take(&m->lock);
    DL_DELETE(m->list, c);
    m->count--;
    ensure((m->list == NULL) == (m->count == 0));
    lock_release(&m->lock);
    loop_time_deinit(&c->time);
    traffic_deinit(&c->traffic);
    free(c);
}
