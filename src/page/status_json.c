/*
 * The status for programs, barnabas-top among them. Names stay what they are: what is added gets one of its own, and
 * what is not known is null, not left out, so that a reader can tell it from what an older broker did not tell.
 */
#include <jansson.h>
#include <math.h>

#include "page/status.h"

/* A number that is not known is null. */
static void json_put_number(json_t *to, const char *key, int64_t n)
{
    json_object_set_new(to, key, n == STATUS_UNKNOWN ? json_null() : json_integer(n));
}

/* Two digits behind the point. */
static void json_put_real(json_t *to, const char *key, double v)
{
    json_object_set_new(to, key, isfinite(v) ? json_real(round(v * 100) / 100) : json_null());
}

static void json_put_text(json_t *to, const char *key, struct str s)
{
    json_object_set_new(to, key, s.p != NULL ? json_stringn(s.p, (size_t)s.len) : json_null());
}

static void json_put_flag(json_t *to, const char *key, bool is)
{
    json_object_set_new(to, key, json_boolean(is));
}

static json_t *add_row(json_t *list)
{
    json_t *row = json_object();
    json_array_append_new(list, row);
    return row;
}

static json_t *json_put_list(json_t *to, const char *key)
{
    json_t *list = json_array();
    json_object_set_new(to, key, list);
    return list;
}

static void put_troubles(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "troubles");
    for (int i = 0; i < s->trouble_count; i++) {
        json_t *row = add_row(list);
        json_put_flag(row, "bad", s->troubles[i].bad);
        json_put_text(row, "text", s->troubles[i].text);
    }
}

static void put_brokers(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "brokers");
    for (int32_t i = 0; i < s->broker_count; i++) {
        const struct status_broker *b = &s->brokers[i];
        json_t *row = add_row(list);
        json_put_number(row, "id", b->id);
        json_put_flag(row, "alive", b->alive);
        json_put_flag(row, "controller", b->controller);
        json_put_text(row, "host", b->host);
        json_put_number(row, "port", b->alive ? b->port : STATUS_UNKNOWN);
        json_put_text(row, "rack", b->rack);
        json_put_number(row, "leads", b->leads);
        json_put_number(row, "replicas", b->replicas);
        json_put_number(row, "behind", b->behind);
        json_put_number(row, "bytes", b->bytes);
        json_put_text(row, "software", b->software);
        json_put_text(row, "protocol", b->protocol);
    }
}

static void put_topics(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "topics");
    json_put_number(to, "topicCount", s->topic_list.total);
    for (int32_t i = 0; i < s->topic_list.shown; i++) {
        const struct status_topic *t = &s->topics[i];
        json_t *row = add_row(list);
        json_put_text(row, "name", t->name);
        json_put_number(row, "partitions", t->partitions);
        json_put_number(row, "replicas", t->replicas);
        json_put_number(row, "minIsr", t->min_isr);
        json_put_number(row, "offline", t->offline);
        json_put_number(row, "underMinIsr", t->under_min);
        json_put_number(row, "underReplicated", t->under_replicated);
        json_put_number(row, "records", t->records);
        json_put_number(row, "bytes", t->bytes);
        json_put_real(row, "bytesInPerSec", t->bytes_in);
        json_put_real(row, "bytesOutPerSec", t->bytes_out);
        json_put_real(row, "recordsInPerSec", t->records_in);
    }
}

static void put_groups(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "groups");
    json_put_number(to, "groupCount", s->group_list.total);
    for (int32_t i = 0; i < s->group_list.shown; i++) {
        const struct status_group *g = &s->groups[i];
        json_t *row = add_row(list);
        json_put_text(row, "id", g->id);
        json_put_text(row, "state", g->state);
        json_put_number(row, "coordinator", g->coordinator);
        json_put_number(row, "members", g->members);
        json_put_number(row, "topics", g->topics);
        json_put_number(row, "lag", g->lag);
        json_put_real(row, "lagChangePerSec", g->lag_change);
        json_put_number(row, "oldestUnreadMs", g->waits_ms);
    }
}

static void put_reassignments(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "reassignments");
    json_put_number(to, "reassignmentCount", s->reassignment_list.total);
    for (int32_t i = 0; i < s->reassignment_list.shown; i++) {
        const struct status_reassignment *r = &s->reassignments[i];
        json_t *row = add_row(list);
        json_put_text(row, "topic", r->topic);
        json_put_number(row, "partition", r->partition);
        json_put_number(row, "inSync", r->in_sync);
        json_put_number(row, "replicas", r->replicas);
        json_put_number(row, "copiedBytes", r->copied);
        json_put_number(row, "bytes", r->whole);
        json_put_real(row, "copiedBytesPerSec", r->rate < 0 ? NAN : r->rate);
    }
}

