/* kafka-reassign-partitions: moves partitions to other brokers, and replicas to other log directories. */
#include "tools/reassign/reassign.h"

#include <inttypes.h>

#include "controller/placement.h"
#include "tools/kit/ask.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"verify", OPTION_FLAG, NULL,
     "Tell whether the reassignment of --reassignment-json-file is complete. If it is, its throttles are removed.",
     NULL},
    {"generate", OPTION_FLAG, NULL,
     "Propose a reassignment of the topics of --topics-to-move-json-file to the brokers of --broker-list. Nothing is moved.",
     NULL},
    {"execute", OPTION_FLAG, NULL, "Start the reassignment of --reassignment-json-file.", NULL},
    {"cancel", OPTION_FLAG, NULL, "Cancel the reassignments that go on of the partitions of --reassignment-json-file.",
     NULL},
    {"list", OPTION_FLAG, NULL, "List the reassignments that go on.", NULL},
    {"bootstrap-server", OPTION_VALUE, "Server(s) to use for bootstrapping",
     "REQUIRED unless --zookeeper is given: the server(s) to use for bootstrapping.", NULL},
    {"zookeeper", OPTION_VALUE, "urls",
     "The ZooKeeper connection in the form host:port,host:port/chroot, for --verify, --generate and --execute: reads and writes znodes instead of asking a broker. Has no effect with --bootstrap-server.",
     NULL},
    {"command-config", OPTION_VALUE, "Admin client property file",
     "Property file with configs for the admin client; only with --bootstrap-server.", NULL},
    {"reassignment-json-file", OPTION_VALUE, "manual assignment json file path",
     "The partitions and where they are to be, as JSON: {\"version\":1, \"partitions\":[{\"topic\":\"foo\", \"partition\":1, \"replicas\":[1,2,3], \"log_dirs\":[\"dir1\",\"any\",\"dir3\"]}]}. The log directories may be left out, or be \"any\".",
     NULL},
    {"topics-to-move-json-file", OPTION_VALUE, "topics to reassign json file path",
     "The topics for --generate, as JSON: {\"version\":1, \"topics\":[{\"topic\":\"foo\"},{\"topic\":\"foo1\"}]}.",
     NULL},
    {"broker-list", OPTION_VALUE, "brokerlist", "The brokers for --generate, in the form 0,1,2.", NULL},
    {"disable-rack-aware", OPTION_FLAG, NULL, "With --generate: do not spread replicas over racks.", NULL},
    {"throttle", OPTION_VALUE, "throttle",
     "With --execute: the most bytes a second that are moved between brokers, on each of them. Can be changed by executing the same again with --additional.",
     "-1"},
    {"replica-alter-log-dirs-throttle", OPTION_VALUE, "replicaAlterLogDirsThrottle",
     "With --execute: the most bytes a second that are moved between log directories, on each broker.", "-1"},
    {"timeout", OPTION_VALUE, "timeout", "How many ms to wait until moves between log directories can begin.", "10000"},
    {"additional", OPTION_FLAG, NULL, "With --execute: do it although other reassignments go on.", NULL},
    {"preserve-throttles", OPTION_FLAG, NULL, "With --verify or --cancel: leave the throttles as they are.", NULL},
};

static const char purpose[] = "This tool helps to move topic partitions between replicas.";

struct job {
    const struct options *o;
    struct reassign_backend *b;
    int64_t throttle, dirs_throttle; /* bytes a second; negative: none */
    int64_t timeout_ms;
    struct placements targets;
    struct dir_moves moves;
    bool explained; /* why it failed stands on standard output already */
};

/* ---- Arguments ---- */

static const struct action {
    const char *name;
    const char *needs[3], *takes[8]; /* NULL at the end */
} actions[] = {
    {"generate",
     {"topics-to-move-json-file", "broker-list"},
     {"bootstrap-server", "zookeeper", "command-config", "disable-rack-aware"}},
    {"execute",
     {"reassignment-json-file"},
     {"bootstrap-server", "zookeeper", "command-config", "additional", "throttle", "replica-alter-log-dirs-throttle",
      "timeout"}},
    {"verify", {"reassignment-json-file"}, {"bootstrap-server", "zookeeper", "command-config", "preserve-throttles"}},
    {"cancel", {"reassignment-json-file"}, {"bootstrap-server", "command-config", "preserve-throttles", "timeout"}},
    {"list", {NULL}, {"bootstrap-server", "command-config"}},
};

