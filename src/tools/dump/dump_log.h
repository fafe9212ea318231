/*
 * kafka-dump-log in parts: segments, the files beside them, and what records of the internal topics say. What is odd in
 * a file is noted, and reported when all files are done; what cannot be read at all ends the tool.
 */
#ifndef BARNABAS_TOOLS_DUMP_DUMP_LOG_H
#define BARNABAS_TOOLS_DUMP_DUMP_LOG_H

#include "base/fail.h"
#include "record/record.h"

enum finding_kind {
    FOUND_INDEX_MISMATCH, /* the index's offset, the log's */
    FOUND_TIME_MISMATCH,  /* the index's time, the log's */
    FOUND_TIME_DISORDER,  /* the time, the one before */
    FOUND_NO_OFFSET,      /* the time index's offset, the log's */
    FOUND_GAP,            /* an offset, the next one */
    FINDING_KINDS,
};

struct finding {
    const char *file;
    int64_t a, b;
};

struct findings {
    struct finding *v;
    size_t count, cap;
};

struct decoder_name {
    const char *class_name; /* as it was given */
    int32_t size;           /* of a number; 0: a text */
};

/* How the content of a record is printed. */
enum dump_content { CONTENT_PLAIN, CONTENT_OFFSETS, CONTENT_TRANSACTIONS };

struct dump {
    bool print_data, deep, skip_metadata, verify_only, sanity_only;
    int64_t max_bytes, max_message_size;
    enum dump_content content;
    struct decoder_name key, value;
    struct findings found[FINDING_KINDS];
    struct arena arena;
};

struct content { /* a file */
    const char *path;
    const char *absolute; /* in the dump's arena */
    const uint8_t *p;
    int64_t len;
    int64_t base_offset; /* by its name */
};

void dump_note(struct dump *d, enum finding_kind kind, const struct content *file, int64_t a, int64_t b);
bool content_open(struct dump *d, struct content *c, const char *path, struct fail *fail) NODISCARD;
void content_close(struct content *c);

/*
 * The batch at `position` of what lies before `end`: BATCH_END also for one that is cut off, as a log's end may be,
 * BATCH_CORRUPT with a message for what cannot be a batch.
 */
enum batch_result dump_batch_at(const struct content *log, int64_t position, int64_t end, struct batch *out,
                                struct fail *fail);

bool dump_segment(struct dump *d, const struct content *c, struct fail *fail) NODISCARD;
bool dump_offset_index(struct dump *d, const struct content *c, struct fail *fail) NODISCARD;
bool dump_time_index(struct dump *d, const struct content *c, struct fail *fail) NODISCARD;
bool dump_txn_index(const struct content *c, struct fail *fail) NODISCARD;
void dump_snapshot(const struct content *c);

/* What a key and a value look like; p == NULL: they are left out. In the arena. */
struct dump_texts {
    struct str key, value;
};

bool dump_decode(const struct dump *d, const struct record *r, struct arena *a, struct dump_texts *out,
                 struct fail *fail) NODISCARD;

#endif
