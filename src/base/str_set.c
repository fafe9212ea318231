#include "base/str_set.h"

#include "base/hash.h"

struct str_entry {
    UT_hash_handle hh;
};

bool str_set_has(const struct str_set *s, struct str text)
{
    struct str_entry *e;
    ensure(text.len >= 0);
    HASH_FIND(hh, s->table, text.p != NULL ? text.p : "", (size_t)text.len, e);
    return e != NULL;
}

bool str_set_add(struct str_set *s, struct arena *a, struct str text)
{
    if (str_set_has(s, text))
        return false;
    struct str_entry *e = ARENA_NEW(a, struct str_entry);
    HASH_ADD_KEYPTR(hh, s->table, text.p != NULL ? text.p : "", (size_t)text.len, e);
    return true;
}

bool str_set_add_copy(struct str_set *s, struct arena *a, struct str text)
{
    return !str_set_has(s, text) && str_set_add(s, a, arena_str(a, text));
}

struct str_set str_set_of_repeated(struct arena *a, const struct str *texts, int32_t count)
{
    struct str_set seen = {0}, repeated = {0};
    for (int32_t i = 0; i < count; i++)
        if (!str_set_add(&seen, a, texts[i]))
            str_set_add(&repeated, a, texts[i]);
    str_set_deinit(&seen);
    return repeated;
}

void str_set_deinit(struct str_set *s)
{
    HASH_CLEAR(hh, s->table);
}
