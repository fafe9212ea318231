#include "log/lines.h"

#include <errno.h>
#include <inttypes.h>

#include "base/logger.h"
#include "log/file.h"

enum { VERSION = 0 };

static bool parse_number(const char *s, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(s, &end, 10);
    return end != s && *end == '\0' && errno == 0;
}

bool lines_read(const char *path, bool (*line)(void *ctx, const char *s), void *ctx, bool *complete)
{
    static const char ends[] = "\r\n";
    struct strbuf text = {0};
    char *save = NULL;
    int64_t version = -1, count = -1, good = 0, bad = 0;
    enum file_result result = file_load(path, &text);
    *complete = result != FILE_FAILED;
    strbuf_add(&text, "", 1);
    char *s = text.len > 1 ? strtok_r(text.p, ends, &save) : NULL;
    if (s != NULL && parse_number(s, &version) && version == VERSION && (s = strtok_r(NULL, ends, &save)) != NULL)
        for (*complete = parse_number(s, &count); (s = strtok_r(NULL, ends, &save)) != NULL;)
            line(ctx, s) ? good++ : bad++;
    if (text.len > 1 && (bad > 0 || good != count)) {
        *complete = false;
        log_error("Malformed checkpoint file %s: %" PRId64 " of %" PRId64 " lines can be used", path, good, count);
    }
    strbuf_deinit(&text);
    return result != FILE_FAILED;
}

void lines_begin(struct strbuf *text, size_t count)
{
    strbuf_printf(text, "%d\n%zu\n", VERSION, count);
}
