/* Permissions: random lists against a model that reads like the rules; names, filters, settings. */
#include "test.h"

#include "cluster/acl_znodes.h"
#include "security/acl_board.h"

/* ---- The model: every entry with its resource, looked through from the beginning ---- */

enum { MOST = 24, ROUNDS = 4000, QUESTIONS = 24 };

struct given {
    struct acl_resource resource;
    struct acl_entry entry;
};

struct model {
    struct given all[MOST];
    int32_t count;
    struct acl_policy policy;
    struct principal super_user;
};

static uint32_t seed = 1;

static int below(int n)
{
    seed = seed * 1664525 + 1013904223;
    return (int)((seed >> 8) % (uint32_t)n);
}

static struct str one_of(const char *const *list, int n)
{
    return str_of(list[below(n)]);
}

#define ONE_OF(list) one_of((list), (int)ARRAY_LEN(list))

static const char *const names[] = {"a", "ab", "abc", "b", "*", "ba", "*a", "abcd"};
static const char *const principals[] = {"User:x", "User:y", "User:*", "Group:x"};
static const char *const hosts[] = {"*", "1.1.1.1", "2.2.2.2"};
static const enum acl_operation asked[] = {
    ACL_READ, ACL_WRITE, ACL_DELETE, ACL_ALTER, ACL_DESCRIBE, ACL_DESCRIBE_CONFIGS, ACL_ALTER_CONFIGS};

static bool begins(struct str name, struct str prefix)
{
    return name.len >= prefix.len && memcmp(name.p, prefix.p, (size_t)prefix.len) == 0;
}

static bool applies_to(const struct acl_resource *r, enum acl_type type, struct str name)
{
    if (r->type != type)
        return false;
    return r->pattern == ACL_PREFIXED ? begins(name, r->name) : str_eq(r->name, name) || str_is(r->name, "*");
}

static bool says(const struct given *g, enum acl_permission permission, const char *principal, const char *host,
                 enum acl_operation operation)
{
    const struct acl_entry *e = &g->entry;
    return e->permission == permission && (str_is(e->principal, principal) || str_is(e->principal, "User:*")) &&
           (str_is(e->host, host) || str_is(e->host, "*")) && (e->operation == operation || e->operation == ACL_ALL);
}

static bool model_has(const struct model *m, enum acl_permission permission, const char *principal, const char *host,
                      enum acl_operation operation, enum acl_type type, struct str name)
{
    for (int32_t i = 0; i < m->count; i++)
        if (applies_to(&m->all[i].resource, type, name) && says(&m->all[i], permission, principal, host, operation))
            return true;
    return false;
}

static bool model_allows(const struct model *m, const char *principal, const char *host, enum acl_operation operation,
                         enum acl_type type, struct str name)
{
    bool any = false, allowed = false;
    if (m->policy.super_user_count > 0 && strcmp(principal, "User:y") == 0)
        return true;
    for (int32_t i = 0; i < m->count; i++)
        any |= applies_to(&m->all[i].resource, type, name);
    if (!any)
        return m->policy.allow_everyone_if_no_acl_found;
    if (model_has(m, ACL_DENY, principal, host, operation, type, name))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        bool enough = asked[i] == operation;
        enough |= operation == ACL_DESCRIBE &&
                  (asked[i] == ACL_READ || asked[i] == ACL_WRITE || asked[i] == ACL_DELETE || asked[i] == ACL_ALTER);
        enough |= operation == ACL_DESCRIBE_CONFIGS && asked[i] == ACL_ALTER_CONFIGS;
        allowed |= enough && model_has(m, ACL_ALLOW, principal, host, asked[i], type, name);
    }
    return allowed;
}

/* Whether a deny takes away all that the allowing entry's resource gives. */
static bool model_dominated(const struct model *m, const struct given *allow, const char *principal, const char *host,
                            enum acl_operation operation)
{
    const struct acl_resource *r = &allow->resource;
    for (int32_t i = 0; i < m->count; i++) {
        const struct acl_resource *d = &m->all[i].resource;
        if (d->type != r->type || !says(&m->all[i], ACL_DENY, principal, host, operation))
            continue;
        if (d->pattern == ACL_PREFIXED ? begins(r->name, d->name)
                                       : r->pattern == ACL_LITERAL && str_eq(d->name, r->name))
            return true;
    }
    return false;
}

