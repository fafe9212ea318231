/* zookeeper-shell: reads and writes znodes, by one command on the command line or by lines from standard input. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "tools/cluster/shell_words.h"
#include "tools/kit/tool.h"
#include "tools/kit/zk_session.h"

enum { MOST_WORDS = 16 }; /* no command takes as many */

struct shell {
    struct zk_session *session;
    int word_count;
    char *words[MOST_WORDS + 1]; /* the command, and what is no flag; NULL behind them */
    bool given[UINT8_MAX + 1];   /* flags, by their letter */
    int32_t version;             /* -v; ZK_ANY_VERSION: not given */
    bool quit;
};

/* ---- Operations ---- */

static const char *shell_why(enum zk_result r)
{
    switch (r) {
    case ZK_NO_NODE:
        return "Node does not exist";
    case ZK_NODE_EXISTS:
        return "Node already exists";
    case ZK_NOT_EMPTY:
        return "Node not empty";
    case ZK_BAD_VERSION:
        return "version No is not valid";
    case ZK_NO_AUTH:
        return "Insufficient permission";
    case ZK_INVALID_ACL:
        return "Acl is not valid";
    case ZK_SESSION_EXPIRED:
        return "Session expired";
    default:
        return "ZooKeeper refuses";
    }
}

static int shell_refuse(enum zk_result r, const char *path)
{
    fprintf(stderr, "%s: %s\n", shell_why(r), path);
    return 1;
}

static void shell_print_time(const char *label, int64_t ms)
{
    char text[64];
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    strftime(text, sizeof(text), "%a %b %d %H:%M:%S %Z %Y", localtime_r(&seconds, &tm));
    printf("%s = %s\n", label, text);
}

static void print_stat(const struct zk_stat *s)
{
    printf("cZxid = 0x%" PRIx64 "\n", (uint64_t)s->czxid);
    shell_print_time("ctime", s->ctime_ms);
    printf("mZxid = 0x%" PRIx64 "\n", (uint64_t)s->mzxid);
    shell_print_time("mtime", s->mtime_ms);
    printf("pZxid = 0x%" PRIx64 "\ncversion = %" PRId32 "\ndataVersion = %" PRId32 "\naclVersion = %" PRId32
           "\nephemeralOwner = 0x%" PRIx64 "\ndataLength = %" PRId32 "\nnumChildren = %" PRId32 "\n",
           (uint64_t)s->pzxid, s->children_version, s->version, s->acl_version, (uint64_t)s->ephemeral_owner,
           s->data_length, s->child_count);
}

static int shell_by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The sorted children; the batch holds them, and the caller frees it. NULL after a message. */
static struct zk_batch *children_of(struct shell *s, const char *path)
{
    struct zk_batch *b = zk_session_batch(s->session);
    zk_children(b, path, false);
    zk_exists(b, path, false);
    zk_session_run(s->session, b);
    if (b->first->result == ZK_OK) {
        if (b->first->child_count > 0)
            qsort(b->first->children, (size_t)b->first->child_count, sizeof(struct str), shell_by_text);
        return b;
    }
    shell_refuse(b->first->result, path);
    zk_batch_free(b);
    return NULL;
}

static char *child_path(const char *parent, struct str child)
{
    return xasprintf("%s/%.*s", strcmp(parent, "/") == 0 ? "" : parent, STR_ARGS(child));
}

/* ---- Commands ---- */

static int shell_list_all(struct shell *s, const char *path)
{
    int code = 0;
    struct zk_batch *b = children_of(s, path);
    if (b == NULL)
        return 1;
    puts(path);
    for (int32_t i = 0; i < b->first->child_count; i++) {
        char *child = child_path(path, b->first->children[i]);
        code |= shell_list_all(s, child);
        free(child);
    }
    zk_batch_free(b);
    return code;
}

static int do_ls(struct shell *s)
{
    bool with_stat = s->given['s'] || strcmp(s->words[0], "ls2") == 0;
    if (s->given['R'])
        return shell_list_all(s, s->words[1]);
    struct zk_batch *b = children_of(s, s->words[1]);
    if (b == NULL)
        return 1;
    putchar('[');
    for (int32_t i = 0; i < b->first->child_count; i++)
        printf("%s%.*s", i > 0 ? ", " : "", STR_ARGS(b->first->children[i]));
    puts("]");
    if (with_stat)
        print_stat(&zk_find(b, ZK_EXISTS, s->words[1])->stat);
    zk_batch_free(b);
    return 0;
}

