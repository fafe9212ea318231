/*
 * Lists of ACLs, and looking for what they say together.
 *
 * A list has a row for each principal and host, with the operations that it allows and denies as bits, sorted by the
 * principal's hash. The set is a table of lists with open addressing; a name is hashed byte by byte, and at each length
 * that some prefix of the type has, the hash so far is looked for.
 */
#include "security/acl.h"

struct acl_row {
    uint64_t hash; /* of the principal */
    struct str principal, host;
    uint32_t allowed, denied;
};

struct acl_list {
    atomic_int refs;
    struct acl_resource resource;
    uint64_t hash;
    uint64_t sketch; /* a bit for each row's principal: without its bit, somebody is not in it */
    bool is_unreadable;
    struct acl_row *rows;
    int32_t row_count;
    struct arena memory;
};

struct acl_slot {
    struct acl_list *list; /* NULL: free */
    uint64_t sketch;
};

struct acl_set {
    atomic_int refs;
    int32_t count;
    uint32_t mask; /* slots are a power of two, at least twice as many as lists */
    struct acl_slot *slots;
    int32_t *prefix_lengths[ACL_TYPES]; /* ascending, each once */
    int32_t prefix_length_count[ACL_TYPES];
};

#define ALL_OPERATIONS ((UINT32_C(1) << ACL_OPERATIONS) - 1)

/* ---- Hashes ---- */

static const uint64_t hash_start = UINT64_C(0xcbf29ce484222325);

static uint64_t hash_byte(uint64_t h, char c)
{
    return (h ^ (uint8_t)c) * UINT64_C(0x100000001b3);
}

static uint64_t hash_text(uint64_t h, struct str s)
{
    for (int32_t i = 0; i < s.len; i++)
        h = hash_byte(h, s.p[i]);
    return h;
}

/* Of a name's hash, for a table: all bits count for the lowest ones. */
static uint64_t hash_finish(uint64_t h, enum acl_type type, enum acl_pattern pattern)
{
    h ^= (uint64_t)type << 8 | (uint64_t)pattern;
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 33;
}

static uint64_t sketch_of(uint64_t hash)
{
    return UINT64_C(1) << (hash >> 58);
}

struct acl_asker acl_asker(struct principal principal, struct str host)
{
    uint64_t h = hash_text(hash_byte(hash_text(hash_start, principal.type), ':'), principal.name);
    return (struct acl_asker){principal, host, h};
}

/* ---- The list of one resource ---- */

static struct acl_list *list_new(const struct acl_resource *r, int32_t count)
{
    struct acl_list *l = xcalloc(1, sizeof(*l));
    atomic_init(&l->refs, 1);
    l->resource = *r;
    l->resource.name = arena_str(&l->memory, r->name);
    l->hash = hash_finish(hash_text(hash_start, r->name), r->type, r->pattern);
    l->rows = ARENA_ARRAY(&l->memory, struct acl_row, MAX(count, 1));
    return l;
}

static int by_principal(const void *a, const void *b)
{
    const struct acl_row *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    int order = str_cmp(x->principal, y->principal);
    return order != 0 ? order : str_cmp(x->host, y->host);
}

static void merge_rows(struct acl_list *l)
{
    int32_t n = 0;
    qsort(l->rows, (size_t)l->row_count, sizeof(*l->rows), by_principal);
    for (int32_t i = 0; i < l->row_count; i++) {
        if (n == 0 || by_principal(&l->rows[n - 1], &l->rows[i]) != 0) {
            l->rows[n++] = l->rows[i];
            continue;
        }
        l->rows[n - 1].allowed |= l->rows[i].allowed;
        l->rows[n - 1].denied |= l->rows[i].denied;
    }
    l->row_count = n;
}

struct acl_list *acl_list_new(const struct acl_resource *r, const struct acl_entry *entries, int32_t count)
{
    struct acl_list *l = list_new(r, count);
    l->row_count = count;
    for (int32_t i = 0; i < count; i++) {
        const struct acl_entry *e = &entries[i];
        struct acl_row *row = &l->rows[i];
        *row = (struct acl_row){hash_text(hash_start, e->principal), arena_str(&l->memory, e->principal),
                                arena_str(&l->memory, e->host), 0, 0};
        *(e->permission == ACL_ALLOW ? &row->allowed : &row->denied) = UINT32_C(1) << e->operation;
        l->sketch |= sketch_of(row->hash);
    }
    merge_rows(l);
    return l;
}

