/* Timers that are put off, and loops that are visited by other threads while their own sleep. */
#include "test.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

/* ---- Clocks of our own, which can be put on ---- */

static atomic_int_fast64_t put_on_us;

static int64_t read_us(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC) + atomic_load(&put_on_us);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

enum { SENDERS = 4, MESSAGES = 20000, PATIENCE_S = 60 };

struct numbered {
    struct message message;
    struct sender *sender;
    int number;
};

struct sender {
    pthread_t thread;
    struct loop *loop;
    struct numbered *messages;
    int next;
    int *left; /* of all senders' messages: the loop's own */
};

static void on_numbered(struct message *m)
{
    struct numbered *n = CONTAINER_OF(m, struct numbered, message);
    struct sender *s = n->sender;
    assert_ptr_equal(loop_current(), s->loop);
    assert_int_equal(n->number, s->next++);
    if (--*s->left == 0)
        loop_stop(s->loop);
}

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < MESSAGES; i++)
        (i % 3 == 0 ? loop_post : loop_visit)(s->loop, &s->messages[i].message);
    return NULL;
}

/* Keeps the loop's own thread coming back, too. */
static void on_tick(struct timer *t)
{
    timer_start(t, 0);
}

static void visits_keep_the_order_of_messages(void **state)
{
    (void)state;
    struct sender senders[SENDERS];
    int left = SENDERS * MESSAGES;
    struct loop *loop = loop_new("test");
    struct timer tick;
    timer_init(&tick, loop, on_tick);
    timer_start(&tick, 0);
    for (int i = 0; i < SENDERS; i++) {
        struct sender *s = &senders[i];
        *s = (struct sender){.loop = loop, .messages = xcalloc(MESSAGES, sizeof(struct numbered)), .left = &left};
        for (int k = 0; k < MESSAGES; k++)
            s->messages[k] = (struct numbered){{.deliver = on_numbered}, s, k};
    }
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    loop_run(loop);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    assert_int_equal(left, 0);
    timer_stop(&tick);
    loop_free(loop);
    for (int i = 0; i < SENDERS; i++)
        free(senders[i].messages);
}

/* A loop with a thread of its own, and what a visitor does there. */
struct host {
    struct loop_thread thread;
    struct message call, echo;
    struct timer timer;
    struct watch watch;
    struct turn_end end;
    int pipe[2];
    pthread_t caller;
    bool visited;
    int echoes_wanted, echoes;
    sem_t done;
    void (*visitor_does)(struct host *h);
};

static void on_call(struct message *m)
{
    struct host *h = CONTAINER_OF(m, struct host, call);
    assert_ptr_equal(loop_current(), h->thread.loop);
    if (pthread_equal(pthread_self(), h->caller)) {
        h->visited = true;
        h->visitor_does(h);
    } else {
        sem_post(&h->done);
    }
}

static void host_start(struct host *h, void (*visitor_does)(struct host *h))
{
    *h = (struct host){.call = {.deliver = on_call}, .caller = pthread_self(), .visitor_does = visitor_does};
    assert_int_equal(sem_init(&h->done, 0, 0), 0);
    loop_thread_start(&h->thread, loop_new("host"));
}

static void host_end(struct host *h)
{
    struct loop *loop = h->thread.loop;
    loop_thread_join(&h->thread);
    loop_free(loop);
    sem_destroy(&h->done);
}

static void wait_until_done(struct host *h)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    assert_int_equal(sem_timedwait(&h->done, &until), 0);
}

/* Calls until the loop's thread is found asleep, which it is before long: nothing else keeps it awake. */
static void visit(struct host *h)
{
    for (;;) {
        loop_visit(h->thread.loop, &h->call);
        assert_null(loop_current());
        if (h->visited)
            return;
        wait_until_done(h);
    }
}

