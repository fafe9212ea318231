#include "protocol/codec.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/base64.h"

enum { KEY_CONTROLLED_SHUTDOWN = 7, KEY_API_VERSIONS = 18 };

/* Items without any bytes on the wire (none exist today) may not be claimed by the million. */
enum { MOST_EMPTY_ITEMS = 1024 };

/* In versions that write more than an int16 for its length as well, so that what came in one goes out in another. */
enum { LONGEST_STRING = INT16_MAX };

struct any_array {
    void *items;
    int32_t len;
};

static bool in_range(struct version_range r, int16_t version)
{
    return version >= r.min && version <= r.max;
}

static bool is_tagged(const struct field *f, int16_t version)
{
    return f->tag >= 0 && in_range(f->tagged, version);
}

static bool is_flexible(const struct message_type *t, const struct field *f, int16_t version)
{
    return version >= t->flexible_since && !f->inflexible;
}

/* ---- Defaults ---- */

static void set_number(enum field_type type, void *p, int64_t v)
{
    switch (type) {
    case FIELD_BOOL:
        *(bool *)p = v != 0;
        return;
    case FIELD_INT8:
        *(int8_t *)p = (int8_t)v;
        return;
    case FIELD_INT16:
    case FIELD_UINT16:
        *(int16_t *)p = (int16_t)v;
        return;
    case FIELD_INT32:
    case FIELD_UINT32:
        *(int32_t *)p = (int32_t)v;
        return;
    case FIELD_INT64:
        *(int64_t *)p = v;
        return;
    case FIELD_FLOAT64:
        *(double *)p = (double)v;
        return;
    default:
        unreachable("a number");
    }
}

static void set_default(const struct field *f, void *p)
{
    if (f->array) {
        *(struct any_array *)p = (struct any_array){NULL, f->default_null ? -1 : 0};
        return;
    }
    switch (f->type) {
    case FIELD_UUID:
        *(struct uuid *)p = UUID_ZERO;
        return;
    case FIELD_STRING:
        *(struct str *)p = f->default_null ? STR_NULL : STR_LIT("");
        return;
    case FIELD_BYTES:
        *(struct bytes *)p = f->default_null ? (struct bytes){NULL, 0} : (struct bytes){(const uint8_t *)"", 0};
        return;
    case FIELD_RECORDS:
        *(struct records *)p = (struct records){.mem = {NULL, 0}};
        return;
    case FIELD_STRUCT:
        if (f->nullable.min <= f->nullable.max)
            *(void **)p = NULL;
        else
            message_init(f->fields, p);
        return;
    default:
        set_number(f->type, p, f->default_number);
    }
}

void message_init(const struct message_type *type, void *m)
{
    for (int i = 0; i < type->field_count; i++)
        set_default(&type->fields[i], (char *)m + type->fields[i].offset);
}

/* ---- Reading ---- */

static void read_fields(const struct message_type *t, struct reader *r, int16_t version, void *m);

/* A length, or -1 for null. */
static int64_t read_length(struct reader *r, const struct field *f, bool flexible, int16_t version, bool wide)
{
    int64_t len = flexible ? (int64_t)reader_uvarint(r) - 1 : wide ? reader_int32(r) : reader_int16(r);
    if (len < 0 && reader_ok(r)) {
        if (len < -1 || !in_range(f->nullable, version))
            reader_fail(r, "a null or negative length where none may be");
        return -1;
    }
    return len;
}

static void read_text(struct reader *r, const struct field *f, bool flexible, int16_t version, void *p)
{
    int64_t len = read_length(r, f, flexible, version, f->type != FIELD_STRING);
    if (f->type == FIELD_STRING && len > LONGEST_STRING)
        reader_fail(r, "a string of more than 32767 bytes");
    const uint8_t *data = len < 0 || !reader_ok(r) ? NULL : reader_take(r, (size_t)len);
    struct bytes value = {data, data ? (int32_t)len : 0};
    if (len == 0 && reader_ok(r))
        value.p = (const uint8_t *)"";
    if (f->type == FIELD_STRING)
        *(struct str *)p = (struct str){(const char *)value.p, value.len};
    else if (f->type == FIELD_BYTES)
        *(struct bytes *)p = value;
    else
        *(struct records *)p = (struct records){.mem = {len == 0 ? r->at : value.p, value.len}};
}

static void read_float(struct reader *r, void *p)
{
    int64_t bits = reader_int64(r);
    memcpy(p, &bits, sizeof(bits));
}

