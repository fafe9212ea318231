/*
 * A request of HTTP/1.0 or 1.1 (RFC 9112), as a small server needs it: GET, HEAD and POST with a body of known length.
 * The parser is pure, for bytes of strangers.
 */
#ifndef BARNABAS_HTTP_REQUEST_H
#define BARNABAS_HTTP_REQUEST_H

#include "base/arena.h"

enum { HTTP_LARGEST_HEAD = 16 << 10, HTTP_LARGEST_BODY = 1 << 20 };

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_UNKNOWN };

/* Texts are those of the bytes that were parsed, or in the arena. */
struct http_request {
    enum http_method method;
    struct str path;                  /* decoded; it begins with / */
    struct str query;                 /* behind the question mark, as it came; null: there is none */
    struct str accept, authorization; /* null: not there */
    struct str body;
    bool old; /* HTTP/1.0: nothing comes in chunks */
    bool keep_alive, takes_gzip;
    bool awaits_continue; /* before it sends the body */
};

enum http_parsed { HTTP_INCOMPLETE, HTTP_COMPLETE, HTTP_REFUSED };
/*
 * HTTP_COMPLETE: `taken` bytes are the request. HTTP_INCOMPLETE: there has to be more, and `awaits_continue` may be
 * looked at. HTTP_REFUSED: `status` is to be answered, and the connection cannot be gone on with.
 */
enum http_parsed http_request_parse(struct bytes in, struct arena *a, struct http_request *out, size_t *taken,
                                    int *status);

/*
 * The next name=value of a query, both decoded, into the arena; `query` moves on. False: no more. A name without '='
 * has an empty value.
 */
bool http_query_next(struct str *query, struct arena *a, struct str *name, struct str *value);

#endif
