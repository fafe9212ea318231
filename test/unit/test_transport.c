/*
 * Bytes on their way over real sockets: written and sent from files, as they are, encrypted here, and encrypted by the
 * kernel where it can (kTLS; test/ktls runs this on one that can). BARNABAS_TEST_KTLS=1: it has to. With
 * BARNABAS_TEST_MEGABYTES a last test tells what a gigabyte costs.
 */
#include "tls_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/loop.h"
#include "net/transport.h"

enum { FILE_SIZE = 1 << 20, SMALL_BUFFER = 4096, LARGEST_READ = 64 << 10 };

struct world {
    char dir[64];
    int file; /* of pattern(), FILE_SIZE */
    struct identity self;
    char *key, *certificate;
    struct loop *loop;
};

static struct world world;

static uint8_t pattern(int64_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

static int world_open(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    world.self = identity_make((struct identity_spec){.name = "localhost"});
    world.key = pem_of_key(&world.self, NULL);
    world.certificate = pem_of_certificate(&world.self);
    world.loop = loop_new("test");
    char path[80];
    snprintf(path, sizeof(path), "%s/file", temp_dir_make(world.dir));
    uint8_t *data = malloc(FILE_SIZE);
    for (int64_t i = 0; i < FILE_SIZE; i++)
        data[i] = pattern(i);
    file_write(path, data, FILE_SIZE);
    free(data);
    world.file = open(path, O_RDONLY);
    assert_true(world.file >= 0);
    return 0;
}

static int world_close(void **state)
{
    (void)state;
    close(world.file);
    loop_free(world.loop);
    identity_free(&world.self);
    free(world.key);
    free(world.certificate);
    temp_dir_remove(world.dir);
    return 0;
}

/* ---- Two ends ---- */

struct way {
    const char *name, *version, *suite; /* no version: bytes go as they are */
    bool ktls, kernel_can;              /* it is asked for; kernels that have TLS know the suite */
};

static const struct way ways[] = {
    {"plain", NULL, NULL, false, false},
    {"TLS 1.2, AES 128", "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", true, true},
    {"TLS 1.2, AES 256", "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", true, true},
    {"TLS 1.2, CBC", "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", true, false},
    {"TLS 1.3, AES 128", "TLSv1.3", "TLS_AES_128_GCM_SHA256", true, true},
    {"TLS 1.3, AES 256", "TLSv1.3", "TLS_AES_256_GCM_SHA384", true, true},
    {"TLS 1.3, copied", "TLSv1.3", "TLS_AES_256_GCM_SHA384", false, false},
};

struct pair {
    const struct way *way;
    struct transport server;
    int client;
    SSL *client_tls; /* NULL: bytes go as they are */
    struct handshake_result result;
    bool stepped;
};

static void sockets_open(struct pair *p, bool small, int *server)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), size = SMALL_BUFFER;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    p->client = socket(AF_INET, SOCK_STREAM, 0);
    if (small)
        setsockopt(p->client, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    assert_int_equal(connect(p->client, (struct sockaddr *)&address, len), 0);
    *server = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(*server >= 0);
    if (small)
        setsockopt(*server, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    assert_int_equal(fcntl(p->client, F_SETFL, O_NONBLOCK), 0);
    close(listener);
}

static SSL *end_of(const struct way *way, enum tls_side side)
{
    struct keystore_source own = {.type = "PEM", .key = world.key, .certificates = world.certificate};
    struct keystore_source trusted = {.type = "PEM", .certificates = world.certificate};
    struct tls_settings settings = {.enabled_protocols = way->version,
                                    .cipher_suites = way->suite,
                                    .client_auth = CLIENT_AUTH_NONE,
                                    .ktls = way->ktls && side == TLS_SERVER};
    struct fail why;
    if (side == TLS_SERVER)
        settings.keys = own;
    else
        settings.trust = trusted;
    struct tls_context *context = tls_context_new(&settings, side, &why);
    assert_non_null(context);
    SSL *ssl = tls_open(context, NULL);
    tls_context_unref(context);
    return ssl;
}

static void pair_on_step(void *ctx, const struct handshake_result *result)
{
    struct pair *p = ctx;
    p->result = *result;
    p->stepped = true;
}

static void server_step(struct pair *p)
{
    p->stepped = false;
    handshake_start(&p->server, NULL, world.loop, NULL, pair_on_step, p);
    while (!p->stepped)
        loop_drain(world.loop);
    assert_int_not_equal(p->result.state, HANDSHAKE_FAILED);
}

/* `small`: the sockets hold little, so that the server soon has to wait for its peer. */
static void pair_open(struct pair *p, const struct way *way, bool small)
{
    int server;
    *p = (struct pair){.way = way};
    sockets_open(p, small, &server);
    transport_open(&p->server, server, way->version != NULL ? end_of(way, TLS_SERVER) : NULL);
    if (way->version == NULL)
        return;
    p->client_tls = end_of(way, TLS_CLIENT);
    SSL_set_fd(p->client_tls, p->client);
    while (!p->server.shaken || SSL_do_handshake(p->client_tls) != 1)
        if (!p->server.shaken)
            SSL_do_handshake(p->client_tls), server_step(p);
    if (getenv("BARNABAS_TEST_KTLS") != NULL)
        assert_int_equal(p->server.by_kernel, way->ktls && way->kernel_can);
}

static void client_close(struct pair *p)
{
    SSL_free(p->client_tls);
    p->client_tls = NULL;
    if (p->client >= 0)
        close(p->client);
    p->client = -1;
}

static void pair_close(struct pair *p)
{
    transport_close(&p->server);
    client_close(p);
}

/* What there is, or 0 if there is nothing now. */
static size_t client_read(struct pair *p, uint8_t *to, size_t room)
{
    size_t n = 0;
    if (p->client_tls == NULL) {
        ssize_t got = recv(p->client, to, room, 0);
        return got > 0 ? (size_t)got : 0;
    }
    if (SSL_read_ex(p->client_tls, to, room, &n) != 1) {
        int error = SSL_get_error(p->client_tls, 0);
        assert_true(error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SYSCALL);
        return 0;
    }
    return n;
}

/* ---- What is sent ---- */

/* An answer: a head in two pieces, then a part of the file. Bytes of the head follow the pattern from `id` on. */
struct answer {
    int64_t id;
    uint8_t head[300];
    size_t head_len, head_sent;
    off_t begin;
    size_t len, sent;
};

static void answer_init(struct answer *a, int64_t id, size_t head_len, off_t begin, size_t len)
{
    *a = (struct answer){.id = id, .head_len = head_len, .begin = begin, .len = len};
    for (size_t i = 0; i < head_len; i++)
        a->head[i] = pattern(id + (int64_t)i);
}

static bool answer_is_sent(const struct answer *a)
{
    return a->head_sent == a->head_len && a->sent == a->len;
}

static uint8_t answer_byte(const struct answer *a, size_t at)
{
    return at < a->head_len ? pattern(a->id + (int64_t)at) : pattern(a->begin + (off_t)(at - a->head_len));
}

/* As far as it goes without waiting; whether anything went, and -1 if the peer is gone. */
static int answer_send(struct pair *p, struct answer *a)
{
    ssize_t n = 0;
    if (a->head_sent < a->head_len) {
        size_t half = a->head_sent + (a->head_len - a->head_sent) / 2;
        struct iovec io[] = {{a->head + a->head_sent, half - a->head_sent}, {a->head + half, a->head_len - half}};
        n = transport_write(&p->server, io, 2, a->len > 0);
        a->head_sent += (size_t)MAX(n, 0);
    } else if (a->sent < a->len) {
        n = transport_send_file(&p->server, world.file, a->begin + (off_t)a->sent, a->len - a->sent);
        a->sent += (size_t)MAX(n, 0);
    }
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    return n > 0;
}

static void check_bytes(const struct pair *p, const struct answer *a, size_t at, const uint8_t *got, size_t n)
{
    assert_true(at + n <= a->head_len + a->len);
    for (size_t i = 0; i < n; i++)
        if (got[i] != answer_byte(a, at + i))
            fail_msg("%s: byte %zu of %zu and %zu is wrong", p->way->name, at + i, a->head_len, a->len);
}

static void answer_go_over(struct pair *p, struct answer *a)
{
    static uint8_t got[LARGEST_READ];
    for (size_t at = 0; at < a->head_len + a->len;) {
        while (answer_send(p, a) > 0)
            ;
        size_t n = client_read(p, got, sizeof(got));
        check_bytes(p, a, at, got, n);
        at += n;
    }
    assert_true(answer_is_sent(a));
}

static void answers_come_whole(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 16383, 16384, 16385, 70000, FILE_SIZE - 7};
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
        for (int small = 0; small < 2; small++) {
            struct pair p;
            struct answer a;
            pair_open(&p, &ways[w], small);
            for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
                answer_init(&a, (int64_t)i * 1000, 1 + i * 40, 7, sizes[i]);
                answer_go_over(&p, &a);
            }
            pair_close(&p);
        }
    }
}

