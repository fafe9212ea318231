/*
 * Opening a log (disk format: segments, then indexes, then the state that lies beside them). After a clean
 * stop the file names, their sizes and the last segment's index tell all; after a crash every segment from
 * the recovery point on is read, and what does not check out at its end is cut off.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/logger.h"
#include "log/file.h"
#include "log/leftovers_internal.h"
#include "log/plog_internal.h"
#include "log/scan_internal.h"

enum {
    CHECK_CHUNK = 256 * 1024, /* what was read is still in the processor's cache when it is checked */
    HEADS_CHUNK = 8 * 1024,   /* where only the headers count */
    WORTH_A_LINE = 64 << 20,  /* bytes to be read again */
};

/* ---- Segments ---- */

static bool has_file(const struct names *names, const char *name)
{
    for (size_t lo = 0, hi = names->n; lo < hi;) {
        size_t mid = (lo + hi) / 2;
        int order = strcmp(name, names->v[mid]);
        if (order == 0)
            return true;
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return false;
}

static bool load_has_name(const struct names *names, int64_t base, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof(name), "%020" PRId64 "%s", base, suffix);
    return has_file(names, name);
}

static void remove_orphans(const char *dir, const struct names *names)
{
    char path[PATH_ROOM];
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->v[i];
        int64_t base = segment_any_base(name);
        bool index =
            name_ends_with(name, ".index") || name_ends_with(name, ".timeindex") || name_ends_with(name, ".txnindex");
        if (base < 0 || !index || load_has_name(names, base, ".log"))
            continue;
        log_warn("Found an orphaned index file %s/%s, removing it", dir, name);
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        file_remove(path);
    }
}

static bool find_segments(struct plog *log, const struct names *names)
{
    char path[PATH_ROOM];
    bool ok = true;
    remove_orphans(log->path, names);
    for (size_t i = 0; i < names->n && ok; i++) {
        int64_t base = segment_parse_name(names->v[i], ".log");
        if (base < 0)
            continue;
        struct segment *s = segment_new(base);
        ensure(log->segment_count == 0 || log->segments[log->segment_count - 1]->base_offset < base);
        ok =
            file_look_at(segment_path(path, log->path, base, ".log"), &s->size, &s->created_ms) && s->size <= INT32_MAX;
        log->segments = xgrow(log->segments, log->segment_count + 1, &log->segment_cap, sizeof(*log->segments));
        log->segments[log->segment_count++] = s;
    }
    return ok;
}

/* ---- Producers ---- */

/* The next batch; behind damage, what the index knows of, as readers find that, too. */
static bool next_head(struct segment *s, const char *dir, struct scan *scan, struct batch *b)
{
    while (scan_next_head(scan, b) != BATCH_OK) {
        if (scan->failed || scan->pos >= s->size)
            return false;
        scan->pos = segment_position_behind(s, dir, scan->pos);
    }
    return true;
}

/* The batches in [from, to). */
static bool replay_segment(struct plog *log, struct segment *s, int64_t from, int64_t to)
{
    struct position at = {0};
    struct scan scan;
    struct batch b;
    struct txn_entry aborted;
    struct strbuf aborts = {0};
    if (!segment_open_file(s, log->path, false))
        return false;
    /* Damage on the way there is passed over, as it is by readers. */
    if (s->base_offset < from && segment_find(s, log->path, from, false, &at) == FIND_ERROR)
        return false;
    bool ok = true;
    scan_init(&scan, s->file->fd, log->path, at.pos, s->size, HEADS_CHUNK);
    while (ok && next_head(s, log->path, &scan, &b) && b.base_offset < to) {
        ok = !batch_is_control(&b) || scan_whole(&scan, &b);
        if (ok && b.last_offset >= from && plog_note_batch(log, &b, &aborted))
            txn_entry_put(&aborts, &aborted);
    }
    ok = ok && !scan.failed;
    scan_deinit(&scan);
    ok = ok && (!s->aborts_lost || segment_replace_aborts(s, log->path, &aborts));
    strbuf_deinit(&aborts);
    return ok;
}

static bool is_halted(const struct plog *log)
{
    return log->home->host != NULL && log->home->host->halted != NULL && atomic_load(log->home->host->halted);
}

