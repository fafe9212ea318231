#include "exporter/lag.h"

#include <stdio.h>

#include "cluster/internal_topics.h"
#include "exporter/labels.h"

/* Labels are gathered, then families told with them. */
struct teller {
    struct exposition *x;
    struct strbuf labels;
};

static void tell(struct teller *t, const char *family, const char *help, double value)
{
    exposition_add(t->x, family, SAMPLE_GAUGE, help, (struct str){t->labels.p, (int32_t)t->labels.len}, value);
}

static const struct endpoint *endpoint_of(const struct look_broker *b, const char *listener)
{
    static const struct endpoint unknown = {"", "", "", -1};
    const struct endpoint *e = registration_endpoint(b->broker, listener);
    return e != NULL ? e : &unknown;
}

static int64_t lag_behind(int64_t end, int64_t committed)
{
    return MAX(end - committed, 0); /* what was asked first may have moved on */
}

/* ---- kafka_exporter ---- */

static void exporter_labels(struct teller *t, const struct look_group *g, const struct look_group_topic *topic)
{
    strbuf_clear(&t->labels);
    label_add(&t->labels, "consumergroup", g->id);
    if (topic != NULL)
        label_add(&t->labels, "topic", topic->name);
}

/* A partition that nothing was committed of has -1, which is left out of sums. */
static void exporter_partition(struct teller *t, const struct look_group_topic *topic, int32_t partition,
                               const struct look_commit *c)
{
    size_t len = t->labels.len;
    int64_t end = c != NULL ? look_end(topic, c) : LOOK_UNKNOWN;
    label_add_number(&t->labels, "partition", partition);
    tell(t, "kafka_consumergroup_current_offset", "What a group has committed of a partition; -1: nothing.",
         c != NULL ? (double)c->offset : -1);
    if (c == NULL || end != LOOK_UNKNOWN)
        tell(t, "kafka_consumergroup_lag", "How many records of a partition a group has not read; -1: not known.",
             c != NULL ? (double)lag_behind(end, c->offset) : -1);
    t->labels.len = len;
}

static void exporter_group_topic(struct teller *t, const struct look_group *g, const struct look_group_topic *topic)
{
    int64_t offsets = 0, lag = 0;
    exporter_labels(t, g, topic);
    for (int32_t p = 0, c = 0; p < topic->topic->topic->partition_count; p++) {
        int32_t index = topic->topic->topic->partitions[p].index;
        while (c < topic->commit_count && topic->commits[c].partition < index)
            c++;
        bool has = c < topic->commit_count && topic->commits[c].partition == index;
        exporter_partition(t, topic, index, has ? &topic->commits[c] : NULL);
        if (!has)
            continue;
        int64_t end = look_end(topic, &topic->commits[c]);
        offsets += topic->commits[c].offset;
        lag += end != LOOK_UNKNOWN ? lag_behind(end, topic->commits[c].offset) : 0;
    }
    tell(t, "kafka_consumergroup_current_offset_sum", "What a group has committed of a topic, over its partitions.",
         (double)offsets);
    tell(t, "kafka_consumergroup_lag_sum", "How many records of a topic a group has not read.", (double)lag);
}

static void exporter_group(struct teller *t, const struct look_group *g)
{
    exporter_labels(t, g, NULL);
    if (g->described)
        tell(t, "kafka_consumergroup_members", "How many members a group has.", g->members);
    for (int32_t i = 0; i < g->topic_count; i++)
        if (g->topics[i].topic != NULL && g->topics[i].commit_count > 0)
            exporter_group_topic(t, g, &g->topics[i]);
}

