/*
 * Opening logs. Most are in the table, as all that a directory has are loaded at start. A new one is made in the
 * directory with the fewest, which waits for the disk twice: its topic's id is there for good before anything is
 * appended. So those of a large topic are made by many threads at once, as a disk's journal takes the syncs of all
 * together.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/logger.h"
#include "log/file.h"
#include "storage/manager_internal.h"

enum { MOST_MAKERS = 16 }; /* threads that make logs; more gain nothing where a sync takes a millisecond */

/* ---- Where to ---- */

static struct log_dir *emptiest_dir(struct log_manager *m)
{
    ensure(lock_is_held(&m->lock));
    struct log_dir *best = NULL;
    for (int i = 0; i < m->dir_count; i++) {
        struct log_dir *d = &m->dirs[i];
        if (log_dir_is_live(d) &&
            (best == NULL || d->in_table + d->in_the_making < best->in_table + best->in_the_making))
            best = d;
    }
    return best;
}

struct log_dir *manager_take_preference(struct log_manager *m, const char *topic, int32_t partition)
{
    ensure(lock_is_held(&m->lock));
    struct log_key key = manager_key_of(topic, partition, false);
    struct preference *p;
    HASH_FIND(hh, m->preferences, &key, log_key_size(&key), p);
    if (p == NULL)
        return NULL;
    struct log_dir *d = p->dir;
    HASH_DEL(m->preferences, p);
    free(p);
    return d;
}

void manager_reserve(struct log_manager *m, struct log_dir *d)
{
    ensure(lock_is_held(&m->lock));
    d->in_the_making++;
}

static void end_reservation(struct log_manager *m, struct log_dir *d)
{
    ensure(lock_is_held(&m->lock));
    d->in_the_making--;
    ensure(d->in_the_making >= 0);
}

/* Where a log is to be, with a place reserved; NULL: all are offline. */
static struct log_dir *choose_dir(struct log_manager *m, const char *topic, int32_t partition, bool *preferred)
{
    lock_take(&m->lock);
    struct log_dir *d = manager_take_preference(m, topic, partition);
    *preferred = d != NULL;
    if (d == NULL)
        d = emptiest_dir(m);
    if (d != NULL)
        manager_reserve(m, d);
    lock_release(&m->lock);
    return d;
}

/* ---- One ---- */

/* Settings that have changed since it began to be made were not told to it, as it was in no table. */
static void catch_up_settings(struct log_manager *m, struct plog *log)
{
    struct topic_config now = manager_settings_of(m, plog_topic(log));
    ensure(lock_is_held(&m->lock));
    if (m->options.topic_overrides != NULL)
        plog_configure(log, &now);
}

/*
 * Takes its reserved place in the table, if it was made. False: the directory has failed meanwhile, and who has taken
 * its logs out of the table may have been here before.
 */
static bool take_place(struct log_manager *m, struct log_dir *d, struct plog *log)
{
    lock_take(&m->lock);
    bool taken = log != NULL && log_dir_is_live(d);
    if (taken) {
        manager_add(m, log);
        catch_up_settings(m, log);
        plog_ref(log);
    }
    end_reservation(m, d);
    lock_release(&m->lock);
    return taken;
}

/* Should the broker be killed, what the checkpoints say of an earlier log of that name would be taken for its own. */
static bool forget_namesake(const struct log_dir *d, struct plog *log)
{
    bool any = atomic_load(&d->stale_lines);
    if (any)
        plog_unsettle(log);
    return any;
}

struct plog *manager_make(struct log_manager *m, struct log_dir *d, const char *topic, int32_t partition,
                          const struct topic_config *config, const char *name)
{
    struct plog_origin fresh = {
        .recovery_point = -1, .start_offset = -1, .high_watermark = -1, .clean_end = -1, .clean = true, .name = name};
    struct plog *log = log_dir_is_live(d) ? plog_load(&d->home, topic, partition, config, &fresh) : NULL;
    bool unsettled = log != NULL && forget_namesake(d, log);
    bool in_the_way = log == NULL && (file_last_error() == ENOTDIR || file_ran_out()); /* or there are too many */
    if (take_place(m, d, log)) {
        if (unsettled) /* by who makes a log, and waits for the disk anyway, before there is anything to append */
            manager_settle_cuts(m, &d->home);
        log_info("Created log for partition %s-%" PRId32 " in %s", topic, partition, plog_path(log));
        return log;
    }
    if (log != NULL)
        plog_abandon(log);
    else if (!in_the_way)
        manager_dir_failed(m, d->path, "a log cannot be created");
    plog_unref(log);
    return NULL;
}