static bool model_allows_somewhere(const struct model *m, const char *principal, const char *host,
                                   enum acl_operation operation, enum acl_type type)
{
    if (m->policy.super_user_count > 0 && strcmp(principal, "User:y") == 0)
        return true;
    for (int32_t i = 0; i < m->count; i++) {
        const struct acl_resource *r = &m->all[i].resource;
        if (r->type == type && r->pattern == ACL_LITERAL && str_is(r->name, "*") &&
            says(&m->all[i], ACL_DENY, principal, host, operation))
            return false;
    }
    if (m->policy.allow_everyone_if_no_acl_found)
        return true;
    for (int32_t i = 0; i < m->count; i++) {
        const struct acl_resource *r = &m->all[i].resource;
        if (r->type != type || !says(&m->all[i], ACL_ALLOW, principal, host, operation))
            continue;
        if ((r->pattern == ACL_LITERAL && str_is(r->name, "*")) ||
            !model_dominated(m, &m->all[i], principal, host, operation))
            return true;
    }
    return false;
}

/* ---- Against the set ---- */

static void make_up(struct model *m)
{
    *m = (struct model){.count = below(MOST), .super_user = {STR_LIT("User"), STR_LIT("y"), false}};
    m->policy.allow_everyone_if_no_acl_found = below(4) == 0;
    m->policy.super_users = &m->super_user;
    m->policy.super_user_count = below(8) == 0;
    for (int32_t i = 0; i < m->count; i++) {
        struct given *g = &m->all[i];
        g->resource = (struct acl_resource){below(4) == 0 ? ACL_GROUP : ACL_TOPIC,
                                            below(2) == 0 ? ACL_LITERAL : ACL_PREFIXED, ONE_OF(names)};
        g->entry = (struct acl_entry){ONE_OF(principals), ONE_OF(hosts),
                                      below(6) == 0 ? ACL_ALL : asked[below((int)ARRAY_LEN(asked))],
                                      below(3) == 0 ? ACL_DENY : ACL_ALLOW};
    }
}

static bool same_resource(const struct acl_resource *a, const struct acl_resource *b)
{
    return a->type == b->type && a->pattern == b->pattern && str_eq(a->name, b->name);
}

/* What the set should have after all changes, resource by resource; some make a detour over another list. */
static struct acl_set *build(const struct model *m)
{
    struct acl_set *s = acl_set_new(), *next;
    struct acl_entry entries[MOST];
    for (int32_t i = 0; i < m->count; i++) {
        const struct acl_resource *r = &m->all[i].resource;
        int32_t n = 0;
        for (int32_t k = 0; k < m->count; k++)
            if (same_resource(r, &m->all[k].resource))
                entries[n++] = m->all[k].entry;
        struct acl_change changes[2] = {{*r, NULL}, {*r, acl_list_new(r, entries, n)}};
        if (below(2) == 0)
            changes[0].list = acl_list_new(r, entries, 1);
        next = acl_set_with(s, changes, 2);
        acl_set_unref(s);
        s = next;
    }
    struct acl_resource gone = {ACL_TOPIC, ACL_PREFIXED, STR_LIT("abcdefgh")};
    struct acl_change there = {gone, acl_list_new(&gone, entries, MIN(1, m->count))}, away = {gone, NULL};
    next = acl_set_with(s, &there, 1);
    acl_set_unref(s);
    s = acl_set_with(next, &away, 1);
    acl_set_unref(next);
    return s;
}

static void ask(const struct model *m, const struct acl_set *s)
{
    struct str principal = below(2) == 0 ? STR_LIT("User:x") : STR_LIT("User:y"), name = ONE_OF(names);
    const char *host = hosts[1 + below(2)];
    enum acl_type type = below(4) == 0 ? ACL_GROUP : ACL_TOPIC;
    enum acl_operation operation = asked[below((int)ARRAY_LEN(asked))];
    struct principal p;
    assert_true(principal_parse(principal, &p));
    struct acl_asker who = acl_asker(p, str_of(host));
    assert_int_equal(acl_allowed(s, &m->policy, &who, type, name) >> operation & 1,
                     model_allows(m, principal.p, host, operation, type, name));
    assert_int_equal(acl_allowed_somewhere(s, &m->policy, &who, type, operation),
                     model_allows_somewhere(m, principal.p, host, operation, type));
}

