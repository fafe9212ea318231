#include "cluster/acl_znodes.h"

#include "cluster/znodes_internal.h"

enum { ACL_VERSION = 1 };

/* ---- Paths ---- */

const char *acl_root(enum acl_pattern p)
{
    return p == ACL_LITERAL ? "/kafka-acl" : "/kafka-acl-extended/prefixed";
}

const char *acl_type_path(struct arena *a, enum acl_pattern p, enum acl_type t)
{
    return arena_printf(a, "%s/%s", acl_root(p), acl_type_name(t)).p;
}

const char *acl_resource_path(struct arena *a, const struct acl_resource *r)
{
    return arena_printf(a, "%s/%s/%.*s", acl_root(r->pattern), acl_type_name(r->type), STR_ARGS(r->name)).p;
}

const char *acl_notices_folder(enum acl_pattern p)
{
    return p == ACL_LITERAL ? "/kafka-acl-changes" : "/kafka-acl-extended-changes";
}

/* ---- JSON ---- */

static json_t *text_json(struct str s)
{
    json_t *json = json_stringn(s.p, (size_t)s.len);
    ensure(json != NULL); /* it is UTF-8 */
    return json;
}

static struct str text_of(struct arena *a, const json_t *json)
{
    return arena_str(a, (struct str){json_string_value(json), (int32_t)json_string_length(json)});
}

struct bytes acl_encode(struct arena *a, const struct acl_entry *entries, int32_t count)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++) {
        const struct acl_entry *e = &entries[i];
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:s}", "principal", text_json(e->principal),
                                              "permissionType", acl_permission_name(e->permission), "host",
                                              text_json(e->host), "operation", acl_operation_name(e->operation)));
    }
    return znode_dump(a, json_pack("{s:i, s:o}", "version", ACL_VERSION, "acls", list));
}

static bool entry_decode(struct arena *a, const json_t *json, struct acl_entry *out)
{
    struct principal principal;
    const json_t *who = json_object_get(json, "principal"), *host = json_object_get(json, "host");
    const json_t *permission = json_object_get(json, "permissionType"), *operation = json_object_get(json, "operation");
    if (!json_is_string(who) || !json_is_string(host) || !json_is_string(permission) || !json_is_string(operation))
        return false;
    out->principal = text_of(a, who);
    out->host = text_of(a, host);
    return principal_parse(out->principal, &principal) &&
           acl_permission_parse(text_of(a, permission), &out->permission) &&
           acl_operation_parse(text_of(a, operation), &out->operation);
}

static bool list_decode(struct arena *a, const json_t *json, struct acl_entry **entries, int32_t *count,
                        struct fail *fail)
{
    const json_t *version = json_object_get(json, "version"), *list = json_object_get(json, "acls");
    if (!json_is_integer(version) || json_integer_value(version) != ACL_VERSION)
        return fail_set(fail, "its version is not %d", ACL_VERSION);
    if (!json_is_array(list))
        return fail_set(fail, "it has no list \"acls\"");
    *entries = ARENA_ARRAY(a, struct acl_entry, MAX(json_array_size(list), 1));
    *count = (int32_t)json_array_size(list);
    for (int32_t i = 0; i < *count; i++)
        if (!entry_decode(a, json_array_get(list, (size_t)i), &(*entries)[i]))
            return fail_set(fail, "entry %d of \"acls\" is not understood", i);
    return true;
}

bool acl_decode(struct arena *a, struct bytes data, struct acl_entry **entries, int32_t *count, struct fail *fail)
{
    *entries = NULL;
    *count = 0;
    if (data.len == 0)
        return true;
    json_error_t error;
    json_t *json = json_loadb((const char *)data.p, (size_t)data.len, JSON_ALLOW_NUL, &error);
    bool ok = json != NULL ? list_decode(a, json, entries, count, fail) : fail_set(fail, "%s", error.text);
    json_decref(json);
    return ok;
}

/* ---- Notifications ---- */

struct bytes acl_notice_encode(struct arena *a, const struct acl_resource *r)
{
    const char *type = acl_type_constant(r->type);
    if (r->pattern != ACL_LITERAL)
        return znode_dump(a, json_pack("{s:i, s:s, s:o, s:s}", "version", ACL_VERSION, "resourceType", type, "name",
                                       text_json(r->name), "patternType", acl_pattern_constant(r->pattern)));
    struct str text = arena_printf(a, "%s:%.*s", type, STR_ARGS(r->name));
    return (struct bytes){(const uint8_t *)text.p, text.len};
}

static bool literal_decode(struct arena *a, struct bytes data, struct acl_resource *out)
{
    struct str text = arena_str(a, (struct str){(const char *)data.p, data.len});
    const char *colon = text.len > 0 ? memchr(text.p, ':', (size_t)text.len) : NULL;
    int32_t type = colon != NULL ? (int32_t)(colon - text.p) : 0;
    out->pattern = ACL_LITERAL;
    out->name = (struct str){text.p + type + 1, text.len - type - 1};
    return colon != NULL && acl_type_parse((struct str){text.p, type}, &out->type);
}

static bool extended_decode(struct arena *a, struct bytes data, struct acl_resource *out)
{
    json_t *json = json_loadb((const char *)data.p, (size_t)data.len, JSON_ALLOW_NUL, NULL);
    const json_t *version = json_object_get(json, "version"), *name = json_object_get(json, "name");
    const json_t *type = json_object_get(json, "resourceType"), *pattern = json_object_get(json, "patternType");
    bool ok = json_is_integer(version) && json_integer_value(version) <= ACL_VERSION && json_is_string(name) &&
              json_is_string(type) && json_is_string(pattern) && acl_type_parse(text_of(a, type), &out->type) &&
              acl_pattern_parse(text_of(a, pattern), &out->pattern);
    if (ok)
        out->name = text_of(a, name);
    json_decref(json);
    return ok;
}

bool acl_notice_decode(struct arena *a, enum acl_pattern folder, struct bytes data, struct acl_resource *out)
{
    if (data.p == NULL)
        return false;
    return folder == ACL_LITERAL ? literal_decode(a, data, out) : extended_decode(a, data, out);
}
