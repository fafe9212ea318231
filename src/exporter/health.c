#include "base/loop.h"
#include "exporter/exporter_internal.h"

enum { STATE_RECOVERY = 2, STATE_RUNNING = 3, STATE_UNKNOWN = 127, STUCK_US = 10 * 1000000 };

static int broker_state(struct metrics *m)
{
    double state;
    return bean_number(m, "kafka.server:type=KafkaServer,name=BrokerState", &state) ? (int)state : -1;
}

/* Of loops alone: workers that wait for a disk are no reason to end a broker that has others. */
static void answer_livez(struct http_answer *answer)
{
    char name[LOOP_NAME_ROOM];
    if (loop_find_stuck(STUCK_US, name))
        http_say_text(answer, 503, "The loop %s has been at work for more than %d s.", name, STUCK_US / 1000000);
    else
        http_say_text(answer, 200, "ok");
}

/* A broker that is on its way out has its port open still; with a new session it may have to wait for its old node. */
bool health_takes_part(struct metrics *m, struct fail *why)
{
    char session[64];
    double registered = 0;
    int state = broker_state(m);
    if (state != STATE_RUNNING)
        return fail_set(why, "The state of the broker is %d, not %d.", state, STATE_RUNNING);
    if (!bean_says(m, "kafka.server:type=SessionExpireListener,name=SessionState", session, sizeof(session)))
        return fail_set(why, "The state of the session with ZooKeeper is not known.");
    if (strcmp(session, "CONNECTED") != 0)
        return fail_set(why, "The session with ZooKeeper is %s.", session);
    if (!bean_number(m, BEAN_OWN_DOMAIN ":type=Broker,name=Registered", &registered) || registered == 0)
        return fail_set(why, "The broker is not registered with ZooKeeper.");
    return true;
}

/* For who sends clients here. */
static void answer_readyz(struct metrics *m, struct http_answer *answer)
{
    struct fail why;
    if (health_takes_part(m, &why))
        http_say_text(answer, 200, "ok");
    else
        http_say_text(answer, 503, "%s", why.text);
}

/* As Strimzi's agent, which takes a broker for ready from when it runs until it has ended. */
static void answer_ready(struct metrics *m, struct http_answer *answer)
{
    int state = broker_state(m);
    if (state < 0)
        http_say_text(answer, 404, "Broker state metric not found");
    else if (state >= STATE_RUNNING && state != STATE_UNKNOWN)
        http_status(answer, 204, NULL);
    else
        http_say_text(answer, 503, "Readiness failed: brokerState is %d", state);
}

static void answer_state(struct metrics *m, struct http_answer *answer)
{
    struct strbuf text = {0};
    double logs = 0, segments = 0;
    int state = broker_state(m);
    strbuf_printf(&text, "{\"brokerState\":%d", state);
    if (state == STATE_RECOVERY) {
        (void)bean_sum(m, "kafka.log:type=LogManager,name=remainingLogsToRecover,*", "Value", &logs);
        (void)bean_sum(m, "kafka.log:type=LogManager,name=remainingSegmentsToRecover,*", "Value", &segments);
        strbuf_printf(&text, ",\"recoveryState\":{\"remainingLogsToRecover\":%.0f,\"remainingSegmentsToRecover\":%.0f}",
                      logs, segments);
    }
    strbuf_puts(&text, "}");
    http_status(answer, state < 0 ? 404 : 200, "application/json");
    http_say(answer, text.p, text.len);
    strbuf_deinit(&text);
}

static void answer_migration(struct metrics *m, struct http_answer *answer)
{
    double state = 0;
    struct strbuf text = {0};
    bool known = bean_number(m, "kafka.controller:type=KafkaController,name=ZkMigrationState", &state);
    strbuf_printf(&text, "{\"state\":%.0f}", state);
    http_status(answer, known ? 200 : 404, "application/json");
    http_say(answer, text.p, text.len);
    strbuf_deinit(&text);
}

bool health_answers(struct str path)
{
    static const char *const paths[] = {
        "/livez",           "/readyz",           "/v1/ready",           "/v1/ready/",
        "/v1/broker-state", "/v1/broker-state/", "/v1/kraft-migration", "/v1/kraft-migration/"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (str_is(path, paths[i]))
            return true;
    return false;
}

void health_answer(struct metrics *m, struct str path, struct http_answer *answer)
{
    if (str_is(path, "/livez"))
        answer_livez(answer);
    else if (str_is(path, "/readyz"))
        answer_readyz(m, answer);
    else if (memcmp(path.p, "/v1/r", 5) == 0)
        answer_ready(m, answer);
    else if (memcmp(path.p, "/v1/b", 5) == 0)
        answer_state(m, answer);
    else
        answer_migration(m, answer);
}
