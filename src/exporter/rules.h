/*
 * The rules of Prometheus' jmx_exporter: how attributes of beans become samples. What operators have in their files
 * works here as it does there; the dialects that barnabas knows are such files, too. Of a file's keys those count that
 * say what is exported: rules (pattern, name, labels, type, value, valueFactor, help, attrNameSnakeCase),
 * lowercaseOutputName, lowercaseOutputLabelNames, and which beans and attributes are left out; patterns are in Java's
 * syntax. How its server is to be protected is known, and up to who has that server. The others are about Java.
 *
 * Two keys are our own, for what is not in JMX, and count for the rules below them. `summaries: true`: a rule's type
 * may be SUMMARY, where a name that ends in _count or _sum is that of a sample of the family without the end; and
 * histograms and timers have one attribute more, Sum. `unquoteLabelValues: true`: values of labels are told as they
 * were before JMX put them in quotes.
 *
 * To match a pattern takes a while, and most of them look at the shape of a name only: what was found out about
 * kafka.log<type=Log, name=Size, topic=a, partition=0> is kept for all topics and partitions. Values that a pattern
 * does look at are part of what it is kept for.
 */
#ifndef BARNABAS_RULES_H
#define BARNABAS_RULES_H

#include "base/fail.h"
#include "metrics/bean.h"

enum sample_type { SAMPLE_UNTYPED, SAMPLE_GAUGE, SAMPLE_COUNTER, SAMPLE_SUMMARY, SAMPLE_HISTOGRAM };

/* What is one family's; lives as long as the rules. */
struct family {
    const char *name, *help;
    enum sample_type type;
    int64_t number; /* from 0, in the order in which they were found */
};

struct sample {
    const struct family *family;
    const char *part;  /* behind the family's name: "_count" or "_sum" of a summary, else "" */
    struct str labels; /* k="v",k="v", escaped; in the buffer that was given */
    double value;
};

struct rules;
/* `place` is for messages. Counters' names end in _total, as from version 1.0 of jmx_exporter on, if `totals`. */
struct rules *rules_parse(struct str yaml, const char *place, bool totals, struct fail *fail);
struct rules *rules_read(const char *path, bool totals, struct fail *fail);
void rules_free(struct rules *r);

/* What a file asks of the server that tells what its rules make: httpServer.authentication, httpServer.ssl. */
struct rules_protection {
    bool login, tls;
};
struct rules_protection rules_protection(const struct rules *r);

/* A bean comes; one thread at a time, as what follows. False: nothing of it is exported. */
bool rules_take(struct rules *r, const struct bean *b);
/* An attribute of the bean that has come. False: it is not exported. `labels` is cleared first. */
bool rules_apply(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct strbuf *labels,
                 struct sample *out);
/* Whether rules_apply() is to be asked for the sum of a histogram or a timer, too: bean_read_sum(). */
bool rules_want_sums(const struct rules *r);
int64_t rules_family_count(const struct rules *r);
/*
 * Names to be told, by patterns of which one matches the whole, without _total, _info, _count or _sum. NULL: one of the
 * patterns is none.
 */
struct name_filter;
struct name_filter *name_filter_new(const char *const *patterns, int count, struct fail *fail);
void name_filter_free(struct name_filter *f);
/* From now on only these, instead of what was said before. Takes the filter. */
void rules_filter(struct rules *r, struct name_filter *f);
/* Whether values of keys other than type and name are told apart. */
bool rules_look_at_values(const struct rules *r);

#endif
