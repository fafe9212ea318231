#!/bin/bash
# Stops the brokers that run on this machine, barnabas or Apache's; --node-id and --process-role choose among them.
if [ "${1:-}" = --help ]; then
    echo "USAGE: $0 [--node-id=ID] [--process-role=ROLE]"
    exit 0
fi
signal=${SIGNAL:-TERM}
while [ $# -gt 0 ]; do
    case $1 in
    --node-id=*) id=${1#*=} ;;
    --process-role=*) role=${1#*=} ;;
    --node-id) id=${2:?"$1 needs a value"} && shift ;;
    --process-role) role=${2:?"$1 needs a value"} && shift ;;
    *) echo "$1 is no option of this script, and without effect" >&2 ;; # some give it server.properties
    esac
    shift
done
if [ -n "${id:-}" ] && [ -n "${role:-}" ]; then
    echo "When both node-id and process-role are provided, the value for node-id will take precedence"
fi

pids=$(
    pgrep -x barnabas
    pgrep -f 'java.* kafka\.Kafka( |$)' # the class as a word: who reads kafka.Kafka.log is no broker
)
[ -n "$pids" ] || {
    echo "No kafka server to stop"
    exit 1
}

# The words of the command that runs a broker, from its file on, as lines: FILE, and KEY=VALUE of each --override.
settings_of() {
    local words i
    mapfile -d '' words <"/proc/$1/cmdline"
    for ((i = 1; i < ${#words[@]}; i++)); do
        [ "${words[i]}" != kafka.Kafka ] || words=("${words[@]:i}") i=0
    done
    for ((i = 1; i < ${#words[@]}; i++)); do
        case ${words[i]} in
        --override) echo "${words[++i]}" ;;
        --override=*) echo "${words[i]#*=}" ;;
        -*) ;;
        *) (cd "/proc/$1/cwd" 2>/dev/null && cat -- "${words[i]}" 2>/dev/null || cat -- "${words[i]}") ;;
        esac
    done
}

# The last one counts.
value_of() {
    sed -n "s/^[[:space:]]*$1[[:space:]]*[=:][[:space:]]*\([^[:space:]]*\)[[:space:]]*\$/\1/p" <<<"$2" | tail -n 1
}

# Whether the broker with these settings is one that is meant. One with ZooKeeper may call its id so, and has no roles.
is_meant() {
    local given
    if [ -n "${id:-}" ]; then
        given=$(value_of 'node\.id' "$1")
        [ "${given:-$(value_of 'broker\.id' "$1")}" = "$id" ]
    elif [ -n "${role:-}" ]; then
        given=$(value_of 'process\.roles' "$1")
        [ "${given:-broker}" = "$role" ]
    else
        true
    fi
}

meant=
for pid in $pids; do
    is_meant "$(settings_of "$pid")" && meant="$meant $pid"
done
[ -n "$meant" ] || {
    echo "No kafka server to stop"
    exit 1
}
kill -s "$signal" $meant
