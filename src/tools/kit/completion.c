#include "tools/kit/completion.h"

#include <stdio.h>

bool completion_wanted;

static const struct {
    const char *option, *value;
} values[] = {
    {"topic", "topic"},
    {"files", "file"},
    {"command-config", "file"},
    {"admin.config", "file"},
    {"producer.config", "file"},
    {"consumer.config", "file"},
    {"reader-config", "file"},
    {"formatter-config", "file"},
    {"config-file", "file"},
    {"payload-file", "file"},
    {"from-file", "file"},
    {"add-config-file", "file"},
    {"zk-tls-config-file", "file"},
    {"offset-json-file", "file"},
    {"reassignment-json-file", "file"},
    {"topics-to-move-json-file", "file"},
    {"path-to-json-file", "file"},
    {"compression-codec", "none gzip snappy lz4 zstd"},
    {"election-type", "preferred unclean"},
    {"isolation-level", "read_committed read_uncommitted"},
    {"report-format", "original properties csv tsv"},
};

static const char *completion_value(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (strcmp(values[i].option, name) == 0)
            return values[i].value;
    return "any";
}

void completion_print(const char *dashes, const char *name, bool has_value, const char *help)
{
    const char *value = has_value ? completion_value(name) : "";
    printf("%s%s\t%s\t%.*s\n", dashes, name, value, (int)strcspn(help, "\n\t"), help);
}
