#include "replica/lost_dirs.h"

#include <unistd.h>

#include "base/logger.h"
#include "replica/replica.h"

struct lost_dirs {
    struct lost_dirs_options options;
    struct log_manager *logs; /* NULL: not started, or stopped */
    struct replica_manager *replicas;
};

struct lost_dir {
    struct message message;
    struct job job;
    struct lost_dirs *all;
    struct log_manager *logs;
    struct replica_manager *replicas;
    char *dir;
};

struct lost_dirs *lost_dirs_new(const struct lost_dirs_options *options)
{
    struct lost_dirs *l = xcalloc(1, sizeof(*l));
    l->options = *options;
    return l;
}

void lost_dirs_start(struct lost_dirs *l, struct log_manager *logs, struct replica_manager *replicas)
{
    ensure(loop_is_mine(l->options.control));
    l->logs = logs;
    l->replicas = replicas;
}

void lost_dirs_stop(struct lost_dirs *l)
{
    ensure(loop_is_mine(l->options.control));
    l->logs = NULL;
}

void lost_dirs_free(struct lost_dirs *l)
{
    free(l);
}

static void lost_dir_free(struct lost_dir *d)
{
    free(d->dir);
    free(d);
}

static void lost_dir_abandon(struct job *job)
{
    struct lost_dir *d = CONTAINER_OF(job, struct lost_dir, job);
    replica_dir_failed(d->replicas, d->dir);
    log_manager_abandon_dir(d->logs, d->dir);
}

static void lost_dir_abandoned(struct message *m)
{
    struct lost_dir *d = CONTAINER_OF(m, struct lost_dir, job.done);
    ensure(loop_is_mine(d->all->options.control));
    if (d->all->logs != NULL)
        d->all->options.stopped(d->all->options.ctx);
    lost_dir_free(d);
}

static void lost_dir_noticed(struct message *m)
{
    struct lost_dir *d = CONTAINER_OF(m, struct lost_dir, message);
    struct lost_dirs *all = d->all;
    struct fail fail;
    ensure(loop_is_mine(all->options.control));
    if (all->logs == NULL) {
        lost_dir_free(d);
        return;
    }
    if (!log_manager_need_live_dir(all->logs, &fail)) {
        log_fatal("%s", fail.text);
        _exit(1); /* the others are to notice at once */
    }
    d->logs = all->logs;
    d->replicas = all->replicas;
    d->job =
        (struct job){.run = lost_dir_abandon, .home = all->options.control, .done = {.deliver = lost_dir_abandoned}};
    workers_submit(all->options.workers, &d->job);
}

void lost_dirs_report(struct lost_dirs *l, const char *dir)
{
    struct lost_dir *d = xcalloc(1, sizeof(*d));
    *d = (struct lost_dir){.message = {.deliver = lost_dir_noticed}, .all = l, .dir = xstrdup(dir)};
    loop_post(l->options.control, &d->message);
}
