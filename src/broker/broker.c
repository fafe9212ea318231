/*
 * The main thread is the control loop. Starting is a chain of steps, each called when the one before has
 * answered: ZooKeeper, cluster id, broker id, settings, logs, sockets, registration, controller. Stopping goes
 * the way back.
 */
#include "broker/broker.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/logger.h"
#include "broker/broker_internal.h"
#include "cluster/missing_partitions.h"
#include "cluster/zk_protection.h"
#include "exporter/exporter.h"
#include "logging/logging.h"
#include "replica/lost_dirs.h"
#include "replica/replication.h"

enum { QUIET_CHECK_MS = 2, QUIET_CHECKS = 2500, RESOLVERS = 8 };

static void broker_leave(struct broker *b);

static void broker_give_up(struct broker *b, const char *why)
{
    if (b->leaving)
        return; /* what fails now fails because of that */
    log_fatal("%s", why);
    b->exit_code = 1;
    broker_leave(b);
    supervisor_stopping(b, why);
}

/* ---- Callbacks of the log manager ---- */

static void dir_failed(void *ctx, const char *dir, const char *why UNUSED)
{
    struct broker *b = ctx;
    lost_dirs_report(b->lost_dirs, dir);
}

static void dir_stopped(void *ctx)
{
    struct broker *b = ctx;
    registration_report_log_dir(b->services.zk, b->services.broker_id);
}

/* ---- Starting, last step first ---- */

static void broker_on_registered(struct registration_call *call, bool ok)
{
    struct broker *b = CONTAINER_OF(call, struct broker, registration);
    b->registering = false;
    if (b->stopping || b->leaving || (!ok && call->expired))
        return; /* the next session registers again */
    if (!ok) {
        broker_give_up(b, call->fail.text);
        return;
    }
    b->services.broker_epoch = call->epoch;
    atomic_store(&b->registered, true);
    log_info("Registered broker %" PRId32 " with epoch %" PRId64, b->services.broker_id, call->epoch);
    controller_start(b->services.controller);
    if (b->serving)
        return;
    b->serving = true;
    atomic_store(&b->services.state, BROKER_RUNNING);
    net_server_start(b->services.net);
    log_info("started");
    supervisor_ready(b);
}

static void register_broker(struct broker *b)
{
    const struct listener_list *advertised = &b->config->advertised_listeners;
    free(b->endpoints);
    b->endpoints = xcalloc((size_t)advertised->count, sizeof(*b->endpoints));
    for (int i = 0; i < advertised->count; i++) {
        const struct listener *l = &advertised->items[i];
        int port = l->port;
        for (int k = 0; port == 0 && k < b->config->listeners.count; k++)
            if (strcmp(b->config->listeners.items[k].name, l->name) == 0)
                port = net_server_port(b->services.net, k);
        const char *host = l->host[0] != '\0' ? l->host : b->own_host;
        b->endpoints[i] = (struct endpoint){l->name, security_protocol_name((int16_t)l->protocol), host, port};
    }
    b->registration.done = broker_on_registered;
    b->registration.self = (struct registration){.id = b->services.broker_id,
                                                 .endpoints = b->endpoints,
                                                 .endpoint_count = advertised->count,
                                                 .rack = b->config->broker_rack};
    b->registering = true;
    b->registration.loop = b->control;
    b->registration.waiting = false;
    /* The server rounds the time-out up to its ticks, and looks at its sessions once a tick. */
    b->registration.patience_ms = 2 * (int64_t)b->config->zookeeper_session_timeout_ms;
    registration_make(&b->registration);
}

static void tell_transactions(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, told);
    atomic_store(&b->is_told, false);
    txn_tell_state(b->services.transactions);
}

/* Their loop says so when it can; others need not wait for it. */
static void ask_coordinators(void *ctx)
{
    struct broker *b = ctx;
    if (!atomic_exchange(&b->is_told, true))
        loop_post(b->services.coordinator_loop, &b->told);
}

static void look_after(struct broker *b, struct loop *loop)
{
    state_report_add(b->report, loop);
    supervisor_add(b, loop);
}

