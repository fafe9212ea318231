#include "exporter/exporter.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/logger.h"
#include "config/java_options.h"
#include "exporter/exporter_internal.h"
#include "exporter/port_tls.h"
#include "monitor/cruise_control.h"
#include "page/page.h"

enum { MOST_PORTS = 16 };

/* What a port has by default. */
struct exporter_port {
    struct dialect *dialect;
    bool everywhere;  /* at any path, as the agent of jmx_exporter before version 1 has it */
    const char *said; /* where it was asked for */
};

struct exporter {
    const struct broker_config *config;
    struct metrics *metrics;
    struct arena memory;
    struct exporter_port ports[MOST_PORTS];
    struct http_listener listeners[MOST_PORTS];
    int count;
    struct dialect *named[MOST_PORTS]; /* as in dialect_list() */
    struct dialect *reporter;          /* a port's, of which it is said what it tells; NULL: there is none */
    struct port_tls *tls;              /* NULL: bytes go as they are */
    struct config_list users;          /* none: whoever comes */
    struct http_server *server;
    struct page *page;
    _Atomic(struct monitor *) monitor; /* NULL: the broker is not that far yet */
};

/* ---- Answers ---- */

static bool say_piece(void *answer, const char *p, size_t len)
{
    return http_say(answer, p, len);
}

/* ?name[]=FAMILY, as jmx_exporter knows it: these alone. */
static void name_families(struct exposition *x, struct str query)
{
    struct arena a = {0};
    struct str name, value;
    while (http_query_next(&query, &a, &name, &value))
        if (str_is(name, "name[]"))
            exposition_name(x, value);
    arena_deinit(&a);
}

static bool has_parameter(struct str query, const char *wanted, const char *is)
{
    struct arena a = {0};
    struct str name, value;
    bool found = false;
    while (!found && http_query_next(&query, &a, &name, &value))
        found = str_is(name, wanted) && str_is(value, is);
    arena_deinit(&a);
    return found;
}

/* NULL: it is not needed, or cannot be had. */
static struct look *look_for(struct exporter *e, const struct dialect *d)
{
    struct monitor *monitor = atomic_load(&e->monitor);
    enum look_scope scope;
    return monitor != NULL && dialect_looks(d, &scope) ? monitor_look(monitor, scope) : NULL;
}

/* For those who understand it; names of others have to stay as they are. */
static enum exposition_format format_for(const struct dialect *d, const struct http_request *request)
{
    static const char type[] = "application/openmetrics-text";
    struct str accept = request->accept;
    bool asked = accept.p != NULL && memmem(accept.p, (size_t)accept.len, type, sizeof(type) - 1) != NULL;
    return asked && dialect_is_own(d) ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS;
}

static void answer_metrics(struct exporter *e, struct dialect *d, const struct http_request *request,
                           struct http_answer *answer)
{
    struct look *look = look_for(e, d);
    if (look == NULL && dialect_needs_look(d)) {
        http_say_text(answer, 503, "The brokers of the cluster have not answered yet.");
        return;
    }
    enum exposition_format format = format_for(d, request);
    struct exposition *x = exposition_new();
    name_families(x, request->query);
    dialect_gather(d,
                   &(struct dialect_matter){.metrics = e->metrics,
                                            .look = look,
                                            .listener = e->config->inter_broker_listener_name,
                                            .partitions = has_parameter(request->query, "partitions", "1")},
                   x);
    look_unref(look);
    http_status(answer, 200, exposition_content_type(format));
    exposition_write(x, format, say_piece, answer);
    exposition_free(x);
}