struct acl_list *acl_list_new_unreadable(const struct acl_resource *r)
{
    struct acl_list *l = list_new(r, 0);
    l->is_unreadable = true;
    return l;
}

void acl_list_ref(struct acl_list *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void acl_list_unref(struct acl_list *l)
{
    if (l == NULL)
        return;
    int before = atomic_fetch_sub(&l->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    arena_deinit(&l->memory);
    free(l);
}

const struct acl_resource *acl_list_resource(const struct acl_list *l)
{
    return &l->resource;
}

static void acl_row_entries(const struct acl_row *row, uint32_t bits, enum acl_permission permission,
                            struct acl_entry *entries, int32_t *count)
{
    for (int o = ACL_ALL; o < ACL_OPERATIONS; o++)
        if (bits >> o & 1)
            entries[(*count)++] = (struct acl_entry){row->principal, row->host, (enum acl_operation)o, permission};
}

struct acl_entry *acl_list_entries(const struct acl_list *l, struct arena *a, int32_t *count)
{
    int32_t most = 0;
    for (int32_t i = 0; i < l->row_count; i++)
        most += __builtin_popcount(l->rows[i].allowed) + __builtin_popcount(l->rows[i].denied);
    struct acl_entry *entries = ARENA_ARRAY(a, struct acl_entry, MAX(most, 1));
    *count = 0;
    for (int32_t i = 0; i < l->row_count; i++) {
        acl_row_entries(&l->rows[i], l->rows[i].allowed, ACL_ALLOW, entries, count);
        acl_row_entries(&l->rows[i], l->rows[i].denied, ACL_DENY, entries, count);
    }
    return entries;
}

/* ---- The set of them ---- */

static bool resource_is(const struct acl_list *l, enum acl_type type, enum acl_pattern pattern, struct str name)
{
    return l->resource.type == type && l->resource.pattern == pattern && str_eq(l->resource.name, name);
}

/* The slot of that resource, or the free one where it would be. */
static struct acl_slot *acl_slot_find(const struct acl_set *s, uint64_t hash, enum acl_type type,
                                      enum acl_pattern pattern, struct str name)
{
    for (uint32_t at = (uint32_t)hash & s->mask;; at = (at + 1) & s->mask) {
        struct acl_slot *slot = &s->slots[at];
        if (slot->list == NULL || (slot->list->hash == hash && resource_is(slot->list, type, pattern, name)))
            return slot;
    }
}

static struct acl_slot *acl_slot_of(const struct acl_set *s, const struct acl_resource *r)
{
    uint64_t hash = hash_finish(hash_text(hash_start, r->name), r->type, r->pattern);
    return acl_slot_find(s, hash, r->type, r->pattern, r->name);
}

static struct acl_set *acl_set_make(int32_t room)
{
    struct acl_set *s = xcalloc(1, sizeof(*s));
    uint32_t slots = 16;
    atomic_init(&s->refs, 1);
    while (slots < 2 * (uint32_t)room)
        slots *= 2;
    s->mask = slots - 1;
    s->slots = xcalloc(slots, sizeof(*s->slots));
    return s;
}

struct acl_set *acl_set_new(void)
{
    return acl_set_make(0);
}

void acl_set_ref(struct acl_set *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void acl_set_unref(struct acl_set *s)
{
    if (s == NULL)
        return;
    int before = atomic_fetch_sub(&s->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    for (uint32_t i = 0; i <= s->mask; i++)
        acl_list_unref(s->slots[i].list);
    for (int t = 0; t < ACL_TYPES; t++)
        free(s->prefix_lengths[t]);
    free(s->slots);
    free(s);
}

int32_t acl_set_count(const struct acl_set *s)
{
    return s->count;
}

struct acl_list *acl_set_find(const struct acl_set *s, const struct acl_resource *r)
{
    return acl_slot_of(s, r)->list;
}

void acl_set_each(const struct acl_set *s, void (*visit)(void *ctx, struct acl_list *l), void *ctx)
{
    for (uint32_t i = 0; i <= s->mask; i++)
        if (s->slots[i].list != NULL)
            visit(ctx, s->slots[i].list);
}

static int by_length(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void note_prefix_lengths(struct acl_set *s, enum acl_type type)
{
    int32_t n = 0, unique = 0, *lengths = xcalloc((size_t)s->count + 1, sizeof(*lengths));
    for (uint32_t i = 0; i <= s->mask; i++) {
        const struct acl_list *l = s->slots[i].list;
        if (l != NULL && l->resource.type == type && l->resource.pattern == ACL_PREFIXED)
            lengths[n++] = l->resource.name.len;
    }
    qsort(lengths, (size_t)n, sizeof(*lengths), by_length);
    for (int32_t i = 0; i < n; i++)
        if (unique == 0 || lengths[unique - 1] != lengths[i])
            lengths[unique++] = lengths[i];
    s->prefix_lengths[type] = lengths;
    s->prefix_length_count[type] = unique;
}

static void put_list(struct acl_set *s, struct acl_slot *slot, struct acl_list *list)
{
    s->count += slot->list == NULL;
    ensure(2 * (uint32_t)s->count <= s->mask + 1); /* or a look-up might not end */
    acl_list_unref(slot->list);
    *slot = (struct acl_slot){list, list->sketch};
}

static bool is_empty(const struct acl_list *l)
{
    return l->row_count == 0 && !l->is_unreadable;
}

static struct acl_slot *acl_slot_like(const struct acl_set *s, const struct acl_list *l)
{
    return acl_slot_find(s, l->hash, l->resource.type, l->resource.pattern, l->resource.name);
}

static void share_list(struct acl_set *s, struct acl_list *l)
{
    acl_list_ref(l);
    put_list(s, acl_slot_like(s, l), l);
}

/* The changed ones are a set first, so that the last counts that was said of a resource; there, no list is an empty
 * one. */
struct acl_set *acl_set_with(const struct acl_set *old, const struct acl_change *changes, int32_t count)
{
    struct acl_set *changed = acl_set_make(count), *s = acl_set_make(old->count + count);
    for (int32_t i = 0; i < count; i++) {
        const struct acl_resource *r = &changes[i].resource;
        put_list(changed, acl_slot_of(changed, r), changes[i].list != NULL ? changes[i].list : list_new(r, 0));
    }
    for (uint32_t i = 0; i <= changed->mask; i++)
        if (changed->slots[i].list != NULL && !is_empty(changed->slots[i].list))
            share_list(s, changed->slots[i].list);
    for (uint32_t i = 0; i <= old->mask; i++)
        if (old->slots[i].list != NULL && acl_slot_like(changed, old->slots[i].list)->list == NULL)
            share_list(s, old->slots[i].list);
    acl_set_unref(changed);
    for (int t = ACL_TOPIC; t < ACL_TYPES; t++)
        note_prefix_lengths(s, (enum acl_type)t);
    return s;
}

/* ---- Asking ---- */

struct acl_found { /* by all lists together */
    bool any;      /* list at all */
    uint32_t allowed, denied;
};

static bool is_principal(struct str text, const struct principal *p)
{
    return text.len == p->type.len + 1 + p->name.len && memcmp(text.p, p->type.p, (size_t)p->type.len) == 0 &&
           text.p[p->type.len] == ':' && memcmp(text.p + p->type.len + 1, p->name.p, (size_t)p->name.len) == 0;
}

static void add_rows_of(const struct acl_list *l, const struct acl_asker *who, struct str host, struct acl_found *found)
{
    int32_t low = 0, high = l->row_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (l->rows[middle].hash < who->hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (int32_t i = low; i < l->row_count && l->rows[i].hash == who->hash; i++) {
        const struct acl_row *row = &l->rows[i];
        if (!is_principal(row->principal, &who->principal) ||
            !(str_is(row->host, ACL_WILDCARD) || str_eq(row->host, host)))
            continue;
        found->allowed |= row->allowed;
        found->denied |= row->denied;
    }
}

static struct acl_asker anybody(void)
{
    return acl_asker((struct principal){principal_anonymous.type, STR_LIT(ACL_WILDCARD), false}, STR_NULL);
}

static void add_list(const struct acl_list *l, const struct acl_asker *who, const struct acl_asker *everyone,
                     struct acl_found *found)
{
    if (l == NULL)
        return;
    found->any = true;
    if (l->is_unreadable)
        found->denied |= UINT32_C(1) << ACL_ALL;
    if (l->sketch & sketch_of(who->hash))
        add_rows_of(l, who, who->host, found);
    if (l->sketch & sketch_of(everyone->hash))
        add_rows_of(l, everyone, who->host, found);
}

/* Of each prefix of the name, which may be all of it. The name's hash. */
static uint64_t add_prefixes(const struct acl_set *s, const struct acl_asker *who, const struct acl_asker *everyone,
                             enum acl_type type, struct str name, struct acl_found *found)
{
    uint64_t h = hash_start;
    int32_t next = 0, count = s->prefix_length_count[type];
    for (int32_t i = 0; i < name.len; i++) {
        h = hash_byte(h, name.p[i]);
        if (next == count || s->prefix_lengths[type][next] != i + 1)
            continue;
        next++;
        struct str prefix = {name.p, i + 1};
        add_list(acl_slot_find(s, hash_finish(h, type, ACL_PREFIXED), type, ACL_PREFIXED, prefix)->list, who, everyone,
                 found);
    }
    return h;
}

static const struct acl_list *wildcard_list(const struct acl_set *s, enum acl_type type)
{
    struct acl_resource r = {type, ACL_LITERAL, STR_LIT(ACL_WILDCARD)};
    return acl_slot_of(s, &r)->list;
}

/* What follows from entries of an operation for others. */
static uint32_t implied(uint32_t allowed)
{
    if (allowed >> ACL_ALL & 1)
        return ALL_OPERATIONS;
    if (allowed & (1 << ACL_READ | 1 << ACL_WRITE | 1 << ACL_DELETE | 1 << ACL_ALTER))
        allowed |= 1 << ACL_DESCRIBE;
    if (allowed & 1 << ACL_ALTER_CONFIGS)
        allowed |= 1 << ACL_DESCRIBE_CONFIGS;
    return allowed;
}

uint32_t acl_allowed(const struct acl_set *s, const struct acl_policy *p, const struct acl_asker *who,
                     enum acl_type type, struct str name)
{
    struct acl_found found = {0};
    struct acl_asker everyone = anybody();
    if (acl_is_super_user(p, who))
        return ALL_OPERATIONS;
    add_list(wildcard_list(s, type), who, &everyone, &found);
    uint64_t h = add_prefixes(s, who, &everyone, type, name, &found);
    add_list(acl_slot_find(s, hash_finish(h, type, ACL_LITERAL), type, ACL_LITERAL, name)->list, who, &everyone,
             &found);
    if (!found.any)
        return p->allow_everyone_if_no_acl_found ? ALL_OPERATIONS : 0;
    if (found.denied >> ACL_ALL & 1)
        return 0;
    return implied(found.allowed) & ~found.denied;
}

/* Whether the list allows it, and neither its own entries deny it nor those of what its name begins with. */
static bool allows_somewhere(const struct acl_set *s, const struct acl_list *l, const struct acl_asker *who,
                             const struct acl_asker *everyone, uint32_t bits)
{
    struct acl_found found = {0};
    add_list(l, who, everyone, &found);
    if (!(found.allowed & bits))
        return false;
    if (l->resource.pattern == ACL_LITERAL && str_is(l->resource.name, ACL_WILDCARD))
        return true;
    add_prefixes(s, who, everyone, l->resource.type, l->resource.name, &found);
    return !(found.denied & bits);
}

bool acl_allowed_somewhere(const struct acl_set *s, const struct acl_policy *p, const struct acl_asker *who,
                           enum acl_type type, enum acl_operation operation)
{
    struct acl_asker everyone = anybody();
    struct acl_found everywhere = {0};
    uint32_t bits = UINT32_C(1) << operation | UINT32_C(1) << ACL_ALL;
    uint64_t sketch = sketch_of(who->hash) | sketch_of(everyone.hash);
    if (acl_is_super_user(p, who))
        return true;
    add_list(wildcard_list(s, type), who, &everyone, &everywhere);
    if (everywhere.denied & bits)
        return false;
    if (p->allow_everyone_if_no_acl_found)
        return true;
    for (uint32_t i = 0; i <= s->mask; i++)
        if ((s->slots[i].sketch & sketch) != 0 && s->slots[i].list->resource.type == type &&
            allows_somewhere(s, s->slots[i].list, who, &everyone, bits))
            return true;
    return false;
}
