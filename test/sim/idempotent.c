/*
 * Producers with an id (KIP-98): each has up to five batches under way on one connection, and when one of them has no
 * good answer, waits for the others and sends all again that are not acknowledged, in their order. A batch that can no
 * longer be told from what is there is given up with all behind it, under a new epoch or id (KIP-360).
 */
#include <inttypes.h>

#include "base/logger.h"
#include "party.h"
#include "protocol/error.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"
#include "protocol/msg/init_producer_id.h"
#include "protocol/msg/produce.h"
#include "record/record.h"

enum { WINDOW = 5, INIT_VERSION = 1, MOST_IDS = 1024 };

struct sent_batch { /* its party has its request and its answer */
    struct party party;
    struct sender *sender;
    struct strbuf bytes;
    bool acknowledged;
};

struct sender {
    struct party line; /* whose connection all share; asks for the id */
    int64_t id;        /* NO_PRODUCER_ID: to be asked for */
    int16_t epoch;
    int32_t next_sequence;
    struct sent_batch batches[WINDOW]; /* a ring: `count` of them from `first` on, in the order of their sequences */
    int first, count;
    bool again;  /* what is not acknowledged must be sent again, when nothing is under way */
    bool broken; /* or given up */
};

static struct sender senders[MAX_PARTITIONS];

static struct sent_batch *batch_at(struct sender *w, int i)
{
    return &w->batches[(w->first + i) % WINDOW];
}

static bool is_waiting(struct sender *w)
{
    bool waiting = w->line.waiting;
    for (int i = 0; i < w->count; i++)
        waiting |= batch_at(w, i)->party.waiting;
    return waiting;
}

static void rest(struct sender *w, uint32_t ms)
{
    timer_start(&w->line.timer, 1 + sim_random(ms));
}

static void drop_first(struct sender *w)
{
    strbuf_deinit(&batch_at(w, 0)->bytes);
    w->first = (w->first + 1) % WINDOW;
    w->count--;
}

/* ---- The id ---- */

/* Never given twice, whichever broker has, and whatever has happened since. */
static void note_id(int64_t id)
{
    static int64_t given[MOST_IDS];
    static int count;
    for (int i = 0; i < count; i++)
        if (given[i] == id)
            violation("the producer id %" PRId64 " was given twice", id);
    if (count < MOST_IDS)
        given[count++] = id;
}

static void on_id(struct client_call *call, struct bytes frame)
{
    struct sender *w = CONTAINER_OF(call, struct sender, line.call);
    struct init_producer_id_response response;
    w->line.waiting = false;
    if (frame.p != NULL) {
        bool ok = response_frame_read(frame, API_INIT_PRODUCER_ID, INIT_VERSION, &response, &w->line.arena);
        ensure(ok);
        if (response.error_code == ERR_NONE) {
            note_id(response.producer_id);
            w->id = response.producer_id;
            w->epoch = response.producer_epoch;
            w->next_sequence = 0;
        }
    }
    arena_deinit(&w->line.arena);
    rest(w, 100);
}

static void ask_id(struct sender *w)
{
    struct init_producer_id_request q;
    init_producer_id_request_init(&q);
    q.transactional_id = STR_NULL;
    q.transaction_timeout_ms = WAIT_MS;
    w->line.call = (struct client_call){.done = on_id, .timeout_ms = WAIT_MS};
    party_post(&w->line, API_INIT_PRODUCER_ID, INIT_VERSION, &q);
}

/* ---- Batches ---- */

static bool is_first_open(struct sender *w, const struct sent_batch *b)
{
    return batch_at(w, 0) == b;
}

static void take_answer(struct sender *w, struct sent_batch *b, const struct produce_partition_produce_response *answer)
{
    switch (answer->error_code) {
    case ERR_NONE:
        if (!b->acknowledged)
            fact_acknowledged(b->party.partition, answer->base_offset, b->party.crc);
        b->acknowledged = true;
        while (w->count > 0 && batch_at(w, 0)->acknowledged && !batch_at(w, 0)->party.waiting)
            drop_first(w);
        return;
    case ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
    case ERR_UNKNOWN_PRODUCER_ID:
    case ERR_INVALID_PRODUCER_EPOCH:
        w->broken |= is_first_open(w, b); /* all before it is there: this one must have fitted */
        break;
    default:
        break;
    }
    w->again = true;
}

static void on_written(struct client_call *call, struct bytes frame)
{
    struct sent_batch *b = CONTAINER_OF(call, struct sent_batch, party.call);
    struct sender *w = b->sender;
    struct produce_response response;
    b->party.waiting = false;
    if (frame.p != NULL) {
        bool ok = response_frame_read(frame, API_PRODUCE, PRODUCE_VERSION, &response, &b->party.arena);
        ensure(ok);
        take_answer(w, b, &response.responses.items[0].partition_responses.items[0]);
    } else {
        w->again = true;
    }
    arena_deinit(&b->party.arena);
    if (w->again || !timer_is_running(&w->line.timer))
        rest(w, w->again ? 100 : 20);
}

