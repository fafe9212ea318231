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
command=(java -Xmx"${ZK_HEAP:-512m}" -cp $jar org.apache.zookeeper.server.quorum.QuorumPeerMain "$1")
if [ $daemon = 0 ]; then
    exec "${command[@]}"
fi
setsid "${command[@]}" >>"${2:-zookeeper.log}" 2>&1 </dev/null &
[ -z "${3:-}" ] || echo $! >"$3"