static void exporter_topic_partition(struct teller *t, const struct look_topic *topic, int32_t i)
{
    const struct view_partition *p = &topic->topic->partitions[i];
    const struct look_partition *seen = &topic->partitions[i];
    strbuf_clear(&t->labels);
    label_add(&t->labels, "topic", str_of(topic->topic->name));
    label_add_number(&t->labels, "partition", p->index);
    if (seen->end != LOOK_UNKNOWN)
        tell(t, "kafka_topic_partition_current_offset", "The high watermark of a partition.", (double)seen->end);
    if (seen->begin != LOOK_UNKNOWN)
        tell(t, "kafka_topic_partition_oldest_offset", "Where a partition begins.", (double)seen->begin);
    tell(t, "kafka_topic_partition_leader", "The broker that leads a partition; -1: none.", p->leader);
    tell(t, "kafka_topic_partition_leader_is_preferred", "Whether the first replica of a partition leads it.",
         p->replicas.n > 0 && p->replicas.v[0] == p->leader);
    tell(t, "kafka_topic_partition_replicas", "How many replicas a partition has.", p->replicas.n);
    tell(t, "kafka_topic_partition_in_sync_replica", "How many replicas of a partition are in sync.", p->isr.n);
    tell(t, "kafka_topic_partition_under_replicated_partition", "Whether a replica of a partition is not in sync.",
         p->isr.n < p->replicas.n);
}

void lag_gather_exporter(const struct look *look, const char *listener, struct exposition *x)
{
    struct teller t = {.x = x};
    tell(&t, "kafka_brokers", "How many brokers the cluster has.", look->broker_count);
    for (int32_t i = 0; i < look->broker_count; i++) {
        const struct endpoint *e = endpoint_of(&look->brokers[i], listener);
        char address[300];
        snprintf(address, sizeof(address), "%s:%d", e->host, (int)e->port);
        strbuf_clear(&t.labels);
        label_add(&t.labels, "address", str_of(address));
        label_add_number(&t.labels, "id", look->brokers[i].broker->id);
        tell(&t, "kafka_broker_info", "A broker of the cluster.", 1);
    }
    for (int32_t i = 0; i < look->view->topic_count; i++) {
        const struct look_topic *topic = &look->topics[i];
        strbuf_clear(&t.labels);
        label_add(&t.labels, "topic", str_of(topic->topic->name));
        tell(&t, "kafka_topic_partitions", "How many partitions a topic has.", topic->topic->partition_count);
        for (int32_t p = 0; p < topic->topic->partition_count; p++)
            exporter_topic_partition(&t, topic, p);
    }
    for (int32_t i = 0; i < look->group_count; i++)
        exporter_group(&t, &look->groups[i]);
    strbuf_deinit(&t.labels);
}

/* ---- What is this broker's ---- */

static void native_partition(struct teller *t, const struct look *look, const struct look_group *g,
                             const struct look_group_topic *topic, const struct look_commit *c)
{
    int64_t end = look_end(topic, c), waits_ms = look_waits_ms(topic, c, look->taken_ms);
    if (end == LOOK_UNKNOWN)
        return;
    strbuf_clear(&t->labels);
    label_add(&t->labels, "group", g->id);
    label_add(&t->labels, "topic", topic->name);
    label_add_number(&t->labels, "partition", c->partition);
    tell(t, "barnabas_group_lag_records", "How many records of a partition a group has not read.",
         (double)lag_behind(end, c->offset));
    if (waits_ms != LOOK_UNKNOWN)
        tell(t, "barnabas_group_lag_seconds", "For how long the first record that a group has not read has been there.",
             (double)waits_ms / 1000);
}

static void native_group(struct teller *t, const struct look *look, const struct look_group *g)
{
    strbuf_clear(&t->labels);
    label_add(&t->labels, "group", g->id);
    if (g->described)
        tell(t, "barnabas_group_members", "How many members a group has.", g->members);
    for (int32_t i = 0; i < g->topic_count; i++)
        for (int32_t k = 0; k < g->topics[i].commit_count; k++)
            native_partition(t, look, g, &g->topics[i], &g->topics[i].commits[k]);
}