/* So that a rolling restart may ask before it goes on to the next. */
static void answer_may_stop(struct exporter *e, struct http_answer *answer)
{
    struct monitor *monitor = atomic_load(&e->monitor);
    struct strbuf why = {0};
    struct fail fail;
    if (!health_takes_part(e->metrics, &fail)) /* without ZooKeeper nobody would take over what it leads */
        http_say_text(answer, 409, "%s", fail.text);
    else if (monitor == NULL)
        http_say_text(answer, 409, "The broker does not run yet.");
    else if (monitor_may_stop(monitor, &why))
        http_say_text(answer, 200, "ok");
    else {
        http_status(answer, 409, "text/plain; charset=utf-8");
        http_say(answer, why.p, why.len);
    }
    strbuf_deinit(&why);
}

/* NULL: the path names none that is known. */
static struct dialect *dialect_at(struct exporter *e, const struct exporter_port *port, struct str path)
{
    static const char start[] = "/metrics";
    const int32_t len = sizeof(start) - 1;
    if (path.len < len || memcmp(path.p, start, (size_t)len) != 0)
        return port->everywhere ? port->dialect : NULL;
    if (path.len == len || (path.len == len + 1 && path.p[len] == '/'))
        return port->dialect;
    for (int i = 0; path.p[len] == '/' && dialect_list()[i] != NULL; i++)
        if (str_is((struct str){path.p + len + 1, path.len - len - 1}, dialect_list()[i]))
            return e->named[i];
    return NULL;
}

static bool is_below(struct str path, const char *start)
{
    size_t len = strlen(start);
    return (size_t)path.len >= len && memcmp(path.p, start, len) == 0 &&
           ((size_t)path.len == len || path.p[len] == '/');
}

/* Compared with all there are, in the same time whoever it is. */
static bool is_listed_user(const struct config_list *users, struct bytes given)
{
    bool found = false;
    for (int i = 0; i < users->count; i++) {
        size_t size = strlen(users->items[i]);
        found |= size == (size_t)given.len && CRYPTO_memcmp(given.p, users->items[i], size) == 0;
    }
    return found;
}

/* USER:PASSWORD in base64 (RFC 7617). */
static bool is_user(const struct exporter *e, const struct http_request *request)
{
    static const char scheme[] = "Basic ";
    const int32_t len = sizeof(scheme) - 1;
    struct str given = request->authorization;
    struct arena a = {0};
    struct bytes plain;
    if (e->users.count == 0)
        return true;
    bool found = given.len > len && strncasecmp(given.p, scheme, (size_t)len) == 0 &&
                 base64_decode((struct str){given.p + len, given.len - len}, &a, &plain) &&
                 is_listed_user(&e->users, plain);
    arena_deinit(&a);
    return found;
}

static void refuse_post(struct http_answer *answer)
{
    static const char why[] = "Only /jolokia can be posted to.\n";
    http_status(answer, 405, "text/plain; charset=utf-8");
    http_header(answer, "Allow", "GET, HEAD"); /* RFC 9110, 15.5.6 */
    http_say(answer, why, sizeof(why) - 1);
}

/* It tells more than figures: names of clients and groups, addresses, lines of the log. */
static bool may_see_page(const struct exporter *e, const struct http_answer *answer)
{
    return e->config->barnabas_http_page_open || (e->users.count > 0 && e->tls != NULL) || http_is_from_here(answer);
}

static void answer_page(struct exporter *e, const struct http_request *request, struct http_answer *answer)
{
    if (may_see_page(e, answer))
        page_answer(e->page, atomic_load(&e->monitor), request, answer);
    else
        http_say_text(answer, 403,
                      "The page is for who comes from the broker's own machine, unless barnabas.http.users and "
                      "barnabas.http.ssl.enable are set, or barnabas.http.page.open=true.");
}

