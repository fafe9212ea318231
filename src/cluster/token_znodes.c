#include "cluster/token_znodes.h"

#include <inttypes.h>

#include "cluster/znodes.h"
#include "cluster/znodes_internal.h"

/* A text that is longer cannot be told to anybody who asks: so much has a string of the protocol. */
enum { TOKEN_VERSION = 3, VERSION_WITH_REQUESTER = 3, LONGEST_TEXT = INT16_MAX };

const char *token_path(struct arena *a, struct str id)
{
    return arena_printf(a, ZNODE_TOKENS "/%.*s", STR_ARGS(id)).p;
}

/* ---- Writing ---- */

static json_t *principal_json(struct arena *a, struct principal p)
{
    return json_string(entity_name_encode(a, principal_text(p, a)));
}

struct bytes token_encode(struct arena *a, const struct token *t)
{
    json_t *renewers = json_array();
    for (int32_t i = 0; i < t->renewer_count; i++)
        json_array_append_new(renewers, principal_json(a, t->renewers[i]));
    return znode_dump(a, json_pack("{s:i, s:o, s:o, s:o, s:I, s:I, s:I, s:s%}", "version", TOKEN_VERSION, "owner",
                                   principal_json(a, t->owner), "tokenRequester", principal_json(a, t->requester),
                                   "renewers", renewers, "issueTimestamp", (json_int_t)t->issued_ms, "maxTimestamp",
                                   (json_int_t)t->max_ms, "expiryTimestamp", (json_int_t)t->expires_ms, "tokenId",
                                   t->id.p, (size_t)t->id.len));
}

/* ---- Reading ---- */

static bool principal_of_json(struct arena *a, const json_t *json, struct principal *out)
{
    if (!json_is_string(json) || json_string_length(json) > INT32_MAX)
        return false;
    struct str coded = {json_string_value(json), (int32_t)json_string_length(json)};
    return principal_parse(entity_name_decode(a, coded), out) && out->type.len <= LONGEST_TEXT &&
           out->name.len <= LONGEST_TEXT;
}

static bool renewers_decode(struct arena *a, const json_t *list, struct token *out)
{
    if (!json_is_array(list) || json_array_size(list) > INT32_MAX)
        return false;
    out->renewer_count = (int32_t)json_array_size(list);
    out->renewers = ARENA_ARRAY(a, struct principal, MAX(out->renewer_count, 1));
    for (int32_t i = 0; i < out->renewer_count; i++)
        if (!principal_of_json(a, json_array_get(list, (size_t)i), &out->renewers[i]))
            return false;
    return true;
}

static bool time_decode(const json_t *object, const char *key, int64_t *out)
{
    const json_t *json = json_object_get(object, key);
    *out = json_integer_value(json);
    return json_is_integer(json);
}

static bool token_fields_decode(struct arena *a, const json_t *json, struct str id, struct token *out,
                                struct fail *fail)
{
    const json_t *version = json_object_get(json, "version"), *name = json_object_get(json, "tokenId");
    json_int_t number = json_integer_value(version);
    if (!json_is_integer(version) || number < 1 || number > TOKEN_VERSION)
        return fail_set(fail, "its version is none from 1 to %d", TOKEN_VERSION);
    if (!json_is_string(name) || !str_eq(str_of(json_string_value(name)), id) || id.len > LONGEST_TEXT)
        return fail_set(fail, "its tokenId is another");
    out->id = arena_str(a, id);
    if (!principal_of_json(a, json_object_get(json, "owner"), &out->owner))
        return fail_set(fail, "its owner is no principal");
    out->requester = out->owner;
    if (number >= VERSION_WITH_REQUESTER &&
        !principal_of_json(a, json_object_get(json, "tokenRequester"), &out->requester))
        return fail_set(fail, "its tokenRequester is no principal");
    if (!renewers_decode(a, json_object_get(json, "renewers"), out))
        return fail_set(fail, "its renewers are no list of principals");
    if (!time_decode(json, "issueTimestamp", &out->issued_ms) || !time_decode(json, "maxTimestamp", &out->max_ms) ||
        !time_decode(json, "expiryTimestamp", &out->expires_ms))
        return fail_set(fail, "a time of it is no number");
    return true;
}

bool token_decode(struct arena *a, struct str id, struct bytes data, struct token *out, struct fail *fail)
{
    json_error_t error;
    *out = (struct token){0};
    if (data.len <= 0)
        return fail_set(fail, "it is empty");
    json_t *json = json_loadb((const char *)data.p, (size_t)data.len, 0, &error);
    bool ok =
        json != NULL ? token_fields_decode(a, json, id, out, fail) : fail_set(fail, "it is no JSON: %s", error.text);
    json_decref(json);
    return ok;
}
