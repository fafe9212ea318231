#!/bin/bash
# Benchmarks: Apache Kafka 3.9.1 and barnabas on this machine, in turns: one broker of each, bytes and requests beside the kernel's
# floor, clusters of three, what is on the disk, a disk that is busy, groups and transactions, many partitions, many clients, what
# protection costs, or what it costs where the kernel encrypts.
#   test/bench/run.sh [broker | throughput | cluster | storage | disk | groups | partitions | clients | security | ktls] [--help] ...
#   test/bench/run.sh all [--rounds N] ...    makes all tables of RESULTS.md anew; takes hours
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
all="broker throughput cluster storage groups partitions clients security ktls disk"
script=broker
case " $all all " in
    *" ${1:-none} "*)
        script=$1
        shift
        ;;
esac
if [ "$script" = all ]; then
    failed=
    for script in $all; do
        "$0" "$script" --results "$top/test/bench/RESULTS.md" "$@" || failed+=" $script"
    done
    [ -z "$failed" ] || {
        echo "as it was before:$failed" >&2
        exit 1
    }
    exit
fi
for arg in "$@"; do # of which the machine needs nothing
    case $arg in -h | --help)
        sed -n 2,6p "$0" | cut -c3-
        if [ -x "$top/test/.venv/bin/python" ]; then
            "$top/test/.venv/bin/python" "$top/test/bench/$script.py" --help
        else
            echo "The options are at the end of test/bench/measure.py and test/bench/$script.py; --help shows them once it has run."
        fi
        exit
        ;;
    esac
done
"$top/contrib/install-packages.sh" build run test >/dev/null
build=$top/build
case $script in disk | security | ktls) "$top/contrib/install-packages.sh" "$script" >/dev/null ;; esac
mkdir -p "$build"
(
    cd "$top"
    [ -x configure ] || ./autogen.sh
    cd "$build"
    [ -f Makefile ] || "$top/configure"
    make -j"$(nproc)"
    make test/acls/verdicts test/bench/crowd test/bench/floor test/bench/groups test/bench/load test/bench/probe test/bench/serving \
        test/bench/swarm
) >"$build/bench-build.log" 2>&1 || {
    tail -30 "$build/bench-build.log" >&2
    exit 1
}
[ -x "$top/test/.venv/bin/python" ] || python3 -m venv "$top/test/.venv"
"$top/test/.venv/bin/pip" install -q -r "$top/test/requirements.txt"
[ -f "$top/test/java/target/lib/.complete" ] || {
    (cd "$top/test/java" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=target/lib)
    touch "$top/test/java/target/lib/.complete"
}
exec env BARNABAS_BUILD="$build" "$top/test/.venv/bin/python" "$top/test/bench/$script.py" "$@"
