/* What kafka-verifiable-producer and kafka-verifiable-consumer print: events, one JSON object a line. */
#ifndef BARNABAS_TOOLS_CLIENTS_VERIFIABLE_H
#define BARNABAS_TOOLS_CLIENTS_VERIFIABLE_H

#include <jansson.h>

#include "tools/kit/rd_client.h"

/* With the time and its name, to be filled; event_print() prints and frees it. */
json_t *verifiable_event_new(const char *name);
void event_print(json_t *event);
void event_print_plain(const char *name); /* one that has nothing else */

/* Text of a record; what is no UTF-8 becomes U+FFFD, as with Java's deserializer. NULL is null. */
json_t *event_text(const void *text, size_t len);

/* Exactly one of --bootstrap-server and --broker-list; NULL after a complaint. */
const char *verifiable_bootstrap(const struct options *o);
/* Complains and returns false unless the option is there. */
bool verifiable_need(const struct options *o, const char *name) NODISCARD;
/* Parses; with no arguments at all the help is printed, and that is no error. Returns as options_parse() does. */
int verifiable_parse(struct options *o, const struct option_spec *specs, int spec_count, int argc, char **argv,
                     const char *purpose);

#endif