static bool reassign_is_among(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static const struct action *find_action(const struct options *o)
{
    const struct action *found = NULL;
    int given = 0;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (options_has(o, actions[i].name)) {
            found = &actions[i];
            given++;
        }
    if (given == 1)
        return found;
    options_complain(o, "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list");
    return NULL;
}

static bool read_numbers(struct job *j)
{
    return options_number(j->o, "throttle", INT64_MIN, INT64_MAX, &j->throttle) &&
           options_number(j->o, "replica-alter-log-dirs-throttle", INT64_MIN, INT64_MAX, &j->dirs_throttle) &&
           options_number(j->o, "timeout", INT64_MIN, INT64_MAX, &j->timeout_ms);
}

static bool reassign_check_arguments(const struct options *o)
{
    static const char *const by_requests_only[] = {"command-config", "additional", "replica-alter-log-dirs-throttle",
                                                   "timeout"};
    const struct action *action = find_action(o);
    if (action == NULL)
        return false;
    if (!options_has(o, "bootstrap-server") && !options_has(o, "zookeeper")) {
        options_complain(o, "Please specify --bootstrap-server");
        return false;
    }
    for (const char *const *need = action->needs; *need != NULL; need++)
        if (!options_need(o, *need))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const char *name = specs[i].name;
        if (!options_has(o, name) || strcmp(name, action->name) == 0 || reassign_is_among(name, action->needs) ||
            reassign_is_among(name, action->takes))
            continue;
        options_complain(o, "Option \"[%s]\" can't be used with action \"[%s]\"", name, action->name);
        return false;
    }
    for (size_t i = 0; !options_has(o, "bootstrap-server") && i < ARRAY_LEN(by_requests_only); i++)
        if (options_has(o, by_requests_only[i])) {
            options_complain(o, "--bootstrap-server must be specified when using %s", by_requests_only[i]);
            return false;
        }
    return true;
}

/* ---- What all actions need ---- */

static bool reassign_goes_by_znodes(const struct job *j)
{
    return j->b->cancel == NULL;
}

static bool read_targets(struct job *j, struct fail *fail)
{
    if (!reassign_read(&j->b->arena, options_get(j->o, "reassignment-json-file"), &j->targets, &j->moves, fail))
        return false;
    if (reassign_goes_by_znodes(j) && j->moves.n > 0)
        return fail_set(fail, "bootstrap-server needs to be provided when replica reassignments are present.");
    return true;
}

static bool are_same(const struct placement *x, const struct placement *y)
{
    return x->partition == y->partition && str_eq(x->topic, y->topic);
}

/* Of partitions that come more than once, the last counts, where nobody minds. */
static void reassign_drop_repeated(struct placements *p)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < p->n; i++)
        if (i + 1 == p->n || !are_same(&p->v[i], &p->v[i + 1]))
            p->v[kept++] = p->v[i];
    p->n = kept;
}

static void print_partition(const struct placement *p)
{
    printf("%.*s-%" PRId32, STR_ARGS(p->topic), p->partition);
}

static void print_partitions(const struct placements *p)
{
    for (int32_t i = 0; i < p->n; i++) {
        if (i > 0)
            putchar(',');
        print_partition(&p->v[i]);
    }
    putchar('\n');
}

static void reassign_print_ids(struct int_list ids)
{
    for (int32_t i = 0; i < ids.n; i++)
        printf("%s%" PRId32, i > 0 ? "," : "", ids.v[i]);
}

/* Prints what was refused under the line `what`. */
static bool print_errors(struct job *j, const struct placements *p, const char *what)
{
    for (int32_t i = 0; i < p->n; i++) {
        const struct placement *at = &p->v[i];
        if (at->error == 0)
            continue;
        if (!j->explained)
            puts(what);
        j->explained = true;
        print_partition(at);
        struct str text = ask_error_text(at->error, at->message);
        printf(": %.*s\n", STR_ARGS(text));
    }
    return !j->explained;
}

