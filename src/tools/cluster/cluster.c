/* kafka-cluster: prints the cluster's id. Brokers are unregistered only with KRaft; with ZooKeeper they come and go. */
#include <inttypes.h>

#include "tools/cluster/cluster_endpoint.h"

#define CONNECTION                                                                                           \
    {"bootstrap-server", 'b', ARG_VALUE, ARG_ONE_OF,                                                         \
     "A list of host/port pairs to use for establishing the connection to the Kafka cluster."},              \
        {"bootstrap-controller", 'C', ARG_VALUE, ARG_ONE_OF,                                                 \
         "A list of host/port pairs to use for establishing the connection to the KRaft controllers."},      \
    {                                                                                                        \
        "config", 'c', ARG_VALUE, ARG_MAY, "A property file containing configurations for the Admin client." \
    }

static const struct arg_spec cluster_id_args[] = {CONNECTION};
static const struct arg_spec unregister_args[] = {
    CONNECTION, {"id", 'i', ARG_INTEGER, ARG_MUST, "The ID of the broker to unregister."}};

static const struct command_spec commands[] = {
    {"cluster-id", "Get information about the ID of a cluster.", cluster_id_args, ARRAY_LEN(cluster_id_args)},
    {"unregister", "Unregister a broker.", unregister_args, ARRAY_LEN(unregister_args)},
};

static const struct command_line_spec spec = {
    {"kafka-cluster", "The Kafka cluster tool.", NULL, 0}, commands, ARRAY_LEN(commands)};

static bool print_cluster_id(struct asker *asker, struct fail *fail)
{
    struct arena a = {0};
    struct metadata_response m;
    bool ok = ask_metadata(asker, NULL, 0, &m, &a, fail);
    if (ok && m.cluster_id.p != NULL)
        printf("Cluster ID: %.*s\n", STR_ARGS(m.cluster_id));
    else if (ok)
        puts("No cluster ID found. The Kafka version is probably too old.");
    arena_deinit(&a);
    return ok;
}

/* API 64, which no broker with ZooKeeper speaks; the one with KRaft that would do it is not asked by this tool. */
static bool unregister(struct asker *asker, struct fail *fail)
{
    enum { API_UNREGISTER_BROKER = 64 };
    struct arena a = {0};
    struct api_versions_response versions;
    bool speaks = false, ok = ask_api_versions(asker, ASK_ANY, &versions, &a, fail);
    for (int32_t i = 0; ok && i < versions.api_keys.len; i++)
        speaks |= versions.api_keys.items[i].api_key == API_UNREGISTER_BROKER;
    arena_deinit(&a);
    if (!ok || speaks)
        return ok && fail_set(fail, "The cluster runs without ZooKeeper: use Apache's own tool");
    puts("The target cluster does not support the broker unregistration API.");
    return true;
}

static bool cluster_run(const struct command_line *c, struct fail *fail)
{
    struct asker *asker = cluster_endpoint(c, "config", fail);
    bool ok = asker != NULL && (c->command == &commands[0] ? print_cluster_id(asker, fail) : unregister(asker, fail));
    asker_free(asker);
    return ok;
}

int tool_cluster(int argc, char **argv)
{
    struct command_line c;
    struct fail fail;
    int code = command_line_parse(&c, &spec, argc, argv);
    if (code < 0) {
        code = cluster_run(&c, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    command_line_deinit(&c);
    return code;
}
