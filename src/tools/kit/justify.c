#include "tools/kit/justify.h"

#include <ctype.h>

static bool is_alnum(char c)
{
    return isalnum((unsigned char)c) != 0;
}

static bool is_digit(char c)
{
    return isdigit((unsigned char)c) != 0;
}

/* Whether a line may end behind text[i], which is not the last character. */
static bool may_end_behind(const char *text, size_t i)
{
    char before = i > 0 ? text[i - 1] : ' ', c = text[i], next = text[i + 1];
    if (next == ' ' || next == '\n')
        return false;
    if (c == ' ' || c == '\n')
        return true;
    if (c == '-') /* -1 is a number, and '--'a' is quoted */
        return next != '-' && next != '\'' && next != '"' && (!is_digit(next) || is_alnum(before));
    if (strchr(".,:;!?%", c) == NULL)
        return false;
    bool number = (c == '.' || c == ',') && is_digit(before) && is_digit(next);
    return (is_alnum(next) || next == '-') && !number;
}

static size_t piece_length(const char *text)
{
    size_t len = 1;
    while (text[len] != '\0' && !may_end_behind(text, len - 1))
        len++;
    return len;
}

static int count_gaps(const char *line, size_t len)
{
    int gaps = 0;
    for (size_t i = 1; i < len; i++)
        gaps += line[i] == ' ' && line[i - 1] != ' ';
    return gaps;
}

/* `used` columns are taken by the line and what is before it. */
static void add_filled_line(struct strbuf *out, const struct strbuf *line, int used)
{
    size_t from = 0, to = line->len;
    while (from < to && line->p[from] == ' ')
        from++;
    while (to > from && line->p[to - 1] == ' ')
        to--;
    const char *p = line->p + from;
    size_t len = to - from;
    int gaps = count_gaps(p, len), missing = JUSTIFIED_WIDTH - used + (int)(line->len - len);
    if (gaps == 0) {
        strbuf_add(out, p, len);
        return;
    }
    int each = missing / gaps, more = missing % gaps, first = (gaps - more + 1) / 2, gap = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == ' ' && p[i - 1] != ' ') {
            strbuf_printf(out, "%*s", each + (gap >= first && gap < first + more), "");
            gap++;
        }
        strbuf_add(out, p + i, 1);
    }
}

void justify(struct strbuf *out, const char *text, int offset, int indent)
{
    struct strbuf line = {0};
    int at = offset;
    while (*text != '\0') {
        int len = (int)piece_length(text);
        if (at + len > JUSTIFIED_WIDTH && line.len > 0) {
            add_filled_line(out, &line, at);
            strbuf_printf(out, "\n%*s", indent, "");
            strbuf_clear(&line);
            at = indent;
        }
        strbuf_add(&line, text, (size_t)len);
        at += len;
        text += len;
    }
    strbuf_add(out, line.p, line.len);
    strbuf_deinit(&line);
}
