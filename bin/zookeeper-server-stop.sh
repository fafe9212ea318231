#!/bin/bash
# Stops the ZooKeeper servers that run on this machine.
pids=$(pgrep -f 'java.*QuorumPeerMain' || true)
[ -n "$pids" ] || {
    echo "No zookeeper server to stop"
    exit 1
}
kill -s TERM $pids
