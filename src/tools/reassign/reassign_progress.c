/*
 * How far replicas are that are being copied, to other brokers and to other directories: their sizes, asked for twice,
 * beside those of the replicas that they are copied from. Goes to standard error, as scripts read the other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/reassign/reassign.h"

enum { PAUSE_US = 2000000, MOST_LINES = 20 };

struct copying {
    const struct dir_move *replica;
    int64_t have, whole, before; /* bytes; -1: not known */
};

/* ---- Sizes ---- */

static bool lives(const struct registration *brokers, int32_t count, int32_t id)
{
    for (int32_t i = 0; i < count; i++)
        if (brokers[i].id == id)
            return true;
    return false;
}

/* Of brokers that cannot be asked nothing is known: that is no reason to say nothing of the others. */
static void ask_sizes(struct reassign_backend *b, struct dir_moves *all)
{
    struct registration *brokers;
    int32_t count;
    if (!b->brokers(b, &brokers, &count, NULL))
        count = 0;
    for (int32_t i = 0; i < all->n; i++) {
        all->v[i].current = all->v[i].future = STR_NULL;
        all->v[i].bytes = all->v[i].future_bytes = -1;
    }
    for (int32_t i = 0, end; i < all->n; i = end) {
        for (end = i + 1; end < all->n && all->v[end].broker == all->v[i].broker;)
            end++;
        if (lives(brokers, count, all->v[i].broker))
            (void)b->find_dirs(b, &(struct dir_moves){&all->v[i], end - i}, NULL);
    }
}

/* All replicas of what is reassigned, and those of the moves; one may be there twice. */
static struct dir_moves replicas_of(struct arena *a, const struct placements *moving, const struct dir_moves *moves)
{
    struct dir_moves all = {.n = moves->n};
    for (int32_t i = 0; i < moving->n; i++)
        all.n += moving->v[i].replicas.n;
    all.v = ARENA_ARRAY(a, struct dir_move, all.n + 1);
    all.n = 0;
    for (int32_t i = 0; i < moves->n; i++)
        all.v[all.n++] = (struct dir_move){
            .topic = moves->v[i].topic, .partition = moves->v[i].partition, .broker = moves->v[i].broker};
    for (int32_t i = 0; i < moving->n; i++)
        for (int32_t k = 0; k < moving->v[i].replicas.n; k++)
            all.v[all.n++] = (struct dir_move){
                .topic = moving->v[i].topic, .partition = moving->v[i].partition, .broker = moving->v[i].replicas.v[k]};
    return all;
}

/* The largest of those that were there before: the leader's, or nearly as much. */
static int64_t whole_size(const struct dir_moves *all, const struct placement *p)
{
    int64_t most = -1;
    for (int32_t k = 0; k < p->replicas.n; k++) {
        const struct dir_move *m = dir_moves_find(all, p->replicas.v[k], p->topic, p->partition);
        if (m != NULL && !int_list_has(p->adding, p->replicas.v[k]))
            most = MAX(most, m->bytes);
    }
    return most;
}

static int32_t list_copies(struct arena *a, const struct placements *moving, const struct dir_moves *all,
                           struct copying **out)
{
    int32_t n = 0;
    *out = ARENA_ARRAY(a, struct copying, all->n + 1);
    for (int32_t i = 0; i < all->n; i++) {
        const struct dir_move *m = &all->v[i];
        const struct placement *p = placements_find(moving, m->topic, m->partition);
        if (dir_moves_find(all, m->broker, m->topic, m->partition) != m)
            continue;
        if (m->future.p != NULL)
            (*out)[n++] = (struct copying){m, m->future_bytes, MAX(m->bytes, m->future_bytes), -1};
        else if (p != NULL && int_list_has(p->adding, m->broker))
            (*out)[n++] = (struct copying){m, m->bytes, MAX(whole_size(all, p), m->bytes), -1};
    }
    return n;
}

/* What has become of them in the meantime. */
static void measure_again(struct copying *copies, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        struct copying *c = &copies[i];
        c->before = c->have;
        c->have = c->replica->future.p != NULL ? c->replica->future_bytes : c->replica->bytes;
        c->whole = MAX(c->whole, c->have);
    }
}

/* ---- Lines ---- */

static void print_size(double bytes)
{
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
    size_t u = 0;
    for (; bytes >= 1000 && u + 1 < ARRAY_LEN(units); u++)
        bytes /= 1000;
    fprintf(stderr, "%.*f %s", u > 0 && bytes < 100 ? 1 : 0, bytes, units[u]);
}

static void print_duration(double seconds)
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s >= 3600)
        fprintf(stderr, "%" PRId64 " h %" PRId64 " min", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        fprintf(stderr, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    else
        fprintf(stderr, "%" PRId64 " s", s);
}

static void print_pace(double have, double whole, double rate)
{
    print_size(have);
    fputs(" of ", stderr);
    print_size(whole);
    fputs(" copied, ", stderr);
    print_size(rate);
    fputs("/s", stderr);
    if (rate > 0) {
        fputs(", about ", stderr);
        print_duration((whole - have) / rate);
        fputs(" left", stderr);
    }
    fputc('\n', stderr);
}

static void print_copies(const struct copying *copies, int32_t n, double seconds)
{
    double have = 0, whole = 0, rate = 0;
    int32_t known = 0;
    for (int32_t i = 0; i < n; i++) {
        const struct copying *c = &copies[i];
        if (c->have < 0 || c->whole < 0)
            continue;
        double each = c->before >= 0 ? (double)(c->have - c->before) / seconds : 0;
        if (known++ < MOST_LINES) {
            fprintf(stderr, "%.*s-%" PRId32 " on broker %" PRId32 ": ", STR_ARGS(c->replica->topic),
                    c->replica->partition, c->replica->broker);
            print_pace((double)c->have, (double)c->whole, MAX(each, 0));
        }
        have += (double)c->have;
        whole += (double)c->whole;
        rate += MAX(each, 0);
    }
    if (known > MOST_LINES)
        fprintf(stderr, "... and %" PRId32 " more\n", known - MOST_LINES);
    if (known > 1) {
        fputs("All: ", stderr);
        print_pace(have, whole, rate);
    }
}

void reassign_print_progress(struct reassign_backend *b, const struct placements *moving, const struct dir_moves *moves)
{
    struct dir_moves all = replicas_of(&b->arena, moving, moves);
    struct copying *copies;
    dir_moves_sort(&all);
    ask_sizes(b, &all);
    int64_t asked_us = clock_mono_us();
    int32_t n = list_copies(&b->arena, moving, &all, &copies);
    if (n == 0)
        return;
    usleep(PAUSE_US);
    ask_sizes(b, &all);
    measure_again(copies, n);
    print_copies(copies, n, (double)(clock_mono_us() - asked_us) / 1e6);
}
