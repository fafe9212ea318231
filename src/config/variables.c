#include "config/variables.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "config/config_internal.h"

#define PROVIDERS "org.apache.kafka.common.config.provider."

enum { NAME_ROOM = 512, LARGEST_VALUE = 1 << 20 };

struct variable {
    struct str provider, path, key; /* the path may be empty */
};

/* What it stands for, into `out`, which stays as it is where that is nothing. False: it cannot be read. */
typedef bool (*find_fn)(const struct variables *v, const struct variable *x, struct arena *a, const char **out,
                        struct fail *fail);

bool variables_is_setting(const char *name)
{
    size_t n = strlen("config.providers");
    return strncmp(name, "config.providers", n) == 0 && (name[n] == '.' || name[n] == '\0');
}

static const char *provider_setting(const struct variables *v, struct str provider, const char *name)
{
    char full[NAME_ROOM];
    int n = snprintf(full, sizeof(full), "config.providers.%.*s.%s", provider.len, provider.p, name);
    return n < (int)sizeof(full) ? v->get(v->ctx, full) : NULL;
}

/* ---- Paths that are allowed ---- */

static bool goes_up(const char *path)
{
    for (const char *dots = strstr(path, "/.."); dots != NULL; dots = strstr(dots + 1, "/.."))
        if (dots[3] == '/' || dots[3] == '\0')
            return true;
    return false;
}

static bool is_within(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

static bool may_read(const struct variables *v, const struct variable *x, const char *path, struct arena *a,
                     struct fail *fail)
{
    const char *allowed = provider_setting(v, x->provider, "param.allowed.paths");
    if (allowed == NULL || *text_trim(allowed, a) == '\0')
        return true;
    struct config_list folders = text_split(allowed, true, a);
    for (int i = 0; i < folders.count; i++)
        if (is_within(path, folders.items[i]) && !goes_up(path))
            return true;
    return fail_set(fail, "%s is not one of config.providers.%.*s.param.allowed.paths", path, x->provider.len,
                    x->provider.p);
}

/* ---- The providers ---- */

static bool find_in_properties(const struct variables *v, const struct variable *x, struct arena *a, const char **out,
                               struct fail *fail)
{
    const char *path = arena_cstr(a, x->path);
    struct properties found;
    if (!may_read(v, x, path, a, fail) || !properties_read_utf8(path, a, &found, fail))
        return false;
    *out = properties_get(&found, arena_cstr(a, x->key));
    return true;
}

static bool find_in_directory(const struct variables *v, const struct variable *x, struct arena *a, const char **out,
                              struct fail *fail)
{
    const char *folder = arena_cstr(a, x->path), *key = arena_cstr(a, x->key);
    const char *path = arena_printf(a, "%s/%s", folder, key).p;
    struct stat st;
    struct strbuf text = {0};
    if (!may_read(v, x, folder, a, fail))
        return false;
    if (*key == '\0' || strchr(key, '/') != NULL || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return true;
    bool ok = properties_slurp(path, &text, fail);
    if (ok && text.len > 0 && memchr(text.p, '\0', text.len) != NULL)
        ok = fail_set(fail, "%s: a zero byte; this is not a text", path);
    if (ok)
        *out = arena_cstr(a, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
    return ok;
}

static bool regex_finds(const char *regex, const char *text, bool *found, struct fail *fail)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, 0, &error, &at, NULL);
    if (code == NULL)
        return fail_set(fail, "%s is no regular expression", regex);
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(code, NULL);
    *found = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, match, NULL) >= 0;
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    return true;
}

static bool find_in_environment(const struct variables *v, const struct variable *x, struct arena *a, const char **out,
                                struct fail *fail)
{
    const char *name = arena_cstr(a, x->key);
    const char *pattern = provider_setting(v, x->provider, "param.allowlist.pattern");
    bool allowed = true;
    if (x->path.len > 0)
        return fail_set(fail, "environment variables have no path");
    if (pattern != NULL && !regex_finds(pattern, name, &allowed, fail))
        return false;
    *out = allowed ? getenv(name) : NULL;
    return true;
}

static const struct known_provider {
    const char *name;
    find_fn find;
} known_providers[] = {
    {PROVIDERS "FileConfigProvider", find_in_properties},
    {PROVIDERS "DirectoryConfigProvider", find_in_directory},
    {PROVIDERS "EnvVarConfigProvider", find_in_environment},
};

static find_fn finder_of_class(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(known_providers); i++)
        if (strcmp(known_providers[i].name, name) == 0)
            return known_providers[i].find;
    return NULL;
}

