/* Times as Kafka's tools read and write them. */
#ifndef BARNABAS_TOOLS_KIT_JAVA_TIME_H
#define BARNABAS_TOOLS_KIT_JAVA_TIME_H

#include "base/fail.h"

/* YYYY-MM-DDTHH:mm:SS.sss with Z, +hh or +hh:mm behind it, or nothing, which is Z: milliseconds since the epoch. */
bool java_datetime(const char *text, int64_t *ms, struct fail *fail) NODISCARD;
/* PnDTnHnMn.nS, each part with a sign or left out: milliseconds. */
bool java_duration(const char *text, int64_t *ms, struct fail *fail) NODISCARD;

/*
 * Whether date_format_put() may be given a format of SimpleDateFormat's: of the letters y M d D H k K h m s S E a z Z,
 * and 'quoted' text. False: there is another letter, or a quote has no end.
 */
bool java_date_format_check(const char *format, struct fail *fail) NODISCARD;

#endif
