/* An answer on its way out, on a worker, which waits for whom it answers: for a while. */
#ifndef BARNABAS_HTTP_ANSWER_H
#define BARNABAS_HTTP_ANSWER_H

#include <zlib.h>

#include "base/strbuf.h"
#include "http/http_server.h"
#include "net/transport.h"

enum { HTTP_PIECE = 16 << 10 };

struct http_answer {
    struct transport *transport;
    bool head_only, in_chunks, keep_alive, zips; /* as the request allows it, and as it turns out */
    bool begun, said, broken;                    /* the status is set; the head is out; nobody listens */
    int status;
    int64_t deadline_ms;
    struct strbuf head, piece; /* what waits to be sent */
    z_stream zip;
};

void http_answer_begin(struct http_answer *a, struct transport *t, const struct http_request *request);
/* Sends the rest. False: the connection cannot be gone on with. */
bool http_answer_end(struct http_answer *a);

#endif