static void on_echo(struct message *m)
{
    struct host *h = CONTAINER_OF(m, struct host, echo);
    assert_ptr_equal(loop_current(), h->thread.loop);
    if (++h->echoes < h->echoes_wanted)
        loop_post(h->thread.loop, &h->echo);
    else
        sem_post(&h->done);
}

static void post_echo(struct host *h)
{
    h->echo.deliver = on_echo;
    loop_post(h->thread.loop, &h->echo);
}

static void a_visitor_delivers_what_comes_meanwhile(void **state)
{
    (void)state;
    struct host h;
    host_start(&h, post_echo);
    h.echoes_wanted = 1;
    visit(&h);
    assert_int_equal(h.echoes, 1);
    host_end(&h);
}

static void a_visitor_leaves_the_rest_to_the_loop(void **state)
{
    (void)state;
    struct host h;
    host_start(&h, post_echo);
    h.echoes_wanted = 1000;
    visit(&h);
    wait_until_done(&h);
    assert_int_equal(h.echoes, 1000);
    host_end(&h);
}

static void on_time(struct timer *t)
{
    struct host *h = CONTAINER_OF(t, struct host, timer);
    assert_false(pthread_equal(pthread_self(), h->caller));
    sem_post(&h->done);
}

static void start_timer(struct host *h)
{
    timer_init(&h->timer, h->thread.loop, on_time);
    timer_start(&h->timer, 1);
}

static void a_timer_that_a_visitor_starts_fires(void **state)
{
    (void)state;
    struct host h;
    host_start(&h, start_timer);
    visit(&h);
    wait_until_done(&h);
    host_end(&h);
}

static void on_nothing(struct timer *t)
{
    (void)t;
}

static void start_short_timer(struct host *h)
{
    timer_init(&h->timer, h->thread.loop, on_nothing);
    timer_start(&h->timer, 5);
}

/* By then the timer has woken the thread, as a rule. */
static void echo_late(struct host *h)
{
    int64_t until = clock_mono_ms() + 20;
    while (clock_mono_ms() < until)
        ;
    post_echo(h);
}

static void what_comes_while_the_thread_waits_for_a_visitor_is_delivered(void **state)
{
    (void)state;
    struct host h;
    host_start(&h, start_short_timer);
    visit(&h);
    h.visited = false;
    h.visitor_does = echo_late;
    h.echoes_wanted = 1;
    visit(&h);
    wait_until_done(&h);
    assert_int_equal(h.echoes, 1);
    host_end(&h);
}

static void on_readable(struct watch *w, int events)
{
    struct host *h = CONTAINER_OF(w, struct host, watch);
    assert_int_equal(events, WATCH_READ);
    watch_set(w, WATCH_NONE);
    sem_post(&h->done);
}

static void start_watch(struct host *h)
{
    watch_init(&h->watch, h->thread.loop, h->pipe[0], on_readable);
    watch_set(&h->watch, WATCH_READ);
}

static void a_descriptor_that_a_visitor_watches_is_watched(void **state)
{
    (void)state;
    struct host h;
    host_start(&h, start_watch);
    assert_int_equal(pipe(h.pipe), 0);
    assert_int_equal(write(h.pipe[1], "x", 1), 1);
    visit(&h);
    wait_until_done(&h);
    host_end(&h);
    close(h.pipe[0]);
    close(h.pipe[1]);
}

static void what_is_left_at_a_loop_without_a_thread_is_delivered_when_it_runs(void **state)
{
    (void)state;
    int left = 1;
    struct loop *loop = loop_new("test");
    struct sender s = {.loop = loop, .left = &left};
    struct numbered n = {{.deliver = on_numbered}, &s, 0};
    loop_visit(loop, &n.message);
    assert_int_equal(left, 1);
    loop_run(loop);
    assert_int_equal(left, 0);
    loop_free(loop);
}

struct alarm {
    struct timer timer;
    int64_t not_before;
    int rings;
};

