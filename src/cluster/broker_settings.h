/*
 * This broker's configuration as it is now: its file and command line, and over them what ZooKeeper has for all brokers
 * and for this one (KIP-226). Each change makes another struct broker_config; whoever holds an older one keeps it.
 */
#ifndef BARNABAS_BROKER_SETTINGS_H
#define BARNABAS_BROKER_SETTINGS_H

#include "cluster/znodes.h"
#include "config/config.h"

struct broker_settings;

/* `base` stays the caller's, and must outlive it. */
struct broker_settings *broker_settings_new(const struct broker_config *base);
void broker_settings_free(struct broker_settings *s);

enum settings_scope { SETTINGS_OF_ALL, SETTINGS_OF_THIS };

/*
 * Passwords are encrypted in ZooKeeper (password.encoder.*), and plain here. To open what ZooKeeper has leaves out,
 * with a line in the log, what cannot be decrypted; to seal fails without a secret. Any thread.
 */
struct config_znode broker_settings_open(const struct broker_settings *s, const struct config_znode *sealed,
                                         struct arena *a);
bool broker_settings_seal(const struct broker_settings *s, const struct config_znode *open, struct arena *a,
                          struct config_znode *sealed, struct fail *fail) NODISCARD;
/* Encrypts again what was encrypted with password.encoder.old.secret. False when there is nothing of that kind. */
bool broker_settings_reseal(const struct broker_settings *s, const struct config_znode *old, struct arena *a,
                            struct config_znode *sealed);

/*
 * Replaces what was set at run time, as ZooKeeper has it. False when nothing is different, or the whole is not a valid
 * configuration: then the configuration stays as it was, with a line in the log, until one of the scopes is another. By
 * one thread; it may take a while, as passwords are opened.
 */
bool broker_settings_take(struct broker_settings *s, enum settings_scope scope, const struct config_znode *pairs);
/* What was set at run time, in the arena. Any thread. */
struct config_znode broker_settings_own(struct broker_settings *s, enum settings_scope scope, struct arena *a);

/* The configuration, to be given back. Any thread. */
const struct broker_config *broker_settings_hold(struct broker_settings *s);
void broker_settings_release(const struct broker_config *config);

#endif
