/* What a look at the cluster keeps: of groups that have to do with many topics. */
#include "test.h"

#include <stdio.h>
#include <time.h>

#include "monitor/look.h"
#include "record/record.h"

/* Anybody may make up a group's names: as many as fit into a request. */
static void a_group_may_name_many_topics(void **state)
{
    (void)state;
    enum { MANY = 150000 };
    struct view v = {0};
    struct look l = {.view = &v};
    struct look_group g = {0};
    clock_t begin = clock();
    for (int again = 1; again <= 2; again++) {
        for (int i = 0; i < MANY; i++) {
            char name[16];
            snprintf(name, sizeof(name), "t%d", i);
            struct look_group_topic *t = look_group_topic(&l, &g, str_of(name));
            assert_true(str_eq(t->name, str_of(name)));
            assert_int_equal(++t->members, again);
        }
        assert_int_equal(g.topic_count, MANY);
    }
    assert_true(str_is(g.topics[0].name, "t0") && str_is(g.topics[MANY - 1].name, "t149999"));
    assert_in_range((clock() - begin) / CLOCKS_PER_SEC, 0, 20); /* of the processor's time: one by one it is minutes */
    arena_deinit(&l.memory);
}

static void a_topic_may_have_no_name(void **state)
{
    (void)state;
    struct view v = {0};
    struct look l = {.view = &v};
    struct look_group g = {0};
    struct look_group_topic *t = look_group_topic(&l, &g, STR_LIT(""));
    assert_null(t->topic);
    assert_ptr_equal(look_group_topic(&l, &g, STR_LIT("")), t);
    arena_deinit(&l.memory);
}

/* ---- Since when records wait ---- */

enum { NOW_MS = 10 * 60 * 60 * 1000 };

/* A group that has committed of one partition, at an end. */
struct committed {
    struct view_partition known;
    struct view_topic known_topic;
    struct look_partition partition;
    struct look_topic topic;
    struct view view;
    struct look look;
    struct look_group group;
    struct look_commit *commit;
};

static void commit_init(struct committed *c, int64_t offset, int64_t end)
{
    *c = (struct committed){.partition = {.end = end}};
    c->known_topic = (struct view_topic){.name = "t", .id = {{1}}, .partitions = &c->known, .partition_count = 1};
    c->topic = (struct look_topic){.topic = &c->known_topic, .partitions = &c->partition};
    c->view = (struct view){.topic_count = 1};
    c->look = (struct look){.view = &c->view, .topics = &c->topic, .groups = &c->group, .group_count = 1};
    c->group.id = STR_LIT("g");
    struct look_group_topic *t = look_group_topic(&c->look, &c->group, STR_LIT("t"));
    assert_ptr_equal(t->topic, &c->topic);
    c->commit = t->commits = ARENA_ARRAY(&c->look.memory, struct look_commit, 1);
    t->commit_count = 1;
    *c->commit = (struct look_commit){.offset = offset, .first = offset, .timestamp = LOOK_UNKNOWN};
}

static int64_t waits_ms(const struct committed *c)
{
    return look_waits_ms(&c->group.topics[0], c->commit, NOW_MS);
}

/* One record, of that time. */
static void add_batch(struct strbuf *out, int16_t attributes, int64_t offset, int64_t timestamp)
{
    struct batch_builder b;
    batch_builder_init(&b, attributes);
    b.head.base_offset = offset;
    batch_builder_add(&b, &(struct record){.timestamp = timestamp});
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, out));
    batch_builder_deinit(&b);
}

static void take_first(struct committed *c, const struct strbuf *records, size_t len)
{
    look_take_first(c->commit, (struct bytes){(uint8_t *)records->p, (int32_t)len});
}