void lag_gather_own(const struct look *look, struct exposition *x)
{
    struct teller t = {.x = x};
    for (int32_t i = 0; i < look->view->topic_count; i++) {
        const struct view_topic *topic = look->topics[i].topic;
        for (int32_t p = 0; p < topic->partition_count; p++)
            if (topic->partitions[p].leader == look->broker_id)
                exporter_topic_partition(&t, &look->topics[i], p);
    }
    for (int32_t i = 0; i < look->group_count; i++)
        if (look->groups[i].coordinator == look->broker_id)
            exporter_group(&t, &look->groups[i]);
    strbuf_deinit(&t.labels);
}

void lag_gather_native(const struct look *look, struct exposition *x)
{
    struct teller t = {.x = x};
    for (int32_t i = 0; i < look->group_count; i++)
        if (look->groups[i].coordinator == look->broker_id)
            native_group(&t, look, &look->groups[i]);
    strbuf_clear(&t.labels);
    tell(&t, "barnabas_group_lag_unanswered",
         "Questions to brokers about offsets and groups that had no answer, or an error in it.", look->unanswered);
    strbuf_deinit(&t.labels);
}

/* ---- kminion ---- */

static void kminion_group_topic(struct teller *t, const struct look_group *g, const struct look_group_topic *topic)
{
    int64_t offsets = 0, lag = 0;
    strbuf_clear(&t->labels);
    label_add(&t->labels, "group_id", g->id);
    label_add(&t->labels, "topic_name", topic->name);
    if (topic->members > 0) {
        tell(t, "kminion_kafka_consumer_group_topic_members", "How many members of a group have partitions of a topic.",
             topic->members);
        tell(t, "kminion_kafka_consumer_group_topic_assigned_partitions",
             "How many partitions of a topic are assigned in a group.", topic->assigned);
    }
    if (topic->topic == NULL || topic->commit_count == 0)
        return;
    size_t len = t->labels.len;
    for (int32_t i = 0; i < topic->commit_count; i++) {
        const struct look_commit *c = &topic->commits[i];
        int64_t end = look_end(topic, c);
        offsets += c->offset;
        if (end == LOOK_UNKNOWN)
            continue;
        lag += lag_behind(end, c->offset);
        label_add_number(&t->labels, "partition_id", c->partition);
        tell(t, "kminion_kafka_consumer_group_topic_partition_lag",
             "How many records of a partition a group has not read.", (double)lag_behind(end, c->offset));
        t->labels.len = len;
    }
    tell(t, "kminion_kafka_consumer_group_topic_offset_sum",
         "What a group has committed of a topic, over its partitions.", (double)offsets);
    tell(t, "kminion_kafka_consumer_group_topic_lag", "How many records of a topic a group has not read.", (double)lag);
}

static void kminion_group(struct teller *t, const struct look_group *g)
{
    strbuf_clear(&t->labels);
    label_add(&t->labels, "group_id", g->id);
    if (g->described) {
        size_t len = t->labels.len;
        tell(t, "kminion_kafka_consumer_group_members", "How many members a group has.", g->members);
        if (g->idle_members > 0)
            tell(t, "kminion_kafka_consumer_group_empty_members", "How many members of a group have no partitions.",
                 g->idle_members);
        label_add(&t->labels, "protocol", g->protocol);
        label_add(&t->labels, "protocol_type", g->protocol_type);
        label_add(&t->labels, "state", g->state);
        label_add_number(&t->labels, "coordinator_id", g->coordinator);
        tell(t, "kminion_kafka_consumer_group_info", "A group; 1 if it is stable.", str_is(g->state, "Stable"));
        t->labels.len = len;
    }
    for (int32_t i = 0; i < g->topic_count; i++)
        kminion_group_topic(t, g, &g->topics[i]);
}

