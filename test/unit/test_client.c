/* How the asking side finds its peer: several addresses, names that take their time, peers that do not answer. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/workers.h"
#include "metrics/bean_ask.h"
#include "net/net_internal.h"
#include "security/sasl.h"

/* ---- A clock of our own, likewise: it goes on by what is added ---- */

static _Atomic int64_t skipped_ms;

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, out);
    out->tv_sec += (time_t)(skipped_ms / 1000);
    return rc;
}

/* ---- A name service of our own, in the place of libc's ---- */

static struct {
    const char *addresses[4]; /* that every name has, in this order */
    sem_t *hold;              /* it does not answer before this is posted */
    int asked;                /* for names */
} names;

static struct addrinfo *new_address(const char *host, const char *service)
{
    struct addrinfo *ai = calloc(1, sizeof(*ai));
    struct sockaddr_in *v4 = calloc(1, sizeof(struct sockaddr_in6));
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)v4;
    uint16_t port = htons((uint16_t)atoi(service));
    *ai = (struct addrinfo){.ai_socktype = SOCK_STREAM, .ai_addr = (struct sockaddr *)v4};
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        ai->ai_addrlen = sizeof(*v4);
    } else {
        assert_int_equal(inet_pton(AF_INET6, host, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        ai->ai_addrlen = sizeof(*v6);
    }
    ai->ai_family = ai->ai_addr->sa_family;
    return ai;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    struct in_addr numeric;
    struct addrinfo **last = out;
    *out = NULL;
    if (inet_pton(AF_INET, host, &numeric) == 1) {
        *out = new_address(host, service);
        return 0;
    }
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    names.asked++;
    if (names.hold != NULL)
        sem_wait(names.hold);
    for (size_t i = 0; i < ARRAY_LEN(names.addresses) && names.addresses[i] != NULL; i++) {
        *last = new_address(names.addresses[i], service);
        last = &(*last)->ai_next;
    }
    return *out != NULL ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list->ai_addr);
        free(list);
        list = next;
    }
}

/* ---- A peer, and who asks it ---- */

enum { HEADER = 16, ANSWER = 8 };

/* Answers one question with its correlation id, on a thread of its own. */
struct peer {
    int fd, port;
    pthread_t thread;
};

/* One that is free at all addresses, and none of those that the kernel gives to clients (from 32768 on). */
static int free_port(void)
{
    for (;;) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(10000 + chance_below(20000)))};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        bool ok = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
        close(fd);
        if (ok)
            return ntohs(a.sin_port);
    }
}

static void listen_at(struct peer *p, const char *address, int backlog)
{
    p->port = p->port != 0 ? p->port : free_port();
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)p->port)};
    int on = 1;
    assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(bind(p->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(p->fd, backlog), 0);
}

static void *answer_one(void *arg)
{
    struct peer *p = arg;
    uint8_t frame[HEADER], answer[ANSWER] = {0, 0, 0, 4};
    int fd = accept(p->fd, NULL, NULL);
    assert_int_equal(recv(fd, frame, sizeof(frame), MSG_WAITALL), sizeof(frame));
    memcpy(answer + 4, frame + 8, 4);
    assert_int_equal(send(fd, answer, sizeof(answer), 0), sizeof(answer));
    close(fd);
    return NULL;
}

static void peer_start(struct peer *p, const char *address)
{
    listen_at(p, address, 5);
    assert_int_equal(pthread_create(&p->thread, NULL, answer_one, p), 0);
}

static void peer_join(struct peer *p)
{
    pthread_join(p->thread, NULL);
    close(p->fd);
}

/* ---- A peer that lets in by PLAIN, for a while (KIP-368) ---- */

enum { LIFETIME_MS = 1000000, STEP_MS = LIFETIME_MS / 100, QUESTIONS = 500 };

struct strict_peer {
    struct peer peer;
    int logins, late; /* questions that came after the end of a login */
};

static bool read_question(int fd, int16_t *key, uint8_t id[4])
{
    uint8_t size[4], frame[512];
    if (recv(fd, size, sizeof(size), MSG_WAITALL) != (ssize_t)sizeof(size))
        return false;
    size_t len = be32_get(size);
    assert_in_range(len, 8, sizeof(frame));
    assert_int_equal(recv(fd, frame, len, MSG_WAITALL), len);
    *key = (int16_t)be16_get(frame);
    memcpy(id, frame + 4, 4);
    return true;
}