static void read_struct(struct reader *r, const struct field *f, int16_t version, void *p)
{
    if (f->nullable.min > f->nullable.max) {
        read_fields(f->fields, r, version, p);
        return;
    }
    *(void **)p = NULL;
    if (in_range(f->nullable, version) && reader_int8(r) < 0)
        return;
    void *value = arena_try_alloc(r->arena, 1, f->fields->size);
    if (value == NULL) {
        reader_fail(r, "it unfolds to too much memory");
        return;
    }
    read_fields(f->fields, r, version, value);
    *(void **)p = value;
}

static void codec_read_value(struct reader *r, const struct field *f, bool flexible, int16_t version, void *p)
{
    const uint8_t *raw;
    switch (f->type) {
    case FIELD_UUID:
        raw = reader_take(r, sizeof(struct uuid));
        *(struct uuid *)p = UUID_ZERO;
        if (raw != NULL)
            memcpy(p, raw, sizeof(struct uuid));
        return;
    case FIELD_STRING:
    case FIELD_BYTES:
    case FIELD_RECORDS:
        read_text(r, f, flexible, version, p);
        return;
    case FIELD_STRUCT:
        read_struct(r, f, version, p);
        return;
    case FIELD_FLOAT64:
        read_float(r, p);
        return;
    case FIELD_BOOL:
    case FIELD_INT8:
        set_number(f->type, p, reader_int8(r));
        return;
    case FIELD_INT16:
    case FIELD_UINT16:
        set_number(f->type, p, reader_int16(r));
        return;
    case FIELD_INT32:
    case FIELD_UINT32:
        set_number(f->type, p, reader_int32(r));
        return;
    case FIELD_INT64:
        set_number(f->type, p, reader_int64(r));
        return;
    }
}

/* The fewest bytes that a value of the field takes on the wire. */
static size_t smallest(const struct field *f, bool flexible, int16_t version);

static size_t smallest_struct(const struct message_type *t, int16_t version)
{
    size_t size = version >= t->flexible_since ? 1 : 0;
    for (int i = 0; i < t->field_count; i++) {
        const struct field *f = &t->fields[i];
        if (in_range(f->versions, version) && !is_tagged(f, version))
            size += f->array ? (is_flexible(t, f, version) ? 1 : 4) : smallest(f, is_flexible(t, f, version), version);
    }
    return size;
}

static size_t smallest(const struct field *f, bool flexible, int16_t version)
{
    static const size_t sizes[] = {
        [FIELD_BOOL] = 1,   [FIELD_INT8] = 1,  [FIELD_INT16] = 2,   [FIELD_UINT16] = 2, [FIELD_INT32] = 4,
        [FIELD_UINT32] = 4, [FIELD_INT64] = 8, [FIELD_FLOAT64] = 8, [FIELD_UUID] = 16};
    if (f->type == FIELD_STRUCT)
        return smallest_struct(f->fields, version);
    if (f->type == FIELD_STRING)
        return flexible ? 1 : 2;
    if (f->type == FIELD_BYTES || f->type == FIELD_RECORDS)
        return flexible ? 1 : 4;
    return sizes[f->type];
}

static void read_array(struct reader *r, const struct field *f, bool flexible, int16_t version, void *p)
{
    struct any_array *array = p;
    int64_t len = read_length(r, f, flexible, version, true);
    size_t each = len > 0 ? smallest(f, flexible, version) : 0;
    *array = (struct any_array){NULL, len < 0 ? -1 : 0};
    if (len <= 0 || !reader_ok(r))
        return;
    if (each == 0 ? len > MOST_EMPTY_ITEMS : (uint64_t)len > reader_left(r) / each) {
        reader_fail(r, "an array of more items than there are bytes");
        return;
    }
    char *items = arena_try_alloc(r->arena, (size_t)len, f->size);
    if (items == NULL) {
        reader_fail(r, "it unfolds to too much memory");
        return;
    }
    struct field item = *f; /* null items do not exist */
    if (f->type != FIELD_STRUCT)
        item.nullable = (struct version_range){1, 0};
    else
        item.nullable = (struct version_range){1, 0};
    for (int64_t i = 0; i < len && reader_ok(r); i++)
        codec_read_value(r, &item, flexible, version, items + (size_t)i * f->size);
    *array = (struct any_array){items, (int32_t)len};
}

static void read_field(const struct message_type *t, struct reader *r, const struct field *f, int16_t version, void *m)
{
    void *p = (char *)m + f->offset;
    bool flexible = is_flexible(t, f, version);
    if (reader_ok(r))
        r->field = f->name;
    if (f->array)
        read_array(r, f, flexible, version, p);
    else
        codec_read_value(r, f, flexible, version, p);
}

