/* The sections that tell of this broker: figures with their curves, disks, clients, what it is at, its log, its
 * settings. */
#include <stdio.h>

#include "page/amounts.h"
#include "page/page_internal.h"

/* ---- Figures ---- */

static struct amount of_count(double v)
{
    struct amount a = amount_number(v);
    size_t len = strlen(a.p);
    snprintf(a.p + len, sizeof(a.p) - len, "/s");
    return a;
}

static const struct figure {
    const char *name;
    struct amount (*tell)(double v);
} figures[HISTORY_SERIES] = {
    [HISTORY_BYTES_IN] = {"Bytes in", amount_rate},
    [HISTORY_BYTES_OUT] = {"Bytes out", amount_rate},
    [HISTORY_RECORDS_IN] = {"Records in", of_count},
    [HISTORY_REQUESTS] = {"Requests", of_count},
    [HISTORY_PRODUCE_MEDIAN_MS] = {"Produce, median", amount_ms},
    [HISTORY_PRODUCE_MS] = {"Produce, 99th percentile", amount_ms},
    [HISTORY_FETCH_MEDIAN_MS] = {"Fetch of consumers, median", amount_ms},
    [HISTORY_FETCH_MS] = {"Fetch of consumers, 99th percentile", amount_ms},
    [HISTORY_NETWORK_IDLE] = {"Network threads idle", amount_share},
    [HISTORY_HANDLER_IDLE] = {"Workers idle", amount_share},
    [HISTORY_MEMORY] = {"Memory", amount_bytes},
};

static void write_figure(const struct status *s, int which, struct strbuf *out)
{
    const float *points = s->points[which];
    int count = s->point_count[which];
    double least = 0, most = 0;
    char words[128];
    for (int i = 0; i < count; i++) {
        least = i == 0 ? points[i] : MIN(least, points[i]);
        most = MAX(most, points[i]);
    }
    struct amount (*tell)(double) = figures[which].tell;
    snprintf(words, sizeof(words), "In the last hour from %s to %s", tell(least).p, tell(most).p);
    strbuf_printf(out, "<div><dt>%s</dt><dd><b>%s</b> <span class=\"quiet\">most %s</span></dd><dd>",
                  figures[which].name, count > 0 ? tell(points[count - 1]).p : "–", count > 0 ? tell(most).p : "–");
    html_curve(out, points, count, words);
    strbuf_puts(out, "</dd></div>");
}

static void write_facts(const struct status *s, struct strbuf *out)
{
    strbuf_printf(out, "<p>barnabas %s, %s", BARNABAS_VERSION, status_state_name(s->state));
    if (s->started_ms > 0)
        strbuf_printf(out, ", started <span title=\"%s\">%s</span>", amount_date(s->started_ms).p,
                      amount_ago(s->now_ms, s->started_ms).p);
    if (s->rack.len > 0) {
        strbuf_puts(out, ", rack ");
        html_text(out, s->rack);
    }
    if (s->session.len > 0) {
        strbuf_puts(out, ", ZooKeeper ");
        html_text(out, s->session);
    }
    strbuf_printf(out, ", %s connections, %s of %s files open.</p>", amount_count(s->connections).p,
                  amount_count(s->open_files).p, amount_count(s->most_files).p);
}

/* ---- Disks ---- */

static void write_dir_row(const struct status_dir *d, struct strbuf *out)
{
    double used = d->size > 0 ? 1 - (double)d->free / (double)d->size : -1;
    strbuf_puts(out, "<tr><th scope=\"row\">");
    html_text(out, d->path);
    strbuf_puts(out, "</th>");
    if (d->offline)
        strbuf_puts(out, "<td class=\"is-bad\">offline</td>");
    else if (d->to_recover > 0)
        strbuf_printf(out, "<td>recovering: %s logs to go</td>", amount_count(d->to_recover).p);
    else
        strbuf_puts(out, "<td>online</td>");
    strbuf_printf(out, "<td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%s",
                  amount_bytes((double)d->size).p, amount_bytes((double)d->free).p, amount_share(used).p);
    if (used >= 0)
        strbuf_printf(out,
                      " <meter min=\"0\" max=\"1\" low=\"0.85\" high=\"0.95\" optimum=\"0\" value=\"%.3f\" "
                      "aria-label=\"used\"></meter>",
                      used);
    strbuf_puts(out, "</td></tr>");
}

static void write_dirs(const struct status *s, struct strbuf *out)
{
    strbuf_puts(out,
                "<h2>Log directories</h2><div class=\"wide\" tabindex=\"0\" role=\"group\" "
                "aria-label=\"Log directories\"><table><thead><tr><th scope=\"col\">Directory</th>"
                "<th scope=\"col\">State</th><th scope=\"col\" class=\"n\">Disk</th>"
                "<th scope=\"col\" class=\"n\">Free</th><th scope=\"col\" class=\"n\">Used</th></tr></thead><tbody>");
    for (int i = 0; i < s->dir_count; i++)
        write_dir_row(&s->dirs[i], out);
    strbuf_puts(out, "</tbody></table></div>");
}

/* ---- Clients ---- */

