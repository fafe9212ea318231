#include "config/environment.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/logger.h"
#include "base/strbuf.h"

enum { LARGEST_SECRET = 1 << 20 };

struct reading {
    char *const *variables;
    const char *secrets;
    struct arena *arena;
    struct environment_settings *out;
};

/* NULL: it is not set. */
static const char *environment_get(char *const *variables, const char *name)
{
    size_t len = strlen(name);
    for (; *variables != NULL; variables++)
        if (strncmp(*variables, name, len) == 0 && (*variables)[len] == '=')
            return *variables + len + 1;
    return NULL;
}

static void put_pair(struct reading *r, const char *key, const char *value)
{
    r->out->pairs[r->out->count++] = arena_printf(r->arena, "%s=%s", key, value).p;
}

static bool environment_load(const char *path, struct strbuf *text)
{
    char chunk[4096];
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    for (size_t n; text->len <= LARGEST_SECRET && (n = fread(chunk, 1, sizeof(chunk), f)) > 0;)
        strbuf_add(text, chunk, n);
    bool ok = !ferror(f);
    int why = errno;
    fclose(f);
    errno = why;
    return ok;
}

/*
 * The first line, and more if there is more, without the end of the last. What cannot be a value is refused, as a part
 * of it would be taken for the whole.
 */