bool plog_replay_producers(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    ensure(log->segment_count > 0 && log->producers.map_end_offset >= 0);
    int64_t from = MAX(log->producers.map_end_offset, log->segments[0]->base_offset);
    for (size_t i = plog_segment_index(log, from); i < log->segment_count; i++)
        if ((from < offset || log->segments[i]->aborts_lost) &&
            (is_halted(log) || !replay_segment(log, log->segments[i], from, offset)))
            return false;
    log->producers.map_end_offset = offset;
    return true;
}

/* Not further back than this, and within one segment: what a producer has under way lies at the end of the log. */
enum { RECALLED_OFFSETS = 20000 };

bool plog_recall_batches(struct plog *log, int64_t producer_id, bool *recalled)
{
    ensure(lock_is_held(&log->lock));
    struct batch b, found[PRODUCER_BATCHES];
    struct position at;
    int64_t end;
    int count = 0;
    ensure(log->segment_count > 0);
    *recalled = false;
    if (!producers_may_recall(&log->producers, producer_id, &end) || end <= log->segments[0]->base_offset)
        return true;
    struct segment *s = log->segments[plog_segment_index(log, end - 1)];
    enum find_result result = segment_find(s, log->path, MAX(s->base_offset, end - RECALLED_OFFSETS), false, &at);
    if (result != FIND_OK)
        return result != FIND_ERROR;
    for (int64_t pos = at.pos;; pos += b.size) {
        result = segment_peek(s, log->path, pos, false, &b);
        if (result != FIND_OK || b.base_offset >= end)
            break;
        if (b.producer_id != producer_id || batch_is_control(&b))
            continue;
        if (count == PRODUCER_BATCHES)
            memmove(found, found + 1, sizeof(b) * (size_t)--count);
        found[count++] = b;
    }
    if (result == FIND_ERROR)
        return false;
    producers_recall(&log->producers, producer_id, found, count);
    *recalled = true;
    return true;
}

/* ---- Recovery ---- */

/*
 * Only epochs behind those that are known: an older one, met again, would take the place of all that came after it.
 * Where all that comes after is read again, the batches know better than the checkpoint: it may have been written for
 * what took the place of a batch that is back since the power failed.
 */
static void learn_epoch(struct plog *log, const struct batch *b, bool unsure)
{
    struct epochs *known = &log->epochs;
    if (b->magic != 2 || b->leader_epoch < 0)
        return;
    if (unsure && epochs_at(known, b->base_offset) > b->leader_epoch)
        known->learned |= epochs_drop_above(known, b->leader_epoch);
    if (known->n == 0 || b->leader_epoch > known->v[known->n - 1].epoch)
        known->learned |= epochs_assign(known, b->leader_epoch, b->base_offset);
}

/*
 * Whether a batch says that its segment was compacted, if `next` is what comes behind the one before: only compaction
 * leaves out offsets, or records of a batch. A header of the old formats does not say where its records begin.
 */
static bool leaves_out(const struct batch *b, int64_t next)
{
    return b->magic < 2 || b->base_offset > next || b->count != b->last_offset - b->base_offset + 1;
}

struct checked {        /* of a segment */
    int64_t good, next; /* where its sound part ends, in the file and in offsets */
    bool compacted;     /* as what is sound says */
};

/*
 * Checks the whole segment and makes its indexes anew. False if it cannot be read: then nothing is known of it.
 */
static bool check_segment(struct plog *log, struct segment *s, bool unsure, struct checked *out)
{
    struct scan scan;
    struct batch b;
    *out = (struct checked){.next = s->base_offset};
    segment_forget_batches(s);
    if (s->size == 0)
        return true;
    if (!segment_open_file(s, log->path, false))
        return false;
    scan_init(&scan, s->file->fd, log->path, 0, s->size, CHECK_CHUNK);
    while (scan_next(&scan, &b) == BATCH_OK) {
        if (!batch_crc_ok(&b) || !batch_offsets_are_possible(&b) || b.last_offset < out->next ||
            b.last_offset - s->base_offset > INT32_MAX)
            break;
        segment_note_batch(s, &b, (int32_t)out->good, log->config.index_interval_bytes);
        learn_epoch(log, &b, unsure);
        s->aborts_lost |= unsure && batch_is_control(&b);
        out->compacted |= leaves_out(&b, out->next);
        out->next = b.last_offset + 1;
        out->good = scan.pos;
    }
    bool ok = !scan.failed;
    scan_deinit(&scan);
    return ok;
}

