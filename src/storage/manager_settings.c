/*
 * Settings that have changed, for the logs that are there.
 *
 * Whoever appends has a log's lock for as long as its disk takes, and a disk may hang. So a worker tells the logs, and
 * the loop that learns of changes does not wait. One round at a time: the next one begins when that is through, with
 * all that has changed meanwhile. A round asks what the settings are as it goes, so that the last one told is the
 * newest.
 */
#include "storage/manager_internal.h"

struct changed_topic {
    char *name;
    UT_hash_handle hh;
};

static void note_topic(struct settings_news *news, const char *topic)
{
    struct changed_topic *t;
    HASH_FIND_STR(news->topics, topic, t);
    if (t != NULL)
        return;
    t = xcalloc(1, sizeof(*t));
    t->name = xstrdup(topic);
    HASH_ADD_KEYPTR(hh, news->topics, t->name, strlen(t->name), t);
}

static void news_forget(struct settings_news *news)
{
    struct changed_topic *t, *tmp;
    HASH_ITER (hh, news->topics, t, tmp) {
        HASH_DEL(news->topics, t);
        free(t->name);
        free(t);
    }
    news->of_all = false;
}

/* Of the topic, each with a reference. On the heap. */
static struct plog **logs_of(struct log_manager *m, const char *topic, size_t *count)
{
    size_t cap = 0;
    struct plog **logs = NULL;
    *count = 0;
    lock_take(&m->lock);
    for (struct topic_link *l = topic_index_first(&m->by_topic, topic); l != NULL; l = l->next) {
        logs = xgrow(logs, *count + 1, &cap, sizeof(*logs));
        logs[*count] = CONTAINER_OF(l, struct log_entry, of_topic)->log;
        plog_ref(logs[(*count)++]);
    }
    lock_release(&m->lock);
    return logs;
}

static void configure_logs(struct log_manager *m, struct plog **logs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct topic_config config = manager_settings_of(m, plog_topic(logs[i]));
        plog_configure(logs[i], &config);
        plog_unref(logs[i]);
    }
    free(logs);
}

static void tell_logs(struct job *job)
{
    struct log_manager *m = CONTAINER_OF(job, struct log_manager, settings.job);
    size_t count;
    if (m->settings.told.of_all) {
        struct plog **logs = manager_logs(m, &count);
        configure_logs(m, logs, count);
        return;
    }
    for (struct changed_topic *t = m->settings.told.topics; t != NULL; t = t->hh.next) {
        struct plog **logs = logs_of(m, t->name, &count);
        configure_logs(m, logs, count);
    }
}

static void tell_next(struct log_manager *m);

static void on_logs_told(struct message *msg)
{
    struct log_manager *m = CONTAINER_OF(msg, struct log_manager, settings.job.done);
    ensure(m->settings.busy);
    m->settings.busy = false;
    news_forget(&m->settings.told);
    if (m->settings.next.of_all || m->settings.next.topics != NULL)
        tell_next(m);
}

static void tell_next(struct log_manager *m)
{
    ensure(!m->settings.busy && m->settings.told.topics == NULL);
    m->settings.busy = true;
    m->settings.told = m->settings.next;
    m->settings.next = (struct settings_news){0};
    m->settings.job = (struct job){.run = tell_logs, .home = m->options.loop, .done = {.deliver = on_logs_told}};
    if (m->options.loop != NULL && m->options.workers != NULL) {
        workers_submit(m->options.workers, &m->settings.job);
        return;
    }
    tell_logs(&m->settings.job);
    on_logs_told(&m->settings.job.done);
}

static void settings_changed(struct log_manager *m)
{
    ensure(m->options.loop == NULL || loop_is_mine(m->options.loop));
    if (!m->settings.busy)
        tell_next(m);
}

void log_manager_configure(struct log_manager *m, const char *topic)
{
    note_topic(&m->settings.next, topic);
    settings_changed(m);
}

void log_manager_configure_all(struct log_manager *m)
{
    m->settings.next.of_all = true;
    settings_changed(m);
}

void manager_forget_settings(struct log_manager *m)
{
    ensure(!m->settings.busy);
    news_forget(&m->settings.next);
}
