/*
 * Thousands of clients in one thread: a connection each, of which one request is on its way at a time. Whatever goes
 * wrong ends the program.
 */
#ifndef BENCH_LINKS_H
#define BENCH_LINKS_H

#include "client.h"

struct link {
    int fd; /* 0: there is none */
    bool connected;
    int64_t begun_us; /* when it began to connect */
    struct strbuf in; /* of the answer that is being read, its length included */
    void (*answered)(struct link *l, struct bytes frame);
    void (*lost)(struct link *l); /* the broker did not let it in, or has closed it; NULL: that ends the program */
};

/* As many descriptors as the system lets the program have. */
void links_init(void);
/*
 * Begins to connect, from one of the addresses of this machine's loopback, as each has only so many ports; `answered`
 * gets the answer to the one request that is sent as soon as that goes.
 */
void link_open(struct link *l, const char *host, const char *port,
               void (*answered)(struct link *l, struct bytes frame));
void link_close(struct link *l);
/* The next one; answers come to `answered`. */
void link_ask(struct link *l, int16_t key, int16_t version, const void *request);
/* Serves all, until the time has come or `done` says so; `done` may be NULL. */
void links_run(int64_t until_us, bool (*done)(void));

/* ---- Phases ---- */

/* After a line of JSON, waits for one of whoever has started the program. False: its input has ended. */
bool go_on(void);

#endif
