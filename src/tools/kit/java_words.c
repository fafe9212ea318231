#include "tools/kit/tool.h"

static void leave_out_empty_end(struct java_words *w)
{
    size_t len = strlen(w->rest), kept = len;
    while (kept > 0 && w->rest[kept - 1] == w->separator)
        kept--;
    w->rest[kept] = '\0';
    if (kept == 0 && len > 0)
        w->rest = NULL;
}

char *java_words_next(struct java_words *w)
{
    if (!w->begun)
        leave_out_empty_end(w);
    w->begun = true;
    return strsep(&w->rest, (char[]){w->separator, '\0'});
}
