/* What a list is to become when entries are added to it, or filters take some away. */
#include "security/acl.h"

static int by_entry(const void *a, const void *b)
{
    const struct acl_entry *x = a, *y = b;
    int order = str_cmp(x->principal, y->principal);
    order = order != 0 ? order : str_cmp(x->host, y->host);
    order = order != 0 ? order : (int)x->operation - (int)y->operation;
    return order != 0 ? order : (int)x->permission - (int)y->permission;
}

static int32_t each_once(struct acl_entry *entries, int32_t count)
{
    int32_t n = 0;
    qsort(entries, (size_t)count, sizeof(*entries), by_entry);
    for (int32_t i = 0; i < count; i++)
        if (n == 0 || by_entry(&entries[n - 1], &entries[i]) != 0)
            entries[n++] = entries[i];
    return n;
}

static void append(struct acl_entry *to, const struct acl_entry *from, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        to[i] = from[i];
}

bool acl_entries_add(struct arena *a, const struct acl_entry *now, int32_t count, const struct acl_entry *more,
                     int32_t more_count, struct acl_entry **then, int32_t *then_count)
{
    struct acl_entry *all = ARENA_ARRAY(a, struct acl_entry, MAX(count + more_count, 1));
    append(all, now, count);
    count = each_once(all, count);
    append(all + count, more, more_count);
    *then = all;
    *then_count = each_once(all, count + more_count);
    return *then_count > count;
}

int32_t acl_filters_find(const struct acl_filter *filters, int32_t count, const struct acl_resource *r,
                         const struct acl_entry *e)
{
    for (int32_t i = 0; i < count; i++)
        if (acl_filter_takes_resource(&filters[i], r) && acl_filter_takes_entry(&filters[i], e))
            return i;
    return -1;
}

struct acl_parting acl_entries_part(struct arena *a, const struct acl_resource *r, const struct acl_entry *now,
                                    int32_t count, const struct acl_filter *filters, int32_t filter_count)
{
    struct acl_parting p = {.left = ARENA_ARRAY(a, struct acl_entry, MAX(count, 1)),
                            .gone = ARENA_ARRAY(a, struct acl_entry, MAX(count, 1)),
                            .gone_by = ARENA_ARRAY(a, int32_t, MAX(count, 1))};
    append(p.left, now, count);
    count = each_once(p.left, count);
    for (int32_t i = 0; i < count; i++) {
        int32_t by = acl_filters_find(filters, filter_count, r, &p.left[i]);
        if (by < 0) {
            p.left[p.left_count++] = p.left[i];
            continue;
        }
        p.gone[p.gone_count] = p.left[i];
        p.gone_by[p.gone_count++] = by;
    }
    return p;
}
