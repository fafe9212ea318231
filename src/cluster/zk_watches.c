/*
 * Watches that are set again after a reconnect: the library says them in one frame, which a server that thinks it too
 * large answers by hanging up.
 */
#include "cluster/zk_frames_internal.h"

enum { SET_WATCHES_XID = -8, SET_WATCHES = 101, WATCH_KINDS = 3 };

struct cutter { /* the frame that is being filled */
    struct strbuf paths[WATCH_KINDS];
    int32_t counts[WATCH_KINDS];
    size_t size;
    uint64_t zxid;
    struct strbuf *out;
};

static void finish_frame(struct cutter *c)
{
    enum { HEADER = 4 + 4 + 8 + WATCH_KINDS * 4 };
    if (c->size == 0)
        return;
    ensure(c->size == c->paths[0].len + c->paths[1].len + c->paths[2].len);
    zk_frame_add_int(c->out, (int32_t)(HEADER + c->size));
    zk_frame_add_int(c->out, SET_WATCHES_XID);
    zk_frame_add_int(c->out, SET_WATCHES);
    be64_put(strbuf_extend(c->out, 8), c->zxid);
    for (int k = 0; k < WATCH_KINDS; k++) {
        zk_frame_add_int(c->out, c->counts[k]);
        strbuf_add(c->out, c->paths[k].p, c->paths[k].len);
        strbuf_clear(&c->paths[k]);
        c->counts[k] = 0;
    }
    c->size = 0;
}

static bool cut_paths(struct cutter *c, struct bytes *rest, int kind, size_t most)
{
    int32_t n, len;
    if (!zk_frame_take_int(rest, &n))
        return false;
    for (int32_t i = 0; i < n; i++) {
        const uint8_t *path = rest->p;
        if (!zk_frame_take_int(rest, &len) || len < 0 || len > rest->len)
            return false;
        if (c->size + 4 + (size_t)len > most)
            finish_frame(c);
        strbuf_add(&c->paths[kind], path, 4 + (size_t)len);
        c->counts[kind]++;
        c->size += 4 + (size_t)len;
        *rest = (struct bytes){rest->p + len, rest->len - len};
    }
    return true;
}

bool zk_watches_cut(struct bytes frame, size_t most, struct strbuf *out)
{
    enum { BODY_AT = ZK_FRAME_HEAD + 4 + 4 + 8 };
    struct strbuf cut = {0};
    if ((size_t)frame.len <= most || frame.len < BODY_AT ||
        (int32_t)be32_get(frame.p + ZK_FRAME_HEAD) != SET_WATCHES_XID ||
        be32_get(frame.p + ZK_FRAME_HEAD + 4) != SET_WATCHES)
        return false;
    struct cutter c = {.zxid = be64_get(frame.p + ZK_FRAME_HEAD + 8), .out = &cut};
    struct bytes rest = {frame.p + BODY_AT, frame.len - BODY_AT};
    bool ok = true;
    for (int k = 0; k < WATCH_KINDS && ok; k++)
        ok = cut_paths(&c, &rest, k, most);
    finish_frame(&c);
    if (ok)
        strbuf_add(out, cut.p, cut.len);
    strbuf_deinit(&cut);
    for (int k = 0; k < WATCH_KINDS; k++)
        strbuf_deinit(&c.paths[k]);
    return ok;
}