/* Both wait in the middle of something small, on one thread; then each gets what was meant for it. */
static void who_is_slow_gets_nobody_elses_bytes(void **state)
{
    enum { PAIRS = 2, ANSWERS = 200 };
    static struct answer answers[PAIRS][ANSWERS];
    static uint8_t got[LARGEST_READ];
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
        struct pair pairs[PAIRS];
        int next[PAIRS] = {0}, read[PAIRS] = {0};
        size_t at[PAIRS] = {0};
        for (int i = 0; i < PAIRS; i++) {
            pair_open(&pairs[i], &ways[w], true);
            for (int k = 0; k < ANSWERS; k++)
                answer_init(&answers[i][k], i * 777 + k * 13, 250 + (size_t)k % 50, k * 100, k % 3 ? 3000 : 0);
        }
        for (bool over = false; !over;) {
            over = true;
            for (int i = 0; i < PAIRS; i++) /* until it has to wait */
                while (next[i] < ANSWERS && (answer_send(&pairs[i], &answers[i][next[i]]) > 0))
                    next[i] += answer_is_sent(&answers[i][next[i]]);
            for (int i = 0; i < PAIRS; i++) {
                struct answer *a = &answers[i][read[i]];
                size_t n = read[i] < ANSWERS ? client_read(&pairs[i], got, MIN(a->head_len + a->len - at[i], 1000)) : 0;
                check_bytes(&pairs[i], a, at[i], got, n);
                at[i] += n;
                if (read[i] < ANSWERS && at[i] == a->head_len + a->len)
                    read[i]++, at[i] = 0;
                over &= read[i] == ANSWERS;
            }
        }
        for (int i = 0; i < PAIRS; i++)
            pair_close(&pairs[i]);
    }
}