/* Data is printed as it is: there may be a NUL in it. */
static void shell_print_data(struct bytes data)
{
    if (data.p == NULL)
        fputs("null", stdout);
    else
        fwrite(data.p, 1, (size_t)data.len, stdout);
    putchar('\n');
}

static int do_get(struct shell *s)
{
    bool stat_only = strcmp(s->words[0], "stat") == 0;
    struct zk_batch *b = zk_session_batch(s->session);
    zk_get(b, s->words[1], false);
    zk_session_run(s->session, b);
    const struct zk_op *op = b->first;
    int code = op->result == ZK_OK ? 0 : shell_refuse(op->result, s->words[1]);
    if (code == 0 && !stat_only)
        shell_print_data(op->value);
    if (code == 0 && (s->given['s'] || stat_only))
        print_stat(&op->stat);
    zk_batch_free(b);
    return code;
}

static struct bytes shell_data(const struct shell *s)
{
    struct str text = str_of(s->word_count > 2 ? s->words[2] : NULL);
    return (struct bytes){(const uint8_t *)text.p, text.len};
}

static int do_create(struct shell *s)
{
    enum zk_create_mode mode = s->given['e'] && s->given['s'] ? ZK_EPHEMERAL_SEQUENTIAL
                               : s->given['e']                ? ZK_EPHEMERAL
                               : s->given['s']                ? ZK_SEQUENTIAL
                                                              : ZK_PERSISTENT;
    struct zk_batch *b = zk_session_batch(s->session);
    struct zk_op *op = zk_create(b, s->words[1], shell_data(s), mode);
    bool ok = s->word_count < 4 || shell_read_acls(s->words[3], &b->arena, &op->acls, &op->acl_count);
    if (ok)
        zk_session_run(s->session, b);
    int code = ok && op->result == ZK_OK ? 0 : 1;
    if (ok && code != 0)
        shell_refuse(op->result, s->words[1]);
    if (code == 0)
        printf("Created %s\n", op->created);
    zk_batch_free(b);
    return code;
}

static int do_set(struct shell *s)
{
    struct zk_batch *b = zk_session_batch(s->session);
    zk_set(b, s->words[1], shell_data(s), s->version);
    zk_session_run(s->session, b);
    int code = b->first->result == ZK_OK ? 0 : shell_refuse(b->first->result, s->words[1]);
    if (code == 0 && s->given['s'])
        print_stat(&b->first->stat);
    zk_batch_free(b);
    return code;
}

static int do_get_acl(struct shell *s)
{
    struct zk_batch *b = zk_session_batch(s->session);
    zk_get_acl(b, s->words[1]);
    zk_session_run(s->session, b);
    const struct zk_op *op = b->first;
    int code = op->result == ZK_OK ? 0 : shell_refuse(op->result, s->words[1]);
    for (int32_t i = 0; code == 0 && i < op->acl_count; i++)
        shell_print_acl(&op->acls[i]);
    if (code == 0 && s->given['s'])
        print_stat(&op->stat);
    zk_batch_free(b);
    return code;
}

struct shell_acls {
    const struct zk_acl *v;
    int32_t n;
};

static int shell_set_acls(struct shell *s, const char *path, struct shell_acls acls)
{
    struct zk_batch *b = zk_session_batch(s->session);
    const struct zk_op *op = zk_set_acl(b, path, acls.v, acls.n, s->version), *after = zk_exists(b, path, false);
    zk_session_run(s->session, b);
    int code = op->result == ZK_OK ? 0 : shell_refuse(op->result, path);
    if (code == 0 && s->given['s'])
        print_stat(&after->stat);
    zk_batch_free(b);
    return code;
}

/* The children are looked up first: with the new ACL, that might not be allowed any more. */
static int shell_set_all_acls(struct shell *s, const char *path, struct shell_acls acls)
{
    struct zk_batch *b = children_of(s, path);
    if (b == NULL)
        return 1;
    int code = shell_set_acls(s, path, acls);
    for (int32_t i = 0; i < b->first->child_count; i++) {
        char *child = child_path(path, b->first->children[i]);
        code |= shell_set_all_acls(s, child, acls);
        free(child);
    }
    zk_batch_free(b);
    return code;
}

static int do_set_acl(struct shell *s)
{
    struct arena arena = {0};
    struct shell_acls acls;
    int code = !shell_read_acls(s->words[2], &arena, &acls.v, &acls.n) ? 1
               : s->given['R']                                         ? shell_set_all_acls(s, s->words[1], acls)
                                                                       : shell_set_acls(s, s->words[1], acls);
    arena_deinit(&arena);
    return code;
}

