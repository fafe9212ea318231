/*
 * An answer on its way out. A worker makes it; what its peer does not take at once is kept back, and left to the loop,
 * so that nobody who reads slowly has a worker. Only where all answers together have too much kept back does a worker
 * wait for whom it answers, and not for long when others wait for it.
 */
#ifndef BARNABAS_HTTP_ANSWER_H
#define BARNABAS_HTTP_ANSWER_H

#include <stdatomic.h>
#include <zlib.h>

#include "base/strbuf.h"
#include "http/http_server.h"
#include "net/transport.h"

enum { HTTP_PIECE = 16 << 10, HTTP_MOST_KEPT = 32 << 20 };

/* Who takes nothing for that long, or not all in that time, has gone. */
enum { HTTP_SILENCE_MS = 10000, HTTP_DEADLINE_MS = 60000 };

/* Of all answers of a server. */
struct http_load {
    atomic_size_t kept; /* bytes, all together */
    atomic_int queued;  /* answers that may take long and that no worker has begun */
};

/* What is kept back of one. All zeroes: nothing. */
struct http_rest {
    struct http_load *load;
    struct strbuf bytes;
    size_t at; /* so many have been sent */
};

static inline size_t http_rest_size(const struct http_rest *r)
{
    return r->bytes.len - r->at;
}

/* What goes without waiting. False: nobody listens any more. */
bool http_rest_send(struct http_rest *r, struct transport *t) NODISCARD;
void http_rest_drop(struct http_rest *r);

struct http_answer {
    struct transport *transport;
    struct http_rest *rest;
    bool may_stay;                               /* what the peer does not take at once */
    bool head_only, in_chunks, keep_alive, zips; /* as the request allows it, and as it turns out */
    bool begun, said, broken;                    /* the status is set; the head is out; nobody listens */
    int status;
    int64_t begun_ms;
    struct strbuf head, piece; /* what waits to be sent */
    z_stream zip;
};

/* `may_stay`: what is not taken at once, in `rest`; else who does not take it has gone. */
void http_answer_begin(struct http_answer *a, struct transport *t, struct http_rest *rest,
                       const struct http_request *request, bool may_stay);
/* Says the rest. False: the connection cannot be gone on with when that has been sent, or, if `broken`, at all. */
bool http_answer_end(struct http_answer *a);

#endif
