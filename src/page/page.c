#include "page/page.h"

#include "page/page_internal.h"

struct page {
    const struct broker_config *config;
    struct metrics *metrics;
    struct history *history;
};

struct page *page_new(const struct broker_config *config, struct metrics *metrics)
{
    struct page *p = xcalloc(1, sizeof(*p));
    p->config = config;
    p->metrics = metrics;
    p->history = history_new(metrics);
    return p;
}

void page_free(struct page *p)
{
    if (p == NULL)
        return;
    history_free(p->history);
    free(p);
}

static const char json_path[] = "/status.json";

bool page_is_at(struct str path)
{
    return str_is(path, "/") || str_is(path, json_path);
}

/* ?topics=all&groups=all: however many there are. */
static void read_wishes(struct str query, struct status_matter *out)
{
    struct arena a = {0};
    struct str name, value;
    while (http_query_next(&query, &a, &name, &value)) {
        out->all_topics |= str_is(name, "topics") && str_is(value, "all");
        out->all_groups |= str_is(name, "groups") && str_is(value, "all");
    }
    arena_deinit(&a);
}

void page_answer(struct page *p, struct monitor *monitor, const struct http_request *request,
                 struct http_answer *answer)
{
    bool json = str_is(request->path, json_path);
    struct look *look = monitor != NULL ? monitor_look(monitor, LOOK_ALL) : NULL;
    struct status_matter from = {.config = p->config, .metrics = p->metrics, .history = p->history, .look = look};
    struct strbuf text = {0};
    read_wishes(request->query, &from);
    struct status *s = status_gather(&from);
    look_unref(look);
    http_status(answer, 200, json ? "application/json" : "text/html; charset=utf-8");
    if (json) {
        status_write_json(s, &text);
    } else {
        page_headers(answer);
        page_write(s, &text);
    }
    status_free(s);
    http_say(answer, text.p, text.len);
    strbuf_deinit(&text);
}