static int shell_delete_one(struct shell *s, const char *path, int32_t version)
{
    struct zk_batch *b = zk_session_batch(s->session);
    zk_delete(b, path, version);
    zk_session_run(s->session, b);
    int code = b->first->result == ZK_OK ? 0 : shell_refuse(b->first->result, path);
    zk_batch_free(b);
    return code;
}

static int do_delete(struct shell *s)
{
    return shell_delete_one(s, s->words[1], s->version);
}

static int delete_tree(struct shell *s, const char *path)
{
    int code = 0;
    struct zk_batch *b = children_of(s, path);
    if (b == NULL)
        return 1;
    for (int32_t i = 0; i < b->first->child_count; i++) {
        char *child = child_path(path, b->first->children[i]);
        code |= delete_tree(s, child);
        free(child);
    }
    zk_batch_free(b);
    return code | shell_delete_one(s, path, ZK_ANY_VERSION);
}

static int do_deleteall(struct shell *s)
{
    return delete_tree(s, s->words[1]);
}

static int count_all(struct shell *s, const char *path, int *count)
{
    int code = 0;
    struct zk_batch *b = children_of(s, path);
    if (b == NULL)
        return 1;
    for (int32_t i = 0; i < b->first->child_count; i++) {
        char *child = child_path(path, b->first->children[i]);
        (*count)++;
        code |= count_all(s, child, count);
        free(child);
    }
    zk_batch_free(b);
    return code;
}

static int do_count(struct shell *s)
{
    int count = 0, code = count_all(s, s->words[1], &count);
    if (code == 0)
        printf("%d\n", count);
    return code;
}

static int do_quit(struct shell *s)
{
    s->quit = true;
    return 0;
}

static int do_help(struct shell *s);

static const struct command {
    const char *name, *usage;
    const char *flags; /* as getopt() has them */
    int least, most;   /* words, its name included */
    int (*run)(struct shell *s);
} commands[] = {
    {"ls", "ls [-s] [-R] path", "sR", 2, 2, do_ls},
    {"ls2", "ls2 path", "", 2, 2, do_ls},
    {"get", "get [-s] path", "s", 2, 2, do_get},
    {"stat", "stat path", "", 2, 2, do_get},
    {"create", "create [-s] [-e] path [data] [acl]", "se", 2, 4, do_create},
    {"set", "set [-s] [-v version] path data", "sv:", 3, 3, do_set},
    {"getAcl", "getAcl [-s] path", "s", 2, 2, do_get_acl},
    {"setAcl", "setAcl [-s] [-v version] [-R] path acl", "sv:R", 3, 3, do_set_acl},
    {"delete", "delete [-v version] path", "v:", 2, 2, do_delete},
    {"deleteall", "deleteall path", "", 2, 2, do_deleteall},
    {"rmr", "rmr path", "", 2, 2, do_deleteall},
    {"getAllChildrenNumber", "getAllChildrenNumber path", "", 2, 2, do_count},
    {"help", "help", "", 1, 1, do_help},
    {"quit", "quit", "", 1, 1, do_quit},
};

static int do_help(struct shell *s UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("\t%s\n", commands[i].usage);
    return 0;
}

static bool shell_read_version(struct shell *s, const char *text)
{
    int64_t version;
    if (!java_integer(text, INT32_MIN, INT32_MAX, &version)) {
        fprintf(stderr, "For input string: \"%s\"\n", text);
        return false;
    }
    s->version = (int32_t)version;
    return true;
}

/* Takes the flags off the words, wherever they stand, and leaves the rest behind the command. */
static bool shell_take_flags(struct shell *s, const char *flags)
{
    int flag;
    memset(s->given, 0, sizeof(s->given));
    s->version = ZK_ANY_VERSION;
    optind = 0; /* getopt() begins anew */
    opterr = 0;
    while ((flag = getopt(s->word_count, s->words, flags)) >= 0) {
        if (flag == '?') {
            fprintf(stderr, strchr(flags, optopt) ? "Missing argument for option: %c\n" : "Unrecognized option: -%c\n",
                    optopt);
            return false;
        }
        if (flag == 'v' && !shell_read_version(s, optarg))
            return false;
        s->given[(uint8_t)flag] = true;
    }
    memmove(&s->words[1], &s->words[optind], sizeof(*s->words) * (size_t)(s->word_count - optind));
    s->word_count -= optind - 1;
    return true;
}