static void on_alarm(struct timer *t)
{
    struct alarm *a = CONTAINER_OF(t, struct alarm, timer);
    assert_true(clock_mono_us() >= a->not_before);
    a->rings++;
    loop_stop(t->loop);
}

static void start_alarm(struct alarm *a, int64_t ms)
{
    a->not_before = clock_mono_us() + ms * 1000;
    timer_start(&a->timer, ms);
}

static void a_timer_fires_when_it_was_last_told_to(void **state)
{
    (void)state;
    struct loop *loop = loop_new("test");
    struct alarm a = {0}, never = {0};
    timer_init(&a.timer, loop, on_alarm);
    timer_init(&never.timer, loop, on_alarm);
    start_alarm(&a, 1);
    start_alarm(&a, 20); /* later */
    loop_run(loop);
    assert_int_equal(a.rings, 1);
    assert_false(timer_is_running(&a.timer));
    start_alarm(&a, 1000000);
    start_alarm(&a, 1); /* sooner */
    loop_run(loop);
    assert_int_equal(a.rings, 2);
    start_alarm(&never, 1);
    start_alarm(&never, 5);
    timer_stop(&never.timer);
    assert_false(timer_is_running(&never.timer));
    timer_start(&never.timer, INT64_MAX);
    start_alarm(&a, 30);
    loop_run(loop);
    assert_int_equal(never.rings, 0);
    timer_stop(&never.timer);
    loop_free(loop);
}

/* ---- Turns that take too long ---- */

struct log_file { /* in the place of stderr */
    FILE *file;
    int stderr_fd;
};

static void log_to_file(struct log_file *l)
{
    l->file = tmpfile();
    l->stderr_fd = dup(STDERR_FILENO);
    assert_true(l->file != NULL && dup2(fileno(l->file), STDERR_FILENO) >= 0);
}

