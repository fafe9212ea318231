/*
 * A question to a web server, or the content of a file, by its URL: http, https and file. It takes as long as it is
 * allowed to, so it is for a worker. Nothing is redirected. Any thread.
 */
#ifndef BARNABAS_HTTP_H
#define BARNABAS_HTTP_H

#include "base/arena.h"
#include "base/fail.h"
#include "security/keystore.h"

struct http_question {
    const char *url;
    const char *form;                            /* sent by POST; NULL: GET */
    const char *user, *password;                 /* by Basic; NULL: nobody */
    const struct keystore *trust;                /* of https; NULL: the system's authorities */
    int64_t connect_timeout_ms, read_timeout_ms; /* 0: some seconds */
    size_t largest;                              /* answer that is taken; 0: 1 MiB */
};

/* False: there is no answer, or it says that the question was wrong. The answer lies in the arena. */
bool http_ask(const struct http_question *question, struct arena *a, struct bytes *answer, struct fail *fail) NODISCARD;

#endif
