/*
 * An answer on its way into a socket: memory, a region of a file, memory again, as its splices lie.
 *
 * To send what is not in the page cache would wait for the disk, and with it every connection of the loop. So before a
 * step of a region is sent, the kernel is asked whether it is there; if not, who sends has a worker read it first
 * (answers.c), and goes on when it has.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/net_internal.h"

/* How much of a cold region is read ahead at a time, and looked at in one go. */
enum { WARM_STEP = 1 << 20, PROBE_STEP = 64 << 10 };

void outgoing_deinit(struct outgoing *o)
{
    for (size_t i = 0; i < o->splice_count; i++)
        file_ref_put(o->splices[i].region.file);
    free(o->splices);
    strbuf_deinit(&o->mem);
    *o = (struct outgoing){0};
}

void outgoing_splice(struct outgoing *o, size_t at, struct file_region region)
{
    ensure(region.len > 0 && at <= o->mem.len);
    ensure(o->splice_count == 0 || o->splices[o->splice_count - 1].at <= at);
    o->splices = xgrow(o->splices, o->splice_count + 1, &o->splice_cap, sizeof(*o->splices));
    o->splices[o->splice_count++] = (struct splice){at, region};
}

size_t outgoing_size(const struct outgoing *o)
{
    size_t size = o->mem.len;
    for (size_t i = 0; i < o->splice_count; i++)
        size += (size_t)o->splices[i].region.len;
    return size;
}

/* ---- Is it in the page cache? ---- */

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5 */
#endif

struct cachestat_range {
    uint64_t off, len;
};

struct cachestat_counts {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* 1 all there or on the way, 0 not, -1 the kernel cannot tell. */
static int ask_cachestat(int fd, int64_t pos, int64_t len)
{
    static atomic_bool unsupported;
    struct cachestat_counts counts;
    if (atomic_load_explicit(&unsupported, memory_order_relaxed))
        return -1;
    int64_t page = sysconf(_SC_PAGESIZE), first = pos / page, last = (pos + len - 1) / page;
    struct cachestat_range range = {(uint64_t)(first * page), (uint64_t)((last - first + 1) * page)};
    if (syscall(SYS_cachestat, fd, &range, &counts, 0) != 0) {
        atomic_store(&unsupported, true);
        return -1;
    }
    return counts.cached >= (uint64_t)(last - first + 1);
}

static bool byte_is_cached(int fd, int64_t pos)
{
    char byte;
    struct iovec io = {&byte, 1};
    return preadv2(fd, &io, 1, pos, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

/*
 * Whether sending would not wait for the disk. cachestat sees every hole, but takes pages that are still being read
 * for present; the probes see those, as the disk fills them about in order.
 */
static bool is_cached(int fd, int64_t pos, int64_t len)
{
    if (ask_cachestat(fd, pos, len) == 0)
        return false;
    for (int64_t at = 0; at < len; at += PROBE_STEP)
        if (!byte_is_cached(fd, pos + at))
            return false;
    return byte_is_cached(fd, pos + len - 1);
}

void region_warm_up(const struct file_region *region)
{
    ensure(region->len > 0 && region->pos >= 0);
    static int devnull = -1;
    if (devnull < 0)
        devnull = open("/dev/null", O_WRONLY | O_CLOEXEC);
    off_t pos = region->pos;
    int64_t left = MIN(region->len, (int32_t)WARM_STEP);
    while (left > 0) {
        ssize_t n = sendfile(devnull, region->file->fd, &pos, (size_t)left);
        if (n <= 0)
            return; /* sending it will tell */
        left -= n;
    }
}

/* ---- Sending ---- */

enum send_result send_trouble(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? SEND_BLOCKED : SEND_FAILED;
}

static enum send_result send_memory(struct transport *t, const struct outgoing *o, struct send_progress *p, size_t end)
{
    ensure(p->mem_at <= end && end <= o->mem.len);
    bool more = p->splice < o->splice_count;
    while (p->mem_at < end) {
        struct iovec io = {o->mem.p + p->mem_at, end - p->mem_at};
        ssize_t n = transport_write(t, &io, 1, more);
        if (n < 0)
            return send_trouble();
        p->mem_at += (size_t)n;
    }
    return SEND_DONE;
}

static enum send_result send_region(struct transport *t, const struct file_region *r, struct send_progress *p)
{
    ensure(p->region_at >= 0 && p->region_at <= r->len && p->warm_to <= r->len);
    while (p->region_at < r->len) {
        int32_t step = MIN(r->len - p->region_at, (int32_t)WARM_STEP);
        off_t pos = r->pos + p->region_at;
        if (p->warm_to < p->region_at + step) {
            if (!is_cached(r->file->fd, pos, step))
                return SEND_COLD;
            p->warm_to = p->region_at + step;
        }
        ssize_t n = transport_send_file(t, r->file->fd, pos, (size_t)(p->warm_to - p->region_at));
        if (n < 0)
            return send_trouble();
        if (n == 0)
            return SEND_FAILED; /* the file was cut: the frame cannot be completed */
        p->region_at += (int32_t)n;
    }
    return SEND_DONE;
}

enum send_result outgoing_send(struct transport *t, const struct outgoing *o, struct send_progress *p)
{
    ensure(p->splice <= o->splice_count);
    for (;;) {
        bool region = p->splice < o->splice_count;
        enum send_result result = send_memory(t, o, p, region ? o->splices[p->splice].at : o->mem.len);
        if (result != SEND_DONE || !region)
            return result;
        result = send_region(t, &o->splices[p->splice].region, p);
        if (result != SEND_DONE)
            return result;
        p->splice++;
        p->region_at = p->warm_to = 0;
    }
}
