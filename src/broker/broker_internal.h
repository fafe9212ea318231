/* The inside of a broker, shared by its files: what is made when, and who owns it. All on the control loop. */
#ifndef BARNABAS_BROKER_BROKER_INTERNAL_H
#define BARNABAS_BROKER_BROKER_INTERNAL_H

#include "broker/state_report.h"
#include "cluster/controlled_shutdown.h"
#include "cluster/registration.h"
#include "monitor/monitor.h"
#include "security/sasl_settings.h"
#include "server/server.h"

struct broker {
    struct services services;
    const struct broker_config *given;  /* by the file and the command line */
    const struct broker_config *config; /* what the parts are started with: also what ZooKeeper had then */
    struct loop *control;
    struct client_route route;         /* to the other brokers */
    struct sasl_login login;           /* of the route */
    struct client_route control_route; /* of their control planes, where those have a listener of their own */
    struct sasl_login control_login;
    struct sasl_accounts accounts; /* who may log in */
    struct arena protection;       /* of the logins */
    struct workers *shakers;       /* make handshakes, and logins of who comes; NULL: there are none */
    struct workers *own_logins;    /* make those to other brokers, which may wait for a KDC; NULL: there are none */
    struct workers *resolvers;     /* look up other brokers' hosts: a name service that hangs holds up nothing else */
    struct loop_thread coordinator;
    struct loop_share *loop_shares;
    struct replication *replication;
    struct controller_link *isr_link; /* of its own: what waits for the controller holds up no change of an ISR */
    struct broker_links *marker_links, *verification_links;
    struct missing_partitions *missing_partitions;
    struct lost_dirs *lost_dirs;
    struct topic_log *offsets_log, *transactions_log;
    struct broker_metrics *metrics;
    struct exporter *exporter;             /* NULL: nobody asked for it */
    struct monitor *monitor;               /* NULL: the same */
    struct cruise_control *cruise_control; /* NULL: nobody asked for it */
    struct loop *monitor_loop;
    struct loop_thread monitor_thread;
    struct timer patience; /* with ZooKeeper at start, with requests at the end */
    struct watch signals;
    int signal_fd;
    struct state_report *report;
    struct supervisor *supervisor; /* NULL: no service manager listens */
    struct message told;           /* asks the coordinators of their state */
    atomic_bool is_told;           /* it is under way */
    struct registration_call registration;
    struct endpoint *endpoints; /* to be registered */
    char *own_host;             /* for a listener without host; NULL: each has one */
    bool load_ok;
    bool loading;           /* a worker has the logs loaded, and needs no session meanwhile */
    bool in_session;        /* with ZooKeeper */
    atomic_bool registered; /* in that session */
    bool all_loaded;        /* its logs are, so that they can be closed */
    struct job load;
    struct message limits_due; /* those of connections are others */
    bool limits_are_due;
    struct job stores; /* of listeners, which may have changed */
    bool stores_busy, stores_again, stores_changed;
    struct ip_rates ip_rates;        /* as ZooKeeper has them */
    struct fail load_fail;           /* the job's, as is load_ok */
    struct log_manager *opened;      /* the same, until it is everybody's */
    struct meta_properties identity; /* who this is, by its directories, its configuration and ZooKeeper */
    bool serving, stopping, registering;
    struct controlled_shutdown shutdown;
    struct hearing *hearing; /* of the coordinators */
    struct message ears, resignation;
    int exit_code, quiet_checks;
    bool leaving;
    struct authorization *authorization; /* NULL: without */
    struct zk_protection *zk_protection;
    struct tickets *tickets; /* NULL: not yet looked after */
    void (*delegation_ready)(struct broker *b, const struct fail *fail);
};

/* ---- live_settings.c ---- */

