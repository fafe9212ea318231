/* log4j's files: how lines look, when files are rolled, and what is understood of log4j.properties. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "logging/appender.h"
#include "logging/date_format.h"
#include "logging/log4j.h"
#include "logging/log_queue.h"

static char folder[64];

static char *path_of(const char *name)
{
    static char path[256][160]; /* more than are asked for */
    static int i;
    i = (i + 1) % 256;
    snprintf(path[i], sizeof(path[i]), "%s/%s", folder, name);
    return path[i];
}

static char *text_of(const char *name)
{
    static char text[4096];
    FILE *f = fopen(path_of(name), "re");
    if (f == NULL)
        return NULL;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static void make_text(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int enter_folder(void **state)
{
    (void)state;
    temp_dir_make(folder);
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    return 0;
}

static int leave_folder(void **state)
{
    (void)state;
    temp_dir_remove(folder);
    return 0;
}

/* In Berlin. */
static int64_t at(int year, int month, int day, int hour, int minute, int second)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second,
                    .tm_isdst = -1};
    return mktime(&tm) * INT64_C(1000);
}

static struct log_line line_at(int64_t ms, const char *text)
{
    return (struct log_line){.level = LEVEL_INFO,
                             .ms = ms,
                             .logger = "kafka.log.LogManager",
                             .file = "/x/src/storage/manager.c",
                             .line = 42,
                             .thread = "worker",
                             .text = str_of(text)};
}

static void put(struct appender *a, int64_t ms, const char *text)
{
    struct log_line line = line_at(ms, text);
    assert_true(appender_put(a, &line));
    appender_flush(a);
}

static struct appender *opened(const struct appender_options *o, int64_t ms)
{
    struct fail fail = {{0}};
    struct appender *a = appender_new(o);
    assert_true(appender_open(a, ms, &fail));
    return a;
}

/* ---- Looks ---- */

static void dates_are_javas(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
    } cases[] = {
        {"ISO8601", "2026-03-05 07:08:09,017"},
        {"ABSOLUTE", "07:08:09,017"},
        {"DATE", "05 Mar 2026 07:08:09,017"},
        {"'.'yyyy-MM-dd-HH", ".2026-03-05-07"},
        {"yy M d H m s S", "26 3 5 7 8 9 17"},
        {"EEE EEEE MMMM D", "Thu Thursday March 64"},
        {"hh:mm a", "07:08 AM"},
        {"k K", "7 7"},
        {"''yyyy'o''clock'", "'2026o'clock"},
        {"Z X XX XXX", "+0100 +01 +0100 +01:00"},
        {"'.'yyyy-ww", ".2026-10"},
        {"'unended", "unended"},
        {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct strbuf out = {0};
        strbuf_puts(&out, "");
        date_format_put(date_format_named(cases[i].pattern), at(2026, 3, 5, 7, 8, 9) + 17, false, &out);
        assert_string_equal(out.p, cases[i].text);
        strbuf_deinit(&out);
    }
    assert_int_equal(date_format_trouble("yyyy'Q'"), '\0');
    assert_int_equal(date_format_trouble("yyyyQ"), 'Q');
}

static void lines_look_as_their_pattern_says(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text, *why;
    } cases[] = {
        {LAYOUT_DEFAULT, "[2026-03-05 07:08:09,017] INFO all is well (kafka.log.LogManager)\n", ""},
        {LAYOUT_SIMPLE, "INFO - all is well\n", ""},
        {"%-6p|%6p|%.2p|%-3.3p|%5.1p|", "INFO  |  INFO|FO|NFO|O|", ""},
        {"%c{1} %c{2} %c{9} %C", "LogManager log.LogManager kafka.log.LogManager kafka.log.LogManager", ""},
        {"%t %L %F %M %l%%%x%X{key}", "worker 42 manager.c ? kafka.log.LogManager.?(manager.c:42)%", ""},
        {"%d{HH:mm}{UTC}", "06:08", ""},
        {"%d{HH:mm}{Asia/Tokyo}", "07:08", "the time zone Asia/Tokyo is not understood: dates are of local time"},
        {"%d{QQ} %m", " all is well", "the letter Q of the date pattern QQ is not understood"},
        {"%q %m", "%q all is well", "%q is not understood"},
        {"%m %-3", "all is well %-3", "%-3 is not understood"},
        {"%m %", "all is well %", "% is not understood"},
        {"", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fail why;
        struct strbuf out = {0};
        struct layout *l = layout_new(cases[i].pattern, &why);
        struct log_line line = line_at(at(2026, 3, 5, 7, 8, 9) + 17, "all is well");
        strbuf_puts(&out, "");
        layout_put(l, &line, &out);
        assert_int_equal(out.len, strlen(cases[i].text));
        assert_memory_equal(out.p, cases[i].text, out.len);
        assert_string_equal(why.text, cases[i].why);
        strbuf_deinit(&out);
        layout_free(l);
    }
}

