/*
 * What comes before a login is over, and what it goes by: the first byte says what the others are. Messages of PLAIN,
 * SCRAM and OAUTHBEARER with a length of one byte before each, JAAS texts, sets of public keys, and rules for Kerberos
 * principals with a principal behind a zero byte.
 */
#include "base/base.h"

#include "security/jwt.h"
#include "security/kerberos_rules.h"
#include "security/oauth.h"
#include "security/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool find_user(void *ctx UNUSED, enum scram_mechanism m, struct str user, struct arena *a,
                      struct scram_credential *out)
{
    *out = scram_credential_of(m, (struct bytes){(const uint8_t *)"secret", 6},
                               (struct bytes){(const uint8_t *)"salt", 4}, SCRAM_MIN_ITERATIONS, a);
    return user.len > 0;
}

static void try_messages(enum sasl_mechanism mechanism, const uint8_t *data, size_t size)
{
    static const struct sasl_accounts accounts = {.scram = find_user};
    struct arena a = {0};
    struct broker_config config = {0};
    struct listener listener = {.name = "L"};
    struct login_settings settings = login_settings_of(&config, &listener, "OAUTHBEARER", &a);
    struct sasl_login login = {.mechanism = mechanism, .accounts = &accounts};
    struct fail fail;
    if (!jaas_parse("M required user_alice=\"secret\";", &a, &login.module, &fail))
        abort();
    if (mechanism == SASL_OAUTHBEARER)
        login.validator = oauth_validator_new(&settings, &login.module, &fail);
    struct sasl_server *s = sasl_server_new(&login);
    struct sasl_step step = {.outcome = SASL_GOES_ON};
    while (size > 0 && step.outcome == SASL_GOES_ON) {
        size_t len = MIN((size_t)data[0], size - 1);
        sasl_server_step(s, (struct bytes){data + 1, (int32_t)len}, &a, &step);
        data += len + 1;
        size -= len + 1;
    }
    sasl_server_free(s);
    oauth_validator_free(login.validator);
    arena_deinit(&a);
}

static const char *no_property(const char *name UNUSED, struct arena *a UNUSED)
{
    return NULL;
}

static void try_jaas(const char *text)
{
    struct arena a = {0};
    struct jaas_module module;
    struct jaas_file file;
    struct fail fail;
    if (jaas_parse(text, &a, &module, &fail))
        jaas_option(&module, "username");
    if (jaas_parse_file(text, no_property, &a, &file, &fail))
        jaas_section(&file, "KafkaServer");
    arena_deinit(&a);
}

static void try_keys(const uint8_t *data, size_t size)
{
    struct fail fail;
    jwks_free(jwks_parse((struct bytes){data, (int32_t)size}, &fail));
}

static void try_rules(const char *text, size_t size)
{
    struct arena a = {0};
    struct fail fail;
    struct str name;
    size_t len = strlen(text);
    struct kerberos_rules *rules = kerberos_rules_parse(text, "EX.TEST", &fail);
    if (rules != NULL && !kerberos_rules_apply(rules, len < size ? text + len + 1 : "", &a, &name, &fail))
        name = STR_NULL;
    kerberos_rules_free(rules);
    arena_deinit(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 12)
        return 0;
    char *text = xstrndup((const char *)data + 1, size - 1);
    char *whole = xcalloc(1, size + 1);
    memcpy(whole, data + 1, size - 1);
    switch (data[0]) {
    case 'P':
        try_messages(SASL_PLAIN, data + 1, size - 1);
        break;
    case 'S':
        try_messages(SASL_SCRAM_SHA_256, data + 1, size - 1);
        break;
    case 'O':
        try_messages(SASL_OAUTHBEARER, data + 1, size - 1);
        break;
    case 'J':
        try_jaas(text);
        break;
    case 'W':
        try_keys(data + 1, size - 1);
        break;
    case 'K':
        try_rules(whole, size - 1);
        break;
    default:
        break;
    }
    free(whole);
    free(text);
    return 0;
}
