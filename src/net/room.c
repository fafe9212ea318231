/*
 * Room, where there are more than max.connections: another broker was let in all the same, or the limit is lower than
 * it was. Of the others those have to go that are needed least, as in Apache's broker.
 */
#include <stdatomic.h>

#include "net/net_internal.h"

/*
 * Who is to go: the order goes from loop to loop, each of which tells of its own, and
 * then to the one whose has done nothing for the longest time. One at a time, which loop 0 begins and ends.
 */
struct room {
    struct message message;
    struct net_server *server;
    const struct listener *spared;
    bool under_way;
    int at, best; /* loops; -1: nobody may go yet */
    struct last_use best_use;
};

static bool has_too_many(struct net_server *s)
{
    return atomic_load(&s->connection_count) > atomic_load(&s->max_connections);
}

static void room_go_to(struct room *r, int loop, void (*then)(struct message *))
{
    r->at = loop;
    r->message.deliver = then;
    loop_post(r->server->loops[loop].loop, &r->message);
}

static void room_look(struct message *m);

void room_make(struct room *r)
{
    ensure(loop_is_mine(r->server->loops[0].loop));
    if (r->under_way || !has_too_many(r->server))
        return;
    r->under_way = true;
    r->best = -1;
    room_go_to(r, 0, room_look);
}

static void room_done(struct message *m)
{
    struct room *r = CONTAINER_OF(m, struct room, message);
    r->under_way = false;
    if (r->best >= 0)
        room_make(r); /* more have come meanwhile */
}

static void room_close(struct message *m)
{
    struct room *r = CONTAINER_OF(m, struct room, message);
    if (r->server->loops[r->at].closing)
        return; /* as all are: there is no loop to go on to */
    connections_close_unused(&r->server->loops[r->at], r->spared);
    room_go_to(r, 0, room_done);
}

static void room_look(struct message *m)
{
    struct room *r = CONTAINER_OF(m, struct room, message);
    struct last_use use;
    if (r->server->loops[r->at].closing)
        return; /* as all are: there is no loop to go on to */
    if (connections_last_use(&r->server->loops[r->at], r->spared, &use) &&
        (r->best < 0 || last_use_is_before(use, r->best_use))) {
        r->best = r->at;
        r->best_use = use;
    }
    if (r->at + 1 < r->server->loop_count)
        room_go_to(r, r->at + 1, room_look);
    else if (r->best >= 0)
        room_go_to(r, r->best, room_close);
    else
        room_go_to(r, 0, room_done);
}

struct room_wish {
    struct message message;
    struct room *room;
};

static void on_wish(struct message *m)
{
    struct room_wish *wish = CONTAINER_OF(m, struct room_wish, message);
    struct room *r = wish->room;
    free(wish);
    if (!r->server->loops[0].closing)
        room_make(r);
}

void room_make_soon(struct room *r)
{
    if (!has_too_many(r->server))
        return;
    struct room_wish *wish = xcalloc(1, sizeof(*wish));
    *wish = (struct room_wish){{.deliver = on_wish}, r};
    loop_post(r->server->loops[0].loop, &wish->message);
}

void room_spare(struct room *r, const struct listener *l)
{
    r->spared = l;
}

struct room *room_new(struct net_server *s)
{
    struct room *r = xcalloc(1, sizeof(*r));
    r->server = s;
    return r;
}

void room_free(struct room *r)
{
    free(r);
}
