/*
 * Questions to a cluster, one at a time, each waited for: what the administration tools are made of. Finds out
 * what versions a broker speaks, and who is who.
 */
#ifndef BARNABAS_TOOLS_KIT_ASK_H
#define BARNABAS_TOOLS_KIT_ASK_H

#include "base/arena.h"
#include "base/fail.h"
#include "protocol/msg/api.h"
#include "protocol/msg/api_versions.h"
#include "protocol/msg/metadata.h"

struct asker;

enum { ASK_ANY = -1, ASK_CONTROLLER = -2 }; /* instead of a broker's id */

/* `bootstrap` is host:port,... Nothing is connected yet; the first question waits for one of them, as long as
 * ask_patience_ms() says. `command_config` is a file of client properties, or NULL. */
struct asker *asker_new(const char *bootstrap, const char *command_config, struct fail *fail);
void asker_free(struct asker *a);

/*
 * Sends `request` in the newest version that both sides speak, at least `min_version`, and decodes the answer into
 * `response`, whose memory is the arena's. The version is given back, as some fields depend on it; NULL: not wanted.
 * The controller is looked for again, and asked again, as long as ask_patience_ms() says, while there is none, or it
 * cannot be reached or says that it is not; but not where it may have done already what it did not answer.
 */
bool ask(struct asker *a, int32_t broker, int16_t key, int16_t min_version, const void *request, void *response,
         int16_t *version, struct arena *arena, struct fail *fail) NODISCARD;

/* What came of the last question of ask() to a broker. */
enum ask_outcome {
    ASK_ANSWERED,
    ASK_REFUSED,    /* another try would come to the same */
    ASK_UNSENT,     /* the broker is not there, and has not got it */
    ASK_UNANSWERED, /* it may have been done */
};
enum ask_outcome ask_outcome(const struct asker *a);
/* Whether the last question of ask() failed as who was to be asked does not speak that API. */
bool ask_was_unsupported(const struct asker *a);

struct question { /* one of several that are asked together */
    int32_t broker;
    const void *request;
    void *response; /* decoded if `ok` */
    bool ok;
    struct fail fail;
};
/* Sends all of them, then waits for all answers: for requests that a broker holds back for a while. */
void ask_all(struct asker *a, int16_t key, struct question *questions, int32_t count, struct arena *arena);

/* Has answers take no longer, nor be tried for longer, than that. */
void ask_limit(struct asker *a, int64_t ms);
/* Has no answer be waited for after that moment, on the monotonic clock; INT64_MAX: no such end. */
void ask_until(struct asker *a, int64_t deadline_ms);
/* A tool's own times, where the command config says nothing else. */
void ask_by_default(struct asker *a, int32_t timeout_ms, int32_t patience_ms);
/* Has each be tried once. */
void ask_at_once(struct asker *a);
/* How long an answer may take; and how long it may take to get one, with all that goes wrong meanwhile. */
int32_t ask_timeout_ms(const struct asker *a);
int32_t ask_patience_ms(const struct asker *a);
/* Whether the broker speaks that API; false also when it cannot be reached. */
bool ask_speaks(struct asker *a, int32_t broker, int16_t key);
/* What the broker answers to ApiVersions, whole. */
bool ask_api_versions(struct asker *a, int32_t broker, struct api_versions_response *out, struct arena *arena,
                      struct fail *fail) NODISCARD;

/* Brokers, controller and the named topics, or all (`count` -1). */
bool ask_metadata(struct asker *a, const struct str *topics, int32_t count, struct metadata_response *out,
                  struct arena *arena, struct fail *fail) NODISCARD;

/* The broker's own words, or ours for its code. */
struct str ask_error_text(int16_t code, struct str message);
/* The name that Java clients have for the code, and that before the words: some of Kafka's tools print it. */
struct str ask_exception_name(struct arena *a, int16_t code);
struct str ask_exception_text(struct arena *a, int16_t code, struct str message);

#endif