static const struct field *find_tag(const struct message_type *t, uint32_t tag, int16_t version)
{
    for (int i = 0; i < t->field_count; i++)
        if (is_tagged(&t->fields[i], version) && (uint32_t)t->fields[i].tag == tag)
            return &t->fields[i];
    return NULL;
}

static void read_tag(const struct message_type *t, struct reader *r, uint32_t tag, int16_t version, void *m)
{
    uint32_t size = reader_uvarint(r);
    if (size > reader_left(r)) {
        reader_fail(r, "a tagged field longer than the bytes left");
        return;
    }
    const struct field *f = find_tag(t, tag, version);
    const uint8_t *end = r->end, *stop = r->at + size;
    r->end = stop;
    if (f != NULL)
        read_field(t, r, f, version, m);
    r->end = end;
    if (reader_ok(r))
        r->at = stop;
    else
        r->at = end;
}

static void read_tags(const struct message_type *t, struct reader *r, int16_t version, void *m)
{
    uint32_t count = reader_uvarint(r);
    int64_t last = -1;
    for (uint32_t i = 0; i < count && reader_ok(r); i++) {
        uint32_t tag = reader_uvarint(r);
        if ((int64_t)tag <= last)
            reader_fail(r, "tags that are not in order");
        last = tag;
        if (reader_ok(r))
            read_tag(t, r, tag, version, m);
    }
}

static void read_fields(const struct message_type *t, struct reader *r, int16_t version, void *m)
{
    for (int i = 0; i < t->field_count; i++) {
        const struct field *f = &t->fields[i];
        if (in_range(f->versions, version) && !is_tagged(f, version))
            read_field(t, r, f, version, m);
        else
            set_default(f, (char *)m + f->offset);
    }
    if (version >= t->flexible_since)
        read_tags(t, r, version, m);
}

bool message_read(const struct message_type *type, struct reader *r, int16_t version, void *m)
{
    read_fields(type, r, version, m);
    return reader_ok(r);
}

/* ---- Writing ---- */

static void write_fields(const struct message_type *t, struct writer *w, int16_t version, const void *m);

static void write_length(struct writer *w, bool flexible, bool wide, int64_t len)
{
    if (flexible)
        writer_uvarint(w, (uint32_t)(len + 1));
    else if (wide)
        writer_int32(w, (int32_t)len);
    else
        writer_int16(w, (int16_t)len);
}

/* Where null is not allowed, nothing is written as empty. */
static int64_t length_of(const struct field *f, int16_t version, const void *p, int32_t len)
{
    return p != NULL ? len : in_range(f->nullable, version) ? -1 : 0;
}

static void write_records(struct writer *w, const struct field *f, bool flexible, int16_t version,
                          const struct records *v)
{
    if (v->region != NULL) {
        write_length(w, flexible, true, v->region_len);
        writer_region(w, v->region);
        return;
    }
    write_length(w, flexible, true, length_of(f, version, v->mem.p, v->mem.len));
    writer_bytes(w, v->mem.p, (size_t)v->mem.len);
}

static void write_struct(struct writer *w, const struct field *f, int16_t version, const void *p)
{
    if (f->nullable.min > f->nullable.max) {
        write_fields(f->fields, w, version, p);
        return;
    }
    const void *value = *(void *const *)p;
    if (in_range(f->nullable, version))
        writer_int8(w, value == NULL ? -1 : 1);
    if (value != NULL)
        write_fields(f->fields, w, version, value);
}

static void write_value(struct writer *w, const struct field *f, bool flexible, int16_t version, const void *p)
{
    switch (f->type) {
    case FIELD_BOOL:
        writer_int8(w, *(const bool *)p);
        return;
    case FIELD_INT8:
        writer_int8(w, *(const int8_t *)p);
        return;
    case FIELD_INT16:
    case FIELD_UINT16:
        writer_int16(w, *(const int16_t *)p);
        if (f->is_error)
            error_counts_note(&w->errors, *(const int16_t *)p);
        return;
    case FIELD_INT32:
    case FIELD_UINT32:
        writer_int32(w, *(const int32_t *)p);
        return;
    case FIELD_INT64:
    case FIELD_FLOAT64:
        writer_int64(w, *(const int64_t *)p);
        return;
    case FIELD_UUID:
        writer_bytes(w, p, sizeof(struct uuid));
        return;
    case FIELD_STRING: {
        struct str s = *(const struct str *)p;
        if (s.len > LONGEST_STRING) {
            writer_fail(w, f->name);
            s.len = 0;
        }
        write_length(w, flexible, false, length_of(f, version, s.p, s.len));
        writer_bytes(w, s.p, (size_t)s.len);
        return;
    }
    case FIELD_BYTES: {
        const struct bytes *b = p;
        write_length(w, flexible, true, length_of(f, version, b->p, b->len));
        writer_bytes(w, b->p, (size_t)b->len);
        return;
    }
    case FIELD_RECORDS:
        write_records(w, f, flexible, version, p);
        return;
    case FIELD_STRUCT:
        write_struct(w, f, version, p);
        return;
    }
}