static void a_peer_that_goes_away_is_told_of(void **state)
{
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
        struct pair p;
        struct answer a;
        int rc;
        pair_open(&p, &ways[w], true);
        answer_init(&a, 0, 100, 0, FILE_SIZE);
        while (answer_send(&p, &a) > 0)
            ;
        client_close(&p);
        struct pollfd poll_for = {.fd = p.server.fd, .events = POLLOUT};
        while ((rc = answer_send(&p, &a)) >= 0)
            poll(&poll_for, 1, 1000);
        assert_false(answer_is_sent(&a));
        pair_close(&p);
    }
}

static void a_file_that_is_too_short_says_so(void **state)
{
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
        struct pair p;
        uint8_t got[8];
        pair_open(&p, &ways[w], false);
        assert_int_equal(transport_send_file(&p.server, world.file, FILE_SIZE - 3, 10), 3);
        assert_int_equal(transport_send_file(&p.server, world.file, FILE_SIZE, 10), 0);
        for (size_t have = 0; have < 3;)
            have += client_read(&p, got + have, sizeof(got) - have);
        pair_close(&p);
    }
}

/* A client of TLS 1.3 wants both sides to have new keys. The kernel keeps its own: then the connection is over, and
 * else goes on. */
static void a_peer_may_ask_for_new_keys(void **state)
{
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
        struct pair p;
        struct answer a;
        uint8_t byte;
        ssize_t n;
        if (ways[w].version == NULL || strcmp(ways[w].version, "TLSv1.3") != 0)
            continue;
        pair_open(&p, &ways[w], false);
        answer_init(&a, 0, 100, 0, 100000);
        answer_go_over(&p, &a);
        assert_int_equal(SSL_key_update(p.client_tls, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(p.client_tls, "x", 1), 1);
        do
            n = transport_read(&p.server, &(struct iovec){&byte, 1}, 1);
        while (n < 0 && errno == EAGAIN);
        if (p.server.by_kernel) {
            assert_int_equal(n, -1);
            assert_true(p.server.broken);
        } else {
            assert_int_equal(n, 1);
            answer_init(&a, 5, 100, 0, 100000);
            answer_go_over(&p, &a);
        }
        pair_close(&p);
    }
}

/* One thread has a queue of what went wrong for all connections. What one left there is not taken for the next one's.
 */
