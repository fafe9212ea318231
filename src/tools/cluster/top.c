/*
 * barnabas-top: what a broker's page shows, in a terminal. It asks for /status.json, fills the screen as far as there
 * is room, and asks again. Names that clients chose may hold anything: nothing of them steers the terminal.
 */
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "page/amounts.h"
#include "security/http.h"
#include "tools/kit/java_trust.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"url", OPTION_VALUE, "String: url", "Where the broker is asked, by its key barnabas.http.listeners.",
     "http://localhost:9404"},
    {"user", OPTION_VALUE, "String: user:password", "Who asks, if barnabas.http.users wants to know.", NULL},
    {"interval", OPTION_VALUE, "Integer: seconds", "How long to wait before the broker is asked again.", "5"},
    {"once", OPTION_FLAG, NULL, "Print all once, as plain text.", NULL},
};

enum { LARGEST_STATUS = 1 << 28, NO_LIMIT = INT32_MAX };

struct top {
    struct options o;
    struct arena arena;
    struct keystore trust;
    const char *url, *user, *password;
    int64_t interval_s;
    bool live; /* on a terminal, again and again */
    int width, height;
    struct strbuf out;
    int line; /* of the screen, that is written next */
};

/* ---- Lines ---- */

/* Text with what steers terminals taken out: C0 and C1, and what changes the direction of letters. */
static void add_harmless(struct strbuf *out, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    while (*p != '\0') {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
        bool turns =
            p[0] == 0xe2 && ((p[1] == 0x80 && ((p[2] >= 0x8b && p[2] <= 0x8f) || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
                             (p[1] == 0x81 && p[2] >= 0xa0 && p[2] <= 0xaf));
        if (*p < ' ' || *p == 0x7f || c1 || turns)
            strbuf_puts(out, "?");
        else
            strbuf_add(out, p, 1);
        p += c1 ? 2 : turns ? 3 : 1;
    }
}

static int columns_of(const char *s)
{
    int n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* The first bytes of it, that take so many columns. */
static size_t bytes_of_columns(const char *s, int columns)
{
    size_t n = 0;
    while (s[n] != '\0' && (columns > 0 || ((unsigned char)s[n] & 0xc0) == 0x80)) {
        columns -= ((unsigned char)s[n] & 0xc0) != 0x80;
        n++;
    }
    return n;
}

enum colour { PLAIN, BOLD, QUIET, GOOD, WARN, BAD };

static bool top_has_room(const struct top *t, int lines)
{
    return t->line + lines <= t->height;
}

/* One line, cut off at the edge. */
static void say_line(struct top *t, enum colour colour, const char *text)
{
    static const char *const codes[] = {"", "\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[1;31m"};
    if (!top_has_room(t, 1))
        return;
    if (t->live)
        strbuf_puts(&t->out, codes[colour]);
    strbuf_add(&t->out, text, bytes_of_columns(text, t->width));
    strbuf_puts(&t->out, t->live ? "\033[0m\033[K\n" : "\n");
    t->line++;
}

/* ---- What was told ---- */

static const char *text_at(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s != NULL ? s : "–";
}

/* -1: it is not known. */
static double number_at(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    return json_is_number(v) ? json_number_value(v) : -1;
}

static struct amount count_at(const json_t *row, const char *key)
{
    return amount_count((int64_t)number_at(row, key));
}

static double newest(const json_t *broker, const char *series)
{
    const json_t *points = json_object_get(json_object_get(broker, "history"), series);
    size_t n = json_array_size(points);
    return n > 0 ? json_number_value(json_array_get(points, n - 1)) : -1;
}

/* ---- Tables ---- */

enum { MOST_CELLS = 9, LONGEST_NAME = 48 };

struct row {
    struct strbuf cells[MOST_CELLS];
    int count;
};

static void add_cell(struct row *r, const char *text)
{
    ensure(r->count < MOST_CELLS);
    strbuf_clear(&r->cells[r->count]);
    strbuf_puts(&r->cells[r->count], "");
    add_harmless(&r->cells[r->count++], text);
}

/* The first column to the left, in the width that is left for it; all others to the right. */
static void say_row(struct top *t, enum colour colour, const struct row *r, int name_width)
{
    struct strbuf text = {0};
    const char *name = r->cells[0].p;
    int columns = columns_of(name);
    strbuf_add(&text, name, bytes_of_columns(name, columns > name_width ? name_width - 1 : name_width));
    strbuf_printf(&text, "%s%*s", columns > name_width ? "…" : "", MAX(name_width - columns, 0), "");
    for (int i = 1; i < r->count; i++)
        strbuf_printf(&text, " %*s%s", MAX(11 - columns_of(r->cells[i].p), 0), "", r->cells[i].p);
    say_line(t, colour, text.p);
    strbuf_deinit(&text);
}

/* `fill` makes a row of each item. What has no room is counted. */
static void say_table(struct top *t, const json_t *items, const char *const *names,
                      enum colour (*fill)(const json_t *item, struct row *r), int most)
{
    struct row r = {0};
    size_t count = json_array_size(items);
    int rows = MIN(MIN((int)MIN(count, (size_t)NO_LIMIT), most), MAX(t->height - t->line - 2, 0));
    if (rows == 0)
        return;
    say_line(t, PLAIN, "");
    for (int i = 0; names[i] != NULL; i++)
        add_cell(&r, names[i]);
    int name_width = MAX(MIN(t->width - 12 * (r.count - 1), LONGEST_NAME), 12);
    say_row(t, BOLD, &r, name_width);
    for (int i = 0; i < rows; i++) {
        r.count = 0;
        enum colour colour = fill(json_array_get(items, (size_t)i), &r);
        say_row(t, colour, &r, name_width);
    }
    if ((size_t)rows < count) {
        char more[64];
        snprintf(more, sizeof(more), "%s more", amount_count((int64_t)count - rows).p);
        say_line(t, QUIET, more);
    }
    for (int i = 0; i < MOST_CELLS; i++)
        strbuf_deinit(&r.cells[i]);
}

static enum colour top_fill_broker(const json_t *b, struct row *r)
{
    bool alive = json_is_true(json_object_get(b, "alive"));
    char name[400];
    if (alive)
        snprintf(name, sizeof(name), "%" PRId64 " %s:%" PRId64 "%s", (int64_t)number_at(b, "id"), text_at(b, "host"),
                 (int64_t)number_at(b, "port"), json_is_true(json_object_get(b, "controller")) ? " controller" : "");
    else
        snprintf(name, sizeof(name), "%" PRId64 " is not there", (int64_t)number_at(b, "id"));
    add_cell(r, name);
    add_cell(r, text_at(b, "rack"));
    add_cell(r, count_at(b, "leads").p);
    add_cell(r, count_at(b, "replicas").p);
    add_cell(r, count_at(b, "behind").p);
    add_cell(r, amount_bytes(number_at(b, "bytes")).p);
    return !alive ? BAD : number_at(b, "behind") > 0 ? WARN : PLAIN;
}

static enum colour fill_topic(const json_t *topic, struct row *r)
{
    add_cell(r, text_at(topic, "name"));
    add_cell(r, count_at(topic, "offline").p);
    add_cell(r, count_at(topic, "underMinIsr").p);
    add_cell(r, count_at(topic, "underReplicated").p);
    add_cell(r, count_at(topic, "partitions").p);
    add_cell(r, amount_bytes(number_at(topic, "bytes")).p);
    add_cell(r, amount_rate(number_at(topic, "bytesInPerSec")).p);
    add_cell(r, amount_rate(number_at(topic, "bytesOutPerSec")).p);
    return number_at(topic, "offline") > 0 || number_at(topic, "underMinIsr") > 0 ? BAD
           : number_at(topic, "underReplicated") > 0                              ? WARN
                                                                                  : PLAIN;
}

static enum colour fill_group(const json_t *g, struct row *r)
{
    add_cell(r, text_at(g, "id"));
    add_cell(r, count_at(g, "lag").p);
    add_cell(r, amount_time((int64_t)number_at(g, "oldestUnreadMs")).p);
    add_cell(r, text_at(g, "state"));
    add_cell(r, count_at(g, "members").p);
    return PLAIN;
}

/* ---- The screen ---- */

static void say_head(struct top *t, const json_t *status)
{
    const json_t *cluster = json_object_get(status, "cluster"), *troubles = json_object_get(status, "troubles"), *item;
    struct strbuf text = {0};
    size_t i;
    strbuf_printf(&text, "Broker %" PRId64 " of cluster ", (int64_t)number_at(json_object_get(status, "broker"), "id"));
    add_harmless(&text, text_at(status, "clusterId"));
    strbuf_printf(&text, ", %s", amount_date((int64_t)number_at(status, "nowMs")).p);
    say_line(t, BOLD, text.p);
    json_array_foreach(troubles, i, item)
    {
        strbuf_clear(&text);
        add_harmless(&text, text_at(item, "text"));
        say_line(t, json_is_true(json_object_get(item, "bad")) ? BAD : WARN, text.p);
    }
    strbuf_clear(&text);
    strbuf_printf(&text, "All %s partitions have all their replicas in sync, on %s brokers.",
                  count_at(cluster, "partitions").p, count_at(cluster, "brokersAlive").p);
    if (json_array_size(troubles) == 0)
        say_line(t, GOOD, text.p);
    strbuf_deinit(&text);
}

static void say_figures(struct top *t, const json_t *b)
{
    char text[300];
    snprintf(text, sizeof(text), "In %s   Out %s   Records %s/s   Requests %s/s",
             amount_rate(newest(b, "bytesInPerSec")).p, amount_rate(newest(b, "bytesOutPerSec")).p,
             amount_number(newest(b, "recordsInPerSec")).p, amount_number(newest(b, "requestsPerSec")).p);
    say_line(t, PLAIN, "");
    say_line(t, PLAIN, text);
    snprintf(text, sizeof(text), "Produce p99 %s   Fetch p99 %s   Network idle %s   Workers idle %s   Memory %s",
             amount_ms(newest(b, "produceP99Ms")).p, amount_ms(newest(b, "fetchP99Ms")).p,
             amount_share(newest(b, "networkIdle")).p, amount_share(newest(b, "handlerIdle")).p,
             amount_bytes(newest(b, "residentBytes")).p);
    say_line(t, PLAIN, text);
}

static void say_work(struct top *t, const json_t *cluster, const json_t *broker)
{
    const json_t *work = json_object_get(broker, "work"), *item;
    struct strbuf text = {0};
    size_t i;
    if (number_at(cluster, "reassignmentCount") > 0) {
        strbuf_printf(&text, "%s partitions of the cluster are being reassigned",
                      count_at(cluster, "reassignmentCount").p);
        say_line(t, PLAIN, text.p);
    }
    json_array_foreach(json_object_get(broker, "directories"), i, item) if (number_at(item, "logsToRecover") > 0)
    {
        strbuf_clear(&text);
        strbuf_printf(&text, "%s logs are to be recovered in ", count_at(item, "logsToRecover").p);
        add_harmless(&text, text_at(item, "path"));
        say_line(t, PLAIN, text.p);
    }
    json_array_foreach(json_object_get(work, "moves"), i, item)
    {
        strbuf_clear(&text);
        add_harmless(&text, text_at(item, "topic"));
        strbuf_printf(&text, "-%s moves to another directory: %s of %s", text_at(item, "partition"),
                      count_at(item, "movedTo").p, count_at(item, "endOffset").p);
        say_line(t, PLAIN, text.p);
    }
    json_array_foreach(json_object_get(work, "compactions"), i, item)
    {
        strbuf_clear(&text);
        add_harmless(&text, text_at(item, "topic"));
        strbuf_printf(&text, "-%s is being compacted: %s %%", text_at(item, "partition"), count_at(item, "percent").p);
        say_line(t, PLAIN, text.p);
    }
    strbuf_deinit(&text);
}

static void say_log(struct top *t, const json_t *status)
{
    const json_t *lines = json_object_get(json_object_get(status, "broker"), "log"), *item;
    size_t i;
    if (json_array_size(lines) > 0 && top_has_room(t, 2))
        say_line(t, PLAIN, "");
    json_array_foreach(lines, i, item)
    {
        struct strbuf text = {0};
        strbuf_printf(&text, "%s %s ",
                      amount_ago((int64_t)number_at(status, "nowMs"), (int64_t)number_at(item, "ms")).p,
                      text_at(item, "level"));
        add_harmless(&text, text_at(item, "text"));
        say_line(t, strcmp(text_at(item, "level"), "WARN") == 0 ? WARN : BAD, text.p);
        strbuf_deinit(&text);
    }
}

static void top_say_status(struct top *t, const json_t *status)
{
    static const char *const brokers[] = {"Broker", "Rack", "Leads", "Replicas", "Not in sync", "Size", NULL};
    static const char *const topics[] = {"Topic", "No leader", "Under min", "Not in sync", "Partitions",
                                         "Size",  "In",        "Out",       NULL};
    static const char *const groups[] = {"Group", "Lag", "Oldest", "State", "Members", NULL};
    const json_t *cluster = json_object_get(status, "cluster"), *broker = json_object_get(status, "broker");
    int share = t->live ? MAX(t->height / 4, 3) : NO_LIMIT;
    say_head(t, status);
    say_figures(t, broker);
    say_work(t, cluster, broker);
    say_table(t, json_object_get(cluster, "brokers"), brokers, top_fill_broker, share);
    say_table(t, json_object_get(cluster, "topics"), topics, fill_topic, share);
    say_table(t, json_object_get(cluster, "groups"), groups, fill_group, share);
    say_log(t, status);
}

/* ---- Asking ---- */

static json_t *ask_status(struct top *t, struct fail *fail)
{
    struct arena a = {0};
    struct bytes answer;
    struct http_question question = {.url = t->url,
                                     .user = t->user,
                                     .password = t->password,
                                     .trust = t->trust.count > 0 ? &t->trust : NULL,
                                     .read_timeout_ms = 30000,
                                     .largest = LARGEST_STATUS};
    json_t *out = NULL;
    if (http_ask(&question, &a, &answer, fail)) {
        json_error_t error;
        out = json_loadb((const char *)answer.p, (size_t)answer.len, JSON_ALLOW_NUL, &error);
        if (!json_is_object(json_object_get(out, "broker"))) {
            fail_set(fail, "%s is no status of a broker", t->url);
            json_decref(out);
            out = NULL;
        }
    }
    arena_deinit(&a);
    return out;
}

static void top_take_size(struct top *t)
{
    struct winsize size = {0};
    t->width = t->height = NO_LIMIT;
    if (!t->live)
        return;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 1;
    t->width = known ? size.ws_col : 80;
    t->height = known ? size.ws_row - 1 : 23;
}

/* False: it cannot be had. What is wrong is told in place of it where it will be asked again. */
static bool top_show(struct top *t, struct fail *fail)
{
    json_t *status = ask_status(t, fail);
    top_take_size(t);
    strbuf_clear(&t->out);
    t->line = 0;
    if (t->live)
        strbuf_puts(&t->out, "\033[H");
    if (status != NULL)
        top_say_status(t, status);
    else if (t->live)
        say_line(t, BAD, fail->text);
    if (t->live)
        strbuf_puts(&t->out, "\033[J");
    fwrite(t->out.p != NULL ? t->out.p : "", 1, t->out.len, stdout);
    fflush(stdout);
    json_decref(status);
    return status != NULL;
}

static void top_on_resize(int signal UNUSED)
{
}

/* Until the time is over, or the window changes its size. */
static void top_pause(int64_t seconds)
{
    struct timespec time = {seconds, 0};
    nanosleep(&time, NULL);
}

static bool top_run(struct top *t, struct fail *fail)
{
    if (!t->live)
        return top_show(t, fail);
    struct sigaction resize = {.sa_handler = top_on_resize};
    sigaction(SIGWINCH, &resize, NULL);
    fputs("\033[2J", stdout);
    do {
        (void)top_show(t, fail);
        top_pause(t->interval_s);
    } while (!ferror(stdout));
    return true;
}

static bool top_read_arguments(struct top *t, struct fail *fail)
{
    const char *url = options_get(&t->o, "url"), *user = options_get(&t->o, "user");
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    t->url = arena_printf(&t->arena, "%.*s/status.json", (int)len, url).p;
    user = user != NULL ? user : getenv("BARNABAS_USER");
    const char *colon = user != NULL ? strchr(user, ':') : NULL;
    if (user != NULL && colon == NULL)
        return fail_set(fail, "--user has to be USER:PASSWORD");
    if (user != NULL) {
        t->user = arena_cstr(&t->arena, (struct str){user, (int32_t)(colon - user)});
        t->password = colon + 1;
    }
    t->live = isatty(STDOUT_FILENO) && !options_has(&t->o, "once");
    return java_trust_load(t->url, &t->arena, &t->trust, fail);
}

int tool_top(int argc, char **argv)
{
    struct top t = {.interval_s = 5};
    struct fail fail = {.text = ""};
    int code =
        OPTIONS_PARSE_BY(OPTIONS_ARGPARSE, &t.o, specs, argc, argv, "Shows how a cluster and one of its brokers are.");
    if (code < 0 && !options_number(&t.o, "interval", 1, 3600, &t.interval_s))
        code = 1;
    if (code < 0) {
        code = top_read_arguments(&t, &fail) && top_run(&t, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    strbuf_deinit(&t.out);
    keystore_deinit(&t.trust);
    arena_deinit(&t.arena);
    options_free(&t.o);
    return code;
}