static void write_field(const struct message_type *t, struct writer *w, const struct field *f, int16_t version,
                        const void *m)
{
    const void *p = (const char *)m + f->offset;
    bool flexible = is_flexible(t, f, version);
    if (!f->array) {
        write_value(w, f, flexible, version, p);
        return;
    }
    const struct any_array *array = p;
    int64_t len = array->len >= 0 ? array->len : in_range(f->nullable, version) ? -1 : 0;
    struct field item = *f;
    item.nullable = (struct version_range){1, 0};
    write_length(w, flexible, true, len);
    for (int64_t i = 0; i < len; i++)
        write_value(w, &item, flexible, version, (const char *)array->items + (size_t)i * f->size);
}

static bool codec_is_default(const struct field *f, const void *m);

static bool all_default(const struct message_type *t, const void *m)
{
    for (int i = 0; i < t->field_count; i++)
        if (!codec_is_default(&t->fields[i], m))
            return false;
    return true;
}

static int64_t codec_get_number(enum field_type type, const void *p)
{
    switch (type) {
    case FIELD_BOOL:
        return *(const bool *)p;
    case FIELD_INT8:
        return *(const int8_t *)p;
    case FIELD_INT16:
        return *(const int16_t *)p;
    case FIELD_UINT16:
        return *(const uint16_t *)p;
    case FIELD_INT32:
        return *(const int32_t *)p;
    case FIELD_UINT32:
        return *(const uint32_t *)p;
    default:
        return *(const int64_t *)p;
    }
}

static bool codec_is_default(const struct field *f, const void *m)
{
    const void *p = (const char *)m + f->offset;
    if (f->array)
        return ((const struct any_array *)p)->len == (f->default_null ? -1 : 0);
    switch (f->type) {
    case FIELD_UUID:
        return uuid_is_zero(*(const struct uuid *)p);
    case FIELD_STRING:
        return ((const struct str *)p)->len == 0 && (((const struct str *)p)->p == NULL) == f->default_null;
    case FIELD_BYTES:
        return ((const struct bytes *)p)->len == 0 && (((const struct bytes *)p)->p == NULL) == f->default_null;
    case FIELD_RECORDS:
        return ((const struct records *)p)->mem.p == NULL && ((const struct records *)p)->region == NULL;
    case FIELD_STRUCT:
        if (f->nullable.min <= f->nullable.max)
            return *(void *const *)p == NULL;
        return all_default(f->fields, p);
    default:
        return codec_get_number(f->type, p) == f->default_number;
    }
}

/* The field with the lowest tag above `after` that has something to say; NULL if there is none. */
static const struct field *next_tag(const struct message_type *t, int after, int16_t version, const void *m)
{
    const struct field *next = NULL;
    for (int i = 0; i < t->field_count; i++) {
        const struct field *f = &t->fields[i];
        if (is_tagged(f, version) && in_range(f->versions, version) && f->tag > after && !codec_is_default(f, m) &&
            (next == NULL || f->tag < next->tag))
            next = f;
    }
    return next;
}

static void write_tags(const struct message_type *t, struct writer *w, int16_t version, const void *m)
{
    uint32_t count = 0;
    const struct field *f;
    for (f = next_tag(t, -1, version, m); f != NULL; f = next_tag(t, f->tag, version, m))
        count++;
    writer_uvarint(w, count);
    for (f = count > 0 ? next_tag(t, -1, version, m) : NULL; f != NULL; f = next_tag(t, f->tag, version, m)) {
        struct writer value;
        writer_init(&value);
        write_field(t, &value, f, version, m);
        if (value.unfit != NULL)
            writer_fail(w, value.unfit);
        writer_uvarint(w, (uint32_t)f->tag);
        writer_uvarint(w, (uint32_t)value.buf.len);
        writer_bytes(w, value.buf.p, value.buf.len);
        writer_deinit(&value);
    }
}

static void write_fields(const struct message_type *t, struct writer *w, int16_t version, const void *m)
{
    for (int i = 0; i < t->field_count; i++) {
        const struct field *f = &t->fields[i];
        if (in_range(f->versions, version) && !is_tagged(f, version))
            write_field(t, w, f, version, m);
    }
    if (version >= t->flexible_since)
        write_tags(t, w, version, m);
}

