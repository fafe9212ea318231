/* Which values a pattern looks at. What it takes as a whole, whatever it is, need not be told apart. */
#include <ctype.h>

#include "exporter/rules_internal.h"

/* Past one of . \w \d \S [^,] and a + or *, perhaps as a group; NULL: something else stands there. */
static const char *past_anything(const char *p)
{
    bool group = *p == '(';
    if (group)
        p += strncmp(p, "(?:", 3) == 0 ? 3 : 1;
    if (*p == '.') {
        p++;
    } else if (*p == '\\' && p[1] != '\0' && strchr("wdS", p[1]) != NULL) {
        p += 2;
    } else if (strncmp(p, "[^", 2) == 0) {
        size_t n = strspn(p + 2, ",<>\" =");
        if (n == 0 || p[2 + n] != ']')
            return NULL;
        p += n + 3;
    } else {
        return NULL;
    }
    if (*p != '+' && *p != '*')
        return NULL;
    p += p[1] == '?' || p[1] == '+' ? 2 : 1;
    if (group && *p++ != ')')
        return NULL;
    return p;
}

static bool takes_whole(const char *p)
{
    const char *end = past_anything(p);
    return end != NULL && (*end == '\0' || strchr(",<>)", *end) != NULL);
}

static void rules_add_text(struct rules *r, struct texts *to, struct str text)
{
    const char **grown = ARENA_ARRAY(&r->memory, const char *, (size_t)to->count + 1);
    if (to->count > 0)
        memcpy(grown, to->items, sizeof(*grown) * (size_t)to->count);
    grown[to->count++] = arena_cstr(&r->memory, text);
    to->items = grown;
}

/* What takes more than letters and digits may reach beyond the value, into those of other keys. */
static bool may_reach_on(const char *p)
{
    for (const char *end = p + strcspn(p, ",<>"); p < end; p++) {
        if (*p == '.' || *p == '[')
            return true;
        if (*p == '\\' && *++p != 'w' && *p != 'd' && *p != '.')
            return true;
    }
    return false;
}

/* Of (.+)PerSec, and perhaps \w* behind it: the word, without which no value makes a difference. */
static bool find_telling_word(const char *p, struct str *word)
{
    p += *p == '(';
    if (p[0] != '.' || (p[1] != '+' && p[1] != '*'))
        return false;
    p += p[2] == '?' ? 3 : 2;
    p += *p == ')';
    size_t len = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    *word = (struct str){p, (int32_t)len};
    p += len;
    p += strncmp(p, "\\w*", 3) == 0 ? 3 : 0;
    p += *p == ')';
    return len >= 3 && (*p == '\0' || strchr(",<>", *p) != NULL);
}

static void note_value(struct rules *r, const char *pattern, const char *equals)
{
    const char *start = equals;
    struct str word;
    if (takes_whole(equals + 1))
        return;
    while (start > pattern && (isalnum((unsigned char)start[-1]) || strchr("-_", start[-1]) != NULL))
        start--;
    bool whole = start > pattern && (start[-1] == '<' || (start[-1] == ' ' && start - pattern > 1 && start[-2] == ','));
    struct str key = {start, (int32_t)(equals - start)};
    if (key.len == 0 || !whole)
        r->looks_at_all = true;
    else if (!str_is(key, "type") && !str_is(key, "name")) /* these are always told apart */
        rules_add_text(r, &r->looked_at, key);
    if (find_telling_word(equals + 1, &word))
        rules_add_text(r, &r->telling, word);
    else if (may_reach_on(equals + 1))
        r->looks_at_all = true;
}

/* Past one character, one that is escaped, or a class of them. */
static const char *past_one(const char *p, const char *end)
{
    if (*p == '\\')
        return MIN(p + 2, end);
    const char *close = *p == '[' ? memchr(p + 1, ']', (size_t)(end - p - 1)) : p;
    return close != NULL ? close + 1 : end;
}

/* The next that is not escaped, nor one of the characters of a class; `end` if there is none. */
static const char *next_of(char c, const char *p, const char *end)
{
    while (p < end && *p != c)
        p = past_one(p, end);
    return p;
}

/* One of the parts between commas; one without = may be about any of the keys. */
static void note_part(struct rules *r, const char *pattern, const char *start, const char *end)
{
    const char *equals = next_of('=', start, end);
    if (equals < end) {
        for (; equals < end; equals = next_of('=', equals + 1, end))
            note_value(r, pattern, equals);
        return;
    }
    while (start < end && *start == ' ')
        start++;
    if (start < end && past_anything(start) != end)
        r->looks_at_all = true;
}

/*
 * A choice between more than values, a=b|c=d or (a=b|c), may begin anywhere within a key's name; what begins with (? or
 * (*, and letters that are escaped, may mean anything.
 */
static bool rules_pattern_is_plain(const char *pattern)
{
    const char *end = pattern + strlen(pattern);
    bool choice = false, keys = false; /* in the outermost group */
    int depth = 0;
    for (const char *p = pattern; p < end; p = past_one(p, end)) {
        if ((*p == '\\' && isalnum((unsigned char)p[1]) && strchr("wdsWDS", p[1]) == NULL) || (*p == '|' && depth == 0))
            return false;
        if (*p == '(' && (p[1] == '*' || (p[1] == '?' && p[2] != ':')))
            return false;
        if (*p == '(' && depth++ == 0)
            choice = keys = false;
        else if (*p == ')' && --depth <= 0)
            choice = false;
        choice |= *p == '|';
        keys |= strchr("=,<>", *p) != NULL;
        if (choice && keys)
            return false;
    }
    return true;
}

/* The >< behind the keys; NULL: there is none. */
static const char *end_of_keys(const char *pattern, const char *end)
{
    const char *p = next_of('>', pattern, end);
    while (p < end && p[1] != '<')
        p = next_of('>', p + 1, end);
    return p < end ? p : NULL;
}

static bool takes_any_value(const char *attribute)
{
    const char *colon = strrchr(attribute, ':');
    return colon == NULL || colon[1] == '\0' ||
           (strstr(attribute, "(?:") == NULL && takes_whole(colon + 1 + (colon[1] == ' ')));
}

void rules_note_pattern(struct rules *r, const char *pattern)
{
    const char *end = pattern + strlen(pattern), *close = end_of_keys(pattern, end);
    const char *last = close != NULL ? close : end, *open = next_of('<', pattern, last);
    bool known = rules_pattern_is_plain(pattern);
    if (open < last) /* one that no key follows may be the < behind the keys */
        known = known && isalpha((unsigned char)open[1]);
    else if (close == NULL)
        known = known && past_anything(pattern) == end;
    r->looks_at_all |= !known || (close != NULL && !takes_any_value(close));
    for (const char *part = open < last ? open + 1 : close != NULL ? pattern : end; part < last;) {
        const char *comma = next_of(',', part, last);
        note_part(r, pattern, part, comma);
        part = comma + 1;
    }
}