static void a_damaged_record_is_its_own_connections_trouble(void **state)
{
    static const uint8_t damaged[5 + 32] = {23 /* application data */, 3, 3, 0, 32};
    (void)state;
    for (size_t w = 1; w < ARRAY_LEN(ways); w++) {
        struct pair bad, good;
        uint8_t room[64], byte = 'x';
        struct iovec all = {room, sizeof(room)};
        int on = 1;
        ssize_t n;
        pair_open(&bad, &ways[w], false);
        setsockopt(bad.client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        pair_open(&good, &ways[w], false);
        assert_int_equal(SSL_write(bad.client_tls, "x", 1), 1);
        assert_int_equal(send(bad.client, damaged, sizeof(damaged), 0), (ssize_t)sizeof(damaged));
        do /* what was good is read, whatever is behind it */
            n = transport_read(&bad.server, &all, 1);
        while (n < 0 && errno == EAGAIN);
        assert_int_equal(n, 1);
        n = transport_read(&good.server, &all, 1);
        assert_int_equal(n, -1);
        assert_int_equal(errno, EAGAIN);
        assert_false(good.server.broken);
        assert_int_equal(transport_read(&bad.server, &all, 1), -1);
        assert_true(bad.server.broken);
        assert_int_equal(SSL_write(good.client_tls, &byte, 1), 1);
        do
            n = transport_read(&good.server, &all, 1);
        while (n < 0 && errno == EAGAIN);
        assert_int_equal(n, 1);
        pair_close(&bad);
        pair_close(&good);
    }
}

static void the_peer_hears_the_end(void **state)
{
    (void)state;
    for (size_t w = 1; w < ARRAY_LEN(ways); w++) {
        struct pair p;
        struct answer a;
        uint8_t byte;
        size_t n;
        pair_open(&p, &ways[w], false);
        answer_init(&a, 0, 100, 0, 100000);
        answer_go_over(&p, &a);
        transport_close(&p.server);
        int rc = SSL_read_ex(p.client_tls, &byte, 1, &n);
        assert_int_equal(rc, 0);
        assert_int_equal(SSL_get_error(p.client_tls, rc), SSL_ERROR_ZERO_RETURN);
        client_close(&p);
    }
}

/* ---- What it costs ---- */

static double seconds_used(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* The peer is a process of its own, so that what it takes does not count. */
static double seconds_for(struct way way, bool ktls, int megabytes)
{
    struct pair p;
    way.ktls = ktls;
    pair_open(&p, &way, false);
    fflush(NULL);
    pid_t reader = fork();
    if (reader == 0) {
        static uint8_t got[LARGEST_READ];
        struct pollfd poll_for = {.fd = p.client, .events = POLLIN};
        for (int64_t left = (int64_t)megabytes << 20; left > 0;) {
            size_t n = client_read(&p, got, sizeof(got));
            left -= (int64_t)n;
            if (n == 0)
                poll(&poll_for, 1, 1000);
        }
        _exit(0);
    }
    double begin = seconds_used();
    struct pollfd poll_for = {.fd = p.server.fd, .events = POLLOUT};
    for (int i = 0; i < megabytes; i++) {
        struct answer a;
        answer_init(&a, 0, 0, 0, FILE_SIZE);
        while (!answer_is_sent(&a))
            if (answer_send(&p, &a) == 0)
                poll(&poll_for, 1, 1000);
    }
    double used = seconds_used() - begin;
    int status;
    waitpid(reader, &status, 0);
    assert_int_equal(status, 0);
    pair_close(&p);
    return used;
}

static void what_a_gigabyte_costs(void **state)
{
    const char *text = getenv("BARNABAS_TEST_MEGABYTES");
    (void)state;
    for (size_t w = 0; text != NULL && w < ARRAY_LEN(ways); w++) {
        int megabytes = atoi(text);
        if (!ways[w].kernel_can)
            continue;
        double copied = seconds_for(ways[w], false, megabytes), kernel = seconds_for(ways[w], true, megabytes);
        print_message("%s: %.2f s a GB copied, %.2f s by the kernel, a ratio of %.2f\n", ways[w].name,
                      copied * 1024 / megabytes, kernel * 1024 / megabytes, kernel / copied);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_whole),
        cmocka_unit_test(who_is_slow_gets_nobody_elses_bytes),
        cmocka_unit_test(a_peer_that_goes_away_is_told_of),
        cmocka_unit_test(a_file_that_is_too_short_says_so),
        cmocka_unit_test(a_peer_may_ask_for_new_keys),
        cmocka_unit_test(a_damaged_record_is_its_own_connections_trouble),
        cmocka_unit_test(the_peer_hears_the_end),
        cmocka_unit_test(what_a_gigabyte_costs),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
