#include "logging/date_format.h"

#include <stdio.h>
#include <time.h>

static const char letters[] = "yMdDEFHkKhmsSawzZX";

const char *date_format_named(const char *pattern)
{
    if (strcmp(pattern, "ISO8601") == 0)
        return "yyyy-MM-dd HH:mm:ss,SSS";
    if (strcmp(pattern, "ABSOLUTE") == 0)
        return "HH:mm:ss,SSS";
    if (strcmp(pattern, "DATE") == 0)
        return "dd MMM yyyy HH:mm:ss,SSS";
    return pattern;
}

static bool is_date_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Puts what is between the apostrophe at `p` and the next one; returns what follows. */
static const char *put_quoted(const char *p, struct strbuf *out)
{
    p++;
    if (*p == '\'') {
        strbuf_add(out, p, 1);
        return p + 1;
    }
    while (*p != '\0') {
        if (*p == '\'' && p[1] != '\'')
            return p + 1;
        p += *p == '\'';
        strbuf_add(out, p, 1);
        p++;
    }
    return p;
}

static void put_date_name(struct strbuf *out, const struct tm *tm, const char *brief, const char *full,
                          int letters_count)
{
    char name[64];
    size_t n = strftime(name, sizeof(name), letters_count < 4 ? brief : full, tm);
    strbuf_add(out, name, n);
}

static void put_zone(struct strbuf *out, const struct tm *tm, char letter, int count)
{
    long minutes = tm->tm_gmtoff / 60, away = minutes < 0 ? -minutes : minutes;
    char sign = minutes < 0 ? '-' : '+';
    if (letter == 'z')
        strbuf_puts(out, tm->tm_zone);
    else if (letter == 'X' && minutes == 0)
        strbuf_puts(out, "Z");
    else if (letter == 'X' && count == 1)
        strbuf_printf(out, "%c%02ld", sign, away / 60);
    else
        strbuf_printf(out, letter == 'X' && count > 2 ? "%c%02ld:%02ld" : "%c%02ld%02ld", sign, away / 60, away % 60);
}

static int week_of_year(const struct tm *tm)
{
    int first = (tm->tm_wday - tm->tm_yday % 7 + 7) % 7; /* weekday of the first of January; weeks begin on Sundays */
    return (tm->tm_yday + first) / 7 + 1;
}

static int date_number_of(const struct tm *tm, int ms, char letter)
{
    switch (letter) {
    case 'd':
        return tm->tm_mday;
    case 'D':
        return tm->tm_yday + 1;
    case 'F':
        return (tm->tm_mday - 1) / 7 + 1;
    case 'H':
        return tm->tm_hour;
    case 'k':
        return tm->tm_hour == 0 ? 24 : tm->tm_hour;
    case 'K':
        return tm->tm_hour % 12;
    case 'h':
        return tm->tm_hour % 12 == 0 ? 12 : tm->tm_hour % 12;
    case 'm':
        return tm->tm_min;
    case 's':
        return tm->tm_sec;
    case 'w':
        return week_of_year(tm);
    default:
        return ms;
    }
}

static void put_date_field(struct strbuf *out, const struct tm *tm, int ms, char letter, int count)
{
    if (letter == 'y' && count == 2)
        strbuf_printf(out, "%02d", tm->tm_year % 100);
    else if (letter == 'y')
        strbuf_printf(out, "%0*d", count, tm->tm_year + 1900);
    else if (letter == 'M' && count >= 3)
        put_date_name(out, tm, "%b", "%B", count);
    else if (letter == 'M')
        strbuf_printf(out, "%0*d", count, tm->tm_mon + 1);
    else if (letter == 'E')
        put_date_name(out, tm, "%a", "%A", count);
    else if (letter == 'a')
        strbuf_puts(out, tm->tm_hour < 12 ? "AM" : "PM");
    else if (letter == 'z' || letter == 'Z' || letter == 'X')
        put_zone(out, tm, letter, count);
    else
        strbuf_printf(out, "%0*d", count, date_number_of(tm, ms, letter));
}

char date_format_trouble(const char *pattern)
{
    struct strbuf quoted = {0};
    char trouble = '\0';
    for (const char *p = pattern; *p != '\0' && trouble == '\0';) {
        if (*p == '\'') {
            p = put_quoted(p, &quoted);
            continue;
        }
        if (is_date_letter(*p) && strchr(letters, *p) == NULL)
            trouble = *p;
        p++;
    }
    strbuf_deinit(&quoted);
    return trouble;
}

void date_format_put(const char *pattern, int64_t ms, bool utc, struct strbuf *out)
{
    enum { MOST_DIGITS = 20 };
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    utc ? gmtime_r(&seconds, &tm) : localtime_r(&seconds, &tm);
    for (const char *p = pattern; *p != '\0';) {
        if (*p == '\'') {
            p = put_quoted(p, out);
        } else if (!is_date_letter(*p)) {
            strbuf_add(out, p++, 1);
        } else {
            int count = 1;
            while (p[count] == *p)
                count++;
            if (strchr(letters, *p) != NULL)
                put_date_field(out, &tm, (int)(ms % 1000), *p, MIN(count, MOST_DIGITS));
            p += count;
        }
    }
}
