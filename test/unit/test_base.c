/* The small things that everything stands on. */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/logger.h"
#include "base/recent_lines.h"
#include "base/strbuf.h"
#include "base/topic_index.h"
#include "base/uuid.h"
#include "base/workers.h"

static void varints_come_back(void **state)
{
    (void)state;
    const uint64_t values[] = {0, 1, 127, 128, 300, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        uint8_t p[10];
        uint64_t v;
        size_t n = uvarlong_put(p, values[i]);
        assert_int_equal(n, uvarlong_size(values[i]));
        assert_int_equal(uvarlong_get(p, n, &v), n);
        assert_true(v == values[i]);
        assert_int_equal(uvarlong_get(p, n - 1, &v), 0);
    }
}

static void overlong_varints_are_refused(void **state)
{
    (void)state;
    const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const uint8_t big[] = {0xff, 0xff, 0xff, 0xff, 0x7f};
    uint64_t v;
    uint32_t w;
    assert_int_equal(uvarlong_get(endless, sizeof(endless), &v), 0);
    assert_int_equal(uvarint_get(endless, sizeof(endless), &w), 0);
    assert_int_equal(uvarint_get(big, sizeof(big), &w), 0);
}

static void zigzag_keeps_the_sign(void **state)
{
    (void)state;
    const int64_t values[] = {0, -1, 1, INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_true(unzigzag(zigzag(values[i])) == values[i]);
}

static void uuids_read_as_they_are_written(void **state)
{
    (void)state;
    char text[UUID_TEXT_LEN + 1];
    struct uuid a, b;
    for (int i = 0; i < 1000; i++) {
        a = uuid_random();
        uuid_format(a, text);
        assert_int_equal(strlen(text), UUID_TEXT_LEN);
        assert_int_not_equal(text[0], '-');
        assert_true(uuid_parse(str_of(text), &b));
        assert_true(uuid_eq(a, b));
    }
    assert_false(uuid_parse(str_of("too short"), &b));
    assert_false(uuid_parse(str_of("m5vTHqH0ShuWRGiamwcz*w"), &b));
}

static void arenas_have_limits(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1000);
    assert_non_null(arena_try_alloc(&a, 10, 50));
    assert_null(arena_try_alloc(&a, 10, 60));
    assert_null(arena_try_alloc(&a, SIZE_MAX / 2, 3));
    struct str s = arena_printf(&a, "%d-%s", 7, "x");
    assert_true(str_is(s, "7-x"));
    arena_deinit(&a);
}

static void null_and_empty_differ(void **state)
{
    (void)state;
    assert_false(str_eq(STR_NULL, STR_LIT("")));
    assert_true(str_cmp(STR_NULL, STR_LIT("")) < 0);
    assert_true(str_cmp(STR_LIT("a"), STR_LIT("ab")) < 0);
    assert_true(str_cmp(STR_LIT("b"), STR_LIT("ab")) > 0);
}

static void white_space_is_taken_off(void **state)
{
    (void)state;
    assert_true(str_is(str_trim(str_of(" \ta b\n")), "a b"));
    assert_true(str_is(str_trim(str_of(" \t ")), ""));
    assert_true(str_is(str_trim(str_of("")), ""));
    assert_null(str_trim(STR_NULL).p);
}

static void other_bytes_are_made_utf8(void **state)
{
    (void)state;
    struct strbuf b = {0};
    strbuf_utf8(&b, STR_LIT("caf\xc3\xa9 "));
    strbuf_utf8(&b, STR_LIT("caf\xe9 <"));
    assert_string_equal(b.p, "caf\xc3\xa9 caf\xef\xbf\xbd <");
    strbuf_deinit(&b);
}

/* uthash's own function can be undone: for any first half of a key there is a second one that leads to the same place.
 */
static void keys_cannot_be_made_to_collide(void **state UNUSED)
{
    enum { KEYS = 10000 };
    static uint8_t places[1 << 16];
    unsigned theirs, first = 0, ours, taken = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned a = 0x9e3779b9, b = a + i, c = 0xfeedbeef;
        HASH_JEN_MIX(a, b, c);
        unsigned key[] = {0, i, 0, 0 - a, 0 - b, 0 - c};
        HASH_JEN(key, sizeof(key), theirs);
        first = i == 0 ? theirs : first;
        assert_int_equal(theirs, first);
        HASH_FUNCTION(key, sizeof(key), ours);
        taken += places[ours % ARRAY_LEN(places)]++ == 0;
    }
    assert_true(taken > KEYS * 9 / 10);
}