static void exporter_answer(void *ctx, const struct http_listener *at, const struct http_request *request,
                            struct http_answer *answer)
{
    struct exporter *e = ctx;
    const struct exporter_port *port = at->what;
    struct str path = request->path;
    struct dialect *d;
    if (health_answers(path)) {
        health_answer(e->metrics, path, answer);
    } else if (!is_user(e, request)) {
        http_status(answer, 401, "text/plain; charset=utf-8");
        http_header(answer, "WWW-Authenticate", "Basic realm=\"barnabas\"");
    } else if (is_below(path, "/jolokia")) {
        jolokia_answer(e->metrics, (struct str){path.p + 8, path.len - 8}, request, answer);
    } else if (str_is(path, "/v1/safe-to-stop")) {
        answer_may_stop(e, answer);
    } else if (request->method == HTTP_POST) {
        refuse_post(answer);
    } else if ((d = dialect_at(e, port, path)) != NULL) {
        answer_metrics(e, d, request, answer);
    } else if (page_is_at(path)) {
        answer_page(e, request, answer);
    } else {
        http_say_text(answer, 404,
                      "Here are a page at /, and /status.json, /metrics, /jolokia, /livez, /readyz, /v1/ready, "
                      "/v1/broker-state and /v1/safe-to-stop.");
    }
}

/* What is refused is short, too: who may not ask has no place among those who ask for much. */
static bool exporter_is_quick(void *ctx, const struct http_listener *at, const struct http_request *request)
{
    struct exporter *e = ctx;
    struct str path = request->path;
    return health_answers(path) || !is_user(e, request) ||
           (!is_below(path, "/jolokia") && !str_is(path, "/v1/safe-to-stop") && !page_is_at(path) &&
            dialect_at(e, at->what, path) == NULL);
}

/* ---- What is asked for ---- */

static bool add_port(struct exporter *e, const char *said, const char *host, const char *port, struct fail *fail)
{
    char *end;
    long number = strtol(port, &end, 10);
    if (*port == '\0' || *end != '\0' || number < 0 || number > UINT16_MAX)
        return fail_set(fail, "%s: %s is no port", said, port);
    if (e->count == MOST_PORTS)
        return fail_set(fail, "%s: there are more than %d ports", said, MOST_PORTS);
    size_t len = strlen(host);
    bool brackets = len > 1 && host[0] == '[' && host[len - 1] == ']';
    struct str name = brackets ? (struct str){host + 1, (int32_t)len - 2} : str_of(host);
    struct exporter_port *p = &e->ports[e->count];
    *p = (struct exporter_port){.said = said};
    e->listeners[e->count++] =
        (struct http_listener){.host = arena_cstr(&e->memory, name), .port = (int)number, .what = p};
    return true;
}

/* HOST:PORT, of which the host may be missing, with the colon or without. */
static bool add_address(struct exporter *e, const char *said, const char *address, struct fail *fail)
{
    const char *colon = strrchr(address, ':');
    const char *host = colon != NULL ? arena_cstr(&e->memory, (struct str){address, (int32_t)(colon - address)}) : "";
    return add_port(e, said, host, colon != NULL ? colon + 1 : address, fail);
}

/* NAME://HOST:PORT */
static bool add_listener(struct exporter *e, const char *entry, struct fail *fail)
{
    static const char key[] = "barnabas.http.listeners";
    const char *mark = strstr(entry, "://");
    char name[32] = "";
    if (mark != NULL && (size_t)(mark - entry) < sizeof(name))
        memcpy(name, entry, (size_t)(mark - entry));
    struct dialect *d = mark != NULL ? dialect_new(name) : NULL;
    if (d == NULL)
        return fail_set(
            fail,
            "Invalid value %s for configuration %s: METRICS, NATIVE, STRIMZI, KAFKA, CONFLUENT, REPORTER, BITNAMI, RAW, "
            "EXPORTER or KMINION://HOST:PORT",
            entry, key);
    if (!add_address(e, key, mark + 3, fail)) {
        dialect_free(d);
        return false;
    }
    e->ports[e->count - 1].dialect = d;
    return true;
}

