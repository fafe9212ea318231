/* Whatever is in a file that is said to be a key store, with a password and without one. */
#include "base/base.h"

#include "security/keystore_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef bool (*read_fn)(struct bytes content, const char *password, const char *key_password, struct keystore *out,
                        struct fail *fail);

static void try_reader(read_fn reader, struct bytes content, const char *password, const char *key_password)
{
    struct keystore store = {0};
    struct fail fail;
    reader(content, password, key_password, &store, &fail);
    keystore_deinit(&store);
}

static void try_pem(const uint8_t *data, size_t size)
{
    struct keystore store = {0};
    struct fail fail;
    char *text = xstrndup((const char *)data, size);
    keystore_read_pem_keys(text, text, NULL, &store, &fail);
    keystore_deinit(&store);
    keystore_read_pem_keys(text, text, "changeit", &store, &fail);
    keystore_deinit(&store);
    keystore_read_pem_trust(text, &store, &fail);
    keystore_deinit(&store);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes content = {data, (int32_t)size};
    if (size < 4 || size > 1 << 16)
        return 0;
    if (data[0] == 0xfe) {
        try_reader(keystore_read_jks, content, NULL, "changeit");
        try_reader(keystore_read_jks, content, "changeit", NULL);
    } else if (data[0] == 0x30) {
        try_reader(keystore_read_pkcs12, content, NULL, "changeit");
        try_reader(keystore_read_pkcs12, content, "changeit", NULL);
    } else {
        try_pem(data, size);
    }
    return 0;
}
