#include "log/segment_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/logger.h"
#include "log/file.h"

char *segment_path(char buf[PATH_ROOM], const char *dir, int64_t base, const char *suffix)
{
    int n = snprintf(buf, PATH_ROOM, "%s/%020" PRId64 "%s", dir, base, suffix);
    ensure(n > 0 && n < PATH_ROOM);
    return buf;
}

int64_t segment_parse_name(const char *name, const char *suffix)
{
    int64_t base = 0;
    for (int i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || base > INT64_MAX / 10 - 1)
            return -1;
        base = base * 10 + (name[i] - '0');
    }
    return strcmp(name + 20, suffix) == 0 && base <= LARGEST_OFFSET ? base : -1;
}

int64_t segment_any_base(const char *name)
{
    return strlen(name) > 20 ? segment_parse_name(name, name + 20) : -1;
}

static void forget_times(struct segment *s)
{
    s->max_timestamp = s->first_timestamp = NO_TIMESTAMP;
    s->max_timestamp_offset = s->base_offset;
}

void segment_forget_batches(struct segment *s)
{
    index_clear(&s->offsets);
    index_clear(&s->times);
    forget_times(s);
    s->bytes_since_index = 0;
}

struct segment *segment_new(int64_t base_offset)
{
    ensure(base_offset >= 0);
    struct segment *s = xcalloc(1, sizeof(*s));
    s->base_offset = base_offset;
    forget_times(s);
    s->created_ms = clock_wall_ms();
    s->offsets.entry_size = OFFSET_ENTRY;
    s->times.entry_size = TIME_ENTRY;
    return s;
}

void segment_unload(struct segment *s)
{
    index_deinit(&s->offsets);
    index_deinit(&s->times);
    strbuf_deinit(&s->aborts);
}

void segment_unload_unused(struct segment *s)
{
    ensure(!s->indexes_filed || (s->offsets.loaded && s->times.loaded));
    if (s->indexes_filed && !s->indexes_used) {
        index_deinit(&s->offsets);
        index_deinit(&s->times);
        s->indexes_filed = false;
    }
    s->indexes_used = false;
}

void segment_free(struct segment *s)
{
    segment_unload(s);
    file_ref_put(s->file);
    free(s);
}

bool segment_open_file(struct segment *s, const char *dir, bool create)
{
    s->file_used = true;
    if (s->file != NULL)
        return true;
    char path[PATH_ROOM];
    int fd = file_open_to_stay(segment_path(path, dir, s->base_offset, ".log"), create);
    if (fd < 0)
        return false;
    s->file = file_ref_new(fd);
    return true;
}

void segment_close_file(struct segment *s)
{
    file_ref_put(s->file);
    s->file = NULL;
}

void segment_close_unused(struct segment *s)
{
    if (!s->file_used)
        segment_close_file(s);
    s->file_used = false;
}

int64_t segment_written_ms(const struct segment *s, const char *dir)
{
    char path[PATH_ROOM];
    int64_t size, ms;
    return file_look_at(segment_path(path, dir, s->base_offset, ".log"), &size, &ms) ? ms : INT64_MAX;
}

static bool is_loaded(const struct index *x, bool for_append)
{
    return x->loaded && (!for_append || x->cap > 0 || x->count == 0);
}

/* Somebody has taken one away while the broker runs, or its disk has lost a part: that is no loss. */
static bool rebuild_indexes(struct segment *s, const char *dir, bool for_append)
{
    enum { INTERVAL = 4096 };
    struct batch b;
    int64_t pos = 0, next = s->base_offset;
    enum find_result result;
    log_warn("An index of segment %020" PRId64 " in %s is missing or damaged: making its indexes again", s->base_offset,
             dir);
    index_clear(&s->offsets);
    index_clear(&s->times);
    s->bytes_since_index = 0;
    while ((result = segment_peek(s, dir, pos, false, &b)) == FIND_OK && batch_offsets_are_possible(&b) &&
           b.last_offset >= next && b.last_offset - s->base_offset <= INT32_MAX) {
        segment_note_batch(s, &b, (int32_t)pos, INTERVAL);
        next = b.last_offset + 1;
        pos += b.size;
    }
    if (result == FIND_ERROR) {
        index_deinit(&s->offsets);
        index_deinit(&s->times);
        return false;
    }
    s->indexes_filed = segment_replace_indexes(s, dir) && !for_append; /* they are of use without their files, too */
    return true;
}