/* jmx_prometheus_javaagent-1.0.1.jar: from that version on counters end in _total, and metrics are at one path. */
static bool is_old_agent(const char *name)
{
    const char *p = name;
    while (*p != '\0' && !(p[0] == '-' && isdigit((unsigned char)p[1])))
        p++;
    return *p == '\0' || atoi(p + 1) < 1;
}

/*
 * An agent of Java would: what it is told to protect is not to be open to whoever comes, only because nobody has seen
 * that the keys are others here. `login` and `tls` are what asks for it; NULL: nothing does.
 */
static bool protects_as_asked(const struct exporter *e, const char *login, const char *tls, struct fail *fail)
{
    const char *users = e->config->barnabas_http_users;
    if (login != NULL && (users == NULL || *users == '\0'))
        return fail_set(fail, "%s has no effect here; set barnabas.http.users instead", login);
    if (tls != NULL && !e->config->barnabas_http_ssl_enable)
        return fail_set(fail, "%s has no effect here; set barnabas.http.ssl.enable instead", tls);
    return true;
}

/* [HOST:]PORT:FILE */
static bool add_jmx_exporter(struct exporter *e, const char *name, const char *arguments, struct fail *fail)
{
    const char *said = "-javaagent of jmx_exporter in KAFKA_OPTS", *file = strchr(arguments, ':');
    while (file != NULL && file[1] != '/' && strchr(file + 1, ':') != NULL)
        file = strchr(file + 1, ':');
    if (file == NULL)
        return fail_set(fail, "%s: %s is not [HOST:]PORT:FILE", said, arguments);
    const char *address = arena_cstr(&e->memory, (struct str){arguments, (int32_t)(file - arguments)});
    bool old = is_old_agent(name);
    struct dialect *d = dialect_of_file(file + 1, !old, fail);
    if (d == NULL)
        return fail_wrap(fail, "%s", said);
    struct rules_protection asked = dialect_protection(d);
    bool ok = protects_as_asked(e, asked.login ? "httpServer.authentication" : NULL,
                                asked.tls ? "httpServer.ssl" : NULL, fail) ||
              fail_wrap(fail, "%s: %s", said, file + 1);
    if (!ok || !add_address(e, said, address, fail)) {
        dialect_free(d);
        return false;
    }
    e->ports[e->count - 1].dialect = d;
    e->ports[e->count - 1].everywhere = old;
    return true;
}

static const char *exporter_first_of(const char *earlier, const char *key, const char *pair)
{
    size_t len = strlen(key);
    return earlier == NULL && strncmp(pair, key, len) == 0 && pair[len] == '=' ? key : earlier;
}

/* KEY=VALUE,...: of which host and port count, and what would protect them. */
static bool add_jolokia(struct exporter *e, const char *arguments, struct fail *fail)
{
    static const char said[] = "-javaagent of Jolokia in KAFKA_OPTS";
    const char *host = "localhost", *port = "8778", *login = NULL, *tls = NULL;
    char *save = NULL, *copy = arena_cstr(&e->memory, str_of(arguments));
    for (char *pair = strtok_r(copy, ",", &save); pair != NULL; pair = strtok_r(NULL, ",", &save)) {
        if (strncmp(pair, "host=", 5) == 0)
            host = pair + 5;
        else if (strncmp(pair, "port=", 5) == 0)
            port = pair + 5;
        login = exporter_first_of(login, "user", pair);
        login = exporter_first_of(login, "authMode", pair);
        login = exporter_first_of(login, "policyLocation", pair);
        if (strcmp(pair, "protocol=https") == 0)
            tls = "protocol=https";
    }
    bool all = strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0;
    if (!protects_as_asked(e, login, tls, fail))
        return fail_wrap(fail, "%s", said);
    if (!add_port(e, said, all ? "" : host, port, fail))
        return false;
    e->ports[e->count - 1].dialect = dialect_new(dialect_list()[0]);
    return true;
}

