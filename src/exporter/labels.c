#include "exporter/labels.h"

#include <inttypes.h>

void label_escape(struct strbuf *out, struct str text)
{
    for (int32_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        if (c == '\n')
            strbuf_puts(out, "\\n");
        else if (c == '"' || c == '\\')
            strbuf_printf(out, "\\%c", c);
        else
            strbuf_add(out, &c, 1);
    }
}

void label_add(struct strbuf *labels, const char *name, struct str value)
{
    struct strbuf clean = {0};
    strbuf_utf8(&clean, value);
    strbuf_printf(labels, "%s%s=\"", labels->len > 0 ? "," : "", name);
    label_escape(labels, (struct str){clean.p, (int32_t)clean.len});
    strbuf_puts(labels, "\"");
    strbuf_deinit(&clean);
}

void label_add_number(struct strbuf *labels, const char *name, int64_t value)
{
    strbuf_printf(labels, "%s%s=\"%" PRId64 "\"", labels->len > 0 ? "," : "", name, value);
}