/* ---- Rolling ---- */

static struct appender_options daily_options(const char *name, const char *pattern)
{
    return (struct appender_options){
        .kind = APPENDER_DAILY, .file = path_of(name), .date_pattern = pattern, .pattern = "%m\n"};
}

static void a_file_is_rolled_when_its_day_is_over(void **state)
{
    (void)state;
    struct appender_options o = daily_options("new/folder/day.log", "'.'yyyy-MM-dd");
    struct appender *a = opened(&o, at(2026, 11, 27, 23, 59, 58));
    put(a, at(2026, 11, 27, 23, 59, 59) + 999, "one");
    put(a, at(2026, 11, 28, 0, 0, 0), "two");
    put(a, at(2026, 11, 27, 23, 59, 59) + 999, "late, from another thread");
    put(a, at(2026, 11, 28, 23, 59, 59), "three");
    assert_string_equal(text_of("new/folder/day.log.2026-11-27"), "one\n");
    assert_string_equal(text_of("new/folder/day.log"), "two\nlate, from another thread\nthree\n");
    put(a, at(2026, 12, 3, 7, 0, 0), "four");
    assert_string_equal(text_of("new/folder/day.log.2026-11-28"), "two\nlate, from another thread\nthree\n");
    assert_string_equal(text_of("new/folder/day.log"), "four\n");
    appender_free(a);
}

static void hours_that_clocks_have_twice_or_not_at_all(void **state)
{
    (void)state;
    struct appender_options o = daily_options("hour.log", "'.'yyyy-MM-dd-HH");
    int64_t first_two = at(2026, 10, 25, 1, 0, 0) + 3600000, hour = 3600000; /* two o'clock comes twice that night */
    struct appender *a = opened(&o, first_two - 1);
    put(a, first_two - 1, "one");
    put(a, first_two, "two");
    put(a, first_two + hour, "two again");
    put(a, first_two + 2 * hour, "three");
    assert_string_equal(text_of("hour.log.2026-10-25-01"), "one\n");
    assert_string_equal(text_of("hour.log.2026-10-25-02"), "two\ntwo again\n");
    assert_string_equal(text_of("hour.log"), "three\n");
    put(a, at(2026, 10, 26, 5, 0, 0), "next day");
    put(a, at(2027, 3, 28, 1, 59, 59), "before the hour that is left out");
    put(a, at(2027, 3, 28, 1, 59, 59) + 1000, "after it");
    assert_string_equal(text_of("hour.log.2027-03-28-01"), "before the hour that is left out\n");
    put(a, at(2027, 3, 28, 4, 0, 0), "later");
    assert_string_equal(text_of("hour.log.2027-03-28-03"), "after it\n");
    appender_free(a);
}

/* By what the file says when it was written last. */
static void an_old_file_is_rolled_by_who_finds_it(void **state)
{
    (void)state;
    struct appender_options o = daily_options("old.log", "'.'yyyy-MM-dd-HH");
    make_text("old.log", "old\n");
    make_text("old.log.2026-05-01-09", "older\n");
    struct timespec then[2] = {{.tv_sec = at(2026, 5, 1, 9, 30, 0) / 1000},
                               {.tv_sec = at(2026, 5, 1, 9, 30, 0) / 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path_of("old.log"), then, 0), 0);
    struct appender *a = opened(&o, at(2026, 5, 1, 10, 0, 0));
    put(a, at(2026, 5, 1, 10, 0, 0), "new");
    assert_string_equal(text_of("old.log"), "new\n");
    assert_string_equal(text_of("old.log.2026-05-01-09"), "older\n");
    assert_string_equal(text_of("old.log.2026-05-01-09.1"), "old\n");
    appender_free(a);
}

