#include "server/gathering.h"

#include "base/clock.h"
#include "base/hash.h"
#include "log/plog.h"
#include "server/request_metrics.h"

/* As much as stays in a core's cache beside all else; and so many that each loop's turn is a short one. */
enum { MOST_BYTES = 256 << 10, MOST_APPENDS = 512 };

struct gathered_list {
    struct gathered *first, **last;
};

/* Appends to one partition that wait for its disk, and those that come meanwhile. */
struct errand {
    struct job job;
    struct gathering *g;
    struct partition *partition;
    struct gathered_list under_way, waiting;
    UT_hash_handle hh;
};

struct gathering {
    struct loop *loop;
    struct log_manager *logs;
    struct turn_end end;
    struct gathered_list list;
    int64_t bytes;
    int32_t count;
    struct gathered **sorted; /* room for that */
    size_t room;
    struct errand *errands; /* by partition */
    bool finishing;
};

static void gathered_list_init(struct gathered_list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void gathered_list_append(struct gathered_list *l, struct gathered *a)
{
    a->next = NULL;
    *l->last = a;
    l->last = &a->next;
}

static struct gathered *gathered_list_take(struct gathered_list *l)
{
    struct gathered *first = l->first;
    gathered_list_init(l);
    return first;
}

static void on_turns_end(struct turn_end *e)
{
    gathering_finish(CONTAINER_OF(e, struct gathering, end));
}

struct gathering *gathering_new(struct loop *loop, struct log_manager *logs)
{
    struct gathering *g = xcalloc(1, sizeof(*g));
    g->loop = loop;
    g->logs = logs;
    g->end.run = on_turns_end;
    gathered_list_init(&g->list);
    return g;
}

void gathering_free(struct gathering *g)
{
    if (g == NULL)
        return;
    ensure(g->list.first == NULL && g->errands == NULL);
    turn_end_cancel(&g->end);
    free(g->sorted);
    free(g);
}

void gathering_add(struct gathering *g, struct gathered *a, struct request *r)
{
    ensure(loop_is_mine(g->loop) && a->done != NULL && a->partition != NULL);
    a->r = r;
    a->conn = connection_gather(r->x);
    a->errand = NULL;
    a->turn = g->count++;
    gathered_list_append(&g->list, a);
    g->bytes += a->append.log.records->bytes.len;
    if (!g->finishing && (g->bytes >= MOST_BYTES || g->count >= MOST_APPENDS)) {
        request_leaves(r); /* what follows is not its own time */
        gathering_finish(g);
    } else {
        loop_at_turns_end(g->loop, &g->end);
    }
}

/* ---- Telling who asked ---- */

/* It waits for a disk now, and holds up neither its connection nor who else wants to be served. */
static void errand_take(struct errand *e, struct gathered *a)
{
    struct connection *conn = a->conn;
    a->conn = NULL;
    gathered_list_append(&e->waiting, a);
    request_park(a->r);
    connection_gathered(conn);
}

static void tell_gathered(struct gathered *first)
{
    for (struct gathered *a = first, *next; a != NULL; a = next) {
        struct connection *conn = a->conn;
        next = a->next;
        if (a->errand != NULL) {
            errand_take(a->errand, a);
            continue;
        }
        a->done(a);
        connection_gathered(conn);
    }
}

/* ---- By a thread of the directory ---- */

static void errand_run(struct job *job)
{
    struct errand *e = CONTAINER_OF(job, struct errand, job);
    struct partition_append *together[LEADER_APPENDS];
    for (struct gathered *a = e->under_way.first; a != NULL;) {
        int32_t n = 0;
        for (; a != NULL && n < LEADER_APPENDS; a = a->next)
            together[n++] = &a->append;
        partition_append_all(e->partition, together, n);
    }
}

static void errand_start(struct errand *e);

/* The answers to one connection leave together here, too. */
static void errand_done(struct message *m)
{
    struct errand *e = CONTAINER_OF(m, struct errand, job.done);
    struct gathering *g = e->g;
    struct gathered *first = gathered_list_take(&e->under_way);
    ensure(loop_is_mine(g->loop) && first != NULL);
    if (e->waiting.first != NULL) {
        errand_start(e);
    } else {
        HASH_DEL(g->errands, e);
        free(e);
    }
    for (struct gathered *a = first; a != NULL; a = a->next) {
        a->conn = connection_gather(a->r->x);
        a->errand = NULL;
    }
    tell_gathered(first);
}

static void errand_start(struct errand *e)
{
    ensure(e->under_way.first == NULL && e->waiting.first != NULL);
    e->under_way = e->waiting;
    gathered_list_init(&e->waiting);
    e->job = (struct job){.run = errand_run, .home = e->g->loop, .done = {.deliver = errand_done}};
    workers_submit(log_manager_appenders(e->g->logs, partition_log(e->partition)), &e->job);
}

static struct errand *errand_find(struct gathering *g, struct partition *p)
{
    struct errand *e;
    HASH_FIND_PTR(g->errands, &p, e);
    return e;
}

static struct errand *errand_new(struct gathering *g, struct partition *p)
{
    struct errand *e = xcalloc(1, sizeof(*e));
    e->g = g;
    e->partition = p;
    gathered_list_init(&e->under_way);
    gathered_list_init(&e->waiting);
    HASH_ADD_PTR(g->errands, partition, e);
    return e;
}

/* ---- On the loop ---- */

/* Those of one partition beside each other, in their order. */
static int by_partition_and_turn(const void *a, const void *b)
{
    const struct gathered *x = *(struct gathered *const *)a, *y = *(struct gathered *const *)b;
    if (x->partition != y->partition)
        return (uintptr_t)x->partition < (uintptr_t)y->partition ? -1 : 1;
    return (x->turn > y->turn) - (x->turn < y->turn);
}

/* NULL: the loop can do it at once. */
static struct errand *who_appends(struct gathering *g, struct gathered *const *run, int32_t count)
{
    struct partition *p = run[0]->partition;
    struct errand *e = g->errands != NULL ? errand_find(g, p) : NULL;
    int64_t bytes = 0, offsets = 0;
    for (int32_t i = 0; i < count; i++) {
        bytes += run[i]->append.log.records->bytes.len;
        offsets += run[i]->append.log.records->offsets;
    }
    bool waits = e == NULL && plog_append_waits(partition_log(p), run[0]->append.log.records, bytes, offsets);
    return waits ? errand_new(g, p) : e;
}

static void append_run(struct gathering *g, struct gathered *const *run, int32_t count)
{
    struct partition_append *together[LEADER_APPENDS];
    struct errand *e = who_appends(g, run, count);
    for (int32_t i = 0; i < count; i++) {
        together[i] = &run[i]->append;
        run[i]->errand = e;
    }
    if (e != NULL)
        return;
    int64_t begun_us = clock_mono_us();
    partition_append_all(run[0]->partition, together, count);
    int64_t each_us = (clock_mono_us() - begun_us) / count;
    for (int32_t i = 0; i < count; i++)
        run[i]->took_us = each_us;
}

static void append_them(struct gathering *g, struct gathered *first, int32_t count)
{
    int32_t n = 0, run;
    g->sorted = xgrow(g->sorted, (size_t)count, &g->room, sizeof(struct gathered *));
    for (struct gathered *a = first; a != NULL; a = a->next)
        g->sorted[n++] = a;
    ensure(n == count);
    if (count > 1)
        qsort(g->sorted, (size_t)count, sizeof(*g->sorted), by_partition_and_turn);
    for (int32_t at = 0; at < count; at += run) {
        for (run = 1; at + run < count && run < LEADER_APPENDS; run++)
            if (g->sorted[at + run]->partition != g->sorted[at]->partition)
                break;
        append_run(g, g->sorted + at, run);
    }
}

/* Those of whom all or some have been told; the others are those of a round that is not over. */
static void start_errands(struct gathering *g)
{
    struct errand *e, *tmp;
    HASH_ITER (hh, g->errands, e, tmp)
        if (e->under_way.first == NULL && e->waiting.first != NULL)
            errand_start(e);
}

/*
 * Whoever is told may begin other requests, whose appends are added and come in the next round: never more than are
 * there to be read already.
 */
void gathering_finish(struct gathering *g)
{
    ensure(loop_is_mine(g->loop));
    bool outer = g->finishing;
    g->finishing = true;
    while (g->list.first != NULL) {
        int32_t count = g->count;
        struct gathered *first = gathered_list_take(&g->list);
        g->bytes = g->count = 0;
        append_them(g, first, count);
        request_time_passes(); /* each has its share */
        tell_gathered(first);
        start_errands(g);
    }
    g->finishing = outer;
}
