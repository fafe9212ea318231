#include "page/amounts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

static const struct amount unknown = {"–"};

/* Three digits of a number below a thousand. */
static int digits_of(double n)
{
    return n < 9.995 ? 2 : n < 99.95 ? 1 : 0;
}

static struct amount amount_scaled(double n, const char *unit)
{
    static const char *const scales[] = {"", "k", "M", "G", "T", "P", "E"};
    struct amount a;
    size_t scale = 0;
    if (!(n >= 0)) /* nor a number */
        return unknown;
    while (n >= 999.5 && scale + 1 < ARRAY_LEN(scales)) {
        n /= 1000;
        scale++;
    }
    bool blank = *unit != '\0' || scale > 0;
    snprintf(a.p, sizeof(a.p), "%.*f%s%s%s", scale == 0 && n == floor(n) ? 0 : digits_of(n), n, blank ? " " : "",
             scales[scale], unit);
    return a;
}

struct amount amount_bytes(double bytes)
{
    return amount_scaled(bytes, "B");
}

struct amount amount_rate(double bytes)
{
    return amount_scaled(bytes, "B/s");
}

struct amount amount_number(double n)
{
    return amount_scaled(n, "");
}

struct amount amount_count(int64_t n)
{
    char digits[24];
    struct amount a;
    size_t at = 0;
    if (n < 0)
        return unknown;
    int len = snprintf(digits, sizeof(digits), "%" PRId64, n);
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            a.p[at++] = ',';
        a.p[at++] = digits[i];
    }
    a.p[at] = '\0';
    return a;
}

struct amount amount_ms(double ms)
{
    struct amount a;
    if (!(ms >= 0))
        return unknown;
    bool seconds = ms >= 999.5;
    double n = seconds ? ms / 1000 : ms;
    snprintf(a.p, sizeof(a.p), "%.*f %s", digits_of(n), n, seconds ? "s" : "ms");
    return a;
}

struct amount amount_share(double share)
{
    struct amount a;
    if (!(share >= 0))
        return unknown;
    snprintf(a.p, sizeof(a.p), "%.0f %%", fmin(share, 1) * 100);
    return a;
}

struct amount amount_time(int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{INT64_C(86400000), "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
    struct amount a = {"0 s"};
    if (ms < 0)
        return unknown;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (ms >= 2 * units[i].ms || (ms >= units[i].ms && i + 1 == ARRAY_LEN(units))) {
            snprintf(a.p, sizeof(a.p), "%" PRId64 " %s", ms / units[i].ms, units[i].unit);
            return a;
        }
    return a;
}

struct amount amount_ago(int64_t now_ms, int64_t then_ms)
{
    struct amount a = {"just now"};
    if (now_ms - then_ms >= 2000)
        snprintf(a.p, sizeof(a.p), "%.20s ago", amount_time(now_ms - then_ms).p);
    return a;
}

struct amount amount_date(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct amount a;
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL || strftime(a.p, sizeof(a.p), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        return unknown;
    return a;
}
