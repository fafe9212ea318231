/*
 * Whatever arrives as a request: header and body are decoded as a broker does it, and what could be decoded is
 * encoded and decoded again. Requests of other brokers and answers to ours are decoded, too.
 */
#include <stdio.h>

#include "base/base.h"
#include "protocol/msg/api.h"
#include "protocol/msg/request_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct message_type *type, int16_t version, const void *message, struct arena *a)
{
    struct writer w;
    struct reader r;
    void *copy = arena_alloc(a, type->size);
    writer_init(&w);
    message_write(type, &w, version, message);
    reader_init(&r, (struct bytes){(const uint8_t *)(w.buf.len > 0 ? w.buf.p : ""), (int32_t)w.buf.len}, a);
    if (!message_read(type, &r, version, copy) || reader_left(&r) != 0) {
        struct strbuf text = {0};
        reader_error(&r, &text);
        fprintf(stderr, "%s version %d does not come back: %s\n", type->name, version, text.p);
        abort();
    }
    writer_deinit(&w);
}

static void decode(const struct message_type *type, int16_t version, struct bytes body)
{
    struct arena a;
    struct reader r;
    arena_init(&a, (size_t)body.len * 16 + (1 << 20));
    void *message = arena_alloc(&a, type->size);
    reader_init(&r, body, &a);
    if (message_read(type, &r, version, message)) {
        struct arena roomy = {0};
        again(type, version, message, &roomy);
        arena_deinit(&roomy);
    }
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct reader r;
    struct request_header header;
    if (size < 8 || size > 1 << 20)
        return 0;
    int16_t key = (int16_t)be16_get(data), version = (int16_t)be16_get(data + 2);
    const struct api_spec *spec = api_spec(key);
    if (spec != NULL && version >= spec->min_version && version <= spec->max_version) {
        reader_init(&r, (struct bytes){data, (int32_t)size}, &a);
        if (request_header_read(&r, api_request_header_version(key, version), &header))
            decode(spec->request, version, (struct bytes){r.at, (int32_t)reader_left(&r)});
        decode(spec->response, version, (struct bytes){data + 4, (int32_t)size - 4});
    }
    arena_deinit(&a);
    return 0;
}
