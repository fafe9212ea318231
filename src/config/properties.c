#include "config/properties.h"

#include <errno.h>
#include <stdio.h>

enum { LARGEST_FILE = 16 << 20 };

/* Walks over the text. A logical line, its continuations joined, is gathered in `line`. */
struct reader {
    const char *at, *end;
    int number;         /* of the natural line at `at` */
    int started;        /* number of the natural line that the logical one began with */
    struct strbuf line; /* escapes still in it */
};

static bool properties_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

/* Cuts the next natural line, without its end, off the text. */
static struct str natural_line(struct reader *r)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at != '\n' && *r->at != '\r')
        r->at++;
    struct str line = {from, (int32_t)(r->at - from)};
    if (r->at < r->end && *r->at++ == '\r' && r->at < r->end && *r->at == '\n')
        r->at++;
    r->number++;
    return line;
}

static struct str without_indent(struct str line)
{
    while (line.len > 0 && properties_is_blank(line.p[0]))
        line = (struct str){line.p + 1, line.len - 1};
    return line;
}

/* An odd number of backslashes at its end continues a line. */
static bool is_continued(struct str line)
{
    int backslashes = 0;
    while (backslashes < line.len && line.p[line.len - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* False at the end of the text. A line of nothing but a continuation begins nothing. */
static bool next_logical_line(struct reader *r)
{
    strbuf_clear(&r->line);
    while (r->at < r->end) {
        struct str line = without_indent(natural_line(r));
        if (r->line.len == 0) {
            if (line.len == 0 || line.p[0] == '#' || line.p[0] == '!')
                continue;
            r->started = r->number;
        }
        bool more = is_continued(line);
        strbuf_str(&r->line, (struct str){line.p, line.len - more});
        if (!more)
            return true;
    }
    return r->line.len > 0;
}

static void put_utf8(struct strbuf *out, uint32_t c)
{
    char utf8[4];
    size_t n = 0;
    if (c < 0x80) {
        utf8[n++] = (char)c;
    } else if (c < 0x800) {
        utf8[n++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        utf8[n++] = (char)(0xe0 | c >> 12);
        utf8[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        utf8[n++] = (char)(0xf0 | c >> 18);
        utf8[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        utf8[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80)
        utf8[n++] = (char)(0x80 | (c & 0x3f));
    strbuf_add(out, utf8, n);
}

/* Four hexadecimal digits at *p, which moves past them. */
static bool hex4(const char **p, const char *end, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, (*p)++) {
        if (*p == end)
            return false;
        char c = **p;
        if (c >= '0' && c <= '9')
            *out = *out * 16 + (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            *out = *out * 16 + (uint32_t)((c | 32) - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* What follows "\u". Java writes characters past U+FFFF as two surrogates. */
static bool unicode_escape(const char **p, const char *end, struct strbuf *out)
{
    uint32_t c, low;
    if (!hex4(p, end, &c) || c == 0)
        return false;
    if (c >= 0xd800 && c < 0xdc00) {
        if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
            return false;
        *p += 2;
        if (!hex4(p, end, &low) || low < 0xdc00 || low > 0xdfff)
            return false;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(out, c);
    return true;
}

static void put_byte(struct strbuf *out, char byte, bool utf8)
{
    if (utf8)
        strbuf_add(out, &byte, 1);
    else
        put_utf8(out, (uint8_t)byte);
}

static bool unescape(const char *p, const char *end, bool utf8, struct strbuf *out)
{
    strbuf_clear(out);
    while (p < end) {
        if (*p != '\\' || p + 1 == end) {
            put_byte(out, *p++, utf8);
            continue;
        }
        p++;
        if (*p == 'u') {
            p++;
            if (!unicode_escape(&p, end, out))
                return false;
            continue;
        }
        static const char from[] = "tnrf", to[] = "\t\n\r\f";
        const char *known = memchr(from, *p, sizeof(from) - 1);
        put_byte(out, known ? to[known - from] : *p, utf8);
        p++;
    }
    return true;
}

/* The first separator, or blank, that no backslash stands before ends the key. */
static const char *end_of_key(const char *p, const char *end)
{
    for (; p < end && *p != '=' && *p != ':' && !properties_is_blank(*p); p++)
        if (*p == '\\' && p + 1 < end)
            p++;
    return p;
}

static const char *start_of_value(const char *p, const char *end)
{
    while (p < end && properties_is_blank(*p))
        p++;
    if (p < end && (*p == '=' || *p == ':'))
        p++;
    while (p < end && properties_is_blank(*p))
        p++;
    return p;
}

static bool properties_split_line(const struct strbuf *line, bool utf8, struct arena *a, struct property *out)
{
    const char *p = line->p, *end = line->p + line->len;
    const char *key_end = end_of_key(p, end);
    struct strbuf text = {0};
    bool ok = unescape(p, key_end, utf8, &text);
    if (ok) {
        out->key = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
        ok = unescape(start_of_value(key_end, end), end, utf8, &text);
        out->value = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
    }
    strbuf_deinit(&text);
    return ok;
}

static bool is_ascii(const struct strbuf *line)
{
    for (size_t i = 0; i < line->len; i++)
        if ((uint8_t)line->p[i] >= 0x80)
            return false;
    return true;
}

static int count_lines(struct str text)
{
    int lines = 1;
    for (int32_t i = 0; i < text.len; i++)
        lines += text.p[i] == '\n' || text.p[i] == '\r';
    return lines;
}

static bool parse_as(struct str text, bool utf8, const char *name, struct arena *a, struct properties *out,
                     struct fail *fail)
{
    *out = (struct properties){.items = ARENA_ARRAY(a, struct property, count_lines(text))};
    if (text.len > 0 && memchr(text.p, '\0', (size_t)text.len) != NULL)
        return fail_set(fail, "%s: a zero byte; this is not a text", name);
    struct reader r = {.at = text.p, .end = text.p + text.len};
    bool ok = true;
    while (ok && next_logical_line(&r)) {
        struct property *p = &out->items[out->count++];
        p->line = r.started;
        if (out->latin1_line == 0 && !is_ascii(&r.line))
            out->latin1_line = r.started;
        ok = properties_split_line(&r.line, utf8, a, p);
    }
    strbuf_deinit(&r.line);
    if (!ok)
        return fail_set(fail, "%s:%d: \\u needs four hexadecimal digits that stand for a character", name, r.started);
    return true;
}

bool properties_parse(struct str text, const char *name, struct arena *a, struct properties *out, struct fail *fail)
{
    return parse_as(text, false, name, a, out, fail);
}

static bool read_all(FILE *file, struct strbuf *out)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), file)) > 0) {
        strbuf_add(out, piece, n);
        if (out->len > LARGEST_FILE) {
            errno = EFBIG;
            return false;
        }
    }
    return !ferror(file);
}

bool properties_slurp(const char *path, struct strbuf *out, struct fail *fail)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return fail_set(fail, "%s: %s", path, strerror(errno));
    bool ok = read_all(file, out);
    if (!ok)
        fail_set(fail, "%s: %s", path, strerror(errno));
    fclose(file);
    return ok;
}

static bool read_as(const char *path, bool utf8, struct arena *a, struct properties *out, struct fail *fail)
{
    struct strbuf text = {0};
    bool ok = properties_slurp(path, &text, fail) &&
              parse_as((struct str){text.p, (int32_t)text.len}, utf8, path, a, out, fail);
    strbuf_deinit(&text);
    return ok;
}

bool properties_read(const char *path, struct arena *a, struct properties *out, struct fail *fail)
{
    return read_as(path, false, a, out, fail);
}

bool properties_read_utf8(const char *path, struct arena *a, struct properties *out, struct fail *fail)
{
    return read_as(path, true, a, out, fail);
}

const char *properties_get(const struct properties *p, const char *key)
{
    for (int i = p->count - 1; i >= 0; i--)
        if (strcmp(p->items[i].key, key) == 0)
            return p->items[i].value;
    return NULL;
}
