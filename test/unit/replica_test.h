/* What tests of partitions share: the replicas of one broker, in a directory of their own. */
#ifndef BARNABAS_REPLICA_TEST_H
#define BARNABAS_REPLICA_TEST_H

#include "test.h"

#include "replica/replica.h"

enum { SELF = 1 };

struct test_replicas {
    char dir[64];
    struct broker_config config;
    struct log_manager *logs;
    struct replica_manager *manager;
    int isr_wanted; /* how often a partition wanted another ISR */
};

static inline void test_replicas_config(void *ctx, const char *topic UNUSED, struct topic_config *out)
{
    struct test_replicas *r = ctx;
    topic_config_defaults(&r->config, out);
}

static inline void test_replicas_ignore(void *ctx UNUSED, struct partition *p UNUSED)
{
}

static inline bool test_replicas_may_join(void *ctx UNUSED, int32_t broker UNUSED)
{
    return true;
}

static inline bool test_replicas_throttled(void *ctx UNUSED, const char *topic UNUSED, int32_t partition UNUSED,
                                           bool as_leader UNUSED)
{
    return false;
}

static inline void test_replicas_isr_wanted(void *ctx, struct partition *p UNUSED)
{
    struct test_replicas *r = ctx;
    r->isr_wanted++;
}

static inline void test_replicas_init_counted(struct test_replicas *r, struct metrics *metrics)
{
    char dirs[80];
    struct fail fail = {0};
    *r = (struct test_replicas){0};
    temp_dir_make(r->dir);
    snprintf(dirs, sizeof(dirs), "log.dirs=%s", r->dir);
    const char *overrides[] = {"broker.id=1", "zookeeper.connect=localhost:2181", "min.insync.replicas=2", dirs};
    struct config_options options = {.overrides = overrides, .override_count = ARRAY_LEN(overrides)};
    assert_true(config_load(&r->config, &options, &fail));
    r->logs = log_manager_new(&(struct log_manager_options){.config = &r->config, .metrics = metrics}, &fail);
    assert_non_null(r->logs);
    struct replica_options replica = {.config = &r->config,
                                      .logs = r->logs,
                                      .metrics = metrics,
                                      .broker_id = SELF,
                                      .topic_config = test_replicas_config,
                                      .role_changed = test_replicas_ignore,
                                      .may_join_isr = test_replicas_may_join,
                                      .throttled = test_replicas_throttled,
                                      .isr_wanted = test_replicas_isr_wanted,
                                      .ctx = r};
    r->manager = replica_manager_new(&replica);
}

static inline void test_replicas_init(struct test_replicas *r)
{
    test_replicas_init_counted(r, NULL);
}

static inline void test_replicas_deinit(struct test_replicas *r)
{
    replica_manager_free(r->manager);
    log_manager_close(r->logs, NULL, NULL);
    log_manager_free(r->logs);
    config_deinit(&r->config);
    temp_dir_remove(r->dir);
}

/* This broker leads the partition 0 of the topic, which brokers 1 to 3 have, with replicas 1 and 3 in sync. */
static inline struct partition *test_replicas_lead(struct test_replicas *r, const char *topic, int32_t epoch)
{
    int32_t replicas[] = {1, 2, 3}, isr[] = {1, 3};
    struct leader_order order = {.topic = str_of(topic),
                                 .controller_epoch = 1,
                                 .leader = SELF,
                                 .leader_epoch = epoch,
                                 .isr = {isr, 2},
                                 .replicas = {replicas, 3},
                                 .is_new = true};
    assert_int_equal(replica_apply_leader(r->manager, &order), ERR_NONE);
    return replica_partition(r->manager, str_of(topic), 0);
}

/* A follower asks for what is from `offset` on: it has all before that. */
static inline void test_replicas_fetch(struct partition *p, int32_t replica, int64_t offset, int64_t now)
{
    struct partition_read read = {.offset = offset,
                                  .replica_id = replica,
                                  .broker_epoch = -1,
                                  .current_leader_epoch = -1,
                                  .last_fetched_epoch = -1};
    partition_note_fetch(p, &read, 0, NULL, now);
}

#endif
