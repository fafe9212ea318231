/*
 * Who logs puts the line into a queue (log_queue.h), with the outlets that its logger goes to as a bit each. The thread
 * here takes all lines at once, gives each to its appenders, and has them write. It owns the appenders, so that it can
 * change them between two batches; a name keeps its bit through changes, as lines on their way have it already.
 *
 * A line that no appender could take, as its file cannot be opened, goes to standard error.
 */
#include "logging/logging.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/java_options.h"
#include "logging/log4j.h"
#include "logging/log_queue.h"

enum { MOST_QUEUED = 8 << 20, FATAL_PATIENCE_MS = 1000, STOP_PATIENCE_S = 5, LARGEST_SETUP = 1 << 20 };

struct outlet {
    char *name; /* NULL: the bit is free */
    struct appender *appender;
};

static struct logging {
    char *path;         /* of log4j.properties; NULL: there is none */
    struct strbuf text; /* as it was read last */
    struct outlet outlets[LOGGER_OUTLETS];
    struct log_queue *queue;
    pthread_t thread;
    atomic_bool reopen, stop;
} logging;

static bool is_writer(void)
{
    return logging.queue != NULL && pthread_equal(pthread_self(), logging.thread);
}

/* ---- Putting ---- */

/* At most for so long: who waits may have what the thread needs. */
static void wait_until_written(void)
{
    for (int ms = 0; !is_writer() && ms < FATAL_PATIENCE_MS && !log_queue_is_done(logging.queue); ms++)
        usleep(1000);
}

static void queue_line(const struct log_line *line)
{
    if (line->outlets == 0)
        return;
    log_queue_put(logging.queue, line);
    if (line->level == LEVEL_FATAL) /* the process may be about to end */
        wait_until_written();
}

/* ---- Writing ---- */

static void give_line(const struct log_line *line)
{
    bool wanted = false, taken = false;
    for (int i = 0; i < LOGGER_OUTLETS; i++) {
        struct appender *a = line->outlets >> i & 1 ? logging.outlets[i].appender : NULL;
        if (a == NULL || !appender_wants(a, line->level))
            continue;
        wanted = true;
        taken |= appender_put(a, line);
    }
    if (wanted && !taken)
        logger_write_stderr(line);
}

static void logging_say(enum log_level level, const char *text)
{
    struct log_line line = {.level = level,
                            .ms = clock_wall_ms(),
                            .logger = log_here.name,
                            .file = __FILE__,
                            .line = __LINE__,
                            .outlets = atomic_load(&log_here.outlets),
                            .thread = "log",
                            .text = str_of(text)};
    give_line(&line);
}

static void write_batch(const struct log_batch *b)
{
    struct log_line line;
    char text[128];
    if (b->dropped > 0) {
        snprintf(text, sizeof(text), "%" PRId64 " lines were dropped, as they came faster than they could be written",
                 b->dropped);
        logging_say(LEVEL_WARN, text);
    }
    for (size_t at = 0; log_batch_next(b, &at, &line);)
        give_line(&line);
    for (int i = 0; i < LOGGER_OUTLETS; i++) {
        struct fail trouble;
        struct appender *a = logging.outlets[i].appender;
        if (a == NULL)
            continue;
        appender_flush(a);
        if (appender_trouble(a, &trouble)) {
            struct log_line said = {
                .level = LEVEL_ERROR, .ms = clock_wall_ms(), .logger = log_here.name, .text = str_of(trouble.text)};
            logger_write_stderr(&said);
        }
    }
}

/* ---- The setup ---- */

/* Complaints, to be logged when it is known where to. */
struct complaints {
    struct strbuf text; /* each with a zero at its end */
    struct arena *arena;
    const char *path;
};

static void add_complaint(struct complaints *c, const char *text)
{
    strbuf_add(&c->text, text, strlen(text) + 1);
}

static void logging_warn(void *ctx, int line, const char *key, const char *why)
{
    struct complaints *c = ctx;
    char *text = xasprintf("%s:%d: %s: %s", c->path, line, key, why);
    add_complaint(c, text);
    free(text);
}

