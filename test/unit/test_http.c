/* HTTP: what a request says, and a server that is asked by plain sockets, well and badly. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/strbuf.h"
#include "http/http_server.h"
#include "test.h"

/* ---- Requests ---- */

static enum http_parsed parse(const char *text, struct arena *a, struct http_request *out, size_t *taken, int *status)
{
    return http_request_parse((struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, a, out, taken, status);
}

static void test_requests(void **state UNUSED)
{
    static const char text[] =
        "\r\nPOST /a%20b/%zz?x=1+2&y&=3 HTTP/1.1\r\nHost: h\r\nAccept-Encoding: br, gzip;q=0.5\r\n"
        "authorization:  Basic abc \r\nContent-Length: 5\r\n\r\nhelloGET";
    struct http_request r;
    struct arena a = {0};
    size_t taken = 0;
    int status = 0;
    assert_int_equal(parse(text, &a, &r, &taken, &status), HTTP_COMPLETE);
    assert_int_equal(taken, strlen(text) - 3);
    assert_int_equal(r.method, HTTP_POST);
    assert_true(str_is(r.path, "/a b/%zz") && str_is(r.body, "hello") && str_is(r.authorization, "Basic abc"));
    assert_true(r.keep_alive && r.takes_gzip && !r.old && r.accept.p == NULL);
    struct str name, value;
    assert_true(http_query_next(&r.query, &a, &name, &value) && str_is(name, "x") && str_is(value, "1 2"));
    assert_true(http_query_next(&r.query, &a, &name, &value) && str_is(name, "y") && str_is(value, ""));
    assert_true(http_query_next(&r.query, &a, &name, &value) && str_is(name, "") && str_is(value, "3"));
    assert_false(http_query_next(&r.query, &a, &name, &value));
    for (size_t n = 0; n < taken; n++) { /* whatever part of it has come */
        int got = (int)http_request_parse((struct bytes){(const uint8_t *)text, (int32_t)n}, &a, &r, &taken, &status);
        assert_int_equal(got, HTTP_INCOMPLETE);
    }
    arena_deinit(&a);
}

static void test_ways_to_end_a_connection(void **state UNUSED)
{
    static const struct {
        const char *text;
        bool keep_alive;
    } cases[] = {{"GET / HTTP/1.1\n\n", true},
                 {"GET / HTTP/1.1\nConnection: Close\n\n", false},
                 {"GET / HTTP/1.1\nConnection: upgrade, close\n\n", false},
                 {"GET / HTTP/1.0\n\n", false},
                 {"GET / HTTP/1.0\nConnection: Keep-Alive\n\n", true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request r;
        struct arena a = {0};
        size_t taken;
        int status;
        assert_int_equal(parse(cases[i].text, &a, &r, &taken, &status), HTTP_COMPLETE);
        assert_int_equal(r.keep_alive, cases[i].keep_alive);
        arena_deinit(&a);
    }
}

static void test_refused_requests(void **state UNUSED)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {{"GET\r\n\r\n", 400},
                 {"GET x HTTP/1.1\r\n\r\n", 400},
                 {"GET / HTTP/2.0\r\n\r\n", 505},
                 {"GET / HTTX/1.1\r\n\r\n", 400},
                 {"PUT / HTTP/1.1\r\n\r\n", 501},
                 {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
                 {"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", 400},
                 {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
                 {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
                 {"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413},
                 {"POST / HTTP/1.1\r\nContent-Length: 999999999999999999999\r\n\r\n", 400},
                 {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request r;
        struct arena a = {0};
        size_t taken;
        int status = 0;
        assert_int_equal(parse(cases[i].text, &a, &r, &taken, &status), HTTP_REFUSED);
        assert_int_equal(status, cases[i].status);
        arena_deinit(&a);
    }
}

static void test_a_head_has_a_bound(void **state UNUSED)
{
    struct strbuf text = {0};
    struct http_request r;
    struct arena a = {0};
    size_t taken;
    int status = 0;
    strbuf_puts(&text, "GET / HTTP/1.1\r\nx: ");
    while (text.len < HTTP_LARGEST_HEAD)
        strbuf_puts(&text, "y");
    assert_int_equal(parse(text.p, &a, &r, &taken, &status), HTTP_REFUSED);
    assert_int_equal(status, 431);
    strbuf_deinit(&text);
    arena_deinit(&a);
}

/* ---- A server ---- */

enum { LARGE = 3 << 20, HUGE_ANSWER = 15 << 20 }; /* two of which may be kept back */

static atomic_int patient_ends =
    -1; /* of the answers that last as long as somebody waits for them; -1: none has begun */

/*
 * How long a worker has waited at most for somebody to take what he asked for, in looks at his socket that found
 * nothing, of LOOK_MS each: 10 are a short silence, 50 a long one.
 */
static atomic_int most_looks;

int __real_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms)
{
    static _Thread_local int looks;
    int ready = __real_poll(fds, n, ms);
    looks = ready == 0 ? looks + 1 : 0;
    for (int most = atomic_load(&most_looks); looks > most;)
        if (atomic_compare_exchange_weak(&most_looks, &most, looks))
            break;
    return ready;
}

static void serve(void *ctx UNUSED, const struct http_listener *at UNUSED, const struct http_request *r,
                  struct http_answer *a)
{
    if (str_is(r->path, "/large") || str_is(r->path, "/huge")) {
        http_status(a, 200, "text/plain");
        for (int i = 0; i < (str_is(r->path, "/large") ? LARGE : HUGE_ANSWER) / 64 &&
                        http_say(a, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 64);
             i++)
            ;
    } else if (str_is(r->path, "/echo")) {
        http_status(a, 200, "text/plain");
        http_say(a, r->body.p, (size_t)r->body.len);
    } else if (str_is(r->path, "/patient")) {
        for (atomic_store(&patient_ends, 0); http_is_awaited(a);)
            usleep(1000);
        atomic_fetch_add(&patient_ends, 1);
    } else if (str_is(r->path, "/nothing")) {
        http_status(a, 204, NULL);
    } else if (!str_is(r->path, "/silent")) {
        http_say_text(a, 404, "There is no %.*s.", STR_ARGS(r->path));
    }
}

static bool is_quick(void *ctx UNUSED, const struct http_listener *at UNUSED, const struct http_request *r)
{
    return !str_is(r->path, "/large") && !str_is(r->path, "/huge") && !str_is(r->path, "/patient");
}

static struct http_server *start(void)
{
    struct fail fail;
    struct http_listener at = {.host = "127.0.0.1"};
    atomic_store(&most_looks, 0);
    struct http_server *s = http_server_new(&at, 1, serve, is_quick, NULL, &fail);
    assert_non_null(s);
    return s;
}

/* `room`: for what comes and is not read yet; 0: as much as the kernel likes. */
static int call_with(const struct http_server *s, int room)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(s, 0)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (room > 0)
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static int call(const struct http_server *s)
{
    return call_with(s, 0);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* All that comes until the end, or until `text` is in it. */
static void hear(int fd, struct strbuf *out, const char *text)
{
    char room[65536];
    ssize_t n;
    while ((text == NULL || out->p == NULL || strstr(out->p, text) == NULL) && (n = read(fd, room, sizeof(room))) > 0)
        strbuf_add(out, room, (size_t)n);
}

static void ask(const struct http_server *s, const char *request, struct strbuf *out)
{
    int fd = call(s);
    strbuf_clear(out);
    say(fd, request);
    hear(fd, out, NULL);
    close(fd);
}

static void test_answers(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    ask(s, "GET /x HTTP/1.0\r\n\r\n", &got);
    assert_memory_equal(got.p, "HTTP/1.1 404 Not Found\r\n", 24);
    assert_non_null(strstr(got.p, "Content-Length: 16\r\n"));
    assert_string_equal(strstr(got.p, "\r\n\r\n"), "\r\n\r\nThere is no /x.\n");
    ask(s, "GET /silent HTTP/1.0\r\n\r\n", &got);
    assert_memory_equal(got.p, "HTTP/1.1 500 ", 13);
    ask(s, "rubbish\r\n\r\n", &got);
    assert_memory_equal(got.p, "HTTP/1.1 400 ", 13);
    ask(s, "HEAD /large HTTP/1.1\r\nConnection: close\r\n\r\n", &got);
    assert_memory_equal(got.p, "HTTP/1.1 200 OK\r\n", 17);
    assert_string_equal(strstr(got.p, "\r\n\r\n"), "\r\n\r\n");
    ask(s, "GET /large HTTP/1.0\r\n\r\n", &got);
    assert_int_equal(got.p + got.len - (strstr(got.p, "\r\n\r\n") + 4), LARGE);
    http_server_free(s);
    strbuf_deinit(&got);
}

static void test_one_after_the_other(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    int fd = call(s);
    say(fd,
        "POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\noneHEAD /echo HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\nGET /la");
    hear(fd, &got, "204 No Content");
    say(fd, "rge HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast");
    hear(fd, &got, NULL);
    assert_non_null(strstr(got.p, "one"));
    assert_non_null(strstr(got.p, "Transfer-Encoding: chunked"));
    assert_non_null(strstr(got.p, "\r\n0\r\n\r\nHTTP/1.1 200 OK"));
    assert_string_equal(got.p + got.len - 4, "last");
    close(fd);
    fd = call(s);
    strbuf_clear(&got);
    say(fd, "POST /echo HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    hear(fd, &got, "100 Continue\r\n\r\n");
    say(fd, "body");
    hear(fd, &got, NULL);
    assert_string_equal(got.p + got.len - 4, "body");
    close(fd);
    http_server_free(s);
    strbuf_deinit(&got);
}

static void test_gzip(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    ask(s, "GET /large HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n", &got);
    assert_non_null(strstr(got.p, "Content-Encoding: gzip\r\n"));
    char *body = strstr(got.p, "\r\n\r\n") + 4, *plain = malloc(LARGE + 1);
    z_stream z = {.next_in = (Bytef *)body,
                  .avail_in = (uInt)(got.p + got.len - body),
                  .next_out = (Bytef *)plain,
                  .avail_out = LARGE + 1};
    assert_true(z.avail_in < LARGE / 20);
    assert_int_equal(inflateInit2(&z, 15 + 32), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, LARGE);
    inflateEnd(&z);
    free(plain);
    http_server_free(s);
    strbuf_deinit(&got);
}

static void check_echo(struct http_server *s, struct strbuf *got)
{
    ask(s, "POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nup", got);
    assert_true(got->len > 2);
    assert_string_equal(got->p + got->len - 2, "up");
}

/* More than there are places: each has been read when the next echo comes. */
static void test_who_asks_for_much(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    int slow[2 * HTTP_MOST_CONNECTIONS];
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        slow[i] = call(s);
        say(slow[i], "GET /large HTTP/1.1\r\n\r\n");
        check_echo(s, &got);
    }
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        close(slow[i]);
    http_server_free(s);
    strbuf_deinit(&got);
}

/* Those who begin and do not go on make room; those who do not read hold up nobody who asks for what is short. */
static void test_who_is_slow(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    int slow[3 * HTTP_MOST_CONNECTIONS];
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        slow[i] = call(s);
        say(slow[i], i % 2 == 0 ? "GET /large HTTP/1.1\r\n\r\n" : "GET /");
    }
    check_echo(s, &got);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        close(slow[i]);
    http_server_free(s);
    strbuf_deinit(&got);
}

/* Returns when a worker has begun with the answer. */
static int ask_for_much(struct http_server *s)
{
    char first;
    int fd = call_with(s, 65536);
    say(fd, "GET /huge HTTP/1.0\r\n\r\n");
    assert_int_equal(recv(fd, &first, 1, MSG_PEEK), 1);
    return fd;
}

static void check_large(struct http_server *s, struct strbuf *got)
{
    ask(s, "GET /large HTTP/1.0\r\n\r\n", got);
    assert_int_equal(got->p + got->len - (strstr(got->p, "\r\n\r\n") + 4), LARGE);
}

static void wait_for_patient(int ends)
{
    for (int i = 0; i < 10000 && atomic_load(&patient_ends) != ends; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&patient_ends), ends);
}

/* Who is at work for somebody that has gone, or for a server that stops, finds out. */
static void test_work_for_nobody_ends(void **state UNUSED)
{
    struct http_server *s = start();
    for (int again = 0; again < 2; again++) {
        atomic_store(&patient_ends, -1);
        int fd = call(s);
        say(fd, "GET /patient HTTP/1.1\r\n\r\n");
        wait_for_patient(0);
        if (again == 1)
            http_server_free(s);
        close(fd);
        wait_for_patient(1);
    }
}

/* Who reads slowly has no worker; what he is told lies there until he takes it. */
static void test_who_reads_slowly(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    int slow[2];
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        slow[i] = ask_for_much(s);
    check_large(s, &got);
    assert_int_equal(atomic_load(&most_looks), 0);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
        strbuf_clear(&got);
        hear(slow[i], &got, NULL);
        assert_int_equal(got.p + got.len - (strstr(got.p, "\r\n\r\n") + 4), HUGE_ANSWER);
        close(slow[i]);
    }
    http_server_free(s);
    strbuf_deinit(&got);
}

/* More than may be kept back for all of them. */
static void test_many_who_read_slowly(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    int slow[6];
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        slow[i] = ask_for_much(s);
    check_large(s, &got);
    assert_in_range(atomic_load(&most_looks), 1, 20);
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        close(slow[i]);
    http_server_free(s);
    strbuf_deinit(&got);
}

/* Who asks again and again and takes nothing fills its socket: then it is closed, and nobody waits for it. */
static void test_who_takes_nothing(void **state UNUSED)
{
    struct http_server *s = start();
    struct strbuf got = {0};
    int greedy[4];
    for (size_t i = 0; i < ARRAY_LEN(greedy); i++) {
        static const char text[] = "GET /none HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\n";
        greedy[i] = call(s);
        while (send(greedy[i], text, sizeof(text) - 1, MSG_NOSIGNAL) == sizeof(text) - 1)
            ;
    }
    check_echo(s, &got);
    assert_int_equal(atomic_load(&most_looks), 0);
    for (size_t i = 0; i < ARRAY_LEN(greedy); i++)
        close(greedy[i]);
    http_server_free(s);
    strbuf_deinit(&got);
}

static void test_a_port_that_is_taken(void **state UNUSED)
{
    struct http_server *s = start();
    struct http_listener at[] = {{.host = "127.0.0.1"}, {.host = "127.0.0.1", .port = http_server_port(s, 0)}};
    struct fail fail;
    assert_null(http_server_new(at, 2, serve, is_quick, NULL, &fail));
    assert_non_null(strstr(fail.text, "failed to bind to 127.0.0.1:"));
    http_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_ways_to_end_a_connection),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_a_head_has_a_bound),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_who_is_slow),
        cmocka_unit_test(test_who_asks_for_much),
        cmocka_unit_test(test_work_for_nobody_ends),
        cmocka_unit_test(test_who_reads_slowly),
        cmocka_unit_test(test_many_who_read_slowly),
        cmocka_unit_test(test_who_takes_nothing),
        cmocka_unit_test(test_a_port_that_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
