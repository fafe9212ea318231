/* Znodes as Apache writes them, the view of the cluster, and the placement of replicas. */
#include "test.h"

#include "cluster/broker_settings.h"
#include "cluster/config_watch.h"
#include "cluster/view.h"
#include "cluster/zk.h"
#include "cluster/zk_frames_internal.h"
#include "controller/admin.h"
#include "controller/placement.h"
#include "security/password_encoder.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, (int32_t)strlen(s)};
}

static void a_registration_of_apache_is_read(void **state)
{
    (void)state;
    struct registration r;
    assert_true(
        registration_decode(&arena, 100,
                            text("{\"features\":{},\"listener_security_protocol_map\":{\"PLAINTEXT\":\"PLAINTEXT\","
                                 "\"INTERNAL\":\"SASL_PLAINTEXT\"},\"endpoints\":[\"PLAINTEXT://127.0.0.1:19100\","
                                 "\"INTERNAL://[::1]:29100\"],\"rack\":\"r100\",\"jmx_port\":-1,\"port\":19100,"
                                 "\"host\":\"127.0.0.1\",\"version\":5,\"timestamp\":\"1795224939049\"}"),
                            &r));
    assert_int_equal(r.endpoint_count, 2);
    assert_string_equal(r.endpoints[1].listener, "INTERNAL");
    assert_string_equal(r.endpoints[1].protocol, "SASL_PLAINTEXT");
    assert_string_equal(r.endpoints[1].host, "::1");
    assert_int_equal(r.endpoints[1].port, 29100);
    assert_string_equal(r.rack, "r100");
    struct registration again;
    assert_true(registration_decode(&arena, 100, registration_encode(&arena, &r, 5), &again));
    assert_string_equal(again.endpoints[1].host, "::1");
    assert_int_equal(again.endpoints[0].port, 19100);
}

static void a_registration_of_the_first_version_is_read(void **state)
{
    (void)state;
    struct registration r;
    assert_true(
        registration_decode(&arena, 1, text("{\"jmx_port\":-1,\"host\":\"h\",\"port\":9092,\"version\":1}"), &r));
    assert_string_equal(r.endpoints[0].host, "h");
    assert_string_equal(r.endpoints[0].listener, "PLAINTEXT");
}

static void a_topic_of_apache_is_read(void **state)
{
    (void)state;
    struct topic_znode t;
    assert_true(
        topic_decode(&arena, "t",
                     text("{\"partitions\":{\"0\":[102,101,100],\"1\":[100]},\"topic_id\":\"m5vTHqH0ShuWRGiamwczsw\","
                          "\"adding_replicas\":{\"0\":[102]},\"removing_replicas\":{},\"version\":3}"),
                     &t));
    assert_int_equal(t.partition_count, 2);
    assert_int_equal(t.replicas[0].v[0], 102);
    assert_int_equal(t.adding[0].n, 1);
    assert_int_equal(t.adding[1].n, 0);
    struct bytes out = topic_encode(&arena, &t);
    assert_true(
        bytes_eq(out, text("{\"partitions\":{\"0\":[102,101,100],\"1\":[100]},\"topic_id\":\"m5vTHqH0ShuWRGiamwczsw\","
                           "\"adding_replicas\":{\"0\":[102]},\"removing_replicas\":{},\"version\":3}")));
}

static void states_come_back(void **state)
{
    (void)state;
    struct partition_znode p;
    struct bytes apache =
        text("{\"controller_epoch\":1,\"leader\":101,\"version\":1,\"leader_epoch\":0,\"isr\":[101,102,100]}");
    assert_true(partition_decode(&arena, "t", 0, apache, &p));
    assert_int_equal(p.leader, 101);
    assert_int_equal(p.isr.n, 3);
    assert_true(bytes_eq(partition_encode(&arena, &p), apache));
}

static bool reads_as(const char *node, const char *written)
{
    struct topic_znode t;
    return topic_decode(&arena, "t", text(node), &t) && bytes_eq(topic_encode(&arena, &t), text(written));
}

#define NODE(partitions) \
    "{\"partitions\":{" partitions "},\"adding_replicas\":{},\"removing_replicas\":{},\"version\":2}"