static bool drop_from(struct plog *log, size_t first)
{
    bool any = log->segment_count > first;
    while (log->segment_count > first) {
        struct segment *s = log->segments[--log->segment_count];
        log_warn("Deleting segment %020" PRId64 " of %s, which lies behind invalid data", s->base_offset, log->path);
        segment_delete_files(s->base_offset, log->path, "");
        segment_free(s);
    }
    return !any || dir_sync(log->path);
}

/* The segments behind go first: should this be interrupted, what is invalid must still be there to tell of it. */
static bool cut_behind(struct plog *log, size_t i, int64_t good, const char *path)
{
    struct segment *s = log->segments[i];
    ensure(good >= 0 && good < s->size);
    if (!drop_from(log, i + 1) || !file_truncate(s->file->fd, good, path) || !file_sync(s->file->fd, path))
        return false;
    s->size = good;
    return true;
}

/* Below the recovery point nothing is cut: records behind the damage may well be sound. */
static bool recover_segment(struct plog *log, size_t i, bool unsure, struct checked *found)
{
    struct segment *s = log->segments[i];
    char path[PATH_ROOM];
    ensure(lock_is_held(&log->lock) && i < log->segment_count);
    if (s->size >= WORTH_A_LINE)
        log_info("Recovering segment %020" PRId64 " of %s, %zu of %zu, %" PRId64 " bytes", s->base_offset, log->path,
                 i + 1, log->segment_count, s->size);
    if (!check_segment(log, s, unsure, found))
        return false;
    segment_path(path, log->path, s->base_offset, ".log");
    if (found->good < s->size && !unsure && i + 1 < log->segment_count) {
        log_error("%s is damaged at position %" PRId64 " (offset %" PRId64 "), and stays as it is", path, found->good,
                  found->next);
    } else if (found->good < s->size) {
        log_warn("Found invalid data in %s at position %" PRId64 " (offset %" PRId64 "): cutting %" PRId64 " bytes",
                 path, found->good, found->next, s->size - found->good);
        if (!cut_behind(log, i, found->good, path))
            return false;
    }
    if (log->home->host != NULL)
        log->home->host->recovered(log->home->host->ctx, s->size);
    log->touched = true;
    /* Behind the recovery point indexes are made again after a power failure, and synced before it passes them. */
    bool ok = unsure ? segment_save_indexes(s, log->path, true) : segment_replace_indexes(s, log->path);
    s->indexes_filed = ok && s != plog_active(log);
    return ok;
}

/* Older segments' indexes are read when they are needed; of one that is empty, nothing is to be read. */
static bool indexes_usable(struct plog *log, struct segment *s, const struct names *names, bool active)
{
    char path[PATH_ROOM];
    if (active && s->size == 0 && load_has_name(names, s->base_offset, ".index") &&
        load_has_name(names, s->base_offset, ".timeindex")) {
        index_init(&s->offsets, OFFSET_ENTRY);
        index_init(&s->times, TIME_ENTRY);
        return true;
    }
    return index_is_sound(segment_path(path, log->path, s->base_offset, ".index"), OFFSET_ENTRY) &&
           index_is_sound(segment_path(path, log->path, s->base_offset, ".timeindex"), TIME_ENTRY) &&
           (!active || segment_load_indexes(s, log->path, true));
}

/* Whether its records say that it was compacted. Those that a crash has damaged say nothing. */
static bool segment_was_compacted(const struct plog *log, struct segment *s)
{
    struct scan scan;
    struct batch b;
    int64_t next = s->base_offset;
    bool compacted = false;
    if (s->size == 0)
        return false;
    if (!segment_open_file(s, log->path, false))
        return true; /* nothing is known of it, and nothing is to be deleted for that */
    scan_init(&scan, s->file->fd, log->path, 0, s->size, CHECK_CHUNK);
    while (!compacted && scan_next(&scan, &b) == BATCH_OK && batch_crc_ok(&b)) {
        compacted = leaves_out(&b, next);
        next = b.last_offset + 1;
    }
    compacted |= scan.failed;
    scan_deinit(&scan);
    return compacted;
}

