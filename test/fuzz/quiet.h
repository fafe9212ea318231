/* How a fuzzer begins whose input makes many lines of a log. */
#ifndef BARNABAS_FUZZ_QUIET_H
#define BARNABAS_FUZZ_QUIET_H

#include "base/logger.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines are made, and nobody reads them. */
static void drop_line(const struct log_line *line)
{
    ensure(line->text.p != NULL);
}

int LLVMFuzzerInitialize(int *argc UNUSED, char ***argv UNUSED)
{
    logger_set_sink(drop_line);
    return 0;
}

#endif
