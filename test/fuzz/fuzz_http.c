/* A request of HTTP: what is understood of it is so whatever follows, and nothing is before all of it has come. */
#include "base/base.h"

#include "http/http_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_parsed parse(const uint8_t *data, size_t size, struct arena *a, struct http_request *out,
                              size_t *taken)
{
    int status = 0;
    enum http_parsed parsed = http_request_parse((struct bytes){data, (int32_t)size}, a, out, taken, &status);
    ensure((parsed == HTTP_REFUSED) == (status != 0));
    return parsed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct http_request request, again;
    struct str name, value, query;
    size_t taken = 0, part = 0;
    if (size > 0 && parse(data, size, &a, &request, &taken) == HTTP_COMPLETE) {
        ensure(taken <= size && request.path.len > 0 && request.path.p[0] == '/');
        ensure(parse(data, taken, &a, &again, &part) == HTTP_COMPLETE && part == taken);
        ensure(str_eq(request.path, again.path) && str_eq(request.body, again.body) && request.method == again.method);
        ensure(parse(data, taken - 1, &a, &again, &part) == HTTP_INCOMPLETE);
        query = request.query;
        while (http_query_next(&query, &a, &name, &value))
            ensure(name.len >= 0 && value.len >= 0);
    }
    arena_deinit(&a);
    return 0;
}