static void put_transactions(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "transactions");
    json_put_number(to, "transactionCount", s->transaction_list.total);
    for (int32_t i = 0; i < s->transaction_list.shown; i++) {
        const struct status_transaction *t = &s->transactions[i];
        json_t *row = add_row(list);
        json_put_text(row, "id", t->id);
        json_put_text(row, "state", t->state);
        json_put_number(row, "coordinator", t->coordinator);
        json_put_number(row, "partitions", t->partitions);
        json_put_number(row, "openMs", t->open_ms);
    }
}

static void put_elections(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "elections");
    for (int i = 0; i < s->election_count; i++) {
        const struct status_election *e = &s->elections[i];
        json_t *row = add_row(list);
        json_put_number(row, "ms", e->ms);
        json_put_number(row, "from", e->from);
        json_put_number(row, "to", e->to);
        json_put_number(row, "partitions", e->partitions);
        json_put_text(row, "topic", e->topic);
        json_put_number(row, "partition", e->partition);
    }
}

static void put_cluster(json_t *to, const struct status *s)
{
    json_t *cluster = json_object();
    json_object_set_new(to, "cluster", s->cluster_known ? cluster : json_null());
    if (!s->cluster_known) {
        json_decref(cluster);
        return;
    }
    json_put_number(cluster, "asOfMs", s->looked_ms);
    json_put_number(cluster, "unanswered", s->unanswered);
    json_put_number(cluster, "controller", s->controller);
    json_put_number(cluster, "brokersAlive", s->alive);
    json_put_number(cluster, "partitions", s->partitions);
    json_put_number(cluster, "offline", s->offline);
    json_put_number(cluster, "underMinIsr", s->under_min);
    json_put_number(cluster, "underReplicated", s->under_replicated);
    put_brokers(cluster, s);
    put_topics(cluster, s);
    put_groups(cluster, s);
    put_reassignments(cluster, s);
    put_transactions(cluster, s);
    put_elections(cluster, s);
}

static void put_dirs(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "directories");
    for (int i = 0; i < s->dir_count; i++) {
        const struct status_dir *d = &s->dirs[i];
        json_t *row = add_row(list);
        json_put_text(row, "path", d->path);
        json_put_flag(row, "offline", d->offline);
        json_put_number(row, "freeBytes", d->free);
        json_put_number(row, "sizeBytes", d->size);
        json_put_number(row, "logsToRecover", d->to_recover);
    }
}

static void put_history(json_t *to, const struct status *s)
{
    static const char *const names[HISTORY_SERIES] = {[HISTORY_BYTES_IN] = "bytesInPerSec",
                                                      [HISTORY_BYTES_OUT] = "bytesOutPerSec",
                                                      [HISTORY_RECORDS_IN] = "recordsInPerSec",
                                                      [HISTORY_REQUESTS] = "requestsPerSec",
                                                      [HISTORY_PRODUCE_MEDIAN_MS] = "produceP50Ms",
                                                      [HISTORY_PRODUCE_MS] = "produceP99Ms",
                                                      [HISTORY_FETCH_MEDIAN_MS] = "fetchP50Ms",
                                                      [HISTORY_FETCH_MS] = "fetchP99Ms",
                                                      [HISTORY_NETWORK_IDLE] = "networkIdle",
                                                      [HISTORY_HANDLER_IDLE] = "handlerIdle",
                                                      [HISTORY_MEMORY] = "residentBytes"};
    json_t *history = json_object();
    json_object_set_new(to, "history", history);
    json_put_number(history, "stepMs", HISTORY_STEP_MS);
    for (int i = 0; i < HISTORY_SERIES; i++) {
        json_t *points = json_put_list(history, names[i]);
        for (int k = 0; k < s->point_count[i]; k++)
            json_array_append_new(points, json_real(round((double)s->points[i][k] * 1000) / 1000));
    }
}

static void put_clients(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "clients");
    for (int i = 0; i < s->client_count; i++) {
        json_t *row = add_row(list);
        json_put_text(row, "software", s->clients[i].name);
        json_put_text(row, "version", s->clients[i].version);
        json_put_number(row, "connections", s->clients[i].connections);
    }
}

