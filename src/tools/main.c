/* barnabas-tool: all command-line tools in one program, chosen by its name or by its first argument. */
#include <signal.h>

#include "base/logger.h"
#include "tools/kit/completion.h"
#include "tools/kit/rd_client.h"

struct tool {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

static const struct tool tools[] = {
    {"kafka-topics", "creates, deletes, describes, changes and lists topics", tool_topics},
    {"kafka-configs", "describes and changes settings", tool_configs},
    {"kafka-acls", "says who may do what", tool_acls},
    {"kafka-delegation-tokens", "makes tokens by which others act for a user", tool_delegation_tokens},
    {"kafka-console-producer", "sends lines from standard input", tool_console_producer},
    {"kafka-console-consumer", "prints records", tool_console_consumer},
    {"kafka-consumer-groups", "lists and describes consumer groups, resets and deletes offsets", tool_consumer_groups},
    {"kafka-reassign-partitions", "moves partitions to other brokers", tool_reassign_partitions},
    {"kafka-leader-election", "makes other replicas leaders", tool_leader_election},
    {"kafka-replica-verification", "compares the replicas of partitions", tool_replica_verification},
    {"kafka-delete-records", "deletes records before an offset", tool_delete_records},
    {"kafka-log-dirs", "prints what brokers have in their log directories", tool_log_dirs},
    {"kafka-transactions", "shows transactions, finds and aborts those that hang", tool_transactions},
    {"kafka-get-offsets", "prints offsets of partitions", tool_get_offsets},
    {"kafka-cluster", "prints the cluster's id", tool_cluster},
    {"kafka-features", "shows and changes the levels of features", tool_features},
    {"kafka-broker-api-versions", "prints what versions of the protocol brokers speak", tool_broker_api_versions},
    {"kafka-jmx", "prints what a broker counts", tool_jmx},
    {"barnabas-top", "shows in a terminal how cluster and broker are", tool_top},
    {"kafka-dump-log", "prints what is in the files of a log", tool_dump_log},
    {"kafka-producer-perf-test", "measures producing", tool_producer_perf},
    {"kafka-consumer-perf-test", "measures consuming", tool_consumer_perf},
    {"kafka-e2e-latency", "measures how long records take from producer to consumer", tool_e2e_latency},
    {"kafka-verifiable-producer", "sends numbers and tells what became of each", tool_verifiable_producer},
    {"kafka-verifiable-consumer", "consumes in a group and tells what happens", tool_verifiable_consumer},
    {"kafka-streams-application-reset", "lets a Kafka Streams application begin again", tool_streams_reset},
    {"zookeeper-security-migration", "gives znodes to the brokers, or to everybody", tool_security_migration},
    {"zookeeper-shell", "reads and writes znodes", tool_zookeeper_shell},
};

static const struct tool *find_tool(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t len = strlen(name);
    if (len > 3 && strcmp(name + len - 3, ".sh") == 0)
        len -= 3;
    for (size_t i = 0; i < ARRAY_LEN(tools); i++)
        if (strlen(tools[i].name) == len && memcmp(tools[i].name, name, len) == 0)
            return &tools[i];
    return NULL;
}

/* TOOL --complete [COMMAND]: what its help says, for shells. */
static int complete_tool(const struct tool *tool, int argc, char **argv)
{
    static char help[] = "--help";
    char *words[] = {argv[0], argc > 2 ? argv[2] : help, help, NULL};
    completion_wanted = true;
    return tool->run(argc > 2 ? 3 : 2, words);
}

static int run_tool(const struct tool *tool, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--complete") == 0)
        return complete_tool(tool, argc, argv);
    int code = tool->run(argc, argv);
    return code == 0 && atomic_load(&tool_refused) ? 1 : code;
}

static int print_tools(FILE *to, int code)
{
    fprintf(to, "Usage: barnabas-tool TOOL [OPTION]...\nTools, each with --help:\n");
    for (size_t i = 0; i < ARRAY_LEN(tools); i++)
        fprintf(to, "  %-31s %s\n", tools[i].name, tools[i].summary);
    return code;
}

int main(int argc, char **argv)
{
    const struct tool *tool = argc > 0 ? find_tool(argv[0]) : NULL;
    logger_set(LOGGER_ROOT, LEVEL_ERROR);
    signal(SIGPIPE, SIG_IGN); /* a closed connection or pipe is an error of the write */
    if (tool != NULL)
        return run_tool(tool, argc, argv);
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return print_tools(stdout, 0);
    tool = argc > 1 ? find_tool(argv[1]) : NULL;
    if (tool != NULL)
        return run_tool(tool, argc - 1, argv + 1);
    if (argc > 1)
        fprintf(stderr, "barnabas-tool: there is no tool %s\n", argv[1]);
    return print_tools(stderr, 1);
}
