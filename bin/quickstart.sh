#!/bin/bash
# From a fresh checkout to lines that go through barnabas.
#
#   bin/quickstart.sh [DIR]        builds, starts ZooKeeper and a broker with their data in DIR (./barnabas-data),
#                                  sends some lines through and gets them back
#   bin/quickstart.sh stop [DIR]   stops both
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
action=start
if [ "${1:-}" = stop ]; then
    action=stop
    shift
fi
case "${1:-}" in -h | --help)
    sed -n 2,6p "$0" | cut -c3-
    exit 0
    ;;
esac
data=${1:-$top/barnabas-data}
mkdir -p "$data"
data=$(cd "$data" && pwd)
zk_port=${ZOOKEEPER_PORT:-2181}
port=${BROKER_PORT:-9092}
topic=quickstart

fail() {
    echo "quickstart: $*" >&2
    exit 1
}

is_running() { # PIDFILE
    [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null
}

stop_one() { # NAME PIDFILE
    is_running "$2" || {
        echo "$1 is not running"
        return 0
    }
    kill "$(cat "$2")"
    for _ in $(seq 100); do
        is_running "$2" || break
        sleep 0.1
    done
    is_running "$2" && fail "$1 (pid $(cat "$2")) does not stop"
    rm -f "$2"
    echo "$1 stopped"
}

if [ $action = stop ]; then
    stop_one "The broker" "$data/broker.pid"
    stop_one "ZooKeeper" "$data/zookeeper.pid"
    exit 0
fi

is_free() { # PORT
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() { # FIRST
    local p=$1
    until is_free "$p"; do p=$((p + 1)); done
    echo "$p"
}

wait_for() { # WHAT LOG COMMAND...: until the command succeeds, at most 30 s
    local what=$1 log=$2
    shift 2
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    tail -20 "$log" >&2
    fail "$what did not come up; its log is $log"
}

echo "== Packages"
"$top/contrib/install-packages.sh" build run

echo "== Building"
build=$top/build
[ ! -f "$top/config.status" ] || build=$top # a source folder that is configured itself can have no other build
export BARNABAS_BUILD=$build
mkdir -p "$build"
{
    [ -x "$top/configure" ] || "$top/autogen.sh"
    cd "$build"
    [ -f Makefile ] || "$top/configure" --srcdir="$top"
    make -j"$(nproc)"
} >"$data/build.log" 2>&1 || {
    tail -30 "$data/build.log" >&2
    fail "the build failed; its log is $data/build.log"
}

echo "== ZooKeeper"
if is_running "$data/zookeeper.pid"; then
    zk_port=$(sed -n 's/^clientPort=//p' "$data/zookeeper.properties")
    echo "is running already, on port $zk_port"
else
    is_free "$zk_port" || {
        old=$zk_port
        zk_port=$(free_port $((zk_port + 1)))
        echo "port $old is taken: using $zk_port"
    }
    cat >"$data/zookeeper.properties" <<EOF
dataDir=$data/zookeeper
clientPort=$zk_port
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
EOF
    # What KAFKA_OPTS has, such as agents with a port, is the broker's.
    env -u KAFKA_OPTS -u KAFKA_LOG4J_OPTS -u KAFKA_JMX_OPTS "$top/bin/zookeeper-server-start.sh" -daemon "$data/zookeeper.properties" "$data/zookeeper.log" "$data/zookeeper.pid"
    wait_for ZooKeeper "$data/zookeeper.log" eval "! is_free $zk_port"
fi

echo "== Broker"
if is_running "$data/broker.pid"; then
    port=$(sed -n 's/^listeners=.*:\([0-9]*\)$/\1/p' "$data/server.properties")
    echo "is running already, on port $port"
else
    is_free "$port" || {
        old=$port
        port=$(free_port $((port + 1)))
        echo "port $old is taken: using $port"
    }
    cat >"$data/server.properties" <<EOF
broker.id=0
listeners=PLAINTEXT://127.0.0.1:$port
log.dirs=$data/logs
zookeeper.connect=127.0.0.1:$zk_port
offsets.topic.replication.factor=1
EOF
    setsid "$build/barnabas" "$data/server.properties" >>"$data/broker.log" 2>&1 </dev/null &
    echo $! >"$data/broker.pid"
    wait_for "The broker" "$data/broker.log" "$top/bin/kafka-broker-api-versions.sh" --bootstrap-server "127.0.0.1:$port"
fi

echo "== Lines through the broker"
broker=127.0.0.1:$port
stamp=$(date +%s)
"$top/bin/kafka-topics.sh" --bootstrap-server "$broker" --create --if-not-exists --topic $topic --partitions 1 --replication-factor 1
seq -f "line %g of run $stamp" 5 | "$top/bin/kafka-console-producer.sh" --bootstrap-server "$broker" --topic $topic
"$top/bin/kafka-console-consumer.sh" --bootstrap-server "$broker" --topic $topic --from-beginning --timeout-ms 2000 2>/dev/null |
    grep "of run $stamp" >"$data/received" || true
[ "$(wc -l <"$data/received")" = 5 ] || fail "the lines did not come back; see $data/broker.log"
cat "$data/received"

cat <<EOF

It works. Running now:
  ZooKeeper   127.0.0.1:$zk_port   log $data/zookeeper.log
  barnabas    $broker   log $data/broker.log, data $data/logs
To go on:
  bin/kafka-topics.sh --bootstrap-server $broker --describe
  bin/kafka-console-producer.sh --bootstrap-server $broker --topic $topic                    type lines, end with Ctrl-D
  bin/kafka-console-consumer.sh --bootstrap-server $broker --topic $topic --from-beginning   see them, end with Ctrl-C
  bin/zookeeper-shell.sh 127.0.0.1:$zk_port get /controller
To stop:
  bin/quickstart.sh stop${1:+ $1}
EOF