static void report_on(struct broker *b)
{
    const struct services *s = &b->services;
    b->told.deliver = tell_transactions;
    look_after(b, s->coordinator_loop);
    for (int i = 0; i < net_server_loop_count(s->net); i++)
        look_after(b, net_server_loop(s->net, i));
    for (int i = 0; i < replication_loop_count(b->replication); i++)
        look_after(b, replication_loop(b->replication, i));
    if (monitoring_loop(b) != NULL)
        look_after(b, monitoring_loop(b));
    state_report_ask(b->report, ask_coordinators, b);
}

static void open_for_business(struct broker *b)
{
    struct fail fail;
    if (!parts_make(b, &fail)) {
        broker_give_up(b, fail.text);
        return;
    }
    live_settings_apply(b);
    net_server_run_loops(b->services.net);
    log_manager_start(b->services.logs);
    lost_dirs_start(b->lost_dirs, b->services.logs, b->services.replicas);
    replication_start(b->replication, b->services.replicas);
    monitoring_start(b);
    report_on(b);
    supervisor_look(b);
    if (b->in_session)
        register_broker(b);
    else
        log_info("The broker registers when there is a session with ZooKeeper again");
}

static bool know_host(struct broker *b)
{
    const struct listener_list *advertised = &b->config->advertised_listeners;
    bool needed = false;
    for (int i = 0; i < advertised->count; i++)
        needed |= advertised->items[i].host[0] == '\0';
    return !needed || (b->own_host = own_host_name(&b->load_fail)) != NULL;
}

/* By a worker, as a disk may make it wait for seconds. */
static void work_on_logs(struct broker *b, void (*run)(struct job *job), void (*done)(struct message *m))
{
    b->load = (struct job){.run = run, .home = b->control, .done = {.deliver = done}};
    workers_submit(b->services.workers, &b->load);
}

static void load_logs(struct job *job)
{
    struct broker *b = CONTAINER_OF(job, struct broker, load);
    atomic_store(&b->services.state, BROKER_RECOVERY);
    b->load_ok = know_host(b) && log_manager_load(b->services.logs, &b->load_fail);
}

static void on_logs_loaded(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, load.done);
    b->loading = false;
    b->all_loaded = b->load_ok;
    if (b->stopping || b->leaving)
        return;
    if (!b->load_ok)
        broker_give_up(b, b->load_fail.text);
    else
        open_for_business(b);
}

static void on_delegation(struct broker *b, const struct fail *fail)
{
    if (b->stopping || b->leaving)
        return;
    if (fail != NULL) {
        broker_give_up(b, fail->text);
        return;
    }
    b->loading = true;
    work_on_logs(b, load_logs, on_logs_loaded);
    supervisor_look(b);
}

static void on_authorization(struct broker *b, const struct fail *fail)
{
    if (b->stopping || b->leaving)
        return;
    if (fail != NULL)
        broker_give_up(b, fail->text);
    else
        delegation_start(b, on_delegation);
}

static void on_configs_loaded(void *ctx, const struct fail *why)
{
    struct broker *b = ctx;
    if (b->stopping || b->leaving)
        return;
    if (why != NULL) {
        broker_give_up(b, why->text);
        return;
    }
    b->config = broker_settings_hold(b->services.settings);
    b->services.config = b->config;
    if (!config_check_protection(b->config, &b->load_fail) || !protection_make(b, &b->load_fail)) {
        broker_give_up(b, b->load_fail.text);
        return;
    }
    workers_resize(b->services.workers, b->config->num_io_threads);
    log_manager_settle(b->services.logs, b->config);
    live_settings_warn(b);
    authorization_start(b, on_authorization);
}

/* ---- Whose the log directories are ---- */

static void identify_logs(struct job *job)
{
    struct broker *b = CONTAINER_OF(job, struct broker, load);
    b->load_ok = log_manager_identify(b->services.logs, &b->identity, &b->load_fail);
}

static void on_logs_identified(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, load.done);
    if (b->stopping || b->leaving)
        return;
    if (!b->load_ok)
        broker_give_up(b, b->load_fail.text);
    else
        config_watch_start(b->services.config_watch, b->services.broker_id);
}

static void load(struct broker *b)
{
    b->identity.broker_id = b->services.broker_id;
    work_on_logs(b, identify_logs, on_logs_identified);
}

