/* What every unit test includes. */
#ifndef BARNABAS_TEST_H
#define BARNABAS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A fresh directory below $TMPDIR; removed by temp_dir_remove(). */
static inline char *temp_dir_make(char buf[64])
{
    const char *base = getenv("TMPDIR");
    snprintf(buf, 64, "%.40s/barnabas-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(buf));
    return buf;
}

static inline void temp_dir_remove(const char *dir)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

#endif
