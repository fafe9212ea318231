/*
 * A question runs the loop until it is answered. Nodes of the bootstrap list have no ids: any question goes to the
 * first node that answers. It is the first for the next one, too, and who has not answered comes last, so that a
 * server which is gone or hangs costs its time once. Those of the cluster are learned from Metadata, when a certain
 * broker or the controller is to be asked for the first time, and the controller again when it is not there or not the
 * controller any more. What versions a node speaks is asked once, before its first question.
 */
#include "tools/kit/ask.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/variables.h"
#include "net/net.h"
#include "protocol/error.h"
#include "protocol/frame.h"
#include "tools/kit/bootstrap.h"
#include "tools/kit/client_security.h"
#include "tools/kit/tool.h"

enum { MOST_NODES = 1024, DEFAULT_TIMEOUT_MS = 30000, DEFAULT_PATIENCE_MS = 60000, RETRY_US = 100 * 1000 };
enum { DEFAULT_SETUP_MS = 10000, DEFAULT_SETUP_MAX_MS = 30000 };
enum { LEAST_SHARES = 3 }; /* of the time that there is, one for each of those who are asked next */

struct node {
    int32_t id; /* ASK_ANY: of the bootstrap list, not known yet */
    char *host;
    int port;
    struct client *client;
    bool versions_known;
    struct spoken spoken;
};

struct asker {
    struct loop *loop;
    struct client_route route;
    struct client_security security;
    struct arena memory;            /* of what it goes by */
    struct node *nodes[MOST_NODES]; /* in the order in which they are tried if anybody will do */
    int node_count;
    int32_t controller_id, timeout_ms, patience_ms;
    int64_t deadline_ms;                /* of all questions, on the monotonic clock */
    bool timeout_given, patience_given; /* by the command config */
    int32_t setup_ms, setup_max_ms;     /* to connect, at first and at most */
    struct str client_id;
    bool met; /* some node has told of the cluster */
    enum ask_outcome outcome;
    bool unsupported; /* the last question of ask() */
    int32_t open;     /* questions under way */
};

struct pending { /* a question under way */
    struct asker *asker;
    struct node *node;
    int16_t key, version;
    struct client_call call;
    struct strbuf answer;
    bool answered;
};

/* ---- Nodes ---- */

static struct client *ask_new_client(struct asker *a, const char *host, int port)
{
    struct client_options options = {
        .loop = a->loop, .route = &a->route, .setup_timeout_ms = a->setup_ms, .setup_timeout_max_ms = a->setup_max_ms};
    return client_new(&options, host, port);
}

static struct node *add_node(struct asker *a, int32_t id, struct str host, int port)
{
    if (a->node_count == MOST_NODES)
        return NULL;
    struct node *n = xcalloc(1, sizeof(*n));
    n->id = id;
    n->host = xstrndup(host.p, (size_t)host.len);
    n->port = port;
    n->client = ask_new_client(a, n->host, port);
    a->nodes[a->node_count++] = n;
    return n;
}

/* Those behind its place move up to it, or those before the new place back. */
static void place_node(struct asker *a, struct node *n, int to)
{
    int from = 0;
    while (a->nodes[from] != n)
        from++;
    ensure(from < a->node_count && to < a->node_count);
    if (from < to)
        memmove(&a->nodes[from], &a->nodes[from + 1], sizeof(struct node *) * (size_t)(to - from));
    else
        memmove(&a->nodes[to + 1], &a->nodes[to], sizeof(struct node *) * (size_t)(from - to));
    a->nodes[to] = n;
}

static const char *command_property(const void *properties, const char *name)
{
    return properties_get(properties, name);
}

static bool protect(struct asker *a, const struct properties *p, struct fail *fail)
{
    if (!client_security_read(command_property, p, &a->memory, &a->security, fail))
        return false;
    if (a->security.logs_in)
        a->route.login = &a->security.login;
    if (!a->security.encrypts)
        return true;
    struct tls_context *context = tls_context_new(&a->security.tls, TLS_CLIENT, fail);
    client_route_set_tls(&a->route, context);
    return context != NULL;
}