/* The end of a session is told of by on_session_expired(). */
static void give_up_start(struct broker *b, const struct registration_call *call)
{
    if (!call->expired)
        broker_give_up(b, call->fail.text);
}

static void take_id(struct broker *b, int32_t id)
{
    b->services.broker_id = id;
    logger_set_broker(id);
}

static void on_generated_id(struct registration_call *call, bool ok)
{
    struct broker *b = CONTAINER_OF(call, struct broker, registration);
    if (b->stopping || b->leaving)
        return;
    if (!ok) {
        give_up_start(b, call);
        return;
    }
    take_id(b, call->broker_id);
    load(b);
}

/* The directories' own word on who this is, against the configuration and ZooKeeper. */
static void open_logs(struct job *job)
{
    struct broker *b = CONTAINER_OF(job, struct broker, load);
    struct meta_properties expected = b->identity;
    struct log_manager_options options = {.config = b->config,
                                          .metrics = b->services.metrics,
                                          .workers = b->services.workers,
                                          .loop = b->control,
                                          .topic_overrides = parts_topic_overrides,
                                          .dir_failed = dir_failed,
                                          .ctx = b};
    b->opened = log_manager_new(&options, &b->load_fail);
    b->load_ok = b->opened != NULL && log_manager_identity(b->opened, &expected, &b->identity, &b->load_fail);
}

static void on_logs_opened(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, load.done);
    b->services.logs = b->opened;
    if (b->stopping || b->leaving)
        return;
    if (!b->load_ok) {
        broker_give_up(b, b->load_fail.text);
    } else if (b->identity.broker_id < 0) {
        b->registration.done = on_generated_id;
        registration_generate_id(&b->registration, b->config->reserved_broker_max_id);
    } else {
        take_id(b, b->identity.broker_id);
        load(b);
    }
}

static void on_prepared(struct registration_call *call, bool ok)
{
    struct broker *b = CONTAINER_OF(call, struct broker, registration);
    if (b->stopping || b->leaving)
        return;
    if (!ok) {
        give_up_start(b, call);
        return;
    }
    snprintf(b->services.cluster_id, sizeof(b->services.cluster_id), "%s", call->cluster_id);
    log_info("Cluster ID = %s", call->cluster_id);
    b->identity.broker_id = b->config->broker_id;
    snprintf(b->identity.cluster_id, sizeof(b->identity.cluster_id), "%s", b->services.cluster_id);
    work_on_logs(b, open_logs, on_logs_opened);
}

/* ---- ZooKeeper's session ---- */

/* The logs are loaded: from here on each new session only registers. */
static bool is_open(const struct broker *b)
{
    return b->services.controller != NULL;
}

static void on_session_started(void *ctx)
{
    struct broker *b = ctx;
    timer_stop(&b->patience);
    if (b->stopping || b->leaving)
        return;
    b->in_session = true;
    if (b->loading || is_open(b)) {
        config_watch_start(b->services.config_watch, b->services.broker_id);
        delegation_session_started(b);
        if (is_open(b))
            register_broker(b);
        return;
    }
    b->registration.zk = b->services.zk;
    b->registration.done = on_prepared;
    registration_prepare(&b->registration);
}

/* For the node of an earlier session of this broker's. */
static void broker_stop_waiting(struct broker *b)
{
    if (b->registration.waiting)
        timer_stop(&b->registration.retry);
    b->registration.waiting = false;
}

static void on_session_expired(void *ctx)
{
    struct broker *b = ctx;
    if (b->services.controller != NULL)
        controller_stop(b->services.controller, "the ZooKeeper session has expired");
    broker_stop_waiting(b);
    b->in_session = false;
    atomic_store(&b->registered, false);
    if (b->loading) /* which may take hours, and needs nothing of it */
        log_info("The logs are loaded all the same, and the broker registers with the next session");
    else if (!is_open(b))
        broker_give_up(b, "The ZooKeeper session expired while the broker was starting");
}

static void broker_on_changed(void *ctx, const char *path)
{
    struct broker *b = ctx;
    if (strcmp(path, ZNODE_CONFIG_CHANGES) == 0)
        config_watch_changed(b->services.config_watch);
    else if (delegation_takes_change(b, path))
        return;
    else if (b->services.controller != NULL)
        controller_changed(b->services.controller, path);
}

