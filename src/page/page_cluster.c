/* The sections that tell of the whole cluster: brokers, topics, groups. */
#include <inttypes.h>
#include <math.h>

#include "page/amounts.h"
#include "page/page_internal.h"

/* A count that is wrong unless it is 0. */
static void bad_cell(struct strbuf *out, int64_t n, const char *how)
{
    strbuf_printf(out, "<td class=\"n%s%s\">%s</td>", n > 0 ? " is-" : "", n > 0 ? how : "", amount_count(n).p);
}

static void number_cell(struct strbuf *out, struct amount a)
{
    strbuf_printf(out, "<td class=\"n\">%s</td>", a.p);
}

static void text_cell(struct strbuf *out, struct str text)
{
    strbuf_puts(out, "<td>");
    html_text(out, text.len > 0 ? text : STR_LIT("–"));
    strbuf_puts(out, "</td>");
}

/* ---- Brokers ---- */

static void write_broker_row(const struct status *s, const struct status_broker *b, struct strbuf *out)
{
    strbuf_printf(out, "<tr><th scope=\"row\" class=\"n\">%" PRId32 "</th>", b->id);
    if (b->alive) {
        strbuf_puts(out, "<td>");
        html_text(out, b->host);
        strbuf_printf(out, ":%" PRId32 "</td>", b->port);
    } else {
        strbuf_puts(out, "<td class=\"is-bad\">not there</td>");
    }
    strbuf_printf(out, "<td>%s%s%s</td>", b->controller ? "controller" : "",
                  b->controller && b->id == s->broker_id ? ", " : "", b->id == s->broker_id ? "this one" : "");
    text_cell(out, b->software);
    text_cell(out, b->protocol);
    text_cell(out, b->rack);
    number_cell(out, amount_count(b->leads));
    number_cell(out, amount_count(b->replicas));
    bad_cell(out, b->behind, "warn");
    number_cell(out, amount_bytes((double)b->bytes));
    strbuf_puts(out, "</tr>");
}

void page_cluster(const struct status *s, struct strbuf *out)
{
    if (!s->cluster_known)
        return;
    strbuf_puts(out, "<section aria-labelledby=\"cluster\"><h2 id=\"cluster\">Cluster</h2>"
                     "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Brokers\"><table><caption>");
    strbuf_printf(out, "%s of %s brokers, %s topics, %s partitions, %s groups; seen <span title=\"%s\">%s</span>",
                  amount_count(s->alive).p, amount_count(s->broker_count).p, amount_count(s->topic_list.total).p,
                  amount_count(s->partitions).p, amount_count(s->group_list.total).p, amount_date(s->looked_ms).p,
                  amount_ago(s->now_ms, s->looked_ms).p);
    strbuf_puts(out, "</caption><thead><tr><th scope=\"col\" class=\"n\">Broker</th><th scope=\"col\">Address</th>"
                     "<th scope=\"col\">Is</th><th scope=\"col\">Software</th><th scope=\"col\">Protocol</th>"
                     "<th scope=\"col\">Rack</th><th scope=\"col\" class=\"n\">Leads</th>"
                     "<th scope=\"col\" class=\"n\">Replicas</th><th scope=\"col\" class=\"n\">Not in sync</th>"
                     "<th scope=\"col\" class=\"n\">Size</th></tr></thead><tbody>");
    for (int32_t i = 0; i < s->broker_count; i++)
        write_broker_row(s, &s->brokers[i], out);
    strbuf_puts(out, "</tbody></table></div></section>");
}

/* ---- Topics ---- */

static void write_topic_row(const struct status_topic *t, struct strbuf *out)
{
    strbuf_puts(out, "<tr><th scope=\"row\">");
    html_text(out, t->name);
    strbuf_puts(out, "</th>");
    bad_cell(out, t->offline, "bad");
    bad_cell(out, t->under_min, "bad");
    bad_cell(out, t->under_replicated, "warn");
    number_cell(out, amount_count(t->partitions));
    number_cell(out, amount_count(t->replicas));
    number_cell(out, amount_count(t->min_isr));
    number_cell(out, amount_count(t->records));
    number_cell(out, amount_bytes((double)t->bytes));
    number_cell(out, amount_number(t->records_in));
    number_cell(out, amount_rate(t->bytes_in));
    number_cell(out, amount_rate(t->bytes_out));
    strbuf_puts(out, "</tr>");
}

