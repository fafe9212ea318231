#include "tools/kit/log_messages.h"

bool log_message_read(const struct message_type *type, int16_t newest, struct bytes data, struct arena *a,
                      int16_t *version, void *out)
{
    struct reader r;
    reader_init(&r, data, a);
    *version = reader_int16(&r);
    return reader_ok(&r) && *version >= 0 && *version <= newest && message_read(type, &r, *version, out);
}

struct str log_message_json(const struct message_type *type, int16_t version, const void *m, struct arena *a)
{
    struct strbuf text = {0};
    message_print(type, &text, version, m);
    struct str s = arena_str(a, (struct str){text.p != NULL ? text.p : "", (int32_t)text.len});
    strbuf_deinit(&text);
    return s;
}

const char *transaction_state_name(int8_t status)
{
    static const char *const names[] = {"Empty",          "Ongoing",       "PrepareCommit", "PrepareAbort",
                                        "CompleteCommit", "CompleteAbort", "Dead",          "PrepareEpochFence"};
    return status >= 0 && (size_t)status < ARRAY_LEN(names) ? names[status] : NULL;
}
