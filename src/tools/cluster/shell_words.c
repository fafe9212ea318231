#include "tools/cluster/shell_words.h"

#include <stdio.h>

/* ---- Paths ---- */

/* `at` is where in the name Java's check has noticed it. */
static const char *path_fault(struct str name, size_t *at)
{
    bool relative = str_is(name, ".") || str_is(name, "..");
    *at = relative ? (size_t)name.len - 1 : 0;
    return name.len == 0             ? "empty node name specified"
           : relative                ? "relative paths not allowed"
           : !zk_name_is_legal(name) ? "invalid character"
                                     : NULL;
}

bool shell_check_path(const char *path)
{
    size_t len = strlen(path);
    const char *edge = len == 0                          ? "Path length must be > 0"
                       : *path != '/'                    ? "Path must start with / character"
                       : len > 1 && path[len - 1] == '/' ? "Path must not end with / character"
                                                         : NULL;
    if (edge != NULL) {
        fprintf(stderr, "%s\n", edge);
        return false;
    }
    for (const char *at = path; len > 1 && *at != '\0';) {
        size_t n = strcspn(at + 1, "/"), where;
        const char *fault = path_fault((struct str){at + 1, (int32_t)n}, &where);
        if (fault != NULL) {
            fprintf(stderr, "Invalid path string \"%s\" caused by %s @%zu\n", path, fault,
                    (size_t)(at + 1 - path) + where);
            return false;
        }
        at += 1 + n;
    }
    return true;
}

/* ---- ACLs ---- */

static const struct {
    char letter;
    enum zk_permission permission;
} permissions[] = {
    {'c', ZK_MAY_CREATE}, {'d', ZK_MAY_DELETE}, {'r', ZK_MAY_READ}, {'w', ZK_MAY_WRITE}, {'a', ZK_MAY_ADMINISTER}};

static int32_t permission_of(char letter)
{
    for (size_t i = 0; i < ARRAY_LEN(permissions); i++)
        if (permissions[i].letter == letter)
            return (int32_t)permissions[i].permission;
    return 0;
}

static bool read_permissions(const char *text, int32_t *out)
{
    for (*out = 0; *text != '\0'; text++) {
        int32_t permission = permission_of(*text);
        if (permission == 0) {
            fprintf(stderr, "Unknown perm type: %c\n", *text);
            return false;
        }
        *out |= permission;
    }
    return true;
}

/* An id may have colons in it; an address of IPv6 has. Changes the text. */
static bool read_acl(char *text, struct zk_acl *out)
{
    char *first = strchr(text, ':'), *last = strrchr(text, ':');
    if (first == last) {
        fprintf(stderr, "%s does not have the form scheme:id:perm\n", text);
        return false;
    }
    *first = *last = '\0';
    *out = (struct zk_acl){.scheme = text, .id = first + 1};
    return read_permissions(last + 1, &out->permissions);
}

bool shell_read_acls(const char *text, struct arena *a, const struct zk_acl **out, int32_t *count)
{
    char *rest = arena_cstr(a, str_of(text)), *word;
    struct zk_acl *acls = ARENA_ARRAY(a, struct zk_acl, strlen(text) + 1);
    *count = 0;
    *out = acls;
    while ((word = strsep(&rest, ",")) != NULL)
        if (!read_acl(word, &acls[(*count)++]))
            return false;
    return true;
}

void shell_print_acl(const struct zk_acl *acl)
{
    printf("'%s,'%s\n: ", acl->scheme, acl->id);
    for (size_t i = 0; i < ARRAY_LEN(permissions); i++)
        if (acl->permissions & (int32_t)permissions[i].permission)
            putchar(permissions[i].letter);
    putchar('\n');
}
