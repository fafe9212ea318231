/*
 * What a fetch brings. When all goes well there are records: they are appended, and the watermark is taken over.
 *
 * Truncation, by an example: this follower has offsets 0 to 119, the last ones of epoch 4. It asks for 120, after
 * epoch 4. The leader, of epoch 6, knows that epoch 4 ended at 100, and answers just that. The log is cut to 100, and
 * the next Fetch asks for 100, after the epoch of 99. A log without any epochs is cut to its high watermark first.
 *
 * A partition whose offset the leader does not have is lost: ListOffsets asks where the leader's log ends or begins,
 * and it goes on from there. After any other error it rests. An answer about a partition that was changed while the
 * request was under way, by an order or a cut, is not taken: another life of it was meant.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "base/logger.h"
#include "replica/fetcher_internal.h"

/*
 * The leader's log and ours part at or before the end of that epoch there: ours is cut where the epoch ends in both,
 * and the next fetch tells whether that was enough.
 */
static void cut_back(struct followed *x, int32_t epoch, int64_t leader_end)
{
    struct plog *log = partition_log(x->partition);
    int64_t local_end, to = MIN(leader_end, plog_end_offset(log));
    int32_t local_epoch;
    plog_epoch_end(log, epoch, &local_epoch, &local_end);
    if (local_epoch >= 0)
        to = local_epoch == epoch ? MIN(to, local_end) : MIN(local_end, plog_end_offset(log));
    log_info("%s-%" PRId32 ": truncating to offset %" PRId64 ", where the leader's log differs",
             partition_topic(x->partition), partition_index(x->partition), to);
    enum kafka_error error = partition_truncate(x->partition, x->leader_epoch, to);
    if (error == ERR_NONE)
        followed_move_to(x, plog_end_offset(log));
    else
        followed_rest_after(x, error);
}

static void take_records(struct followed *x, const struct fetch_partition_data *in)
{
    struct append_result appended = {0};
    struct plog *log = partition_log(x->partition);
    int64_t now = clock_mono_ms();
    if (in->records.mem.len > 0) {
        enum kafka_error error = partition_append_follower(x->partition, x->leader_epoch, in->records.mem, &appended);
        if (error != ERR_NONE) {
            log_warn("%s-%" PRId32 ": cannot append what the leader sent: %s", partition_topic(x->partition),
                     partition_index(x->partition), error_name((int16_t)error));
            x->offset = plog_end_offset(log); /* it was not, or the leader's batch would be what comes next */
            x->unsynced = error == ERR_KAFKA_STORAGE_ERROR && appended.flush_due;
            followed_rest_after(x, error);
            return;
        }
        partition_note_received(x->partition, in->records.mem.len, now);
        fetcher_count_bytes(x->fetcher->counts, appended.bytes);
        if (plog_end_offset(log) != x->offset)
            followed_move_to(x, plog_end_offset(log));
    }
    x->in_sync = plog_end_offset(log) >= in->high_watermark;
    x->pause_ms = 0;
    if (partition_rests(x->partition, x->in_sync, now))
        followed_rest(x);
    partition_follow_marks(x->partition, x->leader_epoch, in->high_watermark, in->log_start_offset);
    if (plog_start_offset(log) != x->sent_start) /* by that, or by retention here: its leader may be waiting for it */
        followed_mark_changed(x);
}

static void take_error(struct followed *x, enum kafka_error error)
{
    switch (error) {
    case ERR_OFFSET_OUT_OF_RANGE:
        followed_set_lost(x, true);
        followed_forget(x);
        followed_mark_changed(x);
        return;
    case ERR_FENCED_LEADER_EPOCH: /* a newer leader is on its way to us */
    case ERR_UNKNOWN_LEADER_EPOCH:
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_INCONSISTENT_TOPIC_ID:
        followed_rest_briefly(x);
        return;
    default:
        log_warn("%s-%" PRId32 ": the leader, broker %" PRId32 ", answers %s", partition_topic(x->partition),
                 partition_index(x->partition), x->fetcher->leader, error_name((int16_t)error));
    }
    followed_rest(x);
}

static void fetched_take_partition(struct fetcher *f, const struct fetch_fetchable_topic_response *t,
                                   const struct fetch_partition_data *in)
{
    struct followed *x = f->version >= FETCH_IDS_SINCE ? followed_by_id(f, t->topic_id, in->partition_index)
                                                       : followed_by_name(f, t->topic, in->partition_index);
    if (x == NULL || x->changed || x->lost || x->offset != x->sent_offset)
        return; /* another life of the partition was meant */
    ensure(x->in_session);
    if (in->error_code != ERR_NONE)
        take_error(x, (enum kafka_error)in->error_code);
    else if (in->diverging_epoch.epoch >= 0)
        cut_back(x, in->diverging_epoch.epoch, in->diverging_epoch.end_offset);
    else
        take_records(x, in);
}

