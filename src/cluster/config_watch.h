/*
 * The configurations that ZooKeeper has, which every broker follows: of topics, of this broker and all brokers, of
 * users, clients and addresses. Control loop only, but for topic_configs.
 */
#ifndef BARNABAS_CLUSTER_CONFIG_WATCH_H
#define BARNABAS_CLUSTER_CONFIG_WATCH_H

#include "cluster/broker_settings.h"
#include "cluster/zk.h"
#include "cluster/znodes.h"
#include "config/config.h"

struct topic_configs;

/* What a topic does not set itself is as the broker's settings have it. */
struct topic_configs *topic_configs_new(struct broker_settings *settings);
void topic_configs_free(struct topic_configs *t);
/* The defaults with the topic's own keys over them. Any thread. */
void topic_configs_get(struct topic_configs *t, const char *topic, struct topic_config *out);
/*
 * These are the topic's own keys, as its node was just read: of topics that come without a notification, and have no
 * replica here, nothing else is known. None: it is forgotten. False: they are what was known. Any thread.
 */
bool topic_configs_take(struct topic_configs *t, const char *topic, const struct config_znode *own);
/* The topic's own keys, in the arena. Any thread. */
struct config_znode topic_configs_own(struct topic_configs *t, struct arena *a, struct str topic);
/* Whether the topic's list of throttled replicas of that key has this one. Any thread. */
bool topic_configs_throttle(struct topic_configs *t, const char *topic, const char *key, int32_t partition,
                            int32_t broker);

struct config_watch_options {
    struct zk *zk;
    struct topic_configs *configs;
    struct broker_settings *settings;
    /* A topic has other settings now. */
    void (*changed)(void *ctx, const char *topic);
    /* This broker has, perhaps before loaded(); or somebody has set again what was set. */
    void (*settings_changed)(void *ctx, bool different);
    /*
     * A user, a client or an address has these settings now, by its path below /config: "users/al%20ice",
     * "users/bob/clients/x", "clients/<default>", "ips/127.0.0.1". Without any: it has none, or is gone,
     * perhaps while there was no session.
     */
    void (*entity_changed)(void *ctx, const char *entity, const struct config_znode *pairs);
    /* After config_watch_start(), when all were read; not again. `why`: not all could be; NULL: they were. */
    void (*loaded)(void *ctx, const struct fail *why);
    void *ctx;
};

struct config_watch;
/* Reads all configurations but those of other brokers, then follows /config/changes. */
struct config_watch *config_watch_new(const struct config_watch_options *options);
void config_watch_start(struct config_watch *w, int32_t broker_id); /* again after each session expiry */
void config_watch_changed(struct config_watch *w);                  /* /config/changes has new children */
/*
 * Reads the settings of these topics now: new ones come without a notification. `ready` is posted to `home` when
 * they are known.
 */
void config_watch_refresh(struct config_watch *w, const struct str *topics, int32_t count, struct loop *home,
                          struct message *ready);
/*
 * This broker has stored those settings of an entity, "topics/t", "brokers/1", "users/al%20ice" and so on: it need not
 * wait to be told of them. On the control loop, as ZooKeeper answers: so nothing newer has been read yet.
 */
void config_watch_written(struct config_watch *w, const char *entity, const struct config_znode *pairs);
void config_watch_free(struct config_watch *w);

/* ---- For who changes settings ---- */

/* What a node that was read has; nothing if it is not there. False: it cannot be read. */
bool config_read(struct arena *a, const struct zk_op *read, struct config_znode *out) NODISCARD;
/* Adds the notification that the settings of an entity are others now. */
void config_notify(struct zk_batch *b, const char *entity);

#endif
