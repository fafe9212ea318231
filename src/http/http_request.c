#include "http/http_request.h"

#include <ctype.h>

/* ---- Text ---- */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX, and + for a blank in queries. What is no such sequence stays as it is. */
static struct str decode(struct str text, bool plus, struct arena *a)
{
    char *out = arena_alloc(a, (size_t)text.len + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < text.len; i++) {
        int high = i + 2 < text.len ? digit_of(text.p[i + 1]) : -1, low = high >= 0 ? digit_of(text.p[i + 2]) : -1;
        if (text.p[i] == '%' && low >= 0) {
            out[n++] = (char)(16 * high + low);
            i += 2;
        } else {
            out[n++] = plus && text.p[i] == '+' ? ' ' : text.p[i];
        }
    }
    return (struct str){out, n};
}

static struct str unpad(struct str s)
{
    while (s.len > 0 && (*s.p == ' ' || *s.p == '\t'))
        s = (struct str){s.p + 1, s.len - 1};
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static bool is_word(struct str s, const char *word)
{
    return (size_t)s.len == strlen(word) && strncasecmp(s.p, word, (size_t)s.len) == 0;
}

/* Whether a list, as in Connection: and Accept-Encoding:, has the word, and not with q=0. */
static bool list_has(struct str list, const char *word)
{
    while (list.len > 0) {
        const char *comma = memchr(list.p, ',', (size_t)list.len);
        struct str entry = {list.p, comma != NULL ? (int32_t)(comma - list.p) : list.len};
        int32_t skip = entry.len + (comma != NULL);
        list = (struct str){list.p + skip, list.len - skip};
        const char *semicolon = memchr(entry.p, ';', (size_t)entry.len);
        struct str name = {entry.p, semicolon != NULL ? (int32_t)(semicolon - entry.p) : entry.len};
        struct str rest = {entry.p + name.len, entry.len - name.len};
        if (!is_word(unpad(name), word))
            continue;
        const char *q = memmem(rest.p, (size_t)rest.len, "q=0", 3);
        return q == NULL || (q + 3 < rest.p + rest.len && q[3] == '.');
    }
    return false;
}

/* ---- The head ---- */

struct parsing {
    struct http_request *out;
    struct arena *arena;
    int64_t body;
    bool has_length;
    int status;
};

static bool refuse_with(struct parsing *p, int status)
{
    p->status = status;
    return false;
}

/* The next line, without its end; `in` moves on. False: it has no end. */
static bool next_line(struct str *in, struct str *line)
{
    const char *end = in->len > 0 ? memchr(in->p, '\n', (size_t)in->len) : NULL;
    if (end == NULL)
        return false;
    *line = (struct str){in->p, (int32_t)(end - in->p)};
    *in = (struct str){end + 1, in->len - line->len - 1};
    if (line->len > 0 && line->p[line->len - 1] == '\r')
        line->len--;
    return true;
}

static struct str until(struct str *in, char c)
{
    const char *at = in->len > 0 ? memchr(in->p, c, (size_t)in->len) : NULL;
    struct str part = {in->p, at != NULL ? (int32_t)(at - in->p) : in->len};
    int32_t skip = part.len + (at != NULL);
    *in = (struct str){in->p + skip, in->len - skip};
    return part;
}

static bool take_target(struct parsing *p, struct str target)
{
    if (target.len == 0 || *target.p != '/')
        return refuse_with(p, 400);
    bool has_query = memchr(target.p, '?', (size_t)target.len) != NULL;
    struct str path = until(&target, '?');
    p->out->path = decode(path, false, p->arena);
    p->out->query = has_query ? target : STR_NULL;
    return true;
}

/* METHOD target HTTP/1.x */
static bool take_request_line(struct parsing *p, struct str line)
{
    static const char *const methods[] = {"GET", "HEAD", "POST"};
    struct str method = until(&line, ' '), target = until(&line, ' ');
    bool is_new = str_is(line, "HTTP/1.1");
    if (!is_new && !str_is(line, "HTTP/1.0"))
        return refuse_with(p, line.len > 5 && memcmp(line.p, "HTTP/", 5) == 0 ? 505 : 400);
    p->out->old = !is_new;
    p->out->keep_alive = is_new;
    p->out->method = HTTP_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_is(method, methods[i]))
            p->out->method = (enum http_method)i;
    return take_target(p, target) && (p->out->method != HTTP_UNKNOWN || refuse_with(p, 501));
}

