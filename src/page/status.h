/*
 * What is worth knowing of a cluster and of this broker at one moment: gathered once from beans, from a look at the
 * cluster, and from what the process knows of itself, then told as JSON or as a page. What is wrong comes first.
 *
 * Texts are UTF-8, whoever has chosen them; they are not escaped for anything.
 */
#ifndef BARNABAS_STATUS_H
#define BARNABAS_STATUS_H

#include "base/recent_lines.h"
#include "config/config.h"
#include "metrics/bean.h"
#include "monitor/look.h"
#include "page/history.h"

enum { STATUS_UNKNOWN = -1, STATUS_MOST_TROUBLES = 16, STATUS_ROWS = 200 };

/* Of what there may be many: the worst and the largest come first, and no more are told unless all are asked for. */
struct status_list {
    int32_t shown, total;
};

struct status_trouble {
    bool bad; /* clients notice, or records are at risk: else it may become so */
    struct str text;
};

struct status_broker {
    int32_t id;
    bool alive, controller;
    struct str host, rack; /* null: it is gone; it has none */
    int32_t port;
    int32_t leads, replicas, behind; /* partitions: that it leads, has, and has but is not in sync with */
    int64_t bytes;                   /* STATUS_UNKNOWN */
    struct str software, protocol;   /* "Apache Kafka", its inter.broker.protocol.version; null: not known */
};

struct status_dir { /* of this broker */
    struct str path;
    bool offline;
    int64_t free, size; /* of its file system; STATUS_UNKNOWN */
    int64_t to_recover; /* logs; STATUS_UNKNOWN: it is not recovering */
};

struct status_topic {
    struct str name;
    int32_t partitions, replicas, min_isr;        /* replicas of each partition; STATUS_UNKNOWN */
    int32_t offline, under_min, under_replicated; /* partitions */
    int64_t records, bytes;                       /* of one replica; of all. STATUS_UNKNOWN */
    double bytes_in, bytes_out, records_in;       /* a second, over the last minute, by way of this broker */
};

struct status_group {
    struct str id, state; /* null: not known */
    int32_t coordinator, members, topics;
    int64_t lag, waits_ms; /* records; how long the oldest of them has been there. STATUS_UNKNOWN */
    double lag_change;     /* of it in a second; NAN: not known */
};

struct status_client {
    struct str name, version;
    int64_t connections;
};

/* Who asks in a version that Kafka 4.0 has no more. */
struct status_deprecated {
    struct str name, version, request, request_version;
    int64_t count;
    double per_second; /* in the last minute */
};

/* A log on its way to another directory of this broker. */
struct status_move {
    struct str topic, partition;
    int64_t done, end; /* offsets; STATUS_UNKNOWN */
};

struct status_compaction {
    struct str topic, partition;
    int32_t percent; /* done */
};

/* A partition whose replicas are being changed; it is done when all of them are in sync, and those that go are gone. */
struct status_reassignment {
    struct str topic;
    int32_t partition, in_sync, replicas;
    int64_t copied, whole; /* bytes of the replica that has least, and of the one that has most; STATUS_UNKNOWN */
    double rate;           /* bytes a second that are copied; STATUS_UNKNOWN */
};

/* One that has been open for more than a minute. */
struct status_transaction {
    struct str id, state;
    int32_t coordinator, partitions; /* STATUS_UNKNOWN: how many it has written to */
    int64_t open_ms;                 /* STATUS_UNKNOWN */
};

/* Partitions whose leadership went from one broker to another; STATUS_UNKNOWN: nobody. */
struct status_election {
    int64_t ms;
    int32_t from, to, partitions;
    struct str topic; /* one of them */
    int32_t partition;
};

struct status_setting {
    struct str name, value; /* a secret has no value: null */
};

struct status {
    struct arena memory;
    int64_t now_ms, started_ms; /* since 1970 */
    int32_t broker_id;          /* STATUS_UNKNOWN */
    int state;                  /* as BrokerState counts */
    struct str cluster_id, rack, session;

    struct status_trouble troubles[STATUS_MOST_TROUBLES]; /* the bad ones first */
    int trouble_count;

    bool cluster_known; /* what follows, up to the groups */
    int64_t looked_ms;  /* when */
    int32_t unanswered; /* questions to brokers: something may be missing */
    int32_t controller; /* STATUS_UNKNOWN: there is none */
    int32_t partitions, offline, under_min, under_replicated;
    struct status_broker *brokers;
    int32_t broker_count, alive;
    struct status_topic *topics;
    struct status_list topic_list;
    struct status_group *groups;
    struct status_list group_list;
    struct status_reassignment *reassignments;
    struct status_list reassignment_list;    /* total: STATUS_UNKNOWN if the controller has not said */
    struct status_transaction *transactions; /* the oldest first */
    struct status_list transaction_list;
    struct status_election *elections; /* the newest first */
    int election_count;

    struct status_dir *dirs;
    int dir_count;
    float points[HISTORY_SERIES][HISTORY_POINTS];
    int point_count[HISTORY_SERIES];
    int64_t connections, open_files, most_files;
    struct status_client *clients;
    int client_count;
    struct status_deprecated *deprecated; /* those that ask most */
    struct status_list deprecated_list;
    struct history_loop loops[HISTORY_MOST_LOOPS];
    int loop_count;
    struct status_compaction *compactions;
    int compaction_count;
    struct status_move *moves;
    int move_count;
    int64_t reassigning, late_transactions, uncleanable; /* partitions of this broker */
    struct recent_line lines[RECENT_LINES];
    int line_count;
    struct status_setting *settings; /* that differ from what they are by default */
    int setting_count;
};

/* What a status is made of; all of it outlives the gathering, nothing of it the status. */
struct status_matter {
    const struct broker_config *config;
    struct metrics *metrics;
    struct history *history;
    const struct look *look; /* NULL: nothing is known of the cluster */
    bool all_topics, all_groups;
};

struct status *status_gather(const struct status_matter *from); /* on a thread that may take its time */
void status_free(struct status *s);
/* "running" */
const char *status_state_name(int state);
/* Appends it. */
void status_write_json(const struct status *s, struct strbuf *out);

#endif
