#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/strbuf.h"
#include "tools/kit/tool.h"

struct pattern {
    pcre2_code *code;
    pcre2_match_data *match;
};

/* Kafka takes commas for alternatives and leaves out blanks and quotes around the whole. */
static char *to_regex(const char *text)
{
    struct strbuf b = {0};
    size_t len = strlen(text);
    while (len > 0 && strchr(" \"'", text[len - 1]) != NULL)
        len--;
    while (len > 0 && strchr(" \"'", *text) != NULL) {
        text++;
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text[i] == ',' ? '|' : text[i];
        if (c != ' ')
            strbuf_add(&b, &c, 1);
    }
    return strbuf_take(&b);
}

struct pattern *pattern_of_regex(const char *regex, struct fail *fail)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED,
                                     PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &error, &at, NULL);
    if (code == NULL) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(error, why, sizeof(why));
        fail_set(fail, "%s is an invalid regex: %s", regex, (const char *)why);
        return NULL;
    }
    struct pattern *p = xcalloc(1, sizeof(*p));
    p->code = code;
    p->match = pcre2_match_data_create_from_pattern(code, NULL);
    return p;
}

struct pattern *pattern_new(const char *text, struct fail *fail)
{
    char *regex = to_regex(text);
    struct pattern *p = pattern_of_regex(regex, fail);
    free(regex);
    return p;
}

void pattern_free(struct pattern *p)
{
    if (p == NULL)
        return;
    pcre2_match_data_free(p->match);
    pcre2_code_free(p->code);
    free(p);
}

bool pattern_matches(const struct pattern *p, struct str text)
{
    return pcre2_match(p->code, (PCRE2_SPTR)text.p, (PCRE2_SIZE)text.len, 0, 0, p->match, NULL) >= 0;
}
