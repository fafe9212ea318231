/* One value: read by its row, as Apache's ConfigDef would, stored, and written again. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "config/config_internal.h"

/* ---- Text ---- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

char *text_trim(const char *text, struct arena *a)
{
    const char *end = text + strlen(text);
    while (text < end && (unsigned char)*text <= ' ')
        text++;
    while (end > text && (unsigned char)end[-1] <= ' ')
        end--;
    return arena_cstr(a, (struct str){text, (int32_t)(end - text)});
}

char *text_upper(const char *text, struct arena *a)
{
    char *upper = arena_cstr(a, str_of(text));
    for (char *c = upper; *c; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    return upper;
}

static int count_char(const char *text, char what)
{
    int n = 0;
    for (; *text; text++)
        n += *text == what;
    return n;
}

static struct str without_space(const char *from, const char *end)
{
    while (from < end && is_space(*from))
        from++;
    while (end > from && is_space(end[-1]))
        end--;
    return (struct str){from, (int32_t)(end - from)};
}

struct config_list text_split(const char *text, bool skip_empty, struct arena *a)
{
    const char **items = ARENA_ARRAY(a, const char *, count_char(text, ',') + 1);
    struct config_list list = {.items = items};
    for (;; text++) {
        const char *from = text;
        text += strcspn(text, ",");
        struct str part = without_space(from, text);
        if (part.len > 0 || !skip_empty)
            items[list.count++] = arena_cstr(a, part);
        if (*text == '\0')
            return list;
    }
}

/* As Integer.parseInt and its kind: a sign, digits, nothing else. */
bool number_parse(const char *text, int64_t min, int64_t max, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    *out = number;
    return errno == 0 && number >= min && number <= max;
}

/* As Double.parseDouble: what strtod takes, a type letter at the end, and its own names for the
 * rest. */
static bool real_parse(const char *text, double *out)
{
    char *end;
    const char *unsigned_text = text + (*text == '-' || *text == '+');
    bool name = strcmp(unsigned_text, "NaN") == 0 || strcmp(unsigned_text, "Infinity") == 0;
    if (!name && strchr("0123456789.", *unsigned_text) == NULL)
        return false;
    *out = strtod(text, &end);
    if (end != text && !name && *end != '\0' && strchr("dDfF", *end) != NULL)
        end++;
    return end != text && *end == '\0' && *text != '\0';
}

/* ---- Reading ---- */

static const char *const type_names[] = {
    [CONFIG_UNKNOWN] = "UNKNOWN", [CONFIG_BOOLEAN] = "BOOLEAN",   [CONFIG_STRING] = "STRING", [CONFIG_INT] = "INT",
    [CONFIG_SHORT] = "SHORT",     [CONFIG_LONG] = "LONG",         [CONFIG_DOUBLE] = "DOUBLE", [CONFIG_LIST] = "LIST",
    [CONFIG_CLASS] = "CLASS",     [CONFIG_PASSWORD] = "PASSWORD",
};

static bool boolean_parse(const char *text, bool *out)
{
    *out = strcasecmp(text, "true") == 0;
    return *out || strcasecmp(text, "false") == 0;
}

static bool host_limits_parse(const char *text, struct arena *a, struct host_limits *out)
{
    struct config_list parts = text_split(text, true, a);
    struct host_limit *limits = ARENA_ARRAY(a, struct host_limit, parts.count);
    for (int i = 0; i < parts.count; i++) {
        const char *colon = strrchr(parts.items[i], ':');
        int64_t limit;
        if (colon == NULL || !number_parse(text_trim(colon + 1, a), INT32_MIN, INT32_MAX, &limit))
            return false;
        struct str host = {parts.items[i], (int32_t)(colon - parts.items[i])};
        limits[i] = (struct host_limit){text_trim(arena_cstr(a, host), a), (int32_t)limit};
    }
    *out = (struct host_limits){limits, parts.count};
    return true;
}