static void answer_question(int fd, const uint8_t id[4], const void *body, size_t len)
{
    uint8_t frame[512];
    be32_put(frame, (uint32_t)(4 + len));
    memcpy(frame + 4, id, 4);
    memcpy(frame + 8, body, len);
    assert_int_equal(send(fd, frame, 8 + len, MSG_NOSIGNAL), 8 + len);
}

static void serve_login_of(struct strict_peer *p, int fd)
{
    enum { API_VERSIONS = 18, HANDSHAKE = 17, AUTHENTICATE = 36 };
    static const uint8_t versions[] = {0, 0, 0, 0, 0, 2, 0, HANDSHAKE, 0, 1, 0, 1, 0, AUTHENTICATE, 0, 1, 0, 1};
    static const uint8_t mechanisms[] = {0, 0, 0, 0, 0, 0};
    static const uint8_t welcome[] = {
        0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, LIFETIME_MS >> 16, (LIFETIME_MS >> 8) & 255, LIFETIME_MS & 255};
    int64_t end = INT64_MAX;
    uint8_t id[4];
    for (int16_t key; read_question(fd, &key, id);) {
        if (key == API_VERSIONS) {
            answer_question(fd, id, versions, sizeof(versions));
        } else if (key == HANDSHAKE) {
            answer_question(fd, id, mechanisms, sizeof(mechanisms));
        } else if (key == AUTHENTICATE) {
            end = clock_mono_ms() + LIFETIME_MS;
            p->logins++;
            answer_question(fd, id, welcome, sizeof(welcome));
        } else {
            p->late += clock_mono_ms() >= end;
            answer_question(fd, id, "", 0);
        }
    }
}

/* One connection after the other, until there is no port any more. */
static void *let_in_for_a_while(void *arg)
{
    struct strict_peer *p = arg;
    for (int fd; (fd = accept(p->peer.fd, NULL, NULL)) >= 0; close(fd))
        serve_login_of(p, fd);
    return NULL;
}

struct asker {
    struct loop *loop;
    struct workers *workers;
    struct client_route route;
    struct client *client;
    struct client_call call;
    struct client_counts *counts;
    bool over, answered;
};

static void on_answer(struct client_call *call, struct bytes response)
{
    struct asker *a = CONTAINER_OF(call, struct asker, call);
    a->over = true;
    a->answered = response.p != NULL;
    loop_stop(a->loop);
}

static const struct client_kind counted_kind = {"counted-metrics", {{"broker-id", 7}}};

/* `m` NULL: nobody counts. */
static void asker_init_counted(struct asker *a, const char *host, int port, int64_t setup_timeout_ms, struct metrics *m)
{
    *a = (struct asker){.loop = loop_new("test"), .workers = workers_new("worker", 1)};
    client_route_init(&a->route, a->workers, NULL);
    a->route.metrics = m != NULL ? client_metrics_new(m) : NULL;
    a->counts = client_counts_new(&a->route, a->loop, &counted_kind);
    struct client_options options = {.loop = a->loop,
                                     .route = &a->route,
                                     .setup_timeout_ms = setup_timeout_ms,
                                     .setup_timeout_max_ms = setup_timeout_ms,
                                     .counts = a->counts};
    a->client = client_new(&options, host, port);
}

static void asker_init(struct asker *a, const char *host, int port, int64_t setup_timeout_ms)
{
    asker_init_counted(a, host, port, setup_timeout_ms, NULL);
}

static void ask(struct asker *a)
{
    static const uint8_t question[HEADER] = {0, 0, 0, HEADER - 4};
    struct strbuf frame = {0};
    strbuf_add(&frame, question, sizeof(question));
    a->over = false;
    a->call = (struct client_call){.done = on_answer, .timeout_ms = 60000};
    client_send(a->client, &frame, &a->call);
}

static bool ask_and_wait(struct asker *a)
{
    ask(a);
    assert_false(a->over); /* never from within */
    loop_run(a->loop);
    assert_true(a->over);
    return a->answered;
}

static void asker_deinit(struct asker *a)
{
    client_free(a->client);
    client_counts_free(a->counts);
    client_metrics_free(a->route.metrics);
    client_route_deinit(&a->route);
    workers_free(a->workers);
    loop_free(a->loop);
    memset(&names, 0, sizeof(names));
}