static void on_no_zookeeper(struct timer *t)
{
    struct broker *b = CONTAINER_OF(t, struct broker, patience);
    struct fail fail;
    const char *why = zk_trouble(b->services.zk);
    fail_set(&fail,
             "Timed out waiting for connection to ZooKeeper server %s after %" PRId32
             " ms (zookeeper.connection.timeout.ms)%s%s",
             b->config->zookeeper_connect, b->config->zookeeper_connection_timeout_ms, *why ? ": " : "", why);
    broker_give_up(b, fail.text);
}

/* A running broker goes on to try, as the servers may be about to learn a new password. */
static void on_zookeeper_refuses(void *ctx, const struct fail *why)
{
    struct broker *b = ctx;
    if (zk_session_id(b->services.zk) == 0)
        broker_give_up(b, why->text);
}

/* ---- Stopping ---- */

/* Requests end as the parts that they wait for let go of them; their answers need all loops and workers. */
static void on_quiet_check(struct timer *t)
{
    struct broker *b = CONTAINER_OF(t, struct broker, patience);
    bool quiet = net_server_is_quiet(b->services.net);
    if (!quiet && ++b->quiet_checks <= QUIET_CHECKS) {
        timer_start(t, QUIET_CHECK_MS);
        return;
    }
    if (!quiet)
        log_warn("Requests are still being served: they are given up");
    loop_stop(b->control);
}

static void broker_leave(struct broker *b)
{
    if (b->leaving)
        return;
    b->leaving = true;
    supervisor_stopping(b, "Stopping: answering what was asked");
    atomic_store(&b->services.state, BROKER_SHUTTING_DOWN);
    lost_dirs_stop(b->lost_dirs);
    if (b->loading)
        log_manager_halt_load(b->services.logs);
    if (b->services.net == NULL || b->services.controller == NULL) {
        loop_stop(b->control);
        return;
    }
    broker_stop_waiting(b);
    log_manager_stop(b->services.logs);
    net_server_close_connections(b->services.net);
    controller_stop(b->services.controller, "the broker is shutting down");
    controller_link_close(b->services.controller_link);
    controller_link_close(b->isr_link);
    zk_close(b->services.zk);
    coordination_resign(b);
    timer_init(&b->patience, b->control, on_quiet_check);
    timer_start(&b->patience, QUIET_CHECK_MS);
}

static void on_relieved(struct controlled_shutdown *shutdown, bool clean)
{
    struct broker *b = CONTAINER_OF(shutdown, struct broker, shutdown);
    if (clean)
        log_info("Controlled shutdown succeeded");
    broker_leave(b);
}

static void stop(struct broker *b)
{
    if (b->stopping) {
        broker_leave(b); /* asked twice */
        return;
    }
    b->stopping = true;
    log_info("Shutting down");
    if (!b->serving || !b->config->controlled_shutdown_enable) {
        broker_leave(b);
        return;
    }
    supervisor_stopping(b, "Stopping: handing over what it leads");
    atomic_store(&b->services.state, BROKER_PENDING_CONTROLLED_SHUTDOWN);
    b->shutdown.done = on_relieved;
    controlled_shutdown_start(&b->shutdown, b->control, b->services.controller_link, b->config, b->services.broker_id,
                              b->services.broker_epoch);
}

static void broker_on_signal(struct watch *w, int events UNUSED)
{
    struct broker *b = CONTAINER_OF(w, struct broker, signals);
    struct signalfd_siginfo info;
    if (read(b->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP) {
        log_info("Opening the files of the log again, and reading again what may have changed");
        supervisor_reload_begins(b);
        logging_reopen();
        live_settings_renew(b);
        supervisor_reload_ends(b);
        return;
    }
    log_info("Terminating process due to signal %s", strsignal((int)info.ssi_signo));
    stop(b);
}

static void catch_signals(struct broker *b)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_DFL); /* nohup has it ignored, so that it would not get here */
    signal(SIGPIPE, SIG_IGN);
    b->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    ensure(b->signal_fd >= 0);
    watch_init(&b->signals, b->control, b->signal_fd, broker_on_signal);
    watch_set(&b->signals, WATCH_READ);
}

