#include "protocol/error.h"

#include <stddef.h>

static const struct {
    int16_t code;
    bool retriable;
    const char *name, *text;
} rows[] = {
#define X(name, code, retriable, text) {code, retriable, #name, text},
#include "protocol/error.tbl"
#undef X
};

static int error_find(int16_t code)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].code == code)
            return (int)i;
    return -1;
}

const char *error_name(int16_t code)
{
    int i = error_find(code);
    return i < 0 ? "UNKNOWN" : rows[i].name;
}

const char *error_message(int16_t code)
{
    int i = error_find(code);
    return i < 0 ? "An error that this version does not know." : rows[i].text;
}

bool error_is_retriable(int16_t code)
{
    int i = error_find(code);
    return i >= 0 && rows[i].retriable;
}
