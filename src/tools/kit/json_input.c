#include "tools/kit/json_input.h"

#include <errno.h>

json_t *json_input_read(const char *path, struct fail *fail)
{
    json_error_t error;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fail_set(fail, "%s: %s", path, strerror(errno));
        return NULL;
    }
    json_t *json = json_loadf(f, 0, &error);
    fclose(f);
    if (json_is_object(json))
        return json;
    if (json == NULL)
        fail_set(fail, "%s is not valid JSON: %s (line %d, column %d)", path, error.text, error.line, error.column);
    else
        fail_set(fail, "%s: Expected JSON object", path);
    json_decref(json);
    return NULL;
}

static bool json_input_complain(struct fail *fail, const char *expected, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    fail_set(fail, "Expected `%s` value, received %s", expected, text != NULL ? text : "null");
    free(text);
    return false;
}

bool json_input_version(const json_t *object, struct fail *fail)
{
    int32_t version = 1;
    const json_t *value = json_object_get(object, "version");
    if (value != NULL && !json_input_int(value, &version, fail))
        return false;
    return version == 1 || fail_set(fail, "Not supported version field value %d", (int)version);
}

bool json_input_array(const json_t *object, const char *name, const json_t **out, struct fail *fail)
{
    *out = json_object_get(object, name);
    return *out == NULL || json_is_array(*out) || json_input_complain(fail, "JSON array", *out);
}

bool json_input_field(const json_t *value, const char *name, const json_t **out, struct fail *fail)
{
    if (!json_is_object(value))
        return json_input_complain(fail, "JSON object", value);
    *out = json_object_get(value, name);
    return *out != NULL || fail_set(fail, "No such field exists: `%s`", name);
}

bool json_input_int(const json_t *value, int32_t *out, struct fail *fail)
{
    if (!json_is_integer(value) || json_integer_value(value) < INT32_MIN || json_integer_value(value) > INT32_MAX)
        return json_input_complain(fail, "Integer", value);
    *out = (int32_t)json_integer_value(value);
    return true;
}

bool json_input_long(const json_t *value, int64_t *out, struct fail *fail)
{
    if (!json_is_integer(value))
        return json_input_complain(fail, "Long", value);
    *out = json_integer_value(value);
    return true;
}

bool json_input_string(const json_t *value, struct arena *a, struct str *out, struct fail *fail)
{
    if (!json_is_string(value))
        return json_input_complain(fail, "String", value);
    *out = str_of(arena_cstr(a, str_of(json_string_value(value))));
    return true;
}

bool json_input_topic(const json_t *value, struct arena *a, struct str *topic, struct fail *fail)
{
    const json_t *field;
    return json_input_field(value, "topic", &field, fail) && json_input_string(field, a, topic, fail);
}

bool json_input_partition(const json_t *value, int32_t *partition, struct fail *fail)
{
    const json_t *field;
    return json_input_field(value, "partition", &field, fail) && json_input_int(field, partition, fail);
}
