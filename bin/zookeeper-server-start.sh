#!/bin/bash
# Starts Debian's ZooKeeper: zookeeper-server-start.sh [-daemon] zookeeper.properties [LOG [PIDFILE]]
set -euo pipefail
usage="USAGE: $0 [-daemon] zookeeper.properties"
daemon=0
if [ "${1:-}" = -daemon ]; then
    daemon=1
    shift
fi
if [ "${1:-}" = --help ]; then
    echo "$usage"
    exit 0
fi
[ $# -ge 1 ] || {
    echo "$usage" >&2
    exit 1
}
[ -r "$1" ] || {
    echo "$0: cannot read $1" >&2
    exit 1
}
command -v java >/dev/null || {
    echo "$0: java is missing (Debian: default-jre-headless)" >&2
    exit 1
}
jar=/usr/share/java/zookeeper.jar # names the jars that it needs
[ -f $jar ] || {
    echo "$0: $jar is missing (Debian: zookeeper)" >&2
    exit 1
}
# The same variables and order as with Apache's script: words of each, in which nothing else is expanded.
set -f
# shellcheck disable=SC2206
options=(${KAFKA_HEAP_OPTS:--Xmx${ZK_HEAP:-512m}} ${KAFKA_JVM_PERFORMANCE_OPTS:-} ${KAFKA_GC_LOG_OPTS:-} ${KAFKA_JMX_OPTS:-})
[ -z "${LOG_DIR:-}" ] || options+=(-Dkafka.logs.dir="$LOG_DIR")
# shellcheck disable=SC2206
options+=(${KAFKA_LOG4J_OPTS:-} -cp $jar ${KAFKA_OPTS:-})
set +f
command=(java "${options[@]}" org.apache.zookeeper.server.quorum.QuorumPeerMain "$1")
if [ $daemon = 0 ]; then
    exec "${command[@]}"
fi
output=${2:-${LOG_DIR:+$LOG_DIR/}zookeeper.log}
mkdir -p "$(dirname "$output")"
setsid "${command[@]}" >>"$output" 2>&1 </dev/null &
[ -z "${3:-}" ] || echo $! >"$3"