/* Kafka's clients refuse what is no int, or below 0. */
static bool read_ms(const struct properties *p, const char *key, int32_t *out, struct fail *fail)
{
    const char *text = properties_get(p, key);
    if (text == NULL)
        return true;
    if (!str_to_int32(str_trim(str_of(text)), out))
        return fail_set(fail, "Invalid value %s for configuration %s: Not a number of type INT", text, key);
    return *out >= 0 ||
           fail_set(fail, "Invalid value %" PRId32 " for configuration %s: Value must be at least 0", *out, key);
}

/* Of type LONG, and without a least value. */
static bool read_setup_ms(struct asker *a, const struct properties *p, const char *key, int32_t *out, struct fail *fail)
{
    const char *text = properties_get(p, key);
    int64_t ms = *out;
    if (text != NULL && !java_integer(text_trim(text, &a->memory), INT64_MIN, INT64_MAX, &ms))
        return fail_set(fail, "Invalid value %s for configuration %s: Not a number of type LONG", text, key);
    *out = (int32_t)MIN(MAX(ms, INT64_C(1)), (int64_t)INT32_MAX);
    return true;
}

static bool read_times(struct asker *a, const struct properties *p, struct fail *fail)
{
    if (!read_setup_ms(a, p, "socket.connection.setup.timeout.ms", &a->setup_ms, fail) ||
        !read_setup_ms(a, p, "socket.connection.setup.timeout.max.ms", &a->setup_max_ms, fail))
        return false;
    a->timeout_given = properties_get(p, "request.timeout.ms") != NULL;
    a->patience_given = properties_get(p, "default.api.timeout.ms") != NULL;
    if (!read_ms(p, "request.timeout.ms", &a->timeout_ms, fail) ||
        !read_ms(p, "default.api.timeout.ms", &a->patience_ms, fail))
        return false;
    if (a->patience_ms >= a->timeout_ms)
        return true;
    a->patience_ms = a->timeout_ms;
    return !a->patience_given ||
           fail_set(fail, "The specified value of default.api.timeout.ms must be no smaller than the value of "
                          "request.timeout.ms.");
}

static void read_client_id(struct asker *a, const struct properties *p)
{
    const char *id = properties_get(p, "client.id");
    if (id != NULL && *(id = text_trim(id, &a->memory)) != '\0')
        a->client_id = str_of(id);
}

/* Of the client properties, those that mean something here. */
static bool read_command_config(struct asker *a, const char *file, struct fail *fail)
{
    struct properties p;
    if (!properties_read(file, &a->memory, &p, fail))
        return false;
    if (!variables_replace_all(&p, &a->memory, fail) || !read_times(a, &p, fail) || !protect(a, &p, fail))
        return fail_wrap(fail, "%s", file);
    read_client_id(a, &p);
    return true;
}

static bool add_bootstrap(struct asker *a, const char *bootstrap, struct fail *fail)
{
    struct bootstrap_address *list;
    int count;
    if (!bootstrap_read(bootstrap, &a->memory, &list, &count, fail))
        return false;
    for (int i = 0; i < count; i++)
        add_node(a, ASK_ANY, str_of(list[i].host), list[i].port);
    return true;
}

struct asker *asker_new(const char *bootstrap, const char *command_config, struct fail *fail)
{
    struct asker *a = xcalloc(1, sizeof(*a));
    a->loop = loop_new("ask");
    client_route_init(&a->route, NULL, NULL);
    a->controller_id = ASK_ANY;
    a->timeout_ms = DEFAULT_TIMEOUT_MS;
    a->patience_ms = DEFAULT_PATIENCE_MS;
    a->deadline_ms = INT64_MAX;
    a->client_id = STR_LIT("adminclient-1"); /* as Java's first one in a process */
    a->setup_ms = DEFAULT_SETUP_MS;
    a->setup_max_ms = DEFAULT_SETUP_MAX_MS;
    if ((command_config == NULL || read_command_config(a, command_config, fail)) && add_bootstrap(a, bootstrap, fail))
        return a;
    asker_free(a);
    return NULL;
}