static void files_are_rolled_by_size(void **state)
{
    (void)state;
    struct appender_options o = {
        .kind = APPENDER_SIZED, .file = path_of("size.log"), .pattern = "%m\n", .max_size = 10, .max_backups = 2};
    struct appender *a = opened(&o, 0);
    put(a, 0, "1234");
    put(a, 0, "5678");
    assert_string_equal(text_of("size.log.1"), "1234\n5678\n");
    assert_string_equal(text_of("size.log"), "");
    put(a, 0, "a longer line");
    put(a, 0, "x");
    assert_string_equal(text_of("size.log.2"), "1234\n5678\n");
    assert_string_equal(text_of("size.log.1"), "a longer line\n");
    put(a, 0, "and one more");
    assert_string_equal(text_of("size.log.2"), "a longer line\n");
    assert_string_equal(text_of("size.log.1"), "x\nand one more\n");
    assert_null(text_of("size.log.3"));
    appender_free(a);
    o.max_backups = 0;
    a = opened(&o, 0);
    put(a, 0, "0123456789");
    assert_string_equal(text_of("size.log"), "");
    assert_string_equal(text_of("size.log.1"), "x\nand one more\n");
    appender_free(a);
}

static void a_file_that_was_moved_is_opened_again(void **state)
{
    (void)state;
    struct fail fail;
    struct appender_options o = {.kind = APPENDER_FILE, .file = path_of("file.log"), .pattern = "%m\n"};
    struct appender *a = opened(&o, 0);
    put(a, 0, "one");
    assert_int_equal(rename(path_of("file.log"), path_of("file.old")), 0);
    put(a, 0, "two");
    assert_true(appender_open(a, 0, &fail));
    put(a, 0, "three");
    appender_free(a);
    assert_string_equal(text_of("file.old"), "one\ntwo\n");
    assert_string_equal(text_of("file.log"), "three\n");
    o.truncate = true;
    a = opened(&o, 0);
    put(a, 0, "four");
    assert_true(appender_open(a, 0, &fail));
    assert_string_equal(text_of("file.log"), "four\n");
    appender_free(a);
}

static void what_cannot_be_written_is_told_of_once_and_counted(void **state)
{
    (void)state;
    struct fail fail;
    struct appender_options o = {.kind = APPENDER_FILE, .file = "/dev/full", .pattern = "%p %m\n"};
    struct log_line line = line_at(0, "lost");
    struct appender *a = opened(&o, 0);
    put(a, 0, "lost");
    assert_true(appender_trouble(a, &fail));
    assert_string_equal(fail.text, "/dev/full cannot be written: No space left on device");
    put(a, 0, "lost");
    assert_false(appender_trouble(a, &fail));
    appender_free(a);
    o.file = path_of("no.log/inside");
    make_text("no.log", "");
    a = appender_new(&o);
    assert_false(appender_open(a, 0, &fail));
    assert_non_null(strstr(fail.text, "no.log/inside cannot be opened: Not a directory"));
    assert_false(appender_put(a, &line));
    appender_free(a);
}

static void lines_below_the_threshold_are_not_wanted(void **state)
{
    (void)state;
    struct appender_options o = {
        .kind = APPENDER_FILE, .file = path_of("t.log"), .pattern = "%m\n", .threshold = LEVEL_WARN};
    struct log_line line = line_at(0, "text");
    struct appender *a = opened(&o, 0);
    assert_false(appender_put(a, &line));
    line.level = LEVEL_WARN;
    assert_true(appender_put(a, &line));
    appender_free(a);
    assert_string_equal(text_of("t.log"), "text\n");
}

/* ---- The queue ---- */

