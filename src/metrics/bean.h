/*
 * What is counted, as Kafka's operators know it: beans in JMX's terms. A bean has a domain, keys in a fixed order, a
 * kind, and attributes that follow from the kind. Here is what readers see, who may be an exporter or an answer to a
 * question for one bean, and what those give who have something to tell.
 *
 *     kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=orders
 *     domain       keys: type, name, topic                                   meter: Count, MeanRate, OneMinuteRate ...
 *
 * Beans are not stored. A part of the broker adds a source, which yields its beans when somebody visits, in pieces, so
 * that twenty thousand partitions cost no memory and hold up nobody. Visits are made on any thread that may take its
 * time (a worker), several at once too; sources give what other threads write by atomics, or hold their own lock for
 * the length of a copy.
 *
 * A bean has an id, which is never given to another: renderers may keep what they found out about it.
 */
#ifndef BARNABAS_BEAN_H
#define BARNABAS_BEAN_H

#include "base/bytes.h"
#include "base/strbuf.h"

struct metrics;
struct meter;
struct histogram;
struct timing;

/* ---- Reading ---- */

enum bean_kind {
    BEAN_GAUGE,     /* Value */
    BEAN_METER,     /* Count and rates */
    BEAN_HISTOGRAM, /* Count, Min, Max, Mean, StdDev and percentiles */
    BEAN_TIMER,     /* both */
    BEAN_CLIENT,    /* metrics as Kafka's clients have them, which have any names, with small letters */
    BEAN_APP_INFO,  /* texts about the program */
};

enum bean_value_kind { VALUE_LONG, VALUE_DOUBLE, VALUE_BOOL, VALUE_TEXT };

struct bean_value {
    enum bean_value_kind kind;
    union {
        int64_t number;
        double real;
        bool truth;
        struct str text;
    };
};

static inline struct bean_value bean_long(int64_t v)
{
    return (struct bean_value){.kind = VALUE_LONG, .number = v};
}

static inline struct bean_value bean_double(double v)
{
    return (struct bean_value){.kind = VALUE_DOUBLE, .real = v};
}

static inline struct bean_value bean_string(struct str v)
{
    return (struct bean_value){.kind = VALUE_TEXT, .text = v};
}

/* A truth is 1 or 0, a text is no number: NaN. */
double bean_value_number(const struct bean_value *v);

struct bean_attribute {
    const char *name; /* "Value", "OneMinuteRate", "999thPercentile", "connection-count" */
    const char *type; /* as JMX declares it: "double", "java.lang.Object" */
    struct bean_value value;
};

struct bean_key {
    const char *key;
    struct str value; /* as JMX texts it: in quotes, with escapes, where Kafka quotes */
};

enum { BEAN_MOST_KEYS = 8, BEAN_MOST_ATTRIBUTES = 40 };

/* Valid until the visitor returns, as is all that it points to. */
struct bean {
    int64_t id;
    enum bean_kind kind;
    const char *domain;
    struct bean_key keys[BEAN_MOST_KEYS]; /* the first is "type" */
    int key_count;
    const void *of; /* whatever it is made from */
};

/*
 * The attributes with their values of now, in the order of their names; returns how many. A visitor that wants none of
 * them need not ask: percentiles are worked out here. The names of one bean are always the same, in the same order.
 */
int bean_read(const struct bean *b, struct bean_attribute out[BEAN_MOST_ATTRIBUTES]);
/* What all values of a histogram or a timer add up to, "Sum", which JMX does not have. False: the bean is of another
 * kind. */
bool bean_read_sum(const struct bean *b, struct bean_attribute *out);
/* What a histogram or a timer is made from; NULL: the bean is of another kind. */
const struct histogram *bean_histogram(const struct bean *b);
/* "Gauge", "Meter", ..., as tools show them. */
const char *bean_kind_name(enum bean_kind kind);
/* domain:key=value,..., in the order of its keys, or with its keys sorted. */
void bean_text(const struct bean *b, bool sorted, struct strbuf *out);

/* The value of a key as JMX texts it; null: it has no such key. */
struct str bean_key_text(const struct bean *b, const char *key);
/* The same without quotes and escapes, in `room` where it had some. */
struct str bean_key_value(const struct bean *b, const char *key, char *room, size_t size);

/* What is looked for: a name, or a pattern in which * and ? stand for anything. */
struct bean_pattern {
    struct str domain;
    struct {
        struct str key, value;
    } keys[BEAN_MOST_KEYS];
    int key_count;
    bool more_keys; /* other keys may be there as well: ",*" or ":*" */
    bool exact;     /* nothing in it stands for anything else */
};

/* Points into `text`. False: it is not the name of a bean, nor a pattern of some; `why` says what is wrong. */
bool bean_pattern_parse(struct str text, struct bean_pattern *out, const char **why) NODISCARD;
bool bean_pattern_matches(const struct bean_pattern *p, const struct bean *b);
/* The value of that key without quotes and escapes, in `room`; null if it is not there, or stands for several. */
struct str bean_pattern_value(const struct bean_pattern *p, const char *key, char *room, size_t size);