static char *log_text(struct log_file *l)
{
    static char text[4096];
    dup2(l->stderr_fd, STDERR_FILENO);
    close(l->stderr_fd);
    ssize_t n = pread(fileno(l->file), text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    fclose(l->file);
    return text;
}

static void on_short_work(struct message *m UNUSED)
{
}

static void on_long_work(struct message *m UNUSED)
{
    atomic_fetch_add(&put_on_us, 1500000);
}

static void on_last_work(struct message *m UNUSED)
{
    loop_stop(loop_current());
}

static void on_long_timer(struct timer *t UNUSED)
{
    atomic_fetch_add(&put_on_us, 2500000);
    loop_stop(loop_current());
}

static void a_turn_that_takes_too_long_is_told_of(void **state)
{
    (void)state;
    struct loop *loop = loop_new("test");
    struct message work[] = {{.deliver = on_short_work}, {.deliver = on_long_work}, {.deliver = on_last_work}};
    struct timer timer;
    struct log_file log;
    log_to_file(&log);
    for (size_t i = 0; i < ARRAY_LEN(work); i++)
        loop_post(loop, &work[i]);
    loop_run(loop);
    timer_init(&timer, loop, on_long_timer);
    timer_start(&timer, 1);
    loop_run(loop);
    const char *text = log_text(&log);
    assert_non_null(strstr(text, "A turn of the loop test took 15"));
    assert_non_null(strstr(text, "on_long_work()"));
    assert_non_null(strstr(text, "on_long_timer()"));
    assert_null(strstr(text, "on_short_work"));
    loop_free(loop);
}

/* Its thread is in a callback until the test lets it go. */
struct holding {
    struct message message;
    sem_t begun, let_go;
};

static void on_holding(struct message *m)
{
    struct holding *h = CONTAINER_OF(m, struct holding, message);
    sem_post(&h->begun);
    while (sem_wait(&h->let_go) != 0)
        ;
}

static void a_loop_that_is_stuck_is_found(void **state)
{
    (void)state;
    char name[LOOP_NAME_ROOM];
    struct loop_thread stuck, idle;
    struct holding h = {.message = {.deliver = on_holding}};
    assert_int_equal(sem_init(&h.begun, 0, 0) | sem_init(&h.let_go, 0, 0), 0);
    loop_thread_start(&idle, loop_new("idle"));
    loop_thread_start(&stuck, loop_new("stuck"));
    struct loop *loops[] = {stuck.loop, idle.loop};
    loop_post(stuck.loop, &h.message);
    while (sem_wait(&h.begun) != 0)
        ;
    struct holding passing = {.message = {.deliver = on_holding}};
    assert_int_equal(sem_init(&passing.begun, 0, 0) | sem_init(&passing.let_go, 0, 1), 0);
    loop_post(idle.loop, &passing.message);
    while (sem_wait(&passing.begun) != 0)
        ;
    struct loop_look look;
    do {
        loop_look(idle.loop, &look);
    } while (look.awake_us > 0);
    atomic_fetch_add(&put_on_us, 60 * 1000000);
    assert_true(loop_find_stuck(60 * 1000000, name));
    assert_string_equal(name, "stuck");
    assert_false(loop_find_stuck(INT64_C(3600) * 1000000, name));
    sem_post(&h.let_go);
    loop_thread_join(&stuck);
    loop_thread_join(&idle);
    assert_false(loop_find_stuck(1, name));
    loop_free(loops[0]);
    loop_free(loops[1]);
}

/* Ends of turns, of which one asks for another, and one is cancelled. */
struct ends {
    struct loop *loop;
    struct timer timer;
    struct turn_end first, second, cancelled;
    bool in_callback;
    char seen[8];
    size_t n;
};

static void on_first_end(struct turn_end *e)
{
    struct ends *x = CONTAINER_OF(e, struct ends, first);
    assert_false(x->in_callback);
    x->seen[x->n++] = '1';
    loop_at_turns_end(x->loop, &x->second);
}

static void on_second_end(struct turn_end *e)
{
    struct ends *x = CONTAINER_OF(e, struct ends, second);
    x->seen[x->n++] = '2';
    if (x->n < 6)
        timer_start(&x->timer, 0);
    else
        loop_stop(x->loop);
}

static void on_cancelled_end(struct turn_end *e)
{
    struct ends *x = CONTAINER_OF(e, struct ends, cancelled);
    x->seen[x->n++] = 'x';
}

static void ask_for_ends(struct timer *t)
{
    struct ends *x = CONTAINER_OF(t, struct ends, timer);
    x->in_callback = true;
    x->seen[x->n++] = '0';
    loop_at_turns_end(x->loop, &x->cancelled);
    loop_at_turns_end(x->loop, &x->first);
    loop_at_turns_end(x->loop, &x->first);
    turn_end_cancel(&x->cancelled);
    turn_end_cancel(&x->cancelled);
    x->in_callback = false;
}

static void a_turn_ends_with_what_was_asked_for(void **state)
{
    (void)state;
    struct ends x = {.loop = loop_new("test"),
                     .first.run = on_first_end,
                     .second.run = on_second_end,
                     .cancelled.run = on_cancelled_end};
    timer_init(&x.timer, x.loop, ask_for_ends);
    timer_start(&x.timer, 0);
    loop_run(x.loop);
    assert_int_equal(x.n, 6);
    assert_memory_equal(x.seen, "012012", 6);
    loop_free(x.loop);
}

static void end_by_visitor(struct host *h)
{
    h->echoes++;
    loop_at_turns_end(h->thread.loop, &h->end);
}

static void on_visitors_end(struct turn_end *e)
{
    struct host *h = CONTAINER_OF(e, struct host, end);
    assert_ptr_equal(loop_current(), h->thread.loop);
    assert_true(pthread_equal(pthread_self(), h->caller));
    h->echoes += 10;
}

static void a_visitors_turn_ends_before_it_leaves(void **state)
{
    (void)state;
    struct host h;
    host_start(&h, end_by_visitor);
    h.end.run = on_visitors_end;
    visit(&h);
    assert_int_equal(h.echoes, 11);
    host_end(&h);
}

/* More descriptors than a poll tells of, all with something to read; or one that always has. */
enum { READY = 300 };

struct resting {
    struct loop *loop;
    struct timer begin;
    struct message idle, after;
    struct watch watches[READY];
    int fds[READY][2];
    int count, read, turns;
    bool forever;
};

static void on_something(struct watch *w, int events)
{
    struct resting *x = loop_local(w->loop);
    char byte;
    assert_int_equal(events, WATCH_READ);
    x->turns++;
    if (x->forever)
        return;
    assert_int_equal(read(x->fds[w - x->watches][0], &byte, 1), 1);
    x->read++;
    if (x->read == x->count)
        loop_post(x->loop, &x->after);
    watch_set(w, WATCH_NONE);
}

static void on_after(struct message *m)
{
    struct resting *x = CONTAINER_OF(m, struct resting, after);
    x->read += 1000; /* what was sent by who has read comes before rest */
}

static void on_rest(struct message *m)
{
    struct resting *x = CONTAINER_OF(m, struct resting, idle);
    assert_ptr_equal(loop_current(), x->loop);
    loop_stop(x->loop);
}

static void ask_for_rest(struct timer *t)
{
    struct resting *x = CONTAINER_OF(t, struct resting, begin);
    loop_when_idle(x->loop, &x->idle);
}

static void rest(struct resting *x, int count, bool forever)
{
    *x = (struct resting){.loop = loop_new("test"), .count = count, .forever = forever};
    x->idle.deliver = on_rest;
    x->after.deliver = on_after;
    loop_set_local(x->loop, x);
    for (int i = 0; i < count; i++) {
        assert_int_equal(pipe(x->fds[i]), 0);
        watch_init(&x->watches[i], x->loop, x->fds[i][0], on_something);
        watch_set(&x->watches[i], WATCH_READ);
        assert_int_equal(write(x->fds[i][1], "x", 1), 1);
    }
    timer_init(&x->begin, x->loop, ask_for_rest);
    timer_start(&x->begin, 0);
    loop_run(x->loop);
    for (int i = 0; i < count; i++) {
        watch_set(&x->watches[i], WATCH_NONE);
        close(x->fds[i][0]);
        close(x->fds[i][1]);
    }
    loop_free(x->loop);
}

static void a_loop_is_idle_when_all_that_had_come_is_read(void **state)
{
    (void)state;
    static struct resting x;
    rest(&x, READY, false);
    assert_int_equal(x.read, READY + 1000);
    rest(&x, 0, false);
    rest(&x, 1, true);
    assert_in_range(x.turns, 2, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_is_idle_when_all_that_had_come_is_read),
        cmocka_unit_test(a_turn_ends_with_what_was_asked_for),
        cmocka_unit_test(a_visitors_turn_ends_before_it_leaves),
        cmocka_unit_test(a_turn_that_takes_too_long_is_told_of),
        cmocka_unit_test(a_timer_fires_when_it_was_last_told_to),
        cmocka_unit_test(visits_keep_the_order_of_messages),
        cmocka_unit_test(a_visitor_delivers_what_comes_meanwhile),
        cmocka_unit_test(a_visitor_leaves_the_rest_to_the_loop),
        cmocka_unit_test(a_timer_that_a_visitor_starts_fires),
        cmocka_unit_test(what_comes_while_the_thread_waits_for_a_visitor_is_delivered),
        cmocka_unit_test(a_descriptor_that_a_visitor_watches_is_watched),
        cmocka_unit_test(what_is_left_at_a_loop_without_a_thread_is_delivered_when_it_runs),
        cmocka_unit_test(a_loop_that_is_stuck_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
