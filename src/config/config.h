/*
 * The configuration of a broker and of its topics: which keys there are, what the file says, what
 * follows from it, and what DescribeConfigs shows of it. All keys are rows of broker.tbl and
 * topic.tbl.
 *
 * A struct broker_config is filled once and is const from then on, so that every thread may read
 * it. A change at run time (KIP-226) makes another one with config_derive(). A struct topic_config
 * is plain data: it may be copied, and owns nothing.
 *
 * The fields of both are made from the tables. A field has the name of its key with `_` for `.`:
 * log.segment.bytes is `config->log_segment_bytes`. Its type is that of the key:
 *
 *     boolean, int, short, long, double   bool, int32_t, int16_t, int64_t, double
 *     string, password, class             const char *, NULL when there is no value
 *     list                                struct config_list
 *     a string or list of fixed words     the enum of config/gen/sets.h; for a list its bits
 *     a version                           enum ibp
 *
 * The fields say what counts, not what was written: log_retention_ms holds what log.retention.hours
 * came to when that was set instead, log_dirs what log.dir says when log.dirs says nothing. So do
 * log_roll_ms, log_roll_jitter_ms, log_flush_interval_ms, zookeeper_connection_timeout_ms,
 * num_replica_alter_log_dirs_threads, advertised_listeners, inter_broker_listener_name and
 * security_inter_broker_protocol. A number that has no value, where no such rule holds, is -1.
 * Keys of the state CONFIG_NO_EFFECT have no field.
 */
#ifndef BARNABAS_CONFIG_H
#define BARNABAS_CONFIG_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/strbuf.h"
#include "config/gen/sets.h"
#include "config/version.h"

/* ---- Keys ---- */

/* The numbers of DescribeConfigs. */
enum config_type {
    CONFIG_UNKNOWN,
    CONFIG_BOOLEAN,
    CONFIG_STRING,
    CONFIG_INT,
    CONFIG_SHORT,
    CONFIG_LONG,
    CONFIG_DOUBLE,
    CONFIG_LIST,
    CONFIG_CLASS,
    CONFIG_PASSWORD, /* sensitive: never shown */
};
enum config_state { CONFIG_WORKS, CONFIG_NOT_YET, CONFIG_NO_EFFECT };
/* What can change it at run time. */
enum config_dynamic {
    CONFIG_READ_ONLY,
    CONFIG_PER_BROKER,
    CONFIG_CLUSTER_WIDE,
    CONFIG_ONLY_AT_RUN_TIME, /* and it cannot be set in the file */
};
enum config_importance { CONFIG_LOW, CONFIG_MEDIUM, CONFIG_HIGH };
/* The numbers of DescribeConfigs. */
enum config_source {
    CONFIG_DYNAMIC_TOPIC = 1,
    CONFIG_DYNAMIC_BROKER = 2,
    CONFIG_DYNAMIC_CLUSTER = 3, /* DYNAMIC_DEFAULT_BROKER_CONFIG */
    CONFIG_STATIC = 4,          /* the file and the command line */
    CONFIG_DEFAULT = 5,
    CONFIG_DYNAMIC_LOGGER = 6,
};

/* What is allowed beyond the type. */
enum config_form {
    FORM_ANY,
    FORM_RANGE, /* min to max, or `also` */
    FORM_SET,   /* a word of the set */
    FORM_VERSION,
    FORM_NON_EMPTY,
    FORM_ENDPOINTS,
    FORM_PATHS,
    FORM_HOST_LIMITS,
    FORM_THROTTLED,
};

struct config_set_value {
    const char *text;
    int number;
};

struct config_set {
    const struct config_set_value *values;
    int count;
    bool any_case; /* upper and lower case are the same */
};

enum config_live { CONFIG_NOT_LIVE, CONFIG_LIVE, CONFIG_LIVE_PER_LISTENER };

struct config_key {
    const char *name;
    const char *doc;               /* one sentence */
    const char *default_text;      /* NULL: no value */
    const char *allowed;           /* for people, such as "at least 14"; NULL: all of its type */
    const char *no_effect_because; /* of the state CONFIG_NO_EFFECT, to follow a colon */
    const char *const *synonyms;   /* NULL-terminated, by precedence; NULL: only itself */
    const char *broker_key;        /* of a topic's key: the broker's key that it follows, or NULL */
    const struct config_set *set;
    double min, max, also;
    enum config_type type;
    enum config_form form;
    enum config_state state;
    enum config_dynamic dynamic;
    enum config_live live; /* a running broker follows it */
    enum config_importance importance;
    bool internal; /* DescribeConfigs leaves it out unless it is set */
    int field;     /* offset in struct broker_config or topic_config, or -1 */
};

