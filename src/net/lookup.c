/*
 * Questions to the name service, asked on threads that may hang.
 *
 * getaddrinfo() cannot be called off. So a question that nobody waits for any more goes on, and its answer is thrown
 * away. Who asks may go before the job begins, which then does not ask; while it asks; or when the answer is in the
 * loop's mailbox. In each case `loop` says so, and whoever has the question next frees it.
 */
#include "base/lock.h"
#include "net/addresses.h"

struct lookup {
    struct job job;
    struct message answer;
    struct loop *loop; /* of who asks; NULL: gone. Changed on it, with `askers` held. */
    void (*done)(void *ctx, struct addresses *found);
    void *ctx;
    char *host;
    int port;
    struct addresses found;
};

static struct lock askers = LOCK_INITIALIZER(RANK_ASKERS);

static void lookup_free(struct lookup *l)
{
    addresses_clear(&l->found);
    free(l->host);
    free(l);
}

/* On its loop, who has posted the answer is done with that after this. */
static bool lookup_is_wanted(const struct lookup *l)
{
    lock_take(&askers);
    bool wanted = l->loop != NULL;
    lock_release(&askers);
    return wanted;
}

/* False when nobody waits for it any more. Otherwise it is not ours any more. */
static bool post_answer(struct lookup *l)
{
    lock_take(&askers);
    bool wanted = l->loop != NULL;
    if (wanted)
        loop_post(l->loop, &l->answer);
    lock_release(&askers);
    return wanted;
}

static void run_lookup(struct job *job)
{
    struct lookup *l = CONTAINER_OF(job, struct lookup, job);
    if (lookup_is_wanted(l))
        addresses_find(&l->found, l->host, l->port, false);
    if (!post_answer(l))
        lookup_free(l);
}

static void lookup_on_looked_up(struct message *m)
{
    struct lookup *l = CONTAINER_OF(m, struct lookup, answer);
    if (lookup_is_wanted(l))
        l->done(l->ctx, &l->found);
    lookup_free(l);
}

struct lookup *lookup_start(struct loop *loop, struct workers *resolvers, const char *host, int port,
                            void (*done)(void *ctx, struct addresses *found), void *ctx)
{
    struct lookup *l = xcalloc(1, sizeof(*l));
    *l = (struct lookup){.job = {.run = run_lookup},
                         .answer = {.deliver = lookup_on_looked_up},
                         .loop = loop,
                         .done = done,
                         .ctx = ctx,
                         .host = xstrdup(host),
                         .port = port};
    workers_submit(resolvers, &l->job);
    return l;
}

void lookup_abandon(struct lookup *l)
{
    if (l == NULL)
        return;
    lock_take(&askers);
    l->loop = NULL;
    lock_release(&askers);
}