static void put_deprecated(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "deprecated");
    json_put_number(to, "deprecatedCount", s->deprecated_list.total);
    for (int i = 0; i < s->deprecated_list.shown; i++) {
        const struct status_deprecated *d = &s->deprecated[i];
        json_t *row = add_row(list);
        json_put_text(row, "software", d->name);
        json_put_text(row, "version", d->version);
        json_put_text(row, "request", d->request);
        json_put_text(row, "requestVersion", d->request_version);
        json_put_number(row, "count", d->count);
        json_put_real(row, "perSec", d->per_second);
    }
}

static void put_loops(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "loops");
    for (int i = 0; i < s->loop_count; i++) {
        json_t *row = add_row(list);
        json_put_text(row, "name", str_of(s->loops[i].name));
        json_put_real(row, "idle", s->loops[i].idle);
    }
}

static void put_compactions(json_t *work, const struct status *s)
{
    json_t *list = json_put_list(work, "compactions");
    for (int i = 0; i < s->compaction_count; i++) {
        json_t *row = add_row(list);
        json_put_text(row, "topic", s->compactions[i].topic);
        json_put_text(row, "partition", s->compactions[i].partition);
        json_put_number(row, "percent", s->compactions[i].percent);
    }
}

static void put_work(json_t *to, const struct status *s)
{
    json_t *work = json_object(), *list = json_put_list(work, "moves");
    json_object_set_new(to, "work", work);
    json_put_number(work, "reassigning", s->reassigning);
    json_put_number(work, "lateTransactions", s->late_transactions);
    json_put_number(work, "uncleanable", s->uncleanable);
    put_compactions(work, s);
    for (int i = 0; i < s->move_count; i++) {
        json_t *row = add_row(list);
        json_put_text(row, "topic", s->moves[i].topic);
        json_put_text(row, "partition", s->moves[i].partition);
        json_put_number(row, "endOffset", s->moves[i].end);
        json_put_number(row, "movedTo", s->moves[i].done);
    }
}

static void put_lines(json_t *to, const struct status *s)
{
    json_t *list = json_put_list(to, "log");
    for (int i = 0; i < s->line_count; i++) {
        const struct recent_line *l = &s->lines[i];
        struct strbuf clean = {0};
        json_t *row = add_row(list);
        strbuf_utf8(&clean, (struct str){l->text, l->len});
        json_put_number(row, "ms", l->ms);
        json_put_text(row, "level", str_of(logger_level_name(l->level)));
        json_put_text(row, "logger", str_of(l->logger));
        json_put_text(row, "text", (struct str){clean.p, (int32_t)clean.len});
        strbuf_deinit(&clean);
    }
}

static void put_broker(json_t *to, const struct status *s)
{
    json_t *broker = json_object(), *settings = json_object();
    json_object_set_new(to, "broker", broker);
    json_put_number(broker, "id", s->broker_id);
    json_put_text(broker, "version", STR_LIT(BARNABAS_VERSION));
    json_put_text(broker, "rack", s->rack);
    json_put_number(broker, "state", s->state);
    json_put_text(broker, "stateText", str_of(status_state_name(s->state)));
    json_put_text(broker, "zookeeper", s->session);
    json_put_number(broker, "startedMs", s->started_ms);
    json_put_number(broker, "connections", s->connections);
    json_put_number(broker, "openFiles", s->open_files);
    json_put_number(broker, "mostFiles", s->most_files);
    put_dirs(broker, s);
    put_history(broker, s);
    put_loops(broker, s);
    put_clients(broker, s);
    put_deprecated(broker, s);
    put_work(broker, s);
    put_lines(broker, s);
    json_object_set_new(broker, "settings", settings);
    for (int i = 0; i < s->setting_count; i++)
        json_put_text(settings, s->settings[i].name.p, s->settings[i].value);
}

void status_write_json(const struct status *s, struct strbuf *out)
{
    json_t *whole = json_object();
    json_put_number(whole, "nowMs", s->now_ms);
    json_put_text(whole, "clusterId", s->cluster_id);
    put_troubles(whole, s);
    put_cluster(whole, s);
    put_broker(whole, s);
    char *text = json_dumps(whole, JSON_COMPACT | JSON_REAL_PRECISION(12));
    ensure(text != NULL); /* all texts are UTF-8 */
    strbuf_puts(out, text);
    free(text);
    json_decref(whole);
}
