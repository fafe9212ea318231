#include "server/request_metrics.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/probe.h"
#include "metrics/histogram.h"
#include "protocol/error.h"
#include "server/deprecated_requests.h"
#include "server/request_log.h"

enum { VERSIONS = 32, ERRORS = 160, FIRST_ERROR = -1 };

enum phase {
    PHASE_QUEUE,
    PHASE_LOCAL,
    PHASE_REMOTE,
    PHASE_THROTTLE,
    PHASE_RESPONSE_QUEUE,
    PHASE_RESPONSE_SEND,
    PHASE_TOTAL,
    SIZE_REQUEST,
    TIME_CONVERSION, /* of Produce and Fetch alone, as what follows */
    SIZE_TEMPORARY,
    PHASES,
};

static const char *const phase_names[] = {
    "RequestQueueTimeMs", "LocalTimeMs", "RemoteTimeMs", "ThrottleTimeMs",           "ResponseQueueTimeMs",
    "ResponseSendTimeMs", "TotalTimeMs", "RequestBytes", "MessageConversionsTimeMs", "TemporaryMemoryBytes"};

/* What is counted under one name. */
struct series {
    const char *name;
    int16_t key; /* of its API */
    int64_t ids; /* phases, then versions, then errors */
    int phases;
    int16_t errs_since; /* the version since which an answer says in one place how it went for all of it */
    struct histogram phase[PHASES];
    struct lazy_meter versions[VERSIONS];
    struct lazy_meter errors[ERRORS];
};

struct request_metrics {
    struct metrics *metrics;
    struct bean_source source;
    struct series *series; /* those of the APIs in their order, then those that are told apart */
    size_t count;
    struct series *by_key[128];
    struct series *fetch, *consumer, *follower, *verifier;
    struct deprecated_requests *deprecated;
};

/* ---- Phases ---- */

/* When this thread knew last what time it is: what it does now it does after that. */
static _Thread_local int64_t newest_us;

/*
 * Since when its thread has been at work on it. If it was begun in an earlier callback of a loop, or elsewhere, it has
 * waited in between for what others do.
 */
static int64_t busy_since_us(const struct request *r, int64_t now_us)
{
    if (loop_current() != NULL)
        return MAX(r->since_us, MAX(loop_callback_us(), newest_us));
    return r->waits ? now_us : r->since_us;
}

void request_time_passes(void)
{
    newest_us = clock_mono_us();
}

void request_stops(struct request *r)
{
    int64_t now_us = clock_mono_us(), since_us = busy_since_us(r, now_us);
    r->remote_us += since_us - r->since_us;
    r->local_us += now_us - since_us;
    r->since_us = newest_us = now_us;
}

void request_is_answered(struct request *r)
{
    struct exchange *x = r->x;
    struct request_metrics *rm = r->s->request_metrics;
    if (rm == NULL || r->flavor == REQUEST_OF_LOGIN)
        return;
    request_stops(r);
    const struct series *series = rm->by_key[r->api->key];
    if (r->flavor == REQUEST_OF_CONSUMER)
        series = rm->consumer;
    else if (r->flavor == REQUEST_OF_FOLLOWER)
        series = rm->follower;
    else if (r->flavor == REQUEST_OF_VERIFIER)
        series = rm->verifier;
    x->account = (struct exchange_account){.of = series,
                                           .queue_us = r->queue_us,
                                           .local_us = r->local_us,
                                           .remote_us = r->remote_us,
                                           .answered_us = r->since_us,
                                           .rebuild_us = r->rebuild_us,
                                           .unfolded = r->unfolded,
                                           .body_len = r->body_len,
                                           .throttle_ms = r->verdict.wait_ms,
                                           .key = (int16_t)r->api->key,
                                           .version = r->version,
                                           .log = request_log_take(r)};
}

/* ---- Counting ---- */

static void count_version(struct request_metrics *rm, struct series *s, int16_t version)
{
    if (version >= 0 && version < VERSIONS)
        lazy_meter_mark(&s->versions[version], rm->metrics, "requests", 1);
}