static bool not_found(struct job *j, struct fail *fail, struct str message)
{
    struct str text = ask_exception_text(&j->b->arena, ERR_UNKNOWN_TOPIC_OR_PARTITION, message);
    return fail_set(fail, "%.*s", STR_ARGS(text));
}

/* The topics' partitions; fails if one of the topics does not exist. */
static bool reassign_describe(struct job *j, const struct str *topics, int32_t count, struct placements *out,
                              struct fail *fail)
{
    if (!j->b->describe(j->b, topics, count, out, fail))
        return false;
    for (int32_t i = 0; i < count; i++)
        if (placements_find(out, topics[i], 0) == NULL)
            return not_found(j, fail, arena_printf(&j->b->arena, "Topic %.*s not found.", STR_ARGS(topics[i])));
    return true;
}

/* ---- --generate ---- */

static bool read_broker_list(struct job *j, struct int_list *out, struct fail *fail)
{
    const char *given = options_get(j->o, "broker-list");
    struct java_words words = {arena_cstr(&j->b->arena, str_of(given)), ',', false};
    *out = (struct int_list){ARENA_ARRAY(&j->b->arena, int32_t, strlen(given) + 1), 0};
    for (char *word; (word = java_words_next(&words)) != NULL;) {
        int64_t id;
        if (!java_integer(word, INT32_MIN, INT32_MAX, &id))
            return fail_set(fail, "For input string: \"%s\"", word);
        if (int_list_has(*out, (int32_t)id))
            return fail_set(fail, "Broker list contains duplicate entries: [%" PRId64 "]", id);
        out->v[out->n++] = (int32_t)id;
    }
    return true;
}

/* Those of the list that are alive, with their racks if these count. */
static bool reassign_choose_brokers(struct job *j, struct int_list wanted, struct registration **out, int32_t *count,
                                    struct fail *fail)
{
    int32_t all, with_rack = 0;
    bool by_rack = !options_has(j->o, "disable-rack-aware");
    if (!j->b->brokers(j->b, out, &all, fail))
        return false;
    *count = 0;
    for (int32_t i = 0; i < all; i++) {
        if (!int_list_has(wanted, (*out)[i].id))
            continue;
        struct registration *r = &(*out)[(*count)++];
        *r = (*out)[i];
        if (!by_rack)
            r->rack = NULL;
        with_rack += r->rack != NULL;
    }
    if (with_rack > 0 && with_rack < *count)
        return fail_set(fail, "Not all brokers have rack information. Add --disable-rack-aware in command line to make "
                              "replica assignment without rack information.");
    return true;
}

static bool propose(struct job *j, const struct placements *current, const struct registration *brokers,
                    int32_t broker_count, struct placements *out, struct fail *fail)
{
    struct arena *a = &j->b->arena;
    *out = (struct placements){arena_copy(a, current->v, sizeof(*current->v) * (size_t)current->n), current->n};
    struct int_list *placed = ARENA_ARRAY(a, struct int_list, current->n + 1);
    for (int32_t i = 0, end; i < current->n; i = end) {
        struct str message = STR_NULL;
        for (end = i + 1; end < current->n && str_eq(current->v[end].topic, current->v[i].topic);)
            end++;
        if (replicas_place(a, brokers, broker_count, end - i, current->v[i].replicas.n, -1, 0, placed, &message) !=
            ERR_NONE)
            return fail_set(fail, "%.*s", STR_ARGS(message));
        for (int32_t p = i; p < end; p++)
            out->v[p].replicas = placed[p - i];
    }
    return true;
}

static bool generate(struct job *j, struct fail *fail)
{
    struct int_list wanted;
    struct str *topics;
    struct registration *brokers;
    struct placements current, proposed;
    int32_t topic_count, broker_count;
    if (!read_broker_list(j, &wanted, fail) ||
        !reassign_read_topics(&j->b->arena, options_get(j->o, "topics-to-move-json-file"), &topics, &topic_count, fail))
        return false;
    for (int32_t i = 0; i < topic_count; i++)
        for (int32_t k = 0; k < i; k++)
            if (str_eq(topics[i], topics[k]))
                return fail_set(fail, "List of topics to reassign contains duplicate entries: [%.*s]",
                                STR_ARGS(topics[i]));
    if (!reassign_describe(j, topics, topic_count, &current, fail) ||
        !reassign_choose_brokers(j, wanted, &brokers, &broker_count, fail) ||
        !propose(j, &current, brokers, broker_count, &proposed, fail))
        return false;
    puts("Current partition replica assignment");
    reassign_print(&current);
    puts("\nProposed partition reassignment configuration");
    reassign_print(&proposed);
    return true;
}

