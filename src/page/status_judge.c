/* What is wrong, in sentences. What is bad is told first, and there in the order in which it is to be mended. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "page/amounts.h"
#include "page/status_internal.h"

static const double FULL = 0.05, NEARLY_FULL = 0.15; /* what is free of a disk */

static PRINTF_LIKE(3, 4) void add_trouble(struct status *s, bool bad, const char *fmt, ...)
{
    char text[600];
    va_list args;
    if (s->trouble_count == STATUS_MOST_TROUBLES)
        return;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct str cut = {text, (int32_t)MIN((size_t)MAX(len, 0), sizeof(text) - 1)};
    s->troubles[s->trouble_count++] = (struct status_trouble){bad, status_text(s, cut)};
}

static const char *of_partitions(int64_t n)
{
    return n == 1 ? "partition" : "partitions";
}

/* ---- This broker ---- */

static void judge_state(struct status *s)
{
    int64_t to_recover = 0;
    enum { RUNNING = 3 };
    for (int i = 0; i < s->dir_count; i++)
        to_recover += MAX(s->dirs[i].to_recover, INT64_C(0));
    if (s->state == RUNNING)
        return;
    if (to_recover > 0)
        add_trouble(s, false, "This broker is recovering its logs: %s are still to be loaded.",
                    amount_count(to_recover).p);
    else
        add_trouble(s, false, "This broker is not serving: it is %s.", status_state_name(s->state));
}

static void judge_session(struct status *s)
{
    if (s->session.p != NULL && !str_is(s->session, "CONNECTED"))
        add_trouble(s, true, "This broker has no session with ZooKeeper: it is %.*s.", STR_ARGS(s->session));
}

static double share_of_free(const struct status_dir *d)
{
    return d->size > 0 ? (double)d->free / (double)d->size : 1;
}

static void judge_dirs(struct status *s, bool bad)
{
    for (int i = 0; i < s->dir_count; i++) {
        const struct status_dir *d = &s->dirs[i];
        double free = share_of_free(d);
        if (bad && d->offline)
            add_trouble(s, true, "The log directory %.*s is offline.", STR_ARGS(d->path));
        else if (free < (bad ? FULL : NEARLY_FULL) && (bad || free >= FULL))
            add_trouble(s, bad, "The disk of %.*s is %s: %s of %s are free.", STR_ARGS(d->path),
                        bad ? "full" : "nearly full", amount_bytes((double)d->free).p, amount_bytes((double)d->size).p);
    }
}

static void judge_process(struct status *s)
{
    if (s->most_files > 0 && s->open_files > s->most_files / 10 * 9)
        add_trouble(s, false, "This broker has %s of %s files open.", amount_count(s->open_files).p,
                    amount_count(s->most_files).p);
    if (s->uncleanable > 0)
        add_trouble(s, false, "%s %s of this broker cannot be compacted.", amount_count(s->uncleanable).p,
                    of_partitions(s->uncleanable));
    if (s->late_transactions > 0)
        add_trouble(s, false, "%s %s of this broker have transactions that should have ended.",
                    amount_count(s->late_transactions).p, of_partitions(s->late_transactions));
}

/* ---- The cluster ---- */

static void judge_availability(struct status *s)
{
    if (s->controller < 0)
        add_trouble(s, true, "The cluster has no controller.");
    if (s->offline > 0)
        add_trouble(s, true, "%s of %s partitions have no leader: they can be neither read nor written.",
                    amount_count(s->offline).p, amount_count(s->partitions).p);
    if (s->under_min > 0)
        add_trouble(s, true, "%s %s have fewer replicas in sync than min.insync.replicas: acks=all is refused.",
                    amount_count(s->under_min).p, of_partitions(s->under_min));
}

static void judge_replication(struct status *s)
{
    for (int32_t i = 0; i < s->broker_count; i++)
        if (!s->brokers[i].alive)
            add_trouble(s, false, "Broker %" PRId32 " is not there; it has replicas of %s %s.", s->brokers[i].id,
                        amount_count(s->brokers[i].replicas).p, of_partitions(s->brokers[i].replicas));
    if (s->under_replicated > 0)
        add_trouble(s, false, "%s of %s partitions have a replica that is not in sync.",
                    amount_count(s->under_replicated).p, amount_count(s->partitions).p);
    if (s->unanswered > 0)
        add_trouble(s, false, "%s questions to brokers had no answer: some figures may be missing here.",
                    amount_count(s->unanswered).p);
}

void status_judge(struct status *s)
{
    if (s->cluster_known)
        judge_availability(s);
    judge_session(s);
    judge_dirs(s, true);
    judge_state(s);
    if (s->cluster_known)
        judge_replication(s);
    judge_dirs(s, false);
    judge_process(s);
    if (!s->cluster_known && s->trouble_count == 0)
        add_trouble(s, false, "What the cluster is like is not known yet.");
}