static void assignments_written_by_hand_are_read(void **state)
{
    (void)state;
    struct topic_znode t;
    assert_true(topic_decode(&arena, "t", text(NODE("\"5\":[2,1],\"0\":[1,2]")), &t));
    assert_int_equal(t.partition_count, 2);
    assert_int_equal(t.numbers[1], 5);
    assert_int_equal(t.replicas[1].v[0], 2);
    assert_true(reads_as(NODE("\"2147483646\":[1]"), NODE("\"2147483646\":[1]")));
    assert_true(reads_as(NODE("\"0\":[]"), NODE("\"0\":[]")));
    assert_true(reads_as(NODE(""), NODE("")));
    assert_true(reads_as(NODE("\"0\":[1,1],\"1\":[2,1,2]"), NODE("\"0\":[1],\"1\":[2,1]")));
    assert_true(reads_as(NODE("\"0\":[-1,1]"), NODE("\"0\":[-1,1]")));
}

static void assignments_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct topic_znode t;
    const char *const senseless[] = {NODE("\"0\":[\"1\",\"2\"]"),
                                     NODE("\"-1\":[1]"),
                                     NODE("\"zero\":[1]"),
                                     NODE("\"0\":[1.0]"),
                                     NODE("\"0\":[3000000000]"),
                                     NODE("\"0\":1"),
                                     NODE("\"\":[1]"),
                                     NODE("\"0\":[1],\"00\":[2]"),
                                     NODE("\"2147483647\":[1]"),
                                     NODE("\"4000000000\":[1]"),
                                     "[1]",
                                     "{\"partitions\":{\"0\":null}}"};
    for (size_t i = 0; i < ARRAY_LEN(senseless); i++)
        assert_false(topic_decode(&arena, "t", text(senseless[i]), &t));
}

static void brokers_have_numbers(void **state)
{
    (void)state;
    int32_t id;
    assert_true(broker_id_parse(STR_LIT("1001"), &id));
    assert_int_equal(id, 1001);
    assert_false(broker_id_parse(STR_LIT(""), &id));
    assert_false(broker_id_parse(STR_LIT("-1"), &id));
    assert_false(broker_id_parse(STR_LIT("x"), &id));
    assert_false(broker_id_parse(STR_LIT("12345678901234567890"), &id));
}

