#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/notify.h"
#include "broker/broker.h"
#include "config/environment.h"
#include "logging/logging.h"
#include "security/http.h"

static void usage(FILE *to)
{
    fputs("Usage: barnabas server.properties [--override property=value]...\n"
          "       barnabas --check server.properties [--override property=value]...\n"
          "       barnabas --environment [server.properties] [--override property=value]...\n"
          "       barnabas --health URL\n"
          "       barnabas --diagnose FILE server.properties [--override property=value]...\n"
          "       barnabas --version | --help\n"
          "\n"
          "A message broker that takes the place of an Apache Kafka 3.9 broker in ZooKeeper mode.\n"
          "See barnabas(8) and server.properties(5).\n",
          to);
}

static void barnabas_warn(void *ctx UNUSED, const char *line)
{
    log_warn("%s", line);
}

struct arguments {
    const char *file; /* NULL: none, but the environment */
    const char *overrides[256];
    size_t override_count;
    bool check;           /* and do not start */
    bool environment;     /* has settings */
    const char *health;   /* of whom; NULL: nobody asks */
    const char *diagnose; /* the file to write, and do not start; NULL: none */
};

/* 0 to go on, or the exit code plus one. */
static int barnabas_parse(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        {"override", required_argument, NULL, 'o'}, {"check", no_argument, NULL, 'c'},
        {"environment", no_argument, NULL, 'e'},    {"health", required_argument, NULL, 'H'},
        {"diagnose", required_argument, NULL, 'd'}, {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},           {0}};
    for (int opt; (opt = getopt_long(argc, argv, "h", options, NULL)) >= 0;) {
        if (opt == 'o' && out->override_count < ARRAY_LEN(out->overrides)) {
            out->overrides[out->override_count++] = optarg;
        } else if (opt == 'c') {
            out->check = true;
        } else if (opt == 'e') {
            out->environment = true;
        } else if (opt == 'H') {
            out->health = optarg;
        } else if (opt == 'd') {
            out->diagnose = optarg;
        } else if (opt == 'V') {
            puts("barnabas " BARNABAS_VERSION);
            return 1;
        } else {
            usage(opt == 'h' ? stdout : stderr);
            return opt == 'h' ? 1 : 2;
        }
    }
    int files = argc - optind;
    if (out->health != NULL ? files != 0 : files > 1 || (files == 0 && !out->environment)) {
        usage(stderr);
        return 2;
    }
    out->file = files > 0 ? argv[optind] : NULL;
    return 0;
}

/* As many files and connections as the system lets us have: a Java machine does the same. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("Cannot raise the limit of open files: %m");
}

/* The environment's settings are over the file's, and the command line's over these. */
static bool load_config(const struct arguments *args, struct broker_config *config, struct fail *fail)
{
    struct arena a = {0};
    struct environment_settings environment = {NULL, 0};
    bool ok = !args->environment || environment_read(environ, ENVIRONMENT_SECRETS, &a, &environment, fail);
    size_t count = environment.count + args->override_count;
    const char **overrides = xcalloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        overrides[i] = i < environment.count ? environment.pairs[i] : args->overrides[i - environment.count];
    struct config_options options = {args->file, overrides, count, barnabas_warn, NULL};
    ok = ok && config_load(config, &options, fail);
    free(overrides);
    arena_deinit(&a);
    return ok;
}

/* For checks of containers, in an image with nothing else in it that could ask. */
static int ask_health(const char *url)
{
    struct arena a = {0};
    struct bytes answer;
    struct fail fail;
    bool ok = http_ask(&(struct http_question){.url = url}, &a, &answer, &fail);
    if (!ok)
        fprintf(stderr, "%s\n", fail.text);
    arena_deinit(&a);
    return ok ? 0 : 1;
}

static int barnabas_run(const struct arguments *args)
{
    struct broker_config config;
    struct fail fail;
    if (!load_config(args, &config, &fail)) {
        log_fatal("%s", fail.text);
        return 1;
    }
    bool ok = args->diagnose != NULL
                  ? broker_diagnose(&config, args->diagnose, &fail)
                  : config_check_protection(&config, &fail) && (!args->check || broker_check(&config, &fail));
    int code = ok ? 0 : 1;
    if (!ok) {
        log_fatal("%s", fail.text);
    } else if (args->diagnose != NULL) {
        printf("%s: what to look at first; read it before you give it away\n", args->diagnose);
    } else if (args->check) {
        printf("%s: a broker could start with this\n", config.file);
    } else {
        raise_file_limit();
        code = broker_run(&config);
    }
    config_deinit(&config);
    return code;
}

/* They are the broker's, who takes them as soon as it can; until then they are not to end the process. */
static void hold_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
    struct arguments args = {0};
    hold_signals();
    int stop = barnabas_parse(argc, argv, &args);
    if (stop > 0)
        return stop - 1;
    if (args.health != NULL)
        return ask_health(args.health);
    if (!args.check && args.diagnose == NULL) {
        logging_start();
        notify_start();
    }
    if (args.environment)
        environment_set_levels(environ);
    int code = barnabas_run(&args);
    notify_stop();
    logging_stop();
    return code;
}
