/* Whole frames of the asking side, for those who send requests, and the versions that they may use. */
#ifndef BARNABAS_PROTOCOL_FRAME_H
#define BARNABAS_PROTOCOL_FRAME_H

#include "protocol/codec.h"
#include "protocol/msg/api_versions.h"

/* A request with length and header; its correlation id is 0, to be set by who sends it. Fills `out`: strbuf_deinit().
 */
void request_frame(struct strbuf *out, int16_t key, int16_t version, struct str client_id, const void *request);
/* An answer, without its length. What `response` points to lies in the frame and in `a`. */
bool response_frame_read(struct bytes frame, int16_t key, int16_t version, void *response, struct arena *a) NODISCARD;
/* The same for who keeps the answer longer than the frame: all of it lies in `a`. */
bool response_frame_copy(struct bytes frame, int16_t key, int16_t version, void *response, struct arena *a) NODISCARD;

enum { SPOKEN_KEYS = 128 };

/* What a peer has told of itself in an ApiVersions response. */
struct spoken {
    int16_t oldest[SPOKEN_KEYS], newest[SPOKEN_KEYS]; /* newest -1: does not speak it */
};

void spoken_take(struct spoken *s, const struct api_versions_response *response);
bool spoken_has(const struct spoken *s, int16_t key);
/* The newest version, not below `least`, that both sides know; -1: none. */
int16_t spoken_version(const struct spoken *s, int16_t key, int16_t least);
/* The same, and not above `most`. */
int16_t spoken_version_between(const struct spoken *s, int16_t key, int16_t least, int16_t most);

#endif
