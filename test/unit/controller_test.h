/*
 * A controller with a ZooKeeper in memory and brokers that write down what they are told. The program is linked with
 * --wrap for what stands here as __wrap_: what the controller sends comes here instead.
 */
#ifndef BARNABAS_CONTROLLER_TEST_H
#define BARNABAS_CONTROLLER_TEST_H

#include "test.h"

#include <utlist.h>

#include "base/str_set.h"
#include "cluster/broker_settings.h"
#include "cluster/config_watch.h"
#include "controller/controller_internal.h"
#include "net/net.h"
#include "protocol/msg/api.h"
#include "protocol/msg/leader_and_isr.h"
#include "protocol/msg/request_header.h"
#include "protocol/msg/response_header.h"
#include "protocol/msg/stop_replica.h"
#include "protocol/msg/update_metadata.h"

enum { MYSELF = 1, QUIET_TURNS = 3 };

/* ---- ZooKeeper ---- */

struct znode {
    char *path;
    struct strbuf data;
    int32_t version;
    int64_t czxid;
    UT_hash_handle hh;
};

struct told { /* a request to a broker */
    int32_t broker;
    int16_t key;
    int writes; /* to ZooKeeper, before it */
    union {
        struct update_metadata_request metadata;
        struct leader_and_isr_request orders;
        struct stop_replica_request stops;
    };
    struct arena arena;
    struct told *next;
};

struct client {
    int32_t broker;
    bool silent; /* it takes requests, and does not answer */
    struct client_call *call;
    struct strbuf answer;
    struct client *prev, *next;
};

struct fixture {
    struct loop *loop;
    struct broker_config config;
    struct broker_settings *settings;
    struct controller *c;
    struct znode *tree;
    int64_t zxid;
    int writes;             /* that were carried out */
    int batches;            /* that were sent */
    struct zk_batch *asked; /* in order, by ctx */
    struct zk_batch *queue[64];
    size_t queued;
    struct client *clients;
    struct told *told, **told_end;
    struct timer turn;
    int quiet; /* turns in which nothing happened */
    bool (*until)(struct fixture *f);
    enum kafka_error stop_error; /* of what is to be deleted, on broker `stop_error_of` */
    int32_t stop_error_of;
    int32_t silent;                                           /* the broker that does not answer */
    void (*on_told)(struct fixture *f, const struct told *t); /* NULL: nobody looks */
    /* May change what an operation comes to, and the tree, before it is carried out. NULL: nothing to do. */
    enum zk_result (*before)(struct fixture *f, const struct zk_op *op);
};

static struct fixture *fixture; /* of the test that runs */

static inline struct znode *znode(const struct fixture *f, const char *path)
{
    struct znode *n;
    HASH_FIND_STR(f->tree, path, n);
    return n;
}

static inline struct bytes text_bytes(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)};
}

static inline struct znode *znode_put(struct fixture *f, const char *path, struct bytes data)
{
    struct znode *n = znode(f, path);
    if (n == NULL) {
        n = xcalloc(1, sizeof(*n));
        n->path = xstrdup(path);
        n->czxid = ++f->zxid;
        HASH_ADD_KEYPTR(hh, f->tree, n->path, strlen(n->path), n);
    } else {
        n->version++;
        ++f->zxid;
    }
    strbuf_clear(&n->data);
    strbuf_add(&n->data, data.p, (size_t)data.len);
    return n;
}

static inline void znode_remove(struct fixture *f, const char *path)
{
    struct znode *n = znode(f, path);
    if (n == NULL)
        return;
    HASH_DEL(f->tree, n);
    strbuf_deinit(&n->data);
    free(n->path);
    free(n);
}