/* A link to all of them, where there are more. */
static void write_more(struct strbuf *out, const struct status_list *list, const char *what)
{
    if (list->shown < list->total)
        strbuf_printf(out, "<p>%s more are not shown: <a href=\"/?%s=all\">all %s</a>.</p>",
                      amount_count(list->total - list->shown).p, what, amount_count(list->total).p);
}

void page_topics(const struct status *s, struct strbuf *out)
{
    if (!s->cluster_known)
        return;
    strbuf_puts(out, "<section aria-labelledby=\"topics\"><h2 id=\"topics\">Topics</h2>"
                     "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Topics\"><table>"
                     "<caption>What is wrong first, then by size. Rates are of the last minute, by way of this broker."
                     "</caption><thead><tr><th scope=\"col\">Topic</th>"
                     "<th scope=\"col\" class=\"n\">No leader</th><th scope=\"col\" class=\"n\">Under min ISR</th>"
                     "<th scope=\"col\" class=\"n\">Not in sync</th><th scope=\"col\" class=\"n\">Partitions</th>"
                     "<th scope=\"col\" class=\"n\">Replicas</th><th scope=\"col\" class=\"n\">Min ISR</th>"
                     "<th scope=\"col\" class=\"n\">Records</th><th scope=\"col\" class=\"n\">Size</th>"
                     "<th scope=\"col\" class=\"n\">Records/s in</th><th scope=\"col\" class=\"n\">In</th>"
                     "<th scope=\"col\" class=\"n\">Out</th></tr></thead><tbody>");
    for (int32_t i = 0; i < s->topic_list.shown; i++)
        write_topic_row(&s->topics[i], out);
    strbuf_puts(out, "</tbody></table></div>");
    write_more(out, &s->topic_list, "topics");
    strbuf_puts(out, "</section>");
}

/* ---- Groups ---- */

/* Whether it grows, and how fast. */
static void change_cell(struct strbuf *out, const struct status_group *g)
{
    if (isnan(g->lag_change))
        strbuf_puts(out, "<td class=\"n\">–</td>");
    else
        strbuf_printf(out, "<td class=\"n\">%s%s/s</td>",
                      g->lag_change > 0   ? "+"
                      : g->lag_change < 0 ? "−"
                                          : "",
                      amount_number(fabs(g->lag_change)).p);
}

static void write_group_row(const struct status_group *g, struct strbuf *out)
{
    strbuf_puts(out, "<tr><th scope=\"row\">");
    html_text(out, g->id);
    strbuf_puts(out, "</th>");
    number_cell(out, amount_count(g->lag));
    change_cell(out, g);
    number_cell(out, amount_time(g->waits_ms));
    text_cell(out, g->state);
    number_cell(out, amount_count(g->members));
    number_cell(out, amount_count(g->topics));
    number_cell(out, amount_count(g->coordinator));
    strbuf_puts(out, "</tr>");
}

void page_groups(const struct status *s, struct strbuf *out)
{
    if (!s->cluster_known || s->group_list.total == 0)
        return;
    strbuf_puts(out, "<section aria-labelledby=\"groups\"><h2 id=\"groups\">Groups</h2>"
                     "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Groups\"><table>"
                     "<caption>The greatest lag first: records that a group has not committed yet, and how long the "
                     "oldest of them has been there.</caption>"
                     "<thead><tr><th scope=\"col\">Group</th><th scope=\"col\" class=\"n\">Lag</th>"
                     "<th scope=\"col\" class=\"n\">Changes by</th>"
                     "<th scope=\"col\" class=\"n\">Oldest waits</th><th scope=\"col\">State</th>"
                     "<th scope=\"col\" class=\"n\">Members</th><th scope=\"col\" class=\"n\">Topics</th>"
                     "<th scope=\"col\" class=\"n\">Coordinator</th></tr></thead><tbody>");
    for (int32_t i = 0; i < s->group_list.shown; i++)
        write_group_row(&s->groups[i], out);
    strbuf_puts(out, "</tbody></table></div>");
    write_more(out, &s->group_list, "groups");
    strbuf_puts(out, "</section>");
}
