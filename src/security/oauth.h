/*
 * Tokens of OAUTHBEARER (KIP-255, KIP-768): whom a token names, as Kafka's two validators see it, and where this broker
 * gets its own to show to others.
 *
 * By default tokens are unsecured: whoever can reach the listener is whom it likes, which is for trying things out.
 * With OAuthBearerValidatorCallbackHandler a token is signed by a key of sasl.oauthbearer.jwks.endpoint.url.
 */
#ifndef BARNABAS_OAUTH_H
#define BARNABAS_OAUTH_H

#include "security/jaas.h"
#include "security/login_settings.h"

struct oauth_token {
    struct str principal; /* in the arena */
    int64_t expires_ms;   /* since 1970 */
};

enum oauth_verdict { OAUTH_ACCEPTED, OAUTH_REFUSED, OAUTH_SCOPE_MISSING };

struct oauth_validator;
/*
 * As the settings have it; the module is that of the JAAS configuration. Keys that are in a file
 * have to be there; those behind https are asked for now, and again when they are needed.
 */
struct oauth_validator *oauth_validator_new(const struct login_settings *settings, const struct jaas_module *module,
                                            struct fail *fail);
void oauth_validator_free(struct oauth_validator *v);
/*
 * Perhaps after keys were fetched anew: for a worker, any thread. `fail` says why not, for the log; the scope that is
 * missing is oauth_required_scope().
 */
enum oauth_verdict oauth_validate(struct oauth_validator *v, struct str token, struct arena *a, struct oauth_token *out,
                                  struct fail *fail);
const char *oauth_required_scope(const struct oauth_validator *v); /* as Java writes a list: [a, b] */

struct oauth_source;
/* Where tokens come from that this broker logs in by: the module's options, or sasl.oauthbearer.token.endpoint.url. */
struct oauth_source *oauth_source_new(const struct login_settings *settings, const struct jaas_module *module,
                                      struct fail *fail);
void oauth_source_free(struct oauth_source *s);
/* A token that is good now, perhaps after it was asked for, and until when: for a worker, any thread. */
bool oauth_source_token(struct oauth_source *s, struct arena *a, struct str *out, int64_t *expires_ms,
                        struct fail *fail) NODISCARD;
/* What is said beside it: KEY=VALUE\x01 of each extension of the module. */
struct str oauth_source_extensions(const struct oauth_source *s);

#endif
