/*
 * Reads the .properties files of Java: `key=value`, `key: value` or `key value` in a line, comments from `#` or `!`,
 * lines continued by a backslash, and the escapes \t \n \r \f \uXXXX. As Java does, it takes a file for Latin-1: one in
 * UTF-8 does not mean what it shows, but what Apache's broker makes of it. Keys and values are UTF-8.
 */
#ifndef BARNABAS_PROPERTIES_H
#define BARNABAS_PROPERTIES_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/strbuf.h"

struct property {
    const char *key;
    const char *value; /* blanks at its end are kept */
    int line;          /* where the key stands, from 1 */
};

struct properties {
    struct property *items; /* in the file's order, repeated keys included: the last one counts */
    int count;
    int latin1_line; /* the first with a character above 127; 0: there is none */
};

/* The texts lie in the arena. Errors name the file and the line. */
bool properties_read(const char *path, struct arena *a, struct properties *out, struct fail *fail);
/* The same of a file that is in UTF-8, as those of config providers are. */
bool properties_read_utf8(const char *path, struct arena *a, struct properties *out, struct fail *fail);
/* Any file of some megabytes at most, as it is. */
bool properties_slurp(const char *path, struct strbuf *out, struct fail *fail);
/* The same of a text; `name` stands for the file in errors. */
bool properties_parse(struct str text, const char *name, struct arena *a, struct properties *out, struct fail *fail);

/* The value that counts for `key`, or NULL. */
const char *properties_get(const struct properties *p, const char *key);

#endif