static inline bool znode_is_child(const char *path, const char *parent)
{
    size_t n = strlen(parent);
    return strncmp(path, parent, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

static inline bool znode_has_children(const struct fixture *f, const char *parent)
{
    for (const struct znode *n = f->tree; n != NULL; n = n->hh.next)
        if (znode_is_child(n->path, parent))
            return true;
    return false;
}

static inline void zk_fake_list(struct fixture *f, struct zk_batch *b, struct zk_op *op)
{
    op->children = ARENA_ARRAY(&b->arena, struct str, HASH_COUNT(f->tree) + 1);
    for (const struct znode *n = f->tree; n != NULL; n = n->hh.next)
        if (znode_is_child(n->path, op->path))
            op->children[op->child_count++] = arena_str(&b->arena, str_of(strrchr(n->path, '/') + 1));
}

/* What it would come to. */
static inline enum zk_result zk_fake_judge(struct fixture *f, const struct zk_op *op)
{
    const struct znode *n = znode(f, op->path), *fence = op->fence_path ? znode(f, op->fence_path) : NULL;
    enum zk_result imposed = f->before != NULL ? f->before(f, op) : ZK_OK;
    n = znode(f, op->path);
    if (imposed != ZK_OK)
        return imposed;
    if (op->fence_path != NULL && (fence == NULL || fence->version != op->fence_version))
        return ZK_BAD_VERSION;
    if (op->kind == ZK_CREATE)
        return n != NULL ? ZK_NODE_EXISTS : ZK_OK;
    if (op->kind == ZK_CHILDREN)
        return ZK_OK;
    if (n == NULL)
        return ZK_NO_NODE;
    if (op->version != ZK_ANY_VERSION && op->version != n->version)
        return ZK_BAD_VERSION;
    return op->kind == ZK_DELETE && znode_has_children(f, op->path) ? ZK_NOT_EMPTY : ZK_OK;
}

static inline void zk_fake_do(struct fixture *f, struct zk_batch *b, struct zk_op *op)
{
    struct znode *n = znode(f, op->path);
    f->writes += op->kind == ZK_CREATE || op->kind == ZK_SET || op->kind == ZK_DELETE;
    if (op->kind == ZK_CREATE || op->kind == ZK_SET)
        n = znode_put(f, op->path, op->data);
    else if (op->kind == ZK_DELETE)
        znode_remove(f, op->path);
    else if (op->kind == ZK_GET)
        op->value = (struct bytes){arena_copy(&b->arena, n->data.p, n->data.len), (int32_t)n->data.len};
    else if (op->kind == ZK_CHILDREN)
        zk_fake_list(f, b, op);
    if (op->kind != ZK_DELETE && n != NULL)
        op->stat = (struct zk_stat){.version = n->version, .czxid = n->czxid, .ephemeral_owner = MYSELF};
}

/*
 * All operations of a multi or none. Whether one can be done is seen while those before it are done, which is then
 * taken back: a tree is small.
 */
struct zk_undo {
    char *path;
    bool existed;
    struct strbuf data;
    int32_t version;
    int64_t czxid;
    struct zk_undo *next;
};

static inline struct zk_undo *zk_fake_remember(struct fixture *f, struct zk_undo *list, const char *path)
{
    const struct znode *n = znode(f, path);
    struct zk_undo *u = xcalloc(1, sizeof(*u));
    u->path = xstrdup(path);
    u->existed = n != NULL;
    u->next = list;
    if (n != NULL) {
        strbuf_add(&u->data, n->data.p, n->data.len);
        u->version = n->version;
        u->czxid = n->czxid;
    }
    return u;
}

static inline void zk_fake_forget(struct fixture *f, struct zk_undo *list, bool take_back)
{
    while (list != NULL) {
        struct zk_undo *u = list;
        list = u->next;
        if (take_back && u->existed) {
            struct znode *n = znode_put(f, u->path, (struct bytes){(const uint8_t *)u->data.p, (int32_t)u->data.len});
            n->version = u->version;
            n->czxid = u->czxid;
        } else if (take_back) {
            znode_remove(f, u->path);
        }
        strbuf_deinit(&u->data);
        free(u->path);
        free(u);
    }
}

static inline struct zk_op *zk_fake_multi(struct fixture *f, struct zk_batch *b, struct zk_op *first)
{
    struct zk_undo *undo = NULL;
    struct zk_op *op = first, *failed = NULL, *end = first;
    int writes = f->writes;
    while (end->with_next)
        end = end->next;
    end = end->next;
    for (op = first; op != end && failed == NULL; op = op->next) {
        op->result = zk_fake_judge(f, op);
        undo = first->with_next ? zk_fake_remember(f, undo, op->path) : NULL;
        if (op->result == ZK_OK)
            zk_fake_do(f, b, op);
        else
            failed = op;
    }
    zk_fake_forget(f, undo, failed != NULL && first->with_next);
    for (op = first; op != end && failed != NULL && first->with_next; op = op->next)
        if (op != failed)
            op->result = ZK_UNDONE;
    if (failed != NULL)
        f->writes = writes;
    return end;
}

static inline void zk_fake_answer(struct fixture *f, struct zk_batch *b)
{
    for (struct zk_op *op = b->first; op != NULL;)
        op = zk_fake_multi(f, b, op);
    b->finished = b->count;
    b->done(b);
}

void __wrap_zk_submit(struct zk *zk, struct zk_batch *b);
void __wrap_zk_submit(struct zk *zk UNUSED, struct zk_batch *b)
{
    assert_true(fixture->queued < ARRAY_LEN(fixture->queue));
    fixture->queue[fixture->queued++] = b;
    fixture->batches++;
}

int64_t __wrap_zk_session_id(const struct zk *zk);
int64_t __wrap_zk_session_id(const struct zk *zk UNUSED)
{
    return MYSELF;
}

/* ---- Brokers ---- */

/* A broker's number is its port. */
struct client *__wrap_client_new(const struct client_options *options, const char *host, int port);
struct client *__wrap_client_new(const struct client_options *options UNUSED, const char *host UNUSED, int port)
{
    struct client *k = xcalloc(1, sizeof(*k));
    k->broker = port;
    DL_APPEND(fixture->clients, k);
    return k;
}

void __wrap_client_free(struct client *k);
void __wrap_client_free(struct client *k)
{
    if (k == NULL) /* of a broker without the listener */
        return;
    DL_DELETE(fixture->clients, k);
    struct client_call *call = k->call;
    strbuf_deinit(&k->answer);
    free(k);
    if (call != NULL)
        call->done(call, (struct bytes){NULL, 0});
}

static inline void fill_stop_answer(const struct told *t, struct stop_replica_response *r, struct arena *a)
{
    int32_t n = 0;
    for (int32_t i = 0; i < t->stops.topic_states.len; i++)
        n += t->stops.topic_states.items[i].partition_states.len;
    ARRAY_MAKE(a, r->partition_errors, n);
    r->partition_errors.len = 0;
    for (int32_t i = 0; i < t->stops.topic_states.len; i++) {
        const struct stop_replica_topic_state *topic = &t->stops.topic_states.items[i];
        for (int32_t k = 0; k < topic->partition_states.len; k++) {
            bool fails = topic->partition_states.items[k].delete_partition && t->broker == fixture->stop_error_of;
            r->partition_errors.items[r->partition_errors.len++] = (struct stop_replica_partition_error){
                topic->topic_name, topic->partition_states.items[k].partition_index,
                fails ? (int16_t)fixture->stop_error : ERR_NONE};
        }
    }
}

static inline struct strbuf told_answer(const struct told *t, int16_t version)
{
    struct response_header header;
    struct arena a = {0};
    struct writer w;
    union {
        struct update_metadata_response metadata;
        struct leader_and_isr_response orders;
        struct stop_replica_response stops;
    } r;
    message_init(api_spec(t->key)->response, &r);
    if (t->key == API_STOP_REPLICA)
        fill_stop_answer(t, &r.stops, &a);
    writer_init(&w);
    response_header_init(&header);
    response_header_write(&w, api_response_header_version(t->key, version), &header);
    message_write(api_spec(t->key)->response, &w, version, &r);
    struct strbuf out = w.buf;
    w.buf = (struct strbuf){0};
    writer_deinit(&w);
    arena_deinit(&a);
    return out;
}

void __wrap_client_send(struct client *k, struct strbuf *frame, struct client_call *call);
void __wrap_client_send(struct client *k, struct strbuf *frame, struct client_call *call)
{
    enum { LENGTH = 4 };
    struct told *t = xcalloc(1, sizeof(*t));
    struct request_header header;
    struct reader r;
    const uint8_t *copy = arena_copy(&t->arena, frame->p, frame->len);
    int16_t key = (int16_t)be16_get(copy + LENGTH), version = (int16_t)be16_get(copy + LENGTH + 2);
    reader_init(&r, (struct bytes){copy + LENGTH, (int32_t)frame->len - LENGTH}, &t->arena);
    assert_true(request_header_read(&r, api_request_header_version(key, version), &header));
    t->broker = k->broker;
    t->key = key;
    t->writes = fixture->writes;
    assert_true(message_read(api_spec(key)->request, &r, version, &t->metadata));
    *fixture->told_end = t;
    fixture->told_end = &t->next;
    k->call = call;
    k->answer = told_answer(t, version);
    strbuf_deinit(frame);
    if (fixture->on_told != NULL)
        fixture->on_told(fixture, t);
}

struct client_counts *__wrap_client_counts_new(const struct client_route *route, struct loop *loop,
                                               const struct client_kind *kind);
struct client_counts *__wrap_client_counts_new(const struct client_route *route UNUSED, struct loop *loop UNUSED,
                                               const struct client_kind *kind UNUSED)
{
    return NULL;
}

/* ---- The fixture ---- */

static inline bool answer_one_broker(struct fixture *f)
{
    struct client *k;
    DL_FOREACH (f->clients, k) {
        if (k->call == NULL || k->broker == f->silent)
            continue;
        struct client_call *call = k->call;
        struct strbuf answer = k->answer;
        k->call = NULL;
        k->answer = (struct strbuf){0};
        call->done(call, (struct bytes){(const uint8_t *)answer.p, (int32_t)answer.len});
        strbuf_deinit(&answer);
        return true;
    }
    return false;
}

static inline void on_turn(struct timer *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, turn);
    f->quiet++;
    if (answer_one_broker(f)) { /* what is sent arrives before ZooKeeper has done anything else */
        f->quiet = 0;
    } else if (f->queued > 0) {
        struct zk_batch *b = f->queue[0];
        memmove(f->queue, f->queue + 1, --f->queued * sizeof(*f->queue));
        zk_fake_answer(f, b);
        f->quiet = 0;
    } else if (f->c->running != NULL || f->c->queue != NULL) {
        f->quiet = 0;
    }
    if (f->until != NULL ? f->until(f) : f->quiet >= QUIET_TURNS)
        loop_stop(f->loop);
    else
        timer_start(t, 0);
}

/* Until it is so, or nothing happens any more (NULL). */
static inline void run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
    f->until = until;
    f->quiet = 0;
    timer_start(&f->turn, 0);
    loop_run(f->loop);
    timer_stop(&f->turn);
}