/* All rows, sorted by name. */
const struct config_key *config_broker_keys(size_t *count);
const struct config_key *config_topic_keys(size_t *count);
/*
 * NULL when there is none. A broker's key may be one for a single listener, as
 * listener.name.internal.ssl.keystore.location: the row is then that of ssl.keystore.location.
 */
const struct config_key *config_broker_key(const char *name);
const struct config_key *config_topic_key(const char *name);

struct config_pair {
    const char *key, *value;
};

/* ---- The broker ---- */

struct config_list {
    const char *const *items;
    int count;
};

/* Splits at commas and drops the blanks around them; empty parts stay unless `skip_empty`. In the arena. */
struct config_list text_split(const char *text, bool skip_empty, struct arena *a);
char *text_upper(const char *text, struct arena *a);

/* By its number on the wire; NULL: there is none. */
const char *security_protocol_name(int16_t number);
bool security_protocol_has_tls(enum security_protocol protocol);
bool security_protocol_has_sasl(enum security_protocol protocol);
bool security_protocol_parse(const char *name, enum security_protocol *out); /* leaves `out` alone if there is none */

struct listener {
    const char *name; /* upper case */
    enum security_protocol protocol;
    const char *host; /* "": every address; an IPv6 address has no brackets */
    int port;         /* 0: any free one */
};

struct listener_list {
    const struct listener *items;
    int count;
};

struct host_limits { /* max.connections.per.ip.overrides */
    const struct host_limit {
        const char *host;
        int32_t limit;
    } * items;
    int count;
};

/* A key that was set. */
struct config_entry {
    const char *name, *value;     /* as it was written */
    const struct config_key *key; /* NULL: unknown */
    enum config_source source;
    int line; /* in the file; 0: on the command line, or at run time */
};

struct broker_config {
#include "config/gen/broker_fields.h"

    const char *file;
    struct config_entry *entries; /* what counts more comes first */
    int entry_count;
    struct arena memory; /* owns every text */
};

/* Gets a line for the log: a key that nobody knows, or one that was set without effect. */
typedef void (*config_warn_fn)(void *ctx, const char *line);

struct config_options {
    const char *file;             /* NULL: none, only overrides */
    const char *const *overrides; /* of the command line, "key=value" */
    size_t override_count;
    config_warn_fn warn; /* NULL: nobody listens */
    void *ctx;
};

/* A text without the blanks and control characters around it, as Java's configurations take values. */
char *text_trim(const char *text, struct arena *a);

/*
 * Reads, checks and fills. An error names file, line, key, value and what is allowed. On success
 * the caller ends with config_deinit(); after a failure there is nothing to give back.
 */
bool config_load(struct broker_config *out, const struct config_options *options, struct fail *fail) NODISCARD;
void config_deinit(struct broker_config *config);

/*
 * The configuration that `base`'s file and command line give together with what was set at run time
 * for all brokers and for this one. `base` may itself be derived: what had been set at run time
 * then no longer counts. Keys that config_check_dynamic() refuses are passed over with a warning.
 */
bool config_derive(struct broker_config *out, const struct broker_config *base, const struct config_pair *cluster,
                   size_t cluster_count, const struct config_pair *broker, size_t broker_count, config_warn_fn warn,
                   void *ctx, struct fail *fail) NODISCARD;
/* Whether the key may be set to the value at run time, for one broker or for all. */
bool config_check_dynamic(const char *name, const char *value, bool per_broker, struct fail *fail) NODISCARD;
/* Whether a broker that runs with `now` may be asked to go on with `next`, or if its counts of threads jump too far. */
bool config_check_change(const struct broker_config *now, const struct broker_config *next,
                         struct fail *fail) NODISCARD;
/* Whether what is set for the key at run time is a secret, to be stored encrypted. */
bool config_is_password(const char *name);
/* Whether a running broker follows a change of the key; all others count when it is started again. */
bool config_is_live(const char *name);

#define CONFIG_ACL_AUTHORIZER "kafka.security.authorizer.AclAuthorizer"

/* False if protection is asked for that this broker cannot give yet: it is not to serve without. */
bool config_check_protection(const struct broker_config *config, struct fail *fail) NODISCARD;

/* Whether nobody is to see its value: a password, or what nobody knows and may be one. */
bool config_entry_is_secret(const struct config_entry *entry);
/* The text that somebody set for the key, or NULL. */
const char *config_raw(const struct broker_config *config, const char *name);
/*
 * The text that counts for a key on one listener, and there for one SASL mechanism (NULL: none):
 * listener.name.NAME.MECHANISM.KEY, listener.name.NAME.KEY, KEY or its default, whichever is set
 * first. NULL when none is.
 */
