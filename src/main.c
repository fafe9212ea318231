#include <getopt.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/logger.h"
#include "broker/broker.h"

static void usage(FILE *to)
{
    fputs("Usage: barnabas server.properties [--override property=value]...\n"
          "       barnabas --version | --help\n"
          "\n"
          "A message broker that takes the place of an Apache Kafka 3.9 broker in ZooKeeper mode.\n"
          "See barnabas(1) and server.properties(5).\n",
          to);
}

static void barnabas_warn(void *ctx UNUSED, const char *line)
{
    log_warn("%s", line);
}

struct arguments {
    const char *file;
    const char *overrides[256];
    size_t override_count;
};

/* 0 to go on, or the exit code plus one. */
static int barnabas_parse(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {{"override", required_argument, NULL, 'o'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int opt; (opt = getopt_long(argc, argv, "h", options, NULL)) >= 0;) {
        if (opt == 'o' && out->override_count < ARRAY_LEN(out->overrides)) {
            out->overrides[out->override_count++] = optarg;
        } else if (opt == 'V') {
            puts("barnabas " BARNABAS_VERSION);
            return 1;
        } else {
            usage(opt == 'h' ? stdout : stderr);
            return opt == 'h' ? 1 : 2;
        }
    }
    if (optind != argc - 1) {
        usage(stderr);
        return 2;
    }
    out->file = argv[optind];
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

int main(int argc, char **argv)
{
    struct arguments args = {0};
    struct broker_config config;
    struct fail fail;
    int stop = barnabas_parse(argc, argv, &args);
    if (stop > 0)
        return stop - 1;
    struct config_options options = {args.file, args.overrides, args.override_count, barnabas_warn, NULL};
    if (!config_load(&config, &options, &fail)) {
        log_fatal("%s", fail.text);
        return 1;
    }
    if (!config_check_protection(&config, &fail)) {
        log_fatal("%s", fail.text);
        config_deinit(&config);
        return 1;
    }
    raise_file_limit();
    int code = broker_run(&config);
    config_deinit(&config);
    return code;
}
