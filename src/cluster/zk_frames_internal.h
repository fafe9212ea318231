/* Frames of ZooKeeper's protocol, as the bridge sees them: a length, then numbers and strings, all big-endian. */
#ifndef BARNABAS_CLUSTER_ZK_FRAMES_INTERNAL_H
#define BARNABAS_CLUSTER_ZK_FRAMES_INTERNAL_H

#include "base/bytes.h"
#include "base/strbuf.h"

enum { ZK_FRAME_HEAD = 4 }; /* its length, which does not count itself */

static inline void zk_frame_add_int(struct strbuf *b, int32_t v)
{
    be32_put(strbuf_extend(b, 4), (uint32_t)v);
}

/* The next number; false if there is none. */
static inline bool zk_frame_take_int(struct bytes *rest, int32_t *out)
{
    if (rest->len < 4)
        return false;
    *out = (int32_t)be32_get(rest->p);
    *rest = (struct bytes){rest->p + 4, rest->len - 4};
    return true;
}

/*
 * Frames of watches that are set again (SetWatches): one that is larger than `most` is cut into several that are not,
 * as far as single paths go. False if it is no such frame, or small, or malformed: then nothing is added to `out`.
 */
bool zk_watches_cut(struct bytes frame, size_t most, struct strbuf *out);

#endif
