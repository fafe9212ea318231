#include "base/topic_key.h"

_Static_assert(sizeof(struct topic_key) == 256, "no padding, which would be hashed");

bool topic_key_make(struct str topic, int32_t index, struct topic_key *out)
{
    if (topic.len <= 0 || topic.len > LONGEST_TOPIC_NAME || memchr(topic.p, '\0', (size_t)topic.len) != NULL)
        return false;
    *out = (struct topic_key){.index = index};
    memcpy(out->topic, topic.p, (size_t)topic.len);
    return true;
}