/* ---- The whole ---- */

/* With Kafka's default of 10 a controller that takes office waits for thousands of answers, one behind the other. */
static int32_t most_in_flight(const struct broker_config *config)
{
    enum { UNLESS_GIVEN = 100 };
    bool given = config_raw(config, "zookeeper.max.in.flight.requests") != NULL;
    return given ? config->zookeeper_max_in_flight_requests : UNLESS_GIVEN;
}

static void broker_start(struct broker *b)
{
    const struct broker_config *c = b->config;
    b->services.config = c;
    b->services.workers = workers_new("worker", c->num_io_threads);
    b->services.order_worker = workers_new("orders", 1);
    b->services.order_lane = order_lane_new();
    b->lost_dirs = lost_dirs_new(&(struct lost_dirs_options){b->control, b->services.workers, dir_stopped, b});
    b->resolvers = workers_new("resolvers", RESOLVERS);
    client_route_init(&b->route, b->resolvers, NULL);
    client_route_init(&b->control_route, b->resolvers, NULL);
    b->route.metrics = b->control_route.metrics = client_metrics_new(b->services.metrics);
    b->services.control_loop = b->control;
    b->services.settings = broker_settings_new(c);
    b->services.scram_users = scram_users_new();
    b->services.quotas = quotas_new(
        (struct rate_window){c->quota_window_num, c->quota_window_size_seconds * INT64_C(1000)},
        (struct rate_window){c->controller_quota_window_num, c->controller_quota_window_size_seconds * INT64_C(1000)});
    quotas_count(b->services.quotas, b->services.metrics);
    b->services.topic_configs = topic_configs_new(b->services.settings);
    coordination_start(b);
    struct zk_options zk = {.loop = b->control,
                            .resolvers = b->resolvers,
                            .connect = c->zookeeper_connect,
                            .metrics = b->services.metrics,
                            .session_timeout_ms = c->zookeeper_session_timeout_ms,
                            .max_in_flight = most_in_flight(c),
                            .changed = broker_on_changed,
                            .session_started = on_session_started,
                            .session_expired = on_session_expired,
                            .protection = b->zk_protection,
                            .refused = on_zookeeper_refuses,
                            .ctx = b};
    b->services.zk = zk_new(&zk);
    missing_partitions_set_zk(b->missing_partitions, b->services.zk);
    struct config_watch_options configs = {.zk = b->services.zk,
                                           .configs = b->services.topic_configs,
                                           .settings = b->services.settings,
                                           .changed = live_settings_topic_changed,
                                           .settings_changed = live_settings_changed,
                                           .entity_changed = live_settings_entity_changed,
                                           .loaded = on_configs_loaded,
                                           .ctx = b};
    b->services.config_watch = config_watch_new(&configs);
    timer_init(&b->patience, b->control, on_no_zookeeper);
    timer_start(&b->patience, c->zookeeper_connection_timeout_ms);
}

int broker_run(const struct broker_config *config)
{
    struct fail fail;
    struct zk_protection *protection = zk_protection_of(config, false, &fail);
    if (protection == NULL) {
        log_fatal("%s", fail.text);
        return 1;
    }
    struct broker *b = xcalloc(1, sizeof(*b));
    logger_set_broker(config->broker_id);
    log_info("Starting barnabas " BARNABAS_VERSION " with %s", config->file);
    b->zk_protection = protection;
    b->given = b->config = config;
    b->control = loop_new("control");
    live_settings_init(b);
    catch_signals(b);
    broker_metrics_start(b);
    supervisor_start(b);
    b->report = state_report_start(b->services.metrics);
    state_report_add(b->report, b->control);
    atomic_store(&b->services.state, BROKER_STARTING);
    broker_start(b);
    if (!exporter_start(config, b->services.metrics, &b->exporter, &fail))
        broker_give_up(b, fail.text);
    loop_run(b->control);
    broker_finish(b);
    log_info("Shut down completed");
    int code = b->exit_code;
    zk_protection_unref(b->zk_protection);
    free(b);
    return code;
}