struct recovery { /* of a log, as far as it has come */
    const struct plog_origin *origin;
    bool apaches;        /* it was Apache's broker that did not end well here */
    bool looked;         /* for batches that tell of compaction: */
    size_t compacted_to; /* there are some behind the segments before this one, or in the last of them */
    struct checked last; /* the segment before */
    bool compacted;      /* as any that was checked says */
    bool trusted;        /* there was a gap for which only the checkpoints spoke, or that they were missing */
};

/*
 * Apache's broker gives the active segment's index all the room that it may take, and cuts it when it ends well. Where
 * that cannot be seen it may have been Apache's: less is deleted then.
 */
static int64_t index_room(const struct plog *log)
{
    return log->config.segment_index_bytes / OFFSET_ENTRY * OFFSET_ENTRY;
}

static bool was_apaches(const struct plog *log)
{
    static const uint8_t none[OFFSET_ENTRY];
    uint8_t last[OFFSET_ENTRY] = {0};
    char path[PATH_ROOM];
    segment_path(path, log->path, plog_active(log)->base_offset, ".index");
    int fd = file_open(path, false);
    if (fd < 0)
        return file_last_error() != ENOENT;
    int64_t size = file_size(fd);
    bool sized = size > 0 && size == index_room(log);
    ssize_t n = sized ? file_read_at(fd, last, OFFSET_ENTRY, size - OFFSET_ENTRY, path) : 0;
    file_close(fd);
    return sized && (n != OFFSET_ENTRY || memcmp(last, none, OFFSET_ENTRY) == 0);
}

/* For a start after this one, should this one not come to saving the recovery point; until the index is written next.
 */
static bool leave_apaches_mark(const struct plog *log)
{
    char path[PATH_ROOM];
    segment_path(path, log->path, plog_active(log)->base_offset, ".index");
    int fd = file_open(path, true);
    bool ok = fd >= 0 && file_truncate(fd, index_room(log), path);
    file_close(fd);
    return ok;
}

/* A cleaner goes on from where everything is compacted, so that one segment speaks for all before it. */
static bool rest_was_compacted(const struct plog *log, size_t i, struct recovery *r)
{
    if (!r->looked) {
        r->looked = true;
        r->compacted_to = log->segment_count;
        while (r->compacted_to > i && !segment_was_compacted(log, log->segments[r->compacted_to - 1]))
            r->compacted_to--;
    }
    return i < r->compacted_to;
}

/*
 * The disk may have had the end of a segment to write yet when the next one was already there, and then what lies
 * behind is no log any more: it goes, and is fetched again. By right there are gaps where a log was compacted, and in
 * copies that Kafka's followers make of such a one, as their segments begin with a batch.
 *
 * What lies below the recovery point was on the disk for sure, and no cleaner of this broker works above it: what is
 * missing there is lawful below, and above only where the batches beside it tell of compaction. Where no recovery point
 * is known, nor how far a cleaner went, or where it was Apache's, which goes above that point, a gap is lawful in a
 * topic that is compacted, or any of whose batches tell that it was. Who stops the broker meanwhile has nothing
 * deleted.
 */
static bool gap_is_lawful(const struct plog *log, size_t i, struct recovery *r)
{
    const struct plog_origin *o = r->origin;
    if (r->last.next < o->recovery_point || r->last.compacted || is_halted(log) ||
        segment_was_compacted(log, log->segments[i]))
        return true;
    bool trusted = log->segments[i - 1]->base_offset < o->clean_end;
    if (o->recovery_point < 0 || r->apaches)
        trusted |= r->compacted || (log->config.cleanup_policy & CLEANUP_POLICY_COMPACT) != 0 ||
                   rest_was_compacted(log, i + 1, r);
    r->trusted |= trusted;
    return trusted;
}

static bool load_follows(const struct plog *log, size_t i, struct recovery *r)
{
    ensure(i > 0 && i < log->segment_count);
    int64_t base = log->segments[i]->base_offset, end = r->last.next;
    if (base == end || (base > end && gap_is_lawful(log, i, r)))
        return true;
    log_warn("Segment %020" PRId64 " of %s ends at offset %" PRId64 ", and not where the next begins: a part was lost",
             log->segments[i - 1]->base_offset, log->path, end);
    return false;
}

