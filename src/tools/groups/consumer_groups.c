/* kafka-consumer-groups: lists, describes and deletes consumer groups, and changes their offsets. */
#include "tools/groups/consumer_groups.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <strings.h>

#include "protocol/error.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server to connect to", "REQUIRED: The server(s) to connect to.", NULL},
    {"command-config", OPTION_VALUE, "config file", "Property file with configs for the admin client.", NULL},
    {"list", OPTION_FLAG, NULL, "List all consumer groups.", NULL},
    {"describe", OPTION_FLAG, NULL, "Describe groups, and how far each is behind the end of its partitions.", NULL},
    {"delete", OPTION_FLAG, NULL, "Delete groups with all their offsets; they must have no members.", NULL},
    {"reset-offsets", OPTION_FLAG, NULL,
     "Set the offsets of groups without members to what one of --to-earliest, --to-latest, --to-current, --to-offset, --shift-by, --to-datetime, --by-duration or --from-file says, for --all-topics or --topic. Without --execute it only shows them.",
     NULL},
    {"delete-offsets", OPTION_FLAG, NULL, "Delete the offsets that a group has of the topics.", NULL},
    {"group", OPTION_VALUES, "consumer group", "The consumer group to act on; may be given several times.", NULL},
    {"all-groups", OPTION_FLAG, NULL, "Apply to all consumer groups.", NULL},
    {"topic", OPTION_VALUES, "topic",
     "For reset-offsets and delete-offsets: the topic, or some of its partitions: topic1:0,1,2. May be given several times.",
     NULL},
    {"all-topics", OPTION_FLAG, NULL, "For reset-offsets: all topics that the group has offsets of.", NULL},
    {"timeout", OPTION_VALUE, "timeout (ms)", "How long to wait for coordinators and leaders that are not there.",
     "5000"},
    {"dry-run", OPTION_FLAG, NULL, "Only show what reset-offsets would do.", NULL},
    {"execute", OPTION_FLAG, NULL, "Do what reset-offsets shows.", NULL},
    {"export", OPTION_FLAG, NULL, "Show what reset-offsets does as CSV, which --from-file reads.", NULL},
    {"to-offset", OPTION_VALUE, "offset", "Reset offsets to a specific offset.", NULL},
    {"from-file", OPTION_VALUE, "path to CSV file",
     "Reset offsets to what a file says: topic,partition,offset for one group, group,topic,partition,offset for several.",
     NULL},
    {"to-datetime", OPTION_VALUE, "datetime", "Reset offsets to a point in time: YYYY-MM-DDTHH:mm:SS.sss", NULL},
    {"by-duration", OPTION_VALUE, "duration", "Reset offsets to what was the end some time ago: PnDTnHnMnS", NULL},
    {"to-earliest", OPTION_FLAG, NULL, "Reset offsets to the start of the logs.", NULL},
    {"to-latest", OPTION_FLAG, NULL, "Reset offsets to the end of the logs.", NULL},
    {"to-current", OPTION_FLAG, NULL, "Reset offsets to what they are, or to the end where there is none.", NULL},
    {"shift-by", OPTION_VALUE, "number-of-offsets", "Move offsets forwards, or backwards by a negative number.", NULL},
    {"members", OPTION_FLAG, NULL, "For describe: the members of the group.", NULL},
    {"verbose", OPTION_FLAG, NULL, "For describe --members: what is assigned to each.", NULL},
    {"offsets", OPTION_FLAG, NULL, "For describe: partitions, offsets and lags; this is the default.", NULL},
    {"state", OPTION_OPTIONAL, "states",
     "For describe: the state of the group. For list: show states, or list only some.", NULL},
    {"type", OPTION_OPTIONAL, "types", "For list: show types, or list only groups of some.", NULL},
};

static const char purpose[] = "This tool helps to list all consumer groups, describe a consumer group, delete consumer "
                              "group info, or reset consumer group offsets.";

/* ---- Checks of the options, with Kafka's sentences ---- */

static bool has(const struct group_work *w, const char *name)
{
    return options_has(&w->o, name);
}

static bool consumer_groups_complain(const struct group_work *w, const char *text)
{
    options_complain(&w->o, "%s", text);
    return false;
}

static bool has_groups(const struct group_work *w)
{
    return has(w, "group") || has(w, "all-groups");
}

