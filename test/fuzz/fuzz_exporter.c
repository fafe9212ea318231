/* Rules of jmx_exporter: what is kept of a bean's shape is what comes of each bean of that shape by itself. */
#include "base/base.h"

#include "base/arena.h"
#include "exporter/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Behind the others: it looks at everything, and matches nothing. */
static const char looks_at_all[] = "\n- pattern: 'never<a(.)b=c>'\n  name: never\n";

static const struct bean beans[] = {
    {.domain = "kafka.log",
     .key_count = 4,
     .keys = {{"type", {"Log", 3}}, {"name", {"Size", 4}}, {"topic", {"t", 1}}, {"partition", {"0", 1}}}},
    {.domain = "kafka.log",
     .key_count = 4,
     .keys = {{"type", {"Log", 3}}, {"name", {"Size", 4}}, {"topic", {"u", 1}}, {"partition", {"17", 2}}}},
    {.domain = "kafka.log",
     .key_count = 4,
     .keys = {{"type", {"Log", 3}}, {"name", {"Size", 4}}, {"topic", {"a-b.c", 5}}, {"partition", {"1", 1}}}},
    {.domain = "kafka.server",
     .key_count = 3,
     .keys = {{"type", {"T", 1}}, {"name", {"BytesInPerSec", 13}}, {"topic", {"t_x", 3}}}},
    {.domain = "kafka.server",
     .key_count = 3,
     .keys = {{"type", {"T", 1}}, {"name", {"BytesInPerSec", 13}}, {"topic", {"\"q,x=1\"", 7}}}},
};

static void check_bean(struct rules *quick, struct rules *slow, const struct bean *b, int64_t value)
{
    struct bean_attribute a = {"Value", "long", bean_long(value)};
    struct strbuf one = {0}, two = {0};
    struct sample s, t;
    bool ok = rules_take(quick, b) && rules_apply(quick, b, &a, &one, &s);
    bool same = (rules_take(slow, b) && rules_apply(slow, b, &a, &two, &t)) == ok;
    ensure(same && (!ok || (str_eq(s.labels, t.labels) && strcmp(s.family->name, t.family->name) == 0)));
    ensure(!ok || s.value == t.value || (s.value != s.value && t.value != t.value));
    strbuf_deinit(&one);
    strbuf_deinit(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fail fail = {.text = ""};
    struct strbuf longer = {0};
    if (size > 4096)
        return 0;
    struct rules *quick = rules_parse((struct str){(const char *)data, (int32_t)size}, "fuzz", false, &fail);
    ensure(quick != NULL || fail.text[0] != '\0');
    strbuf_add(&longer, data, size);
    strbuf_puts(&longer, looks_at_all);
    struct rules *slow =
        quick != NULL ? rules_parse((struct str){longer.p, (int32_t)longer.len}, "fuzz", false, &fail) : NULL;
    for (size_t i = 0; slow != NULL && i < 2 * ARRAY_LEN(beans); i++)
        check_bean(quick, slow, &beans[i % ARRAY_LEN(beans)], (int64_t)(20 + i));
    rules_free(quick);
    rules_free(slow);
    strbuf_deinit(&longer);
    return 0;
}
