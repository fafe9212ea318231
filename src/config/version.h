/*
 * The versions that inter.broker.protocol.version and the message format can be set to, in their
 * order. A version of the protocol between brokers decides which requests may be sent, so code asks
 * `config->inter_broker_protocol_version >= IBP_2_8_IV1`.
 */
#ifndef BARNABAS_CONFIG_VERSION_H
#define BARNABAS_CONFIG_VERSION_H

#include <stdbool.h>

#define IBP_VERSIONS(X)                                             \
    X(0_8_0, "0.8.0")                                               \
    X(0_8_1, "0.8.1")                                               \
    X(0_8_2, "0.8.2")                                               \
    X(0_9_0, "0.9.0")                                               \
    X(0_10_0_IV0, "0.10.0-IV0")                                     \
    X(0_10_0_IV1, "0.10.0-IV1")                                     \
    X(0_10_1_IV0, "0.10.1-IV0")                                     \
    X(0_10_1_IV1, "0.10.1-IV1")                                     \
    X(0_10_1_IV2, "0.10.1-IV2")                                     \
    X(0_10_2_IV0, "0.10.2-IV0")                                     \
    X(0_11_0_IV0, "0.11.0-IV0")                                     \
    X(0_11_0_IV1, "0.11.0-IV1")                                     \
    X(0_11_0_IV2, "0.11.0-IV2")                                     \
    X(1_0_IV0, "1.0-IV0")                                           \
    X(1_1_IV0, "1.1-IV0")                                           \
    X(2_0_IV0, "2.0-IV0")                                           \
    X(2_0_IV1, "2.0-IV1")                                           \
    X(2_1_IV0, "2.1-IV0")                                           \
    X(2_1_IV1, "2.1-IV1")                                           \
    X(2_1_IV2, "2.1-IV2")                                           \
    X(2_2_IV0, "2.2-IV0")                                           \
    X(2_2_IV1, "2.2-IV1")                                           \
    X(2_3_IV0, "2.3-IV0")                                           \
    X(2_3_IV1, "2.3-IV1")                                           \
    X(2_4_IV0, "2.4-IV0")                                           \
    X(2_4_IV1, "2.4-IV1")                                           \
    X(2_5_IV0, "2.5-IV0")                                           \
    X(2_6_IV0, "2.6-IV0")                                           \
    X(2_7_IV0, "2.7-IV0")                                           \
    X(2_7_IV1, "2.7-IV1")                                           \
    X(2_7_IV2, "2.7-IV2")                                           \
    X(2_8_IV0, "2.8-IV0")                                           \
    X(2_8_IV1, "2.8-IV1")                                           \
    X(3_0_IV0, "3.0-IV0")                                           \
    X(3_0_IV1, "3.0-IV1")                                           \
    X(3_1_IV0, "3.1-IV0")                                           \
    X(3_2_IV0, "3.2-IV0")                                           \
    X(3_3_IV0, "3.3-IV0")                                           \
    X(3_3_IV1, "3.3-IV1")                                           \
    X(3_3_IV2, "3.3-IV2")                                           \
    X(3_3_IV3, "3.3-IV3")                                           \
    X(3_4_IV0, "3.4-IV0")                                           \
    X(3_5_IV0, "3.5-IV0")                                           \
    X(3_5_IV1, "3.5-IV1")                                           \
    X(3_5_IV2, "3.5-IV2")                                           \
    X(3_6_IV0, "3.6-IV0")                                           \
    X(3_6_IV1, "3.6-IV1")                                           \
    X(3_6_IV2, "3.6-IV2")                                           \
    X(3_7_IV0, "3.7-IV0")                                           \
    X(3_7_IV1, "3.7-IV1")                                           \
    X(3_7_IV2, "3.7-IV2")                                           \
    X(3_7_IV3, "3.7-IV3")                                           \
    X(3_7_IV4, "3.7-IV4")                                           \
    X(3_8_IV0, "3.8-IV0")                                           \
    X(3_9_IV0, "3.9-IV0")                                           \
    X(4_0_IV0, "4.0-IV0") /* these two were not finished in 3.9, */ \
    X(4_0_IV1, "4.0-IV1") /* and are known by their full names only */

#define IBP_ENUM(id, text) IBP_##id,
enum ibp { IBP_VERSIONS(IBP_ENUM) IBP_COUNT, IBP_LATEST = IBP_3_9_IV0 };
#undef IBP_ENUM

/*
 * Takes a full name, or a release such as "2.8" or "0.10.2.1", which means its last step. What
 * follows the release ("3.5.2") does not matter.
 */
bool ibp_parse(const char *text, enum ibp *out);
const char *ibp_name(enum ibp version); /* the full name: "2.8-IV1" */

/* The newest record format that a cluster of this version writes: magic 0, 1 or 2. */
static inline int ibp_magic(enum ibp version)
{
    return version < IBP_0_10_0_IV0 ? 0 : version < IBP_0_11_0_IV0 ? 1 : 2;
}

#endif