bool segment_load_indexes(struct segment *s, const char *dir, bool for_append)
{
    char path[PATH_ROOM];
    s->indexes_used = true;
    s->indexes_filed &= !for_append;
    if (is_loaded(&s->offsets, for_append) && is_loaded(&s->times, for_append))
        return true;
    index_deinit(&s->offsets);
    index_deinit(&s->times);
    enum file_result result = index_load(&s->offsets, segment_path(path, dir, s->base_offset, ".index"), for_append);
    if (result == FILE_FOUND)
        result = index_load(&s->times, segment_path(path, dir, s->base_offset, ".timeindex"), for_append);
    if (result == FILE_FAILED)
        return false;
    if (result == FILE_MISSING)
        return rebuild_indexes(s, dir, for_append);
    s->indexes_filed = !for_append;
    struct time_entry last = time_index_last(&s->times);
    if (last.timestamp > s->max_timestamp) {
        s->max_timestamp = last.timestamp;
        s->max_timestamp_offset = s->base_offset + last.delta;
    }
    return true;
}

void segment_note_batch(struct segment *s, const struct batch *b, int32_t position, int32_t index_interval)
{
    ensure(b->last_offset >= s->base_offset && b->last_offset - s->base_offset <= INT32_MAX);
    int32_t delta = (int32_t)(b->last_offset - s->base_offset);
    if (s->first_timestamp == NO_TIMESTAMP)
        s->first_timestamp = b->max_timestamp;
    if (b->max_timestamp > s->max_timestamp) {
        s->max_timestamp = b->max_timestamp;
        s->max_timestamp_offset = b->last_offset;
    }
    if (s->bytes_since_index > index_interval) {
        offset_index_add(&s->offsets, delta, position);
        time_index_add(&s->times, s->max_timestamp, (int32_t)(s->max_timestamp_offset - s->base_offset));
        s->bytes_since_index = 0;
    }
    s->bytes_since_index += b->size;
}

static bool append_failed(struct segment *s, const char *dir)
{
    char path[PATH_ROOM];
    segment_path(path, dir, s->base_offset, ".log");
    file_failed("write", path);
    if (!file_truncate(s->file->fd, s->size, path))
        log_error("%s may end in a half-written batch", path);
    return false;
}

void segment_count_batch(struct segment *s, const struct batch *b, int32_t index_interval)
{
    ensure(s->file != NULL && s->size + b->size <= INT32_MAX); /* segment_open_file() */
    segment_note_batch(s, b, (int32_t)s->size, index_interval);
    s->size += b->size;
}

bool segment_write_counted(struct segment *s, const char *dir, const struct iovec *pieces, int count)
{
    int64_t counted = s->size;
    for (int i = 0; i < count; i++)
        s->size -= (int64_t)pieces[i].iov_len;
    ensure(s->file != NULL && s->size >= 0);
    if (!file_put_all_at(s->file->fd, pieces, count, s->size))
        return append_failed(s, dir);
    s->size = counted;
    return true;
}

bool segment_append(struct segment *s, const char *dir, struct bytes bytes, int32_t index_interval)
{
    struct iovec whole = {(void *)(uintptr_t)bytes.p, (size_t)bytes.len};
    struct batch b;
    while (batch_next(&bytes, &b) == BATCH_OK)
        segment_count_batch(s, &b, index_interval);
    ensure(bytes.len == 0); /* whole batches were given */
    return segment_write_counted(s, dir, &whole, 1);
}

static void add_last_time(struct segment *s)
{
    if (s->max_timestamp != NO_TIMESTAMP)
        time_index_add(&s->times, s->max_timestamp, (int32_t)(s->max_timestamp_offset - s->base_offset));
}

bool segment_replace_indexes(struct segment *s, const char *dir)
{
    char path[PATH_ROOM];
    add_last_time(s);
    return index_replace(&s->offsets, segment_path(path, dir, s->base_offset, ".index")) &&
           index_replace(&s->times, segment_path(path, dir, s->base_offset, ".timeindex"));
}

