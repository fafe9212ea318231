/* The inside of a broker, shared by its files: what is made when, and who owns it. All on the control loop. */
#ifndef BARNABAS_BROKER_BROKER_INTERNAL_H
#define BARNABAS_BROKER_BROKER_INTERNAL_H

#include "cluster/controlled_shutdown.h"
#include "cluster/registration.h"
#include "security/sasl_settings.h"
#include "server/server.h"

struct broker {
    struct services services;
    const struct broker_config *given;  /* by the file and the command line */
    const struct broker_config *config; /* what the parts are started with: also what ZooKeeper had then */
    struct loop *control;
    struct client_route route;     /* to the other brokers */
    struct sasl_login login;       /* of the route */
    struct sasl_accounts accounts; /* who may log in */
    struct arena protection;       /* of the login */
    struct workers *shakers;       /* make handshakes and logins; NULL: there are none */
    struct workers *resolvers;     /* look up other brokers' hosts: a name service that hangs holds up nothing else */
    struct loop_thread coordinator;
    struct wake_queue **wake_queues;
    struct replication *replication;
    struct broker_links *marker_links, *verification_links;
    struct missing_partitions *missing_partitions;
    struct lost_dirs *lost_dirs;
    struct topic_log *offsets_log, *transactions_log;
    struct timer patience; /* with ZooKeeper at start, with requests at the end */
    struct watch signals;
    int signal_fd;
    struct registration_call registration;
    struct endpoint *endpoints; /* to be registered */
    char *own_host;             /* for a listener without host; NULL: each has one */
    struct job load;
    struct job limits; /* of connections: their change asks the name service */
    bool limits_busy, limits_again;
    struct ip_rates ip_rates, limits_rates; /* as ZooKeeper has them; and those that the job takes over */
    struct fail load_fail;
    bool load_ok, serving, stopping, registering;
    struct controlled_shutdown shutdown;
    struct message resignation;
    int exit_code, quiet_checks;
    bool leaving;
    struct authorization *authorization; /* NULL: without */
};

/* ---- live_settings.c ---- */

void live_settings_init(struct broker *b);
void live_settings_apply(struct broker *b); /* what follows the settings as they change */
void live_settings_warn(struct broker *b); /* of what was set at run time, now or before the start, and has no effect */
/* Callbacks of the watch on configurations; `ctx` is the broker. */
void live_settings_changed(void *ctx, bool different);
void live_settings_topic_changed(void *ctx, const char *topic);
void live_settings_entity_changed(void *ctx, const char *entity, const struct config_znode *pairs);

/* ---- protection.c ---- */

/* All that is needed to protect what the configuration says is protected. Before anything is opened. */
bool protection_make(struct broker *b, struct fail *fail) NODISCARD;
void protection_apply(struct broker *b);                                   /* to the listeners, before they accept */
void protection_follow(struct broker *b, const struct broker_config *now); /* of changed stores */
void protection_free(struct broker *b);

/* ---- authorization.c ---- */

/* Calls `ready` when it is known who may do what, or why not; from within, if everybody may do everything. */
void authorization_start(struct broker *b, void (*ready)(struct broker *b, const struct fail *fail));
void authorization_close(struct broker *b); /* its session */
void authorization_free(struct broker *b);

/* ---- coordination.c ---- */

void coordination_start(struct broker *b);
void coordination_set_replicas(struct broker *b); /* before anything is elected */
void coordination_resign(struct broker *b);       /* who waits for coordinators is let go of */
void coordination_close_links(struct broker *b);
void coordination_free(struct broker *b);

#endif