void asker_free(struct asker *a)
{
    if (a == NULL)
        return;
    for (int i = 0; i < a->node_count; i++) {
        client_free(a->nodes[i]->client);
        free(a->nodes[i]->host);
        free(a->nodes[i]);
    }
    while (loop_drain(a->loop))
        ; /* what a handshake has left */
    client_route_deinit(&a->route);
    sasl_login_deinit(&a->security.login);
    arena_deinit(&a->memory);
    loop_free(a->loop);
    free(a);
}

/* ---- One exchange, or several at once ---- */

static void ask_on_answer(struct client_call *call, struct bytes response)
{
    struct pending *p = CONTAINER_OF(call, struct pending, call);
    p->answered = response.p != NULL;
    if (p->answered)
        strbuf_add(&p->answer, response.p, (size_t)response.len);
    ensure(p->asker->open > 0);
    if (--p->asker->open == 0)
        loop_stop(p->asker->loop);
}

static void send_question(struct pending *p, const void *request)
{
    struct strbuf frame;
    ensure(p->node != NULL);
    request_frame(&frame, p->key, p->version, p->asker->client_id, request);
    int64_t left = MAX(p->asker->deadline_ms - clock_mono_ms(), INT64_C(1));
    int32_t timeout_ms = (int32_t)MIN((int64_t)p->asker->timeout_ms, left);
    p->call = (struct client_call){.done = ask_on_answer, .timeout_ms = timeout_ms};
    client_send(p->node->client, &frame, &p->call);
}

static bool read_answer(const struct pending *p, void *response, struct arena *arena, struct fail *fail)
{
    const char *refusal = client_refusal(p->node->client);
    if (!p->answered) {
        p->node->versions_known = false; /* nor whether it is there: the next who asks is to find out */
        place_node(p->asker, p->node, p->asker->node_count - 1);
    }
    if (!p->answered && refusal != NULL)
        return fail_set(fail, "%s", refusal);
    if (!p->answered)
        return fail_set(fail,
                        "Connection to node %" PRId32 " (%s:%d) could not be established. Node may not be available.",
                        p->node->id, p->node->host, p->node->port);
    struct bytes frame = {(const uint8_t *)p->answer.p, (int32_t)p->answer.len};
    if (response_frame_copy(frame, p->key, p->version, response, arena))
        return true;
    return fail_set(fail, "The broker's answer to %s cannot be read", api_spec(p->key)->name);
}

static enum ask_outcome exchange_or_not(struct asker *a, struct node *n, int16_t key, int16_t version,
                                        const void *request, void *response, struct arena *arena, struct fail *fail)
{
    struct pending p = {.asker = a, .node = n, .key = key, .version = version};
    ensure(a->open == 0);
    a->open = 1;
    send_question(&p, request);
    loop_run(a->loop);
    enum ask_outcome outcome = read_answer(&p, response, arena, fail)            ? ASK_ANSWERED
                               : p.answered || client_refusal(n->client) != NULL ? ASK_REFUSED
                               : p.call.unsent > 0                               ? ASK_UNSENT
                                                                                 : ASK_UNANSWERED;
    strbuf_deinit(&p.answer);
    return outcome;
}

static enum ask_outcome learn_versions(struct asker *a, struct node *n, struct api_versions_response *response,
                                       struct arena *arena, struct fail *fail)
{
    struct api_versions_request request;
    api_versions_request_init(&request);
    enum ask_outcome outcome = exchange_or_not(a, n, API_API_VERSIONS, 0, &request, response, arena, fail);
    if (outcome == ASK_ANSWERED) {
        spoken_take(&n->spoken, response);
        n->versions_known = true;
    }
    return outcome;
}

static enum ask_outcome know_versions(struct asker *a, struct node *n, struct fail *fail)
{
    struct arena arena = {0};
    struct api_versions_response response;
    enum ask_outcome outcome = n->versions_known ? ASK_ANSWERED : learn_versions(a, n, &response, &arena, fail);
    arena_deinit(&arena);
    return outcome;
}

