#include "config/java_options.h"

#include <ctype.h>

/* Kafka's scripts leave the variable to the shell, unquoted: words end at blanks, and no quotes count. */
const char *java_property(const char *name, struct arena *a)
{
    const char *p = getenv("KAFKA_OPTS"), *found = NULL;
    size_t len = strlen(name);
    while (p != NULL && *p != '\0') {
        while (isspace((unsigned char)*p))
            p++;
        const char *end = p;
        while (*end != '\0' && !isspace((unsigned char)*end))
            end++;
        if (strncmp(p, "-D", 2) == 0 && strncmp(p + 2, name, len) == 0 && p[2 + len] == '=')
            found = arena_cstr(a, (struct str){p + 3 + len, (int32_t)(end - p - 3 - (ptrdiff_t)len)});
        p = end;
    }
    return found;
}
