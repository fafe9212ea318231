#include "net/client_login.h"

#include <stdatomic.h>

#include "base/bytes.h"
#include "protocol/error.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"
#include "protocol/msg/sasl_authenticate.h"
#include "protocol/msg/sasl_handshake.h"

enum login_stage { ASKS_VERSIONS, SHAKES_HANDS, TALKS };

struct client_login {
    struct job job; /* a step of the conversation */
    struct loop *loop;
    struct workers *workers;
    struct sasl_client *talk;
    const char *mechanism;
    enum login_stage stage;
    bool stepping;
    atomic_bool doomed; /* abandoned while a worker had the step, or had it in its queue */
    int16_t authenticate_version;
    int64_t lifetime_ms;
    struct bytes challenge;
    struct sasl_step step;
    struct arena arena; /* of the step, and of the answer before it */
    void (*turn)(void *ctx, struct login_turn *turn);
    void *ctx;
};

static void login_free(struct client_login *l)
{
    sasl_client_free(l->talk);
    arena_deinit(&l->arena);
    free(l);
}

/* ---- Turns ---- */

static void login_say(struct client_login *l, int16_t key, int16_t version, const void *request)
{
    struct login_turn turn = {.state = LOGIN_GOES_ON};
    request_frame(&turn.frame, key, version, STR_LIT("barnabas"), request);
    l->turn(l->ctx, &turn);
    strbuf_deinit(&turn.frame);
}

static void login_fail(struct client_login *l, const char *why)
{
    struct login_turn turn = {.state = LOGIN_FAILED};
    fail_set(&turn.why, "%s", why);
    l->turn(l->ctx, &turn);
}

static void login_end(struct client_login *l)
{
    struct login_turn turn = {.state = LOGIN_DONE, .lifetime_ms = l->lifetime_ms};
    l->turn(l->ctx, &turn);
}

/* ---- The conversation ---- */

static void say_token(struct client_login *l)
{
    struct sasl_authenticate_request request;
    sasl_authenticate_request_init(&request);
    request.auth_bytes = l->step.answer;
    login_say(l, API_SASL_AUTHENTICATE, l->authenticate_version, &request);
}

static void on_stepped(struct message *m)
{
    struct client_login *l = CONTAINER_OF(m, struct client_login, job.done);
    ensure(loop_is_mine(l->loop) && l->stepping);
    l->stepping = false;
    if (l->doomed)
        login_free(l);
    else if (l->step.outcome == SASL_REFUSED)
        login_fail(l, l->step.reason != NULL ? l->step.reason : "the mechanism cannot go on");
    else if (l->step.answer.p != NULL)
        say_token(l);
    else
        login_end(l);
}

static void login_run(struct job *job)
{
    struct client_login *l = CONTAINER_OF(job, struct client_login, job);
    if (!atomic_load(&l->doomed)) /* many may be, and a KDC that hangs takes its time for each */
        sasl_client_step(l->talk, l->challenge, &l->arena, &l->step);
}

static void login_step(struct client_login *l, struct bytes challenge)
{
    ensure(l->stage == TALKS && !l->stepping && l->authenticate_version >= 0);
    l->challenge = challenge;
    l->stepping = true;
    l->job = (struct job){.run = login_run, .home = l->loop, .done = {.deliver = on_stepped}};
    if (l->workers != NULL) {
        workers_submit(l->workers, &l->job);
        return;
    }
    login_run(&l->job);
    loop_post(l->loop, &l->job.done);
}

/* ---- Answers ---- */

static void login_shake_hands(struct client_login *l, struct bytes frame)
{
    struct api_versions_response answer;
    struct spoken spoken;
    struct sasl_handshake_request request;
    if (!response_frame_read(frame, API_API_VERSIONS, 0, &answer, &l->arena) || answer.error_code != ERR_NONE) {
        login_fail(l, "the broker does not tell its versions");
        return;
    }
    spoken_take(&spoken, &answer);
    l->authenticate_version = spoken_version(&spoken, API_SASL_AUTHENTICATE, 0);
    if (l->authenticate_version < 0 || spoken_version(&spoken, API_SASL_HANDSHAKE, 1) < 0) {
        login_fail(l, "the broker is too old for this way to log in, which is that of Kafka 1.0");
        return;
    }
    sasl_handshake_request_init(&request);
    request.mechanism = str_of(l->mechanism);
    l->stage = SHAKES_HANDS;
    login_say(l, API_SASL_HANDSHAKE, 1, &request);
}

static void begin_talking(struct client_login *l, struct bytes frame)
{
    struct sasl_handshake_response answer;
    if (!response_frame_read(frame, API_SASL_HANDSHAKE, 1, &answer, &l->arena)) {
        login_fail(l, "the broker's answer to SaslHandshake is malformed");
    } else if (answer.error_code != ERR_NONE) {
        struct str why = arena_printf(&l->arena, "Client SASL mechanism '%s' not enabled in the server", l->mechanism);
        login_fail(l, why.p);
    } else {
        l->stage = TALKS;
        login_step(l, (struct bytes){(const uint8_t *)"", 0});
    }
}

static void go_on_talking(struct client_login *l, struct bytes frame)
{
    struct sasl_authenticate_response answer;
    bool last = l->step.outcome == SASL_DONE;
    arena_deinit(&l->arena);
    l->arena = (struct arena){0};
    if (!response_frame_copy(frame, API_SASL_AUTHENTICATE, l->authenticate_version, &answer, &l->arena)) {
        login_fail(l, "the broker's answer to SaslAuthenticate is malformed");
    } else if (answer.error_code != ERR_NONE) {
        struct str text = answer.error_message;
        login_fail(l, text.len > 0 ? arena_cstr(&l->arena, text) : error_message(answer.error_code));
    } else {
        l->lifetime_ms = answer.session_lifetime_ms;
        if (last)
            login_end(l);
        else
            login_step(l, answer.auth_bytes);
    }
}

void client_login_answer(struct client_login *l, struct bytes frame)
{
    ensure(!l->stepping && !l->doomed);
    switch (l->stage) {
    case ASKS_VERSIONS:
        login_shake_hands(l, frame);
        return;
    case SHAKES_HANDS:
        begin_talking(l, frame);
        return;
    case TALKS:
        go_on_talking(l, frame);
    }
}

/* ---- Life ---- */

struct client_login *client_login_new(const struct sasl_login *login, const char *host, struct loop *loop,
                                      struct workers *workers, void (*turn)(void *ctx, struct login_turn *turn),
                                      void *ctx)
{
    struct client_login *l = xcalloc(1, sizeof(*l));
    l->loop = loop;
    l->workers = workers;
    l->mechanism = sasl_mechanism_name(login->mechanism);
    l->talk = sasl_client_new(login, host);
    l->turn = turn;
    l->ctx = ctx;
    return l;
}

void client_login_start(struct client_login *l)
{
    struct api_versions_request request;
    ensure(l->stage == ASKS_VERSIONS && !l->stepping);
    api_versions_request_init(&request);
    login_say(l, API_API_VERSIONS, 0, &request);
}

void client_login_abandon(struct client_login *l)
{
    if (l == NULL)
        return;
    ensure(loop_is_mine(l->loop) && !l->doomed);
    l->doomed = true;
    if (!l->stepping)
        login_free(l);
}
