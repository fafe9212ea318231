#!/bin/bash
# Stops the ZooKeeper servers that run on this machine.
if [ "${1:-}" = --help ]; then
    echo "USAGE: $0"
    exit 0
fi
pids=$(pgrep -f 'java.*QuorumPeerMain' || true)
[ -n "$pids" ] || {
    echo "No zookeeper server to stop"
    exit 1
}
kill -s TERM $pids
