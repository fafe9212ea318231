/* How a status becomes a page. */
#ifndef BARNABAS_PAGE_INTERNAL_H
#define BARNABAS_PAGE_INTERNAL_H

#include "base/strbuf.h"
#include "http/http_server.h"
#include "page/status.h"

/* What browsers are to hold to: nothing from elsewhere, no script but the page's own. */
void page_headers(struct http_answer *answer);
void page_write(const struct status *s, struct strbuf *out);

/* ---- Pieces ---- */

/* Any text, as it may stand between tags and in quotes. */
void html_text(struct strbuf *out, struct str text);
/* A curve of the last hour, with its least and its most in words. */
void html_curve(struct strbuf *out, const float *points, int count, const char *words);

/* Each a section, or nothing where there is nothing to tell. */
void page_cluster(const struct status *s, struct strbuf *out);
void page_topics(const struct status *s, struct strbuf *out);
void page_groups(const struct status *s, struct strbuf *out);
void page_broker(const struct status *s, struct strbuf *out);
void page_work(const struct status *s, struct strbuf *out);
void page_lines(const struct status *s, struct strbuf *out);
void page_settings(const struct status *s, struct strbuf *out);

#endif