void message_write(const struct message_type *type, struct writer *w, int16_t version, const void *m)
{
    write_fields(type, w, version, m);
}

/* ---- Printing ---- */

void json_print_text(struct strbuf *out, struct str s)
{
    strbuf_puts(out, "\"");
    for (int32_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < ' ' || c == '"' || c == '\\')
            strbuf_printf(out, "\\u%04x", c);
        else
            strbuf_add(out, &c, 1);
    }
    strbuf_puts(out, "\"");
}

/* Who may log in by it may do so again. */
static bool is_secret(const struct field *f)
{
    static const char *const names[] = {"AuthBytes", "Hmac", "Salt", "SaltedPassword"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(f->name, names[i]) == 0)
            return true;
    return false;
}

static void print_bytes(struct strbuf *out, struct bytes data)
{
    if (data.p == NULL) {
        strbuf_puts(out, "null");
        return;
    }
    strbuf_puts(out, "\"");
    base64_add(out, data);
    strbuf_puts(out, "\"");
}

static void print_value(struct strbuf *out, const struct field *f, int16_t version, const void *p)
{
    char id[UUID_TEXT_LEN + 1];
    switch (f->type) {
    case FIELD_STRING:
        if (((const struct str *)p)->p == NULL)
            strbuf_puts(out, "null");
        else
            json_print_text(out, *(const struct str *)p);
        return;
    case FIELD_BYTES:
        if (is_secret(f))
            strbuf_puts(out, "\"[hidden]\"");
        else
            print_bytes(out, *(const struct bytes *)p);
        return;
    case FIELD_RECORDS:
        strbuf_printf(out, "%" PRId32, ((const struct records *)p)->mem.len + ((const struct records *)p)->region_len);
        return;
    case FIELD_UUID:
        uuid_format(*(const struct uuid *)p, id);
        strbuf_printf(out, "\"%s\"", id);
        return;
    case FIELD_BOOL:
        strbuf_puts(out, *(const bool *)p ? "true" : "false");
        return;
    case FIELD_FLOAT64:
        strbuf_printf(out, "%.17g", *(const double *)p);
        return;
    case FIELD_STRUCT:
        if (f->nullable.min <= f->nullable.max)
            p = *(void *const *)p;
        if (p == NULL)
            strbuf_puts(out, "null");
        else
            message_print(f->fields, out, version, p);
        return;
    default:
        strbuf_printf(out, "%" PRId64, codec_get_number(f->type, p));
    }
}

static void print_array(struct strbuf *out, const struct field *f, int16_t version, const struct any_array *array)
{
    struct field item = *f;
    if (array->len < 0) {
        strbuf_puts(out, "null");
        return;
    }
    item.nullable = (struct version_range){1, 0};
    strbuf_puts(out, "[");
    for (int32_t i = 0; i < array->len; i++) {
        strbuf_puts(out, i > 0 ? "," : "");
        print_value(out, &item, version, (const char *)array->items + (size_t)i * f->size);
    }
    strbuf_puts(out, "]");
}

void message_print(const struct message_type *type, struct strbuf *out, int16_t version, const void *m)
{
    const char *comma = "";
    strbuf_puts(out, "{");
    for (int i = 0; i < type->field_count; i++) {
        const struct field *f = &type->fields[i];
        const void *p = (const char *)m + f->offset;
        if (!in_range(f->versions, version))
            continue;
        strbuf_printf(out, "%s\"%c%s%s\":", comma, tolower((unsigned char)f->name[0]), f->name + 1,
                      f->type == FIELD_RECORDS ? "SizeInBytes" : "");
        if (f->array)
            print_array(out, f, version, p);
        else
            print_value(out, f, version, p);
        comma = ",";
    }
    strbuf_puts(out, "}");
}

/* ---- The APIs ---- */

const struct api_spec *api_spec(int16_t key)
{
    for (size_t i = 0; i < api_specs_len; i++)
        if (api_specs[i].key == key)
            return &api_specs[i];
    return NULL;
}

int16_t api_request_header_version(int16_t key, int16_t version)
{
    const struct api_spec *spec = api_spec(key);
    if (key == KEY_CONTROLLED_SHUTDOWN && version == 0)
        return 0;
    return spec != NULL && version >= spec->flexible_since ? 2 : 1;
}

int16_t api_response_header_version(int16_t key, int16_t version)
{
    const struct api_spec *spec = api_spec(key);
    if (key == KEY_API_VERSIONS)
        return 0; /* so that clients can read it whatever they speak (KIP-511) */
    return spec != NULL && version >= spec->flexible_since ? 1 : 0;
}
