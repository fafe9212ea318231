/*
 * A page to look at, at "/", and the same as JSON at "/status.json": what is wrong first, then the cluster, this
 * broker, topics, groups, what is going on, and the last warnings. Read only; it needs no script, and nothing from
 * elsewhere.
 */
#ifndef BARNABAS_PAGE_H
#define BARNABAS_PAGE_H

#include "config/config.h"
#include "http/http_server.h"
#include "metrics/bean.h"
#include "monitor/monitor.h"

struct page;
/* Begins to keep the history. What it is given outlives it. */
struct page *page_new(const struct broker_config *config, struct metrics *metrics);
void page_free(struct page *p); /* when nobody is answered any more; NULL is fine */
bool page_is_at(struct str path);
/* On a thread that may take its time, several at once. `monitor` is NULL as long as there is none. */
void page_answer(struct page *p, struct monitor *monitor, const struct http_request *request,
                 struct http_answer *answer);

#endif
