#include "client.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocol/msg/api.h"
#include "protocol/msg/metadata.h"
#include "protocol/msg/request_header.h"
#include "protocol/msg/response_header.h"

_Noreturn void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* ---- TLS ---- */

enum { MOST_SESSIONS = 1 << 16 };

static SSL *sessions[MOST_SESSIONS]; /* by descriptor */

static SSL_CTX *tls_context(const char *anchors)
{
    static SSL_CTX *context; /* made by the first connection, before there are threads */
    if (context == NULL) {
        context = SSL_CTX_new(TLS_client_method());
        if (SSL_CTX_load_verify_locations(context, anchors, NULL) != 1)
            die("no certificates in %s", anchors);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    return context;
}

static void encrypt(int fd)
{
    const char *anchors = getenv("BENCH_TLS");
    if (anchors == NULL)
        return;
    if (fd >= MOST_SESSIONS)
        die("too many connections");
    SSL *s = SSL_new(tls_context(anchors));
    SSL_set_fd(s, fd);
    if (SSL_connect(s) != 1)
        die("the handshake failed");
    sessions[fd] = s;
}

void hang_up(int fd)
{
    if (sessions[fd] != NULL) {
        SSL_shutdown(sessions[fd]);
        SSL_free(sessions[fd]);
        sessions[fd] = NULL;
    }
    close(fd);
}

static ssize_t write_some(int fd, const void *data, size_t len)
{
    return sessions[fd] != NULL ? SSL_write(sessions[fd], data, (int)MIN(len, (size_t)INT_MAX)) : write(fd, data, len);
}

ssize_t read_some(int fd, void *data, size_t len)
{
    return sessions[fd] != NULL ? SSL_read(sessions[fd], data, (int)MIN(len, (size_t)INT_MAX)) : read(fd, data, len);
}

/* ---- A connection ---- */

int try_dial(const char *host, const char *port)
{
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    int one = 1;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        die("no address for %s", host);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %m");
    bool connected = connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (connected) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        encrypt(fd);
        return fd;
    }
    close(fd);
    return -1;
}

int dial(const char *host, const char *port)
{
    int fd = try_dial(host, port);
    if (fd < 0)
        die("nobody listens at %s:%s", host, port);
    return fd;
}

void write_all(int fd, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = write_some(fd, p, len);
        if (n <= 0)
            die("write: %m");
        p += n;
        len -= (size_t)n;
    }
}

static void read_all(int fd, void *data, size_t len)
{
    for (char *p = data; len > 0;) {
        ssize_t n = read_some(fd, p, len);
        if (n <= 0)
            die("the broker has closed the connection");
        p += n;
        len -= (size_t)n;
    }
}

static struct bytes read_frame(int fd, struct strbuf *frame)
{
    uint8_t head[4];
    read_all(fd, head, sizeof(head));
    strbuf_clear(frame);
    size_t len = be32_get(head);
    read_all(fd, strbuf_extend(frame, len), len);
    return (struct bytes){(const uint8_t *)frame->p, (int32_t)len};
}

/* ---- Frames ---- */

void begin_frame(struct writer *w, int16_t key, int16_t version)
{
    struct request_header header;
    request_header_init(&header);
    header.request_api_key = key;
    header.request_api_version = version;
    header.client_id = STR_LIT("bench");
    writer_init(w);
    writer_int32(w, 0);
    request_header_write(w, api_request_header_version(key, version), &header);
}

void end_frame(struct writer *w)
{
    be32_put(w->buf.p, (uint32_t)(w->buf.len - 4));
}

static void read_header(struct reader *r, int16_t key, int16_t version)
{
    struct response_header header;
    if (!response_header_read(r, api_response_header_version(key, version), &header))
        die("an answer without header");
}

void send_request(int fd, int16_t key, int16_t version, const void *request)
{
    struct writer w;
    begin_frame(&w, key, version);
    message_write(api_spec(key)->request, &w, version, request);
    end_frame(&w);
    write_all(fd, w.buf.p, w.buf.len);
    writer_deinit(&w);
}

void read_answer(struct bytes frame, int16_t key, int16_t version, void *response, struct arena *a)
{
    struct reader r;
    reader_init(&r, frame, a);
    read_header(&r, key, version);
    if (!message_read(api_spec(key)->response, &r, version, response))
        die("an answer to %s that cannot be read", api_spec(key)->name);
}

void take_answer(int fd, int16_t key, int16_t version, void *response, struct strbuf *frame, struct arena *a)
{
    read_answer(read_frame(fd, frame), key, version, response, a);
}

void ask_metadata(int fd, const char *topic, struct metadata_response *out, struct strbuf *frame, struct arena *a)
{
    enum { VERSION = 7 };
    struct metadata_request request;
    struct metadata_request_topic t;
    metadata_request_init(&request);
    metadata_request_topic_init(&t);
    t.name = str_of(topic);
    request.topics.items = &t;
    request.topics.len = 1;
    request.allow_auto_topic_creation = false;
    send_request(fd, API_METADATA, VERSION, &request);
    take_answer(fd, API_METADATA, VERSION, out, frame, a);
    if (out->topics.len != 1)
        die("metadata without %s", topic);
}

/* ---- Batches ---- */

static void fill_letters(uint8_t *p, int64_t len, uint64_t *seed)
{
    for (int64_t i = 0; i < len; i++) {
        *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
        p[i] = (uint8_t)('A' + (*seed >> 33) % 26);
    }
}

int32_t make_batch(struct strbuf *out, int64_t record_size, int64_t batch_size, enum codec codec)
{
    struct batch_builder b;
    struct arena a = {0};
    uint64_t seed = 1;
    int64_t now = clock_wall_ms();
    int32_t count = 0;
    batch_builder_init(&b, (int16_t)codec);
    do {
        uint8_t *value = arena_alloc(&a, (size_t)record_size);
        fill_letters(value, record_size, &seed);
        struct record r = {.offset = count++, .timestamp = now, .value = {value, (int32_t)record_size}};
        batch_builder_add(&b, &r);
    } while ((int64_t)batch_builder_size(&b) + record_size + 10 < batch_size);
    if (!batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, out))
        die("the batch cannot be compressed");
    batch_builder_deinit(&b);
    arena_deinit(&a);
    return count;
}

int run_mode(const struct mode *modes, size_t len, int argc, char **argv, const char *source)
{
    for (size_t i = 0; argc > 1 && i < len; i++)
        if (strcmp(argv[1], modes[i].name) == 0 && argc == modes[i].args + 2)
            return modes[i].run(argv + 2);
    die("usage: see the top of %s", source);
}
