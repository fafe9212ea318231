/* log4j.properties: whatever is in it, it is understood or complained of, and lines can be written by its patterns. */
#include <stdio.h>

#include "logging/date_format.h"
#include "logging/log4j.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_complain(void *ctx, int line, const char *key, const char *why)
{
    int *complaints = ctx;
    ensure(line > 0 && key != NULL && why[0] != '\0');
    (*complaints)++;
}

static const char *fuzz_property(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "kafka.logs.dir") == 0 ? "/logs" : NULL;
}

static void fuzz_lines(const struct appender_options *o)
{
    struct log_line line = {.level = LEVEL_WARN,
                            .ms = 1792892000123,
                            .logger = "kafka.log.LogManager",
                            .file = "src/storage/manager.c",
                            .thread = "t",
                            .text = STR_LIT("text")};
    struct strbuf out = {0};
    struct layout *l = layout_new(o->pattern, NULL);
    layout_put(l, &line, &out);
    if (o->date_pattern != NULL)
        date_format_put(o->date_pattern, line.ms, false, &out);
    layout_free(l);
    strbuf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct properties p;
    struct log4j_setup s;
    struct fail fail;
    int complaints = 0;
    if (properties_parse((struct str){(const char *)data, (int32_t)size}, "log4j.properties", &a, &p, &fail)) {
        log4j_understand(&p, &(struct log4j_context){fuzz_property, fuzz_complain, &complaints}, &a, &s);
        ensure(s.appender_count <= LOGGER_OUTLETS);
        for (int i = 0; i < s.appender_count; i++)
            if (s.appenders[i].options.kind != APPENDER_NONE)
                fuzz_lines(&s.appenders[i].options);
        for (int i = 0; i < s.logger_count; i++)
            ensure(s.loggers[i].level >= -1 && s.loggers[i].level <= LEVEL_OFF);
    }
    arena_deinit(&a);
    return 0;
}