static size_t count_links(const struct topic_index *x, const char *topic)
{
    size_t n = 0;
    for (const struct topic_link *l = topic_index_first(x, topic); l != NULL; l = l->next)
        n++;
    return n;
}

static void what_is_a_topics_is_found_by_it(void **state UNUSED)
{
    struct topic_index x = {0};
    struct topic_link links[5] = {0};
    char name[8];
    assert_null(topic_index_first(&x, "a"));
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "%s", i < 3 ? "a" : "b"); /* it is copied */
        topic_index_add(&x, name, &links[i]);
    }
    assert_int_equal(count_links(&x, "a"), 3);
    assert_int_equal(count_links(&x, "b"), 2);
    topic_index_remove(&x, &links[1]);
    assert_int_equal(count_links(&x, "a"), 2);
    topic_index_add(&x, "b", &links[1]);
    assert_int_equal(count_links(&x, "b"), 3);
    for (int i = 0; i < 5; i++)
        topic_index_remove(&x, &links[i]);
    assert_null(x.table);
}

static void utf8_is_told_from_other_bytes(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\x7f",
                                       "\u00e4",
                                       "\u07ff",
                                       "\u0800",
                                       "\xed\x9f\xbf",
                                       "\ue000",
                                       "\U00010000",
                                       "\U0010ffff",
                                       "na\u00efve \U0001f600"};
    static const char *const bad[] = {"\x80",
                                      "caf\xe9",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xc3(",
                                      "\xe2\x82(",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xf0\x8f\xbf\xbf", /* longer than needed */
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(str_is_utf8(str_of(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_is_utf8(str_of(bad[i])));
}

struct errand {
    struct job job;
    struct loop *loop;
    int *done;
    int wanted;
};

static void errand_run(struct job *job)
{
    assert_null(loop_current());
    (void)job;
}

static void errand_done(struct message *m)
{
    struct errand *e = CONTAINER_OF(m, struct errand, job.done);
    assert_ptr_equal(loop_current(), e->loop);
    if (++*e->done == e->wanted)
        loop_stop(e->loop);
}

static void jobs_come_home(void **state)
{
    (void)state;
    struct errand errands[100];
    struct loop *loop = loop_new("test");
    struct workers *w = workers_new("worker", 4);
    int done = 0;
    for (size_t i = 0; i < ARRAY_LEN(errands); i++) {
        errands[i] = (struct errand){.job = {.run = errand_run, .home = loop, .done = {.deliver = errand_done}},
                                     .loop = loop,
                                     .done = &done,
                                     .wanted = ARRAY_LEN(errands)};
        workers_submit(w, &errands[i].job);
    }
    loop_run(loop);
    assert_int_equal(done, ARRAY_LEN(errands));
    workers_free(w);
    loop_free(loop);
}

static void workers_are_resized_while_they_work(void **state)
{
    (void)state;
    static const int sizes[] = {8, 1, 3, 2};
    static struct errand errands[1000];
    struct loop *loop = loop_new("test");
    struct workers *w = workers_new("worker", 2);
    int done = 0;
    for (size_t i = 0; i < ARRAY_LEN(errands); i++) {
        errands[i] = (struct errand){.job = {.run = errand_run, .home = loop, .done = {.deliver = errand_done}},
                                     .loop = loop,
                                     .done = &done,
                                     .wanted = ARRAY_LEN(errands)};
        workers_submit(w, &errands[i].job);
        if (i % 100 == 0)
            workers_resize(w, sizes[i / 100 % ARRAY_LEN(sizes)]);
    }
    loop_run(loop);
    assert_int_equal(done, ARRAY_LEN(errands));
    workers_resize(w, 9);
    assert_int_equal(workers_count(w), 9);
    workers_free(w);
    loop_free(loop);
}

struct found {
    const char *name;
    int level;     /* -1: there is no such logger */
    bool in_order; /* by name, each once */
    char last[LOGGER_NAME_ROOM];
};

struct patience {
    struct loop *loop;
    struct message wish, answer;
    struct timer end;
    bool answered, ended;
};

/* The answer is here, and the time is over, before the loop goes on. */
static void on_wish(struct message *m)
{
    struct patience *p = CONTAINER_OF(m, struct patience, wish);
    int64_t until = clock_mono_ms() + 5;
    timer_start(&p->end, 1);
    loop_post(p->loop, &p->answer);
    while (clock_mono_ms() < until)
        ;
}

static void on_answer(struct message *m)
{
    struct patience *p = CONTAINER_OF(m, struct patience, answer);
    p->answered = true;
    timer_stop(&p->end);
    loop_stop(p->loop);
}

static void on_end(struct timer *t)
{
    struct patience *p = CONTAINER_OF(t, struct patience, end);
    p->ended = true;
}

static void a_loop_that_was_held_up_hears_messages_before_timers(void **state)
{
    (void)state;
    struct patience p = {.loop = loop_new("test"), .wish = {.deliver = on_wish}, .answer = {.deliver = on_answer}};
    timer_init(&p.end, p.loop, on_end);
    loop_post(p.loop, &p.wish);
    loop_run(p.loop);
    assert_true(p.answered);
    assert_false(p.ended);
    loop_free(p.loop);
}

struct turnstile {
    struct lock lock;
    bool passed;
};

static void *pass(void *arg)
{
    struct turnstile *t = arg;
    lock_take(&t->lock);
    t->passed = true;
    lock_release(&t->lock);
    return NULL;
}

static void who_gives_way_has_the_lock_after_who_waits(void **state)
{
    (void)state;
    struct turnstile t = {.lock = LOCK_INITIALIZER(RANK_LOG)};
    pthread_t thread;
    lock_take(&t.lock);
    lock_give_way(&t.lock); /* nobody waits */
    assert_int_equal(pthread_create(&thread, NULL, pass, &t), 0);
    while (atomic_load(&t.lock.waiting) == 0)
        sched_yield();
    assert_false(t.passed);
    lock_give_way(&t.lock);
    assert_true(t.passed);
    lock_release(&t.lock);
    pthread_join(thread, NULL);
}

static void look_for(void *ctx, const char *name, enum log_level level)
{
    struct found *f = ctx;
    f->in_order &= strcmp(f->last, name) < 0;
    snprintf(f->last, sizeof(f->last), "%s", name);
    if (strcmp(name, f->name) == 0)
        f->level = (int)level;
}

static int level_of(const char *name)
{
    struct found f = {.name = name, .level = -1, .in_order = true};
    logger_each(look_for, &f);
    assert_true(f.in_order);
    assert_int_equal(f.level >= 0, logger_exists(name));
    return f.level;
}

static struct log_place places[] = {{.file = "/somewhere/src/storage/cleaner.c"},
                                    {.file = "src/storage/manager.c"},
                                    {.file = "../src/base/turns.c"},
                                    {.file = "kafka.authorizer.logger"}};

static void loggers_follow_the_one_above(void **state)
{
    (void)state;
    assert_int_equal(level_of("storage.cleaner"), LEVEL_INFO);
    assert_int_equal(level_of("no.such.logger"), -1);
    logger_set("storage", LEVEL_DEBUG);
    assert_int_equal(level_of("storage"), LEVEL_DEBUG);
    assert_int_equal(level_of("storage.cleaner"), LEVEL_DEBUG);
    assert_int_equal(level_of("base.turns"), LEVEL_INFO);
    logger_set("storage.cleaner", LEVEL_ERROR);
    logger_set(LOGGER_ROOT, LEVEL_WARN);
    assert_int_equal(level_of("storage.cleaner"), LEVEL_ERROR);
    assert_int_equal(level_of("storage.manager"), LEVEL_DEBUG);
    assert_int_equal(level_of("base.turns"), LEVEL_WARN);
    logger_unset("storage");
    assert_int_equal(level_of("storage.manager"), LEVEL_WARN);
    assert_int_equal(level_of("storage.cleaner"), LEVEL_ERROR);
    logger_unset("storage.cleaner");
    logger_set(LOGGER_ROOT, LEVEL_INFO);
    assert_int_equal(level_of("storage.cleaner"), LEVEL_INFO);
}

static void apaches_loggers_are_above_those_of_files(void **state)
{
    (void)state;
    assert_string_equal(places[0].name, "kafka.log.LogCleaner");
    assert_string_equal(places[1].name, "kafka.log.LogManager");
    assert_string_equal(places[2].name, "base.turns");
    logger_set("kafka.log", LEVEL_ERROR);
    assert_int_equal(places[0].level, LEVEL_ERROR);
    assert_int_equal(level_of("kafka.log.LogManager"), LEVEL_ERROR);
    assert_int_equal(level_of("storage.manager"), LEVEL_ERROR);
    assert_int_equal(places[2].level, LEVEL_INFO);
    logger_set("kafka.log.LogCleaner", LEVEL_DEBUG);
    assert_int_equal(places[0].level, LEVEL_DEBUG);
    logger_set("storage.cleaner", LEVEL_TRACE);
    assert_int_equal(places[0].level, LEVEL_TRACE);
    assert_int_equal(level_of("kafka.log.LogCleaner"), LEVEL_DEBUG);
    logger_unset("storage.cleaner");
    logger_unset("kafka.log.LogCleaner");
    logger_unset("kafka.log");
    assert_int_equal(places[0].level, LEVEL_INFO);
}

/* What a file says of loggers; what was set while the broker ran stays. */
static void settings_are_replaced_as_a_whole(void **state)
{
    (void)state;
    const struct logger_setting first[] = {{LOGGER_ROOT, LEVEL_WARN, false, 1},
                                           {"kafka.log.LogCleaner", LEVEL_DEBUG, true, 2},
                                           {"kafka.log", -1, false, 4},
                                           {"kafka.authorizer.logger", LEVEL_OFF, true, 0},
                                           {"org.example.Added", LEVEL_ERROR, false, 0}};
    const struct logger_setting second[] = {{"kafka", LEVEL_ERROR, false, 8}};
    logger_configure(first, ARRAY_LEN(first));
    assert_int_equal(places[0].outlets, 2);
    assert_int_equal(places[0].level, LEVEL_DEBUG);
    assert_int_equal(places[1].outlets, 1 | 4);
    assert_int_equal(places[1].level, LEVEL_WARN);
    assert_int_equal(places[2].outlets, 1);
    assert_int_equal(places[3].outlets, 0);
    assert_int_equal(places[3].level, LEVEL_OFF);
    assert_int_equal(level_of("org.example.Added"), LEVEL_ERROR);
    logger_set("kafka.log.LogCleaner", LEVEL_TRACE);
    logger_configure(second, ARRAY_LEN(second));
    assert_int_equal(places[0].outlets, 8);
    assert_int_equal(places[0].level, LEVEL_TRACE);
    assert_int_equal(places[1].level, LEVEL_ERROR);
    assert_int_equal(places[2].level, LEVEL_INFO);
    logger_unset("kafka.log.LogCleaner");
    assert_int_equal(places[0].level, LEVEL_ERROR);
    logger_configure(NULL, 0);
    assert_int_equal(places[0].level, LEVEL_INFO);
    assert_int_equal(places[0].outlets, 0);
}

static struct log_line taken;
static char taken_text[200];

static void take_line(const struct log_line *line)
{
    taken = *line;
    snprintf(taken_text, sizeof(taken_text), "%.*s", STR_ARGS(line->text));
}

static void lines_begin_with_the_component_that_apache_has(void **state)
{
    (void)state;
    static struct log_place place = {.file = "src/group/rebalance.c"};
    logger_register(&place);
    logger_set_sink(take_line);
    logger_write(LEVEL_INFO, &place, 7, "Group %s is\nempty", "g");
    assert_string_equal(taken_text, "Group g is?empty");
    assert_string_equal(taken.logger, "kafka.coordinator.group.GroupCoordinator");
    assert_int_equal(taken.line, 7);
    logger_set_broker(3);
    logger_write(LEVEL_INFO, &place, 7, "Group %s is empty", "g");
    assert_string_equal(taken_text, "[GroupCoordinator 3]: Group g is empty");
    logger_write(LEVEL_INFO, &place, 7, "[Other] Group %s is empty", "g");
    assert_string_equal(taken_text, "[Other] Group g is empty");
    char *many = xmalloc(20000);
    memset(many, 'x', 20000);
    logger_write_text(LEVEL_INFO, &place, 7, (struct str){many, 20000});
    assert_int_equal(taken.text.len, 20000);
    logger_write(LEVEL_INFO, &place, 7, "%.*s", 20000, many);
    assert_int_equal(taken.text.len, 4095);
    free(many);
    logger_set_sink(NULL);
    logger_set_broker(-1);
}

static void the_last_lines_of_trouble_are_kept(void **state)
{
    (void)state;
    static struct log_place place = {.file = "src/group/rebalance.c"};
    static struct recent_line lines[RECENT_LINES];
    char many[2 * RECENT_LINE_ROOM];
    memset(many, 'x', sizeof(many));
    logger_register(&place);
    logger_set_sink(take_line);
    for (int i = 0; i < RECENT_LINES + 5; i++)
        logger_write(LEVEL_WARN, &place, 7, "Warning %d", i);
    logger_write(LEVEL_INFO, &place, 7, "All is well");
    logger_write_text(LEVEL_ERROR, &place, 7, (struct str){many, sizeof(many)});
    assert_int_equal(recent_lines_read(lines), RECENT_LINES);
    assert_int_equal(lines[0].level, LEVEL_ERROR);
    assert_int_equal(lines[0].len, RECENT_LINE_ROOM);
    assert_memory_equal(lines[1].text, "Warning 54", 10);
    assert_string_equal(lines[1].logger, "kafka.coordinator.group.GroupCoordinator");
    assert_true(lines[1].ms > 0);
    assert_memory_equal(lines[RECENT_LINES - 1].text, "Warning 6", 9);
    logger_set_sink(NULL);
}

static int register_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        logger_register(&places[i]);
    return 0;
}

static void lines_below_the_level_are_not_made(void **state)
{
    (void)state;
    int made = 0;
    logger_set(LOGGER_ROOT, LEVEL_FATAL);
    log_error("nobody sees line %d", ++made);
    assert_int_equal(made, 0);
    logger_set(LOGGER_ROOT, LEVEL_INFO);
    log_info("a line of the test's, number %d", ++made);
    assert_int_equal(made, 1);
}

/* Whether a process of its own that takes these ends as an invariant of ours is broken. */
static bool ends_with_locks(enum lock_rank first, enum lock_rank second)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct lock a = LOCK_INITIALIZER(first), b = LOCK_INITIALIZER(second);
        signal(SIGABRT, SIG_DFL); /* cmocka's own goes on with the next test */
        lock_take(&a);
        lock_take(&b);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void locks_are_taken_in_their_turn(void **state)
{
    (void)state;
    assert_false(ends_with_locks(RANK_PARTITION, RANK_LOG));
    assert_true(ends_with_locks(RANK_LOG, RANK_PARTITION));
    assert_true(ends_with_locks(RANK_LOG, RANK_LOG)); /* of two of one kind neither comes first */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varints_come_back),
        cmocka_unit_test(overlong_varints_are_refused),
        cmocka_unit_test(zigzag_keeps_the_sign),
        cmocka_unit_test(uuids_read_as_they_are_written),
        cmocka_unit_test(arenas_have_limits),
        cmocka_unit_test(null_and_empty_differ),
        cmocka_unit_test(white_space_is_taken_off),
        cmocka_unit_test(keys_cannot_be_made_to_collide),
        cmocka_unit_test(what_is_a_topics_is_found_by_it),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(other_bytes_are_made_utf8),
        cmocka_unit_test(jobs_come_home),
        cmocka_unit_test(workers_are_resized_while_they_work),
        cmocka_unit_test(a_loop_that_was_held_up_hears_messages_before_timers),
        cmocka_unit_test(who_gives_way_has_the_lock_after_who_waits),
        cmocka_unit_test(locks_are_taken_in_their_turn),
        cmocka_unit_test(settings_are_replaced_as_a_whole), /* before any is set */
        cmocka_unit_test(loggers_follow_the_one_above),
        cmocka_unit_test(apaches_loggers_are_above_those_of_files),
        cmocka_unit_test(lines_begin_with_the_component_that_apache_has),
        cmocka_unit_test(the_last_lines_of_trouble_are_kept),
        cmocka_unit_test(lines_below_the_level_are_not_made),
    };
    return cmocka_run_group_tests(tests, register_places, NULL);
}
