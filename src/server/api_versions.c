/* ApiVersions (KIP-35, KIP-511), from the table that is dispatched by. */
#include "protocol/msg/api_versions.h"

#include "server/server_internal.h"
#include "server/session.h"

static bool is_soft_char(char c, bool edge)
{
    bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return alnum || (!edge && (c == '-' || c == '.'));
}

/* The rule of KIP-511 for names and versions of client software. */
static bool is_valid_software(struct str s)
{
    for (int32_t i = 0; i < s.len; i++)
        if (!is_soft_char(s.p[i], i == 0 || i == s.len - 1))
            return false;
    return s.len > 0;
}

static void list_apis(struct request *r, struct api_versions_response *out)
{
    ARRAY_MAKE(r->arena, out->api_keys, (int32_t)api_table_len);
    for (size_t i = 0; i < api_table_len; i++) {
        struct api_versions_api_version *v = &out->api_keys.items[i];
        api_versions_api_version_init(v);
        v->api_key = (int16_t)api_table[i]->key;
        v->min_version = api_table[i]->min;
        v->max_version = api_table[i]->max;
    }
}

static int api_versions_by_key(const void *a, const void *b)
{
    const struct api_versions_api_version *x = a, *y = b;
    return x->api_key - y->api_key;
}

static void answer_unsupported(struct request *r)
{
    struct api_versions_response response;
    api_versions_response_init(&response);
    response.error_code = ERR_UNSUPPORTED_VERSION;
    ARRAY_MAKE(r->arena, response.api_keys, 1);
    api_versions_api_version_init(&response.api_keys.items[0]);
    response.api_keys.items[0].api_key = API_API_VERSIONS;
    response.api_keys.items[0].max_version = r->api->max;
    r->version = 0;
    ANSWER(r, api_versions_response, &response);
}

static void api_versions_handle(struct request *r)
{
    struct api_versions_request request;
    struct api_versions_response response;
    if (r->version < r->api->min || r->version > r->api->max) {
        answer_unsupported(r);
        return;
    }
    if (!DECODE(r, api_versions_request, &request))
        return;
    api_versions_response_init(&response);
    if (r->version >= 3 &&
        !(is_valid_software(request.client_software_name) && is_valid_software(request.client_software_version))) {
        response.error_code = ERR_INVALID_REQUEST;
    } else {
        if (r->version >= 3)
            connection_note_software(r->x->conn, request.client_software_name, request.client_software_version);
        connection_session(r->s, r->x->conn)->told_versions = true;
        list_apis(r, &response);
        qsort(response.api_keys.items, (size_t)response.api_keys.len, sizeof(*response.api_keys.items),
              api_versions_by_key);
        response.finalized_features_epoch = 0;
    }
    response.throttle_time_ms = request_judge(r, (struct quota_verdict){0}).wait_ms;
    ANSWER(r, api_versions_response, &response);
}

const struct api_entry api_api_versions = {.key = API_API_VERSIONS, .min = 0, .max = 4, .handle = api_versions_handle};
