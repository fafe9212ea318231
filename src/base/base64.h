/* Base64 with padding (RFC 4648), as Kafka keeps bytes in texts. */
#ifndef BARNABAS_BASE64_H
#define BARNABAS_BASE64_H

#include "base/arena.h"
#include "base/strbuf.h"

void base64_add(struct strbuf *out, struct bytes data);
/* False when the text is not base64. The bytes lie in the arena. */
bool base64_decode(struct str text, struct arena *a, struct bytes *out) NODISCARD;

#endif
