/*
 * Producers and consumers of the tools, by librdkafka, configured as Kafka's own clients are: by their names of
 * properties, with their defaults.
 */
#ifndef BARNABAS_TOOLS_KIT_RD_CLIENT_H
#define BARNABAS_TOOLS_KIT_RD_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/fail.h"
#include "tools/kit/tool.h"

struct rd_props { /* of two with one name the later counts */
    struct arena arena;
    const char **pairs; /* name, value, ... */
    size_t count, cap;
};

void rd_props_deinit(struct rd_props *p);
void rd_props_set(struct rd_props *p, const char *name, const char *value);
/* Sets it unless there is one. */
void rd_props_default(struct rd_props *p, const char *name, const char *value);
const char *rd_props_get(const struct rd_props *p, const char *name); /* NULL: none */
/* If there is one it is a number of that Java type, "INT" or "LONG", not below `min`. */
bool rd_props_number(const struct rd_props *p, const char *name, const char *type, int64_t min, int64_t *out,
                     struct fail *fail) NODISCARD;
/* Whatever is around it, and in capitals or not. */
bool rd_props_is(const struct rd_props *p, const char *name, const char *value);
/* A properties file; NULL: nothing. Its variables stay: see rd_props_replace(). */
bool rd_props_read(struct rd_props *p, const char *file, struct fail *fail) NODISCARD;
/* name=value of each; one without '=' has an empty value. */
void rd_props_add(struct rd_props *p, const struct option_value *words);
/* What config/variables.h says, once, when all that a user may have set is there: any may name a provider of any. */
bool rd_props_replace(struct rd_props *p, struct fail *fail) NODISCARD;
/* The same for the settings of a client, which have nothing around them: of others, as separators, blanks count. */
bool rd_props_of_client(struct rd_props *p, struct fail *fail) NODISCARD;

/* NULL with a message. Names that nobody knows are warned of on standard error. */
rd_kafka_t *rd_client_new(rd_kafka_type_t type, const struct rd_props *p, rd_kafka_conf_t *conf, struct fail *fail);
/* Whether Java's consumers end by the error that has come. Others they wait out, or join their group again. */
bool rd_client_ends_by(const rd_kafka_message_t *m);
/* What has come in a rebalance, or goes: all that there is, or by and by, as the group's assignor has it. */
void rd_client_assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, bool add);
/* Of a consumer that is closed: not to wait for. */
void rd_client_free(rd_kafka_t *rk);

/* How long a tool that was told to end waits yet for what it has sent. */
enum { RD_CLIENT_LAST_MS = 1000 };
/* Waits for what was sent. False: it was told to end, and something is left. */
bool rd_client_flush(rd_kafka_t *rk, struct fail *fail) NODISCARD;
/* Does that step of a transaction, which may be done again where its time was over, and ends as that does. */
typedef rd_kafka_error_t *rd_client_transaction_fn(rd_kafka_t *rk, int timeout_ms);
bool rd_client_transact(rd_kafka_t *rk, rd_client_transaction_fn *step, struct fail *fail) NODISCARD;

/* Serves answers until the `n`-th of `rate` things a second is due, or a signal comes. Rates from 0 down: at once. */
void rd_client_pace(rd_kafka_t *rk, int64_t began_ms, int64_t n, double rate);

/* Set by the first SIGINT or SIGTERM once tool_catch_signals() was called, and when a broker refuses the login. */
extern atomic_bool tool_interrupted;
/* A broker has refused the login, or nothing could be had to log in by: the tool fails, as Java's clients do. */
extern atomic_bool tool_refused;
/* The second signal ends the process as if this had not been called. */
void tool_catch_signals(void);

#endif
