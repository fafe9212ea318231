/* The page's frame: its head, what is wrong, and the sections in their order. */
#include "page/amounts.h"
#include "page/page_internal.h"

#include "page/page_texts.inc"

void page_headers(struct http_answer *answer)
{
    http_header(answer, "Content-Security-Policy",
                "default-src 'none'; style-src '" PAGE_STYLE_HASH "'; script-src '" PAGE_SCRIPT_HASH
                "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    http_header(answer, "Referrer-Policy", "no-referrer");
}

void html_text(struct strbuf *out, struct str text)
{
    for (int32_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        const char *entity = c == '&'    ? "&amp;"
                             : c == '<'  ? "&lt;"
                             : c == '>'  ? "&gt;"
                             : c == '"'  ? "&quot;"
                             : c == '\'' ? "&#39;"
                             : c == '\0' ? "&#xfffd;"
                                         : NULL;
        if (entity != NULL)
            strbuf_puts(out, entity);
        else
            strbuf_add(out, &c, 1);
    }
}

/* An hour is 120 wide, now at the right end; some points become one, the greatest of them. */
void html_curve(struct strbuf *out, const float *points, int count, const char *words)
{
    enum { MOST_POINTS = 90, WIDTH = 120, HEIGHT = 24 };
    int step = count > MOST_POINTS ? HISTORY_POINTS / MOST_POINTS : 1;
    float most = 0;
    for (int i = 0; i < count; i++)
        most = MAX(most, points[i]);
    strbuf_puts(out, "<svg viewBox=\"0 0 120 26\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    html_text(out, str_of(words));
    strbuf_puts(out, "\"><path class=\"foot\" d=\"M0 25.5H120\"/><polyline points=\"");
    for (int end = count; end > 0; end -= step) {
        float v = 0;
        for (int i = MAX(end - step, 0); i < end; i++)
            v = MAX(v, points[i]);
        strbuf_printf(out, "%.1f,%.1f ", WIDTH - (double)(count - end) * WIDTH / HISTORY_POINTS,
                      1 + HEIGHT - (most > 0 ? (double)(v / most) * HEIGHT : 0));
    }
    strbuf_puts(out, "\"/></svg>");
}

static bool is_bad(const struct status *s)
{
    return s->trouble_count > 0 && s->troubles[0].bad;
}

static void write_verdict(const struct status *s, struct strbuf *out)
{
    strbuf_printf(out, "<section class=\"verdict is-%s\" aria-label=\"What is wrong\">",
                  is_bad(s)              ? "bad"
                  : s->trouble_count > 0 ? "warn"
                                         : "good");
    if (s->trouble_count == 0)
        strbuf_printf(out, "<p>All %s partitions have all their replicas in sync, on %s of %s brokers.</p>",
                      amount_count(s->partitions).p, amount_count(s->alive).p, amount_count(s->broker_count).p);
    for (int i = 0; i < s->trouble_count; i++) {
        strbuf_printf(out, "<p class=\"is-%s\">", s->troubles[i].bad ? "bad" : "warn");
        html_text(out, s->troubles[i].text);
        strbuf_puts(out, "</p>");
    }
    strbuf_puts(out, "</section>");
}

static void write_name(const struct status *s, struct strbuf *out)
{
    if (s->broker_id != STATUS_UNKNOWN)
        strbuf_printf(out, "Broker %d", (int)s->broker_id);
    else
        strbuf_puts(out, "A broker without a number yet");
}

static void page_write_head(const struct status *s, struct strbuf *out)
{
    strbuf_puts(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    strbuf_puts(out, is_bad(s) ? "BAD: " : s->trouble_count > 0 ? "Warning: " : "");
    write_name(s, out);
    strbuf_printf(out, " - barnabas</title><link rel=\"icon\" href=\"data:,\"><style>%s</style></head><body>",
                  page_style);
}

static void write_banner(const struct status *s, struct strbuf *out)
{
    strbuf_puts(out, "<header><h1>");
    write_name(s, out);
    strbuf_puts(out, " <span class=\"quiet\">of cluster ");
    html_text(out, s->cluster_id.len > 0 ? s->cluster_id : STR_LIT("–"));
    strbuf_puts(out,
                "</span></h1><p class=\"quiet\" id=\"note\">Load the page again to see how it goes on.</p></header>");
}

void page_write(const struct status *s, struct strbuf *out)
{
    page_write_head(s, out);
    write_banner(s, out);
    strbuf_puts(out, "<main>");
    write_verdict(s, out);
    page_cluster(s, out);
    page_broker(s, out);
    page_work(s, out);
    page_topics(s, out);
    page_groups(s, out);
    page_lines(s, out);
    page_settings(s, out);
    strbuf_printf(out,
                  "<p class=\"quiet\">As of %s. The same for programs: <a href=\"/status.json\">/status.json</a>.</p>",
                  amount_date(s->now_ms).p);
    strbuf_printf(out, "</main><script>%s</script></body></html>\n", page_script);
}
