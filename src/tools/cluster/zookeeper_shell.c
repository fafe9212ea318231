/* zookeeper-shell: reads and writes znodes, by one command on the command line or by lines from standard input. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "tools/kit/tool.h"
#include "tools/kit/zk_session.h"

enum { MOST_WORDS = 16 };

struct shell {
    struct zk_session *session;
    int word_count;
    char *words[MOST_WORDS];
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

/* Takes an option such as -s off the words; true if it was there. */
static bool take_flag(struct shell *s, const char *flag)
{
    for (int i = 1; i < s->word_count; i++)
        if (strcmp(s->words[i], flag) == 0) {
            memmove(&s->words[i], &s->words[i + 1], sizeof(*s->words) * (size_t)(s->word_count - i - 1));
            s->word_count--;
            return true;
        }
    return false;
}

/* -v VERSION. False: it is none, as is said. */
static bool take_version(struct shell *s, int32_t *out)
{
    int64_t version;
    *out = ZK_ANY_VERSION;
    for (int i = 1; i + 1 < s->word_count; i++)
        if (strcmp(s->words[i], "-v") == 0) {
            if (!java_integer(s->words[i + 1], INT32_MIN, INT32_MAX, &version)) {
                fprintf(stderr, "For input string: \"%s\"\n", s->words[i + 1]);
                return false;
            }
            memmove(&s->words[i], &s->words[i + 2], sizeof(*s->words) * (size_t)(s->word_count - i - 2));
            s->word_count -= 2;
            *out = (int32_t)version;
            break;
        }
    return true;
}

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
    bool with_stat = take_flag(s, "-s") || strcmp(s->words[0], "ls2") == 0;
    if (take_flag(s, "-R"))
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

static int do_get(struct shell *s)
{
    bool with_stat = take_flag(s, "-s"), stat_only = strcmp(s->words[0], "stat") == 0;
    struct zk_batch *b = zk_session_batch(s->session);
    zk_get(b, s->words[1], false);
    zk_session_run(s->session, b);
    const struct zk_op *op = b->first;
    int code = op->result == ZK_OK ? 0 : shell_refuse(op->result, s->words[1]);
    if (code == 0 && !stat_only && op->value.p == NULL)
        puts("null");
    else if (code == 0 && !stat_only)
        printf("%.*s\n", (int)op->value.len, (const char *)op->value.p);
    if (code == 0 && (with_stat || stat_only))
        print_stat(&op->stat);
    zk_batch_free(b);
    return code;
}

static int do_write(struct shell *s)
{
    enum zk_create_mode mode = take_flag(s, "-e") ? ZK_EPHEMERAL : take_flag(s, "-s") ? ZK_SEQUENTIAL : ZK_PERSISTENT;
    int32_t version;
    if (!take_version(s, &version))
        return 1;
    bool set = strcmp(s->words[0], "set") == 0;
    struct str text = str_of(s->word_count > 2 ? s->words[2] : NULL);
    struct bytes data = {(const uint8_t *)text.p, text.len};
    if (set && s->word_count < 3) {
        fprintf(stderr, "set [-s] [-v version] path data\n");
        return 1;
    }
    struct zk_batch *b = zk_session_batch(s->session);
    if (set)
        zk_set(b, s->words[1], data, version);
    else
        zk_create(b, s->words[1], data, mode);
    zk_session_run(s->session, b);
    const struct zk_op *op = b->first;
    int code = op->result == ZK_OK ? 0 : shell_refuse(op->result, s->words[1]);
    if (code == 0 && !set)
        printf("Created %s\n", op->created);
    zk_batch_free(b);
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
    int32_t version;
    return take_version(s, &version) ? shell_delete_one(s, s->words[1], version) : 1;
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
    int words; /* that it needs, its name included */
    int (*run)(struct shell *s);
} commands[] = {
    {"ls", "ls [-s] [-R] path", 2, do_ls},
    {"ls2", "ls2 path", 2, do_ls},
    {"get", "get [-s] path", 2, do_get},
    {"stat", "stat path", 2, do_get},
    {"create", "create [-s] [-e] path [data]", 2, do_write},
    {"set", "set [-v version] path data", 2, do_write},
    {"delete", "delete [-v version] path", 2, do_delete},
    {"deleteall", "deleteall path", 2, do_deleteall},
    {"rmr", "rmr path", 2, do_deleteall},
    {"getAllChildrenNumber", "getAllChildrenNumber path", 2, do_count},
    {"help", "help", 1, do_help},
    {"quit", "quit", 1, do_quit},
};

static int do_help(struct shell *s UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("\t%s\n", commands[i].usage);
    return 0;
}

static int run_command(struct shell *s)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];
        if (strcmp(s->words[0], c->name) != 0)
            continue;
        if (s->word_count < c->words) {
            fprintf(stderr, "%s\n", c->usage);
            return 1;
        }
        if (c->words == 2 && s->words[s->word_count - 1][0] != '/' && s->words[1][0] != '/' && s->words[1][0] != '-') {
            fprintf(stderr, "Path must start with / character\n");
            return 1;
        }
        return c->run(s);
    }
    fprintf(stderr, "ZooKeeper -server host:port cmd args\nCommand not found: Command not found %s\n", s->words[0]);
    return 1;
}

/* Splits a line at blanks; quotes keep blanks. Changes the line. */
static void shell_split_line(struct shell *s, char *line)
{
    s->word_count = 0;
    while (s->word_count < MOST_WORDS) {
        line += strspn(line, " \t\r\n");
        if (*line == '\0')
            return;
        bool quoted = *line == '"' || *line == '\'';
        const char stop[] = {quoted ? *line : ' ', quoted ? '\0' : '\t', '\n', '\0'};
        line += quoted;
        s->words[s->word_count++] = line;
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
        shell_split_line(s, line);
        if (s->word_count > 0)
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
    for (int i = 2; i < argc && s.word_count < MOST_WORDS; i++)
        s.words[s.word_count++] = argv[i];
    int code = s.word_count > 0 ? run_command(&s) : run_lines(&s, argv[1]);
    zk_session_close(s.session);
    return code;
}