/* ---- What is counted ---- */

struct figure {
    const char *name;
    double value;
    int beans;
};

static bool take_figure(void *ctx, const struct bean *b)
{
    struct figure *f = ctx;
    struct strbuf name = {0};
    bean_text(b, false, &name);
    assert_string_equal(name.p, "kafka.server:type=counted-metrics,broker-id=7");
    strbuf_deinit(&name);
    assert_true(bean_attribute_number(b, f->name, &f->value));
    f->beans++;
    return true;
}

static double figure(struct metrics *m, const char *name)
{
    struct figure f = {.name = name};
    beans_visit(m, "kafka.server:type=counted-metrics,*", take_figure, &f);
    assert_int_equal(f.beans, 1);
    return f.value;
}

/* ---- Tests ---- */

static void addresses_are_written_as_by_java(void **state)
{
    (void)state;
    static const struct {
        const char *given, *written;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"::ffff:10.20.30.255", "10.20.30.255"},
        {"::1", "0:0:0:0:0:0:0:1"},
        {"2001:db8::ff00:42:8329", "2001:db8:0:0:0:ff00:42:8329"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[ADDRESS_ROOM];
        struct sockaddr_storage address = {0};
        struct addrinfo *ai = new_address(cases[i].given, "9092");
        memcpy(&address, ai->ai_addr, ai->ai_addrlen);
        freeaddrinfo(ai);
        address_text(&address, text);
        assert_string_equal(text, cases[i].written);
        assert_int_equal(address_port(&address), 9092);
    }
    struct sockaddr_in6 local = {
        .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_scope_id = UINT32_MAX};
    struct sockaddr_storage address = {0};
    char text[ADDRESS_ROOM];
    memset(&local.sin6_addr, 0xfe, sizeof(local.sin6_addr));
    memcpy(&address, &local, sizeof(local));
    address_text(&address, text);
    assert_string_equal(text, "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe%4294967295");
}

static void all_addresses_are_tried(void **state)
{
    (void)state;
    struct asker a;
    struct peer p = {0};
    peer_start(&p, "127.0.0.3");
    names.addresses[0] = "127.0.0.1";
    names.addresses[1] = "127.0.0.2";
    names.addresses[2] = "127.0.0.3";
    asker_init(&a, "broker", p.port, 0);
    assert_true(ask_and_wait(&a));
    peer_join(&p);
    assert_int_equal(names.asked, 1);
    while (names.asked == 1)
        assert_false(ask_and_wait(&a)); /* first the old connection's end may be noticed by this */
    assert_int_equal(names.asked, 2);   /* nobody is there any more, at none of them */
    asker_deinit(&a);
}

static void what_is_asked_is_counted(void **state)
{
    (void)state;
    struct asker a;
    struct peer p = {0};
    struct metrics *m = metrics_new(clock_mono_us);
    peer_start(&p, "127.0.0.3");
    names.addresses[0] = "127.0.0.2"; /* refuses */
    names.addresses[1] = "127.0.0.3";
    asker_init_counted(&a, "broker", p.port, 0, m);
    assert_float_equal(figure(m, "connection-count"), 0, 0);
    assert_true(isnan(figure(m, "request-size-avg")));
    assert_true(ask_and_wait(&a));
    metrics_tick(m);
    assert_float_equal(figure(m, "connection-creation-total"), 1, 0);
    assert_float_equal(figure(m, "request-total"), 1, 0);
    assert_float_equal(figure(m, "request-size-avg"), HEADER, 0);
    assert_float_equal(figure(m, "request-size-max"), HEADER, 0);
    assert_float_equal(figure(m, "outgoing-byte-total"), HEADER, 0);
    assert_float_equal(figure(m, "response-total"), 1, 0);
    assert_float_equal(figure(m, "incoming-byte-total"), ANSWER, 0);
    assert_true(figure(m, "network-io-total") >= 2);
    assert_true(figure(m, "select-total") > 0);
    assert_float_equal(figure(m, "successful-authentication-total"), 0, 0); /* there was nothing to say */
    peer_join(&p);
    client_free(a.client);
    a.client = NULL;
    assert_float_equal(figure(m, "connection-close-total"), 2, 0); /* as in Kafka, with the one that was refused */
    assert_float_equal(figure(m, "connection-count"), 0, 0);
    client_counts_free(a.counts);
    a.counts = NULL;
    struct figure gone = {.name = "connection-count"};
    beans_visit(m, "kafka.server:type=counted-metrics,*", take_figure, &gone);
    assert_int_equal(gone.beans, 0);
    asker_deinit(&a);
    metrics_free(m);
}