static void lines_wait_in_their_order_and_the_less_important_are_dropped_first(void **state)
{
    (void)state;
    struct log_queue *q = log_queue_new(4096);
    struct log_batch b = {0};
    struct log_line line = line_at(1, "text"), out;
    int put_lines = 0, seen = 0;
    while (log_queue_put(q, &line))
        put_lines++;
    assert_true(put_lines > 3);
    line.level = LEVEL_WARN;
    line.text = STR_LIT("important");
    assert_true(log_queue_put(q, &line));
    assert_false(log_queue_is_done(q));
    log_queue_take(q, &b);
    assert_int_equal(b.dropped, 1);
    for (size_t i = 0; log_batch_next(&b, &i, &out); seen++)
        assert_true(seen < put_lines ? str_is(out.text, "text") : str_is(out.text, "important"));
    assert_int_equal(seen, put_lines + 1);
    assert_string_equal(out.thread, "worker");
    log_queue_stir(q);
    log_queue_take(q, &b);
    assert_int_equal(b.lines.len, 0);
    assert_true(log_queue_is_done(q));
    strbuf_deinit(&b.lines);
    log_queue_free(q);
}

/* ---- log4j.properties ---- */

static struct strbuf complaints;

static void complain_here(void *ctx, int line, const char *key, const char *why)
{
    (void)ctx;
    strbuf_printf(&complaints, "%d: %s: %s\n", line, key, why);
}

static const char *property_here(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "kafka.logs.dir") == 0 ? "/logs" : NULL;
}

static void understand(const char *text, struct arena *a, struct log4j_setup *out)
{
    struct properties p;
    struct fail fail;
    strbuf_clear(&complaints);
    strbuf_puts(&complaints, "");
    assert_true(properties_parse(str_of(text), "log4j.properties", a, &p, &fail));
    log4j_understand(&p, &(struct log4j_context){property_here, complain_here, NULL}, a, out);
}

static const struct logger_setting *setting_of(const struct log4j_setup *s, const char *name)
{
    for (int i = 0; i < s->logger_count; i++)
        if (strcmp(s->loggers[i].name, name) == 0)
            return &s->loggers[i];
    fail_msg("there is no logger %s", name);
    return NULL;
}

static void appenders_and_loggers_are_read(void **state)
{
    (void)state;
    struct arena a = {0};
    struct log4j_setup s;
    understand("log4j.rootLogger=INFO, out, F\n"
               "log4j.appender.out=org.apache.log4j.ConsoleAppender\n"
               "log4j.appender.out.Target=System.err\n"
               "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
               "log4j.appender.F=org.apache.log4j.DailyRollingFileAppender\n"
               "log4j.appender.F.file=${kafka.logs.dir}/${name}.log\n"
               "log4j.appender.F.DatePattern='.'yyyy-MM-dd-HH\n"
               "log4j.appender.F.layout.conversionPattern=%m%n\n"
               "log4j.appender.R=org.apache.log4j.RollingFileAppender\n"
               "log4j.appender.R.File=/r\n"
               "log4j.appender.R.MaxFileSize=100KB\n"
               "log4j.appender.R.MaxBackupIndex=7\n"
               "log4j.appender.R.Threshold=warn\n"
               "name=server\n"
               "log4j.logger.kafka.request.logger=WARN, R\n"
               "log4j.additivity.kafka.request.logger=false\n"
               "log4j.category.org.apache.zookeeper=off\n"
               "log4j.logger.kafka=debug#com.example.Level\n"
               "log4j.logger.kafka.log=, R\n"
               "log4j.logger.kafka.log=inherited, F\n",
               &a, &s);
    assert_string_equal(complaints.p, "");
    assert_int_equal(s.appender_count, 3);
    assert_int_equal(s.appenders[0].options.console, STDERR_FILENO);
    assert_string_equal(s.appenders[0].options.pattern, LAYOUT_DEFAULT);
    assert_string_equal(s.appenders[1].options.file, "/logs/server.log");
    assert_string_equal(s.appenders[1].options.date_pattern, "'.'yyyy-MM-dd-HH");
    assert_string_equal(s.appenders[1].options.pattern, "%m%n");
    assert_int_equal(s.appenders[2].options.max_size, 102400);
    assert_int_equal(s.appenders[2].options.max_backups, 7);
    assert_int_equal(s.appenders[2].options.threshold, LEVEL_WARN);
    assert_int_equal(setting_of(&s, "root")->outlets, 3);
    assert_int_equal(setting_of(&s, "root")->level, LEVEL_INFO);
    assert_int_equal(setting_of(&s, "kafka.request.logger")->outlets, 4);
    assert_true(setting_of(&s, "kafka.request.logger")->detached);
    assert_int_equal(setting_of(&s, "org.apache.zookeeper")->level, LEVEL_OFF);
    assert_int_equal(setting_of(&s, "kafka")->level, LEVEL_DEBUG);
    assert_int_equal(setting_of(&s, "kafka.log")->level, -1);
    assert_int_equal(setting_of(&s, "kafka.log")->outlets, 2);
    arena_deinit(&a);
}

