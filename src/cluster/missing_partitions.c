#include "cluster/missing_partitions.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/logger.h"
#include "base/topic_key.h"
#include "cluster/znodes.h"

enum { GOOD_FOR_MS = 1000 }; /* an answer; then it is asked again */

/* A question and its answer; while it is under way, the control loop's. */
struct missing {
    struct missing_partitions *all;
    struct topic_key id;
    bool under_way, gone;
    int64_t answered_ms;
    struct message message;
    UT_hash_handle hh;
};

struct missing_partitions {
    struct zk *zk;
    struct loop *control, *home;
    struct missing *table; /* home */
    int64_t swept_ms;      /* when those that are old were forgotten last */
};

struct missing_partitions *missing_partitions_new(struct loop *home, struct loop *control)
{
    struct missing_partitions *m = xcalloc(1, sizeof(*m));
    m->home = home;
    m->control = control;
    return m;
}

void missing_partitions_set_zk(struct missing_partitions *m, struct zk *zk)
{
    m->zk = zk;
}

static void missing_forget(struct missing *x)
{
    HASH_DEL(x->all->table, x);
    free(x);
}

void missing_partitions_free(struct missing_partitions *m)
{
    struct missing *x, *next;
    if (m == NULL)
        return;
    HASH_ITER (hh, m->table, x, next)
        missing_forget(x);
    free(m);
}

/* ---- The answer ---- */

static void missing_on_answer(struct message *message)
{
    struct missing *x = CONTAINER_OF(message, struct missing, message);
    x->under_way = false;
    x->answered_ms = clock_mono_ms();
    if (!x->gone)
        log_info("Partition %s-%" PRId32 " is there, but the controller has not told of it yet", x->id.topic,
                 x->id.index);
}

static bool has_number(const struct topic_znode *z, int32_t index)
{
    return int_list_has((struct int_list){z->numbers, z->partition_count}, index);
}

/* Also while its deletion is under way, which may take long. What cannot be asked for now is taken for there. */
static bool missing_is_gone(struct arena *a, const struct topic_key *id, const struct zk_op *topic,
                            const struct zk_op *deletion)
{
    struct topic_znode found;
    if (topic->result == ZK_NO_NODE || deletion->result == ZK_OK)
        return true;
    return topic->result == ZK_OK && topic_decode(a, id->topic, topic->value, &found) && !has_number(&found, id->index);
}

static void missing_tell(struct missing *x)
{
    x->message.deliver = missing_on_answer;
    loop_post(x->all->home, &x->message);
}

static void on_nodes(struct zk_batch *b)
{
    struct missing *x = b->ctx;
    char path[ZNODE_PATH_ROOM], deletion[ZNODE_PATH_ROOM];
    x->gone = missing_is_gone(&b->arena, &x->id, zk_find(b, ZK_GET, topic_path(path, x->id.topic)),
                              zk_find(b, ZK_EXISTS, delete_topic_path(deletion, x->id.topic)));
    zk_batch_free(b);
    missing_tell(x);
}

/* ---- The question ---- */

static void missing_look_up(struct message *message)
{
    struct missing *x = CONTAINER_OF(message, struct missing, message);
    char path[ZNODE_PATH_ROOM];
    if (!topic_name_is_legal(str_of(x->id.topic))) {
        x->gone = true;
        missing_tell(x);
        return;
    }
    struct zk_batch *b = zk_batch_new(on_nodes);
    b->ctx = x;
    zk_get(b, topic_path(path, x->id.topic), false);
    zk_exists(b, delete_topic_path(path, x->id.topic), false);
    zk_submit(x->all->zk, b);
}

static struct missing *missing_find(const struct missing_partitions *m, const struct topic_key *id)
{
    struct missing *x;
    HASH_FIND(hh, m->table, id, sizeof(*id), x);
    return x;
}

static bool is_old(const struct missing *x)
{
    return !x->under_way && clock_mono_ms() - x->answered_ms >= GOOD_FOR_MS;
}

/* Not for each question, of which there may be as many as there are partitions. */
static void missing_forget_old(struct missing_partitions *m)
{
    struct missing *x, *next;
    if (clock_mono_ms() - m->swept_ms < GOOD_FOR_MS)
        return;
    m->swept_ms = clock_mono_ms();
    HASH_ITER (hh, m->table, x, next)
        if (is_old(x))
            missing_forget(x);
}

static void missing_ask(struct missing_partitions *m, const struct topic_key *id)
{
    struct missing *x = missing_find(m, id);
    if (x != NULL)
        missing_forget(x);
    missing_forget_old(m);
    x = xcalloc(1, sizeof(*x));
    x->all = m;
    x->id = *id;
    x->under_way = true;
    x->message.deliver = missing_look_up;
    HASH_ADD(hh, m->table, id, sizeof(x->id), x);
    loop_post(m->control, &x->message);
}

bool missing_partition_is_gone(struct missing_partitions *m, struct str topic, int32_t index)
{
    ensure(loop_is_mine(m->home));
    struct topic_key id;
    if (!topic_key_make(topic, index, &id))
        return true;
    const struct missing *x = missing_find(m, &id);
    if (x == NULL || is_old(x)) {
        missing_ask(m, &id);
        return false;
    }
    return !x->under_way && x->gone;
}
