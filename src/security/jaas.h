/*
 * Java's way to say who logs in how (JAAS): the value of sasl.jaas.config, and the file that the property
 * java.security.auth.login.config names.
 *
 *     MODULE required key="value" key2='value';                   the value of a key: one module
 *     Name { MODULE required key="value"; OTHER optional; };      in a file, any number of sections
 */
#ifndef BARNABAS_JAAS_H
#define BARNABAS_JAAS_H

#include "base/arena.h"
#include "base/fail.h"

struct jaas_option {
    const char *key, *value;
};

struct jaas_module {
    const char *name; /* of a Java class */
    struct jaas_option *options;
    size_t count;
};

struct jaas_section {
    const char *name;
    struct jaas_module *modules;
    size_t count;
};

struct jaas_file {
    struct jaas_section *sections;
    size_t count;
};

/* All in the arena. The errors are Java's, or name the line. */
bool jaas_parse(const char *text, struct arena *a, struct jaas_module *out, struct fail *fail) NODISCARD;
/* `property` says what a ${name} in it stands for, NULL if nothing. */
bool jaas_parse_file(const char *text, const char *(*property)(const char *name, struct arena *a), struct arena *a,
                     struct jaas_file *out, struct fail *fail) NODISCARD;
/* NULL: there is none of that name. */
const struct jaas_section *jaas_section(const struct jaas_file *file, const char *name);
const char *jaas_option(const struct jaas_module *module, const char *key);

#endif