/* The text is trimmed. */
static bool parse_type(const struct config_key *key, const char *text, struct arena *a, struct config_value *out)
{
    switch (key->type) {
    case CONFIG_BOOLEAN:
        return boolean_parse(text, &out->boolean);
    case CONFIG_INT:
        return number_parse(text, INT32_MIN, INT32_MAX, &out->number);
    case CONFIG_SHORT:
        return number_parse(text, INT16_MIN, INT16_MAX, &out->number);
    case CONFIG_LONG:
        return number_parse(text, INT64_MIN, INT64_MAX, &out->number);
    case CONFIG_DOUBLE:
        return real_parse(text, &out->real);
    case CONFIG_LIST:
        out->list = *text ? text_split(text, false, a) : (struct config_list){0};
        return true;
    case CONFIG_STRING:
    case CONFIG_CLASS:
    case CONFIG_PASSWORD:
    case CONFIG_UNKNOWN:
        break;
    }
    out->text = text;
    return true;
}

static bool check_range(const struct config_key *key, double number, struct fail *why)
{
    if (!isnan(key->also) && number == key->also)
        return true;
    if (!isnan(key->also) && (number < key->min || number > key->max))
        return fail_set(why, "Value must be between %.15g and %.15g or equal to %.15g", key->min, key->max, key->also);
    if (number < key->min)
        return fail_set(why, "Value must be at least %.15g", key->min);
    if (number > key->max)
        return fail_set(why, "Value must be no more than %.15g", key->max);
    return true;
}

static bool set_find(const struct config_set *set, const char *word, int *number)
{
    for (int i = 0; i < set->count; i++) {
        const char *text = set->values[i].text;
        if (set->any_case ? strcasecmp(word, text) == 0 : strcmp(word, text) == 0) {
            *number = set->values[i].number;
            return true;
        }
    }
    return false;
}

static bool refuse_word(const struct config_set *set, const char *word, struct config_value *value, struct fail *why)
{
    struct strbuf words = {0};
    for (int i = 0; i < set->count; i++)
        strbuf_printf(&words, "%s%s", i > 0 ? ", " : "", set->values[i].text);
    fail_set(why, "String must be one of%s: %s", set->any_case ? " (case insensitive)" : "", words.p);
    strbuf_deinit(&words);
    value->refused = word;
    return false;
}

static bool check_set(const struct config_key *key, struct config_value *value, struct fail *why)
{
    int number;
    if (key->type != CONFIG_LIST) {
        if (!set_find(key->set, value->text, &number))
            return refuse_word(key->set, value->text, value, why);
        value->number = number;
        return true;
    }
    int64_t bits = 0;
    for (int i = 0; i < value->list.count; i++) {
        if (!set_find(key->set, value->list.items[i], &number))
            return refuse_word(key->set, value->list.items[i], value, why);
        bits |= number;
    }
    value->number = bits;
    return true;
}

static bool check_version(struct config_value *value, struct fail *why)
{
    enum ibp version;
    if (!ibp_parse(value->text, &version))
        return fail_set(why, "Version %s is not a valid version", value->text);
    value->number = version;
    return true;
}

static bool is_replica(const char *text, int32_t *partition, int32_t *broker)
{
    int64_t p, b;
    const char *colon = strchr(text, ':');
    char left[16];
    if (colon == NULL || colon - text >= (int)sizeof(left) || *text == '-' || *text == '+' || colon[1] == '-' ||
        colon[1] == '+')
        return false;
    snprintf(left, sizeof(left), "%.*s", (int)(colon - text), text);
    if (!number_parse(left, 0, INT32_MAX, &p) || !number_parse(colon + 1, 0, INT32_MAX, &b))
        return false;
    *partition = (int32_t)p;
    *broker = (int32_t)b;
    return true;
}

