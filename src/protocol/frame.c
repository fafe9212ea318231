#include "protocol/frame.h"

#include "protocol/msg/request_header.h"
#include "protocol/msg/response_header.h"
#include "protocol/wire.h"

enum { LENGTH_SIZE = 4 };

void request_frame(struct strbuf *out, int16_t key, int16_t version, struct str client_id, const void *request)
{
    struct request_header header;
    struct writer w;
    request_header_init(&header);
    header.request_api_key = key;
    header.request_api_version = version;
    header.client_id = client_id;
    writer_init(&w);
    writer_int32(&w, 0);
    request_header_write(&w, api_request_header_version(key, version), &header);
    message_write(api_spec(key)->request, &w, version, request);
    be32_put(w.buf.p, (uint32_t)(w.buf.len - LENGTH_SIZE));
    *out = w.buf;
    w.buf = (struct strbuf){0};
    writer_deinit(&w);
}

bool response_frame_read(struct bytes frame, int16_t key, int16_t version, void *response, struct arena *a)
{
    struct response_header header;
    struct reader r;
    reader_init(&r, frame, a);
    return response_header_read(&r, api_response_header_version(key, version), &header) &&
           message_read(api_spec(key)->response, &r, version, response);
}

bool response_frame_copy(struct bytes frame, int16_t key, int16_t version, void *response, struct arena *a)
{
    struct bytes copy = {arena_copy(a, frame.p, (size_t)frame.len), frame.len};
    return response_frame_read(copy, key, version, response, a);
}

void spoken_take(struct spoken *s, const struct api_versions_response *response)
{
    for (int i = 0; i < SPOKEN_KEYS; i++)
        s->newest[i] = -1;
    for (int32_t i = 0; i < response->api_keys.len; i++) {
        const struct api_versions_api_version *v = &response->api_keys.items[i];
        if (v->api_key < 0 || v->api_key >= SPOKEN_KEYS)
            continue;
        s->oldest[v->api_key] = v->min_version;
        s->newest[v->api_key] = v->max_version;
    }
}

bool spoken_has(const struct spoken *s, int16_t key)
{
    ensure(key >= 0 && key < SPOKEN_KEYS);
    return s->newest[key] >= 0;
}

int16_t spoken_version_between(const struct spoken *s, int16_t key, int16_t least, int16_t most)
{
    const struct api_spec *spec = api_spec(key);
    ensure(spec != NULL && key < SPOKEN_KEYS);
    int16_t version = MIN(spec->max_version, s->newest[key]), oldest = MAX(spec->min_version, s->oldest[key]);
    version = MIN(version, most);
    return spoken_has(s, key) && version >= MAX(oldest, least) ? version : -1;
}

int16_t spoken_version(const struct spoken *s, int16_t key, int16_t least)
{
    return spoken_version_between(s, key, least, INT16_MAX);
}
