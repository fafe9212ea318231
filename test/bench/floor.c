/*
 * What a broker cannot do without: takes Produce requests, writes their batches to a file for each partition as they
 * are, answers; and sends regions of those files with sendfile for Fetch requests. It checks nothing, assigns no
 * offsets, keeps no index and promises nothing: what it costs is what the kernel asks for the same bytes.
 *
 *   floor PORT FOLDER [KEYS]      until it is killed; listens on the loopback address
 *
 * With the PEM file KEYS all is encrypted, by OpenSSL alone: a region is read, and what was read is written to the
 * connection.
 *
 * One topic at a time: a partition's file is named by its number, and a connection that produces to another topic than
 * the one before empties them. Each connection reads a partition from its beginning, whatever offset it asks for.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "protocol/msg/api.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/produce.h"
#include "protocol/msg/request_header.h"
#include "protocol/msg/response_header.h"

enum { MOST_PARTITIONS = 64, MOST_READY = 256, ROOM = 128 << 10, AT_ONCE = 64 << 10 };

struct floor_file { /* a partition */
    struct file_ref *file;
    int64_t end;
};

struct visitor {
    int fd;
    SSL *tls;    /* NULL: in the clear */
    uint8_t *in; /* `len` bytes of `cap`: a frame, or a part of one, or several */
    size_t len, cap;
    int64_t at[MOST_PARTITIONS];
};

struct basement {
    const char *folder;
    SSL_CTX *tls; /* NULL: in the clear */
    char topic[256];
    struct floor_file files[MOST_PARTITIONS];
    struct file_region regions[MOST_PARTITIONS]; /* of the last Fetch */
};

/* ---- Files ---- */

static void open_topic(struct basement *b, struct str topic)
{
    if (str_is(topic, b->topic))
        return;
    snprintf(b->topic, sizeof(b->topic), "%.*s", STR_ARGS(topic));
    for (int32_t p = 0; p < MOST_PARTITIONS; p++) {
        if (b->files[p].file != NULL)
            file_ref_put(b->files[p].file);
        b->files[p] = (struct floor_file){0};
    }
}

static struct floor_file *file_of(struct basement *b, int32_t partition)
{
    if (partition < 0 || partition >= MOST_PARTITIONS)
        die("no partition %" PRId32, partition);
    struct floor_file *f = &b->files[partition];
    if (f->file == NULL) {
        char *path = xasprintf("%s/%s-%" PRId32, b->folder, b->topic, partition);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
            die("%s: %m", path);
        free(path);
        f->file = file_ref_new(fd);
    }
    return f;
}

/* ---- Requests ---- */

static void produce(struct basement *b, struct reader *r, int16_t version, struct writer *w)
{
    struct produce_request request;
    struct produce_response response;
    struct produce_topic_produce_response t;
    struct produce_partition_produce_response p;
    if (!produce_request_read(r, version, &request))
        die("a request that cannot be read");
    const struct produce_topic_produce_data *asked = &request.topic_data.items[0];
    struct bytes batch = asked->partition_data.items[0].records.mem;
    open_topic(b, asked->name);
    struct floor_file *f = file_of(b, asked->partition_data.items[0].index);
    if (pwrite(f->file->fd, batch.p, (size_t)batch.len, f->end) != batch.len)
        die("pwrite: %m");
    produce_response_init(&response);
    produce_topic_produce_response_init(&t);
    produce_partition_produce_response_init(&p);
    response.responses.items = &t;
    response.responses.len = 1;
    t.name = asked->name;
    t.partition_responses.items = &p;
    t.partition_responses.len = 1;
    p.index = asked->partition_data.items[0].index;
    p.base_offset = f->end;
    f->end += batch.len;
    produce_response_write(w, version, &response);
}

