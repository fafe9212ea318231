/* Amounts as people read them, with their units: three digits, or all of a number that is counted. */
#ifndef BARNABAS_AMOUNTS_H
#define BARNABAS_AMOUNTS_H

#include "base/base.h"

struct amount {
    char p[32];
};

/* What is below 0 is not known: "–". */
struct amount amount_bytes(double bytes);                  /* "1.23 GB", by thousands */
struct amount amount_rate(double bytes);                   /* "1.23 GB/s" */
struct amount amount_number(double n);                     /* "1.23 M" */
struct amount amount_count(int64_t n);                     /* "1,234,567" */
struct amount amount_ms(double ms);                        /* "1.23 ms", "12.3 s" */
struct amount amount_share(double share);                  /* of 1: "97 %" */
struct amount amount_time(int64_t ms);                     /* how long: "3 min", "2 d" */
struct amount amount_ago(int64_t now_ms, int64_t then_ms); /* "3 min ago" */
struct amount amount_date(int64_t ms);                     /* since 1970: "2024-01-31 23:59:59 UTC" */

#endif