static inline void settle(struct fixture *f)
{
    run_until(f, NULL);
}

static inline void told_clear(struct fixture *f)
{
    while (f->told != NULL) {
        struct told *t = f->told;
        f->told = t->next;
        arena_deinit(&t->arena);
        free(t);
    }
    f->told_end = &f->told;
}

static inline void note_elected(void *ctx UNUSED)
{
}

static inline void fixture_make_controller(struct fixture *f)
{
    f->c = controller_new(&(struct controller_options){.loop = f->loop,
                                                       .zk = (struct zk *)f,
                                                       .config = &f->config,
                                                       .broker_id = MYSELF,
                                                       .topic_configs = topic_configs_new(f->settings),
                                                       .elected = note_elected});
}

static inline int set_up_with(void **state, const char *extra)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct fail fail = {0};
    const char *overrides[] = {"broker.id=1", "zookeeper.connect=localhost:2181", "log.dirs=/nowhere",
                               "auto.leader.rebalance.enable=false", extra};
    struct config_options options = {.overrides = overrides, .override_count = ARRAY_LEN(overrides)};
    assert_true(config_load(&f->config, &options, &fail));
    fixture = f;
    f->settings = broker_settings_new(&f->config);
    f->told_end = &f->told;
    f->stop_error_of = f->silent = -1;
    f->loop = loop_new("control");
    timer_init(&f->turn, f->loop, on_turn);
    znode_put(f, ZNODE_FEATURE, text_bytes("{}"));
    *state = f;
    return 0;
}

