/*
 *     by password     (nothing), challenge, answer, the server's proof that it knows the password, too
 *     with a ticket   as security/sasl_gssapi.c has it; then the server says that it is content, in a frame without a
 * token
 *
 * A step may outlive who asked for it: its answer finds another connection in the place of its own, or nobody.
 */
#include "cluster/zk_login_internal.h"

#include <netdb.h>
#include <stdio.h>

#include "base/chance.h"
#include "net/addresses.h"

enum { NONCE_BYTES = 16 };

struct zk_login {
    struct job job; /* a step */
    struct loop *loop;
    struct workers *workers;
    struct zk_protection *protection;
    void (*turn)(void *ctx, const struct zk_login_turn *turn);
    void *ctx;
    char host[NI_MAXHOST]; /* of the connection that there is now */
    struct sockaddr_storage address;
    bool under_way, stepping;
    bool stale;  /* what is stepping belongs to a connection that is gone */
    bool doomed; /* or to nobody */

    /* The step's, while there is one. */
    char to_host[NI_MAXHOST];
    struct sockaddr_storage to_address;
    struct sasl_client *talk; /* with tickets */
    struct digest_answer digest;
    int steps;
    bool said_last; /* the server has nothing more to say than that it is content */
    struct bytes challenge;
    struct arena arena; /* of the challenge, and of what is said to it */
    struct sasl_step step;
};

static void forget_conversation(struct zk_login *l)
{
    sasl_client_free(l->talk);
    l->talk = NULL;
    l->digest = (struct digest_answer){0};
    l->steps = 0;
    l->said_last = false;
    arena_deinit(&l->arena);
    l->arena = (struct arena){0};
}

static void zk_login_destroy(struct zk_login *l)
{
    forget_conversation(l);
    zk_protection_unref(l->protection);
    free(l);
}

/* ---- Steps ---- */

static void say_text(struct zk_login *l, enum sasl_outcome outcome, struct str text)
{
    l->step = (struct sasl_step){.outcome = outcome, .answer = {(const uint8_t *)text.p, text.len}};
}

static void refuse_step(struct zk_login *l, const char *why)
{
    l->step = (struct sasl_step){.outcome = SASL_REFUSED, .reason = why};
}

static void answer_challenge(struct zk_login *l)
{
    uint8_t chance[NONCE_BYTES];
    char nonce[2 * NONCE_BYTES + 1];
    struct fail why;
    chance_fill(chance, sizeof(chance));
    for (int i = 0; i < NONCE_BYTES; i++)
        snprintf(nonce + 2 * i, 3, "%02x", chance[i]);
    struct str challenge = {(const char *)l->challenge.p, l->challenge.len};
    if (digest_md5_respond(&l->protection->password, challenge, nonce, &l->arena, &l->digest, &why))
        say_text(l, SASL_GOES_ON, l->digest.text);
    else
        refuse_step(l, arena_cstr(&l->arena, str_of(why.text)));
}

static void check_proof(struct zk_login *l)
{
    struct str proof = {(const char *)l->challenge.p, l->challenge.len};
    if (digest_md5_check(&l->digest, proof, &l->arena))
        say_text(l, SASL_DONE, (struct str){0});
    else
        refuse_step(l, "it does not show that it knows the password itself");
}

static void step_by_password(struct zk_login *l)
{
    if (l->steps == 0)
        say_text(l, SASL_GOES_ON, STR_LIT(""));
    else if (l->steps == 1)
        answer_challenge(l);
    else
        check_proof(l);
}

/* The host in the server's principal, by the rules of ZooKeeper's clients in Java. */
static struct sasl_client *open_talk(const struct zk_login *l)
{
    const struct zk_protection *p = l->protection;
    char name[NI_MAXHOST];
    if (p->host != NULL)
        return sasl_client_new(&p->tickets, p->host);
    bool found = p->canonical && address_find_name(&l->to_address, name, sizeof(name));
    return sasl_client_new(&p->tickets, found ? name : l->to_host);
}

static void step_with_tickets(struct zk_login *l)
{
    if (l->said_last) {
        say_text(l, SASL_DONE, (struct str){0});
        return;
    }
    if (l->talk == NULL)
        l->talk = open_talk(l);
    sasl_client_step(l->talk, l->challenge, &l->arena, &l->step);
    l->said_last = l->step.outcome == SASL_DONE && l->step.answer.p != NULL;
}