/* ---- --execute ---- */

static void add_repeated_ids(struct strbuf *b, const struct placement *p)
{
    bool any = false;
    for (int32_t i = 0; i < p->replicas.n; i++) {
        int32_t earlier = 0;
        for (int32_t k = 0; k < i; k++)
            earlier += p->replicas.v[k] == p->replicas.v[i];
        if (earlier != 1) /* each is named once */
            continue;
        if (!any)
            strbuf_printf(b, "%s%.*s-%" PRId32 " contains multiple entries for ", b->len > 0 ? ". " : "",
                          STR_ARGS(p->topic), p->partition);
        strbuf_printf(b, "%s%" PRId32, any ? "," : "", p->replicas.v[i]);
        any = true;
    }
}

static bool check_repetitions(const struct placements *p, struct fail *fail)
{
    struct strbuf partitions = {0}, ids = {0};
    for (int32_t i = 0; i < p->n; i++) {
        const struct placement *at = &p->v[i];
        if (i > 0 && are_same(at, at - 1) && (i == 1 || !are_same(at, at - 2)))
            strbuf_printf(&partitions, "%s%.*s-%" PRId32, partitions.len > 0 ? "," : "", STR_ARGS(at->topic),
                          at->partition);
        add_repeated_ids(&ids, at);
    }
    bool ok = partitions.len == 0 && ids.len == 0;
    if (partitions.len > 0)
        fail_set(fail, "Partition reassignment contains duplicate topic partitions: %s", partitions.p);
    else if (ids.len > 0)
        fail_set(fail, "Partition replica lists may not contain duplicate entries: %s", ids.p);
    strbuf_deinit(&partitions);
    strbuf_deinit(&ids);
    return ok;
}

static bool check_targets(const struct placements *p, struct fail *fail)
{
    if (p->n == 0)
        return fail_set(fail, "Partition reassignment list cannot be empty");
    for (int32_t i = 0; i < p->n; i++)
        if (p->v[i].replicas.n == 0)
            return fail_set(fail, "Partition replica list cannot be empty");
    return check_repetitions(p, fail);
}

static bool check_none_goes_on(struct job *j, const struct placements *ongoing)
{
    if (ongoing->n == 0 || options_has(j->o, "additional"))
        return true;
    puts("Cannot execute because there is an existing partition assignment.  Use --additional to override this and "
         "create a new partition assignment in addition to the existing one. The --additional flag can also be used to "
         "change the throttle by resubmitting the current reassignment.");
    j->explained = true;
    return false;
}

static bool check_brokers(struct job *j, struct fail *fail)
{
    struct registration *live;
    int32_t count;
    if (!j->b->brokers(j->b, &live, &count, fail))
        return false;
    for (int32_t i = 0; i < j->targets.n; i++)
        for (int32_t k = 0; k < j->targets.v[i].replicas.n; k++) {
            bool known = false;
            for (int32_t n = 0; n < count; n++)
                known |= live[n].id == j->targets.v[i].replicas.v[k];
            if (!known)
                return fail_set(fail, "Unknown broker id %" PRId32, j->targets.v[i].replicas.v[k]);
        }
    return true;
}

/* Where the partitions are now. */
static bool find_current(struct job *j, struct placements *out, struct fail *fail)
{
    struct placements all;
    struct strbuf missing = {0};
    int32_t count;
    const struct str *topics = placements_topics(&j->b->arena, &j->targets, &count);
    if (!reassign_describe(j, topics, count, &all, fail))
        return false;
    *out = (struct placements){ARENA_ARRAY(&j->b->arena, struct placement, j->targets.n + 1), 0};
    for (int32_t i = 0; i < j->targets.n; i++) {
        const struct placement *t = &j->targets.v[i], *found = placements_find(&all, t->topic, t->partition);
        if (found != NULL)
            out->v[out->n++] = *found;
        else
            strbuf_printf(&missing, "%s%.*s-%" PRId32, missing.len > 0 ? ", " : "", STR_ARGS(t->topic), t->partition);
    }
    bool ok = missing.len == 0;
    if (!ok)
        not_found(j, fail, arena_printf(&j->b->arena, "Unable to find partition: %s", missing.p));
    strbuf_deinit(&missing);
    return ok;
}

