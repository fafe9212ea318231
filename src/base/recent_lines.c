#include "base/recent_lines.h"

#include "base/lock.h"

static struct lock lock = LOCK_INITIALIZER(RANK_RECENT_LINES); /* guards what follows */
static struct recent_line lines[RECENT_LINES];
static int64_t kept;

void recent_lines_keep(const struct log_line *l)
{
    if (l->level < LEVEL_WARN)
        return;
    lock_take(&lock);
    struct recent_line *to = &lines[kept++ % RECENT_LINES];
    ensure(l->text.len >= 0);
    to->level = l->level;
    to->ms = l->ms;
    to->logger = l->logger;
    to->len = MIN(l->text.len, RECENT_LINE_ROOM);
    memcpy(to->text, l->text.p, (size_t)to->len);
    lock_release(&lock);
}

int recent_lines_read(struct recent_line out[RECENT_LINES])
{
    lock_take(&lock);
    int count = (int)MIN(kept, RECENT_LINES);
    for (int i = 0; i < count; i++)
        out[i] = lines[(kept - 1 - i) % RECENT_LINES];
    lock_release(&lock);
    return count;
}
