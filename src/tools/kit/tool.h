/*
 * The command-line tools: one binary, a table of tools, each a function that gets its arguments and gives the
 * exit code. Names, flags, output and exit codes are those of Kafka 3.9's scripts.
 */
#ifndef BARNABAS_TOOLS_KIT_TOOL_H
#define BARNABAS_TOOLS_KIT_TOOL_H

#include <stdio.h>

#include "base/arena.h"
#include "base/fail.h"

/* argv[0] is the tool's name. Each returns the exit code. */
int tool_topics(int argc, char **argv);
int tool_console_producer(int argc, char **argv);
int tool_console_consumer(int argc, char **argv);
int tool_consumer_groups(int argc, char **argv);
int tool_configs(int argc, char **argv);
int tool_delete_records(int argc, char **argv);
int tool_get_offsets(int argc, char **argv);
int tool_broker_api_versions(int argc, char **argv);
int tool_cluster(int argc, char **argv);
int tool_features(int argc, char **argv);
int tool_jmx(int argc, char **argv);
int tool_top(int argc, char **argv);
int tool_dump_log(int argc, char **argv);
int tool_producer_perf(int argc, char **argv);
int tool_consumer_perf(int argc, char **argv);
int tool_e2e_latency(int argc, char **argv);
int tool_reassign_partitions(int argc, char **argv);
int tool_leader_election(int argc, char **argv);
int tool_replica_verification(int argc, char **argv);
int tool_log_dirs(int argc, char **argv);
int tool_transactions(int argc, char **argv);
int tool_streams_reset(int argc, char **argv);
int tool_verifiable_producer(int argc, char **argv);
int tool_verifiable_consumer(int argc, char **argv);
int tool_acls(int argc, char **argv);
int tool_delegation_tokens(int argc, char **argv);
int tool_zookeeper_shell(int argc, char **argv);
int tool_security_migration(int argc, char **argv);

/* ---- Options: --name value, --name=value, or --name alone ---- */

enum option_kind {
    OPTION_FLAG,
    OPTION_VALUE,     /* once at most: which of two counts, nobody could say */
    OPTION_VALUES,    /* several times: all count, or the last for whoever wants one */
    OPTION_OPTIONAL,  /* once, and the value may be left out */
    OPTION_OPTIONALS, /* the same, several times */
    OPTION_WORDS,     /* takes every word up to the next option */
};

struct option_spec {
    const char *name; /* without the dashes */
    enum option_kind kind;
    const char *argument; /* what the value is, for the help */
    const char *help;
    const char *fallback; /* the value when the option is not given; NULL: none */
};

struct option_value {
    const char **values; /* NULL for a flag or a value that was left out */
    int count;           /* how many values; of a flag, how often it was given */
};

/* Kafka's tools parse by one of two libraries. */
enum options_rules {
    OPTIONS_JOPT,     /* --name or -name; what is no option is passed over, as is all behind a -- */
    OPTIONS_ARGPARSE, /* --name; anything else is wrong usage */
};

struct options {
    const struct option_spec *specs;
    int spec_count;
    const char *purpose;
    enum options_rules rules;
    struct option_value *values; /* by spec */
    int *given;                  /* specs in the order of the command line */
    int given_count;
    struct arena arena;
};

#define OPTIONS_PARSE(o, specs, argc, argv, purpose) OPTIONS_PARSE_BY(OPTIONS_JOPT, o, specs, argc, argv, purpose)
#define OPTIONS_PARSE_BY(rules, o, specs, argc, argv, purpose) \
    options_parse((o), (rules), (specs), (int)(sizeof(specs) / sizeof(*(specs))), (argc), (argv), (purpose))

/*
 * Parses, or explains on standard error and returns the exit code: -1 to go on, 0 after --help or --version,
 * 1 for wrong usage.
 */
int options_parse(struct options *o, enum options_rules rules, const struct option_spec *specs, int spec_count,
                  int argc, char **argv, const char *purpose);
void options_free(struct options *o);
bool options_has(const struct options *o, const char *name);
/* What was given last, or the fallback; NULL if there is neither. */
const char *options_get(const struct options *o, const char *name);
const struct option_value *options_all(const struct options *o, const char *name);
/* The message and the usage on standard error; returns 1, the exit code. */
int options_complain(const struct options *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Complains and returns false unless the option was given. */
bool options_need(const struct options *o, const char *name) NODISCARD;
/* Complains and returns false if both are given. */
bool options_not_both(const struct options *o, const char *name, const char *other) NODISCARD;
/* As Java's parseInt() and parseLong(): a sign, perhaps, and digits, and nothing else; in [min, max]. */
bool java_integer(const char *text, int64_t min, int64_t max, int64_t *out) NODISCARD;
/*
 * The words of a text as Java's split() finds them: those at the end that are empty are none, but others are, and an
 * empty text is one. `rest` is the text, which is changed; the first call has `begun` false. NULL: there are no more.
 */
struct java_words {
    char *rest;
    char separator;
    bool begun;
};
char *java_words_next(struct java_words *w);
/* A number in [min, max] into `out`, or false after a complaint. Not given: `out` is left as it is. */
bool options_number(const struct options *o, const char *name, int64_t min, int64_t max, int64_t *out) NODISCARD;

/* ---- Topic patterns ---- */

struct pattern;

/* A regular expression in Java's syntax that must match the whole text. Commas stand for alternatives. */
struct pattern *pattern_new(const char *text, struct fail *fail);
/* The same, but that commas, blanks and quotes are what they are. */
struct pattern *pattern_of_regex(const char *regex, struct fail *fail);
void pattern_free(struct pattern *p);
bool pattern_matches(const struct pattern *p, struct str text);

#endif
