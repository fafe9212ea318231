/* Topics that come into being because somebody asked for them: internal ones, and auto.create.topics.enable. */
#include "base/clock.h"
#include "base/logger.h"
#include "cluster/internal_topics.h"
#include "controller/admin.h"
#include "server/server_internal.h"

struct auto_creation {
    struct request *r;
    struct topic_creation *topics;
    int32_t count;
    void (*then)(struct request *r);
    struct quota_client client;
    struct topics_request work;
};

static void set_config(struct topic_request *t, const char *key, const char *value)
{
    t->configs[t->config_count++] = (struct config_pair){key, value};
}

/* Offsets are kept compacted, in segments that are small enough to be loaded quickly. */
static void plan_offsets_topic(struct request *r, struct topic_request *t)
{
    const struct broker_config *c = r->s->config;
    t->partitions = c->offsets_topic_num_partitions;
    t->factor = c->offsets_topic_replication_factor;
    t->configs = ARENA_ARRAY(r->arena, struct config_pair, 3);
    set_config(t, "cleanup.policy", "compact");
    set_config(t, "segment.bytes", arena_printf(r->arena, "%d", c->offsets_topic_segment_bytes).p);
    set_config(t, "compression.type", "producer");
}

/* What a transaction has come to is kept compacted, and never given up for availability. */
static void plan_transactions_topic(struct request *r, struct topic_request *t)
{
    const struct broker_config *c = r->s->config;
    t->partitions = c->transaction_state_log_num_partitions;
    t->factor = c->transaction_state_log_replication_factor;
    t->configs = ARENA_ARRAY(r->arena, struct config_pair, 5);
    set_config(t, "unclean.leader.election.enable", "false");
    set_config(t, "compression.type", "uncompressed");
    set_config(t, "cleanup.policy", "compact");
    set_config(t, "min.insync.replicas", arena_printf(r->arena, "%d", c->transaction_state_log_min_isr).p);
    set_config(t, "segment.bytes", arena_printf(r->arena, "%d", c->transaction_state_log_segment_bytes).p);
}

/* Who asks for a coordinator is only told that there is none yet, and goes on asking. */
static void tell_why_not_made(const struct topic_request *t)
{
    static struct log_limit limit;
    struct str why = t->message.p != NULL ? t->message : str_of(error_name((int16_t)t->error));
    if (topic_is_internal(t->name))
        log_warn_limited(&limit,
                         "The topic %.*s, which coordinators need, cannot be made: %.*s (%s.replication.factor=%d)",
                         t->name.len, t->name.p, why.len, why.p,
                         str_is(t->name, GROUP_METADATA_TOPIC) ? "offsets.topic" : "transaction.state.log", t->factor);
}

static void topic_creation_on_created(struct topics_request *work)
{
    struct auto_creation *a = CONTAINER_OF(work, struct auto_creation, work);
    for (int32_t i = 0; i < a->count; i++) {
        enum kafka_error error = work->topics[i].error;
        a->topics[i].error = error == ERR_TOPIC_ALREADY_EXISTS ? ERR_NONE : error;
        if (a->topics[i].error != ERR_NONE)
            tell_why_not_made(&work->topics[i]);
    }
    view_unref((struct view *)(uintptr_t)work->view);
    request_return(a->r, a->then);
}

/* It counts, but nobody is refused: there may be more to the request than this. */
static bool count_creation(struct topics_request *work, int32_t partitions)
{
    struct auto_creation *a = CONTAINER_OF(work, struct auto_creation, work);
    int32_t wait;
    return quotas_mutate(a->r->s->quotas, a->client, partitions, false, clock_mono_ms(), &wait);
}

static void topic_creation_put_off(struct auto_creation *a)
{
    for (int32_t i = 0; i < a->count; i++)
        a->topics[i].error = ERR_LEADER_NOT_AVAILABLE;
    request_return(a->r, a->then);
}

static void topic_creation_create(struct request *r)
{
    struct auto_creation *a = r->creation;
    a->work.zk = r->s->zk;
    if (!zk_is_connected(r->s->zk)) { /* what else was asked for is not to wait until it is */
        topic_creation_put_off(a);
        return;
    }
    a->work.view = view_board_latest(r->s->board);
    topics_create(&a->work);
}

void create_topics_then(struct request *r, struct topic_creation *topics, int32_t count,
                        void (*then)(struct request *r))
{
    struct auto_creation *a = ARENA_NEW(r->arena, struct auto_creation);
    *a = (struct auto_creation){r, topics, count, then,
                                .work = {.arena = r->arena, .config = r->s->config, .done = topic_creation_on_created}};
    if (request_has_limit(r, QUOTA_MUTATION)) {
        a->client = request_quota_client_copy(r);
        a->work.may_change = count_creation;
    }
    a->work.topics = ARENA_ARRAY(r->arena, struct topic_request, MAX(count, 1));
    a->work.count = count;
    for (int32_t i = 0; i < count; i++) {
        struct topic_request *t = &a->work.topics[i];
        *t = (struct topic_request){.name = topics[i].name, .partitions = -1, .factor = -1};
        if (str_is(t->name, GROUP_METADATA_TOPIC))
            plan_offsets_topic(r, t);
        else if (str_is(t->name, TRANSACTION_STATE_TOPIC))
            plan_transactions_topic(r, t);
    }
    r->creation = a;
    request_hop(r, r->s->control_loop, topic_creation_create);
}