static void make_step(struct zk_login *l)
{
    if (l->challenge.p == NULL && !l->said_last)
        refuse_step(l, "it knows no logins of this kind");
    else if (l->protection->tickets.kerberos != NULL)
        step_with_tickets(l);
    else
        step_by_password(l);
    l->steps++;
}

/* ---- On a worker, and back ---- */

static void zk_login_run(struct job *job)
{
    make_step(CONTAINER_OF(job, struct zk_login, job));
}

static void submit_step(struct zk_login *l, struct bytes challenge)
{
    ensure(!l->stepping);
    struct arena memory = {0}; /* `challenge` may be in that of the last step */
    const uint8_t *copy = challenge.p != NULL ? arena_copy(&memory, challenge.p, (size_t)challenge.len) : NULL;
    arena_deinit(&l->arena);
    l->arena = memory;
    l->challenge = (struct bytes){copy, challenge.len};
    l->stepping = true;
    if (l->workers != NULL && l->protection->tickets.kerberos != NULL) {
        workers_submit(l->workers, &l->job);
    } else {
        zk_login_run(&l->job);
        loop_post(l->loop, &l->job.done);
    }
}

static void start_conversation(struct zk_login *l)
{
    forget_conversation(l);
    memcpy(l->to_host, l->host, sizeof(l->to_host));
    l->to_address = l->address;
    submit_step(l, (struct bytes){(const uint8_t *)"", 0});
}

static void give_turn(struct zk_login *l)
{
    const struct sasl_step *s = &l->step;
    struct zk_login_turn turn = {.state = ZK_LOGIN_SAYS, .token = {(const char *)s->answer.p, s->answer.len}};
    if (s->outcome == SASL_REFUSED) {
        turn.state = ZK_LOGIN_REFUSED;
        fail_set(&turn.why, "%s", s->reason != NULL ? s->reason : "the mechanism cannot go on");
    } else if (s->answer.p == NULL) {
        turn.state = ZK_LOGIN_DONE;
    }
    if (turn.state != ZK_LOGIN_SAYS)
        l->under_way = false;
    l->turn(l->ctx, &turn);
}

static void zk_login_on_stepped(struct message *m)
{
    struct zk_login *l = CONTAINER_OF(m, struct zk_login, job.done);
    ensure(l->stepping && loop_is_mine(l->loop));
    if (l->doomed) {
        zk_login_destroy(l);
        return;
    }
    bool stale = l->stale;
    l->stepping = l->stale = false;
    if (!stale)
        give_turn(l);
    else if (l->under_way)
        start_conversation(l);
}

/* ---- Life ---- */

struct zk_login *zk_login_new(struct zk_protection *protection, struct loop *loop, struct workers *workers,
                              void (*turn)(void *ctx, const struct zk_login_turn *turn), void *ctx)
{
    struct zk_login *l = xcalloc(1, sizeof(*l));
    l->job = (struct job){.run = zk_login_run, .home = loop, .done = {.deliver = zk_login_on_stepped}};
    l->loop = loop;
    l->workers = workers;
    l->protection = zk_protection_ref(protection);
    l->turn = turn;
    l->ctx = ctx;
    return l;
}

void zk_login_begin(struct zk_login *l, const char *host, const struct sockaddr_storage *address)
{
    ensure(loop_is_mine(l->loop) && !l->under_way);
    snprintf(l->host, sizeof(l->host), "%s", host);
    l->address = *address;
    l->under_way = true;
    if (!l->stepping)
        start_conversation(l);
}

void zk_login_answer(struct zk_login *l, struct bytes token)
{
    ensure(loop_is_mine(l->loop) && l->under_way && !l->stepping);
    submit_step(l, token);
}

void zk_login_stop(struct zk_login *l)
{
    if (l == NULL)
        return;
    l->stale = l->stepping;
    l->under_way = false;
    if (!l->stepping)
        forget_conversation(l);
}

void zk_login_free(struct zk_login *l)
{
    if (l == NULL)
        return;
    l->doomed = true;
    if (!l->stepping)
        zk_login_destroy(l);
}