/* They are made again together with the producers' state, from which it is known where a transaction began. */
static bool check_aborts(struct plog *log, struct segment *s, const struct names *names, bool unsure)
{
    bool sound;
    s->no_aborts = !load_has_name(names, s->base_offset, ".txnindex");
    if (s->no_aborts)
        return true;
    if (!segment_check_aborts(s, log->path, &sound))
        return false;
    if (!sound && !unsure)
        log_warn("Transaction index of segment %020" PRId64 " in %s is damaged, rebuilding it", s->base_offset,
                 log->path);
    s->aborts_lost |= unsure ? !s->no_aborts : !sound;
    return true;
}

static void note_to_recover(const struct plog_origin *origin, size_t segments)
{
    if (origin->to_recover != NULL)
        atomic_store_explicit(origin->to_recover, (int)segments, memory_order_relaxed);
}

/* `trusted`: it has gaps of which the next start may know less than this one. */
static bool recover_segments(struct plog *log, const struct plog_origin *origin, const struct names *names,
                             bool *trusted)
{
    int64_t point = MAX(origin->recovery_point, (int64_t)0);
    size_t first_unsure = origin->clean ? log->segment_count : plog_segment_index(log, point);
    struct recovery r = {.origin = origin, .apaches = !origin->clean && was_apaches(log)};
    for (size_t i = 0; i < log->segment_count; i++) {
        bool unsure = i >= first_unsure;
        struct segment *s = log->segments[i];
        if (!check_aborts(log, s, names, unsure))
            return false;
        if (!unsure && indexes_usable(log, s, names, i + 1 == log->segment_count))
            continue;
        if (!unsure)
            log_warn("Index of segment %020" PRId64 " in %s is missing or damaged, rebuilding it", s->base_offset,
                     log->path);
        if (i > first_unsure && !load_follows(log, i, &r))
            return drop_from(log, i);
        if (unsure)
            note_to_recover(origin, log->segment_count - i);
        if (is_halted(log) || !recover_segment(log, i, unsure, &r.last))
            return false;
        r.compacted |= r.last.compacted;
        *trusted = r.trusted;
    }
    return !r.trusted || !r.apaches || leave_apaches_mark(log);
}

/* Where the first transaction index begins that is to be made again. */
static int64_t first_lost_aborts(const struct plog *log)
{
    for (size_t i = 0; i < log->segment_count; i++)
        if (log->segments[i]->aborts_lost)
            return log->segments[i]->base_offset;
    return INT64_MAX;
}

/* The newest sound snapshot not above the end, nor what is to be read again; then the log behind it. */
static bool load_producers(struct plog *log, const struct names *names, int64_t end)
{
    int64_t limit = first_lost_aborts(log);
    char path[PATH_ROOM];
    enum file_result found = FILE_MISSING;
    bool stale = false;
    for (size_t i = names->n; i-- > 0 && found != FILE_FAILED;) {
        int64_t at = segment_parse_name(names->v[i], ".snapshot");
        if (at < 0)
            continue;
        bool above = at > end, first = !above && found == FILE_MISSING && at <= limit;
        stale |= above;
        segment_path(path, log->path, at, ".snapshot");
        if (first)
            found = producers_load(&log->producers, path, at);
        if (above || (first && found == FILE_MISSING) ||
            (!first && found == FILE_FOUND && !load_has_name(names, at, ".log")))
            file_remove(path);
    }
    bool loaded = found == FILE_FOUND;
    if (found == FILE_FAILED || (stale && !dir_sync(log->path))) /* or one could come back, and be taken for new */
        return false;
    log->snapshot_end = loaded ? log->producers.map_end_offset : -1;
    if (!loaded)
        producers_clear(&log->producers, log->segments[0]->base_offset);
    return plog_replay_producers(log, end);
}

static bool load_epochs(struct plog *log, const struct names *names, bool *complete)
{
    char path[PATH_ROOM];
    *complete = true;
    if (!has_file(names, "leader-epoch-checkpoint"))
        return true;
    snprintf(path, sizeof(path), "%s/leader-epoch-checkpoint", log->path);
    return epochs_read(path, &log->epochs, complete);
}

