/* What the coordinators of groups and transactions ask of the rest of the broker. All on their loop but for starting.
 */
#include "broker/broker_internal.h"

#include "base/clock.h"
#include "cluster/broker_link.h"
#include "cluster/internal_topics.h"
#include "cluster/missing_partitions.h"
#include "coordinator/patience.h"
#include "coordinator/topic_log.h"
#include "transaction/producer_ids.h"

static bool draw_producer_id(void *ctx, int64_t *id)
{
    struct broker *b = ctx;
    return producer_ids_draw(b->services.producer_ids, id);
}

static int32_t known_leader(const struct view_partition *p)
{
    return p != NULL && view_broker(view_current(), p->leader) != NULL ? p->leader : TXN_NO_LEADER;
}

static int32_t leader_of(void *ctx, struct str topic, int32_t index)
{
    struct broker *b = ctx;
    const struct view_partition *p = view_partition(view_current(), topic, index);
    bool gone = p == NULL && missing_partition_is_gone(b->missing_partitions, topic, index);
    return gone ? TXN_NO_PARTITION : known_leader(p);
}

static int32_t coordination_coordinator_of(void *ctx, struct str transactional_id)
{
    struct str name = STR_LIT(TRANSACTION_STATE_TOPIC);
    const struct broker *b = ctx;
    const struct view_topic *topic = view_topic(view_current(), name);
    if (topic == NULL)
        return TXN_NO_LEADER;
    int32_t index =
        state_topic_number_of(txn_topic(b->services.transactions), transactional_id, view_topic_width(topic));
    return known_leader(view_partition(view_current(), name, index));
}

static void send_markers(void *ctx, int32_t broker, struct broker_call *call)
{
    struct broker *b = ctx;
    broker_links_send(b->marker_links, broker, call);
}

static void send_verification(void *ctx, int32_t broker, struct broker_call *call)
{
    struct broker *b = ctx;
    broker_links_send(b->verification_links, broker, call);
}

static void deliver_ears(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, ears);
    int count = net_server_loop_count(b->services.net);
    struct loop **loops = xcalloc((size_t)count, sizeof(*loops));
    for (int i = 0; i < count; i++)
        loops[i] = net_server_loop(b->services.net, i);
    hearing_set_ears(b->hearing, loops, count);
    free(loops);
}

static struct topic_log *make_topic_log(const struct broker *b, const char *topic)
{
    return topic_log_new(&(struct topic_log_options){.topic = topic,
                                                     .loop = b->services.coordinator_loop,
                                                     .wakes = b->services.coordinator_wakes,
                                                     .workers = b->services.workers});
}

/* Markers wait for replicas, and verifications should not wait for them: they have connections of their own. */
static void start_transactions(struct broker *b)
{
    struct services *s = &b->services;
    b->marker_links = broker_links_new(s->coordinator_loop, &b->route, b->config, "txn-marker-sender",
                                       &(struct client_kind){.type = "txn-marker-channel-metrics"});
    b->verification_links = broker_links_new(s->coordinator_loop, &b->route, b->config, "txn-verifier",
                                             &(struct client_kind){.type = "AddPartitionsManager-channel-metrics"});
    b->missing_partitions = missing_partitions_new(s->coordinator_loop, b->control);
    b->transactions_log = make_topic_log(b, TRANSACTION_STATE_TOPIC);
    s->transactions = txn_coordinator_new(&(struct txn_options){.loop = s->coordinator_loop,
                                                                .hearing = b->hearing,
                                                                .config = b->config,
                                                                .log = topic_log_seam(b->transactions_log),
                                                                .wall_ms = clock_wall_ms,
                                                                .draw_producer_id = draw_producer_id,
                                                                .leader_of = leader_of,
                                                                .send = send_markers,
                                                                .ctx = b,
                                                                .metrics = b->services.metrics});
    s->verifier = verifier_new(&(struct verifier_options){.coordinator_of = coordination_coordinator_of,
                                                          .send = send_verification,
                                                          .ctx = b,
                                                          .metrics = b->services.metrics});
}

void coordination_start(struct broker *b)
{
    struct services *s = &b->services;
    s->coordinator_loop = loop_new("coordinator");
    s->coordinator_wakes = wake_queue_new(s->coordinator_loop);
    b->hearing = hearing_new(s->coordinator_loop);
    b->offsets_log = make_topic_log(b, GROUP_METADATA_TOPIC);
    s->groups = group_coordinator_new(&(struct group_options){.loop = s->coordinator_loop,
                                                              .hearing = b->hearing,
                                                              .config = b->config,
                                                              .metrics = b->services.metrics,
                                                              .log = topic_log_seam(b->offsets_log),
                                                              .wall_ms = clock_wall_ms});
    start_transactions(b);
    loop_thread_start(&b->coordinator, s->coordinator_loop);
}

void coordination_set_out(struct broker *b)
{
    b->ears.deliver = deliver_ears;
    loop_post(b->services.coordinator_loop, &b->ears);
    topic_log_set_replicas(b->offsets_log, b->services.replicas);
    topic_log_set_replicas(b->transactions_log, b->services.replicas);
}

void coordination_close_links(struct broker *b)
{
    broker_links_close(b->verification_links);
    broker_links_close(b->marker_links);
}

static void deliver_resignation(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, resignation);
    state_topic_resign_all(group_topic(b->services.groups));
    state_topic_resign_all(txn_topic(b->services.transactions));
    coordination_close_links(b);
}

void coordination_resign(struct broker *b)
{
    b->resignation.deliver = deliver_resignation;
    loop_post(b->services.coordinator_loop, &b->resignation);
}

void coordination_free(struct broker *b)
{
    struct services *s = &b->services;
    broker_links_free(b->verification_links);
    broker_links_free(b->marker_links);
    verifier_free(s->verifier);
    txn_coordinator_free(s->transactions);
    group_coordinator_free(s->groups);
    hearing_free(b->hearing);
    topic_log_free(b->transactions_log);
    topic_log_free(b->offsets_log);
}
