#!/bin/bash
# Stops the ZooKeeper servers that run on this machine.
if [ "${1:-}" = --help ]; then
    echo "USAGE: $0"
    exit 0
fi
pids=$(pgrep -f 'java.* org\.apache\.zookeeper\.server\.quorum\.QuorumPeerMain( |$)' || true) # the class as a word
[ -n "$pids" ] || {
    echo "No zookeeper server to stop"
    exit 1
}
kill -s "${SIGNAL:-TERM}" $pids