bool segment_note_abort(struct segment *s, const char *dir, const struct txn_entry *e)
{
    char path[PATH_ROOM];
    struct strbuf entry = {0};
    int fd = file_open(segment_path(path, dir, s->base_offset, ".txnindex"), true);
    txn_entry_put(&entry, e);
    bool ok = fd >= 0 && file_write_at(fd, entry.p, entry.len, file_size(fd), path);
    file_close(fd);
    strbuf_deinit(&entry);
    s->no_aborts = false;
    return ok;
}

bool segment_replace_aborts(struct segment *s, const char *dir, const struct strbuf *entries)
{
    char path[PATH_ROOM];
    ensure(entries->len % TXN_ENTRY == 0);
    segment_path(path, dir, s->base_offset, ".txnindex");
    s->aborts_lost = false;
    s->no_aborts = entries->len == 0;
    return s->no_aborts ? file_remove(path) : file_replace(path, entries->p, entries->len);
}

bool segment_check_aborts(struct segment *s, const char *dir, bool *sound)
{
    char path[PATH_ROOM];
    struct strbuf entries = {0};
    int64_t before = s->base_offset - 1;
    enum file_result found = file_load(segment_path(path, dir, s->base_offset, ".txnindex"), &entries);
    s->no_aborts = found == FILE_MISSING;
    *sound = entries.len % TXN_ENTRY == 0;
    for (size_t at = 0; *sound && at < entries.len; at += TXN_ENTRY) {
        struct txn_entry e = txn_entry_get((uint8_t *)entries.p + at);
        *sound = e.last_offset > before && e.first_offset < e.last_offset;
        before = e.last_offset;
    }
    strbuf_deinit(&entries);
    return found != FILE_FAILED;
}

static bool truncate_aborts(struct segment *s, const char *dir, int64_t offset)
{
    char path[PATH_ROOM];
    struct strbuf entries = {0};
    size_t kept = 0;
    enum file_result found = file_load(segment_path(path, dir, s->base_offset, ".txnindex"), &entries);
    if (found != FILE_FOUND)
        return found == FILE_MISSING;
    while (kept + TXN_ENTRY <= entries.len && txn_entry_get((uint8_t *)entries.p + kept).last_offset < offset)
        kept += TXN_ENTRY;
    int fd = kept < entries.len ? file_open(path, false) : -1;
    bool ok = kept == entries.len || (fd >= 0 && file_truncate(fd, (int64_t)kept, path));
    file_close(fd);
    strbuf_deinit(&entries);
    return ok;
}

bool segment_save_indexes(struct segment *s, const char *dir, bool final)
{
    char path[PATH_ROOM];
    if (!s->offsets.loaded)
        return true;
    ensure(s->times.loaded && !s->indexes_filed);
    if (final)
        add_last_time(s);
    return index_save(&s->offsets, segment_path(path, dir, s->base_offset, ".index")) &&
           index_save(&s->times, segment_path(path, dir, s->base_offset, ".timeindex"));
}

static bool sync_by_name(const char *path)
{
    int fd = file_open(path, false);
    bool ok = fd >= 0 ? file_sync(fd, path) : errno == ENOENT;
    file_close(fd);
    return ok;
}

bool segment_sync_file(int64_t base, const char *dir, const struct file_ref *file)
{
    char path[PATH_ROOM];
    segment_path(path, dir, base, ".log");
    return file != NULL ? file_sync(file->fd, path) : sync_by_name(path);
}

bool segment_sync(struct segment *s, const char *dir)
{
    return segment_sync_file(s->base_offset, dir, s->file);
}

bool segment_sync_indexes(int64_t base, const char *dir, const char *extra_suffix)
{
    static const char *const suffixes[] = {".index", ".timeindex", ".txnindex"};
    char path[PATH_ROOM], name[PATH_ROOM + 16];
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(suffixes) && ok; i++) {
        snprintf(name, sizeof(name), "%s%s", segment_path(path, dir, base, suffixes[i]), extra_suffix);
        ok = sync_by_name(name);
    }
    return ok;
}