/* "[a, b]" */
static const char *list_text(const struct config_list *list, struct arena *a)
{
    struct strbuf b = {0};
    for (int i = 0; i < list->count; i++)
        strbuf_printf(&b, "%s%s", i > 0 ? ", " : "", list->items[i]);
    const char *text = arena_printf(a, "[%.*s]", (int)b.len, b.len > 0 ? b.p : "").p;
    strbuf_deinit(&b);
    return text;
}

static bool check_throttled(const struct config_key *key, struct arena *a, struct config_value *value, struct fail *why)
{
    int32_t partition, broker;
    const struct config_list *list = &value->list;
    bool all = list->count == 1 && strcmp(list->items[0], "*") == 0;
    for (int i = 0; i < list->count && !all; i++)
        if (list->items[i][0] != '\0' && !is_replica(list->items[i], &partition, &broker)) {
            value->refused = list_text(list, a);
            return fail_set(why,
                            "%s must be the literal '*' or a list of replicas in the following format: "
                            "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
                            key->name);
        }
    return true;
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

struct throttled_replicas throttled_replicas_of(const char *value, int32_t broker, struct arena *a)
{
    struct arena parts = {0};
    struct config_list list = text_split(text_trim(value, &parts), false, &parts);
    int32_t *partitions = ARENA_ARRAY(a, int32_t, MAX(list.count, 1)), b;
    struct throttled_replicas t = {.all = list.count == 1 && strcmp(list.items[0], "*") == 0, .partitions = partitions};
    for (int i = 0; i < list.count; i++)
        t.count += is_replica(list.items[i], &partitions[t.count], &b) && b == broker;
    qsort(partitions, (size_t)t.count, sizeof(*partitions), by_number);
    arena_deinit(&parts);
    return t;
}

bool throttled_replicas_include(const struct throttled_replicas *t, int32_t partition)
{
    return t->all || (t->count > 0 &&
                      bsearch(&partition, t->partitions, (size_t)t->count, sizeof(*t->partitions), by_number) != NULL);
}

static bool check_host_limits(struct config_value *value, struct arena *a, struct fail *why)
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-%._:";
    if (!host_limits_parse(value->text, a, &value->limits))
        return fail_set(why, "not of the form host:number,...");
    for (int i = 0; i < value->limits.count; i++) {
        const char *host = value->limits.items[i].host;
        if (host[strspn(host, allowed)] != '\0')
            return fail_set(why, "%s is neither an address nor the name of a host", host);
    }
    return true;
}

/* May turn the value into what the field holds: a word into its number, a text into a list. */
static bool value_check_form(const struct config_key *key, struct arena *a, struct config_value *value,
                             struct fail *why)
{
    switch (key->form) {
    case FORM_RANGE:
        return check_range(key, key->type == CONFIG_DOUBLE ? value->real : (double)value->number, why);
    case FORM_SET:
        return check_set(key, value, why);
    case FORM_VERSION:
        return check_version(value, why);
    case FORM_NON_EMPTY:
        return value->text[0] != '\0' || fail_set(why, "String must be non-empty");
    case FORM_HOST_LIMITS:
        return check_host_limits(value, a, why);
    case FORM_THROTTLED:
        return check_throttled(key, a, value, why);
    case FORM_PATHS:
        value->list = text_split(value->text, true, a);
        return true;
    case FORM_ENDPOINTS: /* listeners.c reads them, once it knows the protocols */
    case FORM_ANY:
        break;
    }
    return true;
}

enum value_result value_parse(const struct config_key *key, const char *text, struct arena *a, struct config_value *out,
                              struct fail *why)
{
    out->refused = NULL;
    if (!parse_type(key, text_trim(text, a), a, out)) {
        if (key->type == CONFIG_BOOLEAN)
            fail_set(why, "Expected value to be either true or false");
        else
            fail_set(why, "Not a number of type %s", type_names[key->type]);
        return VALUE_MALFORMED;
    }
    return value_check_form(key, a, out, why) ? VALUE_OK : VALUE_REFUSED;
}