bool fetched_take(struct fetcher *f)
{
    const struct fetch_response *in = &f->fetched;
    if (in->error_code != ERR_NONE) {
        if (in->error_code != ERR_FETCH_SESSION_ID_NOT_FOUND && in->error_code != ERR_INVALID_FETCH_SESSION_EPOCH)
            log_warn("Broker %" PRId32 " answers a fetch with %s", f->leader, error_name(in->error_code));
        fetcher_begin_anew(f);
        if (in->error_code == ERR_FETCH_SESSION_ID_NOT_FOUND)
            f->session_id = 0;
        return in->error_code == ERR_FETCH_SESSION_ID_NOT_FOUND || in->error_code == ERR_INVALID_FETCH_SESSION_EPOCH;
    }
    for (int32_t t = 0; t < in->responses.len; t++)
        for (int32_t i = 0; i < in->responses.items[t].partitions.len; i++)
            fetched_take_partition(f, &in->responses.items[t], &in->responses.items[t].partitions.items[i]);
    f->session_id = in->session_id;
    if (in->session_id == 0)
        fetcher_begin_anew(f); /* the leader has no room for a session: all is told each time */
    else
        f->session_epoch = f->session_epoch == INT32_MAX ? 1 : f->session_epoch + 1;
    return true;
}

/* ---- Lost partitions ---- */

static struct log_limit refusals;

/* It may go on for ever: once for each offset at which it does. */
static void warn_of_refusal(struct followed *x)
{
    if (x->refused_at == x->offset)
        return;
    x->refused_at = x->offset;
    log_warn_limited(
        &refusals,
        "%s-%" PRId32 ": the leader, broker %" PRId32 ", says that offset %" PRId64
        " is out of range, though its log has it: nothing is replicated as long as it says so. Where the topic "
        "has a message.format.version below 0.11, delete that setting: no leader keeps epochs then",
        partition_topic(x->partition), partition_index(x->partition), x->fetcher->leader, x->offset);
}

static void settle_lost(struct followed *x, int64_t leader_start)
{
    struct plog *log = partition_log(x->partition);
    ensure(x->lost && leader_start >= 0);
    enum kafka_error error = ERR_NONE;
    int64_t end = plog_end_offset(log);
    if (leader_start > end) {
        log_warn("%s-%" PRId32 ": the leader's log begins at %" PRId64 ", behind the end of ours at %" PRId64
                 ": starting it anew there",
                 partition_topic(x->partition), partition_index(x->partition), leader_start, end);
        error = partition_restart_log(x->partition, x->leader_epoch, leader_start);
    }
    followed_set_lost(x, false);
    end = MAX(leader_start, plog_end_offset(log));
    if (error == ERR_NONE && end != x->offset) {
        followed_move_to(x, end);
        return;
    }
    if (error != ERR_NONE) {
        followed_rest_after(x, error);
        return;
    }
    warn_of_refusal(x);
    followed_rest(x); /* the leader has that offset, and will perhaps say so the next time */
}

/* A leader whose log is shorter than ours was elected out of sync: what it does not have goes. */
static void settle_ahead(struct followed *x, int64_t leader_end)
{
    ensure(x->lost);
    log_warn("%s-%" PRId32 ": the leader's log ends at %" PRId64 ", before ours: truncating to there",
             partition_topic(x->partition), partition_index(x->partition), leader_end);
    followed_set_lost(x, false);
    enum kafka_error error = partition_truncate(x->partition, x->leader_epoch, leader_end);
    if (error == ERR_NONE)
        followed_move_to(x, plog_end_offset(partition_log(x->partition)));
    else
        followed_rest_after(x, error);
}

static void take_offset(struct fetcher *f, struct str topic, const struct list_offsets_partition_response *in,
                        bool latest)
{
    struct followed *x = followed_by_name(f, topic, in->partition_index);
    if (x == NULL || !x->lost)
        return;
    if (in->error_code != ERR_NONE || in->offset < 0) {
        followed_set_lost(x, false); /* the next fetch will find out again */
        followed_rest(x);
    } else if (!latest) {
        settle_lost(x, in->offset);
    } else if (in->offset < plog_end_offset(partition_log(x->partition))) {
        settle_ahead(x, in->offset);
    }
}

void fetched_take_offsets(struct fetcher *f, const struct list_offsets_response *in, bool latest)
{
    for (int32_t t = 0; t < in->topics.len; t++)
        for (int32_t i = 0; i < in->topics.items[t].partitions.len; i++)
            take_offset(f, in->topics.items[t].name, &in->topics.items[t].partitions.items[i], latest);
}