static void write_clients(const struct status *s, struct strbuf *out)
{
    if (s->client_count == 0)
        return;
    strbuf_puts(out, "<h2>Clients</h2><div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Clients\"><table>"
                     "<thead><tr><th scope=\"col\">Software</th><th scope=\"col\">Version</th>"
                     "<th scope=\"col\" class=\"n\">Connections</th></tr></thead><tbody>");
    for (int i = 0; i < s->client_count; i++) {
        strbuf_puts(out, "<tr><th scope=\"row\">");
        html_text(out, s->clients[i].name);
        strbuf_puts(out, "</th><td>");
        html_text(out, s->clients[i].version);
        strbuf_printf(out, "</td><td class=\"n\">%s</td></tr>", amount_count(s->clients[i].connections).p);
    }
    strbuf_puts(out, "</tbody></table></div>");
}

static void write_deprecated(const struct status *s, struct strbuf *out)
{
    const struct status_list *list = &s->deprecated_list;
    if (list->total == 0)
        return;
    strbuf_printf(out,
                  "<h2>Clients that are too old for Kafka 4.0</h2><div class=\"wide\" tabindex=\"0\" role=\"group\" "
                  "aria-label=\"Old clients\"><table><caption>Requests in versions that it does not serve, %s kinds, "
                  "those that came most</caption><thead><tr><th scope=\"col\">Software</th>"
                  "<th scope=\"col\">Version</th><th scope=\"col\">Request</th>"
                  "<th scope=\"col\" class=\"n\">Since the start</th>"
                  "<th scope=\"col\" class=\"n\">In the last minute</th></tr></thead><tbody>",
                  amount_count(list->total).p);
    for (int i = 0; i < list->shown; i++) {
        const struct status_deprecated *d = &s->deprecated[i];
        strbuf_puts(out, "<tr><th scope=\"row\">");
        html_text(out, d->name);
        strbuf_puts(out, "</th><td>");
        html_text(out, d->version);
        strbuf_puts(out, "</td><td>");
        html_text(out, d->request);
        strbuf_puts(out, " ");
        html_text(out, d->request_version);
        strbuf_printf(out, "</td><td class=\"n\">%s</td><td class=\"n\">%s</td></tr>", amount_count(d->count).p,
                      of_count(d->per_second).p);
    }
    strbuf_puts(out, "</tbody></table></div>");
}

static void write_loops(const struct status *s, struct strbuf *out)
{
    for (int i = 0; i < s->loop_count; i++) {
        strbuf_puts(out, i == 0 ? "<p>Loops idle: " : ", ");
        html_text(out, str_of(s->loops[i].name));
        strbuf_printf(out, " %s", amount_share(s->loops[i].idle).p);
    }
    if (s->loop_count > 0)
        strbuf_puts(out, ".</p>");
}

void page_broker(const struct status *s, struct strbuf *out)
{
    strbuf_puts(out, "<section aria-labelledby=\"broker\"><h2 id=\"broker\">This broker "
                     "<span class=\"quiet\">and its last hour</span></h2>");
    write_facts(s, out);
    strbuf_puts(out, "<dl class=\"figures\">");
    for (int i = 0; i < HISTORY_SERIES; i++)
        write_figure(s, i, out);
    strbuf_puts(out, "</dl>");
    write_loops(s, out);
    write_dirs(s, out);
    write_clients(s, out);
    write_deprecated(s, out);
    strbuf_puts(out, "</section>");
}

/* ---- The log ---- */

void page_lines(const struct status *s, struct strbuf *out)
{
    strbuf_puts(out, "<section aria-labelledby=\"log\"><h2 id=\"log\">Last warnings</h2>");
    if (s->line_count == 0) {
        strbuf_puts(out, "<p>None since this broker was started.</p></section>");
        return;
    }
    strbuf_puts(out, "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Last warnings\"><table><thead><tr>"
                     "<th scope=\"col\">When</th><th scope=\"col\">Level</th><th scope=\"col\">Line</th></tr></thead>"
                     "<tbody>");
    for (int i = 0; i < s->line_count; i++) {
        const struct recent_line *l = &s->lines[i];
        struct strbuf clean = {0};
        strbuf_utf8(&clean, (struct str){l->text, l->len});
        strbuf_printf(out, "<tr><td title=\"%s\">%s</td><td class=\"is-%s\">%s</td><td class=\"any\">",
                      amount_date(l->ms).p, amount_ago(s->now_ms, l->ms).p, l->level > LEVEL_WARN ? "bad" : "warn",
                      logger_level_name(l->level));
        html_text(out, (struct str){clean.p, (int32_t)clean.len});
        strbuf_puts(out, "</td></tr>");
        strbuf_deinit(&clean);
    }
    strbuf_puts(out, "</tbody></table></div></section>");
}

/* ---- Settings ---- */

void page_settings(const struct status *s, struct strbuf *out)
{
    strbuf_printf(out,
                  "<details><summary>%d settings that are not as they are by default</summary>"
                  "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Settings\"><table><thead><tr>"
                  "<th scope=\"col\">Key</th><th scope=\"col\">Value</th></tr></thead><tbody>",
                  s->setting_count);
    for (int i = 0; i < s->setting_count; i++) {
        strbuf_puts(out, "<tr><th scope=\"row\">");
        html_text(out, s->settings[i].name);
        strbuf_puts(out, "</th><td class=\"any\">");
        html_text(out, s->settings[i].value.p != NULL ? s->settings[i].value : STR_LIT("[hidden]"));
        strbuf_puts(out, "</td></tr>");
    }
    strbuf_puts(out, "</tbody></table></div></details>");
}