static void ipv4_goes_first(void **state)
{
    (void)state;
    struct asker a;
    struct peer p = {0};
    int v6 = socket(AF_INET6, SOCK_STREAM, 0), on = 1;
    peer_start(&p, "127.0.0.1");
    struct sockaddr_in6 any = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)p.port), .sin6_addr = in6addr_loopback};
    setsockopt(v6, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (v6 < 0 || bind(v6, (struct sockaddr *)&any, sizeof(any)) != 0 || listen(v6, 5) != 0)
        print_message("without IPv6: its address refuses instead of being silent\n");
    names.addresses[0] = "::1";
    names.addresses[1] = "127.0.0.1";
    asker_init(&a, "broker", p.port, 0);
    assert_true(ask_and_wait(&a));
    peer_join(&p);
    close(v6);
    asker_deinit(&a);
}

static void a_name_without_address_fails_the_calls(void **state)
{
    (void)state;
    struct asker a;
    asker_init(&a, "broker", 9092, 0);
    assert_false(ask_and_wait(&a));
    assert_false(ask_and_wait(&a));
    assert_int_equal(names.asked, 2);
    asker_deinit(&a);
}

static void a_moved_peer_is_found(void **state)
{
    (void)state;
    struct asker a;
    struct peer p = {0}, stale = {0};
    peer_start(&p, "127.0.0.1");
    stale.port = p.port;
    listen_at(&stale, "127.0.0.3", 5); /* never answers */
    names.addresses[0] = "127.0.0.1";
    names.addresses[1] = "127.0.0.3";
    asker_init(&a, "broker", p.port, 0);
    assert_true(ask_and_wait(&a));
    peer_join(&p);
    peer_start(&p, "127.0.0.2");
    names.addresses[0] = "127.0.0.2";
    names.addresses[1] = NULL;
    if (!ask_and_wait(&a)) /* the old connection's end may be noticed by this */
        assert_true(ask_and_wait(&a));
    peer_join(&p);
    close(stale.fd);
    assert_int_equal(names.asked, 2);
    asker_deinit(&a);
}

struct waker {
    struct timer timer;
    sem_t *held;
    int ticks;
};

static void on_tick(struct timer *t)
{
    struct waker *w = CONTAINER_OF(t, struct waker, timer);
    if (++w->ticks == 3)
        sem_post(w->held);
    else
        timer_start(t, 1);
}

static void a_slow_name_service_holds_up_nobody(void **state)
{
    (void)state;
    struct asker a;
    struct peer p = {0};
    struct waker w = {0};
    sem_t held;
    sem_init(&held, 0, 0);
    peer_start(&p, "127.0.0.1");
    names.addresses[0] = "127.0.0.1";
    names.hold = w.held = &held;
    asker_init(&a, "broker", p.port, 0);
    timer_init(&w.timer, a.loop, on_tick);
    timer_start(&w.timer, 0);
    assert_true(ask_and_wait(&a)); /* the loop's timer lets the name service answer */
    assert_int_equal(w.ticks, 3);
    peer_join(&p);
    asker_deinit(&a);
    sem_destroy(&held);
}

static void who_asked_may_go_before_the_name_service_answers(void **state)
{
    (void)state;
    struct asker a;
    sem_t held;
    sem_init(&held, 0, 0);
    names.addresses[0] = "127.0.0.1";
    names.hold = &held;
    asker_init(&a, "broker", 9092, 0);
    ask(&a);
    client_free(a.client);
    loop_free(a.loop);
    a.client = NULL;
    a.loop = NULL;
    assert_true(a.over && !a.answered);
    sem_post(&held);
    asker_deinit(&a);
    sem_destroy(&held);
}

/* Who asks twice, and goes with the first answer. */
struct leaver {
    struct asker asker;
    struct client_call second;
    bool second_failed;
};