/* Where it cannot be made as a directory has failed, the next one is tried. */
static struct plog *make_somewhere(struct log_manager *m, const char *topic, int32_t partition,
                                   const struct topic_config *config)
{
    struct plog *log = NULL;
    struct log_dir *d;
    bool preferred, again = true;
    while (log == NULL && again && (d = choose_dir(m, topic, partition, &preferred)) != NULL) {
        log = manager_make(m, d, topic, partition, config, NULL);
        again = !preferred && !log_dir_is_live(d);
    }
    return log;
}

enum kafka_error log_manager_give_id(struct plog *log, struct uuid topic_id)
{
    enum kafka_error error = plog_adopt_topic_id(log, topic_id);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed(log, "its topic id cannot be written");
    return error;
}

enum kafka_error manager_give_id(struct plog **log, struct uuid topic_id)
{
    enum kafka_error error = log_manager_give_id(*log, topic_id);
    if (error != ERR_NONE) {
        plog_unref(*log);
        *log = NULL;
    }
    return error;
}

enum kafka_error log_manager_open(struct log_manager *m, const char *topic, int32_t partition, struct uuid topic_id,
                                  bool is_new, const struct topic_config *config, struct plog **out)
{
    *out = log_manager_get(m, topic, partition);
    if (*out == NULL && (is_new || !log_manager_has_offline_dir(m)))
        *out = make_somewhere(m, topic, partition, config);
    return *out != NULL ? manager_give_id(out, topic_id) : ERR_KAFKA_STORAGE_ERROR;
}

/* ---- Many ---- */

struct making {
    struct job job;
    struct log_manager *manager;
    const struct log_wish *wish;
};

static void run_making(struct job *job)
{
    struct making *k = CONTAINER_OF(job, struct making, job);
    const struct log_wish *w = k->wish;
    struct plog *log = w->is_there ? log_manager_get(k->manager, w->topic, w->partition) : NULL;
    enum kafka_error error = ERR_KAFKA_STORAGE_ERROR;
    if (log != NULL)
        error = manager_give_id(&log, w->topic_id);
    else if (!w->is_there)
        error = log_manager_open(k->manager, w->topic, w->partition, w->topic_id, w->is_new, w->config, &log);
    if (error == ERR_NONE)
        plog_unref(log);
}

static int making_by_name(const void *a, const void *b)
{
    const struct making *x = a, *y = b;
    int order = strcmp(x->wish->topic, y->wish->topic);
    return order != 0 ? order : (x->wish->partition > y->wish->partition) - (x->wish->partition < y->wish->partition);
}

/* Whether there is anything to write. */
static bool is_worth_it(struct log_manager *m, const struct log_wish *w)
{
    struct plog *log = log_manager_get(m, w->topic, w->partition);
    bool unnamed = log != NULL && !uuid_is_zero(w->topic_id) && uuid_is_zero(plog_topic_id(log));
    plog_unref(log);
    return log != NULL ? unnamed : !w->is_there;
}

/* Of what is wished for twice, one is made. */
static void make_all(struct making *all, size_t n)
{
    ensure(n > 0);
    qsort(all, n, sizeof(*all), making_by_name);
    struct workers *w = workers_new("log-maker", (int)MIN(n, (size_t)MOST_MAKERS));
    for (size_t i = 0; i < n; i++)
        if (i == 0 || making_by_name(&all[i - 1], &all[i]) != 0)
            workers_submit(w, &all[i].job);
    workers_free(w);
}

void log_manager_open_ahead(struct log_manager *m, const struct log_wish *wishes, size_t n)
{
    struct making *all = xcalloc(n + 1, sizeof(*all));
    size_t missing = 0;
    for (size_t i = 0; i < n; i++)
        if (is_worth_it(m, &wishes[i]))
            all[missing++] = (struct making){{.run = run_making}, m, &wishes[i]};
    if (missing > 1) /* one alone is left to who asks for it */
        make_all(all, missing);
    free(all);
}