/* From the batches, which have them as well. */
static bool learn_all_epochs(struct plog *log)
{
    log_warn("The leader epochs of %s are damaged, and taken from its records", log->path);
    log->epochs.n = 0;
    log->epochs.learned = true;
    bool ok = true;
    for (size_t i = 0; i < log->segment_count && ok; i++) {
        struct segment *s = log->segments[i];
        struct scan scan;
        struct batch b;
        if (!segment_open_file(s, log->path, false))
            return false;
        scan_init(&scan, s->file->fd, log->path, 0, s->size, HEADS_CHUNK);
        while (scan_next_head(&scan, &b) == BATCH_OK)
            learn_epoch(log, &b, false);
        ok = !scan.failed;
        scan_deinit(&scan);
    }
    return ok;
}

static void set_topic_id(struct plog *log, struct uuid id)
{
    ensure(lock_is_held(&log->files) && !atomic_load(&log->has_topic_id) && !uuid_is_zero(id));
    log->topic_id = id;
    atomic_store(&log->has_topic_id, true);
}

/* A log whose file does not tell it, as it is empty, say, has none until the controller names it. */
static bool read_topic_id(struct plog *log, const struct names *names)
{
    char path[PATH_ROOM], text[UUID_TEXT_LEN + 1];
    struct strbuf content = {0};
    struct uuid id = UUID_ZERO;
    int version = -1;
    if (!has_file(names, "partition.metadata"))
        return true;
    snprintf(path, sizeof(path), "%s/partition.metadata", log->path);
    enum file_result found = file_load(path, &content);
    strbuf_add(&content, "", 1);
    bool told = sscanf(content.p, "version: %d topic_id: %22s", &version, text) == 2 && version == 0 &&
                uuid_parse(str_of(text), &id);
    if (found == FILE_FOUND && !told)
        log_warn("%s is malformed: the log has no topic id until the controller gives it one", path);
    if (found == FILE_FOUND && told && !uuid_is_zero(id))
        set_topic_id(log, id);
    strbuf_deinit(&content);
    return found != FILE_FAILED;
}

static bool write_topic_id(const struct plog *log, struct uuid id)
{
    char path[PATH_ROOM], text[UUID_TEXT_LEN + 1], content[64];
    ensure(lock_is_held(&log->files)); /* or it could be another's path meanwhile */
    uuid_format(id, text);
    int n = snprintf(content, sizeof(content), "version: 0\ntopic_id: %s", text);
    snprintf(path, sizeof(path), "%s/partition.metadata", log->path);
    return file_replace(path, content, (size_t)n);
}

enum kafka_error plog_adopt_topic_id(struct plog *log, struct uuid id)
{
    enum kafka_error error = ERR_NONE;
    if (uuid_is_zero(id) || uuid_eq(id, plog_topic_id(log)))
        return ERR_NONE;
    lock_take(&log->files);
    struct uuid ours = plog_topic_id(log);
    if (!uuid_is_zero(ours))
        error = uuid_eq(id, ours) ? ERR_NONE : ERR_INCONSISTENT_TOPIC_ID;
    else if (write_topic_id(log, id))
        set_topic_id(log, id);
    else
        error = ERR_KAFKA_STORAGE_ERROR;
    lock_release(&log->files);
    return error;
}

static struct plog *plog_alloc(const struct plog_home *home, const char *topic, int32_t partition,
                               const struct topic_config *config, const char *name)
{
    struct plog *log = xcalloc(1, sizeof(*log));
    atomic_init(&log->refs, 1);
    lock_init(&log->files, RANK_LOG_FILES);
    lock_init(&log->lock, RANK_LOG);
    log->topic = xstrdup(topic);
    log->partition = partition;
    log->home = home;
    log->path =
        name != NULL ? xasprintf("%s/%s", home->path, name) : xasprintf("%s/%s-%" PRId32, home->path, topic, partition);
    log->cut_to = INT64_MAX;
    atomic_init(&log->future, name != NULL);
    log->config = *config;
    log->clean_end = -1;
    atomic_init(&log->first_unstable, INT64_MAX);
    return log;
}

static bool make_first_segment(struct plog *log, int64_t base)
{
    bool made = plog_insert_segment(log, segment_new(base));
    log->touched = false; /* it is made again, should it be lost */
    return made;
}

static bool load_segments(struct plog *log, const struct plog_origin *origin, const struct names *names, bool *trusted)
{
    bool complete;
    *trusted = false;
    if (!read_topic_id(log, names) || !load_epochs(log, names, &complete) || !find_segments(log, names))
        return false;
    if (log->segment_count == 0)
        return make_first_segment(log, MAX(origin->start_offset, (int64_t)0));
    return recover_segments(log, origin, names, trusted) && (complete || learn_all_epochs(log));
}

