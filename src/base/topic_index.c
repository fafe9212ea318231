#include "base/topic_index.h"

#include <utlist.h>

#include "base/hash.h"

struct topic_entry { /* goes with the last of its links */
    struct topic_link *links;
    UT_hash_handle hh;
    char name[];
};

static struct topic_entry *topic_entry_find(const struct topic_index *x, const char *topic)
{
    struct topic_entry *e;
    HASH_FIND_STR(x->table, topic, e);
    return e;
}

static struct topic_entry *topic_entry_new(struct topic_index *x, const char *topic)
{
    size_t size = strlen(topic) + 1;
    struct topic_entry *e = xcalloc(1, sizeof(*e) + size);
    memcpy(e->name, topic, size);
    HASH_ADD_STR(x->table, name, e);
    return e;
}

void topic_index_add(struct topic_index *x, const char *topic, struct topic_link *link)
{
    struct topic_entry *e = topic_entry_find(x, topic);
    ensure(link->topic == NULL);
    if (e == NULL)
        e = topic_entry_new(x, topic);
    link->topic = e;
    DL_APPEND(e->links, link);
}

void topic_index_remove(struct topic_index *x, struct topic_link *link)
{
    struct topic_entry *e = link->topic;
    ensure(e != NULL && e->links != NULL);
    ensure(topic_entry_find(x, e->name) == e); /* of this index, not of another */
    DL_DELETE(e->links, link);
    *link = (struct topic_link){0};
    if (e->links != NULL)
        return;
    HASH_DEL(x->table, e);
    free(e);
}

struct topic_link *topic_index_first(const struct topic_index *x, const char *topic)
{
    const struct topic_entry *e = topic_entry_find(x, topic);
    return e != NULL ? e->links : NULL;
}
