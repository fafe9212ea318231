/* What is in a log's directory of work that was interrupted: taken away, or brought to its end. */
#include "log/leftovers_internal.h"

#include <stdio.h>

#include "log/segment_internal.h"

static void remove_named(const char *dir, const char *name)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file_remove(path);
}

/* Of the segments that were being written when it ended: what has the suffix ".swap" from there on is not complete. */
static int64_t lowest_cleaned(const struct names *names)
{
    int64_t lowest = INT64_MAX;
    for (size_t i = 0; i < names->n; i++)
        if (name_ends_with(names->v[i], ".cleaned") && segment_any_base(names->v[i]) >= 0)
            lowest = MIN(lowest, segment_any_base(names->v[i]));
    return lowest;
}

/* First offset after a swap log's content, read from its batches; -1: it cannot be read. */
static int64_t next_offset_of(const char *dir, const char *name, int64_t base)
{
    char path[PATH_ROOM];
    uint8_t head[BATCH_HEADER_SIZE];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = file_open(path, false);
    int64_t next = base, pos = 0;
    ssize_t n = -1;
    struct batch b;
    while (fd >= 0 && (n = file_read_at(fd, head, sizeof(head), pos, path)) > 0 &&
           batch_peek((struct bytes){head, (int32_t)n}, &b) == BATCH_OK) {
        next = b.last_offset + 1;
        pos += b.size;
    }
    file_close(fd);
    return n >= 0 ? next : -1;
}

/* A finished compaction that was not put in place yet: make room for it, then give it its names. */
static bool complete_swap(const char *dir, const struct names *names)
{
    int64_t low = INT64_MAX, high = -1;
    for (size_t i = 0; i < names->n; i++) {
        int64_t base = segment_parse_name(names->v[i], ".log.swap");
        if (base < 0)
            continue;
        /* One that is empty takes a place, too, and what is beside the old one is not about it. */
        int64_t next = next_offset_of(dir, names->v[i], base);
        if (next < 0)
            return false;
        low = MIN(low, base);
        high = MAX(high, MAX(next, base + 1));
    }
    for (size_t i = 0; i < names->n; i++) {
        int64_t base = segment_any_base(names->v[i]);
        if (base >= low && base < high && !name_ends_with(names->v[i], ".swap"))
            remove_named(dir, names->v[i]);
    }
    for (size_t i = 0; i < names->n; i++) {
        if (!name_ends_with(names->v[i], ".swap"))
            continue;
        char from[PATH_ROOM], to[PATH_ROOM];
        snprintf(from, sizeof(from), "%s/%s", dir, names->v[i]);
        snprintf(to, sizeof(to), "%.*s", (int)(strlen(from) - strlen(".swap")), from);
        if (!file_rename(from, to))
            return false;
    }
    return true;
}

/* Whether there is anything that is not of a log at rest, as there hardly ever is. */
static bool any_leftover(const struct names *names)
{
    static const char *const suffixes[] = {".deleted", ".cleaned", ".swap", ".tmp"};
    for (size_t i = 0; i < names->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(suffixes); k++)
            if (name_ends_with(names->v[i], suffixes[k]))
                return true;
    return false;
}

static void remove_unfinished(const char *dir, const struct names *names)
{
    int64_t incomplete = lowest_cleaned(names);
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->v[i];
        bool unfinished = name_ends_with(name, ".swap") && segment_any_base(name) >= incomplete;
        if (name_ends_with(name, ".deleted") || name_ends_with(name, ".cleaned") || name_ends_with(name, ".tmp") ||
            unfinished)
            remove_named(dir, name);
    }
}

bool leftovers_settle(const char *dir, struct names *out)
{
    if (!dir_list_files(dir, out))
        return false;
    if (!any_leftover(out))
        return true;
    remove_unfinished(dir, out);
    names_free(out);
    if (!dir_list_files(dir, out))
        return false;
    bool ok = complete_swap(dir, out);
    names_free(out);
    return ok && dir_list_files(dir, out);
}
