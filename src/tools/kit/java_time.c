#include "tools/kit/java_time.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum {
    MS_PER_SECOND = 1000,
    MS_PER_MINUTE = 60 * MS_PER_SECOND,
    MS_PER_HOUR = 60 * MS_PER_MINUTE,
    MS_PER_DAY = 24 * MS_PER_HOUR,
};

/* ---- Points in time ---- */

/* Digits, as many as there are, that make a number of at most `max`. */
static bool take_number(const char **at, int min, int max, int *out)
{
    int64_t value = 0;
    const char *p = *at;
    while (isdigit((unsigned char)*p) && value <= max)
        value = value * 10 + (*p++ - '0');
    if (p == *at || value < min || value > max)
        return false;
    *at = p;
    *out = (int)value;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

static bool take_two_digits(const char **at, int max, int *out)
{
    const char *p = *at;
    if (!isdigit((unsigned char)p[0]) || !isdigit((unsigned char)p[1]))
        return false;
    *out = (p[0] - '0') * 10 + (p[1] - '0');
    *at += 2;
    return *out <= max;
}

/* What follows the zone is not looked at. */
static bool take_zone(const char *at, int64_t *ms)
{
    int hours, minutes = 0, sign = *at == '-' ? -1 : 1;
    *ms = 0;
    if (*at == 'Z')
        return true;
    if (!take_char(&at, '+') && !take_char(&at, '-'))
        return false;
    if (!take_two_digits(&at, 23, &hours))
        return false;
    if (take_char(&at, ':') && !take_two_digits(&at, 59, &minutes))
        minutes = 0;
    *ms = sign * ((int64_t)hours * MS_PER_HOUR + (int64_t)minutes * MS_PER_MINUTE);
    return true;
}

static int days_of(int month, int year)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool parse_datetime(const char *at, int64_t *ms)
{
    enum { LAST_YEAR = 999999 };
    struct tm t = {0};
    int month, millis;
    int64_t zone;
    if (!take_number(&at, 0, LAST_YEAR, &t.tm_year) || !take_char(&at, '-') || !take_number(&at, 1, 12, &month) ||
        !take_char(&at, '-') || !take_number(&at, 1, days_of(month, t.tm_year), &t.tm_mday) || !take_char(&at, 'T') ||
        !take_number(&at, 0, 23, &t.tm_hour) || !take_char(&at, ':') || !take_number(&at, 0, 59, &t.tm_min) ||
        !take_char(&at, ':') || !take_number(&at, 0, 59, &t.tm_sec) || !take_char(&at, '.') ||
        !take_number(&at, 0, 999, &millis) || !take_zone(at, &zone))
        return false;
    t.tm_year -= 1900;
    t.tm_mon = month - 1;
    *ms = (int64_t)timegm(&t) * MS_PER_SECOND + millis - zone;
    return true;
}

bool java_datetime(const char *text, int64_t *ms, struct fail *fail)
{
    const char *time = strchr(text, 'T');
    if (time == NULL || time[1] == '\0')
        return fail_set(fail, "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according "
                              "to ISO8601 format");
    char *zoned = xasprintf("%s%s", text, strpbrk(time, "+-Z") != NULL ? "" : "Z");
    bool ok = parse_datetime(zoned, ms);
    if (!ok)
        fail_set(fail, "java.text.ParseException: Unparseable date: \"%s\"", zoned);
    free(zoned);
    return ok;
}

/* ---- Durations ---- */

/* Up to nine digits of a second's fraction; what is below a millisecond is dropped. */
static int64_t take_fraction(const char **at)
{
    int64_t ms = 0;
    int64_t unit = MS_PER_SECOND / 10;
    for (; isdigit((unsigned char)**at); ++*at, unit /= 10)
        ms += (**at - '0') * unit;
    return ms;
}

/* A number with its unit behind it: nothing is taken, and zero added, if there is none. */
static bool take_part(const char **at, char unit, int64_t size, int64_t *sum)
{
    const char *p = *at;
    int64_t value = 0, fraction = 0, part;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    const char *digits = p;
    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *p - '0', &value))
            return false;
    if (p == digits)
        return true;
    if (unit == 'S' && (*p == '.' || *p == ',')) {
        p++;
        fraction = take_fraction(&p);
    }
    if (toupper((unsigned char)*p) != unit)
        return true;
    *at = p + 1;
    if (__builtin_mul_overflow(value, size, &part) || __builtin_add_overflow(part, fraction, &part))
        return false;
    return !__builtin_add_overflow(*sum, negative ? -part : part, sum);
}

static bool parse_duration(const char *at, int64_t *ms)
{
    bool negative = *at == '-';
    int64_t sum = 0;
    if (*at == '-' || *at == '+')
        at++;
    if (toupper((unsigned char)*at++) != 'P')
        return false;
    const char *parts = at;
    if (!take_part(&at, 'D', MS_PER_DAY, &sum))
        return false;
    if (toupper((unsigned char)*at) == 'T') {
        const char *times = ++at;
        if (!take_part(&at, 'H', MS_PER_HOUR, &sum) || !take_part(&at, 'M', MS_PER_MINUTE, &sum) ||
            !take_part(&at, 'S', MS_PER_SECOND, &sum) || at == times)
            return false;
    }
    *ms = negative ? -sum : sum;
    return *at == '\0' && at != parts;
}

bool java_duration(const char *text, int64_t *ms, struct fail *fail)
{
    return parse_duration(text, ms) || fail_set(fail, "Text cannot be parsed to a Duration");
}

/* ---- Formats ---- */

static const char date_letters[] = "yMdDHkKhmsSEazZ";

static size_t quoted_length(const char *format)
{
    const char *end = strchr(format + 1, '\'');
    return end != NULL ? (size_t)(end - format) + 1 : strlen(format);
}

bool java_date_format_check(const char *format, struct fail *fail)
{
    for (const char *c = format; *c != '\0'; c++) {
        if (*c == '\'' && strchr(c + 1, '\'') == NULL)
            return fail_set(fail, "Unterminated quote");
        if (*c == '\'')
            c += quoted_length(c) - 1;
        else if (isalpha((unsigned char)*c) && strchr(date_letters, *c) == NULL)
            return fail_set(fail, "Illegal pattern character '%c'", *c);
    }
    return true;
}