static void fetch(struct basement *b, struct visitor *v, struct reader *r, int16_t version, struct writer *w)
{
    struct fetch_request request;
    struct fetch_response response;
    struct fetch_fetchable_topic_response t;
    struct fetch_partition_data answers[MOST_PARTITIONS];
    if (!fetch_request_read(r, version, &request))
        die("a request that cannot be read");
    const struct fetch_topic *asked = &request.topics.items[0];
    open_topic(b, asked->topic);
    fetch_response_init(&response);
    fetch_fetchable_topic_response_init(&t);
    response.responses.items = &t;
    response.responses.len = 1;
    t.topic = asked->topic;
    t.partitions.items = answers;
    t.partitions.len = asked->partitions.len;
    for (int32_t i = 0; i < asked->partitions.len; i++) {
        const struct fetch_partition *p = &asked->partitions.items[i];
        const struct floor_file *f = file_of(b, p->partition);
        int64_t *at = &v->at[p->partition], len = MIN(f->end - *at, p->partition_max_bytes);
        fetch_partition_data_init(&answers[i]);
        answers[i].partition_index = p->partition;
        answers[i].high_watermark = f->end;
        b->regions[i] = (struct file_region){f->file, *at, (int32_t)len};
        answers[i].records = (struct records){.region = &b->regions[i], .region_len = (int32_t)len};
        *at += len;
    }
    fetch_response_write(w, version, &response);
}

/* ---- Encryption ---- */

static SSL_CTX *read_keys(const char *keys)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(tls, keys) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, keys, SSL_FILETYPE_PEM) != 1)
        die("no keys in %s", keys);
    SSL_CTX_set_mode(tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, AT_ONCE);
    return tls;
}

/* As recv() and send() say it. */
static ssize_t outcome(const struct visitor *v, int n)
{
    if (n > 0)
        return n;
    int why = SSL_get_error(v->tls, n);
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t floor_take(const struct visitor *v, void *data, size_t len)
{
    if (v->tls == NULL)
        return recv(v->fd, data, len, 0);
    ERR_clear_error();
    return outcome(v, SSL_read(v->tls, data, (int)MIN(len, (size_t)INT_MAX)));
}

static ssize_t floor_give(const struct visitor *v, const void *data, size_t len, int flags)
{
    if (v->tls == NULL)
        return send(v->fd, data, len, flags | MSG_NOSIGNAL);
    ERR_clear_error();
    return outcome(v, SSL_write(v->tls, data, (int)MIN(len, (size_t)INT_MAX)));
}

/* ---- Answers ---- */

static void wait_for_room(int fd, const char *what)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (errno != EAGAIN || poll(&p, 1, -1) < 0)
        die("%s: %m", what);
}

static void send_part(const struct visitor *v, const void *data, size_t len, int flags)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = floor_give(v, p, len, flags);
        if (n <= 0)
            wait_for_room(v->fd, "send");
        else {
            p += n;
            len -= (size_t)n;
        }
    }
}

static void send_region_encrypted(const struct visitor *v, const struct file_region *region)
{
    static char piece[AT_ONCE];
    for (int64_t at = region->pos, end = region->pos + region->len; at < end;) {
        ssize_t n = pread(region->file->fd, piece, MIN(sizeof(piece), (size_t)(end - at)), at);
        if (n <= 0)
            die("pread: %m");
        send_part(v, piece, (size_t)n, 0);
        at += n;
    }
}

static void send_region(const struct visitor *v, const struct file_region *region)
{
    off_t at = region->pos, end = region->pos + region->len;
    if (v->tls != NULL) {
        send_region_encrypted(v, region);
        return;
    }
    while (at < end)
        if (sendfile(v->fd, region->file->fd, &at, (size_t)(end - at)) < 0)
            wait_for_room(v->fd, "sendfile");
}

/* And `w` is empty then. */
static void send_answers(const struct visitor *v, struct writer *w)
{
    size_t at = 0;
    for (size_t i = 0; i < w->splice_count; i++) {
        const struct writer_splice *s = &w->splices[i];
        send_part(v, w->buf.p + at, s->position - at, MSG_MORE);
        send_region(v, s->region);
        at = s->position;
    }
    send_part(v, w->buf.p + at, w->buf.len - at, 0);
    writer_deinit(w);
    writer_init(w);
}

/* ---- Connections ---- */

/* Adds the answer to one request to what goes out together; after a Fetch that must be at once, as the next takes its
 * regions. */
