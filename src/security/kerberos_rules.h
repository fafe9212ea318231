/*
 * How a user's name comes of a Kerberos principal: sasl.kerberos.principal.to.local.rules.
 *
 *     DEFAULT, RULE:[n:format](match)s/from/to/g/L
 *
 * The first rule counts that fits. DEFAULT fits principals of the default realm, and gives their first component. A
 * RULE fits those of n components whose `format`, where $0 is the realm and $1 and $2 are the components, is matched by
 * `match` as a whole; in it `from` is replaced by `to`, once or everywhere (g), and all is in lower (L) or upper (U)
 * case.
 *
 *     RULE:[2:$1-$2](.*-admin)s/-admin$/_adm/      gus/admin@EX.TEST becomes gus_adm
 *
 * Patterns are PCRE2's, which are Java's but for rarities. Rules never change, so any thread may use them.
 */
#ifndef BARNABAS_KERBEROS_RULES_H
#define BARNABAS_KERBEROS_RULES_H

#include "base/arena.h"
#include "base/fail.h"

struct kerberos_rules;

/* `text` is a list with commas. NULL: refused. */
struct kerberos_rules *kerberos_rules_parse(const char *text, const char *default_realm, struct fail *fail);
void kerberos_rules_free(struct kerberos_rules *rules);
/* False: no rule fits, or what comes of it is no name. */
bool kerberos_rules_apply(const struct kerberos_rules *rules, const char *principal, struct arena *a, struct str *out,
                          struct fail *fail) NODISCARD;

#endif
