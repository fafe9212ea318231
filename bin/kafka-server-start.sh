#!/bin/bash
# Starts a broker: kafka-server-start.sh [-daemon] server.properties [--override property=value]*
set -euo pipefail
daemon=0
if [ "${1:-}" = -daemon ]; then
    daemon=1
    shift
fi
usage="USAGE: $0 [-daemon] server.properties [--override property=value]*"
if [ "${1:-}" = --help ]; then
    echo "$usage"
    exit 0
fi
[ $# -ge 1 ] || {
    echo "$usage" >&2
    exit 1
}
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
broker=
for candidate in "${BARNABAS_BUILD:-}/barnabas" "$here/barnabas" "$here/../sbin/barnabas" "$here/../barnabas" "$here/../build/barnabas"; do
    [ -x "$candidate" ] && [ -f "$candidate" ] && broker=$candidate && break
done
[ -n "$broker" ] || {
    echo "$0: barnabas is not built; run make, or set BARNABAS_BUILD to the build directory" >&2
    exit 1
}
export LOG_DIR=${LOG_DIR:-$here/../logs}
# Where Apache's scripts look; without one, the log is what the broker says on standard error.
for candidate in "$here/../config/log4j.properties" "$here/../conf/log4j.properties"; do
    [ -z "${KAFKA_LOG4J_OPTS:-}" ] && [ -f "$candidate" ] && export KAFKA_LOG4J_OPTS="-Dlog4j.configuration=file:$candidate"
done
if [ $daemon = 0 ]; then
    exec "$broker" "$@"
fi
mkdir -p "$LOG_DIR"
output=$LOG_DIR/kafkaServer.out
[ -n "${KAFKA_LOG4J_OPTS:-}" ] || output=$LOG_DIR/server.log
setsid "$broker" "$@" >>"$output" 2>&1 </dev/null &
