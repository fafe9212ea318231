/* Replicas that a reassignment puts into certain log directories of their brokers (KIP-113). */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/reassign/reassign.h"

enum { PAUSE_US = 100000 };

static bool reassign_log_dirs_is_under_way(const struct dir_move *m)
{
    return m->current.p != NULL && m->future.p != NULL;
}

/* Without a line's end, as the last one gets none. */
static void reassign_log_dirs_print_state(const struct dir_move *m)
{
    if (m->current.p == NULL)
        printf("Partition %.*s-%" PRId32 " is not found in any live log dir on broker %" PRId32
               ". There is likely an offline log directory on the broker.",
               STR_ARGS(m->topic), m->partition, m->broker);
    else if (m->future.p != NULL && str_eq(m->future, m->target))
        printf("Reassignment of replica %.*s-%" PRId32 "-%" PRId32 " is still in progress.", STR_ARGS(m->topic),
               m->partition, m->broker);
    else if (m->future.p != NULL)
        printf("Partition %.*s-%" PRId32 " on broker %" PRId32 " is being moved to log dir %.*s instead of %.*s.",
               STR_ARGS(m->topic), m->partition, m->broker, STR_ARGS(m->future), STR_ARGS(m->target));
    else if (str_eq(m->current, m->target))
        printf("Reassignment of replica %.*s-%" PRId32 "-%" PRId32 " completed successfully.", STR_ARGS(m->topic),
               m->partition, m->broker);
    else
        printf("Partition %.*s-%" PRId32 " on broker %" PRId32 " is not being moved from log dir %.*s to %.*s.",
               STR_ARGS(m->topic), m->partition, m->broker, STR_ARGS(m->current), STR_ARGS(m->target));
}

bool reassign_verify_dirs(struct reassign_backend *b, struct dir_moves *moves, bool *done, struct fail *fail)
{
    if (moves->n > 0 && !b->find_dirs(b, moves, fail))
        return false;
    *done = true;
    for (int32_t i = 0; i < moves->n; i++) {
        reassign_log_dirs_print_state(&moves->v[i]);
        if (i + 1 < moves->n)
            putchar('\n');
        *done &= moves->v[i].current.p != NULL && !reassign_log_dirs_is_under_way(&moves->v[i]);
    }
    putchar('\n');
    return true;
}

static int32_t drop_started(struct dir_moves *moves)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < moves->n; i++) {
        const struct dir_move *m = &moves->v[i];
        if (m->started)
            printf("Successfully started moving log directory to %.*s for replica %.*s-%" PRId32 " with broker %" PRId32
                   " \n",
                   STR_ARGS(m->target), STR_ARGS(m->topic), m->partition, m->broker);
        else
            moves->v[kept++] = *m;
    }
    return moves->n = kept;
}

static bool reassign_log_dirs_give_up(const struct dir_moves *moves, bool *explained)
{
    printf("Timed out before log directory move%s could be started for: ", moves->n == 1 ? "" : "s");
    for (int32_t i = 0; i < moves->n; i++)
        printf("%s%.*s-%" PRId32 "-%" PRId32, i > 0 ? "," : "", STR_ARGS(moves->v[i].topic), moves->v[i].partition,
               moves->v[i].broker);
    putchar('\n');
    *explained = true;
    return false;
}

/* A replica that comes to a broker with the same reassignment is not there at once. */
bool reassign_move_dirs(struct reassign_backend *b, struct dir_moves *moves, int64_t timeout_ms, bool *explained,
                        struct fail *fail)
{
    int64_t deadline = wrapping_add(clock_mono_ms(), timeout_ms);
    for (;;) {
        bool ok = b->move_dirs(b, moves, fail);
        if (drop_started(moves) == 0 || !ok)
            return ok;
        if (clock_mono_ms() >= deadline)
            return reassign_log_dirs_give_up(moves, explained);
        usleep(PAUSE_US);
    }
}

/* A move is called off by a move to where the replica is. */
bool reassign_cancel_dirs(struct reassign_backend *b, struct dir_moves *moves, int64_t timeout_ms, bool *explained,
                          struct fail *fail)
{
    int32_t kept = 0;
    if (moves->n > 0 && !b->find_dirs(b, moves, fail))
        return false;
    for (int32_t i = 0; i < moves->n; i++)
        if (reassign_log_dirs_is_under_way(&moves->v[i])) {
            moves->v[kept] = moves->v[i];
            moves->v[kept].target = moves->v[kept].current;
            kept++;
        }
    moves->n = kept;
    if (kept > 0)
        return reassign_move_dirs(b, moves, timeout_ms, explained, fail);
    printf("None of the specified partition moves are active.");
    return true;
}
