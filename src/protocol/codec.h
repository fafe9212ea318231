/*
 * Messages by description: generated tables of fields (name, type, versions, where it lies in the C struct) are
 * interpreted to read, write and print any message in any version. KIP-482 has the rules for flexible
 * versions and tagged fields.
 *
 * Strings, bytes and records of a message that was read point into what was read; arrays and nullable structs lie
 * in the reader's arena. What a version does not carry keeps its default. A null array has len -1, a null string or
 * bytes p == NULL, a null struct is a NULL pointer.
 */
#ifndef BARNABAS_CODEC_H
#define BARNABAS_CODEC_H

#include "protocol/wire.h"

#define ARRAY(type)  \
    struct {         \
        type *items; \
        int32_t len; \
    }
/* Room for n items, zeroed; structs among them want their X_init(). */
#define ARRAY_MAKE(arena, array, n)                                                                 \
    do {                                                                                            \
        (array).len = (n);                                                                          \
        (array).items = arena_alloc((arena), sizeof(*(array).items) * (size_t)MAX((array).len, 1)); \
    } while (0)

enum field_type {
    FIELD_BOOL,
    FIELD_INT8,
    FIELD_INT16,
    FIELD_UINT16,
    FIELD_INT32,
    FIELD_UINT32,
    FIELD_INT64,
    FIELD_FLOAT64,
    FIELD_UUID,
    FIELD_STRING,
    FIELD_BYTES,
    FIELD_RECORDS,
    FIELD_STRUCT,
};

struct version_range {
    int16_t min, max; /* none if min > max */
};

struct message_type;

struct field {
    const char *name;
    enum field_type type; /* of an array: of its items */
    bool array;
    uint32_t offset, size; /* in the struct that holds it; size of one value */
    struct version_range versions, nullable;
    int16_t tag; /* -1: not tagged */
    struct version_range tagged;
    bool inflexible; /* keeps its old encoding in flexible versions */
    bool default_null;
    int64_t default_number;
    const struct message_type *fields; /* of a struct */
    bool is_error;                     /* an error code: a writer counts those that it writes */
};

struct message_type {
    const char *name;
    const struct field *fields;
    int16_t field_count;
    uint32_t size;
    int16_t flexible_since;
};

void message_init(const struct message_type *type, void *m); /* defaults */
bool message_read(const struct message_type *type, struct reader *r, int16_t version, void *m) NODISCARD;
void message_write(const struct message_type *type, struct writer *w, int16_t version, const void *m);
/*
 * As JSON, in the form of Kafka's own: names begin in lower case, bytes are base64. Of records the length is shown, and
 * nothing of what somebody could log in by.
 */
void json_print_text(struct strbuf *out, struct str s); /* with quotes and escapes */
void message_print(const struct message_type *type, struct strbuf *out, int16_t version, const void *m);

/* ---- The APIs ---- */

struct api_spec {
    int16_t key;
    const char *name;
    int16_t min_version, max_version, flexible_since;
    const struct message_type *request, *response;
};

extern const struct api_spec api_specs[]; /* by key, ascending */
extern const size_t api_specs_len;

const struct api_spec *api_spec(int16_t key); /* NULL if unknown */
int16_t api_request_header_version(int16_t key, int16_t version);
int16_t api_response_header_version(int16_t key, int16_t version);

#endif
