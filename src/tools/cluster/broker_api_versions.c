/* kafka-broker-api-versions: what versions of which requests each broker speaks. */
#include <inttypes.h>

#include "tools/kit/ask.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server(s)", "REQUIRED: the server(s) to connect to.", NULL},
    {"command-config", OPTION_VALUE, "command config property file",
     "A property file with configs for the admin client.", NULL},
};

static int versions_tool_by_key(const void *a, const void *b)
{
    return ((const struct api_versions_api_version *)a)->api_key -
           ((const struct api_versions_api_version *)b)->api_key;
}

/*
 * Every API that clients may meet in Kafka 3.9, those of KRaft included, which brokers in ZooKeeper mode do not speak.
 */
static const char *const names[] = {
    [0] = "Produce",
    [1] = "Fetch",
    [2] = "ListOffsets",
    [3] = "Metadata",
    [4] = "LeaderAndIsr",
    [5] = "StopReplica",
    [6] = "UpdateMetadata",
    [7] = "ControlledShutdown",
    [8] = "OffsetCommit",
    [9] = "OffsetFetch",
    [10] = "FindCoordinator",
    [11] = "JoinGroup",
    [12] = "Heartbeat",
    [13] = "LeaveGroup",
    [14] = "SyncGroup",
    [15] = "DescribeGroups",
    [16] = "ListGroups",
    [17] = "SaslHandshake",
    [18] = "ApiVersions",
    [19] = "CreateTopics",
    [20] = "DeleteTopics",
    [21] = "DeleteRecords",
    [22] = "InitProducerId",
    [23] = "OffsetForLeaderEpoch",
    [24] = "AddPartitionsToTxn",
    [25] = "AddOffsetsToTxn",
    [26] = "EndTxn",
    [27] = "WriteTxnMarkers",
    [28] = "TxnOffsetCommit",
    [29] = "DescribeAcls",
    [30] = "CreateAcls",
    [31] = "DeleteAcls",
    [32] = "DescribeConfigs",
    [33] = "AlterConfigs",
    [34] = "AlterReplicaLogDirs",
    [35] = "DescribeLogDirs",
    [36] = "SaslAuthenticate",
    [37] = "CreatePartitions",
    [38] = "CreateDelegationToken",
    [39] = "RenewDelegationToken",
    [40] = "ExpireDelegationToken",
    [41] = "DescribeDelegationToken",
    [42] = "DeleteGroups",
    [43] = "ElectLeaders",
    [44] = "IncrementalAlterConfigs",
    [45] = "AlterPartitionReassignments",
    [46] = "ListPartitionReassignments",
    [47] = "OffsetDelete",
    [48] = "DescribeClientQuotas",
    [49] = "AlterClientQuotas",
    [50] = "DescribeUserScramCredentials",
    [51] = "AlterUserScramCredentials",
    [55] = "DescribeQuorum",
    [56] = "AlterPartition",
    [57] = "UpdateFeatures",
    [58] = "Envelope",
    [60] = "DescribeCluster",
    [61] = "DescribeProducers",
    [64] = "UnregisterBroker",
    [65] = "DescribeTransactions",
    [66] = "ListTransactions",
    [67] = "AllocateProducerIds",
    [68] = "ConsumerGroupHeartbeat",
    [69] = "ConsumerGroupDescribe",
    [71] = "GetTelemetrySubscriptions",
    [72] = "PushTelemetry",
    [74] = "ListClientMetricsResources",
    [75] = "DescribeTopicPartitions",
    [76] = "ShareGroupHeartbeat",
    [77] = "ShareGroupDescribe",
    [78] = "ShareFetch",
    [79] = "ShareAcknowledge",
    [80] = "AddRaftVoter",
    [81] = "RemoveRaftVoter",
    [83] = "InitializeShareGroupState",
    [84] = "ReadShareGroupState",
    [85] = "WriteShareGroupState",
    [86] = "DeleteShareGroupState",
    [87] = "ReadShareGroupStateSummary",
};

static void print_range(const struct api_versions_api_version *v, const char *name)
{
    const struct api_spec *spec = api_spec(v->api_key);
    printf("%s(%d): %d", name, v->api_key, v->min_version);
    if (v->max_version != v->min_version)
        printf(" to %d", v->max_version);
    if (spec == NULL || spec->max_version < v->min_version)
        printf(" [unusable: node too new]");
    else if (v->max_version < spec->min_version)
        printf(" [unusable: node too old]");
    else
        printf(" [usable: %d]", MIN(v->max_version, spec->max_version));
}

static void print_versions(const struct api_versions_response *r)
{
    const char *separator = "";
    int32_t at = 0;
    qsort(r->api_keys.items, (size_t)r->api_keys.len, sizeof(*r->api_keys.items), versions_tool_by_key);
    printf("(\n\t");
    for (int16_t key = 0; key < (int16_t)ARRAY_LEN(names); key++) {
        while (at < r->api_keys.len && r->api_keys.items[at].api_key < key)
            at++;
        if (names[key] == NULL)
            continue;
        fputs(separator, stdout);
        separator = ",\n\t";
        if (at < r->api_keys.len && r->api_keys.items[at].api_key == key)
            print_range(&r->api_keys.items[at], names[key]);
        else
            printf("%s(%d): UNSUPPORTED", names[key], key);
    }
    for (; at < r->api_keys.len; at++)
        if (r->api_keys.items[at].api_key >= (int16_t)ARRAY_LEN(names))
            printf("%sUNKNOWN(%d): %d to %d", separator, r->api_keys.items[at].api_key,
                   r->api_keys.items[at].min_version, r->api_keys.items[at].max_version);
    printf("\n)\n");
}

static bool print_brokers(struct asker *asker, struct arena *a, struct fail *fail)
{
    struct metadata_response m;
    if (!ask_metadata(asker, NULL, 0, &m, a, fail))
        return false;
    for (int32_t i = 0; i < m.brokers.len; i++) {
        const struct metadata_response_broker *b = &m.brokers.items[i];
        struct api_versions_response r;
        struct fail why;
        printf("%.*s:%" PRId32 " (id: %" PRId32 " rack: %.*s) -> ", STR_ARGS(b->host), b->port, b->node_id,
               STR_ARGS(b->rack.p != NULL ? b->rack : STR_LIT("null")));
        if (ask_api_versions(asker, b->node_id, &r, a, &why))
            print_versions(&r);
        else
            printf("ERROR: %s\n", why.text);
    }
    return true;
}

int tool_broker_api_versions(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct arena arena = {0};
    struct asker *asker = NULL;
    int code = OPTIONS_PARSE(&o, specs, argc, argv, "This tool helps to retrieve broker version information.");
    if (code < 0 && !options_need(&o, "bootstrap-server"))
        code = 1;
    if (code < 0) {
        asker = asker_new(options_get(&o, "bootstrap-server"), options_get(&o, "command-config"), &fail);
        if (asker != NULL)
            ask_at_once(asker); /* as with Kafka's: it is a way to find out whether somebody is there */
        code = asker != NULL && print_brokers(asker, &arena, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    asker_free(asker);
    arena_deinit(&arena);
    options_free(&o);
    return code;
}
