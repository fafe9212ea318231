#include "broker/state_report.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>

#include "base/lock.h"
#include "base/logger.h"
#include "metrics/bean_ask.h"

enum { MOST_NAMED = 20 };

struct state_report {
    struct metrics *metrics;
    pthread_t thread;
    atomic_bool stopping;
    struct lock lock; /* guards all below */
    const struct loop **loops;
    size_t loop_count, loop_cap;
    void (*asked)(void *ctx);
    void *ctx;
};

/* ---- Loops ---- */

static void tell_loop(const struct loop *loop)
{
    struct loop_look look;
    loop_look(loop, &look);
    if (look.awake_us > 0)
        log_info("State: loop %s has been at work for %" PRId64 " ms, its last turn took %" PRId64
                 " us, %d messages wait for it",
                 loop_name(loop), look.awake_us / 1000, look.last_turn_us, look.mailbox);
    else
        log_info("State: loop %s sleeps, its last turn took %" PRId64 " us, %d messages wait for it", loop_name(loop),
                 look.last_turn_us, look.mailbox);
}

/* ---- What is counted ---- */

struct telling {
    const char *attribute;
    bool brief; /* only what is not 0, and not more than some */
    struct strbuf text;
    int count;
};

static void put_name(struct strbuf *out, const struct bean *b)
{
    for (int i = 1; i < b->key_count; i++)
        strbuf_printf(out, "%s%.*s", i > 1 ? " " : "", STR_ARGS(b->keys[i].value));
}

static bool tell_bean(void *ctx, const struct bean *b)
{
    struct telling *t = ctx;
    struct bean_attribute attributes[BEAN_MOST_ATTRIBUTES];
    int count = bean_read(b, attributes);
    for (int i = 0; i < count; i++) {
        const struct bean_value *v = &attributes[i].value;
        int64_t n = v->kind == VALUE_DOUBLE ? (int64_t)v->real : v->number;
        bool is_number = v->kind == VALUE_LONG || v->kind == VALUE_DOUBLE;
        if (strcmp(attributes[i].name, t->attribute) != 0 || !is_number || (t->brief && n == 0))
            continue;
        if (++t->count > MOST_NAMED && t->brief)
            continue;
        strbuf_puts(&t->text, t->count > 1 ? ", " : "");
        put_name(&t->text, b);
        if (!t->brief)
            strbuf_printf(&t->text, " %" PRId64, n);
    }
    return true;
}

static void tell_beans(struct metrics *m, const char *what, const char *pattern, const char *attribute, bool brief)
{
    struct telling t = {.attribute = attribute, .brief = brief};
    beans_visit(m, pattern, tell_bean, &t);
    if (t.count > MOST_NAMED && brief)
        strbuf_printf(&t.text, " and %d more", t.count - MOST_NAMED);
    if (t.count > 0)
        log_info("State: %s: %s", what, t.text.p);
    strbuf_deinit(&t.text);
}

/* What needs no lock comes first; partitions have locks that somebody may be holding who is stuck. */
static void tell_counts(struct metrics *m)
{
    static const struct {
        const char *what, *pattern, *attribute;
        bool brief;
    } items[] = {
        {"connections by listener and loop", "kafka.server:type=socket-server-metrics,*", "connection-count", false},
        {"requests that wait", "kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,*", "Value", false},
        {"groups", "kafka.coordinator.group:type=GroupMetadataManager,*", "Value", false},
        {"markers", "kafka.coordinator.transaction:type=TransactionMarkerChannelManager,*", "Value", false},
        {"controller", "kafka.controller:type=KafkaController,*", "Value", false},
        {"partitions", "kafka.server:type=ReplicaManager,*", "Value", false},
        {"partitions that are under-replicated", "kafka.cluster:type=Partition,name=UnderReplicated,*", "Value", true},
        {"partitions under their min.insync.replicas", "kafka.cluster:type=Partition,name=UnderMinIsr,*", "Value",
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        tell_beans(m, items[i].what, items[i].pattern, items[i].attribute, items[i].brief);
}

/* ---- The thread ---- */

static void tell_all(struct state_report *r)
{
    log_info("State: somebody asks for it");
    lock_take(&r->lock);
    for (size_t i = 0; i < r->loop_count; i++)
        tell_loop(r->loops[i]);
    void (*asked)(void *) = r->asked;
    lock_release(&r->lock);
    if (asked != NULL)
        asked(r->ctx);
    tell_counts(r->metrics);
    log_info("State: that is all");
}

static sigset_t signal_of_report(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return set;
}

static void *run_report(void *arg)
{
    struct state_report *r = arg;
    sigset_t set = signal_of_report();
    int signal;
    pthread_setname_np(pthread_self(), "state");
    while (sigwait(&set, &signal) == 0 && !atomic_load(&r->stopping))
        tell_all(r);
    return NULL;
}

struct state_report *state_report_start(struct metrics *m)
{
    struct state_report *r = xcalloc(1, sizeof(*r));
    r->metrics = m;
    lock_init(&r->lock, RANK_STATE_REPORT);
    sigset_t set = signal_of_report();
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* the threads that are made from now on have it so, too */
    int error = pthread_create(&r->thread, NULL, run_report, r);
    ensure(error == 0);
    return r;
}

void state_report_add(struct state_report *r, const struct loop *loop)
{
    lock_take(&r->lock);
    r->loops = xgrow(r->loops, r->loop_count + 1, &r->loop_cap, sizeof(const struct loop *));
    r->loops[r->loop_count++] = loop;
    lock_release(&r->lock);
}

void state_report_ask(struct state_report *r, void (*asked)(void *ctx), void *ctx)
{
    lock_take(&r->lock);
    r->asked = asked;
    r->ctx = ctx;
    lock_release(&r->lock);
}

void state_report_stop(struct state_report *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->stopping, true);
    pthread_kill(r->thread, SIGUSR1);
    pthread_join(r->thread, NULL);
    lock_deinit(&r->lock);
    free(r->loops);
    free(r);
}