static struct config_list provider_names(const struct variables *v, struct arena *a)
{
    const char *names = v->get(v->ctx, "config.providers");
    return names != NULL ? text_split(names, true, a) : (struct config_list){0};
}

bool variables_check(const struct variables *v, struct fail *fail)
{
    struct arena a = {0};
    struct config_list names = provider_names(v, &a);
    bool ok = true;
    for (int i = 0; i < names.count && ok; i++) {
        const char *class_name = provider_setting(v, str_of(names.items[i]), "class");
        class_name = class_name != NULL ? text_trim(class_name, &a) : NULL;
        if (class_name == NULL)
            ok = fail_set(fail, "config.providers.%s.class is not set", names.items[i]);
        else if (finder_of_class(class_name) == NULL)
            ok = fail_set(fail,
                          "config.providers.%s.class=%s: this broker runs no Java, and knows " PROVIDERS
                          "FileConfigProvider, DirectoryConfigProvider and EnvVarConfigProvider only",
                          names.items[i], class_name);
    }
    arena_deinit(&a);
    return ok;
}

/* NULL: there is no such provider. */
static find_fn finder_of(const struct variables *v, struct str provider, struct arena *a)
{
    struct config_list names = provider_names(v, a);
    for (int i = 0; i < names.count; i++) {
        const char *class_name = provider_setting(v, provider, "class");
        if (str_is(provider, names.items[i]) && class_name != NULL)
            return finder_of_class(text_trim(class_name, a));
    }
    return NULL;
}

/* ---- Variables in a text ---- */

static struct str str_until(struct str text, char c, struct str *rest)
{
    const char *at = text.len > 0 ? memchr(text.p, c, (size_t)text.len) : NULL;
    if (at == NULL)
        return STR_NULL;
    *rest = (struct str){at + 1, (int32_t)(text.p + text.len - at - 1)};
    return (struct str){text.p, (int32_t)(at - text.p)};
}

/* What is between the braces: provider:key or provider:path:key. */
static bool parse_variable(struct str inner, struct variable *out)
{
    struct str rest;
    out->provider = str_until(inner, ':', &rest);
    if (out->provider.p == NULL)
        return false;
    out->path = str_until(rest, ':', &out->key);
    if (out->path.p == NULL) {
        out->path = STR_LIT("");
        out->key = rest;
    }
    return true;
}

static bool replace_one(const struct variables *v, struct str inner, struct arena *a, struct strbuf *out,
                        struct fail *fail)
{
    struct variable x;
    find_fn find = parse_variable(inner, &x) ? finder_of(v, x.provider, a) : NULL;
    const char *value = NULL;
    if (find == NULL) {
        strbuf_printf(out, "${%.*s}", inner.len, inner.p);
        return true;
    }
    if (!find(v, &x, a, &value, fail))
        return fail_wrap(fail, "${%.*s}", inner.len, inner.p);
    if (value == NULL)
        return fail_set(fail, "${%.*s} stands for nothing that is there", inner.len, inner.p);
    strbuf_puts(out, value);
    return out->len <= LARGEST_VALUE || fail_set(fail, "${%.*s} is too long", inner.len, inner.p);
}

const char *variables_replace(const struct variables *v, const char *value, struct arena *a, struct fail *fail)
{
    struct str rest = str_of(value), inner;
    struct strbuf out = {0};
    const char *begin;
    bool ok = true;
    if (strstr(value, "${") == NULL || v->get(v->ctx, "config.providers") == NULL)
        return value;
    while (ok && (begin = strstr(rest.p, "${")) != NULL) {
        struct str behind = str_of(begin + 2), after;
        inner = str_until(behind, '}', &after);
        if (inner.p == NULL)
            break;
        strbuf_add(&out, rest.p, (size_t)(begin - rest.p));
        ok = replace_one(v, inner, a, &out, fail);
        rest = after;
    }
    strbuf_str(&out, rest);
    const char *text = ok ? arena_cstr(a, (struct str){out.p, (int32_t)out.len}) : NULL;
    strbuf_deinit(&out);
    return text;
}

static const char *get_property(const void *ctx, const char *name)
{
    return properties_get(ctx, name);
}

bool variables_replace_all(struct properties *p, struct arena *a, struct fail *fail)
{
    const struct variables v = {get_property, p};
    if (!variables_check(&v, fail))
        return false;
    for (int i = 0; i < p->count; i++) {
        const char *value = variables_replace(&v, p->items[i].value, a, fail);
        if (value == NULL)
            return fail_wrap(fail, "%s", p->items[i].key);
        p->items[i].value = text_trim(value, a);
    }
    return true;
}