static const char *read_secret(struct reading *r, const char *variable, const char *path, struct fail *fail)
{
    struct strbuf text = {0};
    const char *secret = NULL;
    if (!environment_load(path, &text))
        fail_set(fail, "%s, which %s names, cannot be read: %s", path, variable, strerror(errno));
    else if (text.len > LARGEST_SECRET)
        fail_set(fail, "%s, which %s names, has more than %d bytes", path, variable, LARGEST_SECRET);
    else if (text.len > 0 && memchr(text.p, '\0', text.len) != NULL)
        fail_set(fail, "%s, which %s names, is no text: it has a zero byte", path, variable);
    else {
        while (text.len > 0 && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\r'))
            text.len--;
        secret = arena_printf(r->arena, "%.*s", (int)text.len, text.len > 0 ? text.p : "").p;
    }
    strbuf_deinit(&text);
    return secret;
}

/* LOG4J__A___B_C is log4j_a-b.c */
static char *key_of(struct arena *a, const char *name, size_t len)
{
    char *key = arena_alloc(a, len + 1), *to = key;
    for (size_t i = 0; i < len;) {
        size_t run = 0;
        while (i + run < len && run < 3 && name[i + run] == '_')
            run++;
        *to++ = run == 3 ? '-' : run == 2 ? '_' : run == 1 ? '.' : (char)tolower((unsigned char)name[i]);
        i += MAX(run, (size_t)1);
    }
    *to = '\0';
    return key;
}

static bool is_for_scripts(const char *name, size_t len)
{
    static const char *const names[] = {"VERSION",       "HEAP_OPTS",
                                        "LOG4J_OPTS",    "OPTS",
                                        "JMX_OPTS",      "JVM_PERFORMANCE_OPTS",
                                        "GC_LOG_OPTS",   "LOG4J_ROOT_LOGLEVEL",
                                        "LOG4J_LOGGERS", "TOOLS_LOG4J_LOGLEVEL",
                                        "JMX_HOSTNAME"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return true;
    return false;
}

static const struct secret {
    const char *name, *key;
    bool content; /* and not the path */
} secret_names[] = {{"SSL_KEYSTORE_FILENAME", "ssl.keystore.location", false},
                    {"SSL_TRUSTSTORE_FILENAME", "ssl.truststore.location", false},
                    {"SSL_KEY_CREDENTIALS", "ssl.key.password", true},
                    {"SSL_KEYSTORE_CREDENTIALS", "ssl.keystore.password", true},
                    {"SSL_TRUSTSTORE_CREDENTIALS", "ssl.truststore.password", true}};

static const struct secret *find_secret(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(secret_names); i++)
        if (strlen(secret_names[i].name) == len && memcmp(secret_names[i].name, name, len) == 0)
            return &secret_names[i];
    return NULL;
}

/* What is behind KAFKA_ in the name of a variable, and its value. */
static bool take_variable(struct reading *r, const char *name, size_t len, const char *value, struct fail *fail)
{
    static const char file[] = "_FILE";
    size_t tail = sizeof(file) - 1;
    const struct secret *secret = find_secret(name, len);
    const char *path = secret != NULL ? arena_printf(r->arena, "%s/%s", r->secrets, value).p : value;
    bool by_file = len > tail && memcmp(name + len - tail, file, tail) == 0;
    if (is_for_scripts(name, len))
        return true;
    if (secret != NULL && !secret->content) {
        put_pair(r, secret->key, path);
        return true;
    }
    if (secret != NULL || by_file)
        value = read_secret(r, arena_printf(r->arena, "KAFKA_%.*s", (int)len, name).p, path, fail);
    if (value != NULL)
        put_pair(r, secret != NULL ? secret->key : key_of(r->arena, name, by_file ? len - tail : len), value);
    return value != NULL;
}

/* The same names and ports, with all addresses in place of hosts. */
static void listen_everywhere(struct reading *r, const char *advertised)
{
    struct strbuf text = {0};
    for (const char *at = advertised; *at != '\0';) {
        size_t len = strcspn(at, ",");
        const char *host = strstr(at, "://"), *port = memrchr(at, ':', len);
        if (host != NULL && port != NULL && host + 3 <= port && port < at + len)
            strbuf_printf(&text, "%.*s0.0.0.0%.*s", (int)(host + 3 - at), at, (int)(at + len - port), port);
        else
            strbuf_printf(&text, "%.*s", (int)len, at);
        at += len;
        if (*at == ',') {
            strbuf_puts(&text, ",");
            at++;
        }
    }
    put_pair(r, "listeners", text.p != NULL ? text.p : "");
    strbuf_deinit(&text);
}

bool environment_read(char *const *variables, const char *secrets, struct arena *a, struct environment_settings *out,
                      struct fail *fail)
{
    static const char prefix[] = "KAFKA_";
    size_t most = 1, skip = sizeof(prefix) - 1;
    for (char *const *v = variables; *v != NULL; v++)
        most++;
    *out = (struct environment_settings){arena_alloc(a, most * sizeof(char *)), 0};
    struct reading r = {variables, secrets, a, out};
    for (char *const *v = variables; *v != NULL; v++) {
        const char *equals = strchr(*v, '=');
        if (strncmp(*v, prefix, skip) != 0 || equals == NULL || equals <= *v + skip)
            continue;
        if (!take_variable(&r, *v + skip, (size_t)(equals - *v) - skip, equals + 1, fail))
            return false;
    }
    /* As for the script of the image apache/kafka, what is empty is not set. */
    const char *advertised = environment_get(variables, "KAFKA_ADVERTISED_LISTENERS");
    const char *listeners = environment_get(variables, "KAFKA_LISTENERS");
    if (advertised != NULL && advertised[0] != '\0' && (listeners == NULL || listeners[0] == '\0'))
        listen_everywhere(&r, advertised);
    return true;
}

/* ---- Levels ---- */

static void set_level(const char *name, const char *word)
{
    enum log_level level;
    if (!logger_exists(name) || !logger_parse_level(word, &level))
        log_warn("The environment asks for the level %s of the logger %s: there is no such logger, or level", word,
                 name);
    else
        logger_set(name, level);
}

void environment_set_levels(char *const *variables)
{
    const char *root = environment_get(variables, "KAFKA_LOG4J_ROOT_LOGLEVEL");
    const char *others = environment_get(variables, "KAFKA_LOG4J_LOGGERS");
    if (root != NULL && root[0] != '\0')
        set_level(LOGGER_ROOT, root);
    char *text = xstrdup(others != NULL ? others : ""), *rest = text, *item;
    while ((item = strsep(&rest, ",")) != NULL) {
        char *equals = strchr(item, '=');
        if (equals == NULL)
            continue; /* the name of an appender, or nothing */
        *equals = '\0';
        set_level(item, equals + 1);
    }
    free(text);
}
