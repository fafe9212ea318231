/* What is going on, and what has just happened: in this broker, and in the cluster. */
#include "page/amounts.h"
#include "page/page_internal.h"

/* ---- In this broker ---- */

static void write_count(struct strbuf *out, int64_t n, const char *one, const char *many)
{
    if (n > 0)
        strbuf_printf(out, "<p>%s %s.</p>", amount_count(n).p, n == 1 ? one : many);
}

static void write_move(const struct status_move *m, struct strbuf *out)
{
    strbuf_puts(out, "<tr><th scope=\"row\">");
    html_text(out, m->topic);
    strbuf_puts(out, "-");
    html_text(out, m->partition);
    strbuf_printf(out, "</th><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td></tr>",
                  amount_count(m->done).p, amount_count(m->end).p,
                  amount_share(m->end > 0 ? (double)m->done / (double)m->end : 1).p);
}

static void write_compactions(const struct status *s, struct strbuf *out)
{
    if (s->compaction_count > 0)
        strbuf_puts(out, "<p>Being compacted: ");
    for (int i = 0; i < s->compaction_count; i++) {
        html_text(out, s->compactions[i].topic);
        strbuf_puts(out, "-");
        html_text(out, s->compactions[i].partition);
        strbuf_printf(out, " (%d %%)%s", (int)s->compactions[i].percent, i + 1 < s->compaction_count ? ", " : ".</p>");
    }
}

static struct amount time_left(const struct status_reassignment *r)
{
    bool known = r->rate > 0 && r->copied >= 0;
    return amount_time(known ? (int64_t)((double)(r->whole - r->copied) * 1000 / r->rate) : STATUS_UNKNOWN);
}

static void write_reassignments(const struct status *s, struct strbuf *out)
{
    const struct status_list *list = &s->reassignment_list;
    if (!s->cluster_known || list->total <= 0)
        return;
    strbuf_printf(out,
                  "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Reassignments\"><table>"
                  "<caption>Reassignments in the cluster, %s of them: done when all replicas are in sync</caption>"
                  "<thead><tr><th scope=\"col\">Partition</th><th scope=\"col\" class=\"n\">In sync</th>"
                  "<th scope=\"col\" class=\"n\">Replicas, old and new</th><th scope=\"col\" class=\"n\">Copied</th>"
                  "<th scope=\"col\" class=\"n\">Of</th><th scope=\"col\" class=\"n\">Rate</th>"
                  "<th scope=\"col\" class=\"n\">Left, about</th></tr></thead><tbody>",
                  amount_count(list->total).p);
    for (int32_t i = 0; i < list->shown; i++) {
        const struct status_reassignment *r = &s->reassignments[i];
        strbuf_puts(out, "<tr><th scope=\"row\">");
        html_text(out, r->topic);
        strbuf_printf(out, "-%d</th><td class=\"n\">%s</td><td class=\"n\">%s</td>", (int)r->partition,
                      amount_count(r->in_sync).p, amount_count(r->replicas).p);
        strbuf_printf(out, "<td class=\"n\">%s</td><td class=\"n\">%s</td>", amount_bytes((double)r->copied).p,
                      amount_bytes((double)r->whole).p);
        strbuf_printf(out, "<td class=\"n\">%s</td><td class=\"n\">%s</td></tr>", amount_rate(r->rate).p,
                      time_left(r).p);
    }
    strbuf_puts(out, "</tbody></table></div>");
}

/* ---- Transactions ---- */

static void write_transactions(const struct status *s, struct strbuf *out)
{
    if (!s->cluster_known || s->transaction_list.total == 0)
        return;
    strbuf_printf(out,
                  "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Transactions\"><table>"
                  "<caption>Transactions that have been open for more than a minute, %s of them: consumers that read "
                  "what is committed wait for them</caption><thead><tr><th scope=\"col\">Transactional id</th>"
                  "<th scope=\"col\">State</th><th scope=\"col\" class=\"n\">Open for</th>"
                  "<th scope=\"col\" class=\"n\">Partitions</th><th scope=\"col\" class=\"n\">Coordinator</th></tr>"
                  "</thead><tbody>",
                  amount_count(s->transaction_list.total).p);
    for (int32_t i = 0; i < s->transaction_list.shown; i++) {
        const struct status_transaction *t = &s->transactions[i];
        strbuf_puts(out, "<tr><th scope=\"row\">");
        html_text(out, t->id);
        strbuf_puts(out, "</th><td>");
        html_text(out, t->state);
        strbuf_printf(out, "</td><td class=\"n\">%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td></tr>",
                      amount_time(t->open_ms).p, amount_count(t->partitions).p, amount_count(t->coordinator).p);
    }
    strbuf_puts(out, "</tbody></table></div>");
}

