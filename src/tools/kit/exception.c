/* Java clients throw an exception for each error code; its name mostly follows from the code's. */
#include <ctype.h>

#include "protocol/error.h"
#include "tools/kit/ask.h"

static const struct {
    int16_t code;
    const char *name;
} irregular[] = {
    {ERR_UNKNOWN_SERVER_ERROR, "UnknownServerException"},
    {ERR_CORRUPT_MESSAGE, "CorruptRecordException"},
    {ERR_REQUEST_TIMED_OUT, "TimeoutException"},
    {ERR_STALE_CONTROLLER_EPOCH, "ControllerMovedException"},
    {ERR_TOPIC_AUTHORIZATION_FAILED, "TopicAuthorizationException"},
    {ERR_CLUSTER_AUTHORIZATION_FAILED, "ClusterAuthorizationException"},
    {ERR_INVALID_CONFIG, "InvalidConfigurationException"},
    {ERR_KAFKA_STORAGE_ERROR, "KafkaStorageException"},
    {ERR_MESSAGE_TOO_LARGE, "RecordTooLargeException"},
    {ERR_OFFSET_METADATA_TOO_LARGE, "OffsetMetadataTooLarge"},
    {ERR_RECORD_LIST_TOO_LARGE, "RecordBatchTooLargeException"},
    {ERR_GROUP_AUTHORIZATION_FAILED, "GroupAuthorizationException"},
    {ERR_TOPIC_ALREADY_EXISTS, "TopicExistsException"},
    {ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "OutOfOrderSequenceException"},
    {ERR_DUPLICATE_SEQUENCE_NUMBER, "DuplicateSequenceException"},
    {ERR_INVALID_PRODUCER_ID_MAPPING, "InvalidPidMappingException"},
    {ERR_INVALID_TRANSACTION_TIMEOUT, "InvalidTxnTimeoutException"},
    {ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "TransactionalIdAuthorizationException"},
    {ERR_SASL_AUTHENTICATION_FAILED, "SaslAuthenticationException"},
    {ERR_DELEGATION_TOKEN_AUTH_DISABLED, "DelegationTokenDisabledException"},
    {ERR_DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, "UnsupportedByAuthenticationException"},
    {ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED, "DelegationTokenAuthorizationException"},
    {ERR_NON_EMPTY_GROUP, "GroupNotEmptyException"},
    {ERR_PRINCIPAL_DESERIALIZATION_FAILURE, "PrincipalDeserializationException"},
    {ERR_FETCH_SESSION_TOPIC_ID_ERROR, "FetchSessionTopicIdException"},
};

/* NOT_CONTROLLER: NotControllerException. */
static void add_name(struct strbuf *b, int16_t code)
{
    const char *name = error_name(code);
    for (size_t i = 0; i < ARRAY_LEN(irregular); i++)
        if (irregular[i].code == code) {
            strbuf_puts(b, irregular[i].name);
            return;
        }
    for (bool first = true; *name != '\0'; name++) {
        if (*name != '_')
            strbuf_printf(b, "%c", first ? *name : tolower(*name));
        first = *name == '_';
    }
    if (b->len < 9 || strcmp(b->p + b->len - 9, "Exception") != 0)
        strbuf_puts(b, "Exception");
}

struct str ask_exception_name(struct arena *a, int16_t code)
{
    struct strbuf name = {0};
    add_name(&name, code);
    struct str whole = arena_printf(a, "org.apache.kafka.common.errors.%s", name.p);
    strbuf_deinit(&name);
    return whole;
}

struct str ask_exception_text(struct arena *a, int16_t code, struct str message)
{
    struct str name = ask_exception_name(a, code), text = ask_error_text(code, message);
    return arena_printf(a, "%.*s: %.*s", STR_ARGS(name), STR_ARGS(text));
}