bool value_refuse(const char *name, const char *text, const struct config_value *value, const struct fail *why,
                  struct fail *fail)
{
    return fail_set(fail, "Invalid value %s for configuration %s: %s", value->refused != NULL ? value->refused : text,
                    name, why->text);
}

/* ---- Fields ---- */

enum field_kind {
    FIELD_BOOL,
    FIELD_INT32,
    FIELD_INT16,
    FIELD_INT64,
    FIELD_DOUBLE,
    FIELD_TEXT,
    FIELD_LIST,
    FIELD_WORD, /* an enum, or the bits of a list */
    FIELD_LIMITS,
    FIELD_LISTENERS,
};

static enum field_kind field_kind(const struct config_key *key)
{
    static const enum field_kind by_type[] = {
        [CONFIG_BOOLEAN] = FIELD_BOOL, [CONFIG_INT] = FIELD_INT32,     [CONFIG_SHORT] = FIELD_INT16,
        [CONFIG_LONG] = FIELD_INT64,   [CONFIG_DOUBLE] = FIELD_DOUBLE, [CONFIG_STRING] = FIELD_TEXT,
        [CONFIG_CLASS] = FIELD_TEXT,   [CONFIG_PASSWORD] = FIELD_TEXT, [CONFIG_LIST] = FIELD_LIST,
    };
    switch (key->form) {
    case FORM_SET:
    case FORM_VERSION:
        return FIELD_WORD;
    case FORM_PATHS:
        return FIELD_LIST;
    case FORM_HOST_LIMITS:
        return FIELD_LIMITS;
    case FORM_ENDPOINTS:
        return FIELD_LISTENERS;
    default:
        return by_type[key->type];
    }
}

#define FIELD_PUT(type, value)                  \
    do {                                        \
        type typed_ = (type)(value);            \
        memcpy(field, &typed_, sizeof(typed_)); \
    } while (0)

static void store_nothing(enum field_kind kind, char *field)
{
    static const struct config_list no_list;
    switch (kind) {
    case FIELD_INT32:
    case FIELD_WORD:
        FIELD_PUT(int32_t, -1);
        break;
    case FIELD_INT16:
        FIELD_PUT(int16_t, -1);
        break;
    case FIELD_INT64:
        FIELD_PUT(int64_t, -1);
        break;
    case FIELD_TEXT:
        FIELD_PUT(const char *, NULL);
        break;
    case FIELD_LIST:
        memcpy(field, &no_list, sizeof(no_list));
        break;
    default: /* no row of these kinds is without a value */
        break;
    }
}

void value_store(const struct config_key *key, const struct config_value *value, void *config)
{
    if (key->field < 0)
        return;
    char *field = (char *)config + key->field;
    if (value == NULL) {
        store_nothing(field_kind(key), field);
        return;
    }
    switch (field_kind(key)) {
    case FIELD_BOOL:
        FIELD_PUT(bool, value->boolean);
        break;
    case FIELD_INT32:
    case FIELD_WORD:
        FIELD_PUT(int32_t, value->number);
        break;
    case FIELD_INT16:
        FIELD_PUT(int16_t, value->number);
        break;
    case FIELD_INT64:
        FIELD_PUT(int64_t, value->number);
        break;
    case FIELD_DOUBLE:
        FIELD_PUT(double, value->real);
        break;
    case FIELD_TEXT:
        FIELD_PUT(const char *, value->text);
        break;
    case FIELD_LIST:
        memcpy(field, &value->list, sizeof(value->list));
        break;
    case FIELD_LIMITS:
        memcpy(field, &value->limits, sizeof(value->limits));
        break;
    case FIELD_LISTENERS:
        break;
    }
}

/* ---- Writing ---- */

