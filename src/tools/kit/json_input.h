/* Fields of a JSON file that a user wrote, with Kafka's messages for what is missing or of the wrong type. */
#ifndef BARNABAS_TOOLS_KIT_JSON_INPUT_H
#define BARNABAS_TOOLS_KIT_JSON_INPUT_H

#include <jansson.h>

#include "base/arena.h"
#include "base/fail.h"

/* The object that the file holds, to be freed with json_decref(); NULL after a failure. */
json_t *json_input_read(const char *path, struct fail *fail);
/* The format that the file is of; only 1, which is also the default, is known. */
bool json_input_version(const json_t *object, struct fail *fail) NODISCARD;
/* NULL in `out` if there is no such field. */
bool json_input_array(const json_t *object, const char *name, const json_t **out, struct fail *fail) NODISCARD;
/* Fields that must be there. `value` may be of any kind: json_input_field() says if it is not an object. */
bool json_input_field(const json_t *value, const char *name, const json_t **out, struct fail *fail) NODISCARD;
bool json_input_topic(const json_t *value, struct arena *a, struct str *topic, struct fail *fail) NODISCARD;
bool json_input_partition(const json_t *value, int32_t *partition, struct fail *fail) NODISCARD;
bool json_input_int(const json_t *value, int32_t *out, struct fail *fail) NODISCARD;
bool json_input_long(const json_t *value, int64_t *out, struct fail *fail) NODISCARD;
bool json_input_string(const json_t *value, struct arena *a, struct str *out, struct fail *fail) NODISCARD;

#endif