/* A server makes a name of what stands before the number. */
static bool shell_path_is_legal(const struct shell *s)
{
    bool numbered = strcmp(s->words[0], "create") == 0 && s->given['s'];
    struct strbuf path = {0};
    strbuf_printf(&path, "%s%s", s->words[1], numbered ? "1" : "");
    bool ok = shell_check_path(path.p);
    strbuf_deinit(&path);
    return ok;
}

static int run_command(struct shell *s)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];
        if (strcmp(s->words[0], c->name) != 0)
            continue;
        if (!shell_take_flags(s, c->flags))
            return 1;
        if (s->word_count < c->least || s->word_count > c->most) {
            fprintf(stderr, "%s\n", c->usage);
            return 1;
        }
        return c->most > 1 && !shell_path_is_legal(s) ? 1 : c->run(s);
    }
    fprintf(stderr, "ZooKeeper -server host:port cmd args\nCommand not found: Command not found %s\n", s->words[0]);
    return 1;
}

static bool shell_add_word(struct shell *s, char *word)
{
    if (s->word_count == MOST_WORDS) {
        fprintf(stderr, "There are more than %d words\n", MOST_WORDS);
        return false;
    }
    s->words[s->word_count++] = word;
    s->words[s->word_count] = NULL;
    return true;
}

/* Splits a line at blanks; quotes keep blanks. Changes the line. */
static bool shell_split_line(struct shell *s, char *line)
{
    s->word_count = 0;
    for (;;) {
        line += strspn(line, " \t\r\n");
        if (*line == '\0')
            return true;
        bool quoted = *line == '"' || *line == '\'';
        const char stop[] = {quoted ? *line : ' ', quoted ? '\0' : '\t', '\n', '\0'};
        line += quoted;
        if (!shell_add_word(s, line))
            return false;
        line += strcspn(line, stop);
        if (*line != '\0')
            *line++ = '\0';
    }
}

static int run_lines(struct shell *s, const char *connect)
{
    char *line = NULL;
    size_t cap = 0;
    int code = 0;
    bool prompt = isatty(STDIN_FILENO);
    for (int n = 0; !s->quit; n++) {
        if (prompt)
            printf("[zk: %s(CONNECTED) %d] ", connect, n);
        fflush(stdout);
        if (getline(&line, &cap, stdin) < 0)
            break;
        if (!shell_split_line(s, line))
            code = 1;
        else if (s->word_count > 0)
            code = run_command(s);
    }
    free(line);
    return code;
}

/* The option may stand anywhere behind the address, as with Kafka's. False: it lacks its file. */
static bool take_tls_file(int *argc, char **argv, const char **file)
{
    static const char option[] = "-zk-tls-config-file";
    int at = 2;
    while (at < *argc && strcmp(argv[at], option) != 0)
        at++;
    if (at >= *argc)
        return true;
    if (at + 1 == *argc) {
        fprintf(stderr, "Error: no filename provided with option %s\n", option);
        return false;
    }
    *file = argv[at + 1];
    memmove(&argv[at], &argv[at + 2], sizeof(*argv) * (size_t)(*argc - at - 2));
    *argc -= 2;
    return true;
}

static int shell_usage(struct shell *s, const char *name, bool asked_for)
{
    fprintf(asked_for ? stdout : stderr,
            "USAGE: %s zookeeper_host:port[/path] [-zk-tls-config-file file] [command [args...]]\nCommands:\n", name);
    if (asked_for)
        do_help(s);
    return asked_for ? 0 : 1;
}

int tool_zookeeper_shell(int argc, char **argv)
{
    struct shell s = {0};
    struct fail fail;
    const char *tls_file = NULL;
    bool help = argc >= 2 && strcmp(argv[1], "--help") == 0;
    if (argc < 2 || help || argv[1][0] == '-')
        return shell_usage(&s, argv[0], help);
    if (!take_tls_file(&argc, argv, &tls_file))
        return 1;
    printf("Connecting to %s\n", argv[1]);
    fflush(stdout);
    s.session = zk_session_open(argv[1], tls_file, &fail);
    if (s.session == NULL) {
        fprintf(stderr, "%s\n", fail.text);
        return 1;
    }
    printf("\nWATCHER::\n\nWatchedEvent state:SyncConnected type:None path:null\n");
    bool fits = true;
    for (int i = 2; fits && i < argc; i++)
        fits = shell_add_word(&s, argv[i]);
    int code = !fits ? 1 : s.word_count > 0 ? run_command(&s) : run_lines(&s, argv[1]);
    zk_session_close(s.session);
    return code;
}
