/* kafka-dump-log: what is in the files of a log: segments, indexes, producer snapshots. */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/record.h"
#include "tools/tool.h"

static const struct option_spec specs[] = {
    {"files", OPTION_VALUE, "file1, file2, ...",
     "REQUIRED: the comma separated list of data and index log files to be dumped.", NULL},
    {"print-data-log", OPTION_FLAG, NULL,
     "Print the content of the records, too. Set by itself if any decoder is given.", NULL},
    {"deep-iteration", OPTION_FLAG, NULL,
     "Print each record, not only each batch. Set by itself with --print-data-log.", NULL},
    {"skip-record-metadata", OPTION_FLAG, NULL, "Leave out what is known of each record besides its content.", NULL},
    {"max-bytes", OPTION_VALUE, "size", "Read this many bytes of each .log file at most.", "2147483647"},
    {"max-message-size", OPTION_VALUE, "size", "Size of the largest message.", "5242880"},
    {"verify-index-only", OPTION_FLAG, NULL, "Only verify the index, without printing its content.", NULL},
    {"index-sanity-check", OPTION_FLAG, NULL,
     "Only do the check that a broker does at start to know if the index must be built again.", NULL},
    {"key-decoder-class", OPTION_OPTIONAL, "class", "How to print keys: StringDecoder, IntegerDecoder or LongDecoder.",
     "org.apache.kafka.tools.api.StringDecoder"},
    {"value-decoder-class", OPTION_OPTIONAL, "class", "How to print values.",
     "org.apache.kafka.tools.api.StringDecoder"},
};

enum decoder { DECODE_STRING, DECODE_INTEGER, DECODE_LONG };

struct dump {
    bool print_data, deep, skip_metadata, verify_only, sanity_only;
    int64_t max_bytes, max_message_size;
    enum decoder key, value;
};

/* ---- Files ---- */

