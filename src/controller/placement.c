#include "controller/placement.h"

#include <inttypes.h>

#include "base/chance.h"

static int32_t replica_index(int32_t first, int32_t shift, int32_t k, int32_t n)
{
    ensure(n > 1);
    return (first + 1 + (shift + k) % (n - 1)) % n;
}

static void place_plain(const struct registration *brokers, int32_t n, int32_t factor, int32_t first, int32_t shift,
                        struct int_list *out)
{
    out->v[out->n++] = brokers[first].id;
    for (int32_t k = 0; k < factor - 1; k++)
        out->v[out->n++] = brokers[replica_index(first, shift, k, n)].id;
}

/* Brokers in an order in which racks alternate, and which of them a partition has so far: all by place, or rack. */
struct racks {
    int32_t count;
    int32_t *of;            /* each broker's */
    int32_t *used, *chosen; /* by which partition as the last one */
};

static void place_by_rack(const struct registration *brokers, int32_t n, int32_t factor, int32_t partition,
                          int32_t first, int32_t shift, struct racks *racks, struct int_list *out)
{
    int32_t used = 0;
    for (int32_t k = -1; out->n < factor; k++) {
        int32_t at = k < 0 ? first : replica_index(first, shift * racks->count, k, n), rack = racks->of[at];
        bool rack_used = racks->used[rack] == partition;
        if ((rack_used && used < racks->count) || racks->chosen[at] == partition)
            continue;
        used += !rack_used;
        racks->used[rack] = racks->chosen[at] = partition;
        out->v[out->n++] = brokers[at].id;
    }
}

static int by_rack_then_id(const void *a, const void *b)
{
    const struct registration *x = a, *y = b;
    int order = strcmp(x->rack, y->rack);
    return order != 0 ? order : (x->id > y->id) - (x->id < y->id);
}

static int placement_by_id(const void *a, const void *b)
{
    const struct registration *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int32_t *no_partitions(struct arena *a, int32_t n)
{
    int32_t *v = ARENA_ARRAY(a, int32_t, n);
    memset(v, -1, (size_t)n * sizeof(*v));
    return v;
}

/* One broker of each rack in turn. */
static struct racks alternate_racks(struct arena *a, struct registration *brokers, int32_t n)
{
    struct registration *sorted = arena_copy(a, brokers, (size_t)n * sizeof(*brokers));
    struct racks racks = {0, ARENA_ARRAY(a, int32_t, n), no_partitions(a, n), no_partitions(a, n)};
    bool *taken = ARENA_ARRAY(a, bool, n);
    int32_t placed = 0;
    qsort(sorted, (size_t)n, sizeof(*sorted), by_rack_then_id);
    for (int32_t round = 0; placed < n; round++) {
        int32_t rack = -1, last = -1;
        for (int32_t i = 0; i < n; i++) {
            rack += i == 0 || strcmp(sorted[i - 1].rack, sorted[i].rack) != 0;
            if (taken[i] || rack == last)
                continue;
            last = rack;
            taken[i] = true;
            racks.of[placed] = rack;
            brokers[placed++] = sorted[i];
        }
        racks.count = rack + 1;
    }
    return racks;
}

static enum kafka_error placement_problem(struct arena *a, int32_t broker_count, int32_t count, int32_t factor,
                                          struct str *message)
{
    if (count <= 0) {
        *message = STR_LIT("Number of partitions must be larger than 0.");
        return ERR_INVALID_PARTITIONS;
    }
    if (factor <= 0) {
        *message = STR_LIT("Replication factor must be larger than 0.");
        return ERR_INVALID_REPLICATION_FACTOR;
    }
    if (factor > broker_count) {
        *message = arena_printf(a, "Replication factor: %" PRId32 " larger than available brokers: %" PRId32 ".",
                                factor, broker_count);
        return ERR_INVALID_REPLICATION_FACTOR;
    }
    return ERR_NONE;
}

enum kafka_error replicas_place(struct arena *a, const struct registration *brokers, int32_t broker_count,
                                int32_t count, int32_t factor, int32_t start, int32_t first, struct int_list *out,
                                struct str *message)
{
    enum kafka_error error = placement_problem(a, broker_count, count, factor, message);
    if (error != ERR_NONE)
        return error;
    struct registration *list = arena_copy(a, brokers, (size_t)broker_count * sizeof(*brokers));
    int32_t with_rack = 0;
    struct racks racks = {0};
    for (int32_t i = 0; i < broker_count; i++)
        with_rack += list[i].rack != NULL;
    if (with_rack > 0 && with_rack < broker_count) {
        *message = STR_LIT("Not all brokers have rack information for replica rack aware assignment.");
        return ERR_INVALID_REPLICATION_FACTOR;
    }
    qsort(list, (size_t)broker_count, sizeof(*list), placement_by_id);
    if (with_rack > 0)
        racks = alternate_racks(a, list, broker_count);
    int32_t from = start >= 0 ? start : (int32_t)chance_below((uint64_t)broker_count);
    int32_t shift = start >= 0 ? start : (int32_t)chance_below((uint64_t)broker_count);
    for (int32_t p = first; p < first + count; p++) {
        if (p > 0 && p % broker_count == 0)
            shift++;
        struct int_list *replicas = &out[p - first];
        *replicas = (struct int_list){ARENA_ARRAY(a, int32_t, factor), 0};
        if (racks.count > 0)
            place_by_rack(list, broker_count, factor, p, (p + from) % broker_count, shift, &racks, replicas);
        else
            place_plain(list, broker_count, factor, (p + from) % broker_count, shift, replicas);
    }
    return ERR_NONE;
}
