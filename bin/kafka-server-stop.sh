#!/bin/bash
# Stops the brokers that run on this machine, barnabas or Apache's.
if [ "${1:-}" = --help ]; then
    echo "USAGE: $0"
    exit 0
fi
pids=$(pgrep -x barnabas || true)
pids="$pids $(pgrep -f 'java.*kafka\.Kafka' || true)"
[ -n "${pids// /}" ] || {
    echo "No kafka server to stop"
    exit 1
}
kill -s "${SIGNAL:-TERM}" $pids