static void a_marker_is_nothing_that_waits(void **state)
{
    (void)state;
    struct committed c;
    struct strbuf marker = {0};
    add_batch(&marker, ATTR_TRANSACTIONAL | ATTR_CONTROL, 5, NOW_MS - 60000);
    commit_init(&c, 5, 6);
    take_first(&c, &marker, marker.len);
    assert_int_equal(c.commit->offset, 5);
    assert_int_equal(waits_ms(&c), 0);
    c.partition.end = 7; /* what is behind it is not known yet */
    assert_int_equal(waits_ms(&c), LOOK_UNKNOWN);
    arena_deinit(&c.look.memory);
    strbuf_deinit(&marker);
}

static void what_is_behind_markers_waits(void **state)
{
    (void)state;
    struct committed c;
    struct strbuf records = {0};
    add_batch(&records, ATTR_TRANSACTIONAL | ATTR_CONTROL, 5, NOW_MS - 60000);
    add_batch(&records, ATTR_TRANSACTIONAL | ATTR_CONTROL, 6, NOW_MS - 50000);
    size_t markers = records.len;
    add_batch(&records, ATTR_TRANSACTIONAL, 7, NOW_MS - 2000);
    commit_init(&c, 5, 9);
    take_first(&c, &records, markers + BATCH_HEADER_SIZE); /* as a fetch with a bound cuts it off */
    assert_int_equal(c.commit->first, 7);
    assert_int_equal(waits_ms(&c), 2000);
    arena_deinit(&c.look.memory);
    strbuf_deinit(&records);
}

/* What is cut off, or is no batch, says nothing. */
static void what_cannot_be_read_is_not_known(void **state)
{
    (void)state;
    struct committed c;
    struct strbuf records = {0};
    add_batch(&records, 0, 5, NOW_MS);
    commit_init(&c, 5, 6);
    take_first(&c, &records, 0);
    take_first(&c, &records, BATCH_HEADER_SIZE - 1);
    records.p[BATCH_MAGIC_AT] = 77;
    take_first(&c, &records, records.len);
    assert_int_equal(c.commit->first, 5);
    assert_int_equal(waits_ms(&c), LOOK_UNKNOWN);
    arena_deinit(&c.look.memory);
    strbuf_deinit(&records);
}

static void times_are_kept_while_a_commit_stands(void **state)
{
    (void)state;
    struct committed old, c;
    commit_init(&old, 5, 20);
    *old.commit = (struct look_commit){.offset = 5, .first = 7, .timestamp = NOW_MS - 3000, .asked_ms = NOW_MS - 1000};

    commit_init(&c, 5, 30);
    look_remember_firsts(&c.look, &old.look, NOW_MS);
    assert_int_equal(c.commit->first, 7);
    assert_int_equal(waits_ms(&c), 3000);
    arena_deinit(&c.look.memory);

    commit_init(&c, 6, 30); /* it has moved: only when it was asked about counts */
    look_remember_firsts(&c.look, &old.look, NOW_MS);
    assert_int_equal(c.commit->first, 6);
    assert_int_equal(waits_ms(&c), LOOK_UNKNOWN);
    assert_int_equal(c.commit->asked_ms, NOW_MS - 1000);
    arena_deinit(&c.look.memory);

    commit_init(&c, 5, 30); /* another topic of that name */
    c.known_topic.id.b[0] = 2;
    look_remember_firsts(&c.look, &old.look, NOW_MS);
    assert_int_equal(waits_ms(&c), LOOK_UNKNOWN);
    arena_deinit(&c.look.memory);

    commit_init(&c, 5, 30); /* it may have gone since */
    look_remember_firsts(&c.look, &old.look, NOW_MS + 60 * 60 * 1000);
    assert_int_equal(waits_ms(&c), LOOK_UNKNOWN);
    arena_deinit(&c.look.memory);
    arena_deinit(&old.look.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_may_name_many_topics),     cmocka_unit_test(a_topic_may_have_no_name),
        cmocka_unit_test(a_marker_is_nothing_that_waits),   cmocka_unit_test(what_is_behind_markers_waits),
        cmocka_unit_test(what_cannot_be_read_is_not_known), cmocka_unit_test(times_are_kept_while_a_commit_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
