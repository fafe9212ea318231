#include "tools/kit/java_trust.h"

#include "config/java_options.h"

bool java_trust_load(const char *url, struct arena *a, struct keystore *out, struct fail *fail)
{
    struct keystore_source source = {.location = java_property("javax.net.ssl.trustStore", a),
                                     .type = java_property("javax.net.ssl.trustStoreType", a),
                                     .password = java_property("javax.net.ssl.trustStorePassword", a)};
    if (strncmp(url, "https:", 6) != 0 || source.location == NULL)
        return true;
    return keystore_load(&source, KEYSTORE_TRUST, out, fail);
}