static void send_batch(struct sender *w, struct sent_batch *b)
{
    struct arena *a = &b->party.arena;
    struct produce_request q;
    produce_request_init(&q);
    q.acks = -1;
    q.timeout_ms = WAIT_MS;
    ARRAY_MAKE(a, q.topic_data, 1);
    produce_topic_produce_data_init(&q.topic_data.items[0]);
    q.topic_data.items[0].name = STR_LIT(SIM_TOPIC);
    ARRAY_MAKE(a, q.topic_data.items[0].partition_data, 1);
    struct produce_partition_produce_data *data = &q.topic_data.items[0].partition_data.items[0];
    produce_partition_produce_data_init(data);
    data->index = b->party.partition;
    data->records.mem = (struct bytes){(const uint8_t *)b->bytes.p, (int32_t)b->bytes.len};
    b->party.client = w->line.client;
    b->party.call = (struct client_call){.done = on_written, .timeout_ms = WAIT_MS};
    party_post(&b->party, API_PRODUCE, PRODUCE_VERSION, &q);
}

static void send_new(struct sender *w)
{
    struct sent_batch *b = batch_at(w, w->count++);
    struct batch made;
    b->party.number = w->line.number;
    struct bytes bytes = party_make_batch(&b->party, w->id, w->epoch, w->next_sequence), whole = bytes;
    w->line.number = b->party.number;
    strbuf_add(&b->bytes, bytes.p, (size_t)bytes.len);
    b->acknowledged = false;
    bool ok = batch_next(&whole, &made) == BATCH_OK;
    ensure(ok);
    w->next_sequence += made.count;
    send_batch(w, b);
}

static void send_again(struct sender *w)
{
    w->again = false;
    log_info("The producer %" PRId64 " of partition %d sends %d batches again", w->id, w->line.partition, w->count);
    for (int i = 0; i < w->count; i++)
        if (!batch_at(w, i)->acknowledged)
            send_batch(w, batch_at(w, i));
}

/* Nobody was told that these are there, and nobody will be. */
static void give_up(struct sender *w)
{
    log_info("The producer %" PRId64 " of partition %d gives up epoch %d at sequence %" PRId32, w->id,
             w->line.partition, w->epoch, w->next_sequence);
    while (w->count > 0)
        drop_first(w);
    w->again = w->broken = false;
    w->epoch++;
    w->next_sequence = 0;
    if (sim_chance(3))
        w->id = NO_PRODUCER_ID;
}

static void go_on(struct timer *t)
{
    struct sender *w = CONTAINER_OF(t, struct sender, line.timer);
    if (w->line.waiting || ((w->again || w->broken) && is_waiting(w)))
        return; /* the last answer calls again */
    if (w->broken)
        give_up(w);
    if (clients_are_stopping() && w->count == 0)
        return;
    if (!party_find_leader(&w->line)) /* with another one, all that was under way has failed by now */
        ;
    else if (w->id == NO_PRODUCER_ID)
        ask_id(w);
    else if (w->again)
        send_again(w);
    else if (w->count < WINDOW && !clients_are_stopping())
        send_new(w);
    rest(w, sim_chance(3) ? 5 : 200); /* some at once, to have several under way */
}

void idempotent_start(struct loop *loop, int partition)
{
    struct sender *w = &senders[partition];
    w->id = NO_PRODUCER_ID;
    w->line = (struct party){.partition = partition, .leader = -1};
    for (int i = 0; i < WINDOW; i++) {
        w->batches[i].sender = w;
        w->batches[i].party = (struct party){.partition = partition, .leader = -1};
    }
    timer_init(&w->line.timer, loop, go_on);
    timer_start(&w->line.timer, 0);
}

/* ---- What must hold ---- */

struct sequence {
    int64_t id;
    int32_t last;
    int16_t epoch;
};

struct sequences {
    struct sequence v[MOST_IDS];
    int n;
};

static struct sequence *sequence_of(struct sequences *all, int64_t id)
{
    int i = 0;
    while (i < all->n && all->v[i].id != id)
        i++;
    ensure(i < MOST_IDS);
    if (i == all->n)
        all->v[all->n++] = (struct sequence){.id = id, .last = -1};
    return &all->v[i];
}

void sequences_check(int partition, struct bytes log, const char *who)
{
    struct sequences all = {.n = 0};
    struct batch b;
    while (batch_next(&log, &b) == BATCH_OK) {
        if (b.producer_id == NO_PRODUCER_ID)
            continue;
        struct sequence *s = sequence_of(&all, b.producer_id);
        if (b.producer_epoch > s->epoch)
            *s = (struct sequence){b.producer_id, -1, b.producer_epoch};
        if (b.producer_epoch < s->epoch || b.base_sequence <= s->last)
            violation("%s has at offset %" PRId64 " of partition %d epoch %d, sequence %" PRId32
                      " of a producer behind epoch %d, sequence %" PRId32,
                      who, b.base_offset, partition, b.producer_epoch, b.base_sequence, s->epoch, s->last);
        s->last = batch_last_sequence(&b);
    }
}