static void names_in_paths_are_checked(void **state)
{
    (void)state;
    assert_true(zk_name_is_legal(STR_LIT("a b.c")));
    assert_true(zk_name_is_legal(STR_LIT("\xc3\xa4\xe2\x82\xac\xef\xa4\x80\xf0\x9f\x90\xb0")));
    const struct str bad[] = {STR_LIT(""),
                              STR_LIT("."),
                              STR_LIT(".."),
                              STR_LIT("a/b"),
                              STR_LIT("a\tb"),
                              STR_LIT("a\n"),
                              STR_LIT("a\0b"),
                              STR_LIT("\x7f"),
                              STR_LIT("\xc2\x85"),
                              STR_LIT("\xee\x80\x80"),
                              STR_LIT("\xef\xa3\xbf"),
                              STR_LIT("\xef\xbf\xbd"),
                              STR_LIT("\xff")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(zk_name_is_legal(bad[i]));
}

static void sizes_of_topics_are_known(void **state)
{
    (void)state;
    int32_t ids[] = {1, -20, 1001};
    struct int_list lists[12];
    struct topic_znode t = {
        .id = uuid_random(), .replicas = lists, .adding = lists, .removing = lists, .partition_count = 12};
    for (int i = 0; i < 12; i++)
        lists[i] = (struct int_list){ids, i % 4};
    size_t exact = (size_t)topic_encode(&arena, &t).len;
    assert_true(topic_encoded_size(&t) >= exact && topic_encoded_size(&t) < exact + 128);
}

/* ---- Watches that are set again ---- */

static void add_int(struct strbuf *b, int32_t v)
{
    be32_put(strbuf_extend(b, 4), (uint32_t)v);
}

static struct strbuf watches_frame(int32_t xid, int32_t counts[3])
{
    struct strbuf b = {0};
    add_int(&b, 0);
    add_int(&b, xid);
    add_int(&b, 101);
    be64_put(strbuf_extend(&b, 8), 0x123456789aULL);
    for (int kind = 0; kind < 3; kind++) {
        add_int(&b, counts[kind]);
        for (int32_t i = 0; i < counts[kind]; i++) {
            struct str path = arena_printf(&arena, "/kind%d/%d", kind, (int)i);
            add_int(&b, path.len);
            strbuf_str(&b, path);
        }
    }
    be32_put(b.p, (uint32_t)b.len - 4);
    return b;
}

static struct bytes bytes_of(const struct strbuf *b)
{
    return (struct bytes){(const uint8_t *)b->p, (int32_t)b->len};
}

/* Reads frames, none larger than `most` and its head; counts their paths by kind, which are in order. */
static void check_frames(const struct strbuf *b, size_t most, int32_t counts[3])
{
    for (size_t at = 0; at < b->len;) {
        size_t end = at + 4 + be32_get(b->p + at);
        assert_true(end <= b->len && end - at <= most + 32);
        assert_int_equal((int32_t)be32_get(b->p + at + 4), -8);
        assert_int_equal(be32_get(b->p + at + 8), 101);
        assert_int_equal(be64_get(b->p + at + 12), 0x123456789aULL);
        at += 20;
        for (int kind = 0; kind < 3; kind++) {
            int32_t n = (int32_t)be32_get(b->p + at);
            at += 4;
            for (int32_t i = 0; i < n; i++) {
                struct str path = {b->p + at + 4, (int32_t)be32_get(b->p + at)};
                assert_true(str_eq(path, arena_printf(&arena, "/kind%d/%d", kind, (int)counts[kind]++)));
                at += 4 + (size_t)path.len;
            }
        }
        assert_int_equal(at, end);
    }
}

static void many_watches_go_in_several_frames(void **state)
{
    (void)state;
    int32_t counts[3] = {700, 3, 900}, found[3] = {0};
    struct strbuf frame = watches_frame(-8, counts), out = {0}, other = watches_frame(5, counts);
    assert_false(zk_watches_cut(bytes_of(&frame), frame.len, &out));
    assert_false(zk_watches_cut(bytes_of(&other), 1000, &out));
    for (int32_t less = 1; less < 60; less++)
        assert_false(zk_watches_cut((struct bytes){(const uint8_t *)frame.p, (int32_t)frame.len - less}, 1000, &out));
    assert_int_equal(out.len, 0);
    assert_true(zk_watches_cut(bytes_of(&frame), 1000, &out));
    check_frames(&out, 1000, found);
    for (int kind = 0; kind < 3; kind++)
        assert_int_equal(found[kind], counts[kind]);
    strbuf_clear(&out);
    assert_true(zk_watches_cut(bytes_of(&frame), 1, &out)); /* one path each */
    strbuf_deinit(&out);
    strbuf_deinit(&frame);
    strbuf_deinit(&other);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct topic_znode t;
    struct partition_znode p;
    struct registration r;
    int32_t id;
    static const char *const bad[] = {
        "", "x", "[]", "{", "{\"partitions\":{\"x\":[1]}}", "{\"partitions\":{\"0\":[\"a\"]}}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (i != 2) /* an object is asked for */
            assert_false(topic_decode(&arena, "t", text(bad[i]), &t));
        assert_false(partition_decode(&arena, "t", 0, text(bad[i]), &p));
        assert_false(registration_decode(&arena, 1, text(bad[i]), &r));
        assert_false(controller_decode(text(bad[i]), &id));
    }
    assert_false(registration_decode(&arena, 1, text("{\"host\":\"h\",\"port\":92092,\"version\":1}"), &r));
}

/* ---- The view ---- */

static struct partition_change change(const char *topic, int32_t partition, int32_t leader)
{
    static int32_t replicas[] = {1, 2};
    return (struct partition_change){.topic = str_of(topic),
                                     .topic_id = {{(uint8_t)topic[0]}},
                                     .partition = partition,
                                     .state = {.leader = leader, .isr = {replicas, 2}, .replicas = {replicas, 2}}};
}

static struct view *apply(struct view *v, const struct partition_change *changes, int32_t n)
{
    struct view_change c = {.controller_id = 1, .partitions = changes, .partition_count = n};
    struct view *next = view_apply(v, &c);
    view_unref(v);
    return next;
}

static void views_share_what_did_not_change(void **state)
{
    (void)state;
    struct partition_change first[] = {change("b", 0, 1), change("a", 1, 2), change("a", 0, 1)};
    struct view *v = apply(view_new(), first, 3);
    const struct view_topic *b = view_topic(v, STR_LIT("b"));
    assert_non_null(b);
    assert_int_equal(view_topic(v, STR_LIT("a"))->partition_count, 2);
    struct partition_change second[] = {change("a", 1, 1)};
    view_ref(v);
    struct view *old = v;
    v = apply(v, second, 1);
    assert_ptr_equal(view_topic(v, STR_LIT("b")), b);
    assert_int_equal(view_partition(v, STR_LIT("a"), 1)->leader, 1);
    assert_int_equal(view_partition(old, STR_LIT("a"), 1)->leader, 2);
    view_unref(old);
    struct uuid id = {{'b'}};
    assert_ptr_equal(view_topic_by_id(v, id), b);
    struct partition_change third[] = {change("b", 0, LEADER_DELETED), change("a", 1, LEADER_DELETED)};
    v = apply(v, third, 2);
    assert_null(view_topic(v, STR_LIT("b")));
    assert_int_equal(view_topic(v, STR_LIT("a"))->partition_count, 1);
    view_unref(v);
}

/* Bytes of a name that ends elsewhere as a text, in whatever order: the view has what can be a topic's. */
static void names_that_no_topic_has_are_in_no_view(void **state)
{
    (void)state;
    struct partition_change all[] = {change("a", 0, 1), change("b", 0, 1), change("c", 0, 1), change("d", 0, 1)};
    static char zero[] = "a\0b", empty[] = "";
    all[1].topic = (struct str){zero, 3};
    all[2].topic = (struct str){empty, 0};
    struct view *v = apply(view_new(), all, 4), *old;
    for (int i = 0; i < 4; i++) {
        view_ref(v);
        old = v;
        v = apply(v, all, 1 + i);
        view_unref(old);
    }
    assert_int_equal(v->topic_count, 2);
    assert_non_null(view_topic(v, STR_LIT("a")));
    assert_non_null(view_topic(v, STR_LIT("d")));
    view_unref(v);
}

static void names_are_alike_but_for_dots(void **state)
{
    (void)state;
    struct partition_change topics[] = {change("a.b_c", 0, 1), change("a.b", 0, 1), change("a", 0, 1),
                                        change("a_b.c.d", 0, 1), change("_x", 0, 1)};
    struct view *v = apply(view_new(), topics, 5);
    assert_string_equal(view_topic_alike(v, STR_LIT("a_b_c"))->name, "a.b_c");
    assert_string_equal(view_topic_alike(v, STR_LIT("a_b"))->name, "a.b");
    assert_string_equal(view_topic_alike(v, STR_LIT("a.b.c_d"))->name, "a_b.c.d");
    assert_string_equal(view_topic_alike(v, STR_LIT(".x"))->name, "_x");
    const struct str others[] = {STR_LIT("b"),   STR_LIT("a."), STR_LIT("a.b.c.d."),
                                 STR_LIT("a.c"), STR_LIT("."),  STR_LIT("zz_")};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_null(view_topic_alike(v, others[i]));
    view_unref(v);
}

static void partitions_may_have_gaps(void **state)
{
    (void)state;
    struct partition_change first[] = {change("a", 2000000000, 2), change("a", 3, 1)};
    struct view *v = apply(view_new(), first, 2);
    assert_int_equal(view_topic(v, STR_LIT("a"))->partition_count, 2);
    assert_int_equal(view_partition(v, STR_LIT("a"), 2000000000)->leader, 2);
    assert_null(view_partition(v, STR_LIT("a"), 0));
    assert_int_equal(view_topic_width(view_topic(v, STR_LIT("a"))), 2000000001);
    struct partition_change second[] = {change("a", 0, 1), change("a", 3, LEADER_DELETED), change("a", 3, 2),
                                        change("a", 2000000000, LEADER_DELETED)};
    v = apply(v, second, 4);
    assert_int_equal(view_topic(v, STR_LIT("a"))->partition_count, 2);
    assert_int_equal(view_partition(v, STR_LIT("a"), 3)->leader, 2); /* the last word counts */
    assert_int_equal(view_topic_width(view_topic(v, STR_LIT("a"))), 4);
    view_unref(v);
}

static void leaders_that_change_together_are_one_change(void **state)
{
    (void)state;
    struct leader_changes changes = {0};
    struct leader_change out[LEADER_CHANGES_KEPT];
    assert_int_equal(leader_changes_read(&changes, out), 0);
    leader_changes_note(&changes, 1000, 1, 2, STR_LIT("a"), 7);
    leader_changes_note(&changes, 1000, 1, LEADER_NONE, STR_LIT("b"), 0);
    leader_changes_note(&changes, 1999, 1, 2, STR_LIT("c"), 1);
    leader_changes_note(&changes, 2000, 1, 2, STR_LIT("d"), 2);
    assert_int_equal(leader_changes_read(&changes, out), 3);
    assert_string_equal(out[0].topic, "d");
    assert_int_equal(out[1].to, LEADER_NONE);
    assert_string_equal(out[2].topic, "a");
    assert_int_equal(out[2].partition, 7);
    assert_int_equal(out[2].partitions, 2);
    for (int i = 0; i < 3 * LEADER_CHANGES_KEPT; i++)
        leader_changes_note(&changes, 10000 + 10000 * i, i, i + 1, STR_LIT("e"), i);
    assert_int_equal(leader_changes_read(&changes, out), LEADER_CHANGES_KEPT);
    assert_int_equal(out[0].from, 3 * LEADER_CHANGES_KEPT - 1);
    assert_int_equal(out[LEADER_CHANGES_KEPT - 1].from, 2 * LEADER_CHANGES_KEPT);
}

static int32_t broker_count_after(struct view **v, int32_t epoch, int64_t source, int32_t count)
{
    struct registration brokers[] = {{.id = 1}, {.id = 2}, {.id = 3}};
    struct view_change c = {.controller_epoch = epoch, .source = source, .brokers = brokers, .broker_count = count};
    struct view *next = view_apply(*v, &c);
    view_unref(*v);
    *v = next;
    return next->brokers->n;
}

static void what_an_older_connection_delivers_is_late(void **state)
{
    (void)state;
    struct view *v = view_new();
    assert_int_equal(broker_count_after(&v, 5, 10, 2), 2);
    assert_int_equal(broker_count_after(&v, 5, 10, 3), 3);
    assert_int_equal(broker_count_after(&v, 5, 9, 2), 3);
    assert_int_equal(broker_count_after(&v, 4, 11, 2), 3);
    assert_int_equal(broker_count_after(&v, 5, 11, 1), 1);
    assert_int_equal(broker_count_after(&v, 6, 3, 2), 2);
    view_unref(v);
}

/* ---- Placement ---- */

static void replicas_spread_as_in_kafka(void **state)
{
    (void)state;
    struct registration brokers[5];
    struct int_list out[10];
    struct str message = STR_NULL;
    for (int i = 0; i < 5; i++)
        brokers[i] = (struct registration){.id = i};
    /* With start and shift 0, the table in the comment of Kafka's own placement. */
    assert_int_equal(replicas_place(&arena, brokers, 5, 10, 3, 0, 0, out, &message), ERR_NONE);
    static const int32_t expected[10][3] = {{0, 1, 2}, {1, 2, 3}, {2, 3, 4}, {3, 4, 0}, {4, 0, 1},
                                            {0, 2, 3}, {1, 3, 4}, {2, 4, 0}, {3, 0, 1}, {4, 1, 2}};
    for (int p = 0; p < 10; p++)
        for (int r = 0; r < 3; r++)
            assert_int_equal(out[p].v[r], expected[p][r]);
}

static void racks_get_one_replica_each(void **state)
{
    (void)state;
    struct registration brokers[6];
    struct int_list out[12];
    struct str message = STR_NULL;
    static const char *const racks[] = {"a", "a", "b", "b", "c", "c"};
    for (int i = 0; i < 6; i++)
        brokers[i] = (struct registration){.id = i, .rack = racks[i]};
    assert_int_equal(replicas_place(&arena, brokers, 6, 12, 3, 0, 0, out, &message), ERR_NONE);
    for (int p = 0; p < 12; p++) {
        int seen = 0;
        for (int r = 0; r < 3; r++)
            seen |= 1 << (out[p].v[r] / 2);
        assert_int_equal(seen, 7);
    }
    brokers[0].rack = NULL;
    assert_int_equal(replicas_place(&arena, brokers, 6, 12, 3, 0, 0, out, &message), ERR_INVALID_REPLICATION_FACTOR);
}

static void what_is_added_is_placed_on_from_what_is_there(void **state)
{
    (void)state;
    struct registration three[] = {{.id = 1}, {.id = 2}, {.id = 3}};
    static const int32_t placed[][2] = {{3, 2}, {1, 3}, {2, 3}};
    struct int_list out[3];
    struct str message = STR_NULL;
    assert_int_equal(replicas_place(&arena, three, 3, 3, 2, 1, 1, out, &message), ERR_NONE);
    for (int i = 0; i < 3; i++)
        assert_true(out[i].n == 2 && out[i].v[0] == placed[i][0] && out[i].v[1] == placed[i][1]);
}

static void too_many_replicas_are_refused(void **state)
{
    (void)state;
    struct registration one = {.id = 0};
    struct int_list out[1];
    struct str message = STR_NULL;
    assert_int_equal(replicas_place(&arena, &one, 1, 1, 99, -1, 0, out, &message), ERR_INVALID_REPLICATION_FACTOR);
    assert_true(str_is(message, "Replication factor: 99 larger than available brokers: 1."));
}

static void topic_names_are_checked(void **state)
{
    (void)state;
    char longest[251];
    memset(longest, 'x', 250);
    longest[250] = '\0';
    assert_null(topic_name_problem(&arena, STR_LIT("a.b_c-9")).p);
    assert_non_null(topic_name_problem(&arena, STR_LIT("")).p);
    assert_non_null(topic_name_problem(&arena, STR_LIT("..")).p);
    assert_non_null(topic_name_problem(&arena, STR_LIT("a b")).p);
    assert_non_null(topic_name_problem(&arena, str_of(longest)).p);
}

/* ---- Settings of a broker ---- */

#define KEY_PASSWORD "listener.name.a.ssl.key.password"

struct broker { /* with its file, or rather its command line */
    struct broker_config config;
    struct broker_settings *settings;
};

/* The cipher is one that knows another secret for sure. */
static void broker_start(struct broker *b, const char *secret, const char *old_secret)
{
    const char *overrides[] = {"zookeeper.connect=z:1", "password.encoder.cipher.algorithm=AES/GCM/NoPadding", secret,
                               old_secret};
    struct config_options options = {.overrides = overrides,
                                     .override_count = old_secret != NULL ? 4
                                                       : secret != NULL   ? 3
                                                                          : 2};
    struct fail fail;
    assert_true(config_load(&b->config, &options, &fail));
    b->settings = broker_settings_new(&b->config);
}

static void broker_end(struct broker *b)
{
    broker_settings_free(b->settings);
    config_deinit(&b->config);
}

/* What the broker has for the key after it has read those pairs for itself, in the arena; NULL: nothing. */
static const char *taken(struct broker *b, const struct config_znode *pairs, const char *key)
{
    broker_settings_take(b->settings, SETTINGS_OF_THIS, pairs);
    const struct broker_config *now = broker_settings_hold(b->settings);
    const char *value = config_raw(now, key) != NULL ? arena_cstr(&arena, str_of(config_raw(now, key))) : NULL;
    broker_settings_release(now);
    return value;
}

static void passwords_are_plain_only_inside(void **state)
{
    (void)state;
    struct broker with, without, other, changed;
    struct config_pair pairs[] = {{"log.retention.ms", "77"}, {KEY_PASSWORD, "secret words"}};
    struct config_znode open = {pairs, ARRAY_LEN(pairs)}, sealed, again;
    struct fail fail;
    broker_start(&with, "password.encoder.secret=s", NULL);
    broker_start(&without, NULL, NULL);
    broker_start(&other, "password.encoder.secret=t", NULL);
    broker_start(&changed, "password.encoder.secret=t", "password.encoder.old.secret=s");

    assert_false(broker_settings_seal(without.settings, &open, &arena, &sealed, &fail));
    assert_string_equal(fail.text, "Password encoder secret not configured");
    assert_true(broker_settings_seal(with.settings, &open, &arena, &sealed, &fail));
    assert_string_equal(sealed.entries[0].value, "77");
    assert_null(strstr(sealed.entries[1].value, "secret"));

    assert_string_equal(taken(&with, &sealed, KEY_PASSWORD), "secret words");
    assert_string_equal(taken(&with, &sealed, "log.retention.ms"), "77");
    assert_null(taken(&without, &sealed, KEY_PASSWORD));
    assert_null(taken(&other, &sealed, KEY_PASSWORD));
    assert_string_equal(taken(&other, &sealed, "log.retention.ms"), "77");

    assert_false(broker_settings_reseal(with.settings, &sealed, &arena, &again));
    assert_true(broker_settings_reseal(changed.settings, &sealed, &arena, &again));
    assert_string_equal(taken(&changed, &again, KEY_PASSWORD), "secret words");
    assert_false(broker_settings_reseal(changed.settings, &again, &arena, &sealed));
    broker_end(&with);
    broker_end(&without);
    broker_end(&other);
    broker_end(&changed);
}

/* Each encryption has a salt of its own: another text is not another setting. */
static void the_same_password_is_no_change(void **state)
{
    (void)state;
    struct broker b;
    struct config_pair pair = {KEY_PASSWORD, "secret words"};
    struct config_znode open = {&pair, 1}, first, second;
    broker_start(&b, "password.encoder.secret=s", NULL);
    assert_true(broker_settings_seal(b.settings, &open, &arena, &first, NULL));
    assert_true(broker_settings_seal(b.settings, &open, &arena, &second, NULL));
    assert_true(broker_settings_take(b.settings, SETTINGS_OF_THIS, &first));
    assert_false(broker_settings_take(b.settings, SETTINGS_OF_THIS, &second));
    broker_end(&b);
}

static int decoded;

bool __real_password_decode(const struct password_encoder *e, const char *encoded, struct arena *a, const char **out,
                            struct fail *fail);
bool __wrap_password_decode(const struct password_encoder *e, const char *encoded, struct arena *a, const char **out,
                            struct fail *fail);
bool __wrap_password_decode(const struct password_encoder *e, const char *encoded, struct arena *a, const char **out,
                            struct fail *fail)
{
    decoded++;
    return __real_password_decode(e, encoded, a, out, fail);
}

/* Which takes thousands of hashes each time. */
static void a_password_is_decoded_once(void **state)
{
    (void)state;
    struct broker b;
    struct config_pair pairs[] = {{KEY_PASSWORD, "secret words"}, {"log.retention.ms", "77"}};
    struct config_znode open = {pairs, ARRAY_LEN(pairs)}, first, second;
    broker_start(&b, "password.encoder.secret=s", NULL);
    assert_true(broker_settings_seal(b.settings, &open, &arena, &first, NULL));
    assert_true(broker_settings_seal(b.settings, &open, &arena, &second, NULL));
    decoded = 0;
    assert_true(broker_settings_take(b.settings, SETTINGS_OF_THIS, &first));
    assert_false(broker_settings_take(b.settings, SETTINGS_OF_THIS, &first));
    first.entries[1].value = "78";
    assert_true(broker_settings_take(b.settings, SETTINGS_OF_THIS, &first));
    assert_string_equal(taken(&b, &first, KEY_PASSWORD), "secret words");
    assert_int_equal(decoded, 1);
    first.entries[0].value = second.entries[0].value;
    assert_false(broker_settings_take(b.settings, SETTINGS_OF_THIS, &first)); /* the same word */
    assert_int_equal(decoded, 2);
    first.entries[1].value = "79";
    assert_string_equal(taken(&b, &first, "log.retention.ms"), "79");
    assert_string_equal(taken(&b, &first, KEY_PASSWORD), "secret words");
    assert_int_equal(decoded, 2);
    first.entries[0].value = "encoded by nobody";
    assert_null(taken(&b, &first, KEY_PASSWORD));
    first.entries[1].value = "80";
    assert_null(taken(&b, &first, KEY_PASSWORD));
    assert_string_equal(taken(&b, &first, "log.retention.ms"), "80");
    assert_int_equal(decoded, 3); /* nor is it complained of again */
    broker_end(&b);
}

/* What is set for all brokers is read first, and may need what is set for this one. */
static void what_is_valid_only_together_counts(void **state)
{
    (void)state;
    struct broker b;
    struct config_pair all[] = {{"log.cleaner.threads", "2"}, {"log.retention.ms", "-1"}},
                       own[] = {{"log.cleaner.dedupe.buffer.size", "134217728"}};
    struct config_znode of_all = {all, ARRAY_LEN(all)}, of_this = {own, ARRAY_LEN(own)}, nothing = {0};
    broker_start(&b, "log.cleaner.dedupe.buffer.size=2097152", NULL);
    assert_false(broker_settings_take(b.settings, SETTINGS_OF_ALL, &of_all)); /* a MiB a thread is too little */
    assert_string_equal(taken(&b, &of_this, "log.retention.ms"), "-1");
    assert_string_equal(taken(&b, &nothing, "log.retention.ms"), "-1"); /* refused: as it was */
    assert_int_equal(broker_settings_own(b.settings, SETTINGS_OF_THIS, &arena).count, 0);
    assert_string_equal(taken(&b, &of_this, "log.cleaner.threads"), "2");
    broker_end(&b);
}

/* Each partition asks whether it is throttled: a list is not to be read again for each. Twenty seconds of it, or none.
 */
static void many_replicas_are_throttled(void **state)
{
    (void)state;
    enum { PARTITIONS = 5000, REPLICAS = 3 };
    static const char *const keys[] = {"leader.replication.throttled.replicas",
                                       "follower.replication.throttled.replicas"};
    struct broker b;
    struct strbuf list = {0};
    int found = 0;
    broker_start(&b, NULL, NULL);
    struct topic_configs *topics = topic_configs_new(b.settings);
    for (int i = 0; i < PARTITIONS; i++)
        for (int k = 0; k < REPLICAS; k++)
            strbuf_printf(&list, "%s%d:%d", list.len > 0 ? "," : "", i, (i + k) % (2 * REPLICAS));
    struct config_pair pairs[] = {{keys[0], list.p}, {keys[1], "4:1,17:2,3:1"}};
    struct config_znode own = {pairs, ARRAY_LEN(pairs)};
    assert_true(topic_configs_take(topics, "t", &own));
    for (int i = 0; i < PARTITIONS; i++)
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            found += topic_configs_throttle(topics, "t", keys[k], i, 1);
    assert_int_equal(found, 2501 + 2);
    assert_true(topic_configs_throttle(topics, "t", keys[1], 17, 2));
    assert_false(topic_configs_throttle(topics, "t", keys[1], 17, 1));
    topic_configs_free(topics);
    strbuf_deinit(&list);
    broker_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(what_is_valid_only_together_counts),
        CASE(many_replicas_are_throttled),
        CASE(passwords_are_plain_only_inside),
        CASE(the_same_password_is_no_change),
        CASE(a_password_is_decoded_once),
        CASE(a_registration_of_apache_is_read),
        CASE(a_registration_of_the_first_version_is_read),
        CASE(a_topic_of_apache_is_read),
        CASE(states_come_back),
        CASE(assignments_written_by_hand_are_read),
        CASE(assignments_that_make_no_sense_are_refused),
        CASE(brokers_have_numbers),
        CASE(names_in_paths_are_checked),
        CASE(many_watches_go_in_several_frames),
        CASE(nonsense_is_refused),
        CASE(views_share_what_did_not_change),
        CASE(names_that_no_topic_has_are_in_no_view),
        CASE(partitions_may_have_gaps),
        CASE(names_are_alike_but_for_dots),
        CASE(leaders_that_change_together_are_one_change),
        CASE(sizes_of_topics_are_known),
        CASE(what_an_older_connection_delivers_is_late),
        CASE(replicas_spread_as_in_kafka),
        CASE(racks_get_one_replica_each),
        CASE(what_is_added_is_placed_on_from_what_is_there),
        CASE(too_many_replicas_are_refused),
        CASE(topic_names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