static bool throttle(struct job *j, const struct placements *ongoing, const struct placements *current,
                     struct fail *fail)
{
    if (j->throttle >= 0 || j->dirs_throttle >= 0)
        puts("Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is "
             "removed.");
    return (j->throttle < 0 || reassign_throttle(j->b, ongoing, &j->targets, current, j->throttle, fail)) &&
           (j->dirs_throttle < 0 || reassign_throttle_dirs(j->b, &j->moves, j->dirs_throttle, fail));
}

static bool execute(struct job *j, struct fail *fail)
{
    struct placements ongoing, current;
    if (!read_targets(j, fail) || !check_targets(&j->targets, fail) || !j->b->ongoing(j->b, &ongoing, fail) ||
        !check_none_goes_on(j, &ongoing) || !check_brokers(j, fail) || !find_current(j, &current, fail))
        return false;
    puts("Current partition replica assignment\n");
    reassign_print(&current);
    puts("\nSave this to use as the --reassignment-json-file option during rollback");
    if (!throttle(j, &ongoing, &current, fail) || !j->b->start(j->b, &j->targets, fail) ||
        !print_errors(j, &j->targets, "Error reassigning partition(s):"))
        return false;
    printf("Successfully started partition reassignment%s for ", j->targets.n == 1 ? "" : "s");
    print_partitions(&j->targets);
    return j->moves.n == 0 || reassign_move_dirs(j->b, &j->moves, j->timeout_ms, &j->explained, fail);
}

/* ---- --verify ---- */

static void reassign_print_state(const struct placement *target, const struct placement *now, bool goes_on)
{
    struct int_list replicas = now != NULL ? now->replicas : (struct int_list){0};
    bool there = !goes_on && int_list_eq(replicas, target->replicas);
    printf(goes_on || there ? "Reassignment of partition " : "There is no active reassignment of partition ");
    print_partition(target);
    if (goes_on) {
        puts(" is still in progress.");
    } else if (there) {
        puts(" is completed.");
    } else {
        printf(", but replica set is ");
        reassign_print_ids(replicas);
        printf(" rather than ");
        reassign_print_ids(target->replicas);
        puts(".");
    }
}

/* Those of the reassignments that the file is about. */
static struct placements reassign_of_targets(struct job *j, const struct placements *ongoing)
{
    struct placements found = {ARENA_ARRAY(&j->b->arena, struct placement, ongoing->n + 1), 0};
    for (int32_t i = 0; i < ongoing->n; i++)
        if (placements_find(&j->targets, ongoing->v[i].topic, ongoing->v[i].partition) != NULL)
            found.v[found.n++] = ongoing->v[i];
    return found;
}

static bool reassign_verify(struct job *j, struct fail *fail)
{
    struct placements ongoing, current;
    int32_t count;
    bool moves_done = true;
    if (!read_targets(j, fail))
        return false;
    reassign_drop_repeated(&j->targets);
    if (reassign_goes_by_znodes(j))
        puts("Warning: because you are using the deprecated --zookeeper option, the results may be incomplete.  Use "
             "--bootstrap-server instead for more accurate results.");
    const struct str *topics = placements_topics(&j->b->arena, &j->targets, &count);
    if (!j->b->ongoing(j->b, &ongoing, fail) || !j->b->describe(j->b, topics, count, &current, fail))
        return false;
    puts("Status of partition reassignment:");
    for (int32_t i = 0; i < j->targets.n; i++) {
        const struct placement *t = &j->targets.v[i];
        reassign_print_state(t, placements_find(&current, t->topic, t->partition),
                             placements_find(&ongoing, t->topic, t->partition) != NULL);
    }
    if (!reassign_goes_by_znodes(j)) {
        if (!reassign_verify_dirs(j->b, &j->moves, &moves_done, fail))
            return false;
        struct placements moving = reassign_of_targets(j, &ongoing);
        reassign_print_progress(j->b, &moving, &j->moves);
    }
    return ongoing.n > 0 || !moves_done || options_has(j->o, "preserve-throttles") ||
           reassign_unthrottle(j->b, &j->targets, fail);
}