enum find_result segment_peek(struct segment *s, const char *dir, int64_t pos, bool cached_only, struct batch *out)
{
    uint8_t head[BATCH_HEADER_SIZE];
    char path[PATH_ROOM];
    ensure(pos >= 0);
    if (pos >= s->size)
        return FIND_END;
    if (!segment_open_file(s, dir, false))
        return FIND_ERROR;
    segment_path(path, dir, s->base_offset, ".log");
    size_t want = (size_t)MIN((int64_t)sizeof(head), s->size - pos);
    ssize_t n = cached_only ? file_read_cached(s->file->fd, head, want, pos, path)
                            : file_read_at(s->file->fd, head, want, pos, path);
    if (n == -2)
        return FIND_COLD;
    if (n < 0)
        return FIND_ERROR;
    if (n != (ssize_t)want || batch_peek((struct bytes){head, (int32_t)n}, out) != BATCH_OK ||
        out->size > s->size - pos) {
        log_error("No sound batch in %s at position %" PRId64, path, pos);
        return FIND_CORRUPT;
    }
    out->p = NULL; /* the header was on this stack */
    return FIND_OK;
}

int64_t segment_look_up(const struct segment *s, int32_t delta)
{
    int64_t pos = offset_index_find(&s->offsets, delta).position;
    return pos > 0 && pos < s->size ? pos : 0;
}

enum find_result segment_find(struct segment *s, const char *dir, int64_t offset, bool cached_only,
                              struct position *out)
{
    if (!segment_load_indexes(s, dir, false))
        return FIND_ERROR;
    int64_t delta = MIN(offset - s->base_offset, (int64_t)INT32_MAX);
    int64_t first = delta > 0 ? segment_look_up(s, (int32_t)delta) : 0, pos = first;
    for (;;) {
        struct batch b;
        enum find_result result = segment_peek(s, dir, pos, cached_only, &b);
        bool misled = result == FIND_CORRUPT || (result == FIND_OK && b.base_offset > offset);
        if (misled && pos == first && pos > 0) { /* the index is damaged: that only costs time */
            first = pos = 0;
            continue;
        }
        if (result == FIND_COLD)
            out->pos = pos;
        if (result != FIND_OK)
            return result;
        if (b.last_offset >= offset) {
            ensure(pos >= first && pos + b.size <= s->size);
            *out = (struct position){pos, b.size, b.last_offset};
            return FIND_OK;
        }
        pos += b.size;
    }
}

enum find_result segment_survey_tail(struct segment *s, const char *dir, int64_t *end)
{
    struct offset_entry indexed = offset_index_last(&s->offsets);
    int64_t pos = indexed.position;
    struct batch b;
    enum find_result result;
    if (pos < 0 || (pos > 0 && pos >= s->size))
        return FIND_CORRUPT;
    *end = s->base_offset;
    s->bytes_since_index = 0;
    while ((result = segment_peek(s, dir, pos, false, &b)) == FIND_OK) {
        if (!batch_offsets_are_possible(&b) || b.last_offset < *end || b.last_offset - s->base_offset > INT32_MAX)
            return FIND_CORRUPT;
        *end = b.last_offset + 1;
        if (b.max_timestamp > s->max_timestamp) {
            s->max_timestamp = b.max_timestamp;
            s->max_timestamp_offset = b.last_offset;
        }
        pos += b.size;
        s->bytes_since_index += b.size;
    }
    s->first_timestamp = segment_peek(s, dir, 0, false, &b) == FIND_OK ? b.max_timestamp : NO_TIMESTAMP;
    bool is_short = s->offsets.count > 0 && *end <= s->base_offset + indexed.delta;
    return result == FIND_END && is_short ? FIND_CORRUPT : result;
}

/*
 * From the batch at `pos` on, until there is one that is not below `offset`, or that cannot be. The log ends behind the
 * last that stays, also where nothing lies between that and `offset`, or a batch that holds it: who cuts is sent that
 * by the leader, and if an offset is damaged that is more than seemed to be missing.
 */
static enum find_result walk_to_cut(struct segment *s, const char *dir, int64_t pos, int64_t offset, struct cut *out)
{
    struct batch b;
    enum find_result result;
    *out = (struct cut){.pos = pos, .end = s->base_offset};
    while ((result = segment_peek(s, dir, out->pos, false, &b)) == FIND_OK && b.last_offset < offset) {
        if (!batch_offsets_are_possible(&b) || b.last_offset < out->end)
            return FIND_CORRUPT;
        *out = (struct cut){.pos = out->pos + b.size, .end = b.last_offset + 1};
    }
    if (result == FIND_OK && pos > 0 && out->pos == pos && b.base_offset > offset)
        return FIND_CORRUPT; /* the index has led too far */
    return result;
}

