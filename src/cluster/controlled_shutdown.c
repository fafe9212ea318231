#include "cluster/controlled_shutdown.h"

#include <inttypes.h>

#include "base/logger.h"
#include "protocol/msg/api.h"

static void shutdown_finish(struct controlled_shutdown *s, bool clean)
{
    timer_stop(&s->pause);
    s->done(s, clean);
}

static void try_once(struct controlled_shutdown *s);

static void on_pause_over(struct timer *t)
{
    try_once(CONTAINER_OF(t, struct controlled_shutdown, pause));
}

static void shutdown_try_again(struct controlled_shutdown *s)
{
    if (s->tries_left > 0) {
        timer_start(&s->pause, s->config->controlled_shutdown_retry_backoff_ms);
        return;
    }
    log_warn("Proceeding to do an unclean shutdown as all the controlled shutdown attempts failed");
    shutdown_finish(s, false);
}

static void log_remaining(const struct controlled_shutdown_response *r)
{
    struct strbuf names = {0};
    for (int32_t i = 0; i < r->remaining_partitions.len; i++) {
        const struct controlled_shutdown_remaining_partition *p = &r->remaining_partitions.items[i];
        strbuf_printf(&names, "%s%.*s-%" PRId32, i > 0 ? ", " : "", STR_ARGS(p->topic_name), p->partition_index);
    }
    log_info("Remaining partitions to move: %.*s", (int)names.len, names.len > 0 ? (const char *)names.p : "");
    strbuf_deinit(&names);
}

static void shutdown_on_answer(struct link_call *call, enum kafka_error error)
{
    struct controlled_shutdown *s = CONTAINER_OF(call, struct controlled_shutdown, call);
    if (error == ERR_NETWORK_EXCEPTION)
        return; /* the link is closed: the broker has given up on a good end */
    if (error == ERR_NONE)
        error = (enum kafka_error)s->response.error_code;
    if (error == ERR_NONE && s->response.remaining_partitions.len == 0) {
        log_info("Controlled shutdown request returned successfully");
        shutdown_finish(s, true);
        return;
    }
    if (error == ERR_NONE)
        log_remaining(&s->response);
    else
        log_info("Error from controller: %s", error_name(error));
    shutdown_try_again(s);
}

static void try_once(struct controlled_shutdown *s)
{
    ensure(s->tries_left > 0);
    s->tries_left--;
    arena_deinit(&s->arena);
    s->call = (struct link_call){.key = API_CONTROLLED_SHUTDOWN,
                                 .request = &s->request,
                                 .response = &s->response,
                                 .arena = &s->arena,
                                 .timeout_ms = MAX(s->config->controlled_shutdown_retry_backoff_ms, (int64_t)1),
                                 .done = shutdown_on_answer};
    controller_link_send(s->link, &s->call);
}

void controlled_shutdown_start(struct controlled_shutdown *s, struct loop *loop, struct controller_link *link,
                               const struct broker_config *config, int32_t broker_id, int64_t broker_epoch)
{
    ensure(s->done != NULL && s->link == NULL);
    s->link = link;
    s->config = config;
    s->tries_left = config->controlled_shutdown_max_retries;
    timer_init(&s->pause, loop, on_pause_over);
    controlled_shutdown_request_init(&s->request);
    s->request.broker_id = broker_id;
    s->request.broker_epoch = broker_epoch;
    log_info("Starting controlled shutdown");
    if (s->tries_left > 0)
        try_once(s);
    else
        shutdown_try_again(s);
}

void controlled_shutdown_deinit(struct controlled_shutdown *s)
{
    timer_stop(&s->pause);
    arena_deinit(&s->arena);
}
