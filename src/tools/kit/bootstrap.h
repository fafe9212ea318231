/* bootstrap.servers, as Kafka's clients read them: what is no address is refused before anything is connected. */
#ifndef BARNABAS_TOOLS_KIT_BOOTSTRAP_H
#define BARNABAS_TOOLS_KIT_BOOTSTRAP_H

#include "base/arena.h"
#include "base/fail.h"

struct bootstrap_address {
    const char *host; /* without brackets */
    int port;
};

/*
 * host:port,... in the arena; there is at least one. Of hosts that nobody knows the user is warned; where all are
 * unknown there is nobody to ask, and it fails. It waits for the name service.
 */
bool bootstrap_read(const char *text, struct arena *a, struct bootstrap_address **out, int *count,
                    struct fail *fail) NODISCARD;

#endif