static bool choose_version(struct asker *a, const struct node *n, int16_t key, int16_t min_version, int16_t *out,
                           struct fail *fail)
{
    *out = spoken_version(&n->spoken, key, min_version);
    a->unsupported = *out < 0;
    if (a->unsupported)
        return fail_set(fail, "The broker does not support %s", api_spec(key)->name);
    return true;
}

/* ---- Who to ask ---- */

static struct node *find_node(struct asker *a, int32_t id)
{
    if (id < 0) /* as the controller of a cluster that has none */
        return NULL;
    for (int i = 0; i < a->node_count; i++)
        if (a->nodes[i]->id == id)
            return a->nodes[i];
    return NULL;
}

/* It has come back elsewhere. */
static void move_node(struct asker *a, struct node *n, struct str host, int port)
{
    client_free(n->client);
    free(n->host);
    n->host = xstrndup(host.p, (size_t)host.len);
    n->port = port;
    n->versions_known = false;
    n->client = ask_new_client(a, n->host, port);
}

static void learn_brokers(struct asker *a, const struct metadata_response *m)
{
    a->controller_id = m->controller_id;
    a->met = true;
    for (int32_t i = 0; i < m->brokers.len; i++) {
        const struct metadata_response_broker *b = &m->brokers.items[i];
        struct node *n = find_node(a, b->node_id);
        if (n == NULL)
            add_node(a, b->node_id, b->host, b->port);
        else if (n->port != b->port || !str_is(b->host, n->host))
            move_node(a, n, b->host, b->port);
    }
}

/* Waits no longer for its answer than there is time, and leaves some for the others that are to be tried yet. */
static enum ask_outcome try_one(struct asker *a, struct node *n, int left, int64_t deadline, struct fail *fail)
{
    int32_t usual = a->timeout_ms;
    int64_t share = MAX(deadline - clock_mono_ms(), INT64_C(0)) / MIN(left, LEAST_SHARES);
    a->timeout_ms = (int32_t)MIN((int64_t)usual, MAX(share, INT64_C(1)));
    enum ask_outcome outcome = know_versions(a, n, fail);
    a->timeout_ms = usual;
    return outcome;
}

/*
 * The first that answers, of the bootstrap list and of those that were learned of since. Who does not wait for any
 * tries each of them in its own time.
 */
static enum ask_outcome try_all(struct asker *a, struct node **out, int64_t deadline, struct fail *fail)
{
    enum ask_outcome outcome = ASK_UNSENT;
    int count = a->node_count;
    for (int i = 0; i < count && (i == 0 || clock_mono_ms() < deadline); i++) {
        *out = a->nodes[0]; /* who has not answered is behind the others */
        enum ask_outcome this = try_one(a, *out, count - i, deadline, fail);
        if (this == ASK_ANSWERED)
            return this;
        place_node(a, *out, count - 1);
        outcome = this == ASK_REFUSED ? this : outcome;
    }
    return outcome;
}

/*
 * The first question waits for a cluster that is just being started. A refusal stays one: a password that is wrong will
 * not be right in a minute. Once the cluster was there, those who ask know for how long to try.
 */
static bool pick_any(struct asker *a, struct node **out, struct fail *fail)
{
    int64_t deadline = a->patience_ms > 0 ? MIN(clock_mono_ms() + a->patience_ms, a->deadline_ms) : INT64_MAX;
    bool told = false;
    for (;;) {
        enum ask_outcome outcome = try_all(a, out, deadline, fail);
        if (outcome == ASK_ANSWERED || outcome == ASK_REFUSED || a->met || a->patience_ms == 0 ||
            clock_mono_ms() >= deadline)
            return outcome == ASK_ANSWERED;
        if (!told && fail != NULL)
            fprintf(stderr, "WARN %s\n", fail->text);
        told = true;
        usleep(RETRY_US);
    }
}