/* By the index, from entry to entry back to the beginning, where nothing sound is at what they point to. */
enum find_result segment_find_cut(struct segment *s, const char *dir, int64_t offset, struct cut *out)
{
    ensure(s->offsets.loaded && offset >= s->base_offset);
    int64_t delta = MIN(offset - s->base_offset, (int64_t)INT32_MAX) - 1; /* what the index keeps, or less */
    for (;;) {
        struct offset_entry e = delta > 0 ? offset_index_find(&s->offsets, (int32_t)delta) : (struct offset_entry){0};
        int64_t pos = e.position > 0 && e.position < s->size ? e.position : 0;
        enum find_result result = walk_to_cut(s, dir, pos, offset, out);
        if (result == FIND_ERROR)
            return FIND_ERROR;
        out->damaged = result == FIND_CORRUPT;
        if (result != FIND_CORRUPT || out->pos > pos || pos == 0)
            return FIND_OK;
        delta = e.delta - (int64_t)1;
    }
}

int64_t segment_position_behind(struct segment *s, const char *dir, int64_t pos)
{
    struct offset_entry e;
    bool found = segment_load_indexes(s, dir, false) && offset_index_from(&s->offsets, pos + 1, &e);
    return found && e.position > pos && e.position < s->size ? e.position : s->size;
}

bool segment_truncate(struct segment *s, const char *dir, struct cut at)
{
    char path[PATH_ROOM];
    ensure(at.pos >= 0 && at.pos <= s->size && at.end >= s->base_offset);
    if (at.pos == s->size)
        return true;
    if (!segment_load_indexes(s, dir, true) || !segment_open_file(s, dir, false))
        return false;
    segment_path(path, dir, s->base_offset, ".log");
    if (!file_truncate(s->file->fd, at.pos, path) || !file_sync(s->file->fd, path))
        return false;
    s->size = at.pos;
    s->written_back = MIN(s->written_back, s->size);
    int32_t delta = (int32_t)MIN(at.end - s->base_offset, (int64_t)INT32_MAX);
    offset_index_truncate(&s->offsets, delta);
    time_index_truncate(&s->times, delta);
    struct time_entry last = time_index_last(&s->times);
    s->max_timestamp = last.timestamp;
    s->max_timestamp_offset = s->base_offset + last.delta;
    int64_t end;
    enum find_result result = segment_survey_tail(s, dir, &end);
    bool ok = result == FIND_END || (result == FIND_CORRUPT && rebuild_indexes(s, dir, true));
    return ok && segment_save_indexes(s, dir, false) && truncate_aborts(s, dir, at.end);
}

static const char *const file_suffixes[] = {".log", ".index", ".timeindex", ".txnindex", ".snapshot"};

enum { DATA_FILES = 4 }; /* without the snapshot */

bool segment_delete_files(int64_t base, const char *dir, const char *extra_suffix)
{
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(file_suffixes); i++) {
        char path[PATH_ROOM + 16];
        segment_path(path, dir, base, file_suffixes[i]);
        strncat(path, extra_suffix, 15);
        ok = file_remove(path) && ok;
    }
    return ok;
}

/* One of its files, if it is there. */
static bool rename_file(int64_t base, const char *dir, size_t which, const char *from_suffix, const char *to_suffix)
{
    char path[PATH_ROOM], from[PATH_ROOM + 16], to[PATH_ROOM + 16];
    ensure(which < ARRAY_LEN(file_suffixes));
    segment_path(path, dir, base, file_suffixes[which]);
    snprintf(from, sizeof(from), "%s%s", path, from_suffix);
    snprintf(to, sizeof(to), "%s%s", path, to_suffix);
    return file_rename_if_any(from, to);
}

bool segment_mark_deleted(const struct segment *s, const char *dir, bool with_snapshot)
{
    bool ok = true;
    for (size_t i = 0; i < (with_snapshot ? ARRAY_LEN(file_suffixes) : DATA_FILES); i++)
        ok = rename_file(s->base_offset, dir, i, "", ".deleted") && ok;
    return ok;
}

bool segment_rename(int64_t base, const char *dir, const char *from_suffix, const char *to_suffix)
{
    bool log_first = *to_suffix == '\0', ok = true;
    for (size_t i = 0; i < DATA_FILES && ok; i++)
        ok = rename_file(base, dir, log_first ? i : DATA_FILES - 1 - i, from_suffix, to_suffix);
    return ok;
}
