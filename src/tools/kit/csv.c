#include "tools/kit/csv.h"

#include <stdio.h>

#include "tools/kit/tool.h"

static bool wants_quotes(struct str value)
{
    enum { LOOKED_THROUGH = 24 };
    if (value.len > LOOKED_THROUGH)
        return true;
    for (int32_t i = 0; i < value.len; i++)
        if ((unsigned char)value.p[i] <= ',')
            return true;
    return false;
}

void csv_put(struct strbuf *line, struct str value)
{
    if (!wants_quotes(value)) {
        strbuf_str(line, value);
        return;
    }
    strbuf_puts(line, "\"");
    for (int32_t i = 0; i < value.len; i++) {
        if (value.p[i] == '"')
            strbuf_puts(line, "\"");
        strbuf_add(line, &value.p[i], 1);
    }
    strbuf_puts(line, "\"");
}

bool csv_read(const char *path, struct arena *a, struct str *out)
{
    struct strbuf text = {0};
    char part[4096];
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    for (size_t len; (len = fread(part, 1, sizeof(part), file)) > 0;)
        strbuf_add(&text, part, len);
    bool ok = ferror(file) == 0;
    fclose(file);
    while (text.len > 0 && text.p[text.len - 1] == '\n')
        text.len--;
    *out = text.len > 0 ? arena_str(a, (struct str){text.p, (int32_t)text.len}) : STR_NULL;
    strbuf_deinit(&text);
    return ok;
}

bool csv_take_line(struct str *lines, struct str *line)
{
    if (lines->len == 0)
        return false;
    const char *end = memchr(lines->p, '\n', (size_t)lines->len);
    int32_t len = end != NULL ? (int32_t)(end - lines->p) : lines->len, skip = end != NULL ? len + 1 : len;
    *line = (struct str){lines->p, len};
    *lines = (struct str){lines->p + skip, lines->len - skip};
    return true;
}

static bool csv_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str csv_trimmed(const char *from, const char *to)
{
    while (from < to && csv_is_blank(*from))
        from++;
    while (to > from && csv_is_blank(to[-1]))
        to--;
    return (struct str){from, (int32_t)(to - from)};
}

/* The opening quote is behind us; a doubled one stands for itself. Returns what follows the closing one. */
static const char *take_quoted(const char *at, const char *end, struct str *out, struct arena *a)
{
    char *text = ARENA_ARRAY(a, char, end - at + 1);
    int32_t len = 0;
    for (; at < end; at++) {
        if (*at == '"' && (at + 1 == end || *++at != '"'))
            break;
        text[len++] = *at;
    }
    *out = (struct str){text, len};
    return at;
}

int csv_split(struct str line, struct str *values, int most, struct arena *a)
{
    const char *at = line.p, *end = line.p + line.len;
    int count = 0;
    for (;;) {
        struct str value;
        while (at < end && csv_is_blank(*at))
            at++;
        const char *from = at;
        bool quoted = at < end && *at == '"';
        if (quoted)
            at = take_quoted(at + 1, end, &value, a);
        while (at < end && *at != ',')
            at++;
        if (!quoted)
            value = csv_trimmed(from, at);
        if (count < most)
            values[count] = value;
        count++;
        if (at >= end)
            return count;
        at++;
    }
}

bool csv_number(struct arena *a, struct str value, int64_t min, int64_t max, int64_t *out)
{
    return java_integer(arena_cstr(a, value), min, max, out);
}
