/*
 * Every znode's path and format. JSON objects of Kafka 3.9 in ZooKeeper mode: unknown fields are
 * ignored, missing ones take their defaults, and what cannot be understood is reported, never guessed.
 *
 * Decoders take the node's bytes and put what they make into the arena; they return false, with a line in
 * the log, when the content is not what it should be.
 */
#ifndef BARNABAS_CLUSTER_ZNODES_H
#define BARNABAS_CLUSTER_ZNODES_H

#include "base/arena.h"
#include "base/int_list.h"
#include "base/topic_key.h"
#include "base/uuid.h"
#include "config/config.h"

#define ZNODE_CONTROLLER "/controller"
#define ZNODE_CONTROLLER_EPOCH "/controller_epoch"
#define ZNODE_BROKER_IDS "/brokers/ids"
#define ZNODE_BROKER_SEQID "/brokers/seqid"
#define ZNODE_TOPICS "/brokers/topics"
#define ZNODE_CLUSTER "/cluster"
#define ZNODE_CLUSTER_ID "/cluster/id"
#define ZNODE_FEATURE "/feature"
#define ZNODE_PRODUCER_IDS "/latest_producer_id_block"
#define ZNODE_CONFIG "/config"
#define ZNODE_CONFIG_TOPICS "/config/topics"
#define ZNODE_CONFIG_USERS "/config/users"
#define ZNODE_CONFIG_CLIENTS "/config/clients"
#define ZNODE_CONFIG_IPS "/config/ips"
#define ZNODE_CONFIG_BROKERS "/config/brokers"
#define ZNODE_CONFIG_CHANGES "/config/changes"
#define CONFIG_OF_ALL_BROKERS "<default>" /* the name under /config/brokers */
#define ZNODE_ISR_CHANGES "/isr_change_notification"
#define ZNODE_LOG_DIR_EVENTS "/log_dir_event_notification"
#define ZNODE_DELETE_TOPICS "/admin/delete_topics"
#define ZNODE_REASSIGN "/admin/reassign_partitions"
#define ZNODE_PREFERRED_ELECTION "/admin/preferred_replica_election"
#define ZNODE_CONSUMERS "/consumers"

/* Longest path that we build: a topic of 249 characters and what surrounds it. */
enum { ZNODE_PATH_ROOM = 384 };

/* ---- Brokers ---- */

struct endpoint {
    const char *listener; /* name */
    const char *protocol; /* security protocol */
    const char *host;
    int32_t port;
};

struct registration {
    int32_t id;
    int64_t epoch; /* czxid of the node; not in its data */
    struct endpoint *endpoints;
    int32_t endpoint_count;
    const char *rack; /* NULL if none */
};

struct bytes registration_encode(struct arena *a, const struct registration *r, int64_t now);
bool broker_id_parse(struct str name, int32_t *id) NODISCARD; /* the name of a node under /brokers/ids */
bool registration_decode(struct arena *a, int32_t id, struct bytes data, struct registration *out) NODISCARD;

struct bytes controller_encode(struct arena *a, int32_t broker_id, int64_t now);
bool controller_decode(struct bytes data, int32_t *broker_id) NODISCARD;
struct bytes cluster_id_encode(struct arena *a, const char *id);
bool cluster_id_decode(struct arena *a, struct bytes data, const char **id) NODISCARD;
struct bytes feature_encode(struct arena *a);
bool feature_is_disabled(struct bytes data);
/* Decimal text, as /controller_epoch holds it. */
struct bytes int_encode(struct arena *a, int64_t value);
bool int_decode(struct bytes data, int64_t *value) NODISCARD;

/* ---- Topics ---- */

struct topic_znode {
    struct uuid id;   /* zero if the node has none */
    int32_t *numbers; /* of the partitions, ascending; with gaps if somebody wrote them so by hand. NULL: 0 to n-1 */
    struct int_list *replicas, *adding, *removing; /* of each */
    int32_t partition_count;
};

/* Kafka's rule for names of topics. */
bool topic_name_is_legal(struct str name);
int32_t topic_number(const struct topic_znode *t, int32_t i);
struct bytes topic_encode(struct arena *a, const struct topic_znode *t);
size_t topic_encoded_size(const struct topic_znode *t); /* at most */
/* A broker that is named twice for a partition counts once. */
bool topic_decode(struct arena *a, const char *topic, struct bytes data, struct topic_znode *out) NODISCARD;

struct partition_znode {
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    int32_t controller_epoch;
    int32_t recovery_state; /* 1: elected out of sync, not yet recovered */
    struct int_list isr;
    int32_t version; /* of the node, which is the partition epoch; not in its data */
};

struct bytes partition_encode(struct arena *a, const struct partition_znode *p);
bool partition_decode(struct arena *a, const char *topic, int32_t partition, struct bytes data,
                      struct partition_znode *out) NODISCARD;

char *topic_path(char buf[ZNODE_PATH_ROOM], const char *topic);
char *partitions_path(char buf[ZNODE_PATH_ROOM], const char *topic);
char *partition_path(char buf[ZNODE_PATH_ROOM], const char *topic, int32_t partition);
char *state_path(char buf[ZNODE_PATH_ROOM], const char *topic, int32_t partition);
char *broker_path(char buf[ZNODE_PATH_ROOM], int32_t id);
char *delete_topic_path(char buf[ZNODE_PATH_ROOM], const char *topic);
char *config_path(char buf[ZNODE_PATH_ROOM], const char *type, const char *name);

/* ---- Configuration and notifications ---- */

struct config_znode {
    struct config_pair *entries;
    int32_t count;
};

/* A user's or client's name as part of a path, and the same way back; all bytes survive. Who is called "<default>" has
 * another path than the default. */
const char *entity_name_encode(struct arena *a, struct str name);
struct str entity_name_decode(struct arena *a, struct str coded);
struct bytes config_encode(struct arena *a, const struct config_znode *c);
struct config_znode config_copy(struct arena *a, const struct config_znode *from);
bool config_is_same(const struct config_znode *a, const struct config_znode *b);    /* in the same order, too */
struct config_pair *config_find(const struct config_znode *pairs, const char *key); /* NULL: it is not set */
bool config_decode(struct arena *a, const char *path, struct bytes data, struct config_znode *out) NODISCARD;
struct bytes config_change_encode(struct arena *a, const char *entity_path);
bool config_change_decode(struct arena *a, struct bytes data, const char **entity_path) NODISCARD;

struct topic_partition_entry {
    const char *topic;
    int32_t partition;
    struct int_list replicas; /* of a reassignment, each once */
};

struct partition_list_znode { /* reassignment, preferred election, ISR changes */
    struct topic_partition_entry *entries;
    int32_t count;
};

struct bytes partition_list_encode(struct arena *a, const struct partition_list_znode *list, bool with_replicas);
bool partition_list_decode(struct arena *a, const char *path, struct bytes data,
                           struct partition_list_znode *out) NODISCARD;
struct bytes log_dir_event_encode(struct arena *a, int32_t broker_id);
bool log_dir_event_decode(struct bytes data, int32_t *broker_id) NODISCARD;

struct producer_id_block {
    int64_t first, last;
    int32_t broker_id;
};
struct bytes producer_ids_encode(struct arena *a, const struct producer_id_block *b);
bool producer_ids_decode(struct bytes data, struct producer_id_block *out) NODISCARD;

#endif