static void random_lists_answer_as_the_rules_say(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct model m;
        make_up(&m);
        struct acl_set *s = build(&m);
        for (int k = 0; k < QUESTIONS; k++)
            ask(&m, s);
        acl_set_unref(s);
    }
}

/* ---- One at a time ---- */

static uint32_t allowed_to(const struct acl_set *s, const char *principal, enum acl_type type, const char *name)
{
    struct acl_policy strict = {0};
    struct principal p;
    assert_true(principal_parse(str_of(principal), &p));
    struct acl_asker who = acl_asker(p, STR_LIT("127.0.0.1"));
    return acl_allowed(s, &strict, &who, type, str_of(name));
}

static struct acl_set *set_of(const struct acl_resource *r, struct acl_list *l)
{
    struct acl_set *empty = acl_set_new(), *s;
    struct acl_change change = {*r, l};
    s = acl_set_with(empty, &change, 1);
    acl_set_unref(empty);
    return s;
}

static void an_unreadable_list_denies_everybody(void **state)
{
    (void)state;
    struct acl_resource secret = {ACL_TOPIC, ACL_PREFIXED, STR_LIT("sec")},
                        all = {ACL_TOPIC, ACL_LITERAL, STR_LIT("*")};
    struct acl_entry entry = {STR_LIT("User:x"), STR_LIT("*"), ACL_READ, ACL_ALLOW};
    struct acl_set *s = set_of(&secret, acl_list_new_unreadable(&secret));
    struct acl_change change = {all, acl_list_new(&all, &entry, 1)};
    struct acl_set *both = acl_set_with(s, &change, 1);
    assert_int_equal(acl_set_count(both), 2);
    assert_int_equal(allowed_to(both, "User:x", ACL_TOPIC, "other"), 1 << ACL_READ | 1 << ACL_DESCRIBE);
    assert_int_equal(allowed_to(both, "User:x", ACL_TOPIC, "secret"), 0);
    acl_set_unref(s);
    acl_set_unref(both);
}

static void entries_come_back_once_each(void **state)
{
    (void)state;
    struct acl_resource r = {ACL_GROUP, ACL_LITERAL, STR_LIT("g")};
    struct acl_entry entries[] = {{STR_LIT("User:x"), STR_LIT("*"), ACL_READ, ACL_ALLOW},
                                  {STR_LIT("User:x"), STR_LIT("*"), ACL_READ, ACL_DENY},
                                  {STR_LIT("User:x"), STR_LIT("*"), ACL_READ, ACL_ALLOW},
                                  {STR_LIT("User:x"), STR_LIT("h"), ACL_ALL, ACL_ALLOW}};
    struct acl_list *l = acl_list_new(&r, entries, ARRAY_LEN(entries));
    struct arena a = {0};
    int32_t n;
    struct acl_entry *back = acl_list_entries(l, &a, &n);
    assert_int_equal(n, 3);
    for (int32_t i = 0; i < n; i++)
        assert_true(str_is(back[i].principal, "User:x"));
    arena_deinit(&a);
    acl_list_unref(l);
}

static void super_users_are_split_at_semicolons_only(void **state)
{
    (void)state;
    struct arena a = {0};
    struct acl_policy p = {0};
    struct fail fail;
    assert_true(acl_policy_parse(&a, "User:CN=b,O=c; User:d;", &p, &fail));
    assert_int_equal(p.super_user_count, 2);
    assert_true(str_is(p.super_users[0].name, "CN=b,O=c"));
    struct acl_asker d = acl_asker((struct principal){STR_LIT("User"), STR_LIT("d"), false}, STR_NULL);
    struct acl_asker other = acl_asker((struct principal){STR_LIT("Group"), STR_LIT("d"), false}, STR_NULL);
    assert_true(acl_is_super_user(&p, &d));
    assert_false(acl_is_super_user(&p, &other));
    assert_true(acl_policy_parse(&a, "", &p, &fail));
    assert_int_equal(p.super_user_count, 0);
    assert_false(acl_policy_parse(&a, "admin", &p, &fail));
    assert_false(acl_policy_parse(&a, "User:a;;User:b", &p, &fail));
    assert_false(acl_policy_parse(&a, ";User:a", &p, &fail));
    arena_deinit(&a);
}