static const char *default_logs_dir(const struct complaints *c)
{
    const char *dir = getenv("LOG_DIR"), *slash = strrchr(c->path, '/');
    if (dir != NULL && *dir != '\0')
        return dir;
    return slash != NULL ? arena_printf(c->arena, "%.*s/../logs", (int)(slash - c->path), c->path).p : "../logs";
}

static const char *logging_property(void *ctx, const char *name)
{
    struct complaints *c = ctx;
    const char *value = java_property(name, c->arena);
    if (value != NULL)
        return value;
    if (strcmp(name, "kafka.logs.dir") == 0)
        return default_logs_dir(c);
    if (strcmp(name, "user.home") == 0)
        return getenv("HOME");
    return NULL;
}

/* The outlet that had the name, else a free one. There are as many as a setup may have, and the last one's are freed.
 */
static struct outlet *outlet_for(const char *name)
{
    struct outlet *free_one = NULL;
    for (int i = 0; i < LOGGER_OUTLETS; i++) {
        struct outlet *o = &logging.outlets[i];
        if (o->name != NULL && strcmp(o->name, name) == 0)
            return o;
        if (o->name == NULL && free_one == NULL)
            free_one = o;
    }
    ensure(free_one != NULL);
    free_one->name = xstrdup(name);
    return free_one;
}

static bool setup_has(const struct log4j_setup *s, const char *name)
{
    for (int i = 0; i < s->appender_count; i++)
        if (s->appenders[i].options.kind != APPENDER_NONE && strcmp(s->appenders[i].name, name) == 0)
            return true;
    return false;
}

static void drop_outlets(const struct log4j_setup *next)
{
    for (int i = 0; i < LOGGER_OUTLETS; i++) {
        struct outlet *o = &logging.outlets[i];
        appender_free(o->appender);
        o->appender = NULL;
        if (o->name != NULL && (next == NULL || !setup_has(next, o->name))) {
            free(o->name);
            o->name = NULL;
        }
    }
}

static void open_outlet(struct outlet *o, struct complaints *c)
{
    struct fail fail;
    if (!appender_open(o->appender, clock_wall_ms(), &fail)) {
        fail_wrap(&fail, "The log goes to standard error in its place");
        add_complaint(c, fail.text);
    }
}

static void setup_apply(const struct log4j_setup *s, struct complaints *c)
{
    uint32_t bits[LOGGER_OUTLETS];
    drop_outlets(s);
    for (int i = 0; i < s->appender_count; i++) {
        bits[i] = 0;
        if (s->appenders[i].options.kind == APPENDER_NONE)
            continue;
        struct outlet *o = outlet_for(s->appenders[i].name);
        bits[i] = UINT32_C(1) << (o - logging.outlets);
        o->appender = appender_new(&s->appenders[i].options);
        open_outlet(o, c);
    }
    for (int i = 0; i < s->logger_count; i++) {
        uint32_t places = s->loggers[i].outlets;
        s->loggers[i].outlets = 0;
        for (int k = 0; k < s->appender_count; k++)
            s->loggers[i].outlets |= places >> k & 1 ? bits[k] : 0;
    }
    logger_configure(s->loggers, (size_t)s->logger_count);
}

/* All to standard error, as without a file. */
static void setup_apply_nothing(struct complaints *c)
{
    struct logger_setting root = {.name = LOGGER_ROOT, .level = LEVEL_INFO, .outlets = 1};
    struct log4j_setup s = {.loggers = &root, .logger_count = 1, .appender_count = 1};
    s.appenders[0] = (struct log4j_appender){
        .name = "stderr", .options = {.kind = APPENDER_CONSOLE, .pattern = LAYOUT_DEFAULT, .console = STDERR_FILENO}};
    setup_apply(&s, c);
}

static bool slurp_setup(const char *path, struct strbuf *out, struct fail *fail)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return fail_set(fail, "%s: %s", path, strerror(errno));
    char *room = strbuf_extend(out, LARGEST_SETUP);
    size_t n = fread(room, 1, LARGEST_SETUP, file);
    bool ok = ferror(file) == 0 && n < LARGEST_SETUP;
    out->len = n;
    fclose(file);
    return ok || fail_set(fail, "%s cannot be read, or is too large", path);
}