void live_settings_init(struct broker *b);
void live_settings_find_hosts(struct broker *b); /* whose connections are limited; from now on by the resolvers */
void live_settings_apply(struct broker *b);      /* what follows the settings as they change */
void live_settings_warn(struct broker *b); /* of what was set at run time, now or before the start, and has no effect */
void live_settings_renew(struct broker *b); /* files that settings name, such as key stores, may have changed */
/* Callbacks of the watch on configurations; `ctx` is the broker. */
void live_settings_changed(void *ctx, bool different);
void live_settings_topic_changed(void *ctx, const char *topic);
void live_settings_entity_changed(void *ctx, const char *entity, const struct config_znode *pairs);

/* ---- parts.c ---- */

bool parts_make(struct broker *b, struct fail *fail) NODISCARD; /* False: a listener cannot be had */
void parts_topic_overrides(void *ctx, const char *topic, struct topic_config *config); /* `ctx` is the broker */

/* ---- finish.c ---- */

void broker_finish(struct broker *b); /* when the control loop has ended: frees all but `b` */

/* ---- broker_metrics.c ---- */

void broker_metrics_start(struct broker *b); /* before anything else counts */
void broker_metrics_stop(struct broker *b);  /* when nothing does any more */

/* ---- monitoring.c ---- */

struct loop *monitoring_loop(struct broker *b); /* gets views; NULL: nobody looks */
void monitoring_start(struct broker *b);
void monitoring_stop(struct broker *b); /* its thread and its connections */
void monitoring_free(struct broker *b); /* when the exporter has gone */

/* ---- supervisor.c: what a service manager such as systemd is told; nothing, where none has started this ---- */

void supervisor_start(struct broker *b);
void supervisor_add(struct broker *b, struct loop *loop); /* the watchdog is fed only if it answers; before it runs */
void supervisor_look(struct broker *b);                   /* the start has come a step further */
void supervisor_ready(struct broker *b);
void supervisor_reload_begins(struct broker *b);
void supervisor_reload_ends(struct broker *b);
void supervisor_stopping(struct broker *b, const char *step);
void supervisor_logs_closed(void *broker, int closed, int logs); /* any thread */
void supervisor_free(struct broker *b);                          /* with what loops have of it delivered */

/* ---- protection.c ---- */

/* All that is needed to protect what the configuration says is protected. Before anything is opened. */
bool protection_make(struct broker *b, struct fail *fail) NODISCARD;
struct client_route *protection_control_route(struct broker *b); /* of the controller's channels */
void protection_apply(struct broker *b);                         /* to the listeners, before they accept */
void protection_follow(struct broker *b);                        /* stores may have changed: soon */
void protection_stop(struct broker *b);                          /* its threads */
void protection_free(struct broker *b);

/* ---- tickets.c ---- */

void tickets_start(struct broker *b); /* when it is known how the broker goes to others */
void tickets_stop(struct broker *b);
void tickets_free(struct broker *b); /* when no resolver runs any more */

/* ---- authorization.c ---- */

/* Calls `ready` when it is known who may do what, or why not; from within, if everybody may do everything. */
void authorization_start(struct broker *b, void (*ready)(struct broker *b, const struct fail *fail));
/* Who may do everything, by the configuration; in the arena. */
bool authorization_policy(const struct broker_config *c, struct arena *a, struct acl_policy *out,
                          struct fail *fail) NODISCARD;
void authorization_close(struct broker *b); /* its session */
void authorization_free(struct broker *b);

/* ---- delegation.c: delegation tokens, if there is a secret for them ---- */

/* Calls `ready` when it is known which there are, or why not; from within, if there are to be none. */
void delegation_start(struct broker *b, void (*ready)(struct broker *b, const struct fail *fail));
void delegation_session_started(struct broker *b); /* a session after the first */
bool delegation_takes_change(struct broker *b, const char *path);
void delegation_clean(struct broker *b); /* this broker is the controller: those that are over go */
void delegation_free(struct broker *b);

/* ---- coordination.c ---- */

void coordination_start(struct broker *b);
void coordination_set_out(struct broker *b); /* when the rest is there, before anything is elected */
void coordination_resign(struct broker *b);  /* who waits for coordinators is let go of */
void coordination_close_links(struct broker *b);
void coordination_free(struct broker *b);

#endif
