/*
 * A cluster in one thread: brokers as they are, on a clock, a network, disks and a ZooKeeper that are not. All that
 * happens is drawn from one seed, so that a run can be had again.
 *
 * world.c has time and the loops (base/loop.h, clock.h, workers.h), network.c the connections (net/net.h), ensemble.c
 * ZooKeeper (cluster/zk.h), ../disk the files (log/file.h), client.c producers and readers, main.c what
 * goes wrong and what must hold, size.c what large clusters send. The brokers are linked against these instead of the
 * real ones, from broker_run() on.
 */
#ifndef BARNABAS_SIM_H
#define BARNABAS_SIM_H

#include "base/base.h"
#include "base/loop.h"

/* ---- world.c ---- */

/* Something that lives and dies as a whole: a broker, the client, or ZooKeeper. */
struct process {
    const char *name; /* also its host */
    int number;
    bool alive, paused;
    int64_t life;         /* counts its starts: what belongs to an earlier one is dropped */
    int64_t clock_offset; /* ms, of its wall clock */
    void *replicas;       /* its struct replica_manager, while it has one */
    void *board;          /* its struct view_board, likewise */
    struct coroutine *main;
    struct watch *signals; /* that its main waits for */
};

enum { MAX_PROCESSES = 128 };

extern struct process *sim_process; /* whose code runs now; NULL: the world's own */

void sim_seed(uint64_t seed);
int64_t sim_now_us(void);
uint32_t sim_random(uint32_t below);
bool sim_chance(uint32_t one_in);

/* Calls `run` after that time, unless the process has died meanwhile; while it is paused it waits. NULL: the world's.
 */
void sim_after(struct process *p, int64_t us, void (*run)(void *arg), void *arg);
/* Runs until that time has come. */
void sim_run_until(int64_t us);

/* Begins a life: `run` goes on in the background, on a stack of its own. */
void process_start(struct process *p, void (*run)(void *arg), void *arg);
void process_kill(struct process *p);
/* Asks it to end by itself, with SIGTERM. */
void process_terminate(struct process *p);
void process_pause(struct process *p);
void process_resume(struct process *p);
/* A loop of the process that is served by the world itself, for processes that have no main of their own. */
struct loop *process_loop(struct process *p);
struct process *loop_process(const struct loop *loop);
/* Makes it the loop whose code runs, which base/loop.h calls current. Returns the one before, to go back to. */
struct loop *sim_enter(struct loop *loop);

bool sim_is_in_job(void); /* a worker's code runs */

/* ---- network.c ---- */

/* What `from` sends to `to` does not arrive until it does again. */
void network_cut(struct process *from, struct process *to, bool cut);
bool network_is_cut(const struct process *from, const struct process *to);
void network_forget(struct process *p); /* it has died: its connections are gone */
int64_t network_latency_us(void);

struct network_count { /* what was sent since the beginning, by all */
    int64_t requests, bytes;
};
struct network_count network_count(int16_t key); /* of an API */

/* ---- ensemble.c ---- */

extern struct process sim_zookeeper;
void ensemble_init(void);
void ensemble_restart(void);             /* sessions live on, connections do not */
void ensemble_expire(const char *path);  /* the session that owns this node ends */
void ensemble_forget(struct process *p); /* the client's side has died */
void ensemble_put(const char *path, const char *data);
void ensemble_delete(const char *path);
const char *ensemble_get(const char *path);                    /* NULL: no such node */
bool ensemble_owns(const struct process *p, const char *path); /* by the session that it has now */

struct ensemble_counts { /* what was carried out since the beginning, for all */
    int64_t requests;    /* a transaction is one */
    int64_t reads, writes, bytes;
};
struct ensemble_counts ensemble_count(void);

/* ---- disk.c ---- */

void sim_lose_power(const struct process *p); /* what was not synced may be lost */
bool sim_has_file(const struct process *p, const char *name);
void sim_lose_index(const struct process *p); /* one of a segment, if there is any */
/* The bytes of all segments of a partition, concatenated; free with free(). */
uint8_t *sim_log(const struct process *p, const char *topic, int partition, size_t *len);

/* ---- size.c ---- */

/* What events cost in a cluster of that size, and whether that grows with what changes only: 0 if so. */
int size_run(int partitions, int brokers);

#endif