static void log_complaints(const struct complaints *c)
{
    for (size_t at = 0; at < c->text.len; at += strlen(c->text.p + at) + 1)
        logging_say(LEVEL_WARN, c->text.p + at);
}

/* Reads the file and does what it says; what it had said before counts on if it cannot be read any more. */
static void take_setup(void)
{
    struct arena arena = {0};
    struct complaints c = {.arena = &arena, .path = logging.path};
    struct strbuf text = {0};
    struct properties properties;
    struct log4j_setup setup;
    struct fail fail;
    bool ok = slurp_setup(logging.path, &text, &fail);
    bool same = ok && text.len == logging.text.len && memcmp(text.p, logging.text.p, text.len) == 0;
    if (same || (!ok && logging.text.len > 0)) {
        for (int i = 0; i < LOGGER_OUTLETS; i++)
            if (logging.outlets[i].appender != NULL)
                open_outlet(&logging.outlets[i], &c);
    } else if (ok &&
               properties_parse((struct str){text.p, (int32_t)text.len}, logging.path, &arena, &properties, &fail)) {
        log4j_understand(&properties, &(struct log4j_context){logging_property, logging_warn, &c}, &arena, &setup);
        setup_apply(&setup, &c);
    } else {
        setup_apply_nothing(&c);
        ok = false;
    }
    if (!ok)
        add_complaint(&c, fail.text);
    if (ok && !same) {
        strbuf_deinit(&logging.text);
        logging.text = text;
        text = (struct strbuf){0};
    }
    log_complaints(&c);
    strbuf_deinit(&c.text);
    strbuf_deinit(&text);
    arena_deinit(&arena);
}

/* ---- The thread ---- */

static void *run_writer(void *unused UNUSED)
{
    struct log_batch batch = {0};
    bool last = false;
    pthread_setname_np(pthread_self(), "log");
    while (!last) {
        last = atomic_load(&logging.stop);
        if (last)
            log_queue_stir(logging.queue); /* what is there is taken, and nothing waited for */
        log_queue_take(logging.queue, &batch);
        write_batch(&batch);
        if (atomic_exchange(&logging.reopen, false))
            take_setup();
    }
    strbuf_deinit(&batch.lines);
    return NULL;
}

/* Signals are the control loop's. */
static void start_writer(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&logging.thread, NULL, run_writer, NULL);
    ensure(error == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static char *setup_path(void)
{
    struct arena a = {0};
    const char *said = java_property("log4j.configuration", &a);
    char *path = NULL;
    if (said != NULL && *said != '\0') {
        bool is_url = strncmp(said, "file:", 5) == 0;
        said += is_url ? 5 : 0;
        while (is_url && said[0] == '/' && said[1] == '/') /* file:///etc/... */
            said++;
        path = xstrdup(said);
    }
    arena_deinit(&a);
    return path;
}

void logging_start(void)
{
    if (is_journal(STDERR_FILENO))
        logger_to_journal();
    logging.path = setup_path();
    if (logging.path == NULL)
        return;
    take_setup();
    logging.queue = log_queue_new(MOST_QUEUED);
    start_writer();
    logger_set_sink(queue_line);
    last_words_set(wait_until_written);
}

void logging_reopen(void)
{
    if (logging.queue == NULL)
        return;
    atomic_store(&logging.reopen, true);
    log_queue_stir(logging.queue);
}

/* A disk that hangs does not keep the process: what it has not taken by then is lost. */
static bool join_writer(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_PATIENCE_S;
    return pthread_timedjoin_np(logging.thread, NULL, &until) == 0;
}

void logging_stop(void)
{
    if (logging.queue == NULL)
        return;
    last_words_set(NULL);
    logger_set_sink(NULL);
    atomic_store(&logging.stop, true);
    log_queue_stir(logging.queue);
    if (!join_writer())
        return; /* all of it is the thread's still */
    drop_outlets(NULL);
    log_queue_free(logging.queue);
    logging.queue = NULL;
    strbuf_deinit(&logging.text);
    free(logging.path);
}