static void count_error(struct request_metrics *rm, struct series *s, int16_t code, int32_t times)
{
    int at = code - FIRST_ERROR;
    if (times > 0 && at >= 0 && at < ERRORS)
        lazy_meter_mark(&s->errors[at], rm->metrics, "requests", times);
}

static void count_deprecated(struct request_metrics *rm, const struct series *s, const struct exchange *x)
{
    struct str name, version;
    if (!is_deprecated_request(s->key, x->account.version))
        return;
    connection_software(x->conn, &name, &version);
    deprecated_requests_count(rm->deprecated, s->name, x->account.version, name, version);
    if (s == rm->consumer || s == rm->follower)
        deprecated_requests_count(rm->deprecated, rm->fetch->name, x->account.version, name, version);
}

/* An old version that has no place for it says by its answer alone that all of it went well. */
void request_note_errors(const struct request *r, const struct error_counts *errors)
{
    struct request_metrics *rm = r->s->request_metrics;
    struct series *s = rm != NULL ? rm->by_key[r->api->key] : NULL;
    if (s == NULL || r->flavor == REQUEST_OF_LOGIN)
        return;
    count_error(rm, s, ERR_NONE, errors->none + (r->version < s->errs_since ? 1 : 0));
    for (int32_t i = 0; i < errors->different; i++)
        count_error(rm, s, errors->others[i].code, errors->others[i].times);
}

void request_metrics_count(struct request_metrics *rm, const struct exchange *x)
{
    const struct exchange_account *a = &x->account;
    struct series *s = (struct series *)(uintptr_t)a->of;
    int64_t values[PHASES] = {
        [PHASE_QUEUE] = a->queue_us,
        [PHASE_LOCAL] = a->local_us,
        [PHASE_REMOTE] = a->remote_us,
        [PHASE_THROTTLE] = a->throttle_ms * INT64_C(1000),
        [PHASE_RESPONSE_QUEUE] = x->sending_us - a->answered_us,
        [PHASE_RESPONSE_SEND] = x->sent_us - x->sending_us,
        [PHASE_TOTAL] = x->sent_us - x->whole_us,
        [SIZE_REQUEST] = a->body_len,
        [TIME_CONVERSION] = a->rebuild_us,
        [SIZE_TEMPORARY] = a->unfolded,
    };
    ensure(values[PHASE_QUEUE] + values[PHASE_LOCAL] + values[PHASE_REMOTE] + values[PHASE_RESPONSE_QUEUE] +
               values[PHASE_RESPONSE_SEND] ==
           values[PHASE_TOTAL]);
    PROBE(request__done, s->key, values[PHASE_TOTAL], values[PHASE_QUEUE], values[PHASE_LOCAL], values[PHASE_REMOTE],
          values[PHASE_RESPONSE_SEND]); /* as many as bpftrace can see */
    for (int i = 0; i < s->phases; i++)
        histogram_record(&s->phase[i], values[i]);
    count_version(rm, s, a->version);
    count_deprecated(rm, s, x);
    if (s == rm->consumer || s == rm->follower) {
        histogram_record(&rm->fetch->phase[TIME_CONVERSION], values[TIME_CONVERSION]);
        histogram_record(&rm->fetch->phase[SIZE_TEMPORARY], values[SIZE_TEMPORARY]);
        count_version(rm, rm->fetch, a->version);
    }
}

/* ---- As beans ---- */

static bool yield_phases(struct bean_walk *w, const struct series *s)
{
    struct bean_name name = {"kafka.network", "RequestMetrics", NULL, {{"request", str_of(s->name)}}};
    bool more = true;
    for (int i = 0; i < s->phases && more; i++) {
        name.name = phase_names[i];
        more = yield_histogram(w, s->ids + i, &name, &s->phase[i]);
    }
    return more;
}

