/*
 * A small HTTP server for people and programs that look at a broker: one thread reads requests, workers answer them,
 * one of which is kept for what is quick, so that who asks for much does not hold up the question for health. What it
 * does cannot hold up anything else, and what is done to it neither: connections are few, heads and bodies have a
 * bound, and who is slow makes room for who comes next.
 */
#ifndef BARNABAS_HTTP_SERVER_H
#define BARNABAS_HTTP_SERVER_H

#include "base/fail.h"
#include "http/http_request.h"

struct tls_context;

enum { HTTP_MOST_CONNECTIONS = 64 };

struct http_listener {
    const char *host;        /* "": all addresses */
    int port;                /* 0: any */
    struct tls_context *tls; /* NULL: bytes go as they are */
    const void *what;        /* the handler's */
};

struct http_answer;
/*
 * Answers a request, on a worker, several at once. The status comes first, then what there is to say; a handler that
 * says nothing has answered 500. False from http_say(): nobody listens any more.
 */
typedef void (*http_handler)(void *ctx, const struct http_listener *at, const struct http_request *request,
                             struct http_answer *answer);
void http_status(struct http_answer *a, int status, const char *content_type);
/* One more header, before anything is said. */
void http_header(struct http_answer *a, const char *name, const char *value);
bool http_say(struct http_answer *a, const void *p, size_t len);
/* For handlers that are at work for long before they say anything. False: as from http_say(). */
bool http_is_awaited(struct http_answer *a);
/* Whether it is for somebody on this machine. */
bool http_is_from_here(const struct http_answer *a);
/* Status, and a line of text. */
void http_say_text(struct http_answer *a, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

struct http_server;
/* Answers that are short and need no waiting; asked on the server's loop. */
typedef bool (*http_is_quick)(void *ctx, const struct http_listener *at, const struct http_request *request);
/* Listens from now on. What `listeners` refer to outlives the server. NULL: an address cannot be had. */
struct http_server *http_server_new(const struct http_listener *listeners, int count, http_handler handler,
                                    http_is_quick is_quick, void *ctx, struct fail *fail);
/* Those that come from now on are encrypted with that, where others were. Takes a reference. Any thread. */
void http_server_set_tls(struct http_server *s, struct tls_context *tls);
int http_server_port(const struct http_server *s, int listener);
void http_server_free(struct http_server *s); /* after what is being answered */

#endif