struct content {
    const char *path;
    uint8_t *p;
    int64_t len;
    int64_t base_offset; /* by its name */
};

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool content_open(struct content *c, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *c = (struct content){.path = path, .base_offset = strtoll(name_of(path), NULL, 10)};
    if (fd < 0 || fstat(fd, &st) != 0) {
        fprintf(stderr, "%s: %m\n", path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    c->len = st.st_size;
    if (c->len > 0)
        c->p = mmap(NULL, (size_t)c->len, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (c->p != MAP_FAILED)
        return true;
    fprintf(stderr, "%s: %m\n", path);
    return false;
}

static void content_close(struct content *c)
{
    if (c->p != NULL)
        munmap(c->p, (size_t)c->len);
}

/* The file beside `path` with another suffix; in the buffer. */
static const char *sibling(const char *path, const char *suffix, char *buf, size_t size)
{
    const char *dot = strchr(name_of(path), '.');
    snprintf(buf, size, "%.*s%s", dot != NULL ? (int)(dot - path) : (int)strlen(path), path, suffix);
    return buf;
}

/* ---- A segment ---- */

static const char *timestamp_type(const struct batch *b)
{
    if (b->magic == 0)
        return "NoTimestampType";
    return (b->attributes & ATTR_LOG_APPEND_TIME) != 0 ? "LogAppendTime" : "CreateTime";
}

static uint32_t stored_crc(const struct batch *b)
{
    return be32_get(b->p + (b->magic >= 2 ? 17 : 12));
}

static void print_batch(const struct batch *b, int64_t position)
{
    if (b->magic >= 2) {
        printf("baseOffset: %" PRId64 " lastOffset: %" PRId64 " count: %" PRId32 " baseSequence: %" PRId32
               " lastSequence: %" PRId32 " producerId: %" PRId64 " producerEpoch: %d partitionLeaderEpoch: %" PRId32
               " isTransactional: %s isControl: %s",
               b->base_offset, b->last_offset, b->count, b->base_sequence,
               b->base_sequence == NO_SEQUENCE ? NO_SEQUENCE : batch_last_sequence(b), b->producer_id,
               b->producer_epoch, b->leader_epoch, batch_is_transactional(b) ? "true" : "false",
               batch_is_control(b) ? "true" : "false");
        if ((b->attributes & ATTR_DELETE_HORIZON) != 0)
            printf(" deleteHorizonMs: OptionalLong[%" PRId64 "]", b->base_timestamp);
        else
            printf(" deleteHorizonMs: OptionalLong.empty");
    } else {
        printf("offset: %" PRId64, b->last_offset);
    }
    printf(" position: %" PRId64 " %s: %" PRId64 " size: %" PRId32 " magic: %d compresscodec: %s crc: %" PRIu32
           " isvalid: %s\n",
           position, timestamp_type(b), b->max_timestamp, b->size, b->magic, codec_name(batch_codec(b)), stored_crc(b),
           batch_crc_ok(b) ? "true" : "false");
}

static int32_t sequence_of(const struct batch *b, const struct record *r)
{
    if (b->base_sequence == NO_SEQUENCE)
        return NO_SEQUENCE;
    return (int32_t)((b->base_sequence + (r->offset - b->base_offset)) & INT32_MAX);
}

static void print_header_keys(const struct record *r)
{
    struct bytes rest = r->headers;
    struct record_header h;
    printf(" headerKeys: [");
    for (int32_t i = 0; i < r->header_count && record_header_next(&rest, &h); i++)
        printf("%s%.*s", i > 0 ? "," : "", STR_ARGS(h.key));
    putchar(']');
}

static void print_control(const struct record *r)
{
    int type = r->key.len >= 4 ? be16_get(r->key.p + 2) : -1;
    if ((type == 0 || type == 1) && r->value.len >= 6)
        printf(" endTxnMarker: %s coordinatorEpoch: %" PRId32, type == 1 ? "COMMIT" : "ABORT",
               (int32_t)be32_get(r->value.p + 2));
    else
        printf(" controlType: UNKNOWN(%d)", type);
}

static void print_metadata(const struct batch *b, const struct record *r)
{
    printf("offset: %" PRId64 " %s: %" PRId64 " keySize: %" PRId32 " valueSize: %" PRId32, r->offset, timestamp_type(b),
           r->timestamp, r->key.p != NULL ? r->key.len : -1, r->value.p != NULL ? r->value.len : -1);
    if (b->magic >= 2) {
        printf(" sequence: %" PRId32, sequence_of(b, r));
        print_header_keys(r);
    } else {
        printf(" isValid: %s crc: %" PRIu32 "}", batch_crc_ok(b) ? "true" : "false", stored_crc(b));
    }
    if (batch_is_control(b))
        print_control(r);
}

static void print_content(const char *label, struct bytes data, enum decoder decoder)
{
    printf("%s", label);
    if (decoder == DECODE_INTEGER && data.len == 4)
        printf("%" PRId32, (int32_t)be32_get(data.p));
    else if (decoder == DECODE_LONG && data.len == 8)
        printf("%" PRId64, (int64_t)be64_get(data.p));
    else
        fwrite(data.p, 1, (size_t)data.len, stdout);
}

static void print_record(const struct dump *d, const struct batch *b, const struct record *r)
{
    const char *before_key = "key: ";
    printf("| ");
    if (!d->skip_metadata) {
        print_metadata(b, r);
        before_key = " key: ";
    }
    if (d->print_data && !batch_is_control(b)) {
        if (r->key.p != NULL)
            print_content(before_key, r->key, d->key);
        if (r->value.p != NULL)
            print_content(" payload: ", r->value, d->value);
    }
    putchar('\n');
}

struct gaps { /* offsets that do not follow each other */
    int64_t *pairs;
    size_t count, cap;
};

static void print_records(const struct dump *d, const struct batch *b, int64_t *last_offset, struct gaps *gaps)
{
    struct arena arena = {0};
    struct record r;
    struct record_iter *it = record_iter_new(b, &arena);
    int more = 0;
    while (it != NULL && (more = record_iter_next(it, &r)) > 0) {
        if (*last_offset != -1 && r.offset != *last_offset + 1) {
            gaps->pairs = xgrow(gaps->pairs, gaps->count + 2, &gaps->cap, sizeof(*gaps->pairs));
            gaps->pairs[gaps->count++] = *last_offset;
            gaps->pairs[gaps->count++] = r.offset;
        }
        *last_offset = r.offset;
        print_record(d, b, &r);
    }
    if (it == NULL || more < 0)
        fprintf(stderr, "The records of the batch at offset %" PRId64 " cannot be read\n", b->base_offset);
    record_iter_free(it);
    arena_deinit(&arena);
}

static void dump_segment(const struct dump *d, const struct content *c)
{
    struct bytes all = {c->p, (int32_t)MIN(MIN(c->len, d->max_bytes), (int64_t)INT32_MAX)}, rest = all;
    struct batch b;
    struct gaps gaps = {0};
    int64_t last_offset = -1;
    printf("Log starting offset: %" PRId64 "\n", c->base_offset);
    while (rest.len > 0 && batch_next(&rest, &b) == BATCH_OK) {
        print_batch(&b, b.p - c->p);
        if (d->deep)
            print_records(d, &b, &last_offset, &gaps);
    }
    if (rest.len > 0 && d->max_bytes == INT32_MAX)
        printf("Found %" PRId32 " invalid bytes at the end of %s\n", rest.len, name_of(c->path));
    if (gaps.count > 0)
        fprintf(stderr, "Non-consecutive offsets in %s\n", c->path);
    for (size_t i = 0; i < gaps.count; i += 2)
        fprintf(stderr, "  %" PRId64 " is followed by %" PRId64 "\n", gaps.pairs[i], gaps.pairs[i + 1]);
    free(gaps.pairs);
}

/* ---- Indexes ---- */

enum { OFFSET_ENTRY = 8, TIME_ENTRY = 12, TXN_ENTRY = 34 };

static void sanity_check(const struct content *c, int32_t entry_size, bool last_is_sane)
{
    if (c->len % entry_size != 0)
        fprintf(stderr,
                "Index file %s is corrupt, found %" PRId64 " bytes which is neither positive nor a multiple of %" PRId32
                "\n",
                c->path, c->len, entry_size);
    else if (!last_is_sane)
        fprintf(stderr, "Corrupt index found, index file (%s) has a last entry that is too small\n", c->path);
    else
        printf("%s passed sanity check.\n", c->path);
}

/* The batch at `position` of the log; false past its end. */
static bool batch_at(const struct content *log, int64_t position, struct batch *out)
{
    if (position < 0 || position >= log->len)
        return false;
    struct bytes rest = {log->p + position, (int32_t)MIN(log->len - position, (int64_t)INT32_MAX)};
    return batch_next(&rest, out) == BATCH_OK;
}

static void dump_index(const struct dump *d, const struct content *c, const struct content *log)
{
    int64_t count = c->len / OFFSET_ENTRY;
    bool any = false;
    if (count == 0) {
        printf("%s is empty.\n", c->path);
        return;
    }
    if (d->sanity_only) {
        sanity_check(c, OFFSET_ENTRY, (int32_t)be32_get(c->p + (count - 1) * OFFSET_ENTRY) >= 0);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        struct batch b;
        int32_t delta = (int32_t)be32_get(c->p + i * OFFSET_ENTRY),
                position = (int32_t)be32_get(c->p + i * OFFSET_ENTRY + 4);
        int64_t found = -1;
        if (delta == 0 && i > 0)
            return; /* zeroes that a crash left behind */
        if (batch_at(log, position, &b))
            found = b.last_offset;
        if (found != c->base_offset + delta) {
            if (!any)
                fprintf(stderr, "Mismatches in :%s\n", c->path);
            any = true;
            fprintf(stderr, "  Index offset: %" PRId64 ", log offset: %" PRId64 "\n", c->base_offset + delta, found);
        }
        if (!d->verify_only)
            printf("offset: %" PRId64 " position: %" PRId32 "\n", c->base_offset + delta, position);
    }
}

/* The batch whose last offset is the first at or above `offset`. */
static bool find_batch(const struct content *log, int64_t offset, struct batch *out)
{
    struct bytes rest = {log->p, (int32_t)MIN(log->len, (int64_t)INT32_MAX)};
    while (rest.len > 0 && batch_next(&rest, out) == BATCH_OK)
        if (out->last_offset >= offset)
            return true;
    return false;
}

static void check_time_entry(const struct content *c, const struct content *log, int64_t timestamp, int64_t offset,
                             int64_t previous)
{
    struct batch b;
    if (!find_batch(log, offset, &b) || b.last_offset != offset) {
        fprintf(stderr,
                "The following indexed offsets are not found in the log.\nIndexed offset: %" PRId64
                ", found log offset: %" PRId64 "\n",
                offset, b.p != NULL ? b.last_offset : -1);
        return;
    }
    if (b.max_timestamp != timestamp)
        fprintf(stderr, "Found timestamp mismatch in :%s\n  Index timestamp: %" PRId64 ", log timestamp: %" PRId64 "\n",
                c->path, timestamp, b.max_timestamp);
    if (previous >= timestamp)
        fprintf(stderr,
                "Found out of order timestamp in :%s\n  Index timestamp: %" PRId64
                ", Previously indexed timestamp: %" PRId64 "\n",
                c->path, timestamp, previous);
}

static void dump_time_index(const struct dump *d, const struct content *c, const struct content *log)
{
    int64_t count = c->len / TIME_ENTRY, previous = NO_TIMESTAMP;
    if (d->sanity_only) {
        sanity_check(c, TIME_ENTRY, count == 0 || be64_get(c->p + (count - 1) * TIME_ENTRY) >= be64_get(c->p));
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *e = c->p + i * TIME_ENTRY;
        int64_t timestamp = (int64_t)be64_get(e), offset = c->base_offset + (int32_t)be32_get(e + 8);
        if (offset == c->base_offset && i > 0)
            return;
        check_time_entry(c, log, timestamp, offset, previous);
        if (!d->verify_only)
            printf("timestamp: %" PRId64 " offset: %" PRId64 "\n", timestamp, offset);
        previous = timestamp;
    }
}

static void dump_txn_index(const struct content *c)
{
    for (const uint8_t *e = c->p; e != NULL && e + TXN_ENTRY <= c->p + c->len; e += TXN_ENTRY)
        printf("version: %d producerId: %" PRId64 " firstOffset: %" PRId64 " lastOffset: %" PRId64
               " lastStableOffset: %" PRId64 "\n",
               be16_get(e), (int64_t)be64_get(e + 2), (int64_t)be64_get(e + 10), (int64_t)be64_get(e + 18),
               (int64_t)be64_get(e + 26));
}

/* ---- Producer snapshots: version, CRC and count, then the entries ---- */

static void dump_snapshot(const struct content *c)
{
    enum { HEAD = 10, ENTRY = 46 };
    int32_t count = c->len >= HEAD ? (int32_t)be32_get(c->p + 6) : -1;
    if (count < 0 || c->len < HEAD + (int64_t)count * ENTRY) {
        fprintf(stderr, "Snapshot failed schema validation: %s is too short\n", c->path);
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        const uint8_t *e = c->p + HEAD + (int64_t)i * ENTRY;
        int32_t last_sequence = (int32_t)be32_get(e + 10), delta = (int32_t)be32_get(e + 22);
        int64_t last_offset = (int64_t)be64_get(e + 14), timestamp = (int64_t)be64_get(e + 26);
        printf("producerId: %" PRId64 " producerEpoch: %d coordinatorEpoch: %" PRId32 " currentTxnFirstOffset: ",
               (int64_t)be64_get(e), (int16_t)be16_get(e + 8), (int32_t)be32_get(e + 34));
        int64_t open = (int64_t)be64_get(e + 38);
        if (open >= 0)
            printf("OptionalLong[%" PRId64 "]", open);
        else
            printf("OptionalLong.empty");
        printf(" lastTimestamp: %" PRId64 " ", timestamp);
        if (last_sequence >= 0 || last_offset >= 0) {
            int64_t first = (int64_t)last_sequence - delta;
            printf("firstSequence: %" PRId64 " lastSequence: %" PRId32 " lastOffset: %" PRId64 " offsetDelta: %" PRId32
                   " timestamp: %" PRId64,
                   first < 0 ? first + INT32_MAX + 1 : first, last_sequence, last_offset, delta, timestamp);
        }
        putchar('\n');
    }
}

/* ---- The tool ---- */

static bool dump_with_log(const struct dump *d, const struct content *c, bool time)
{
    char path[4096];
    struct content log;
    bool ok = content_open(&log, sibling(c->path, ".log", path, sizeof(path)));
    if (ok && time)
        dump_time_index(d, c, &log);
    else if (ok)
        dump_index(d, c, &log);
    content_close(&log);
    return ok;
}

static bool dump_file(const struct dump *d, const char *path)
{
    struct content c;
    const char *dot = strrchr(name_of(path), '.'), *suffix = dot != NULL ? dot : "";
    bool ok = true;
    printf("Dumping %s\n", path);
    if (!content_open(&c, path))
        return false;
    if (strcmp(suffix, ".log") == 0)
        dump_segment(d, &c);
    else if (strcmp(suffix, ".index") == 0 || strcmp(suffix, ".timeindex") == 0)
        ok = dump_with_log(d, &c, strcmp(suffix, ".timeindex") == 0);
    else if (strcmp(suffix, ".snapshot") == 0)
        dump_snapshot(&c);
    else if (strcmp(suffix, ".txnindex") == 0)
        dump_txn_index(&c);
    else
        fprintf(stderr, "Ignoring unknown file %s\n", path);
    content_close(&c);
    return ok;
}

static bool parse_decoder(const char *name, enum decoder *out)
{
    static const char *const names[] = {
        [DECODE_STRING] = "StringDecoder", [DECODE_INTEGER] = "IntegerDecoder", [DECODE_LONG] = "LongDecoder"};
    const char *dot = name != NULL ? strrchr(name, '.') : NULL;
    *out = DECODE_STRING;
    if (name == NULL)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(dot != NULL ? dot + 1 : name, names[i]) == 0) {
            *out = (enum decoder)i;
            return true;
        }
    fprintf(stderr, "There is no decoder %s\n", name);
    return false;
}

static bool read_options(const struct options *o, struct dump *d)
{
    bool decoder = options_has(o, "key-decoder-class") || options_has(o, "value-decoder-class");
    *d = (struct dump){.print_data = options_has(o, "print-data-log") || decoder,
                       .skip_metadata = options_has(o, "skip-record-metadata"),
                       .verify_only = options_has(o, "verify-index-only"),
                       .sanity_only = options_has(o, "index-sanity-check")};
    d->deep = options_has(o, "deep-iteration") || d->print_data;
    return options_need(o, "files") && options_number(o, "max-bytes", 0, INT32_MAX, &d->max_bytes) &&
           options_number(o, "max-message-size", 0, INT32_MAX, &d->max_message_size) &&
           parse_decoder(options_get(o, "key-decoder-class"), &d->key) &&
           parse_decoder(options_get(o, "value-decoder-class"), &d->value);
}

int tool_dump_log(int argc, char **argv)
{
    struct options o;
    struct dump d;
    int code = OPTIONS_PARSE(&o, specs, argc, argv,
                             "This tool helps to parse a log file and dump its contents to the console, useful for "
                             "debugging a seemingly corrupt log segment.");
    if (code < 0) {
        code = read_options(&o, &d) ? 0 : 1;
        char *files = code == 0 ? arena_cstr(&o.arena, str_of(options_get(&o, "files"))) : NULL, *save = NULL;
        for (char *path = files ? strtok_r(files, ", ", &save) : NULL; path != NULL; path = strtok_r(NULL, ", ", &save))
            code |= dump_file(&d, path) ? 0 : 1;
    }
    options_free(&o);
    return code;
}