static void leave(struct client_call *call, struct bytes response)
{
    struct leaver *l = CONTAINER_OF(call, struct leaver, asker.call);
    on_answer(call, response);
    client_free(l->asker.client);
    l->asker.client = NULL;
}

static void on_second(struct client_call *call, struct bytes response)
{
    CONTAINER_OF(call, struct leaver, second)->second_failed = response.p == NULL;
}

static void what_is_open_fails_when_an_answer_ends_the_client(void **state)
{
    (void)state;
    static const uint8_t question[HEADER] = {0, 0, 0, HEADER - 4};
    struct peer p = {0};
    struct leaver l = {.second = {.done = on_second, .timeout_ms = 60000}};
    struct strbuf frame = {0};
    peer_start(&p, "127.0.0.1");
    asker_init(&l.asker, "127.0.0.1", p.port, 0);
    ask(&l.asker);
    l.asker.call.done = leave;
    strbuf_add(&frame, question, sizeof(question));
    client_send(l.asker.client, &frame, &l.second);
    loop_run(l.asker.loop);
    assert_true(l.asker.answered && l.second_failed);
    peer_join(&p);
    asker_deinit(&l.asker);
}

/* Who asks the next thing when one is answered, as fetchers do: nothing is left of its time but that moment. */
struct never_idle {
    struct asker asker;
    int asked, failed;
};

static void ask_on(struct client_call *call, struct bytes response)
{
    struct never_idle *n = CONTAINER_OF(call, struct never_idle, asker.call);
    n->failed += response.p == NULL;
    skipped_ms += STEP_MS;
    if (++n->asked >= QUESTIONS) {
        loop_stop(n->asker.loop);
        return;
    }
    ask(&n->asker);
    n->asker.call.done = ask_on;
}

static void a_client_that_is_never_idle_logs_in_in_time(void **state)
{
    (void)state;
    static struct jaas_option options[] = {{"username", "u"}, {"password", "p"}};
    static const char *const hosts[] = {"127.0.0.1", "broker"}; /* there is something to be waited for, or not */
    const struct sasl_login login = {.mechanism = SASL_PLAIN, .module = {.options = options, .count = 2}};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct never_idle n = {.asked = 0};
        struct strict_peer p = {.logins = 0};
        listen_at(&p.peer, "127.0.0.1", 5);
        assert_int_equal(pthread_create(&p.peer.thread, NULL, let_in_for_a_while, &p), 0);
        names.addresses[0] = "127.0.0.1";
        struct metrics *m = metrics_new(clock_mono_us);
        asker_init_counted(&n.asker, hosts[i], p.peer.port, 0, m);
        n.asker.route.login = &login;
        ask(&n.asker);
        n.asker.call.done = ask_on;
        loop_run(n.asker.loop);
        double counted = figure(m, "successful-authentication-total"), asked = figure(m, "request-total");
        asker_deinit(&n.asker);
        metrics_free(m);
        shutdown(p.peer.fd, SHUT_RDWR);
        peer_join(&p.peer);
        assert_int_equal(n.failed, 0);
        assert_int_equal(p.late, 0);
        assert_in_range(p.logins, QUESTIONS / 100, QUESTIONS / 80);
        assert_float_equal(counted, p.logins, 0);
        assert_float_equal(asked, QUESTIONS, 0); /* and none of a login */
    }
}

/* Takes no connection: those in the queue fill it. */
static void a_silent_address_is_given_up(void **state)
{
    (void)state;
    struct asker a;
    struct peer silent = {0}, p = {0};
    int fillers[4];
    listen_at(&silent, "127.0.0.1", 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)silent.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fillers[i], (struct sockaddr *)&to, sizeof(to)) != 0)
            assert_int_equal(errno, EINPROGRESS);
    }
    p.port = silent.port;
    peer_start(&p, "127.0.0.2");
    names.addresses[0] = "127.0.0.1";
    names.addresses[1] = "127.0.0.2";
    asker_init(&a, "broker", p.port, 1000);
    assert_true(ask_and_wait(&a));
    peer_join(&p);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
        close(fillers[i]);
    close(silent.fd);
    asker_deinit(&a);
}

/* ---- Hosts that limits name ---- */

static size_t named(struct host_names *n, const char *host, int limit)
{
    host_names_begin(n);
    size_t count = host != NULL ? host_names_find(n, host, HOST_RATES, limit)->count : 0;
    host_names_end(n);
    return count;
}

