/*
 * A loop looks at the set of ACLs without a lock or a count, for as long as one of its callbacks runs. So an old set
 * goes when each loop has come back to its mailbox since the new one was published: a farewell is posted to all, and
 * who delivers the last one frees the set.
 */
#include "security/acl_board.h"

struct acl_board {
    struct acl_set *_Atomic current;
    int loop_count;
    struct loop **loops;
};

struct acl_farewell { /* of a loop to a set that it may still look at */
    struct message message;
    struct acl_retirement *retirement;
};

struct acl_retirement {
    struct acl_set *set;
    atomic_int left; /* loops that have not come back yet */
    struct acl_farewell farewells[];
};

struct acl_board *acl_board_new(void)
{
    return xcalloc(1, sizeof(struct acl_board));
}

void acl_board_set_loops(struct acl_board *b, struct loop *const *loops, int count)
{
    ensure(b->loops == NULL);
    b->loops = xcalloc((size_t)count, sizeof(*b->loops));
    b->loop_count = count;
    for (int i = 0; i < count; i++)
        b->loops[i] = loops[i];
}

static void acl_farewell_deliver(struct message *m)
{
    struct acl_retirement *r = CONTAINER_OF(m, struct acl_farewell, message)->retirement;
    int before = atomic_fetch_sub(&r->left, 1);
    ensure(before > 0);
    if (before != 1)
        return;
    acl_set_unref(r->set);
    free(r);
}

static void retire(struct acl_board *b, struct acl_set *set)
{
    size_t n = (size_t)b->loop_count;
    if (set == NULL || n == 0) {
        acl_set_unref(set);
        return;
    }
    struct acl_retirement *r = xcalloc(1, sizeof(*r) + n * sizeof(r->farewells[0]));
    r->set = set;
    atomic_init(&r->left, b->loop_count);
    for (size_t i = 0; i < n; i++)
        r->farewells[i] = (struct acl_farewell){{.deliver = acl_farewell_deliver}, r};
    for (size_t i = 0; i < n; i++)
        loop_post(b->loops[i], &r->farewells[i].message);
}

void acl_board_publish(struct acl_board *b, struct acl_set *set)
{
    retire(b, atomic_exchange(&b->current, set));
}

const struct acl_set *acl_board_current(const struct acl_board *b)
{
    return atomic_load_explicit(&b->current, memory_order_acquire);
}

void acl_board_free(struct acl_board *b)
{
    if (b == NULL)
        return;
    acl_set_unref(atomic_load(&b->current));
    free(b->loops);
    free(b);
}