static inline int set_up(void **state)
{
    return set_up_with(state, "delete.topic.enable=true");
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    struct znode *n, *next;
    if (f->c != NULL) {
        struct topic_configs *configs = f->c->options.topic_configs;
        controller_free(f->c);
        topic_configs_free(configs);
    }
    for (size_t i = 0; i < f->queued; i++) {
        free(f->queue[i]->ctx);
        zk_batch_free(f->queue[i]);
    }
    HASH_ITER (hh, f->tree, n, next)
        znode_remove(f, n->path);
    told_clear(f);
    loop_free(f->loop);
    broker_settings_free(f->settings);
    config_deinit(&f->config);
    free(f);
    return 0;
}

/* ---- The cluster ---- */

static inline void put_text(struct fixture *f, const char *path, const char *text)
{
    znode_put(f, path, text_bytes(text));
}

/* The broker registers, and nobody was told of it yet. */
static inline void register_broker(struct fixture *f, int32_t id)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    struct endpoint e = {"PLAINTEXT", "PLAINTEXT", "localhost", id};
    struct registration r = {.id = id, .endpoints = &e, .endpoint_count = 1};
    znode_remove(f, broker_path(path, id));
    znode_put(f, path, registration_encode(&a, &r, 0));
    arena_deinit(&a);
}