static void serve(struct basement *b, struct visitor *v, struct bytes frame, struct writer *w)
{
    struct arena a = {0};
    struct reader r;
    struct request_header header;
    struct response_header answer;
    int16_t key = (int16_t)be16_get(frame.p), version = (int16_t)be16_get(frame.p + 2);
    size_t start = w->buf.len, before = writer_total(w);
    reader_init(&r, frame, &a);
    if (!request_header_read(&r, api_request_header_version(key, version), &header))
        die("a header that cannot be read");
    writer_int32(w, 0);
    response_header_init(&answer);
    answer.correlation_id = header.correlation_id;
    response_header_write(w, api_response_header_version(key, version), &answer);
    if (key == API_PRODUCE)
        produce(b, &r, version, w);
    else if (key == API_FETCH)
        fetch(b, v, &r, version, w);
    else
        die("no answer to API %d", key);
    be32_put(w->buf.p + start, (uint32_t)(writer_total(w) - before - 4));
    arena_deinit(&a);
    if (key == API_FETCH)
        send_answers(v, w);
}

/* How many bytes of what is there were whole frames. */
static size_t serve_all(struct basement *b, struct visitor *v)
{
    struct writer w;
    size_t at = 0, frame;
    writer_init(&w);
    while (v->len - at >= 4 && v->len - at >= (frame = 4 + (size_t)be32_get(v->in + at))) {
        serve(b, v, (struct bytes){v->in + at + 4, (int32_t)frame - 4}, &w);
        at += frame;
    }
    send_answers(v, &w);
    writer_deinit(&w);
    return at;
}

/* What the connection has, or some of it. 0: it has gone; below: it has nothing. */
static ssize_t take_some(struct basement *b, struct visitor *v)
{
    size_t wanted = v->len >= 4 ? 4 + (size_t)be32_get(v->in) : ROOM;
    if (v->cap < MAX(wanted, ROOM)) {
        v->cap = MAX(wanted, ROOM);
        v->in = xrealloc(v->in, v->cap);
    }
    ssize_t n = floor_take(v, v->in + v->len, v->cap - v->len);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? -1 : 0;
    v->len += (size_t)n;
    size_t done = serve_all(b, v);
    v->len -= done;
    if (done > 0)
        memmove(v->in, v->in + done, v->len);
    return n;
}

/* False: it has gone. Of what OpenSSL has read ahead, the kernel does not tell again. */
static bool turn(struct basement *b, struct visitor *v)
{
    ssize_t n;
    do
        n = take_some(b, v);
    while (n > 0 && v->tls != NULL);
    return n != 0;
}

static void welcome(const struct basement *b, int epoll, int listener)
{
    struct visitor *v = xcalloc(1, sizeof(*v));
    int one = 1;
    v->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (v->fd < 0)
        die("accept: %m");
    setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (b->tls != NULL) {
        v->tls = SSL_new(b->tls);
        SSL_set_fd(v->tls, v->fd);
        SSL_set_accept_state(v->tls);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = v};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, v->fd, &event) < 0)
        die("epoll: %m");
}

static void dismiss(struct visitor *v)
{
    SSL_free(v->tls);
    close(v->fd);
    free(v->in);
    free(v);
}

static int listen_at(const char *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0)
        die("port %s: %m", port);
    return fd;
}

int main(int argc, char **argv)
{
    static struct basement b;
    struct epoll_event ready[MOST_READY], first = {.events = EPOLLIN};
    if (argc != 3 && argc != 4)
        die("usage: see the top of floor.c");
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to connections whose other end is gone */
    b.folder = argv[2];
    b.tls = argc == 4 ? read_keys(argv[3]) : NULL;
    int listener = listen_at(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &first) < 0)
        die("epoll: %m");
    for (;;) {
        int n = epoll_wait(epoll, ready, MOST_READY, -1);
        for (int i = 0; i < n; i++)
            if (ready[i].data.ptr == NULL)
                welcome(&b, epoll, listener);
            else if (!turn(&b, ready[i].data.ptr))
                dismiss(ready[i].data.ptr);
    }
}
