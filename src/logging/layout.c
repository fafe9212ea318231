#include "logging/layout.h"

#include <ctype.h>
#include <stdio.h>

#include "base/clock.h"
#include "logging/date_format.h"

enum { MOST_WIDTH = 1000 };

struct piece {
    char kind;      /* the letter of a conversion, or '\0' for text */
    char *text;     /* that, or what was in braces; NULL: nothing was */
    int min, max;   /* of what comes of it; max 0: any */
    bool left, utc; /* padded on the right; a date's zone */
};

struct layout {
    struct piece *pieces;
    size_t count, room;
    int64_t started_ms;
};

static struct piece *layout_add(struct layout *l, char kind, const char *text, size_t len)
{
    l->pieces = xgrow(l->pieces, l->count + 1, &l->room, sizeof(*l->pieces));
    struct piece *p = &l->pieces[l->count++];
    *p = (struct piece){.kind = kind, .text = text != NULL ? xstrndup(text, len) : NULL};
    return p;
}

static const char *parse_width(const char *p, int *out)
{
    *out = 0;
    for (; isdigit((unsigned char)*p); p++)
        *out = MIN(*out * 10 + (*p - '0'), MOST_WIDTH);
    return p;
}

/* What is in braces at `p`; returns what follows. */
static const char *parse_braces(const char *p, const char **text, size_t *len)
{
    const char *end = *p == '{' ? strchr(p, '}') : NULL;
    *text = end != NULL ? p + 1 : NULL;
    *len = end != NULL ? (size_t)(end - p - 1) : 0;
    return end != NULL ? end + 1 : p;
}

static const char *parse_date(struct piece *p, const char *at, struct fail *why)
{
    const char *zone;
    size_t len;
    const char *pattern = date_format_named(p->text != NULL && p->text[0] != '\0' ? p->text : "ISO8601");
    char trouble = date_format_trouble(pattern);
    if (trouble != '\0' && why->text[0] == '\0')
        fail_set(why, "the letter %c of the date pattern %s is not understood", trouble, pattern);
    char *copy = xstrdup(pattern);
    free(p->text);
    p->text = copy;
    at = parse_braces(at, &zone, &len);
    p->utc = zone != NULL && ((len == 3 && (memcmp(zone, "UTC", 3) == 0 || memcmp(zone, "GMT", 3) == 0)));
    if (zone != NULL && !p->utc && why->text[0] == '\0')
        fail_set(why, "the time zone %.*s is not understood: dates are of local time", (int)len, zone);
    return at;
}

/* The conversion at `p`, which follows the percent sign; returns what follows. */
static const char *parse_conversion(struct layout *l, const char *p, struct fail *why)
{
    const char *start = p, *text;
    size_t len;
    int min = 0, max = 0;
    bool left = *p == '-';
    p = parse_width(p + left, &min);
    if (*p == '.')
        p = parse_width(p + 1, &max);
    if (*p == '\0' || strchr("dpmcCtLFlMnrxX%", *p) == NULL) {
        if (why->text[0] == '\0')
            fail_set(why, "%%%.*s is not understood", (int)(p - start) + (*p != '\0'), start);
        layout_add(l, '\0', start - 1, (size_t)(p - start) + 1);
        return p;
    }
    char kind = *p++;
    if (strchr("dcCxX", kind) != NULL)
        p = parse_braces(p, &text, &len);
    else
        text = NULL, len = 0;
    struct piece *piece = layout_add(l, kind, text, len);
    piece->min = min;
    piece->max = max;
    piece->left = left;
    return kind == 'd' ? parse_date(piece, p, why) : p;
}

struct layout *layout_new(const char *pattern, struct fail *why)
{
    struct layout *l = xcalloc(1, sizeof(*l));
    struct fail nobody;
    why = why != NULL ? why : &nobody;
    why->text[0] = '\0';
    l->started_ms = clock_wall_ms();
    for (const char *p = pattern; *p != '\0';) {
        size_t text = strcspn(p, "%");
        if (text > 0)
            layout_add(l, '\0', p, text);
        p += text;
        if (*p == '%')
            p = parse_conversion(l, p + 1, why);
    }
    return l;
}

void layout_free(struct layout *l)
{
    for (size_t i = 0; l != NULL && i < l->count; i++)
        free(l->pieces[i].text);
    if (l != NULL)
        free(l->pieces);
    free(l);
}

/* ---- Lines ---- */

/* The last parts of a logger's name, as many as %c{n} wants. */
static const char *last_parts(const char *name, const char *wanted)
{
    int parts = wanted != NULL ? atoi(wanted) : 0;
    const char *p = name + strlen(name);
    if (parts <= 0)
        return name;
    while (p > name && (p[-1] != '.' || --parts > 0))
        p--;
    return p;
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash != NULL ? slash + 1 : file;
}

static void put_piece(const struct layout *l, const struct piece *p, const struct log_line *line, struct strbuf *out)
{
    switch (p->kind) {
    case 'd':
        date_format_put(p->text, line->ms, p->utc, out);
        break;
    case 'p':
        strbuf_puts(out, logger_level_name(line->level));
        break;
    case 'm':
        strbuf_str(out, line->text);
        break;
    case 'c':
    case 'C':
        strbuf_puts(out, last_parts(line->logger, p->text));
        break;
    case 't':
        strbuf_puts(out, line->thread);
        break;
    case 'L':
        strbuf_printf(out, "%d", line->line);
        break;
    case 'F':
        strbuf_puts(out, base_name(line->file));
        break;
    case 'l':
        strbuf_printf(out, "%s.?(%s:%d)", line->logger, base_name(line->file), line->line);
        break;
    case 'M':
        strbuf_puts(out, "?");
        break;
    case 'n':
        strbuf_puts(out, "\n");
        break;
    case 'r':
        strbuf_printf(out, "%lld", (long long)(line->ms - l->started_ms));
        break;
    case '%':
        strbuf_puts(out, "%");
        break;
    case '\0':
        strbuf_puts(out, p->text);
        break;
    default: /* of contexts, which there are none of */
        break;
    }
}

/* What is too long loses its beginning. */
static void fit(const struct piece *p, size_t from, struct strbuf *out)
{
    size_t len = out->len - from;
    if (p->max > 0 && len > (size_t)p->max) {
        memmove(out->p + from, out->p + out->len - p->max, (size_t)p->max);
        out->len = from + (size_t)p->max;
    } else if (len < (size_t)p->min) {
        size_t pad = (size_t)p->min - len;
        strbuf_extend(out, pad);
        if (!p->left)
            memmove(out->p + from + pad, out->p + from, len);
        memset(out->p + from + (p->left ? len : 0), ' ', pad);
    }
}

void layout_put(const struct layout *l, const struct log_line *line, struct strbuf *out)
{
    for (size_t i = 0; i < l->count; i++) {
        size_t from = out->len;
        put_piece(l, &l->pieces[i], line, out);
        if (l->pieces[i].min > 0 || l->pieces[i].max > 0)
            fit(&l->pieces[i], from, out);
    }
}