/* The fewest digits that mean this number, as "d.ddde+xx". */
static void shortest(double real, char *out, size_t size)
{
    for (int digits = 0; digits < 17; digits++) {
        snprintf(out, size, "%.*e", digits, real);
        if (strtod(out, NULL) == real)
            return;
    }
}

void config_format_double(double real, struct strbuf *out)
{
    char text[40], digits[24];
    if (isnan(real) || isinf(real)) {
        strbuf_puts(out, isnan(real) ? "NaN" : real < 0 ? "-Infinity" : "Infinity");
        return;
    }
    shortest(fabs(real), text, sizeof(text));
    char *e = strchr(text, 'e');
    int exponent = atoi(e + 1), count = 0;
    for (const char *c = text; c < e; c++)
        if (*c != '.')
            digits[count++] = *c;
    if (signbit(real))
        strbuf_puts(out, "-");
    bool plain = real == 0 || (exponent >= -3 && exponent < 7);
    int point = plain ? exponent + 1 : 1; /* the digit that it stands before; there is one on each side */
    for (int i = MIN(point, 1) - 1; i < MAX(count, point + 1); i++) {
        if (i == point)
            strbuf_puts(out, ".");
        strbuf_add(out, i >= 0 && i < count ? &digits[i] : "0", 1);
    }
    if (!plain)
        strbuf_printf(out, "E%d", exponent);
}

static void word_format(const struct config_key *key, int number, struct strbuf *out)
{
    if (key->form == FORM_VERSION) {
        strbuf_puts(out, ibp_name((enum ibp)number));
        return;
    }
    for (int i = 0; i < key->set->count; i++)
        if (key->set->values[i].number == number)
            strbuf_puts(out, key->set->values[i].text);
}

void value_format(const struct config_key *key, const void *config, struct strbuf *out)
{
    const char *field = (const char *)config + key->field;
    switch (field_kind(key)) {
    case FIELD_BOOL:
        strbuf_puts(out, *(const bool *)field ? "true" : "false");
        break;
    case FIELD_INT32:
        strbuf_printf(out, "%" PRId32, *(const int32_t *)(const void *)field);
        break;
    case FIELD_INT16:
        strbuf_printf(out, "%d", *(const int16_t *)(const void *)field);
        break;
    case FIELD_INT64:
        strbuf_printf(out, "%" PRId64, *(const int64_t *)(const void *)field);
        break;
    case FIELD_DOUBLE:
        config_format_double(*(const double *)(const void *)field, out);
        break;
    case FIELD_WORD:
        word_format(key, *(const int32_t *)(const void *)field, out);
        break;
    default:
        unreachable("a field that has no text");
    }
}

static const char *value_list_text(const struct config_list *list, struct arena *a)
{
    struct strbuf out = {0};
    for (int i = 0; i < list->count; i++)
        strbuf_printf(&out, "%s%s", i > 0 ? "," : "", list->items[i]);
    const char *text = arena_cstr(a, (struct str){out.p, (int32_t)out.len});
    strbuf_deinit(&out);
    return text;
}

const char *value_normalize(const struct config_key *key, const char *text, struct arena *a)
{
    struct config_value value;
    const char *trimmed = text_trim(text, a);
    if (!parse_type(key, trimmed, a, &value))
        return trimmed;
    switch (key->type) {
    case CONFIG_BOOLEAN:
        return value.boolean ? "true" : "false";
    case CONFIG_INT:
    case CONFIG_SHORT:
    case CONFIG_LONG:
        return arena_cstr(a, arena_printf(a, "%" PRId64, value.number));
    case CONFIG_LIST:
        return value_list_text(&value.list, a);
    case CONFIG_DOUBLE: {
        struct strbuf out = {0};
        config_format_double(value.real, &out);
        const char *copy = arena_cstr(a, (struct str){out.p, (int32_t)out.len});
        strbuf_deinit(&out);
        return copy;
    }
    default:
        return trimmed;
    }
}