static bool yield_meters(struct bean_walk *w, struct series *s)
{
    bool more = true;
    for (int i = 0; i < VERSIONS && more; i++) {
        char text[12];
        const struct meter *m = lazy_meter_get(&s->versions[i]);
        snprintf(text, sizeof(text), "%d", i);
        struct bean_name name = {"kafka.network",
                                 "RequestMetrics",
                                 "RequestsPerSec",
                                 {{"request", str_of(s->name)}, {"version", str_of(text)}}};
        more = m == NULL || yield_meter(w, s->ids + PHASES + i, &name, m);
    }
    for (int i = 0; i < ERRORS && more; i++) {
        const struct meter *m = lazy_meter_get(&s->errors[i]);
        struct str error = str_of(error_name((int16_t)(i + FIRST_ERROR)));
        struct bean_name name = {
            "kafka.network", "RequestMetrics", "ErrorsPerSec", {{"request", str_of(s->name)}, {"error", error}}};
        more = m == NULL || yield_meter(w, s->ids + PHASES + VERSIONS + i, &name, m);
    }
    return more;
}

static void request_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct request_metrics *rm = ctx;
    if (!walk_wants(w, "kafka.network", "RequestMetrics"))
        return;
    for (size_t i = 0; i < rm->count; i++)
        if (!yield_phases(w, &rm->series[i]) || !yield_meters(w, &rm->series[i]))
            return;
}

/* ---- Life ---- */

static int16_t versions_with_error(const struct message_type *type)
{
    for (int16_t i = 0; i < type->field_count; i++)
        if (type->fields[i].is_error)
            return type->fields[i].versions.min;
    return 0;
}

static struct series *series_add(struct request_metrics *rm, const char *name, int16_t key)
{
    _Static_assert(ARRAY_LEN(phase_names) == PHASES, "each phase has a name");
    ensure(key >= 0 && (size_t)key < ARRAY_LEN(rm->by_key));
    struct series *s = &rm->series[rm->count++];
    bool converts = strcmp(name, "Produce") == 0 || strcmp(name, "Fetch") == 0;
    s->name = name;
    s->key = key;
    s->phases = converts ? PHASES : TIME_CONVERSION;
    s->ids = metrics_ids(rm->metrics, PHASES + VERSIONS + ERRORS);
    for (int i = 0; i < s->phases; i++) {
        bool in_bytes = i == SIZE_REQUEST || i == SIZE_TEMPORARY;
        histogram_init(&s->phase[i], rm->metrics, in_bytes ? HISTOGRAM_PLAIN : HISTOGRAM_WHOLE_MS);
    }
    return s;
}

struct request_metrics *request_metrics_new(struct metrics *m)
{
    struct request_metrics *rm = xcalloc(1, sizeof(*rm));
    rm->metrics = m;
    rm->series = xcalloc(api_specs_len + 3, sizeof(*rm->series));
    for (size_t i = 0; i < api_specs_len; i++) {
        struct series *s = series_add(rm, api_specs[i].name, api_specs[i].key);
        s->errs_since = versions_with_error(api_specs[i].response);
        rm->by_key[api_specs[i].key] = s;
    }
    rm->fetch = rm->by_key[API_FETCH];
    rm->consumer = series_add(rm, "FetchConsumer", API_FETCH);
    rm->follower = series_add(rm, "FetchFollower", API_FETCH);
    rm->verifier = series_add(rm, "AddPartitionsToTxnVerification", API_ADD_PARTITIONS_TO_TXN);
    ensure(rm->count == api_specs_len + 3);
    for (int i = 0; i < TIME_CONVERSION; i++) {
        rm->fetch->phase[i].parts[0] = &rm->consumer->phase[i];
        rm->fetch->phase[i].parts[1] = &rm->follower->phase[i];
    }
    rm->deprecated = deprecated_requests_new(m);
    rm->source = (struct bean_source){.visit = request_metrics_visit, .ctx = rm};
    metrics_add_source(m, &rm->source);
    return rm;
}

void request_metrics_free(struct request_metrics *rm)
{
    if (rm == NULL)
        return;
    metrics_remove_source(rm->metrics, &rm->source);
    deprecated_requests_free(rm->deprecated);
    for (size_t i = 0; i < rm->count; i++) {
        for (int k = 0; k < rm->series[i].phases; k++)
            histogram_deinit(&rm->series[i].phase[k]);
        for (int k = 0; k < VERSIONS; k++)
            lazy_meter_deinit(&rm->series[i].versions[k]);
        for (int k = 0; k < ERRORS; k++)
            lazy_meter_deinit(&rm->series[i].errors[k]);
    }
    free(rm->series);
    free(rm);
}
