/* Labels of samples, as Prometheus reads them: name="value", with commas between them. */
#ifndef BARNABAS_LABELS_H
#define BARNABAS_LABELS_H

#include "base/bytes.h"
#include "base/strbuf.h"

/* As it is within the quotes. */
void label_escape(struct strbuf *out, struct str text);
/* One more, behind those that are there. */
void label_add(struct strbuf *labels, const char *name, struct str value);
void label_add_number(struct strbuf *labels, const char *name, int64_t value);

#endif