static bool pick_node(struct asker *a, int32_t broker, struct node **out, struct fail *fail)
{
    struct arena arena = {0};
    struct metadata_response m;
    bool ok = true;
    metadata_response_init(&m);
    if (broker == ASK_ANY)
        return pick_any(a, out, fail);
    if (a->controller_id == ASK_ANY)
        ok = ask_metadata(a, NULL, 0, &m, &arena, fail);
    arena_deinit(&arena);
    if (!ok)
        return false;
    *out = find_node(a, broker == ASK_CONTROLLER ? a->controller_id : broker);
    if (*out == NULL && broker == ASK_CONTROLLER)
        return fail_set(fail, "The cluster has no controller now");
    if (*out == NULL)
        return fail_set(fail, "Broker %" PRId32 " is not there", broker);
    return know_versions(a, *out, fail) == ASK_ANSWERED;
}

/* ---- The controller, which may be another in the next moment ---- */

/* Whether it is the same if it is done twice, and the answer, too. */
static bool may_be_done_twice(int16_t key)
{
    return key == API_LIST_PARTITION_REASSIGNMENTS || key == API_DESCRIBE_USER_SCRAM_CREDENTIALS ||
           key == API_ALTER_CLIENT_QUOTAS;
}

/* Nothing else is in the answer. */
static bool says_not_controller(int16_t key, int16_t version, const void *response)
{
    struct writer w;
    writer_init(&w);
    message_write(api_spec(key)->response, &w, version, response);
    const struct error_counts *e = &w.errors;
    bool says =
        e->different == 1 && e->others[0].code == ERR_NOT_CONTROLLER && (e->none == 0 || may_be_done_twice(key));
    writer_deinit(&w);
    return says;
}

struct controller_question {
    int16_t key, min_version, version;
    const void *request;
    void *response;
    struct arena *arena;
};

/* Who could not be reached at all was waited for as the cluster was looked for. */
static bool try_controller(struct asker *a, struct controller_question *q, bool *again, struct fail *fail)
{
    struct node *n = NULL;
    if (!pick_node(a, ASK_CONTROLLER, &n, fail)) {
        *again = a->met && (n == NULL || client_refusal(n->client) == NULL);
        return false;
    }
    *again = false;
    if (!choose_version(a, n, q->key, q->min_version, &q->version, fail))
        return false;
    switch (exchange_or_not(a, n, q->key, q->version, q->request, q->response, q->arena, fail)) {
    case ASK_ANSWERED:
        *again = says_not_controller(q->key, q->version, q->response);
        return true;
    case ASK_UNSENT:
        *again = true;
        return false;
    case ASK_UNANSWERED:
        *again = may_be_done_twice(q->key);
        if (!*again)
            fail_set(fail, "Broker %" PRId32 " (%s:%d) has not answered %s; it may have been done.", n->id, n->host,
                     n->port, api_spec(q->key)->name);
        return false;
    case ASK_REFUSED:
        return false;
    }
    return false;
}

static bool ask_whoever_controls(struct asker *a, struct controller_question *q, struct fail *fail)
{
    int64_t deadline = clock_mono_ms() + a->patience_ms;
    for (;;) {
        bool again, ok = try_controller(a, q, &again, fail);
        if (!again || clock_mono_ms() >= deadline)
            return ok;
        a->controller_id = ASK_ANY;
        usleep(RETRY_US);
    }
}

/* A broker that is not there, or silent, may have come back elsewhere: the next question for one looks where they are.
 */
static bool ask_broker(struct asker *a, int32_t broker, struct controller_question *q, struct fail *fail)
{
    struct node *n = NULL;
    if (!pick_node(a, broker, &n, fail))
        a->outcome = a->met && (n == NULL || client_refusal(n->client) == NULL) ? ASK_UNSENT : ASK_REFUSED;
    else if (!choose_version(a, n, q->key, q->min_version, &q->version, fail))
        a->outcome = ASK_REFUSED;
    else
        a->outcome = exchange_or_not(a, n, q->key, q->version, q->request, q->response, q->arena, fail);
    if (a->outcome == ASK_UNSENT || a->outcome == ASK_UNANSWERED)
        a->controller_id = ASK_ANY;
    return a->outcome == ASK_ANSWERED;
}

