#!/bin/bash
# Runs the tool that stands for a class of Apache Kafka's: for scripts that name the class and not the tool.
#   kafka-run-class.sh [-daemon] [-name SERVICE] [-loggc] CLASS [ARGUMENT]...
set -euo pipefail
usage="USAGE: $0 [-daemon] [-name servicename] [-loggc] classname [opts]"
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
daemon=0
service=kafkaServer
while [ $# -gt 0 ]; do
    case $1 in
    -daemon) daemon=1 ;;
    -loggc) ;; # there is no garbage to tell of
    -name)
        service=${2:?$usage}
        shift
        ;;
    *) break ;;
    esac
    shift
done
if [ "${1:-}" = --help ]; then
    echo "$usage"
    exit 0
fi
[ $# -ge 1 ] || {
    echo "$usage" >&2
    exit 1
}
class=$1
shift

# Classes have moved between packages; their own names are what has stayed.
case $class in
kafka.Kafka) tool=kafka-server-start ;;
org.apache.zookeeper.server.quorum.QuorumPeerMain) tool=zookeeper-server-start ;;
org.apache.zookeeper.ZooKeeperMain | org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka)
    tool=zookeeper-shell
    [ "${1:-}" != -server ] || shift
    ;;
kafka.admin.* | kafka.tools.* | org.apache.kafka.tools.*)
    case ${class##*.} in
    AclCommand) tool=kafka-acls ;;
    BrokerApiVersionsCommand) tool=kafka-broker-api-versions ;;
    ClusterTool) tool=kafka-cluster ;;
    ConfigCommand) tool=kafka-configs ;;
    ConsoleConsumer) tool=kafka-console-consumer ;;
    ConsoleProducer) tool=kafka-console-producer ;;
    ConsumerGroupCommand) tool=kafka-consumer-groups ;;
    ConsumerPerformance) tool=kafka-consumer-perf-test ;;
    DelegationTokenCommand) tool=kafka-delegation-tokens ;;
    DeleteRecordsCommand) tool=kafka-delete-records ;;
    DumpLogSegments) tool=kafka-dump-log ;;
    EndToEndLatency) tool=kafka-e2e-latency ;;
    FeatureCommand) tool=kafka-features ;;
    GetOffsetShell) tool=kafka-get-offsets ;;
    JmxTool) tool=kafka-jmx ;;
    LeaderElectionCommand) tool=kafka-leader-election ;;
    LogDirsCommand) tool=kafka-log-dirs ;;
    ProducerPerformance) tool=kafka-producer-perf-test ;;
    ReassignPartitionsCommand) tool=kafka-reassign-partitions ;;
    ReplicaVerificationTool) tool=kafka-replica-verification ;;
    StreamsResetter) tool=kafka-streams-application-reset ;;
    TopicCommand) tool=kafka-topics ;;
    TransactionsCommand) tool=kafka-transactions ;;
    VerifiableConsumer) tool=kafka-verifiable-consumer ;;
    VerifiableProducer) tool=kafka-verifiable-producer ;;
    ZkSecurityMigrator) tool=zookeeper-security-migration ;;
    esac
    ;;
esac
[ -n "${tool:-}" ] || {
    echo "$0: no tool of barnabas stands for the class $class; Apache Kafka's own kafka-run-class.sh runs it, against" \
        "barnabas too" >&2
    exit 1
}
if [ $daemon = 0 ]; then
    exec "$here/$tool.sh" "$@"
fi
mkdir -p "${LOG_DIR:-$here/../logs}"
# Appended, as what rotates the file empties it meanwhile.
setsid "$here/$tool.sh" "$@" >>"${LOG_DIR:-$here/../logs}/$service.out" 2>&1 </dev/null &
