/* An answer on its way out, on a worker, which may wait for whom it answers. */
#ifndef BARNABAS_HTTP_ANSWER_H
#define BARNABAS_HTTP_ANSWER_H

#include <zlib.h>

#include "base/strbuf.h"
#include "http/http_server.h"
#include "net/transport.h"

enum { HTTP_PIECE = 16 << 10 };

struct http_answer {
    struct transport *transport;
    bool may_wait;                               /* for the peer to take it */
    bool head_only, in_chunks, keep_alive, zips; /* as the request allows it, and as it turns out */
    bool begun, said, broken;                    /* the status is set; the head is out; nobody listens */
    int status;
    int64_t deadline_ms;
    struct strbuf head, piece; /* what waits to be sent */
    z_stream zip;
};

/* `may_wait`: for a while until it is taken; else who does not take it at once has gone. */
void http_answer_begin(struct http_answer *a, struct transport *t, const struct http_request *request, bool may_wait);
/* Sends the rest. False: the connection cannot be gone on with. */
bool http_answer_end(struct http_answer *a);

#endif
