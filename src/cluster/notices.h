/*
 * A folder of ZooKeeper where it is said what has changed elsewhere: sequential nodes, which every broker reads in
 * their order. They stay for a quarter of an hour, as others may not have seen them; every broker takes older ones
 * away. On the session's loop.
 */
#ifndef BARNABAS_CLUSTER_NOTICES_H
#define BARNABAS_CLUSTER_NOTICES_H

#include "cluster/zk.h"

struct notices_options {
    struct zk *zk;
    const char *folder, *prefix; /* "/config/changes", "config_change_"; they stay with the caller */
    /*
     * New ones are read: a batch of ZK_GETs, to be freed. notices_done() is called when what they tell of is known;
     * meanwhile no others arrive.
     */
    void (*arrived)(void *ctx, struct zk_batch *b);
    void *ctx;
};

struct notices;

struct notices *notices_new(const struct notices_options *options);
void notices_free(struct notices *n);
/* Adds the folder's listing to a batch that is about to read everything: what it lists need not be read. */
void notices_list(struct notices *n, struct zk_batch *b);
/* That batch has come back; notices_done() is called when everything is known. */
void notices_begin(struct notices *n, struct zk_batch *b);
void notices_done(struct notices *n);
void notices_changed(struct notices *n); /* the folder's watch has fired */

#endif