static bool take_length(struct parsing *p, struct str value)
{
    int64_t n = 0;
    if (value.len == 0 || value.len > 18)
        return refuse_with(p, 400);
    for (int32_t i = 0; i < value.len; i++) {
        if (!isdigit((unsigned char)value.p[i]))
            return refuse_with(p, 400);
        n = 10 * n + (value.p[i] - '0');
    }
    if (p->has_length && p->body != n)
        return refuse_with(p, 400);
    p->has_length = true;
    p->body = n;
    return n <= HTTP_LARGEST_BODY || refuse_with(p, 413);
}

static bool take_header(struct parsing *p, struct str line)
{
    if (memchr(line.p, ':', (size_t)line.len) == NULL || *line.p == ' ' || *line.p == '\t')
        return refuse_with(p, 400); /* also one that goes on from the line before, which nobody sends any more */
    struct str name = until(&line, ':'), value = unpad(line);
    if (is_word(name, "Content-Length"))
        return take_length(p, value);
    if (is_word(name, "Transfer-Encoding"))
        return refuse_with(p, 501);
    if (is_word(name, "Connection"))
        p->out->keep_alive = p->out->old ? list_has(value, "keep-alive") : !list_has(value, "close");
    else if (is_word(name, "Accept-Encoding"))
        p->out->takes_gzip = list_has(value, "gzip");
    else if (is_word(name, "Accept"))
        p->out->accept = value;
    else if (is_word(name, "Authorization"))
        p->out->authorization = value;
    else if (is_word(name, "Expect"))
        p->out->awaits_continue = is_word(value, "100-continue");
    return true;
}

/* Where the head ends; 0: it does not. Empty lines before it are let pass. */
static size_t head_end(struct str in)
{
    struct str rest = in, line;
    bool begun = false;
    while (next_line(&rest, &line)) {
        if (line.len > 0)
            begun = true;
        else if (begun)
            return (size_t)(rest.p - in.p);
    }
    return 0;
}

static bool parse_head(struct parsing *p, struct str head)
{
    struct str line = {"", 0};
    while (next_line(&head, &line) && line.len == 0)
        ;
    if (memchr(line.p, '\0', (size_t)line.len) != NULL || !take_request_line(p, line))
        return p->status != 0 ? false : refuse_with(p, 400);
    while (next_line(&head, &line) && line.len > 0)
        if (!take_header(p, line))
            return false;
    return true;
}

enum http_parsed http_request_parse(struct bytes in, struct arena *a, struct http_request *out, size_t *taken,
                                    int *status)
{
    struct parsing p = {.out = out, .arena = a};
    struct str text = {(const char *)in.p, in.len};
    size_t head = head_end(text);
    *out = (struct http_request){.query = STR_NULL, .accept = STR_NULL, .authorization = STR_NULL};
    if (head == 0 && text.len < HTTP_LARGEST_HEAD)
        return HTTP_INCOMPLETE;
    if (head == 0 || head > HTTP_LARGEST_HEAD) {
        *status = 431;
        return HTTP_REFUSED;
    }
    if (!parse_head(&p, (struct str){text.p, (int32_t)head})) {
        *status = p.status;
        return HTTP_REFUSED;
    }
    if ((size_t)text.len - head < (size_t)p.body)
        return HTTP_INCOMPLETE;
    out->body = (struct str){text.p + head, (int32_t)p.body};
    *taken = head + (size_t)p.body;
    return HTTP_COMPLETE;
}

bool http_query_next(struct str *query, struct arena *a, struct str *name, struct str *value)
{
    while (query->len > 0) {
        struct str pair = until(query, '&');
        if (pair.len == 0)
            continue;
        *name = decode(until(&pair, '='), true, a);
        *value = decode(pair, true, a);
        return true;
    }
    return false;
}