bool ask(struct asker *a, int32_t broker, int16_t key, int16_t min_version, const void *request, void *response,
         int16_t *version, struct arena *arena, struct fail *fail)
{
    struct controller_question q = {
        .key = key, .min_version = min_version, .request = request, .response = response, .arena = arena};
    struct fail why = {.text = ""};
    a->unsupported = false;
    bool ok = broker == ASK_CONTROLLER ? ask_whoever_controls(a, &q, &why) : ask_broker(a, broker, &q, &why);
    if (ok && version != NULL)
        *version = q.version;
    return fail_unless(ok, &why, fail);
}

enum ask_outcome ask_outcome(const struct asker *a)
{
    return a->outcome;
}

bool ask_was_unsupported(const struct asker *a)
{
    return a->unsupported;
}

void ask_all(struct asker *a, int16_t key, struct question *questions, int32_t count, struct arena *arena)
{
    struct pending *all = ARENA_ARRAY(arena, struct pending, MAX(count, 1));
    int32_t ready = 0;
    for (int32_t i = 0; i < count; i++) {
        struct question *q = &questions[i];
        all[i] = (struct pending){.asker = a, .key = key};
        q->ok = pick_node(a, q->broker, &all[i].node, &q->fail) &&
                choose_version(a, all[i].node, key, 0, &all[i].version, &q->fail);
        ready += q->ok;
    }
    if (ready == 0)
        return;
    ensure(a->open == 0);
    a->open = ready;
    for (int32_t i = 0; i < count; i++)
        if (questions[i].ok)
            send_question(&all[i], questions[i].request);
    loop_run(a->loop);
    for (int32_t i = 0; i < count; i++) {
        if (questions[i].ok)
            questions[i].ok = read_answer(&all[i], questions[i].response, arena, &questions[i].fail);
        strbuf_deinit(&all[i].answer);
    }
}

void ask_limit(struct asker *a, int64_t ms)
{
    a->timeout_ms = (int32_t)MIN(a->timeout_ms, MAX(ms, 1));
    a->patience_ms = (int32_t)MIN(a->patience_ms, MAX(ms, 1));
}

void ask_at_once(struct asker *a)
{
    a->patience_ms = 0;
}

void ask_until(struct asker *a, int64_t deadline_ms)
{
    a->deadline_ms = deadline_ms;
}

void ask_by_default(struct asker *a, int32_t timeout_ms, int32_t patience_ms)
{
    if (!a->timeout_given)
        a->timeout_ms = a->patience_given ? MIN(timeout_ms, a->patience_ms) : timeout_ms;
    if (!a->patience_given)
        a->patience_ms = MAX(patience_ms, a->timeout_ms);
}

int32_t ask_timeout_ms(const struct asker *a)
{
    return a->timeout_ms;
}

int32_t ask_patience_ms(const struct asker *a)
{
    return a->patience_ms;
}

bool ask_speaks(struct asker *a, int32_t broker, int16_t key)
{
    struct node *n;
    return pick_node(a, broker, &n, NULL) && spoken_has(&n->spoken, key);
}

bool ask_api_versions(struct asker *a, int32_t broker, struct api_versions_response *out, struct arena *arena,
                      struct fail *fail)
{
    struct node *n;
    struct fail why = {.text = ""};
    return fail_unless(pick_node(a, broker, &n, &why) && learn_versions(a, n, out, arena, &why) == ASK_ANSWERED, &why,
                       fail);
}

struct str ask_error_text(int16_t code, struct str message)
{
    return message.len > 0 ? message : str_of(error_message(code));
}

bool ask_metadata(struct asker *a, const struct str *topics, int32_t count, struct metadata_response *out,
                  struct arena *arena, struct fail *fail)
{
    struct metadata_request request;
    metadata_request_init(&request);
    request.allow_auto_topic_creation = false;
    ARRAY_MAKE(arena, request.topics, count);
    for (int32_t i = 0; i < count; i++) {
        metadata_request_topic_init(&request.topics.items[i]);
        request.topics.items[i].name = topics[i];
    }
    if (!ask(a, ASK_ANY, API_METADATA, 1, &request, out, NULL, arena, fail))
        return false;
    learn_brokers(a, out);
    return true;
}
