/*
 * The access control lists that ZooKeeper has: read as a whole before requests are served and after each session that
 * was lost, then list by list as notifications tell of changes; and written. On the session's loop.
 *
 * A list that cannot be understood when all are read for the first time fails the start. Later one stays as it was, and
 * where it was not known before, its resource is denied to everybody. So what somebody has written with a mistake in it
 * takes nobody's protection away.
 */
#ifndef BARNABAS_CLUSTER_ACL_WATCH_H
#define BARNABAS_CLUSTER_ACL_WATCH_H

#include "cluster/zk.h"
#include "security/acl_board.h"

struct acl_watch_options {
    struct loop *loop;
    struct zk *zk;
    struct acl_board *board; /* where the lists are published */
    /* All lists are published. Once; `fail` is NULL, or says why they could not be read. */
    void (*loaded)(void *ctx, const struct fail *fail);
    void *ctx;
};

struct acl_watch;

struct acl_watch *acl_watch_new(const struct acl_watch_options *options);
void acl_watch_free(struct acl_watch *w);                      /* after the session was closed */
void acl_watch_start(struct acl_watch *w);                     /* with each new session */
void acl_watch_changed(struct acl_watch *w, const char *path); /* a watch of the session has fired */

/*
 * A change of one resource's list, made on what ZooKeeper has then: what others change meanwhile is not lost. Changes
 * are made one at a time, in the order in which they were asked for.
 */
struct acl_update {
    struct acl_resource resource; /* of a legal name */
    /*
     * Makes of the entries that there are those that there should be, in the arena. Called again when somebody else was
     * faster. False: all is as it should be.
     */
    bool (*change)(struct acl_update *u, struct arena *a, const struct acl_entry *now, int32_t count,
                   struct acl_entry **then, int32_t *then_count);
    /* It is written, told to all brokers and published here; or `error` says why it is not. NULL: none. */
    void (*done)(struct acl_update *u, const char *error);
    void *ctx;
    int tries; /* the watch's */
    struct acl_update *prev, *next;
};

void acl_watch_update(struct acl_watch *w, struct acl_update *u);

#endif
