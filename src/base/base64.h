/* Base64 (RFC 4648): with padding, as Kafka keeps bytes in texts; and for URLs without, as tokens have it. */
#ifndef BARNABAS_BASE64_H
#define BARNABAS_BASE64_H

#include "base/arena.h"
#include "base/strbuf.h"

void base64_add(struct strbuf *out, struct bytes data);
/* False when the text is not base64. The bytes lie in the arena. */
bool base64_decode(struct str text, struct arena *a, struct bytes *out) NODISCARD;

/* With - and _ in place of + and /, and nothing behind the last character. */
void base64url_add(struct strbuf *out, struct bytes data);
bool base64url_decode(struct str text, struct arena *a, struct bytes *out) NODISCARD;

#endif
