/* Kafka's error codes, made from error.tbl. */
#ifndef BARNABAS_ERROR_H
#define BARNABAS_ERROR_H

#include <stdbool.h>
#include <stdint.h>

enum kafka_error {
#define X(name, code, retriable, text) ERR_##name = (code),
#include "protocol/error.tbl"
#undef X
};

const char *error_name(int16_t code);    /* "NONE", ...; "UNKNOWN" for a code that is none */
const char *error_message(int16_t code); /* one sentence */
bool error_is_retriable(int16_t code);

#endif
