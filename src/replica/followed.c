/*
 * What one loop follows: a table of partitions, and for each leader a list of those whose state its session must be
 * told.
 *
 * When all goes well a partition is named to the leader once. It is then in the session, and is not named again before
 * its offset moves. With an error, or held back by a throttle, it rests: the leader is to forget it, and it stays in
 * the list of changes until its time has come.
 */
#include "base/clock.h"
#include "replica/fetcher_internal.h"

enum { FIRST_PAUSE_MS = 20 };

/* ---- Finding ---- */

static void make_id_key(struct uuid topic_id, int32_t index, struct id_key *out)
{
    memset(out, 0, sizeof(*out)); /* its padding, too, is hashed */
    out->topic_id = topic_id;
    out->index = index;
}

struct followed *followed_find(struct fetchers *all, struct partition *p)
{
    struct followed *x;
    HASH_FIND_PTR(all->by_partition, &p, x);
    return x;
}

struct followed *followed_by_name(struct fetcher *f, struct str topic, int32_t index)
{
    struct topic_key key;
    struct followed *x = NULL;
    if (topic_key_make(topic, index, &key))
        HASH_FIND(hh_name, f->all->by_name, &key, topic_key_size(&key), x);
    return x != NULL && x->fetcher == f ? x : NULL;
}

struct followed *followed_by_id(struct fetcher *f, struct uuid topic_id, int32_t index)
{
    struct id_key key;
    struct followed *x = NULL;
    make_id_key(topic_id, index, &key);
    HASH_FIND(hh_id, f->all->by_id, &key, sizeof(key), x);
    return x != NULL && x->fetcher == f ? x : NULL;
}

static void followed_set_failed(struct followed *x, bool failed)
{
    fetcher_count_failed(x->fetcher->all->metrics, (int)failed - (int)x->failed);
    x->failed = failed;
}

/* ---- The changes ---- */

void followed_mark_changed(struct followed *x)
{
    ensure(loop_is_mine(x->fetcher->all->options.loop));
    if (x->changed)
        return;
    x->changed = true;
    DL_APPEND(x->fetcher->changes, x);
}

void followed_unmark(struct followed *x)
{
    if (x->changed)
        DL_DELETE(x->fetcher->changes, x);
    x->changed = false;
}

void followed_move_to(struct followed *x, int64_t offset)
{
    ensure(offset >= 0);
    x->offset = offset;
    followed_set_failed(x, false);
    followed_mark_changed(x);
}

void followed_forget(struct followed *x)
{
    struct fetcher *f = x->fetcher;
    if (!x->in_session)
        return;
    x->in_session = false;
    f->forgotten = xgrow(f->forgotten, f->forgotten_count + 1, &f->forgotten_cap, sizeof(*f->forgotten));
    f->forgotten[f->forgotten_count++] =
        (struct forgotten){arena_str(&f->forgotten_memory, str_of(partition_topic(x->partition))), x->id_key.topic_id,
                           partition_index(x->partition)};
}

void followed_set_lost(struct followed *x, bool lost)
{
    struct fetcher *f = x->fetcher;
    f->lost_count += (int)lost - (int)x->lost;
    x->lost = lost;
    ensure(f->lost_count >= 0 && f->lost_count <= f->partition_count);
}

/* ---- Resting ---- */

/* Not to be fetched for a while. */
static void rest_for(struct followed *x, int32_t pause_ms)
{
    followed_forget(x);
    ensure(pause_ms >= 0 && !x->in_session);
    x->pause_ms = MIN(pause_ms, x->fetcher->all->options.config->replica_fetch_backoff_ms);
    if (!x->begun)
        x->pause_ms = MAX(x->pause_ms, FIRST_PAUSE_MS);
    x->rest_until = clock_mono_ms() + x->pause_ms;
    followed_mark_changed(x);
    fetcher_retry_by(x->fetcher, x->rest_until);
}

void followed_rest(struct followed *x)
{
    rest_for(x, x->fetcher->all->options.config->replica_fetch_backoff_ms);
}

/*
 * Kafka gives up such a partition until its controller's next order; here it is tried again. Not counted, as there:
 * that there is another leader by now, or that what came was damaged.
 */
void followed_rest_after(struct followed *x, enum kafka_error error)
{
    ensure(error != ERR_NONE);
    followed_set_failed(x, error != ERR_FENCED_LEADER_EPOCH && error != ERR_CORRUPT_MESSAGE);
    followed_rest(x);
}

void followed_rest_briefly(struct followed *x)
{
    rest_for(x, x->pause_ms > 0 ? 2 * x->pause_ms : FIRST_PAUSE_MS);
}

/* ---- Coming and going ---- */

/*
 * Not under zeros: such are looked for by name, and those with one number would all have one key, for which no table is
 * large enough.
 */
static void followed_enter_id(struct followed *x, struct uuid topic_id)
{
    struct fetchers *all = x->fetcher->all;
    make_id_key(topic_id, partition_index(x->partition), &x->id_key);
    if (uuid_is_zero(topic_id))
        x->fetcher->without_id++;
    else
        HASH_ADD(hh_id, all->by_id, id_key, sizeof(x->id_key), x);
}

static void followed_leave_id(struct followed *x)
{
    struct fetchers *all = x->fetcher->all;
    if (uuid_is_zero(x->id_key.topic_id))
        x->fetcher->without_id--;
    else
        HASH_DELETE(hh_id, all->by_id, x);
    ensure(x->fetcher->without_id >= 0);
}

void followed_take_id(struct followed *x, struct uuid topic_id)
{
    ensure(loop_is_mine(x->fetcher->all->options.loop));
    if (uuid_eq(x->id_key.topic_id, topic_id))
        return;
    followed_leave_id(x);
    followed_enter_id(x, topic_id);
}

struct followed *followed_add(struct fetcher *f, struct partition *p, const struct partition_role *role)
{
    struct fetchers *all = f->all;
    ensure(loop_is_mine(all->options.loop));
    ensure(followed_find(all, p) == NULL && !all->closed && role->leader_epoch >= 0);
    struct followed *x = xcalloc(1, sizeof(*x));
    x->partition = p;
    partition_ref(p);
    x->fetcher = f;
    x->leader_epoch = role->leader_epoch;
    x->refused_at = -1;
    bool named = topic_key_make(str_of(partition_topic(p)), partition_index(p), &x->name_key);
    ensure(named);
    HASH_ADD_PTR(all->by_partition, partition, x);
    followed_enter_id(x, role->topic_id);
    HASH_ADD(hh_name, all->by_name, name_key, topic_key_size(&x->name_key), x);
    f->partition_count++;
    followed_mark_changed(x);
    return x;
}

void followed_leave(struct fetchers *all, struct partition *p)
{
    struct followed *x = followed_find(all, p);
    if (x == NULL)
        return;
    followed_forget(x);
    followed_unmark(x);
    followed_set_lost(x, false);
    followed_set_failed(x, false);
    ensure(x->fetcher->partition_count > 0 && !x->changed && !x->in_session);
    x->fetcher->partition_count--;
    HASH_DEL(all->by_partition, x);
    followed_leave_id(x);
    HASH_DELETE(hh_name, all->by_name, x);
    partition_unref(x->partition);
    free(x);
}