/* False: it has seen enough. */
typedef bool (*bean_visit_fn)(void *ctx, const struct bean *b);

/*
 * All beans that match, or all if there is no pattern. A name without wildcards is looked up where there are many. No
 * lock is held while it visits.
 */
void metrics_visit(struct metrics *m, const struct bean_pattern *only, bean_visit_fn visit, void *ctx);
/* All beans, and those of our own domain, of which see below. */
void metrics_visit_whole(struct metrics *m, bean_visit_fn visit, void *ctx);

/* What it may cost to visit for somebody who may ask for anything, and again and again. */
struct bean_budget {
    int64_t left;               /* beans that may be met, whether they match or not; below 0: it is used up */
    bool (*goes_on)(void *ctx); /* asked now and then: false, and nobody wants to know any more */
    void *ctx;
    bool over; /* one or the other has ended a visit before its time */
};
/* The same, until the budget is used up, which may be that of several visits. */
void metrics_visit_within(struct metrics *m, const struct bean_pattern *only, struct bean_budget *budget,
                          bean_visit_fn visit, void *ctx);

/*
 * What Kafka has no bean for is in this domain. Nobody sees it who asks for all there is, or for what is like a
 * pattern, so that what is made for Kafka's beans meets no others; only who asks by this name.
 */
#define BEAN_OWN_DOMAIN "barnabas"
bool bean_is_own(const struct bean *b);

/* Whether a visitor wants beans of that domain, and of that type unless it is NULL: then, of any. */
typedef bool (*bean_wants_fn)(void *ctx, const char *domain, const char *type);
/* All beans of the kinds that are wanted. What is not wanted is not made, of which there may be many. */
void metrics_visit_wanted(struct metrics *m, bean_wants_fn wants, bean_visit_fn visit, void *ctx);

/* How many the last visit of all has seen: those of brokers, and metrics in those of the clients' kind. */
struct bean_counts {
    int64_t brokers, of_clients;
};
struct bean_counts metrics_bean_counts(struct metrics *m);

/* ---- Yielding ---- */

/* What a source tells of a bean: keys in the order in which Kafka has them; values as they are, without quotes. */
struct bean_name {
    const char *domain, *type;
    const char *name; /* NULL: it has none */
    struct bean_tag {
        const char *key; /* NULL: no more */
        struct str value;
    } tags[BEAN_MOST_KEYS - 2];
};

struct bean_walk;
/* Whether anything with that domain, and that type unless it is NULL, is looked for: else it need not be made. */
bool walk_wants(const struct bean_walk *w, const char *domain, const char *type);
/* The one that is looked for, or NULL: for sources that can find it without a look at all others. */
const struct bean_pattern *walk_pattern(const struct bean_walk *w);
/* The visitor has had enough. */
bool walk_is_over(const struct bean_walk *w);
/* False as soon as the visitor has had enough. */
bool yield_gauge(struct bean_walk *w, int64_t id, const struct bean_name *name, struct bean_value value);
/* Several that differ in their names, which need no quotes, and their values; ids follow each other. */
struct named_number {
    const char *name;
    int64_t value;
};
bool yield_gauges(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct named_number *gauges,
                  int count);
bool yield_meter(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct meter *m);
bool yield_histogram(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct histogram *h);
bool yield_timing(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct timing *t);
/* Sorted by name. */
struct bean_attributes {
    const struct bean_attribute *items;
    int count;
};
bool yield_client(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct bean_attributes *a);
bool yield_app_info(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct bean_attributes *a);

/* ---- The registry: one for each broker ---- */

/* `now_us` is the clock, which never goes back. */
struct metrics *metrics_new(int64_t (*now_us)(void));
void metrics_free(struct metrics *m); /* when nothing is left in it */
/* Every second, on one thread: averages and windows move. What is late is made up for. */
void metrics_tick(struct metrics *m);
/* So many ids, of which the first is returned: for one source, or for something of which there are many. Any thread. */
int64_t metrics_ids(struct metrics *m, int count);

struct bean_source {
    void (*visit)(void *ctx, struct bean_walk *w);
    void *ctx;
    struct bean_source *prev, *next; /* the registry's */
};
/* The source is the caller's. It is taken away when nobody visits any more. Any thread. */
void metrics_add_source(struct metrics *m, struct bean_source *s);
void metrics_remove_source(struct metrics *m, struct bean_source *s);

/* A value as a bean's name has it: in quotes if it has anything but letters, digits, _ - % . and blanks. */
void bean_quote(struct str value, struct strbuf *out);
/* What a value was before it was put in quotes, if it was. */
void bean_unquote(struct str value, struct strbuf *out);

#endif
