/* The table of names: which beans families come from. */
#ifndef BARNABAS_NATIVE_INTERNAL_H
#define BARNABAS_NATIVE_INTERNAL_H

#include <stddef.h>

/* Which beans of a name are meant, by what they are of. */
enum native_of { OF_ALL, OF_TOPIC, OF_BROKER, OF_CLIENT, OF_PARTITION, OF_SOFTWARE, OF_CIPHER };

enum native_kind {
    NATIVE_GAUGE,
    NATIVE_COUNT, /* a meter's count, or what else only grows */
    NATIVE_TIMES, /* a histogram, of microseconds, told in seconds */
    NATIVE_SUM,   /* what all values of a histogram add up to */
    NATIVE_STATE, /* 1 if the text is CONNECTED */
    NATIVE_INFO,  /* 1: the labels are what it tells */
};

struct native_row {
    const char *domain, *type;
    const char *name; /* the bean's, or the attribute of one that has no name */
    const char *family;
    const char *label; /* with a fixed value, before those of the bean; NULL: none */
    double factor;     /* 0: as it is */
    enum native_kind kind;
    enum native_of of;
    const char *help;
};

extern const struct native_row native_rows[];
extern const size_t native_row_count;

#endif
