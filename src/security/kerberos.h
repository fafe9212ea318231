/*
 * Kerberos 5 as a listener's Krb5LoginModule has it: the keys that a server proves itself by and takes tickets with,
 * and tickets for a client. -Djava.security.krb5.conf in KAFKA_OPTS names the library's configuration. Tickets are had
 * and renewed by the library, when a client logs in; those of a cache that is not its own by ticket_cache.h. Any
 * thread.
 */
#ifndef BARNABAS_KERBEROS_H
#define BARNABAS_KERBEROS_H

#include <gssapi/gssapi.h>

#include "security/jaas.h"
#include "security/kerberos_rules.h"
#include "security/login_settings.h"

struct kerberos {
    gss_cred_id_t keys;           /* of a server */
    struct kerberos_rules *rules; /* of a server: whom a principal names */
    const char *service;          /* of a client: the first part of the servers' principals */
    const char *realm;            /* of a client that takes hosts to the letter: theirs; NULL: as the library has it */
    bool to_the_letter;           /* of a client: a server's principal has its host's name as it was given */
    const char *keytab, *cache;   /* of a client: whence its tickets are; NULL: not from there */
    gss_name_t name;              /* whose keys or tickets; GSS_C_NO_NAME: any */
};

/* NULL: refused, as when the key table cannot be read, or does not have the principal. */
struct kerberos *kerberos_server_new(const struct login_settings *settings, const struct jaas_module *module,
                                     struct fail *fail);
struct kerberos *kerberos_client_new(const struct login_settings *settings, const struct jaas_module *module,
                                     struct fail *fail);
/*
 * A client that nobody has made settings for but its module: servers are SERVICE/HOST@REALM to the letter, without
 * another question to the name service. `realm` NULL: the host's by the library's configuration. Strings are not
 * copied. NULL: refused, as when its key table cannot be read, or does not have the principal.
 */
struct kerberos *kerberos_client_to(const char *service, const char *realm, const struct jaas_module *module,
                                    struct fail *fail);
void kerberos_free(struct kerberos *k);

/* For one login, to be released: with a ticket, which may be asked for only now. */
bool kerberos_tickets(const struct kerberos *k, gss_cred_id_t *out, struct fail *fail) NODISCARD;
/* Lets other libraries of this process log in by these tickets: for a program that has one login only. */
bool kerberos_adopt(const struct kerberos *k, struct fail *fail) NODISCARD;
/* The principal of the server at a host, which is a name or an address. */
bool kerberos_target(const struct kerberos *k, const char *host, gss_name_t *out, struct fail *fail) NODISCARD;
bool kerberos_explain(OM_uint32 major, OM_uint32 minor, struct fail *fail); /* false */

#endif
