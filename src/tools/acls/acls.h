/* kafka-acls: what was asked for, and the two ways to have it done: by requests to a broker, or in ZooKeeper. */
#ifndef BARNABAS_TOOLS_ACLS_ACLS_H
#define BARNABAS_TOOLS_ACLS_ACLS_H

#include "security/acl.h"
#include "tools/kit/tool.h"

struct acl_binding {
    struct acl_resource resource;
    struct acl_entry entry;
};

/* Each returns false with the reason. What they find lies in the arena. */
struct acl_way {
    bool (*add)(void *ctx, const struct acl_resource *r, const struct acl_entry *entries, int32_t count,
                struct fail *fail);
    bool (*remove)(void *ctx, const struct acl_filter *filters, int32_t count, struct fail *fail);
    bool (*list)(void *ctx, const struct acl_filter *filter, struct acl_binding **out, int32_t *count,
                 struct arena *arena, struct fail *fail);
    void (*close)(void *ctx);
    void *ctx;
};

bool acls_by_requests(const char *bootstrap, const char *command_config, struct acl_way *out, struct fail *fail);
bool acls_by_znodes(const char *connect, const char *tls_file, struct acl_way *out, struct fail *fail);

#endif