static void kminion_offsets(struct teller *t, const struct look_topic *topic)
{
    int64_t begins = 0, ends = 0;
    size_t len = t->labels.len;
    for (int32_t i = 0; i < topic->topic->partition_count; i++) {
        const struct look_partition *p = &topic->partitions[i];
        label_add_number(&t->labels, "partition_id", topic->topic->partitions[i].index);
        if (p->end != LOOK_UNKNOWN)
            tell(t, "kminion_kafka_topic_partition_high_water_mark", "The high watermark of a partition.",
                 (double)p->end);
        if (p->begin != LOOK_UNKNOWN)
            tell(t, "kminion_kafka_topic_partition_low_water_mark", "Where a partition begins.", (double)p->begin);
        ends += MAX(p->end, 0);
        begins += MAX(p->begin, 0);
        t->labels.len = len;
    }
    tell(t, "kminion_kafka_topic_high_water_mark_sum", "The high watermarks of a topic, over its partitions.",
         (double)ends);
    tell(t, "kminion_kafka_topic_low_water_mark_sum", "Where partitions of a topic begin, all together.",
         (double)begins);
}

static void kminion_topic(struct teller *t, const struct look_topic *topic)
{
    const struct view_topic *known = topic->topic;
    strbuf_clear(&t->labels);
    label_add(&t->labels, "topic_name", str_of(known->name));
    if (topic->bytes != LOOK_UNKNOWN)
        tell(t, "kminion_kafka_topic_log_dir_size_total_bytes", "The bytes of a topic, of all its replicas.",
             (double)topic->bytes);
    if (!topic_is_internal(str_of(known->name)))
        kminion_offsets(t, topic);
    label_add(&t->labels, "cleanup_policy", str_of(topic->cleanup_policy != NULL ? topic->cleanup_policy : ""));
    label_add_number(&t->labels, "partition_count", known->partition_count);
    label_add_number(&t->labels, "replication_factor",
                     known->partition_count > 0 ? known->partitions[0].replicas.n : 0);
    tell(t, "kminion_kafka_topic_info", "A topic.", 1);
}

static void kminion_broker(struct teller *t, const struct look *look, const struct look_broker *b, const char *listener)
{
    const struct endpoint *e = endpoint_of(b, listener);
    strbuf_clear(&t->labels);
    label_add(&t->labels, "address", str_of(e->host));
    label_add_number(&t->labels, "broker_id", b->broker->id);
    label_add_number(&t->labels, "port", e->port);
    label_add(&t->labels, "rack_id", str_of(b->broker->rack != NULL ? b->broker->rack : ""));
    if (b->bytes != LOOK_UNKNOWN)
        tell(t, "kminion_kafka_broker_log_dir_size_total_bytes", "The bytes in all log directories of a broker.",
             (double)b->bytes);
    label_add(&t->labels, "is_controller", str_of(b->broker->id == look->view->controller_id ? "true" : "false"));
    tell(t, "kminion_kafka_broker_info", "A broker of the cluster.", 1);
}

void lag_gather_kminion(const struct look *look, const char *listener, struct exposition *x)
{
    struct teller t = {.x = x};
    label_add_number(&t.labels, "broker_count", look->broker_count);
    label_add(&t.labels, "cluster_id", str_of(look->cluster_id));
    label_add(&t.labels, "cluster_version", STR_LIT("v3.9"));
    label_add_number(&t.labels, "controller_id", look->view->controller_id);
    tell(&t, "kminion_kafka_cluster_info", "The cluster.", 1);
    strbuf_clear(&t.labels);
    label_add(&t.labels, "version", STR_LIT(""));
    tell(&t, "kminion_exporter_up", "1, or 0 if some questions to brokers had no answer.", look->unanswered == 0);
    for (int32_t i = 0; i < look->broker_count; i++)
        kminion_broker(&t, look, &look->brokers[i], listener);
    for (int32_t i = 0; i < look->view->topic_count; i++)
        kminion_topic(&t, &look->topics[i]);
    for (int32_t i = 0; i < look->group_count; i++)
        kminion_group(&t, &look->groups[i]);
    strbuf_deinit(&t.labels);
}
