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
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
broker=
for candidate in "${BARNABAS_BUILD:-}/barnabas" "$here/barnabas" "$here/../barnabas" "$here/../build/barnabas"; do
    [ -x "$candidate" ] && [ -f "$candidate" ] && broker=$candidate && break
done
[ -n "$broker" ] || {
    echo "$0: barnabas is not built; run make, or set BARNABAS_BUILD to the build directory" >&2
    exit 1
}
if [ $daemon = 0 ]; then
    exec "$broker" "$@"
fi
mkdir -p "${LOG_DIR:-$here/../logs}"
setsid "$broker" "$@" >>"${LOG_DIR:-$here/../logs}/server.log" 2>&1 </dev/null &