const char *config_listener_raw(const struct broker_config *config, const char *listener, const char *mechanism,
                                const char *name);
/* The text that is set for that mechanism on that listener, where no other counts; NULL: none. */
const char *config_mechanism_raw(const struct broker_config *config, const char *listener, const char *mechanism,
                                 const char *name);
/* What config_listener_raw() gives without a mechanism, as Java reads it: without blanks around it, and without blanks
 * in lists. In the arena.
 */
const char *config_listener_text(const struct broker_config *config, const char *listener, const char *name,
                                 struct arena *a);
/* Whether it was set for this listener, and not only for all. */
bool config_listener_has(const struct broker_config *config, const char *listener, const char *name);
/* NULL when there is none of that name. */
const struct listener *config_listener(const struct listener_list *list, const char *name);

/* ---- Topics ---- */

struct topic_config {
#include "config/gen/topic_fields.h"
};

/* What a topic without keys of its own has on this broker. */
void topic_config_defaults(const struct broker_config *broker, struct topic_config *out);
/* The errors are Apache's: "Unknown topic config name: x", "Invalid value x for configuration y:
 * why". */
bool topic_config_set(struct topic_config *topic, const char *name, const char *value, struct fail *fail) NODISCARD;
/*
 * The defaults, and the topic's own keys over them. What cannot be set is left out: the
 * result can always be used, and the answer says whether it is all that was asked for.
 */
bool topic_config_load(const struct broker_config *broker, const struct config_pair *own, size_t count,
                       struct topic_config *out, struct fail *fail);
/* Whether a topic may be given these keys: names, values, and how they go together. */
bool topic_config_check(const struct broker_config *broker, const struct config_pair *own, size_t count,
                        struct fail *fail) NODISCARD;

/* Limits on a record's time: the old key counts where the new one was left at its default. */
static inline int64_t topic_timestamp_before_max_ms(const struct topic_config *t)
{
    return t->message_timestamp_before_max_ms == INT64_MAX ? t->message_timestamp_difference_max_ms
                                                           : t->message_timestamp_before_max_ms;
}

static inline int64_t topic_timestamp_after_max_ms(const struct topic_config *t)
{
    return t->message_timestamp_after_max_ms == INT64_MAX ? t->message_timestamp_difference_max_ms
                                                          : t->message_timestamp_after_max_ms;
}

/* When a segment must be closed by age: a compacted topic's sooner, so that it becomes compactable.
 */
static inline int64_t topic_segment_max_ms(const struct topic_config *t)
{
    bool compact = (t->cleanup_policy & CLEANUP_POLICY_COMPACT) != 0;
    return compact ? MIN(t->max_compaction_lag_ms, t->segment_ms) : t->segment_ms;
}

/* What a value of leader. or follower.replication.throttled.replicas means of one broker's replicas; in the arena. */
struct throttled_replicas {
    bool all;
    const int32_t *partitions; /* ascending */
    int count;
};
struct throttled_replicas throttled_replicas_of(const char *value, int32_t broker, struct arena *a);
bool throttled_replicas_include(const struct throttled_replicas *t, int32_t partition);

/* As Java writes it: 0.5, 1.0E-5, 1.7976931348623157E308. */
void config_format_double(double real, struct strbuf *out);

/* ---- What DescribeConfigs shows ---- */

struct config_synonym {
    const char *name;
    const char *value; /* NULL when sensitive */
    enum config_source source;
};

enum { CONFIG_MOST_SYNONYMS = 16 };

struct config_description {
    const char *name;
    const char *value; /* what counts, as Apache writes it; NULL: no value, or sensitive */
    const char *doc;   /* NULL of an unknown key */
    enum config_source source;
    enum config_type type;
    bool sensitive, read_only;
    struct config_synonym synonyms[CONFIG_MOST_SYNONYMS]; /* in Apache's order */
    int synonym_count;
};

/* The names to describe: all keys that are not internal, and whatever else was set. In the arena.
 */
struct config_list config_names(const struct broker_config *config, struct arena *a);
/* False when the key is unknown and not set either. Texts lie in the arena or in the configuration.
 */
bool config_describe(const struct broker_config *config, const char *name, struct arena *a,
                     struct config_description *out) NODISCARD;
/* The same of a topic with the given keys of its own. */
bool topic_config_describe(const struct broker_config *config, const struct config_pair *own, size_t count,
                           const char *name, struct arena *a, struct config_description *out) NODISCARD;

#endif
