/* What the files of this folder share. */
#ifndef BARNABAS_CONFIG_INTERNAL_H
#define BARNABAS_CONFIG_INTERNAL_H

#include "config/config.h"

/* ---- value.c: one value and its row ---- */

struct config_value {
    union {
        bool boolean;
        int64_t number; /* int, short, long; the word of a set; the bits of a list's set; a version */
        double real;
        const char *text;
        struct config_list list;
        struct host_limits limits;
    };
    const char *refused; /* what of the text is not allowed, if it is not all of it; else NULL */
};

enum value_result {
    VALUE_OK,
    VALUE_MALFORMED /* not of its type */,
    VALUE_REFUSED /* not allowed */
};

/* `why` is in Apache's words, without key and value. The result's texts lie in the arena. */
/* Whether somebody has set it to something. */
bool config_has_text(const struct broker_config *config, const char *name);
/* Whether it is a key of one mechanism of a listener, with something before it. */
bool config_is_for_mechanism(const char *name);
/* What follows the name of a mechanism and a dot; NULL: it begins with none that is known. */
const char *config_behind_mechanism(const char *key);
/* principal.builder.class: whether it is Kafka's own, which this broker does as. */
bool config_builder_is_known(const char *text);

/* What somebody is told whose value value_parse() has refused, for that reason. Returns false. */
bool value_refuse(const char *name, const char *text, const struct config_value *value, const struct fail *why,
                  struct fail *fail);
enum value_result value_parse(const struct config_key *key, const char *text, struct arena *a, struct config_value *out,
                              struct fail *why);
/* Puts the value into its field of the struct broker_config or topic_config; NULL: no value. */
void value_store(const struct config_key *key, const struct config_value *value, void *config);
/* The field's value as Apache writes it. Not for lists. */
void value_format(const struct config_key *key, const void *config, struct strbuf *out);
/* The text as Apache would show it after reading it: trimmed, numbers and lists in their usual
 * form. */
const char *value_normalize(const struct config_key *key, const char *text, struct arena *a);

bool number_parse(const char *text, int64_t min, int64_t max, int64_t *out);

/* ---- config.c ---- */

/* Making one: start, add what was set (texts are copied), fill. */
void config_start(struct broker_config *config, const char *file, size_t most_entries);
/* What counts more is added first; of one source the later entry takes the place of the earlier. */
void config_add(struct broker_config *config, struct config_entry entry);
bool config_fill(struct broker_config *config, struct fail *fail); /* gives all back when it fails */

const struct config_entry *config_entry(const struct broker_config *config, const char *name);
/* Says where the key was set, to what, and what is wrong with it. Returns false. */
bool config_refuse(const struct broker_config *config, struct fail *fail, const char *name, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* ---- listeners.c ---- */

/* Fills the fields of listeners, advertised listeners and the listener between brokers. */
bool listeners_resolve(struct broker_config *config, struct fail *fail);

/* ---- check.c ---- */

/* What only several keys together can get wrong. */
bool config_check(const struct broker_config *config, struct fail *fail);

#endif
