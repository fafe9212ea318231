/* kafka-dump-log: what is in the files of a log. */
#include "tools/dump/dump_log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"files", OPTION_VALUE, "file1, file2, ...",
     "REQUIRED: the comma separated list of data and index log files to be dumped.", NULL},
    {"print-data-log", OPTION_FLAG, NULL,
     "Print the content of the records, too. Set by itself if any decoder is given.", NULL},
    {"deep-iteration", OPTION_FLAG, NULL,
     "Print each record, not only each batch. Set by itself with --print-data-log.", NULL},
    {"skip-record-metadata", OPTION_FLAG, NULL, "Leave out what is known of each record besides its content.", NULL},
    {"max-bytes", OPTION_VALUE, "size", "Read this many bytes of each .log file at most.", "2147483647"},
    {"max-message-size", OPTION_VALUE, "size", "Size of the largest message that an index may lead to.", "5242880"},
    {"verify-index-only", OPTION_FLAG, NULL, "Only verify the index, without printing its content.", NULL},
    {"index-sanity-check", OPTION_FLAG, NULL,
     "Only do the check that a broker does at start to know if the index must be built again.", NULL},
    {"key-decoder-class", OPTION_OPTIONAL, "class",
     "How to print keys: org.apache.kafka.tools.api.StringDecoder, IntegerDecoder or LongDecoder.",
     "org.apache.kafka.tools.api.StringDecoder"},
    {"value-decoder-class", OPTION_OPTIONAL, "class", "How to print values.",
     "org.apache.kafka.tools.api.StringDecoder"},
    {"offsets-decoder", OPTION_FLAG, NULL, "The records are those of __consumer_offsets.", NULL},
    {"transaction-log-decoder", OPTION_FLAG, NULL, "The records are those of __transaction_state.", NULL},
    {"cluster-metadata-decoder", OPTION_FLAG, NULL, "Refused: only KRaft clusters have a log of their metadata.", NULL},
    {"remote-log-metadata-decoder", OPTION_FLAG, NULL, "Refused: there is no remote storage here.", NULL},
};

/* ---- Files ---- */

static const char *dump_log_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static const char *absolute(struct arena *a, const char *path)
{
    char here[4096];
    if (*path == '/' || getcwd(here, sizeof(here)) == NULL)
        return path;
    return arena_printf(a, "%s/%s", here, path).p;
}

bool content_open(struct dump *d, struct content *c, const char *path, struct fail *fail)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *c = (struct content){.path = path, .base_offset = strtoll(dump_log_name_of(path), NULL, 10)};
    c->absolute = absolute(&d->arena, path);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (ok && st.st_size > 0) {
        const void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        ok = p != MAP_FAILED;
        c->p = ok ? p : NULL;
        c->len = ok ? st.st_size : 0;
    }
    if (!ok)
        fail_set(fail, "%s: %m", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

void content_close(struct content *c)
{
    if (c->p != NULL)
        munmap((void *)(uintptr_t)c->p, (size_t)c->len);
}

/* ---- What is odd in them ---- */

void dump_note(struct dump *d, enum finding_kind kind, const struct content *file, int64_t a, int64_t b)
{
    struct findings *f = &d->found[kind];
    f->v = xgrow(f->v, f->count + 1, &f->cap, sizeof(*f->v));
    f->v[f->count++] = (struct finding){file->absolute, a, b};
}

static const struct {
    const char *title, *first, *second;
    bool without_name, newest_first;
} reports[] = {
    [FOUND_INDEX_MISMATCH] = {"Mismatches in :", "  Index offset: ", ", log offset: ", false, true},
    [FOUND_TIME_MISMATCH] = {"Found timestamp mismatch in :", "  Index timestamp: ", ", log timestamp: ", false, false},
    [FOUND_TIME_DISORDER] = {"Found out of order timestamp in :", "  Index timestamp: ",
                             ", Previously indexed timestamp: ", false, false},
    [FOUND_NO_OFFSET] = {"The following indexed offsets are not found in the log.",
                         "Indexed offset: ", ", found log offset: ", true, false},
    [FOUND_GAP] = {"Non-consecutive offsets in ", "  ", " is followed by ", false, true},
};

static void report_file(const struct findings *f, enum finding_kind kind, const char *file)
{
    fprintf(stderr, "%s%s\n", reports[kind].title, reports[kind].without_name ? "" : file);
    for (size_t i = 0; i < f->count; i++) {
        const struct finding *x = &f->v[reports[kind].newest_first ? f->count - 1 - i : i];
        if (strcmp(x->file, file) == 0)
            fprintf(stderr, "%s%" PRId64 "%s%" PRId64 "\n", reports[kind].first, x->a, reports[kind].second, x->b);
    }
}

/* What is found of one file stands together. */
static void dump_log_report(const struct findings *f, enum finding_kind kind)
{
    for (size_t i = 0; i < f->count; i++)
        if (i == 0 || strcmp(f->v[i - 1].file, f->v[i].file) != 0)
            report_file(f, kind, f->v[i].file);
}

/* ---- The tool ---- */

static void warn_of_old_name(const struct decoder_name *decoder)
{
    static const char old[] = "kafka.serializer.";
    const char *name = decoder->class_name;
    if (name != NULL && strncmp(name, old, sizeof(old) - 1) == 0)
        printf("%s is deprecated. Please use org.apache.kafka.tools.api.%s instead\n", name, name + sizeof(old) - 1);
}

static bool dump_log(struct dump *d, const struct content *c, struct fail *fail)
{
    if (d->content == CONTENT_PLAIN) {
        warn_of_old_name(&d->value);
        warn_of_old_name(&d->key);
    }
    return dump_segment(d, c, fail);
}

static bool dump_snapshot_file(struct dump *d UNUSED, const struct content *c, struct fail *fail UNUSED)
{
    dump_snapshot(c);
    return true;
}

static bool dump_aborted(struct dump *d UNUSED, const struct content *c, struct fail *fail)
{
    return dump_txn_index(c, fail);
}

static const struct file_kind {
    const char *suffix;
    bool (*dump)(struct dump *d, const struct content *c, struct fail *fail);
} file_kinds[] = {{".log", dump_log},
                  {".index", dump_offset_index},
                  {".timeindex", dump_time_index},
                  {".snapshot", dump_snapshot_file},
                  {".txnindex", dump_aborted}};

/* NULL: whatever it is, and whether it is there, nobody can tell. */
static const struct file_kind *kind_of_file(const char *path)
{
    const char *dot = strrchr(dump_log_name_of(path), '.');
    for (size_t i = 0; dot != NULL && i < ARRAY_LEN(file_kinds); i++)
        if (strcmp(file_kinds[i].suffix, dot) == 0)
            return &file_kinds[i];
    return NULL;
}

static bool dump_file(struct dump *d, const char *path, struct fail *fail)
{
    struct content c;
    const struct file_kind *kind = kind_of_file(path);
    printf("Dumping %s\n", path);
    if (kind == NULL) {
        fprintf(stderr, "Ignoring unknown file %s\n", path);
        return true;
    }
    if (!content_open(d, &c, path, fail))
        return false;
    bool ok = kind->dump(d, &c, fail);
    content_close(&c);
    return ok;
}

static bool parse_decoder(const char *name, struct decoder_name *out)
{
    static const struct {
        const char *name;
        int32_t size;
    } known[] = {{"StringDecoder", 0}, {"IntegerDecoder", 4}, {"LongDecoder", 8}};
    const char *dot = name != NULL ? strrchr(name, '.') : NULL;
    *out = (struct decoder_name){.class_name = name};
    if (name == NULL)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(dot != NULL ? dot + 1 : name, known[i].name) == 0) {
            out->size = known[i].size;
            return true;
        }
    fprintf(stderr, "%s: Java classes cannot be loaded here; StringDecoder, IntegerDecoder and LongDecoder are known\n",
            name);
    return false;
}