/* Each partition moves from one broker to the other, and both are in sync. */
static inline void put_moving_topic(struct fixture *f, const char *name, int32_t partitions, int32_t from, int32_t to)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    int32_t ids[] = {to, from}, isr[] = {from, to};
    struct topic_znode z = {.id = uuid_random(), .partition_count = partitions};
    struct partition_znode p = {.leader = from, .isr = {isr, 2}};
    z.replicas = ARENA_ARRAY(&a, struct int_list, partitions);
    z.adding = ARENA_ARRAY(&a, struct int_list, partitions);
    z.removing = ARENA_ARRAY(&a, struct int_list, partitions);
    for (int32_t i = 0; i < partitions; i++) {
        z.replicas[i] = (struct int_list){ids, 2};
        z.adding[i] = (struct int_list){ids, 1};
        z.removing[i] = (struct int_list){isr, 1};
        znode_put(f, state_path(path, name, i), partition_encode(&a, &p));
    }
    znode_put(f, topic_path(path, name), topic_encode(&a, &z));
    arena_deinit(&a);
}

/* A topic of so many partitions, each on brokers `first` and `second`. */
static inline void put_topic(struct fixture *f, const char *name, int32_t partitions, int32_t first, int32_t second)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    int32_t ids[] = {first, second};
    struct topic_znode z = {.id = uuid_random(), .partition_count = partitions};
    z.replicas = ARENA_ARRAY(&a, struct int_list, partitions);
    for (int32_t i = 0; i < partitions; i++)
        z.replicas[i] = (struct int_list){ids, first == second ? 1 : 2};
    znode_put(f, topic_path(path, name), topic_encode(&a, &z));
    arena_deinit(&a);
}

/* The partition's state, with both of its brokers in sync. */
static inline void put_state(struct fixture *f, const char *topic, int32_t partition, int32_t leader, int32_t other)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    int32_t isr[] = {leader, other};
    struct partition_znode p = {.leader = leader, .isr = {isr, 2}};
    znode_put(f, state_path(path, topic, partition), partition_encode(&a, &p));
    arena_deinit(&a);
}

/* With brokers 1 to `brokers`, and what else there is in the tree. */
static inline void take_office(struct fixture *f, int32_t brokers)
{
    for (int32_t i = 1; i <= brokers; i++)
        register_broker(f, i);
    fixture_make_controller(f);
    controller_start(f->c);
    settle(f);
    assert_true(controller_is_active(f->c));
}

static inline void make_topic(struct fixture *f, const char *name, int32_t partitions, int32_t first, int32_t second)
{
    put_topic(f, name, partitions, first, second);
    controller_changed(f->c, ZNODE_TOPICS);
    settle(f);
}

static inline void delete_topic(struct fixture *f, const char *name)
{
    char path[ZNODE_PATH_ROOM];
    znode_put(f, delete_topic_path(path, name), (struct bytes){NULL, 0});
    controller_changed(f->c, ZNODE_DELETE_TOPICS);
}

static inline bool is_there(const struct fixture *f, const char *path)
{
    return znode(f, path) != NULL;
}

/* How many requests of that kind the broker has got. */
static inline int told_count(const struct fixture *f, int32_t broker, int16_t key)
{
    int n = 0;
    for (const struct told *t = f->told; t != NULL; t = t->next)
        n += t->broker == broker && t->key == key;
    return n;
}

#endif
