/*
 * A broker's membership in its cluster: the lasting znodes, the cluster's id, the broker's own id, and its
 * ephemeral registration, whose czxid is the broker epoch. Also the configurations that ZooKeeper has, which every
 * broker follows. Control loop only, but for topic_configs.
 */
#ifndef BARNABAS_CLUSTER_MEMBER_H
#define BARNABAS_CLUSTER_MEMBER_H

#include "base/fail.h"
#include "cluster/broker_settings.h"
#include "cluster/zk.h"
#include "cluster/znodes.h"
#include "config/config.h"

/* What is under way; embed it. Each call answers once; `failed` says why not. */
struct member_call {
    void (*done)(struct member_call *call, bool ok);
    struct fail fail;
    struct zk *zk;
    struct loop *loop;
    /*
     * How long member_register() waits for the node of a session that is not ours: that of this broker's
     * earlier life goes when its time is over, that of another broker stays.
     */
    int64_t patience_ms;
    struct timer retry;
    bool waiting;
    bool expired; /* why it failed: the session ended meanwhile */
    /* Results and parameters of the calls below. */
    char cluster_id[64];
    int32_t broker_id;
    int64_t epoch;
    struct registration registration; /* what to register; stays valid until done() */
};

/* Makes the persistent paths that are missing; reads the cluster id, or draws one. -> cluster_id */
void member_prepare(struct member_call *call);
/* The next of the generated ids, above reserved.broker.max.id. -> broker_id */
void member_generate_id(struct member_call *call, int32_t reserved_max);
/* -> epoch. Fails when another living session holds the id, or another id the same endpoint. */
void member_register(struct member_call *call);

/*
 * Tells the controller that some log directory of this broker has failed; it then asks for which partitions. When the
 * session ends before it is told, it asks when the broker registers again.
 */
void member_report_log_dir(struct zk *zk, int32_t broker_id);

/* ---- Configurations of topics, as ZooKeeper has them ---- */

struct topic_configs;

/* What a topic does not set itself is as the broker's settings have it. */
struct topic_configs *topic_configs_new(struct broker_settings *settings);
void topic_configs_free(struct topic_configs *t);
/* The defaults with the topic's own keys over them. Any thread. */
void topic_configs_get(struct topic_configs *t, const char *topic, struct topic_config *out);
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
    /* This broker has, perhaps before loaded(). */
    void (*settings_changed)(void *ctx);
    void (*loaded)(void *ctx); /* after config_watch_start(), when all were read */
    void *ctx;
};

struct config_watch;
/* Reads all topics' configurations and this broker's, then follows /config/changes. */
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
 * This broker has stored those settings for a topic ("topics") or for this or all brokers ("brokers"): it need not wait
 * to be told of them. On the control loop, as ZooKeeper answers: so nothing newer has been read yet.
 */
void config_watch_written(struct config_watch *w, const char *kind, const char *entity,
                          const struct config_znode *pairs);
void config_watch_free(struct config_watch *w);

#endif
