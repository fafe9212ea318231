/*
 * The way to one broker: its requests in order, one at a time, each sent again until it is answered or the
 * broker is gone. What all brokers are told is there once, however many have yet to hear of it.
 */
#include <inttypes.h>
#include <utlist.h>

#include "base/logger.h"
#include "base/str_set.h"
#include "base/topic_key.h"
#include "cluster/view.h"
#include "controller/controller_internal.h"
#include "net/net.h"
#include "protocol/msg/api.h"
#include "protocol/msg/leader_and_isr.h"
#include "protocol/msg/request_header.h"
#include "protocol/msg/response_header.h"
#include "protocol/msg/stop_replica.h"

enum { RETRY_MS = 100 };

struct parcel {
    int64_t queued_us;
    bool sent; /* at least once */
    struct memo *memo;
    int64_t broker_epoch; /* that it is for */
    struct parcel *prev, *next;
};

struct channel {
    struct controller *controller;
    int32_t broker;
    struct client *client; /* NULL: the broker has no listener for us */
    struct client_call call;
    struct timer retry;
    struct parcel *queue;
    struct channel_counts *counts;
    struct client_counts *traffic; /* of the client */
    bool waiting, doomed;
};

static void channel_send_first(struct channel *ch);

/* ---- Memos ---- */

struct memo *memo_new(int16_t api_key, int16_t version, struct strbuf *frame)
{
    enum { BEGINNING = 64 }; /* it is behind the header and one or two small fields */
    uint8_t mark[sizeof(int64_t)];
    be64_put(mark, (uint64_t)EPOCH_MARK);
    const char *at = memmem(frame->p, MIN(frame->len, (size_t)BEGINNING), mark, sizeof(mark));
    ensure(at != NULL);
    struct memo *m = xcalloc(1, sizeof(*m));
    *m = (struct memo){1, api_key, version, (size_t)(at - frame->p), *frame};
    *frame = (struct strbuf){0};
    return m;
}

void memo_unref(struct memo *m)
{
    ensure(m->refs > 0);
    if (--m->refs > 0)
        return;
    strbuf_deinit(&m->frame);
    free(m);
}

static void parcel_free(struct parcel *p)
{
    memo_unref(p->memo);
    free(p);
}

/* ---- Answers ---- */

/* Partitions that were to be deleted, and not only stopped: both requests are answered alike. */
static struct str_set deletions_of(const struct stop_replica_request *request, struct arena *a)
{
    struct str_set set = {0};
    struct topic_key key;
    for (int32_t t = 0; t < request->topic_states.len; t++) {
        const struct stop_replica_topic_state *state = &request->topic_states.items[t];
        for (int32_t i = 0; i < state->partition_states.len; i++)
            if (state->partition_states.items[i].delete_partition &&
                topic_key_make(state->topic_name, state->partition_states.items[i].partition_index, &key))
                str_set_add_copy(&set, a, topic_key_bytes(&key));
    }
    return set;
}

/* Whether the answer ends the deletion of a replica. */
static bool take_deleted(struct channel *ch, const struct str_set *deletions, enum kafka_error whole,
                         const struct stop_replica_partition_error *e)
{
    struct topic_key key;
    struct controller *c = ch->controller;
    struct ctl_topic *t = context_topic(c, e->topic_name);
    struct ctl_partition *p = t != NULL && t->deleting ? topic_partition(t, e->partition_index) : NULL;
    enum replica_state *state = p != NULL ? replica_state_of(p, ch->broker) : NULL;
    if (state == NULL || *state != REPLICA_DELETION_STARTED ||
        !topic_key_make(e->topic_name, e->partition_index, &key) || !str_set_has(deletions, topic_key_bytes(&key)))
        return false;
    *state = whole == ERR_NONE && e->error_code == ERR_NONE ? REPLICA_DELETED : REPLICA_INELIGIBLE;
    if (e->error_code == ERR_KAFKA_STORAGE_ERROR)
        replica_reported(c, p, ch->broker, ERR_KAFKA_STORAGE_ERROR);
    else if (*state == REPLICA_INELIGIBLE)
        deletion_failed(c, t);
    return true;
}

static void note_stopped(struct channel *ch, const struct stop_replica_request *request,
                         const struct stop_replica_response *response, struct arena *a)
{
    struct str_set deletions = deletions_of(request, a);
    bool any = false;
    for (int32_t i = 0; i < response->partition_errors.len; i++)
        any |=
            take_deleted(ch, &deletions, (enum kafka_error)response->error_code, &response->partition_errors.items[i]);
    str_set_deinit(&deletions);
    if (any)
        event_post_once(ch->controller, "TopicDeletionStopReplicaResponseReceived", deletion_replica_done);
}

static bool take_stop_answer(struct channel *ch, const struct parcel *p, struct reader *r, struct arena *a)
{
    struct stop_replica_response response;
    struct stop_replica_request request;
    struct request_header header;
    struct reader asked;
    const struct memo *m = p->memo;
    reader_init(&asked, (struct bytes){(const uint8_t *)m->frame.p + 4, (int32_t)m->frame.len - 4}, a);
    bool mine = request_header_read(&asked, api_request_header_version(m->api_key, m->version), &header) &&
                stop_replica_request_read(&asked, m->version, &request);
    ensure(mine);
    if (!stop_replica_response_read(r, m->version, &response))
        return false;
    note_stopped(ch, &request, &response, a);
    return true;
}