static void filters_take_what_they_name(void **state)
{
    (void)state;
    struct acl_resource literal = {ACL_TOPIC, ACL_LITERAL, STR_LIT("abc")},
                        all = {ACL_TOPIC, ACL_LITERAL, STR_LIT("*")}, prefix = {ACL_TOPIC, ACL_PREFIXED, STR_LIT("ab")};
    struct acl_filter f = {.type = ACL_TOPIC, .pattern = ACL_MATCH, .name = STR_LIT("abc")};
    assert_true(acl_filter_takes_resource(&f, &literal));
    assert_true(acl_filter_takes_resource(&f, &all));
    assert_true(acl_filter_takes_resource(&f, &prefix));
    f.pattern = ACL_ANY;
    assert_true(acl_filter_takes_resource(&f, &literal));
    assert_false(acl_filter_takes_resource(&f, &all));
    assert_false(acl_filter_takes_resource(&f, &prefix));
    f = (struct acl_filter){.type = ACL_ANY, .pattern = ACL_PREFIXED};
    assert_true(acl_filter_takes_resource(&f, &prefix));
    assert_false(acl_filter_takes_resource(&f, &literal));
    f = (struct acl_filter){.type = ACL_GROUP, .pattern = ACL_ANY};
    assert_false(acl_filter_takes_resource(&f, &literal));
}

static void names_are_read_in_any_case(void **state)
{
    (void)state;
    enum acl_operation o;
    enum acl_type t;
    assert_true(acl_operation_parse(STR_LIT("DescribeConfigs"), &o) && o == ACL_DESCRIBE_CONFIGS);
    assert_true(acl_operation_parse(STR_LIT("DESCRIBECONFIGS"), &o) && o == ACL_DESCRIBE_CONFIGS);
    assert_false(acl_operation_parse(STR_LIT("DESCRIBE_CONFIGS"), &o));
    assert_true(acl_operation_parse(STR_LIT("READ"), &o) && o == ACL_READ);
    assert_false(acl_operation_parse(STR_LIT("Rea"), &o));
    assert_false(acl_operation_parse(STR_LIT("Read\0"), &o));
    assert_false(acl_operation_parse(STR_LIT(""), &o));
    assert_true(acl_type_parse(STR_LIT("Transactional_id"), &t) && t == ACL_TRANSACTIONAL_ID);
    assert_string_equal(acl_type_constant(t), "TRANSACTIONAL_ID");
    for (int i = ACL_ALL; i < ACL_OPERATIONS; i++)
        assert_true(acl_operation_parse(str_of(acl_operation_name((enum acl_operation)i)), &o) && (int)o == i);
}

/* ---- In ZooKeeper ---- */