/* ---- --cancel and --list ---- */

/* Kafka 3.9's own tool leaves out those that only add replicas, by a slip; versions before it did not. */
static bool cancel_partitions(struct job *j, struct fail *fail)
{
    struct placements ongoing, which = {ARENA_ARRAY(&j->b->arena, struct placement, j->targets.n + 1), 0};
    if (!j->b->ongoing(j->b, &ongoing, fail))
        return false;
    for (int32_t i = 0; i < j->targets.n; i++)
        if (placements_find(&ongoing, j->targets.v[i].topic, j->targets.v[i].partition) != NULL)
            which.v[which.n++] = j->targets.v[i];
    if (which.n == 0) {
        puts("None of the specified partition reassignments are active.");
        return true;
    }
    if (!j->b->cancel(j->b, &which, fail))
        return false;
    int32_t errors = 0;
    for (int32_t i = 0; i < which.n; i++)
        errors += which.v[i].error != ERR_NONE;
    if (!print_errors(j, &which,
                      errors == 1 ? "Error cancelling partition reassignment for:"
                                  : "Error cancelling partition reassignments for:"))
        return false;
    printf("Successfully cancelled partition reassignment%s for: ", which.n == 1 ? "" : "s");
    print_partitions(&which);
    return true;
}

static bool cancel(struct job *j, struct fail *fail)
{
    if (!read_targets(j, fail))
        return false;
    reassign_drop_repeated(&j->targets);
    return cancel_partitions(j, fail) && reassign_cancel_dirs(j->b, &j->moves, j->timeout_ms, &j->explained, fail) &&
           (options_has(j->o, "preserve-throttles") || reassign_unthrottle(j->b, &j->targets, fail));
}

static bool reassign_list(struct job *j, struct fail *fail)
{
    struct placements ongoing;
    if (!j->b->ongoing(j->b, &ongoing, fail))
        return false;
    puts(ongoing.n > 0 ? "Current partition reassignments:" : "No partition reassignments found.");
    for (int32_t i = 0; i < ongoing.n; i++) {
        const struct placement *p = &ongoing.v[i];
        print_partition(p);
        printf(": replicas: ");
        reassign_print_ids(p->replicas);
        printf(p->adding.n > 0 ? ". adding: " : "");
        reassign_print_ids(p->adding);
        printf(p->removing.n > 0 ? ". removing: " : "");
        reassign_print_ids(p->removing);
        puts(".");
    }
    return true;
}

/* ---- The tool ---- */

static bool reassign_act(struct job *j, struct fail *fail)
{
    if (options_has(j->o, "generate"))
        return generate(j, fail);
    if (options_has(j->o, "execute"))
        return execute(j, fail);
    if (options_has(j->o, "verify"))
        return reassign_verify(j, fail);
    if (options_has(j->o, "cancel"))
        return cancel(j, fail);
    return reassign_list(j, fail);
}

static int reassign_run(struct job *j)
{
    struct fail fail = {.text = ""};
    const char *bootstrap = options_get(j->o, "bootstrap-server");
    if (bootstrap == NULL)
        puts("Warning: --zookeeper is deprecated, and will be removed in a future version of Kafka.");
    j->b = bootstrap != NULL ? reassign_by_requests(bootstrap, options_get(j->o, "command-config"), &fail)
                             : reassign_by_znodes(options_get(j->o, "zookeeper"), &fail);
    bool ok = j->b != NULL && reassign_act(j, &fail);
    if (!ok && !j->explained)
        printf("Error: %s\n", fail.text);
    if (j->b != NULL)
        j->b->close(j->b);
    return ok ? 0 : 1;
}

int tool_reassign_partitions(int argc, char **argv)
{
    struct options o;
    struct job j = {.o = &o};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    if (code < 0)
        code = reassign_check_arguments(&o) && read_numbers(&j) ? reassign_run(&j) : 1;
    options_free(&o);
    return code;
}
