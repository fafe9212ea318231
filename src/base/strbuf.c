#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>

enum { FIRST_ROOM = 64 }; /* hardly anything is shorter: not to be reached by doubling */

void strbuf_deinit(struct strbuf *b)
{
    free(b->p);
    *b = (struct strbuf){0};
}

void strbuf_clear(struct strbuf *b)
{
    ensure(b->len == 0 || b->len < b->cap);
    b->len = 0;
    if (b->p != NULL)
        b->p[0] = '\0';
}

void *strbuf_extend(struct strbuf *b, size_t len)
{
    if (b->len + len >= b->cap) /* seldom */
        b->p = xgrow(b->p, MAX(b->len + len + 1, (size_t)FIRST_ROOM), &b->cap, 1);
    char *at = b->p + b->len;
    b->len += len;
    ensure(b->len < b->cap); /* with room for the NUL */
    b->p[b->len] = '\0';
    return at;
}

void strbuf_add(struct strbuf *b, const void *data, size_t len)
{
    void *at = strbuf_extend(b, len);
    if (len > 0)
        memcpy(at, data, len);
}

void strbuf_puts(struct strbuf *b, const char *s)
{
    strbuf_add(b, s, strlen(s));
}

void strbuf_str(struct strbuf *b, struct str s)
{
    ensure(s.len >= 0);
    strbuf_add(b, s.p, (size_t)s.len);
}

void strbuf_utf8(struct strbuf *b, struct str s)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    if (str_is_utf8(s)) {
        strbuf_str(b, s);
        return;
    }
    for (int32_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < 0x80)
            strbuf_add(b, &s.p[i], 1);
        else
            strbuf_puts(b, replacement);
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ensure(n >= 0);
    char *at = strbuf_extend(b, (size_t)n);
    vsnprintf(at, (size_t)n + 1, fmt, again);
    va_end(again);
}

char *strbuf_take(struct strbuf *b)
{
    if (b->p == NULL)
        return xstrdup("");
    char *text = b->p;
    *b = (struct strbuf){0};
    return text;
}
