/*
 * All locks of the program, in the order in which they may be taken: who holds one takes only those further down. So no
 * two threads can wait for each other. lock_take() ensures it.
 */
#ifndef BARNABAS_LOCK_RANKS_H
#define BARNABAS_LOCK_RANKS_H

/* X(rank, what the lock guards) */
#define LOCK_RANKS(X)                                                                               \
    X(STATE_REPORT, "what a report of the state tells of")                                          \
    X(HISTORY, "the last hour of what the broker does")                                             \
    X(MONITOR, "the newest looks at the cluster")                                                   \
    X(DIALECT, "what is known of beans in a dialect")                                               \
    X(ORDER_LANE, "the queue of the controller's orders")                                           \
    X(MOVE_ORDERS, "orders to move logs between directories: one is carried out at a time")         \
    X(REPLICA_TABLE, "the table of partitions; shared, alone to add or remove one")                 \
    X(FETCH_SESSIONS, "the table of fetch sessions")                                                \
    X(PARTITION, "a partition: its leadership, its ISR, who waits for it")                          \
    X(CHECKPOINTS, "the checkpoint files of log directories: one writes them at a time")            \
    X(CLEANER, "which logs are compacted by whom, and the budget of bytes")                         \
    X(LOG_MANAGER, "the table of logs")                                                             \
    X(LOG_FILES, "what the files of a log's older segments are called")                             \
    X(LOG, "a log: segments, indexes, producers, leader epochs")                                    \
    X(REMOVALS, "files that go when their time has come")                                           \
    X(TOPIC_CONFIGS, "the settings of topics")                                                      \
    X(BROKER_SETTINGS, "which settings of this broker count now")                                   \
    X(SCRAM_USERS, "who may log in by SCRAM")                                                       \
    X(DELEGATION_TOKENS, "which delegation tokens there are")                                       \
    X(TOKENS, "tokens to log in by, and the keys that they are signed by")                          \
    X(QUOTAS, "what clients may use, and have used")                                                \
    X(TOPIC_COUNTS, "what is counted of topics")                                                    \
    X(ISR_CHANGES, "partitions whose ISR is to be changed")                                         \
    X(FETCH_SESSION, "a fetch session's list of what is ready")                                     \
    X(VIEW_BOARD, "the newest view of the cluster, and who has not seen it")                        \
    X(PRODUCER_IDS, "blocks of producer ids")                                                       \
    X(THROTTLE, "how much a throttled replication has used")                                        \
    X(LISTENER_TLS, "which stores each listener encrypts with now")                                 \
    X(HTTP_TLS, "what the HTTP server encrypts with now")                                           \
    X(CONNECTION_LIMITS, "how many connections each address has, and what they are encrypted with") \
    X(CLIENT_ROUTE, "what connections to others are encrypted with")                                \
    X(FETCHER_COUNTS, "what is counted of the ways to leaders")                                     \
    X(CONTROLLER_COUNTS, "what is counted of the ways to brokers")                                  \
    X(CLIENT_COUNTS, "what is counted of connections that this broker makes")                       \
    X(CLIENT_SOFTWARE, "how many connections each client software has")                             \
    X(WAKE_QUEUE, "requests that a loop is to wake")                                                \
    X(ASKERS, "who asks for the address of a host")                                                 \
    X(WORKERS, "a queue of jobs")                                                                   \
    X(LOOP, "a loop's mailbox, and who visits it")                                                  \
    X(DEPRECATED_REQUESTS, "which requests in old versions have come")                              \
    X(METRICS, "what is counted, and its averages")                                                 \
    X(SPARE_FILES, "descriptors that are kept back")                                                \
    X(LOGGERS, "what is logged")                                                                    \
    X(COUNTERS, "which counters there are")                                                         \
    X(LOOPS, "which loops there are")                                                               \
    X(LOG_QUEUE, "lines of the log that are to be written")                                         \
    X(RECENT_LINES, "the last lines of the log that tell of trouble")

#define LOCK_RANK_OF(rank, guards) RANK_##rank,
enum lock_rank { LOCK_RANKS(LOCK_RANK_OF) LOCK_RANK_COUNT };
#undef LOCK_RANK_OF

#endif
