/* What the exporter's ports are encrypted with, by the keys of a listener HTTP, or those of all. */
#ifndef BARNABAS_PORT_TLS_H
#define BARNABAS_PORT_TLS_H

#include "config/config.h"
#include "metrics/bean.h"
#include "security/tls.h"

struct port_tls;

/* NULL: it is refused. `config` outlives it. */
struct port_tls *port_tls_new(const struct broker_config *config, struct fail *fail);
void port_tls_free(struct port_tls *t); /* NULL is fine */
/* It has a bean of when the certificate ends, from now on. */
void port_tls_count(struct port_tls *t, struct metrics *metrics);
struct tls_context *port_tls_context(const struct port_tls *t);
/*
 * Whether the stores are others now, or have other contents: then there is another context. Where they cannot be
 * read, all stays as it was. Blocks; by one thread at a time, which alone may ask for the context then.
 */
bool port_tls_renew(struct port_tls *t, const struct broker_config *now);

#endif
