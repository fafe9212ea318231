/* What the parts of the rules share: what a file says (rules_file.c), what comes of one attribute
 * (rules_match.c), and of all that are like it (rules_forms.c). */
#ifndef BARNABAS_RULES_INTERNAL_H
#define BARNABAS_RULES_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/arena.h"
#include "base/hash.h"
#include "exporter/rules.h"

struct label {
    const char *name, *value; /* with $1 and so on */
};

struct rule {
    pcre2_code *pattern; /* NULL: matches everything */
    const char *name;    /* NULL: made of the bean's own */
    const char *value;   /* NULL: the attribute's */
    const char *help;
    double factor;
    bool snake_case; /* attributes are called one_minute_rate where it is matched */
    enum sample_type type;
    struct label *labels;
    int label_count;
};

struct name_filter {
    pcre2_code *pattern;
};

/* Attributes of one bean that are left out. */
struct excluded {
    struct bean_pattern bean;
    const char **attributes;
    int count;
};

struct family_entry {
    struct family family;
    UT_hash_handle hh;
};

struct kin;

struct texts {
    const char **items;
    int count;
};

struct rules {
    struct arena memory;
    struct rule *items;
    int count;
    bool lower_names, lower_labels, totals;
    bool summaries, unquotes;               /* our own keys; see rules.h */
    struct rules_protection protection;     /* that the file asks for */
    struct name_filter *filter;             /* NULL: all names */
    struct bean_pattern *wanted, *unwanted; /* no wanted ones: all */
    int wanted_count, unwanted_count;
    struct excluded *excluded;
    int excluded_count;
    const struct excluded *left_out; /* of the bean that has come; NULL: nothing */
    bool any_snake_case;
    struct texts looked_at; /* keys whose values some pattern looks at */
    struct texts telling;   /* words that may make a difference in any value */
    bool looks_at_all;
    pcre2_match_data *match;
    pcre2_match_context *context;  /* with a bound on how long a match may be looked for */
    struct family_entry *families; /* uthash, by name */
    struct kin *kin;               /* uthash, by their shape */
    size_t form_count;             /* of all of them */
    struct kin *come;              /* of the bean that has come; NULL: none since the last was forgotten */
    struct strbuf text, key, snake_name, snake_text;
};

/* What comes of one attribute. */
enum { MOST_LABELS = 16 };
struct outcome {
    const struct rule *rule;
    struct strbuf name;
    const char *part;    /* of a summary, which is no more at the name's end */
    struct strbuf help;  /* NULL: the rule's is what it says */
    struct strbuf texts; /* of labels, not escaped */
    struct {
        size_t name, name_len, value_len; /* where the name is, behind which the value lies */
    } labels[MOST_LABELS];
    int label_count;
    bool is_constant;
    double constant;
};
void outcome_deinit(struct outcome *o);
void outcome_label(const struct outcome *o, int i, struct str *name, struct str *value);

/* False: nothing comes of it; what is to be taken back is there all the same. */
bool rules_work_out(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct outcome *o);
/* Of an outcome, whose name gets its end. */
const struct family *rules_find_family(struct rules *r, struct outcome *o);

/* What was found out for attributes that are alike, as it may be something else from now on. */
void rules_forget_forms(struct rules *r);

/* Which values of which keys the pattern looks at, added to what the rules look at. */
void rules_note_pattern(struct rules *r, const char *pattern);

#endif