/*
 * Where the log ends. Beside a mark of a clean shutdown nobody has looked at the last segment yet: it may be half of
 * what it was, in a copy, or on a disk that has kept less than it said. Then it is `repaired` as after a crash.
 */
static bool find_end(struct plog *log, int64_t *end, bool *repaired)
{
    struct segment *s = plog_active(log);
    struct checked found;
    if (!segment_load_indexes(s, log->path, true))
        return false;
    enum find_result result = segment_survey_tail(s, log->path, end);
    *repaired = result == FIND_CORRUPT;
    if (*repaired && recover_segment(log, log->segment_count - 1, true, &found))
        result = segment_survey_tail(s, log->path, end);
    s->written_back = s->size; /* what was there before is not ours to hurry */
    return result == FIND_END;
}

static bool settle_offsets(struct plog *log, const struct plog_origin *origin, struct names *names)
{
    int64_t end;
    bool repaired;
    if (!find_end(log, &end, &repaired))
        return false;
    if (end < origin->start_offset) {
        log_warn("Log %s ends at %" PRId64 ", before its start offset %" PRId64 ": starting it anew there", log->path,
                 end, origin->start_offset);
        return plog_truncate_fully_locked(log, origin->start_offset);
    }
    int64_t start = MAX(origin->start_offset, log->segments[0]->base_offset);
    atomic_store(&log->start, start);
    atomic_store(&log->end, end);
    atomic_store(&log->high_watermark, MIN(MAX(origin->high_watermark, start), end));
    log->recovery_point = origin->clean ? end : MIN(MAX(origin->recovery_point, (int64_t)0), end);
    if (repaired)
        log->recovery_point = MIN(log->recovery_point, plog_active(log)->base_offset);
    log->clean_end = origin->clean_end <= end ? origin->clean_end : -1;
    log->clean_end = MIN(log->clean_end, MAX(log->recovery_point, start)); /* the one may have been saved later */
    log->clean_end_unsaved = log->clean_end != origin->clean_end;
    /* The file is not to have them, either, when batches of earlier epochs follow here. After a clean stop they are
     * those without a record yet. */
    log->epochs.learned |= epochs_truncate_from_end(&log->epochs, end) && !origin->clean;
    epochs_truncate_from_start(&log->epochs, start);
    if (log->touched) { /* and so may be what is there */
        names_free(names);
        if (!dir_list_files(log->path, names))
            return false;
    }
    if (!load_producers(log, names, end))
        return false;
    producers_commit(&log->producers, atomic_load(&log->high_watermark));
    plog_update_unstable(log);
    return !log->epochs.learned || plog_write_epochs(log);
}

/* Nothing stays open: who has thousands of logs does not use all of them at once. */
static void close_files(struct plog *log)
{
    for (size_t i = 0; i < log->segment_count; i++)
        segment_close_file(log->segments[i]);
}

static bool load_all(struct plog *log, const struct plog_origin *origin)
{
    struct names names;
    if (!dir_make(log->path) || !leftovers_settle(log->path, &names))
        return false;
    bool trusted;
    bool ok = load_segments(log, origin, &names, &trusted) && settle_offsets(log, origin, &names);
    names_free(&names);
    if (ok && !origin->clean && atomic_load(&log->end) > 0)
        plog_begin_snapshot(log, atomic_load(&log->end));
    /* After the next crash that has a recovery point, and should it lie below such gaps, they would be losses. */
    return ok && plog_write_snapshots(log) && (!trusted || plog_flush_locked(log, atomic_load(&log->end)));
}

struct plog *plog_load(const struct plog_home *home, const char *topic, int32_t partition,
                       const struct topic_config *config, const struct plog_origin *origin)
{
    struct plog *log = plog_alloc(home, topic, partition, config, origin->name);
    file_clear_error();
    lock_take(&log->files);
    lock_take(&log->lock);
    bool ok = load_all(log, origin);
    close_files(log);
    if (ok)
        plog_check(log);
    lock_release(&log->lock);
    lock_release(&log->files);
    if (ok)
        return log;
    if (is_halted(log))
        log_info("Log %s is left for the next start to load", log->path);
    else
        log_error("Cannot load log %s", log->path);
    plog_unref(log);
    return NULL;
}
