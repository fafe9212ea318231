/* What the parts of the rules share: what a file says (rules_file.c), and what comes of one attribute (rules_match.c).
 */
#ifndef BARNABAS_RULES_INTERNAL_H
#define BARNABAS_RULES_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/arena.h"
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

struct family_entry;
struct form;

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
    struct form *forms;            /* uthash, by what they are kept for */
    struct strbuf text, key, snake_name, snake_text;
    size_t shape_len; /* of the bean that has come, in `key` */
};

/* Which values of which keys the pattern looks at, added to what the rules look at. */
void rules_note_pattern(struct rules *r, const char *pattern);

#endif
