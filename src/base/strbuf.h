/* A growing text or byte buffer on the heap. All zeroes is valid and empty. One thread at a time. */
#ifndef BARNABAS_STRBUF_H
#define BARNABAS_STRBUF_H

#include "base/bytes.h"

struct strbuf {
    char *p; /* NUL-terminated once anything was added */
    size_t len, cap;
};

void strbuf_deinit(struct strbuf *b);
void strbuf_clear(struct strbuf *b); /* keeps the memory */
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_str(struct strbuf *b, struct str s);
/* The same of bytes that anybody may have chosen: what is no UTF-8 would make the whole unreadable. */
void strbuf_utf8(struct strbuf *b, struct str s);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for `len` more bytes, which the caller fills; they count as added. */
void *strbuf_extend(struct strbuf *b, size_t len);
/* The text, to be freed by the caller; the buffer is empty afterwards. Never NULL. */
char *strbuf_take(struct strbuf *b);

#endif
