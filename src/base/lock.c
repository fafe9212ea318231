#include "base/lock.h"

_Thread_local uint64_t lock_ranks_held;