static bool check_decoders(const struct options *o)
{
    static const char *const refused[] = {"cluster-metadata-decoder", "remote-log-metadata-decoder"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (options_has(o, refused[i])) {
            options_complain(o, "--%s is not supported: brokers with ZooKeeper have no such log", refused[i]);
            return false;
        }
    return true;
}

static bool dump_log_read_options(const struct options *o, struct dump *d)
{
    bool decoder = options_has(o, "key-decoder-class") || options_has(o, "value-decoder-class");
    *d = (struct dump){.skip_metadata = options_has(o, "skip-record-metadata"),
                       .verify_only = options_has(o, "verify-index-only"),
                       .sanity_only = options_has(o, "index-sanity-check")};
    if (options_has(o, "offsets-decoder"))
        d->content = CONTENT_OFFSETS;
    else if (options_has(o, "transaction-log-decoder"))
        d->content = CONTENT_TRANSACTIONS;
    d->print_data = options_has(o, "print-data-log") || decoder || d->content != CONTENT_PLAIN;
    d->deep = options_has(o, "deep-iteration") || d->print_data;
    return options_need(o, "files") && check_decoders(o) &&
           options_number(o, "max-bytes", 0, INT32_MAX, &d->max_bytes) &&
           options_number(o, "max-message-size", 0, INT32_MAX, &d->max_message_size) &&
           parse_decoder(options_get(o, "key-decoder-class"), &d->key) &&
           parse_decoder(options_get(o, "value-decoder-class"), &d->value);
}

static bool dump_log_run(const struct options *o, struct dump *d, struct fail *fail)
{
    char *save = NULL, *files = arena_cstr(&d->arena, str_of(options_get(o, "files")));
    for (char *path = strtok_r(files, ",", &save); path != NULL; path = strtok_r(NULL, ",", &save))
        if (!dump_file(d, path + strspn(path, " "), fail))
            return false;
    return true;
}

int tool_dump_log(int argc, char **argv)
{
    struct options o;
    struct dump d = {0};
    struct fail fail;
    int code = OPTIONS_PARSE(&o, specs, argc, argv,
                             "This tool helps to parse a log file and dump its contents to the console, useful for "
                             "debugging a seemingly corrupt log segment.");
    if (code < 0 && !dump_log_read_options(&o, &d))
        code = 1;
    if (code < 0) {
        code = dump_log_run(&o, &d, &fail) ? 0 : 1;
        fflush(stdout);
        for (enum finding_kind kind = 0; code == 0 && kind < FINDING_KINDS; kind++)
            dump_log_report(&d.found[kind], kind);
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    for (size_t i = 0; i < FINDING_KINDS; i++)
        free(d.found[i].v);
    arena_deinit(&d.arena);
    options_free(&o);
    return code;
}
