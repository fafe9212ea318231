/*
 * Clients that use more than they may pause (KIP-219): the answer goes out at once and says for how long, and for that
 * long nothing more is read of the connection. So a client that knows what it is told waits by itself, and one that
 * does not has to wait for its next answer.
 *
 * The time of a request is what its loop was busy with it before it went to wait or to another thread, as Kafka counts
 * it, in percent of one thread. Nobody pauses for that longer than a sample lasts.
 */
#include "base/clock.h"
#include "server/request_metrics.h"
#include "server/session.h"

static const double percent_of_us = 1e-4; /* a second in a second is 100 */

/* Of brokers by brokers. */
static bool is_of_broker(const struct request *r)
{
    switch (r->api->key) {
    case API_LEADER_AND_ISR:
    case API_STOP_REPLICA:
    case API_UPDATE_METADATA:
    case API_CONTROLLED_SHUTDOWN:
    case API_ALTER_PARTITION:
    case API_WRITE_TXN_MARKERS:
        return !r->denied_as_broker;
    default:
        return false;
    }
}

/* What comes before anybody is known, whom it could be charged to. */
static bool is_of_nobody(const struct request *r)
{
    return r->api->key == API_SASL_HANDSHAKE || r->api->key == API_SASL_AUTHENTICATE ||
           connection_session(r->s, r->x->conn)->principal.name.p == NULL;
}

struct quota_client request_quota_client(const struct request *r)
{
    return (struct quota_client){request_principal(r).name, r->client_id};
}

struct quota_client request_quota_client_copy(const struct request *r)
{
    struct quota_client who = request_quota_client(r);
    return (struct quota_client){arena_str(r->arena, who.user), who.id};
}

void request_leaves(struct request *r)
{
    request_stops(r);
    if (r->used_us == 0 && request_has_limit(r, QUOTA_REQUEST))
        r->used_us = MAX(r->since_us - r->x->received_us, INT64_C(1));
}

void request_has_taken(struct request *r, int64_t us)
{
    ensure(us >= 0);
    if (r->used_us > 0)
        r->used_us += us;
    r->local_us += us;
    r->since_us += us; /* so that it has not waited for so long */
}

void request_park(struct request *r)
{
    request_leaves(r);
    r->waits = true;
    exchange_park(r->x);
}

void request_pause(struct request *r, struct quota_verdict v)
{
    ensure(v.wait_ms >= 0);
    r->is_judged = true;
    r->verdict.wait_ms = v.wait_ms;
    if (v.wait_ms > 0)
        exchange_mute(r->x, v.wait_ms, quotas_count_pause(r->s->quotas, v, request_quota_client(r), clock_mono_ms()));
}

void request_exempt(struct request *r)
{
    if (!request_has_limit(r, QUOTA_REQUEST))
        return;
    request_leaves(r);
    quotas_count_exempt(r->s->quotas, r->used_us);
}

static struct quota_verdict charge_time(struct request *r)
{
    request_leaves(r);
    struct quota_verdict v = quotas_charge(r->s->quotas, QUOTA_REQUEST, request_quota_client(r),
                                           (double)r->used_us * percent_of_us, clock_mono_ms());
    v.wait_ms = (int32_t)MIN((int64_t)v.wait_ms, (int64_t)r->s->config->quota_window_size_seconds * 1000);
    return v;
}

struct quota_verdict request_judge(struct request *r, struct quota_verdict other)
{
    struct quota_verdict time = {0};
    ensure(!r->is_judged);
    if (is_of_broker(r))
        request_exempt(r);
    else if (request_has_limit(r, QUOTA_REQUEST) && !is_of_nobody(r))
        time = charge_time(r);
    r->verdict.always = (time.always || time.wait_ms == 0) && (other.always || other.wait_ms == 0);
    request_pause(r, time.wait_ms >= other.wait_ms ? time : other); /* of two pauses Kafka counts one, too */
    return r->verdict;
}
