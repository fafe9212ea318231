/*
 * Who somebody is, as authentication has found out: a type, which is "User" unless an authorizer of somebody's own has
 * others, and a name. And how a name comes of a certificate: ssl.principal.mapping.rules (KIP-371).
 *
 *     DEFAULT, RULE:pattern/replacement/, RULE:pattern/replacement/L, RULE:pattern/replacement/U
 *
 * The first rule counts whose pattern is the whole of the certificate's subject. Then what Java's replaceAll() makes of
 * it is the name, in lower or upper case if the rule says so. Patterns are PCRE2's, which are Java's but for rarities,
 * and work on characters. Rules never change, so any thread may use them.
 */
#ifndef BARNABAS_PRINCIPAL_H
#define BARNABAS_PRINCIPAL_H

#include "base/arena.h"
#include "base/fail.h"

struct principal {
    struct str type, name;
    bool by_token; /* it has logged in with a delegation token */
};

/* User:ANONYMOUS, of who has not said who it is. */
extern const struct principal principal_anonymous;

bool principal_eq(struct principal a, struct principal b); /* how it has logged in does not matter */
/* "User:alice" and the like; what is before the first colon is the type. False: there is no colon. */
bool principal_parse(struct str text, struct principal *out) NODISCARD;
/* The same way back, in the arena, whatever bytes the name has; a zero byte follows. */
struct str principal_text(struct principal principal, struct arena *a);

struct principal_rules;

/* NULL: refused, as with a part that is no rule, or a pattern that is none. */
struct principal_rules *principal_rules_parse(const char *text, struct fail *fail);
void principal_rules_free(struct principal_rules *rules); /* NULL is fine */
/*
 * The name for a subject as subject_text() writes it, in the arena. False: no rule fits, a replacement cannot be made,
 * or matching takes more steps than a subject that was not made for that; such a client is not served.
 */
bool principal_rules_apply(const struct principal_rules *rules, const char *subject, struct arena *a, struct str *out,
                           struct fail *fail) NODISCARD;

#endif