static bool check_describe(const struct group_work *w)
{
    if (!has(w, "describe"))
        return true;
    if (!has_groups(w))
        return consumer_groups_complain(
            w, "Option [describe] takes one of these options: [reset-offsets], [describe], [delete], [list]");
    if (has(w, "members") + has(w, "offsets") + has(w, "state") > 1)
        return consumer_groups_complain(
            w, "Option [describe] takes at most one of these options: [members], [offsets], [state]");
    if (options_get(&w->o, "state") != NULL)
        return consumer_groups_complain(w, "Option [describe] does not take a value for [state]");
    return true;
}

static bool check_deletions(const struct group_work *w)
{
    if (has(w, "delete") && !has_groups(w))
        return consumer_groups_complain(w, "Option [delete] takes one of these options: [all-groups], [group]");
    if (has(w, "delete") && has(w, "topic"))
        return consumer_groups_complain(
            w, "The consumer does not support topic-specific offset deletion from a consumer group.");
    if (has(w, "delete-offsets") && (!has(w, "group") || !has(w, "topic")))
        return consumer_groups_complain(w,
                                        "Option [delete-offsets] takes the following options: [all-groups], [group]");
    return true;
}

static bool check_reset(const struct group_work *w)
{
    static const char *const scenarios[] = {"to-offset", "to-datetime", "by-duration", "to-earliest",
                                            "to-latest", "to-current",  "shift-by",    "from-file"};
    if (!has(w, "reset-offsets"))
        return true;
    if (has(w, "dry-run") && has(w, "execute"))
        return consumer_groups_complain(w, "Option [reset-offsets] only accepts one of [execute] and [dry-run]");
    if (!has(w, "dry-run") && !has(w, "execute"))
        fprintf(stderr,
                "WARN: No action will be performed as the --execute option is missing."
                "In a future major release, the default behavior of this command will be to prompt the user before "
                "executing the reset rather than doing a dry run. You should add the --dry-run option explicitly "
                "if you are scripting this command and want to keep the current default behavior without prompting.\n");
    if (!has_groups(w))
        return consumer_groups_complain(w, "Option [reset-offsets] takes one of these options: [all-groups], [group]");
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
        for (size_t k = 0; k < ARRAY_LEN(scenarios); k++)
            if (i != k && !options_not_both(&w->o, scenarios[i], scenarios[k]))
                return false;
    return true;
}

static bool only_with(const struct group_work *w, const char *name, const char *one, const char *other)
{
    if (!has(w, name) || has(w, one) || (other != NULL && has(w, other)))
        return true;
    options_complain(&w->o, "Option(s) [%s] are unavailable given other options on the command line", name);
    return false;
}

static bool consumer_groups_check_options(const struct group_work *w)
{
    return only_with(w, "members", "describe", NULL) && only_with(w, "verbose", "describe", NULL) &&
           only_with(w, "offsets", "describe", NULL) && only_with(w, "state", "describe", "list") &&
           only_with(w, "type", "list", NULL) && options_need(&w->o, "bootstrap-server") && check_describe(w) &&
           check_deletions(w) && check_reset(w) && options_not_both(&w->o, "group", "all-groups") &&
           options_not_both(&w->o, "group", "list") && options_not_both(&w->o, "topic", "describe") &&
           options_not_both(&w->o, "topic", "list");
}

/* ---- What the actions share ---- */

void groups_print_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("\nError: ");
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
}

bool groups_asked(bool ok, struct fail *fail)
{
    return ok || fail_wrap(fail, "java.util.concurrent.ExecutionException");
}

static bool consumer_groups_is_among(struct str_list list, struct str s)
{
    for (int32_t i = 0; i < list.n; i++)
        if (str_eq(list.v[i], s))
            return true;
    return false;
}

bool groups_named(struct group_work *w, struct str_list *out, struct fail *fail)
{
    const struct option_value *given = options_all(&w->o, "group");
    struct group_listing all = {0};
    struct str_list any = {0};
    if (has(w, "all-groups") && !groups_asked(group_admin_list(&w->admin, any, any, &all, fail), fail))
        return false;
    struct str *names = ARENA_ARRAY(&w->arena, struct str, all.n + given->count + 1);
    *out = (struct str_list){names, 0};
    for (int32_t i = 0; i < all.n; i++)
        names[out->n++] = all.v[i].group_id;
    for (int i = 0; i < given->count; i++)
        if (!consumer_groups_is_among(*out, str_of(given->values[i])))
            names[out->n++] = str_of(given->values[i]);
    return true;
}

