/*
 * How a session with ZooKeeper is protected: what the settings, and the properties of Java in KAFKA_OPTS, say of TLS
 * (KIP-515), of logging in by SASL, and of who may change znodes (KIP-38). Made once, and not changed; counted, as a
 * login may wait for a KDC longer than anybody waits for it. Any thread.
 *
 * TLS is as zookeeper.ssl.* has it. Whoever logs in does so as the section `Client` of the JAAS file says: by
 * DIGEST-MD5 with a user and a password, or by Kerberos. What is asked for and cannot be done is refused.
 */
#ifndef BARNABAS_ZK_PROTECTION_H
#define BARNABAS_ZK_PROTECTION_H

#include <stdatomic.h>

#include "config/config.h"
#include "security/digest_md5.h"
#include "security/sasl.h"
#include "security/tls.h"

struct zk_protection {
    struct tls_context *tls; /* NULL: plain TCP */
    const char *who;         /* logs in, for messages; NULL: nobody does */
    struct digest_login password;
    struct sasl_login tickets; /* `kerberos` NULL: it is by the password */
    const char *host;          /* of the servers' principal, whatever theirs is; NULL: each server's own */
    bool canonical;            /* that is the name of its address, if it has one */
    bool own_znodes;           /* only who made a znode may change it */
    struct arena memory;       /* of the login */
    atomic_int refs;
};

/*
 * The broker's, or its authorizer's, for which authorizer.zookeeper.ssl.* come before zookeeper.ssl.*. NULL: refused.
 */
struct zk_protection *zk_protection_of(const struct broker_config *config, bool authorizer, struct fail *fail);
/*
 * A tool's: zookeeper.ssl.* are those of the file, NULL if there is none. Its znodes are its own where it shows who it
 * is.
 */
struct zk_protection *zk_protection_of_tool(const char *tls_file, struct fail *fail);
struct zk_protection *zk_protection_ref(struct zk_protection *p); /* NULL is fine, and so it is below */
void zk_protection_unref(struct zk_protection *p);

/* Whether the znode, by its path without a chroot, may be read by brokers only: what is in it is secret. */
bool zk_path_is_secret(const char *path);

#endif
