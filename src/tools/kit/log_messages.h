/* Keys and values of the internal topics' records: messages with their version in front. */
#ifndef BARNABAS_TOOLS_KIT_LOG_MESSAGES_H
#define BARNABAS_TOOLS_KIT_LOG_MESSAGES_H

#include "protocol/codec.h"

/* The newest versions of each, in Kafka 3.9. */
enum { NEWEST_OFFSET_KEY = 1, NEWEST_GROUP_KEY = 2, NEWEST_TRANSACTION_KEY = 0 };
enum { NEWEST_OFFSET_VALUE = 4, NEWEST_GROUP_VALUE = 4, NEWEST_TRANSACTION_VALUE = 1 };

/* False when it is neither whole nor of a known version. `out` is initialized before. */
bool log_message_read(const struct message_type *type, int16_t newest, struct bytes data, struct arena *a,
                      int16_t *version, void *out) NODISCARD;
struct str log_message_json(const struct message_type *type, int16_t version, const void *m, struct arena *a);
/* Of a transaction, from its number; NULL: there is no such state. */
const char *transaction_state_name(int8_t status);

#endif