static bool read_partition(const char *text, int32_t *out)
{
    int64_t v;
    if (!java_integer(text, INT32_MIN, INT32_MAX, &v))
        return false;
    *out = (int32_t)v;
    return true;
}

bool groups_read_partitions(struct group_work *w, const char *word, struct partition_offsets *out)
{
    const char *colon = strchr(word, ':');
    struct str topic = {word, (int32_t)(colon - word)};
    char *list = arena_cstr(&w->arena, str_of(colon + 1)), *save = NULL;
    int32_t partition;
    if (*list == '\0' || strchr(list, ':') != NULL) {
        options_complain(&w->o, "Invalid topic arg '%s', expected topic name and partitions", word);
        return false;
    }
    for (char *p = strtok_r(list, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
        if (!read_partition(p, &partition)) {
            options_complain(&w->o, "Invalid partition '%s' specified in topic arg '%s''", p, word);
            return false;
        }
        partition_offsets_add(out, topic, partition, &w->arena);
    }
    return true;
}

/* ---- list ---- */

struct filter_words {
    const char *const *known;
    int count;
    const char *list_of, *are; /* of Kafka's sentence */
};

static const char *const states[] = {"PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty",
                                     "Assigning",          "Reconciling"};
static const char *const types[] = {"Consumer", "Classic"};

static void complain_of_filter(const struct group_work *w, const struct filter_words *f, const char *text)
{
    struct strbuf valid = {0};
    for (int i = 0; i < f->count; i++)
        strbuf_printf(&valid, "%s%s", i > 0 ? ", " : "", f->known[i]);
    options_complain(&w->o, "Invalid %s list '%s'. Valid %s are: %s", f->list_of, text, f->are, valid.p);
    strbuf_deinit(&valid);
}

/* Words of an option's value, in any case, with commas in between. */
static bool read_filter(struct group_work *w, const char *option, const struct filter_words *f, struct str_list *out)
{
    const char *text = options_get(&w->o, option);
    *out = (struct str_list){0};
    if (text == NULL || *text == '\0')
        return true;
    char *words = arena_cstr(&w->arena, str_of(text)), *save = NULL;
    struct str *found = ARENA_ARRAY(&w->arena, struct str, strlen(text) + 1);
    for (char *word = strtok_r(words, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
        int i = 0;
        word += strspn(word, " ");
        while (i < f->count && (strncasecmp(word, f->known[i], strlen(f->known[i])) != 0 ||
                                strspn(word + strlen(f->known[i]), " ") != strlen(word + strlen(f->known[i]))))
            i++;
        if (i == f->count) {
            complain_of_filter(w, f, text);
            return false;
        }
        found[out->n++] = str_of(f->known[i]);
    }
    out->v = found;
    return true;
}

static void print_groups(const struct group_listing *all, bool with_type, bool with_state)
{
    enum { LEAST = 15, MARGIN = 10 };
    int width = LEAST;
    for (int32_t i = 0; i < all->n; i++)
        width = MAX(width, all->v[i].group_id.len);
    width += MARGIN;
    for (int32_t i = -1; i < all->n; i++) {
        struct str id = i < 0 ? STR_LIT("GROUP") : all->v[i].group_id,
                   type = i < 0 ? STR_LIT("TYPE") : all->v[i].group_type,
                   state = i < 0 ? STR_LIT("STATE") : all->v[i].group_state;
        printf("%-*.*s", width, STR_ARGS(id));
        if (with_type)
            printf(" %-20.*s", STR_ARGS(type.len > 0 ? type : STR_LIT("Unknown")));
        if (with_state)
            printf(" %-20.*s", STR_ARGS(state.len > 0 ? state : STR_LIT("Unknown")));
        putchar('\n');
    }
}

/* Brokers write types in lower case. */
static void name_types(struct group_listing *all)
{
    for (int32_t i = 0; i < all->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(types); k++)
            if (all->v[i].group_type.len == (int32_t)strlen(types[k]) &&
                strncasecmp(all->v[i].group_type.p, types[k], strlen(types[k])) == 0)
                all->v[i].group_type = str_of(types[k]);
}

static bool consumer_groups_run_list(struct group_work *w, struct fail *fail)
{
    struct filter_words known_states = {states, ARRAY_LEN(states), "state", "states"},
                        known_types = {types, ARRAY_LEN(types), "types", "types"};
    struct str_list wanted_states, wanted_types;
    struct group_listing all;
    if (!read_filter(w, "type", &known_types, &wanted_types) ||
        !read_filter(w, "state", &known_states, &wanted_states) ||
        !group_admin_list(&w->admin, wanted_states, wanted_types, &all, fail))
        return false;
    name_types(&all);
    if (has(w, "type") || has(w, "state"))
        print_groups(&all, has(w, "type"), has(w, "state"));
    else
        for (int32_t i = 0; i < all.n; i++)
            printf("%.*s\n", STR_ARGS(all.v[i].group_id));
    return true;
}

/* ---- delete ---- */

static void print_deleted(struct str_list done, const char *between)
{
    for (int32_t i = 0; i < done.n; i++)
        printf("%s%.*s", i > 0 ? between : "", STR_ARGS(done.v[i]));
}

static bool run_delete(struct group_work *w, struct fail *fail)
{
    struct str_list ids;
    if (!groups_named(w, &ids, fail))
        return false;
    struct str *deleted = ARENA_ARRAY(&w->arena, struct str, ids.n + 1);
    struct str_list done = {deleted, 0};
    const char **failures = ARENA_ARRAY(&w->arena, const char *, ids.n + 1);
    group_admin_delete(&w->admin, ids, failures);
    for (int32_t i = 0, failed = 0; i < ids.n; i++) {
        if (failures[i] == NULL) {
            deleted[done.n++] = ids.v[i];
            continue;
        }
        if (failed++ == 0)
            groups_print_error("Deletion of some consumer groups failed:");
        printf("* Group '%.*s' could not be deleted due to: java.util.concurrent.ExecutionException: %s\n",
               STR_ARGS(ids.v[i]), failures[i]);
    }
    if (done.n == ids.n) {
        printf("Deletion of requested consumer groups ('");
        print_deleted(done, ", ");
        printf("') was successful.\n");
    } else if (done.n > 0) { /* the quotes are Kafka's */
        printf("\nThese consumer groups were deleted successfully: '");
        print_deleted(done, "'");
        printf("', '\n");
    }
    return true;
}

/* ---- delete-offsets ---- */

/* What the topic words mean; topics that are not there stay as partition -1 of them, in `missing`. */
static bool find_partitions(struct group_work *w, struct partition_offsets *out, struct partition_offsets *missing,
                            struct fail *fail)
{
    const struct option_value *words = options_all(&w->o, "topic");
    for (int i = 0; i < words->count; i++) {
        const char *word = words->values[i];
        int16_t error = ERR_NONE;
        if (strchr(word, ':') != NULL ? !groups_read_partitions(w, word, out)
                                      : !topic_partitions(&w->admin, str_of(word), out, &error, fail))
            return false;
        if (error != ERR_NONE)
            partition_offsets_add(missing, str_of(word), -1, &w->arena)->error = error;
    }
    partition_offsets_sort(out);
    return true;
}

static int16_t first_error(const struct partition_offsets *list)
{
    for (int32_t i = 0; i < list->n; i++)
        if (list->v[i].error != ERR_NONE)
            return list->v[i].error;
    return ERR_NONE;
}

static void print_verdict(struct group_work *w, const char *group, int16_t error)
{
    switch (error) {
    case ERR_NONE:
        printf("Request succeed for deleting offsets with topic ");
        for (int i = 0; i < options_all(&w->o, "topic")->count; i++)
            printf("%s%s", i > 0 ? ", " : "", options_all(&w->o, "topic")->values[i]);
        printf(" group %s\n", group);
        break;
    case ERR_INVALID_GROUP_ID:
        groups_print_error("'%s' is not valid.", group);
        break;
    case ERR_GROUP_ID_NOT_FOUND:
        groups_print_error("'%s' does not exist.", group);
        break;
    case ERR_GROUP_AUTHORIZATION_FAILED:
        groups_print_error("Access to '%s' is not authorized.", group);
        break;
    case ERR_NON_EMPTY_GROUP:
        groups_print_error("Deleting offsets of a consumer group '%s' is forbidden if the group is not empty.", group);
        break;
    case ERR_GROUP_SUBSCRIBED_TO_TOPIC:
    case ERR_TOPIC_AUTHORIZATION_FAILED:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
        groups_print_error("Encounter some partition level error, see the follow-up details:");
        break;
    default:
        groups_print_error("Encounter some unknown error: %s", error_name(error));
    }
}

/* Rows without an end of line between them: so they are in Kafka 3.9, too. */
static void print_deletion(struct group_work *w, const struct partition_offset *p)
{
    struct str why = ask_exception_text(&w->arena, p->error, STR_NULL),
               status = p->error == ERR_NONE ? STR_LIT("Successful")
                                             : arena_printf(&w->arena, "Error: :%.*s", STR_ARGS(why)),
               number = p->partition >= 0 ? arena_printf(&w->arena, "%" PRId32, p->partition) : STR_LIT("Not Provided");
    printf("%-30.*s %-15.*s %-15.*s", STR_ARGS(p->topic), STR_ARGS(number), STR_ARGS(status));
}

static bool run_delete_offsets(struct group_work *w, struct fail *fail)
{
    const char *group = options_get(&w->o, "group");
    if (options_all(&w->o, "group")->count > 1)
        return fail_set(fail, "Found multiple arguments for option group, but you asked for only one");
    struct partition_offsets list = {0}, missing = {0};
    int16_t error;
    if (!find_partitions(w, &list, &missing, fail) ||
        !group_admin_delete_offsets(&w->admin, str_of(group), &list, &error, fail))
        return false;
    for (int32_t i = 0; error != ERR_NONE && i < list.n; i++)
        list.v[i].error = error;
    print_verdict(w, group, first_error(&list));
    for (int32_t i = 0; i < missing.n; i++)
        partition_offsets_add(&list, missing.v[i].topic, missing.v[i].partition, &w->arena)->error = missing.v[i].error;
    partition_offsets_sort(&list);
    printf("\n%-30s %-15s %-15s", "TOPIC", "PARTITION", "STATUS");
    for (int32_t i = 0; i < list.n; i++)
        print_deletion(w, &list.v[i]);
    return true;
}

/* ---- The tool ---- */

static const struct action {
    const char *name;
    bool (*run)(struct group_work *w, struct fail *fail);
} actions[] = {{"list", consumer_groups_run_list},
               {"describe", groups_describe},
               {"delete", run_delete},
               {"reset-offsets", groups_reset},
               {"delete-offsets", run_delete_offsets}};

static bool consumer_groups_run(struct group_work *w, struct fail *fail)
{
    const struct action *action = NULL;
    int count = 0;
    if (!consumer_groups_check_options(w))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (has(w, actions[i].name)) {
            action = &actions[i];
            count++;
        }
    if (count != 1)
        return consumer_groups_complain(
            w, "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, "
               "--delete-offsets");
    if (!options_number(&w->o, "timeout", 0, INT32_MAX, &w->admin.timeout_ms))
        return false;
    w->admin.arena = &w->arena;
    w->admin.asker = asker_new(options_get(&w->o, "bootstrap-server"), options_get(&w->o, "command-config"), fail);
    if (w->admin.asker != NULL)
        ask_limit(w->admin.asker, w->admin.timeout_ms);
    bool ok = w->admin.asker != NULL && action->run(w, fail);
    asker_free(w->admin.asker);
    return ok;
}

/* Like Kafka's, it ends with 0 after a failure, unless it is one of usage. */
int tool_consumer_groups(int argc, char **argv)
{
    struct group_work w = {0};
    struct fail fail = {.text = ""};
    int code = OPTIONS_PARSE(&w.o, specs, argc, argv, purpose);
    if (code < 0) {
        code = consumer_groups_run(&w, &fail) || fail.text[0] != '\0' ? 0 : 1;
        if (fail.text[0] != '\0')
            groups_print_error("Executing consumer group command failed due to %s", fail.text);
    }
    arena_deinit(&w.arena);
    options_free(&w.o);
    return code;
}