static bool add_agents(struct exporter *e, struct fail *fail)
{
    const char *path, *arguments;
    for (size_t at = 0; java_agent_next(&at, &e->memory, &path, &arguments);) {
        const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
        bool ok = true;
        if (strncmp(name, "jmx_prometheus_javaagent", 24) == 0)
            ok = add_jmx_exporter(e, name, arguments, fail);
        else if (strncmp(name, "jolokia", 7) == 0)
            ok = add_jolokia(e, arguments, fail);
        else
            log_warn("-javaagent:%s in KAFKA_OPTS has no effect: this broker runs no Java", path);
        if (!ok)
            return false;
    }
    if (getenv("JMX_PORT") != NULL)
        log_warn("JMX_PORT has no effect: this broker has no JMX, but /metrics and /jolokia over HTTP "
                 "(barnabas.http.listeners)");
    return true;
}

/*
 * Strimzi's metrics reporter: one class for Kafka's metrics, which opens the port, and one for Yammer's, each with
 * another name at first. Here one port has both, whichever are named.
 */
static bool is_reporter(const char *name, bool *opens_port)
{
    static const char *const openers[] = {"io.strimzi.kafka.metrics.KafkaPrometheusMetricsReporter",
                                          "io.strimzi.kafka.metrics.prometheus.ServerKafkaMetricsReporter",
                                          "io.strimzi.kafka.metrics.prometheus.ClientMetricsReporter"};
    static const char *const others[] = {"io.strimzi.kafka.metrics.YammerPrometheusMetricsReporter",
                                         "io.strimzi.kafka.metrics.prometheus.ServerYammerMetricsReporter"};
    for (size_t i = 0; i < ARRAY_LEN(openers); i++)
        if (strcmp(name, openers[i]) == 0)
            return *opens_port = true;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

/* Whether one is named that opens its port; of what is named and is none, a warning. */
static bool find_reporter(const struct broker_config *config)
{
    const struct {
        const char *key;
        const struct config_list *names;
    } lists[] = {{"metric.reporters", &config->metric_reporters},
                 {"kafka.metrics.reporters", &config->kafka_metrics_reporters}};
    bool found = false;
    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        for (int i = 0; i < lists[k].names->count; i++)
            if (!is_reporter(lists[k].names->items[i], &found) &&
                (k > 0 || strcmp(lists[k].names->items[i], CRUISE_CONTROL_REPORTER) != 0))
                log_warn("%s=%s has no effect: this broker runs no Java, but tells its metrics over HTTP "
                         "(barnabas.http.listeners)",
                         lists[k].key, lists[k].names->items[i]);
    return found;
}

static struct name_filter *reporter_filter(const struct broker_config *config, struct fail *fail)
{
    const struct config_list *list = &config->prometheus_metrics_reporter_allowlist;
    struct name_filter *f = name_filter_new(list->items, list->count, fail);
    if (f == NULL)
        fail_wrap(fail, "prometheus.metrics.reporter.allowlist");
    return f;
}

/* http://HOST:PORT */
static bool add_reporter(struct exporter *e, struct fail *fail)
{
    static const char key[] = "prometheus.metrics.reporter.listener", start[] = "http://";
    const size_t len = sizeof(start) - 1;
    const char *listener = e->config->prometheus_metrics_reporter_listener;
    if (!find_reporter(e->config) || !e->config->prometheus_metrics_reporter_listener_enable)
        return true;
    if (strncmp(listener, start, len) != 0 || strchr(listener + len, ':') == NULL)
        return fail_set(fail, "Invalid value %s for configuration %s: it is http://HOST:PORT", listener, key);
    struct name_filter *f = reporter_filter(e->config, fail);
    if (f == NULL || !add_address(e, key, listener + len, fail)) {
        name_filter_free(f);
        return false;
    }
    e->reporter = e->ports[e->count - 1].dialect = dialect_new("reporter");
    dialect_filter(e->reporter, f);
    return true;
}

static bool make_tls(struct exporter *e, struct fail *fail)
{
    if (!e->config->barnabas_http_ssl_enable)
        return true;
    e->tls = port_tls_new(e->config, fail);
    for (int i = 0; e->tls != NULL && i < e->count; i++)
        e->listeners[i].tls = port_tls_context(e->tls);
    return e->tls != NULL;
}

static bool take_users(struct exporter *e, struct fail *fail)
{
    const char *text = e->config->barnabas_http_users;
    if (text == NULL || *text == '\0')
        return true;
    e->users = text_split(text, true, &e->memory);
    for (int i = 0; i < e->users.count; i++)
        if (strchr(e->users.items[i], ':') == NULL)
            return fail_set(fail, "Invalid value [hidden] for configuration barnabas.http.users: entry %d has no colon",
                            i + 1);
    return true;
}

static bool read_settings(struct exporter *e, struct fail *fail)
{
    const struct config_list *list = &e->config->barnabas_http_listeners;
    for (int i = 0; i < list->count; i++)
        if (!add_listener(e, list->items[i], fail))
            return false;
    return add_agents(e, fail) && add_reporter(e, fail) && make_tls(e, fail) && take_users(e, fail);
}

/* ---- Life ---- */

static void exporter_free(struct exporter *e)
{
    for (int i = 0; i < e->count; i++)
        dialect_free(e->ports[i].dialect);
    for (int i = 0; i < MOST_PORTS; i++)
        dialect_free(e->named[i]);
    page_free(e->page);
    port_tls_free(e->tls);
    arena_deinit(&e->memory);
    free(e);
}

static bool open_ports(struct exporter *e, struct fail *fail)
{
    for (int i = 0; dialect_list()[i] != NULL; i++)
        e->named[i] = dialect_new(dialect_list()[i]);
    e->page = page_new(e->config, e->metrics);
    if (e->tls != NULL)
        port_tls_count(e->tls, e->metrics);
    e->server = http_server_new(e->listeners, e->count, exporter_answer, exporter_is_quick, e, fail);
    for (int i = 0; e->server != NULL && i < e->count; i++)
        log_info("Awaiting those who look at this broker on %s:%d (%s)",
                 *e->listeners[i].host != '\0' ? e->listeners[i].host : "0.0.0.0", http_server_port(e->server, i),
                 e->ports[i].said);
    return e->server != NULL;
}

bool exporter_start(const struct broker_config *config, struct metrics *metrics, struct exporter **out,
                    struct fail *fail)
{
    struct exporter *e = xcalloc(1, sizeof(*e));
    e->config = config;
    e->metrics = metrics;
    *out = NULL;
    bool ok = read_settings(e, fail) && (e->count == 0 || open_ports(e, fail));
    if (!ok || e->count == 0) {
        exporter_free(e);
        return ok;
    }
    *out = e;
    return true;
}

void exporter_follow(struct exporter *e, const struct broker_config *now)
{
    struct fail fail;
    if (e == NULL || e->reporter == NULL)
        return;
    struct name_filter *f = reporter_filter(now, &fail);
    if (f != NULL)
        dialect_filter(e->reporter, f);
    else
        log_warn("%s; what is told stays as it was", fail.text);
}

void exporter_renew(struct exporter *e, const struct broker_config *now)
{
    if (e != NULL && e->tls != NULL && port_tls_renew(e->tls, now))
        http_server_set_tls(e->server, port_tls_context(e->tls));
}

bool exporter_check(const struct broker_config *config, struct fail *fail)
{
    struct exporter *e = xcalloc(1, sizeof(*e));
    e->config = config;
    bool ok = read_settings(e, fail);
    exporter_free(e);
    return ok;
}

void exporter_set_monitor(struct exporter *e, struct monitor *monitor)
{
    atomic_store(&e->monitor, monitor);
}

void exporter_stop(struct exporter *e)
{
    if (e == NULL)
        return;
    http_server_free(e->server);
    exporter_free(e);
}
