/* Rules for principals, up to the first line's end, and a subject behind it. */
#include "base/base.h"

#include "security/principal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 && size < 4096 ? memchr(data, '\n', size) : NULL;
    if (end == NULL)
        return 0;
    struct arena a = {0};
    struct fail fail;
    struct str name;
    char *text = xstrndup((const char *)data, (size_t)(end - data));
    char *subject = xstrndup((const char *)end + 1, size - (size_t)(end - data) - 1);
    struct principal_rules *rules = principal_rules_parse(text, &fail);
    if (rules != NULL && !principal_rules_apply(rules, subject, &a, &name, &fail))
        ensure(fail.text[0] != '\0');
    principal_rules_free(rules);
    free(text);
    free(subject);
    arena_deinit(&a);
    return 0;
}