static void what_is_not_understood_is_told_of_by_line_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *text, *complaint;
    } cases[] = {
        {"log4j.rootLogger=LOUD", "1: log4j.rootLogger: LOUD is no level\n"},
        {"log4j.rootLogger=INFO, A", "1: log4j.rootLogger: there is no appender A\n"},
        {"\nlog4j.appender.A=org.apache.log4j.net.SyslogAppender\nlog4j.rootLogger=INFO, A",
         "2: log4j.appender.A: there is no org.apache.log4j.net.SyslogAppender in this broker: what goes to it alone is "
         "not written\n"},
        {"log4j.appender.A=org.apache.log4j.FileAppender\nlog4j.rootLogger=INFO, A",
         "1: log4j.appender.A: it has no File: nothing is written\n"},
        {"log4j.appender.A=org.apache.log4j.ConsoleAppender\nlog4j.appender.A.filter.1=x\nlog4j.rootLogger=INFO, A",
         "2: log4j.appender.A.filter.1: this broker knows no such setting of an appender\n"},
        {"log4j.appender.A=org.apache.log4j.ConsoleAppender\nlog4j.appender.A.layout=org.example.Json\n"
         "log4j.rootLogger=INFO, A",
         "2: log4j.appender.A.layout: the layout org.example.Json is not there: lines look like [%d] %p %m (%c)%n\n"},
        {"log4j.appender.A=org.apache.log4j.ConsoleAppender\nlog4j.appender.A.MaxFileSize=much\nlog4j.rootLogger=,A",
         "2: log4j.appender.A.MaxFileSize: much is no size, such as 10MB\n"},
        {"log4j.appender.A=org.apache.log4j.ConsoleAppender\nlog4j.appender.A.layout.ConversionPattern=%q\n"
         "log4j.rootLogger=,A",
         "2: log4j.appender.A.layout.ConversionPattern: %q is not understood\n"},
        {"log4j.renderer.x=y", "1: log4j.renderer.x: this broker knows no such setting\n"},
        {"log4j.logger.=INFO", "1: log4j.logger.: no logger has such a name\n"},
        {"log4j.appender.A=org.apache.log4j.varia.NullAppender\nlog4j.rootLogger=INFO, A", ""},
        {"other=key", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a = {0};
        struct log4j_setup s;
        understand(cases[i].text, &a, &s);
        assert_string_equal(complaints.p, cases[i].complaint);
        arena_deinit(&a);
    }
}

static void a_name_that_stands_for_itself_ends(void **state)
{
    (void)state;
    struct arena a = {0};
    struct log4j_setup s;
    understand("a=${b}${b}${b}\nb=${a}${a}${a}\nlog4j.logger.kafka=${a}", &a, &s);
    arena_deinit(&a);
}

static int leave_all(void **state)
{
    strbuf_deinit(&complaints);
    return leave_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_javas),
        cmocka_unit_test(lines_look_as_their_pattern_says),
        cmocka_unit_test(a_file_is_rolled_when_its_day_is_over),
        cmocka_unit_test(hours_that_clocks_have_twice_or_not_at_all),
        cmocka_unit_test(an_old_file_is_rolled_by_who_finds_it),
        cmocka_unit_test(files_are_rolled_by_size),
        cmocka_unit_test(a_file_that_was_moved_is_opened_again),
        cmocka_unit_test(what_cannot_be_written_is_told_of_once_and_counted),
        cmocka_unit_test(lines_below_the_threshold_are_not_wanted),
        cmocka_unit_test(lines_wait_in_their_order_and_the_less_important_are_dropped_first),
        cmocka_unit_test(appenders_and_loggers_are_read),
        cmocka_unit_test(what_is_not_understood_is_told_of_by_line_and_key),
        cmocka_unit_test(a_name_that_stands_for_itself_ends),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_all);
}