static bool decodes(const char *text, int32_t *count)
{
    struct arena a = {0};
    struct acl_entry *entries;
    struct fail fail;
    bool ok = acl_decode(&a, (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, &entries, count, &fail);
    arena_deinit(&a);
    return ok;
}

#define ENTRY(principal, permission, operation)                                            \
    "{\"version\":1,\"acls\":[{\"principal\":" principal ",\"permissionType\":" permission \
    ",\"host\":\"*\",\"operation\":" operation "}]}"

static void znodes_are_understood_whole_or_not_at_all(void **state)
{
    (void)state;
    int32_t n;
    assert_true(decodes("", &n) && n == 0);
    assert_true(decodes("{\"version\":1,\"acls\":[]}", &n) && n == 0);
    assert_true(decodes(ENTRY("\"User:a:b\"", "\"Allow\"", "\"DescribeConfigs\""), &n) && n == 1);
    assert_true(decodes(ENTRY("\"User:a\\u0000b\"", "\"DENY\"", "\"READ\""), &n) && n == 1);
    assert_false(decodes(ENTRY("\"alice\"", "\"Allow\"", "\"Read\""), &n));
    assert_false(decodes(ENTRY("\"User:a\"", "\"Perhaps\"", "\"Read\""), &n));
    assert_false(decodes(ENTRY("\"User:a\"", "\"Allow\"", "\"Fly\""), &n));
    assert_false(decodes(ENTRY("7", "\"Allow\"", "\"Read\""), &n));
    assert_false(decodes(ENTRY("\"User:\xff\"", "\"Allow\"", "\"Read\""), &n));
    assert_false(decodes("{\"version\":2,\"acls\":[]}", &n));
    assert_false(decodes("{\"acls\":[]}", &n));
    assert_false(decodes("{\"version\":1}", &n));
    assert_false(decodes("[]", &n));
    assert_false(decodes("{", &n));
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    struct arena a = {0};
    struct acl_entry entries[] = {{STR_LIT("User:a\"\0b"), STR_LIT("1.1.1.1"), ACL_ALTER_CONFIGS, ACL_DENY},
                                  {STR_LIT("User:\xc3\xa4"), STR_LIT("*"), ACL_ALL, ACL_ALLOW}},
                     *back;
    struct fail fail;
    int32_t n;
    assert_true(acl_decode(&a, acl_encode(&a, entries, 2), &back, &n, &fail));
    assert_int_equal(n, 2);
    for (int32_t i = 0; i < n; i++) {
        assert_true(str_eq(entries[i].principal, back[i].principal) && str_eq(entries[i].host, back[i].host));
        assert_true(entries[i].operation == back[i].operation && entries[i].permission == back[i].permission);
    }
    arena_deinit(&a);
}

static void check_notice(const struct acl_resource *r, const char *text)
{
    struct arena a = {0};
    struct acl_resource back;
    struct bytes data = acl_notice_encode(&a, r);
    assert_true(str_is((struct str){(const char *)data.p, data.len}, text));
    assert_true(acl_notice_decode(&a, r->pattern, data, &back));
    assert_true(same_resource(r, &back));
    arena_deinit(&a);
}

static void notices_name_the_resource(void **state)
{
    (void)state;
    struct arena a = {0};
    struct acl_resource r;
    check_notice(&(struct acl_resource){ACL_TOPIC, ACL_LITERAL, STR_LIT("a:b")}, "TOPIC:a:b");
    check_notice(&(struct acl_resource){ACL_TRANSACTIONAL_ID, ACL_PREFIXED, STR_LIT("t")},
                 "{\"version\":1,\"resourceType\":\"TRANSACTIONAL_ID\",\"name\":\"t\",\"patternType\":\"PREFIXED\"}");
    static const char *const bad[] = {"", "TOPIC", "PLACE:x", ":"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(
            acl_notice_decode(&a, ACL_LITERAL, (struct bytes){(const uint8_t *)bad[i], (int32_t)strlen(bad[i])}, &r));
    static const char zero[] = "TOPIC\0\0\0:t"; /* as long as the name, and no longer than what is behind it */
    assert_false(
        acl_notice_decode(&a, ACL_LITERAL, (struct bytes){(const uint8_t *)zero, (int32_t)sizeof(zero) - 1}, &r));
    assert_false(acl_notice_decode(&a, ACL_PREFIXED, (struct bytes){(const uint8_t *)"{", 1}, &r));
    assert_false(acl_notice_decode(&a, ACL_PREFIXED, (struct bytes){NULL, 0}, &r));
    arena_deinit(&a);
}

static void a_set_stays_until_each_loop_has_come_back(void **state)
{
    (void)state;
    struct loop *loops[] = {loop_new("one"), loop_new("two")};
    struct acl_board *b = acl_board_new();
    struct acl_set *first = acl_set_new();
    assert_null(acl_board_current(b));
    acl_board_set_loops(b, loops, 2);
    acl_board_publish(b, first);
    assert_ptr_equal(acl_board_current(b), first);
    acl_board_publish(b, acl_set_new());
    assert_ptr_not_equal(acl_board_current(b), first);
    assert_true(loop_drain(loops[0]));
    assert_int_equal(acl_set_count(first), 0);
    assert_true(loop_drain(loops[1])); /* where it goes: the sanitizer looks after the rest */
    acl_board_free(b);
    loop_free(loops[0]);
    loop_free(loops[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(znodes_are_understood_whole_or_not_at_all),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(notices_name_the_resource),
        cmocka_unit_test(a_set_stays_until_each_loop_has_come_back),
        cmocka_unit_test(random_lists_answer_as_the_rules_say),
        cmocka_unit_test(an_unreadable_list_denies_everybody),
        cmocka_unit_test(entries_come_back_once_each),
        cmocka_unit_test(names_are_read_in_any_case),
        cmocka_unit_test(super_users_are_split_at_semicolons_only),
        cmocka_unit_test(filters_take_what_they_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
