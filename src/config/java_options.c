#include "config/java_options.h"

#include <ctype.h>

/* Kafka's scripts leave the variable to the shell, unquoted: words end at blanks, and no quotes count. */
static bool next_word(const char *variable, size_t *at, struct str *out)
{
    const char *text = getenv(variable);
    if (text == NULL)
        return false;
    const char *p = text + *at;
    while (isspace((unsigned char)*p))
        p++;
    const char *end = p;
    while (*end != '\0' && !isspace((unsigned char)*end))
        end++;
    *out = (struct str){p, (int32_t)(end - p)};
    *at = (size_t)(end - text);
    return out->len > 0;
}

static const char *property_in(const char *variable, const char *name, struct arena *a)
{
    const char *found = NULL;
    int32_t len = (int32_t)strlen(name);
    struct str word;
    for (size_t at = 0; next_word(variable, &at, &word);)
        if (word.len > len + 2 && strncmp(word.p, "-D", 2) == 0 && strncmp(word.p + 2, name, (size_t)len) == 0 &&
            word.p[2 + len] == '=')
            found = arena_cstr(a, (struct str){word.p + 3 + len, word.len - 3 - len});
    return found;
}

const char *java_property(const char *name, struct arena *a)
{
    const char *found = property_in("KAFKA_OPTS", name, a);
    return found != NULL ? found : property_in("KAFKA_LOG4J_OPTS", name, a);
}

bool java_agent_next(size_t *at, struct arena *a, const char **path, const char **arguments)
{
    static const char option[] = "-javaagent:";
    const int32_t len = sizeof(option) - 1;
    struct str word;
    while (next_word("KAFKA_OPTS", at, &word)) {
        if (word.len <= len || strncmp(word.p, option, (size_t)len) != 0)
            continue;
        char *copy = arena_cstr(a, (struct str){word.p + len, word.len - len}), *equals = strchr(copy, '=');
        *path = copy;
        *arguments = equals != NULL ? equals + 1 : "";
        if (equals != NULL)
            *equals = '\0';
        return true;
    }
    return false;
}