/* ---- Elections ---- */

static void leader_cell(struct strbuf *out, int32_t leader)
{
    if (leader < 0)
        strbuf_puts(out, "<td class=\"n is-bad\">none</td>");
    else
        strbuf_printf(out, "<td class=\"n\">%d</td>", (int)leader);
}

static void write_elections(const struct status *s, struct strbuf *out)
{
    if (!s->cluster_known || s->election_count == 0)
        return;
    strbuf_puts(out,
                "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Elections\"><table>"
                "<caption>The last leaders that changed in the cluster</caption><thead><tr>"
                "<th scope=\"col\">When</th><th scope=\"col\">Partition</th>"
                "<th scope=\"col\" class=\"n\">Leader before</th><th scope=\"col\" class=\"n\">Since then</th></tr>"
                "</thead><tbody>");
    for (int i = 0; i < s->election_count; i++) {
        const struct status_election *e = &s->elections[i];
        strbuf_printf(out, "<tr><td title=\"%s\">%s</td><th scope=\"row\">", amount_date(e->ms).p,
                      amount_ago(s->now_ms, e->ms).p);
        html_text(out, e->topic);
        strbuf_printf(out, "-%d", (int)e->partition);
        if (e->partitions > 1)
            strbuf_printf(out, " and %s more", amount_count(e->partitions - 1).p);
        strbuf_puts(out, "</th>");
        leader_cell(out, e->from);
        leader_cell(out, e->to);
        strbuf_puts(out, "</tr>");
    }
    strbuf_puts(out, "</tbody></table></div>");
}

static bool is_at_work(const struct status *s)
{
    int64_t to_recover = 0;
    for (int i = 0; i < s->dir_count; i++)
        to_recover += MAX(s->dirs[i].to_recover, INT64_C(0));
    return s->reassigning + MAX(s->reassignment_list.total, 0) + s->late_transactions + s->uncleanable + s->move_count +
               s->compaction_count + s->transaction_list.total + to_recover >
           0;
}

void page_work(const struct status *s, struct strbuf *out)
{
    strbuf_puts(out, "<section aria-labelledby=\"work\"><h2 id=\"work\">Going on here</h2>");
    if (!is_at_work(s))
        strbuf_puts(out, "<p>No recovery, no reassignment, no move between directories, no compaction.</p>");
    for (int i = 0; i < s->dir_count; i++)
        write_count(out, s->dirs[i].to_recover, "log is to be recovered", "logs are to be recovered");
    write_count(out, s->reassigning, "partition that this broker leads is being reassigned",
                "partitions that this broker leads are being reassigned");
    write_count(out, s->late_transactions, "partition has a transaction that should have ended",
                "partitions have transactions that should have ended");
    write_count(out, s->uncleanable, "partition cannot be compacted", "partitions cannot be compacted");
    write_compactions(s, out);
    write_reassignments(s, out);
    if (s->move_count > 0) {
        strbuf_puts(out,
                    "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Moves\"><table>"
                    "<caption>Logs that move to another directory, by offsets</caption><thead><tr>"
                    "<th scope=\"col\">Partition</th><th scope=\"col\" class=\"n\">Moved up to</th>"
                    "<th scope=\"col\" class=\"n\">Ends at</th><th scope=\"col\" class=\"n\">Done</th></tr></thead>"
                    "<tbody>");
        for (int i = 0; i < s->move_count; i++)
            write_move(&s->moves[i], out);
        strbuf_puts(out, "</tbody></table></div>");
    }
    write_transactions(s, out);
    write_elections(s, out);
    strbuf_puts(out, "</section>");
}
