/* Principals, and the rules that make their names of subjects. rules.txt says what Apache's own code makes of them. */
#include "test.h"

#include <stdio.h>

#include "security/principal.h"

static void assert_str(struct str s, const char *expected)
{
    if (!str_is(s, expected))
        fail_msg("\"%.*s\" and not \"%s\"", STR_ARGS(s), expected);
}

static void principals_are_texts(void **state)
{
    (void)state;
    struct arena a = {0};
    struct principal p, q;
    assert_true(principal_parse(str_of("User:CN=a:b,O=c"), &p));
    assert_str(p.type, "User");
    assert_str(p.name, "CN=a:b,O=c");
    assert_string_equal(principal_text(p, &a).p, "User:CN=a:b,O=c");
    p.name = (struct str){"bob\0x", 5};
    assert_int_equal(principal_text(p, &a).len, 10); /* another than User:bob */
    assert_true(principal_parse(str_of("User:"), &p));
    assert_str(p.name, "");
    assert_false(principal_parse(str_of("alice"), &p));
    assert_false(principal_parse(str_of(""), &p));
    assert_false(principal_parse(STR_NULL, &p));
    assert_true(principal_parse(str_of("User:ANONYMOUS"), &p));
    assert_true(principal_eq(p, principal_anonymous));
    q = p;
    q.by_token = true;
    assert_true(principal_eq(p, q));
    assert_true(principal_parse(str_of("Group:ANONYMOUS"), &q));
    assert_false(principal_eq(p, q));
    arena_deinit(&a);
}

static void marks_back(char *text)
{
    for (char *at; (at = strstr(text, "{LF}")) != NULL;) {
        *at = '\n';
        memmove(at + 1, at + 4, strlen(at + 4) + 1);
    }
}

/* `expected`: "=name", "none", "invalid", "invalid when applied", or the message of a rule that is refused. */
static void check_rule(const char *text, const char *subject, const char *expected)
{
    struct arena a = {0};
    struct fail fail = {""};
    struct str name;
    struct principal_rules *rules = principal_rules_parse(text, &fail);
    if (*expected != '=' && strcmp(expected, "none") != 0) {
        if (rules != NULL)
            fail_msg("%s was taken", text);
        if (strncmp(expected, "Invalid", 7) == 0)
            assert_string_equal(fail.text, expected);
        return;
    }
    if (rules == NULL)
        fail_msg("%s was refused: %s", text, fail.text);
    if (principal_rules_apply(rules, subject, &a, &name, &fail) != (*expected == '='))
        fail_msg("%s of %s: %s", text, subject, fail.text);
    if (*expected == '=' && !str_is(name, expected + 1))
        fail_msg("%s of %s is %.*s and not %s", text, subject, STR_ARGS(name), expected + 1);
    principal_rules_free(rules);
    arena_deinit(&a);
}

static void rules_are_apaches(void **state)
{
    (void)state;
    FILE *f = fopen(TEST_STORES "/rules.txt", "r");
    char *line = NULL;
    size_t cap = 0;
    int count = 0;
    assert_non_null(f);
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0; count++) {
        line[n - 1] = '\0';
        marks_back(line);
        char *subject = strchr(line, '\t'), *expected = strchr(subject + 1, '\t');
        *subject++ = '\0';
        *expected++ = '\0';
        check_rule(line, subject, expected);
    }
    assert_true(count > 60);
    free(line);
    fclose(f);
}

/* A certificate that was made for it cannot keep a loop busy. */
static void matching_is_bounded(void **state)
{
    (void)state;
    static const char *const texts[] = {"RULE:CN=(a+)+b/$1/", "RULE:(a|CN=)*?(a*)*(a*)*(a*)*b?/$1/", "RULE:.*?/-/"};
    char subject[4096] = "CN=";
    memset(subject + 3, 'a', sizeof(subject) - 4);
    memcpy(subject + sizeof(subject) - 3, "b!", 2);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct arena a = {0};
        struct fail fail;
        struct str name;
        struct principal_rules *rules = principal_rules_parse(texts[i], &fail);
        assert_non_null(rules);
        assert_false(principal_rules_apply(rules, subject, &a, &name, &fail));
        assert_non_null(strstr(fail.text, "takes too many steps"));
        principal_rules_free(rules);
        arena_deinit(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(principals_are_texts),
        cmocka_unit_test(rules_are_apaches),
        cmocka_unit_test(matching_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
