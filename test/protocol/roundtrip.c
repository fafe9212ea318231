/*
 * Reads the messages that Frames.java or capture.py has written, decodes and encodes each, and compares: roundtrip
 * FILE. Prints how many messages, of how many APIs and versions, came back the same; exit code 1 if any did not.
 */
#include <inttypes.h>
#include <stdio.h>

#include "protocol/msg/api.h"
#include "protocol/msg/request_header.h"
#include "protocol/msg/response_header.h"

enum { MOST_REPORTED = 20 };
enum kind { RESPONSE, REQUEST, REQUEST_FRAME, RESPONSE_FRAME }; /* a frame has its header in front */

struct counts {
    int messages, versions, wrong;
    int last_key, last_version, last_kind;
};

static bool same(const struct message_type *type, int16_t version, struct bytes data)
{
    struct arena a = {0};
    struct reader r;
    struct writer w;
    void *message = arena_alloc(&a, type->size);
    reader_init(&r, data, &a);
    writer_init(&w);
    bool ok = message_read(type, &r, version, message) && reader_left(&r) == 0;
    if (ok)
        message_write(type, &w, version, message);
    ok = ok && w.buf.len == (size_t)data.len && (data.len == 0 || memcmp(w.buf.p, data.p, w.buf.len) == 0);
    if (!ok) {
        struct strbuf text = {0};
        reader_error(&r, &text);
        if (reader_ok(&r))
            message_print(type, &text, version, message);
        printf("%s version %d: %s\n", type->name, version, text.p);
        strbuf_deinit(&text);
    }
    writer_deinit(&w);
    arena_deinit(&a);
    return ok;
}

/* Takes the header off a frame. */
static bool strip(enum kind kind, int16_t key, int16_t version, struct bytes *data)
{
    struct arena a = {0};
    struct reader r;
    struct request_header request;
    struct response_header response;
    bool ok = true;
    reader_init(&r, *data, &a);
    if (kind == REQUEST_FRAME)
        ok = request_header_read(&r, api_request_header_version(key, version), &request);
    else if (kind == RESPONSE_FRAME)
        ok = response_header_read(&r, api_response_header_version(key, version), &response);
    *data = (struct bytes){r.at, (int32_t)reader_left(&r)};
    arena_deinit(&a);
    return ok;
}

/* One message of the file; false at its end. */
static bool check_next(FILE *f, struct counts *c)
{
    uint8_t head[9];
    if (fread(head, 1, sizeof(head), f) != sizeof(head))
        return false;
    int16_t key = (int16_t)be16_get(head), version = (int16_t)be16_get(head + 3);
    int32_t len = (int32_t)be32_get(head + 5);
    uint8_t *data = xmalloc((size_t)len + 1);
    size_t got = fread(data, 1, (size_t)len, f);
    const struct api_spec *spec = api_spec(key);
    if (got == (size_t)len && spec != NULL && version >= spec->min_version && version <= spec->max_version) {
        enum kind kind = head[2];
        const struct message_type *type = kind == REQUEST || kind == REQUEST_FRAME ? spec->request : spec->response;
        struct bytes message = {data, len};
        c->messages++;
        c->versions += key != c->last_key || version != c->last_version || head[2] != c->last_kind;
        c->last_key = key;
        c->last_version = version;
        c->last_kind = head[2];
        c->wrong += !strip(kind, key, version, &message) || !same(type, version, message);
    }
    free(data);
    return got == (size_t)len && c->wrong < MOST_REPORTED;
}

int main(int argc, char **argv)
{
    struct counts c = {.last_key = -1};
    FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (f == NULL) {
        fprintf(stderr, "usage: roundtrip FILE\n");
        return 2;
    }
    while (check_next(f, &c))
        ;
    fclose(f);
    printf("%d messages, %d schemas, %d wrong\n", c.messages, c.versions, c.wrong);
    return c.wrong > 0;
}
