/* Users' names of Kerberos principals. */
#include "test.h"

#include "security/kerberos_rules.h"

static void becomes(const char *rules_text, const char *principal, const char *expected)
{
    struct arena a = {0};
    struct fail fail = {""};
    struct str name = STR_LIT("nothing");
    struct kerberos_rules *rules = kerberos_rules_parse(rules_text, "EX.TEST", &fail);
    if (rules == NULL)
        fail_msg("%s: %s", rules_text, fail.text);
    bool found = kerberos_rules_apply(rules, principal, &a, &name, &fail);
    if (expected == NULL)
        assert_false(found);
    else if (!found || !str_is(name, expected))
        fail_msg("%s by %s becomes %.*s", principal, rules_text, STR_ARGS(name));
    kerberos_rules_free(rules);
    arena_deinit(&a);
}

static void principals_become_names(void **state)
{
    (void)state;
    static const char admins[] = "RULE:[2:$1-$2](.*-admin)s/-admin$/_adm/,DEFAULT";
    becomes("DEFAULT", "gus@EX.TEST", "gus");
    becomes("DEFAULT", "gus/admin@EX.TEST", "gus");
    becomes("DEFAULT", "gus@OTHER", NULL);
    becomes(admins, "gus/admin@EX.TEST", "gus_adm");
    becomes(admins, "gus/other@EX.TEST", "gus");
    becomes(admins, "gus@EX.TEST", "gus");
    becomes("RULE:[1:$1@$0](.*@OTHER)s/@.*//", "Gus@OTHER", "Gus");
    becomes("RULE:[1:$1@$0](.*@OTHER)s/@.*//L", "Gus@OTHER", "gus");
    becomes("RULE:[1:$1]/U", "gus@OTHER", "GUS");
    becomes("RULE:[1:$1]U", "gus@OTHER", "GUS");
    becomes("RULE:[1:$1]s/a/b/", "aa@X", "ba");
    becomes("RULE:[1:$1]s/a/b/g", "aa@X", "bb");
    becomes("RULE:[1:$1]s/(.)(.)/$2\\$$1/", "ab@X", "b$a");
    becomes("RULE:[1:$1](a)", "aa@X", NULL); /* as a whole */
    becomes(" RULE:[2:$2] , DEFAULT ", "a/b@X", "b");
}

static void what_is_no_name_is_refused(void **state)
{
    (void)state;
    becomes("RULE:[1:$1@$0]", "gus@EX.TEST", NULL);
    becomes("RULE:[2:$1/$2]", "gus/x@EX.TEST", NULL);
    becomes("RULE:[1:]", "gus@EX.TEST", NULL);
    becomes("RULE:[1:$2]", "gus@EX.TEST", NULL);
    becomes("RULE:[1:$99999999999999999999]", "gus@EX.TEST", NULL);
    becomes("", "gus@EX.TEST", NULL);
    becomes("DEFAULT", "gus", NULL);
    becomes("DEFAULT", "a/b/c@EX.TEST", NULL);
    becomes("DEFAULT", "a@b@EX.TEST", NULL);
    becomes("DEFAULT", "@EX.TEST", NULL);
    becomes("RULE:[1:$1]s/(a+)+$/x/", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab@X", NULL); /* too many steps */
}

static void bad_rules_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"X",
                                        "DEFAULTX",
                                        "RULE:",
                                        "RULE:[1]",
                                        "RULE:[a:$1]",
                                        "RULE:[1:$1",
                                        "RULE:[1:$1](a",
                                        "RULE:[1:$1]s/a/b",
                                        "RULE:[1:$1](()",
                                        "RULE:[1:$1]X"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct fail fail;
        assert_null(kerberos_rules_parse(texts[i], "EX.TEST", &fail));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(principals_become_names),
        cmocka_unit_test(what_is_no_name_is_refused),
        cmocka_unit_test(bad_rules_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