static void what_a_name_had_stays_while_nothing_else_is_found(void **state)
{
    (void)state;
    struct host_names *n = host_names_new();
    names.addresses[0] = "127.0.0.2";
    assert_int_equal(named(n, "a", 5), 1);
    assert_int_equal(named(n, "a", 5), 1);
    assert_int_equal(names.asked, 1); /* it is known */
    names.addresses[0] = NULL;
    assert_int_equal(named(n, "a", 6), 1);
    assert_int_equal(names.asked, 2);
    named(n, NULL, 0); /* it is forgotten */
    assert_int_equal(named(n, "a", 6), 0);
    assert_int_equal(named(n, "a", 6), 0);
    assert_int_equal(names.asked, 3);
    skipped_ms += 60 * 1000;
    names.addresses[0] = "127.0.0.3";
    assert_int_equal(named(n, "a", 6), 1);
    assert_int_equal(names.asked, 4);
    host_names_free(n);
    memset(&names, 0, sizeof(names));
}

struct host_finder {
    struct loop *loop;
    int found, wanted;
};

static void note_found(void *ctx)
{
    struct host_finder *f = ctx;
    if (++f->found == f->wanted)
        loop_stop(f->loop);
}

static void limits_of_names_wait_for_a_slow_name_service_alone(void **state)
{
    (void)state;
    struct host_finder f = {.loop = loop_new("test"), .wanted = 3};
    struct workers *resolvers = workers_new("resolvers", 1);
    struct host_names *n = host_names_new();
    sem_t hold;
    sem_init(&hold, 0, 0);
    names.hold = &hold;
    names.addresses[0] = "127.0.0.2";
    host_names_ask_by(n, f.loop, resolvers, note_found, &f);
    host_names_begin(n);
    for (const char *host = "abc"; *host != '\0'; host++)
        assert_int_equal(host_names_find(n, host, HOST_RATES, 1)->count, 0);
    host_names_end(n);
    for (int i = 0; i < f.wanted; i++)
        sem_post(&hold);
    loop_run(f.loop);
    assert_int_equal(named(n, "abc", 1), 1);
    host_names_begin(n);
    host_names_find(n, "d", HOST_RATES, 1);
    host_names_free(n); /* while it is asked for */
    sem_post(&hold);
    workers_free(resolvers);
    loop_free(f.loop);
    sem_destroy(&hold);
    memset(&names, 0, sizeof(names));
}

/* To look at all of them for each would take minutes. */
static void many_addresses_have_limits(void **state)
{
    (void)state;
    enum { ADDRESSES = 100000 };
    struct ip_rates rates = {0};
    char address[ADDRESS_ROOM];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < ADDRESSES; i++) {
            snprintf(address, sizeof(address), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
            assert_int_equal(ip_rates_set(&rates, address, 5), round == 0);
        }
    assert_true(ip_rates_set(&rates, NULL, 0));
    assert_false(ip_rates_set(&rates, NULL, 0));
    assert_true(ip_rates_set(&rates, address, 6));
    assert_true(ip_rates_set(&rates, address, -1));
    assert_false(ip_rates_set(&rates, address, -1));
    assert_true(ip_rates_set(&rates, NULL, -1));
    ip_rates_clear(&rates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_addresses_have_limits),
        cmocka_unit_test(what_a_name_had_stays_while_nothing_else_is_found),
        cmocka_unit_test(limits_of_names_wait_for_a_slow_name_service_alone),
        cmocka_unit_test(addresses_are_written_as_by_java),
        cmocka_unit_test(all_addresses_are_tried),
        cmocka_unit_test(what_is_asked_is_counted),
        cmocka_unit_test(ipv4_goes_first),
        cmocka_unit_test(a_name_without_address_fails_the_calls),
        cmocka_unit_test(a_moved_peer_is_found),
        cmocka_unit_test(a_slow_name_service_holds_up_nobody),
        cmocka_unit_test(who_asked_may_go_before_the_name_service_answers),
        cmocka_unit_test(what_is_open_fails_when_an_answer_ends_the_client),
        cmocka_unit_test(a_client_that_is_never_idle_logs_in_in_time),
        cmocka_unit_test(a_silent_address_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
