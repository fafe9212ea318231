/* Delegation tokens, which are followed in the broker's own session with ZooKeeper. All on the control loop. */
#include "broker/broker_internal.h"

static void delegation_loaded(void *ctx, const struct fail *fail)
{
    struct broker *b = ctx;
    b->delegation_ready(b, fail);
}

/* As with Kafka's brokers it is the controller that takes away what is over. */
static bool is_cleaner(void *ctx)
{
    struct broker *b = ctx;
    return b->services.controller != NULL && controller_is_active(b->services.controller);
}

void delegation_start(struct broker *b, void (*ready)(struct broker *b, const struct fail *fail))
{
    const struct broker_config *c = b->config;
    struct services *s = &b->services;
    if (c->delegation_token_secret_key == NULL || c->delegation_token_secret_key[0] == '\0') {
        ready(b, NULL);
        return;
    }
    b->delegation_ready = ready;
    s->tokens = tokens_new(c->delegation_token_secret_key);
    s->token_watch =
        token_watch_new(&(struct token_watch_options){.loop = b->control,
                                                      .zk = s->zk,
                                                      .tokens = s->tokens,
                                                      .check_interval_ms = c->delegation_token_expiry_check_interval_ms,
                                                      .cleans = is_cleaner,
                                                      .loaded = delegation_loaded,
                                                      .ctx = b});
    token_watch_start(s->token_watch);
}

void delegation_session_started(struct broker *b)
{
    if (b->services.token_watch != NULL)
        token_watch_start(b->services.token_watch);
}

bool delegation_takes_change(struct broker *b, const char *path)
{
    return b->services.token_watch != NULL && token_watch_changed(b->services.token_watch, path);
}

void delegation_clean(struct broker *b)
{
    if (b->services.token_watch != NULL)
        token_watch_clean(b->services.token_watch);
}

void delegation_free(struct broker *b)
{
    token_watch_free(b->services.token_watch);
    tokens_free(b->services.tokens);
}