static void note_orders(struct channel *ch, struct ctl_topic *t, const struct leader_and_isr_partition_error *list,
                        int32_t count)
{
    for (int32_t i = 0; t != NULL && i < count; i++) {
        struct ctl_partition *p = topic_partition(t, list[i].partition_index);
        if (p != NULL)
            replica_reported(ch->controller, p, ch->broker, (enum kafka_error)list[i].error_code);
    }
}

/* Which replicas lie in a log directory that is offline. */
static bool take_order_answer(struct channel *ch, const struct parcel *p, struct reader *r)
{
    struct leader_and_isr_response response;
    struct controller *c = ch->controller;
    if (!leader_and_isr_response_read(r, p->memo->version, &response))
        return false;
    if (response.error_code != ERR_NONE) {
        log_warn("Broker %" PRId32 " refused a LeaderAndIsr request: %s", ch->broker, error_name(response.error_code));
        return true;
    }
    for (int32_t i = 0; i < response.partition_errors.len; i++)
        note_orders(ch, context_topic(c, response.partition_errors.items[i].topic_name),
                    &response.partition_errors.items[i], 1);
    for (int32_t i = 0; i < response.topics.len; i++)
        note_orders(ch, context_topic_by_id(c, response.topics.items[i].topic_id),
                    response.topics.items[i].partition_errors.items, response.topics.items[i].partition_errors.len);
    return true;
}

static void channel_take_answer(struct channel *ch, const struct parcel *p, struct bytes response)
{
    struct arena a = {0};
    struct reader r;
    struct response_header header;
    const struct memo *m = p->memo;
    reader_init(&r, response, &a);
    bool ok = response_header_read(&r, api_response_header_version(m->api_key, m->version), &header);
    if (ok && m->api_key == API_STOP_REPLICA)
        ok = take_stop_answer(ch, p, &r, &a);
    else if (ok && m->api_key == API_LEADER_AND_ISR)
        ok = take_order_answer(ch, p, &r);
    if (!ok)
        log_warn("Broker %" PRId32 " gave an answer that cannot be read", ch->broker);
    arena_deinit(&a);
}

static void channel_on_retry(struct timer *t)
{
    channel_send_first(CONTAINER_OF(t, struct channel, retry));
}

static void channel_on_answer(struct client_call *call, struct bytes response)
{
    struct channel *ch = CONTAINER_OF(call, struct channel, call);
    ch->waiting = false;
    if (ch->doomed)
        return;
    if (response.p == NULL) {
        timer_start(&ch->retry, RETRY_MS);
        return;
    }
    struct parcel *p = ch->queue;
    ensure(p != NULL && p->sent); /* an answer is to the first, as one is under way at a time */
    DL_DELETE(ch->queue, p);
    channel_count_queued(ch->counts, -1);
    channel_take_answer(ch, p, response);
    parcel_free(p);
    channel_send_first(ch);
}

static void channel_send_first(struct channel *ch)
{
    if (ch->waiting || ch->queue == NULL || ch->client == NULL)
        return;
    struct parcel *p = ch->queue;
    struct strbuf copy = {0};
    ensure(p->memo->epoch_at + sizeof(p->broker_epoch) <= p->memo->frame.len);
    strbuf_add(&copy, p->memo->frame.p, p->memo->frame.len);
    be64_put(copy.p + p->memo->epoch_at, (uint64_t)p->broker_epoch);
    if (!p->sent)
        channel_count_sent(ch->counts, p->queued_us);
    p->sent = true;
    ch->waiting = true;
    ch->call = (struct client_call){.done = channel_on_answer,
                                    .timeout_ms = ch->controller->options.config->controller_socket_timeout_ms};
    client_send(ch->client, &copy, &ch->call);
}

struct channel *channel_new(struct controller *c, const struct registration *r)
{
    struct channel *ch = xcalloc(1, sizeof(*ch));
    const struct broker_config *config = c->options.config;
    const char *listener =
        config->control_plane_listener_name ? config->control_plane_listener_name : config->inter_broker_listener_name;
    const struct endpoint *e = registration_endpoint(r, listener);
    ch->controller = c;
    ch->broker = r->id;
    ch->counts = channel_counts_new(c, r->id);
    timer_init(&ch->retry, c->options.loop, channel_on_retry);
    struct client_options client = client_options_of(config, c->options.loop, c->options.route);
    const struct client_kind kind = {"controller-channel-metrics", {{"broker-id", r->id}}};
    client.counts = ch->traffic = client_counts_new(client.route, client.loop, &kind);
    if (e != NULL)
        ch->client = client_new(&client, e->host, e->port);
    else
        log_error("Broker %" PRId32 " has no listener %s: it cannot be told anything", r->id, listener);
    return ch;
}

void channel_free(struct channel *ch)
{
    struct parcel *p, *tmp;
    if (ch == NULL)
        return;
    ch->doomed = true;
    timer_stop(&ch->retry);
    client_free(ch->client); /* calls on_answer() for what is open */
    ensure(!ch->waiting);
    client_counts_free(ch->traffic);
    DL_FOREACH_SAFE (ch->queue, p, tmp)
        parcel_free(p);
    channel_counts_free(ch->counts);
    free(ch);
}

void channel_send(struct channel *ch, struct memo *m, int64_t broker_epoch)
{
    struct parcel *p = xcalloc(1, sizeof(*p));
    ensure(m->refs > 0 && !ch->doomed);
    m->refs++;
    *p = (struct parcel){.queued_us = loop_callback_us(), .memo = m, .broker_epoch = broker_epoch};
    channel_count_queued(ch->counts, 1);
    DL_APPEND(ch->queue, p);
    channel_send_first(ch);
}
