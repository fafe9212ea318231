#!/bin/bash
# All tests, from a fresh machine on.
#
#   test/run.sh [all|unit|system|threads] [pytest arguments]
#   test/run.sh fuzz [SECONDS]
#   test/run.sh hostile [SECONDS] [--seed S]
#   test/run.sh faults [MINUTES]                   not in `all`: a cluster of three is broken in all ways
#   test/run.sh sim [SEEDS]
#   test/run.sh crash [SEEDS]
#   test/run.sh sim-bites [--seeds N] [NAME...]    not in `all`: rules broken on purpose, which the simulation must see
#   test/run.sh packages                           not in `all`: they are built, twice, and tried
#   test/run.sh soak [HOURS]                       not in `all`: the same at size, with all of Kafka's versions, for long
#   test/run.sh list                               each test, with where it runs
#
# Ends with a line "N passed, N failed". What went wrong is shown, and kept in build-asan/logs. A test that fails leaves its
# folder, with the logs of the brokers.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
what=${1:-all}
[ $# -gt 0 ] && shift
case $what in # before anything is installed, or built
all | unit | system | threads | fuzz | hostile | faults | sim | crash | sim-bites | packages | soak | list) ;;
-h | --help)
    sed -n 2,15p "$0" | cut -c3-
    exit
    ;;
*)
    echo "$0: there is no part $what; --help names them" >&2
    exit 2
    ;;
esac
build=$top/build-asan
logs=$build/logs
passed=0 failed=0
[ "$what" = list ] || rm -f "$logs/times"
[ -d /usr/lib/ccache ] && PATH=/usr/lib/ccache:$PATH # which builds only what is new, in a fresh clone, too
mkdir -p "$logs"

give_up() { # WHAT LOG
    tail -40 "$2"
    grep -aE 'error:|\*\*\* |No such file' "$2" | head -10 # which may be far from the end, where several work at once
    echo "FAIL $1; the whole log is $2"
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
}

[ "$what" = list ] || "$top/contrib/install-packages.sh" build run test || give_up packages /dev/null

build_sanitized() {
    echo "== Building with sanitizers"
    (
        cd "$top" && { [ -x configure ] || ./autogen.sh; } && cd "$build" &&
            { [ -f Makefile ] || "$top/configure" --enable-sanitizers --enable-werror CFLAGS=-O1; } &&
            make -j"$(nproc)" && make test/protocol/roundtrip # not in one: `all` is a make of its own, and both would compile
    ) >"$logs/build.log" 2>&1 || give_up build "$logs/build.log"
}

part() { # COMMAND ARGUMENTS...
    local began=$SECONDS
    "$@"
    echo "$((SECONDS - began)) $1" >>"$logs/times"
}

# Does something while something else is done; its lines come when it is taken back.
start_beside() { # NAME COMMAND...
    local name=$1
    shift
    rm -f "$logs/$name.count"
    (
        passed=0 failed=0
        "$@"
        echo "$passed $failed" >"$logs/$name.count"
    ) >"$logs/$name.out" 2>&1 &
}

take_back() { # NAME PROCESS
    local p=0 f=1
    wait "$2"
    cat "$logs/$1.out"
    [ -f "$logs/$1.count" ] && read -r p f <"$logs/$1.count"
    passed=$((passed + p))
    failed=$((failed + f))
}

# Adds up what cmocka says of each program.
run_units() {
    echo "== Unit tests"
    make -C "$build" -j"$(nproc)" check >"$logs/check.log" 2>&1
    local log p f
    for log in "$build"/test/unit/*.log; do
        p=$(grep -c '^\[       OK \]' "$log")
        f=$(grep -c '^\[  FAILED  \] [a-z0-9_]*$' "$log")
        grep -q '^:test-result: PASS\|^\[  PASSED  \]' "$log" || f=$((f > 0 ? f : 1))
        if ! grep -q ':test-result: PASS' "${log%.log}.trs"; then
            f=$((f > 0 ? f : 1))
            echo "FAIL $(basename "$log" .log)"
            tail -30 "$log"
        fi
        passed=$((passed + p))
        failed=$((failed + f))
    done
}

prepare_python() {
    [ -x "$top/test/.venv/bin/pytest" ] && cmp -s "$top/test/requirements.txt" "$top/test/.venv/requirements.txt" && return 0
    python3 -m venv "$top/test/.venv" && "$top/test/.venv/bin/pip" install -q -r "$top/test/requirements.txt" &&
        cp "$top/test/requirements.txt" "$top/test/.venv/requirements.txt"
}

prepare_java() { # FOLDER
    [ -f "$1/target/lib/.complete" ] && [ "$1/target/lib/.complete" -nt "$1/pom.xml" ] && return 0
    (cd "$1" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=target/lib) && touch "$1/target/lib/.complete"
}

# Remade with the jars whose classes are in it.
prepare_toolbox() {
    local new file
    for new in "$top"/test/java{,4}/target/classes.jsa; do
        for file in "${new%classes.jsa}lib/.complete" "$top/test/java/Toolbox.java" "$top/test/java/prepare.py"; do
            [ "$new" -nt "$file" ] && continue
            "$top/test/.venv/bin/python" "$top/test/java/prepare.py"
            return
        done
    done
}

prepare_axe() {
    command -v npm >/dev/null || return 0
    (cd "$top/test/axe" && npm install --silent --no-package-lock)
}

prepare_go() {
    cd "$top/test/go" && mkdir -p target && go build -o target/franz .
}

prepare_clients() {
    prepare_python >"$logs/python.log" 2>&1 || give_up python "$logs/python.log"
    (prepare_java "$top/test/java" && prepare_java "$top/test/java4" && prepare_java "$top/test/java-agent" && prepare_toolbox) >"$logs/java.log" 2>&1 || give_up java "$logs/java.log"
    (prepare_go) >"$logs/go.log" 2>&1 || give_up go "$logs/go.log"
    (prepare_axe) >"$logs/axe.log" 2>&1 || give_up axe "$logs/axe.log"
}

# Two tests for each core at a time, as they wait about as long as they work, where there are 2 GB for each.
workers() {
    local cores=$((2 * $(nproc))) room=$(($(awk '/MemAvailable/ { print $2 }' /proc/meminfo) >> 21))
    echo $((room < 1 ? 1 : room < cores ? room : cores))
}

# A line for each file as its tests end; from "The slowest" on what is to be known of them all. A test that hangs, perhaps in a
# library that does not return, ends its worker, with the stacks of all threads in the log; the others go on with a new one.
run_pytest() { # NAME ARGUMENTS...
    local name=$1
    shift
    "$top/test/.venv/bin/pytest" -q --color=no -p no:cacheprovider --no-header --basetemp="$logs/$name" -n "$(workers)" \
        --timeout 400 --timeout-method thread -o faulthandler_timeout=390 "$@" 2>&1 |
        tee "$logs/$name.log" | grep -a --line-buffered '^\(ok\|FAIL\) .* s  '
    local rc=${PIPESTATUS[0]}
    sed -n '/^The slowest/,/^====/{/^====/d;p}' "$logs/$name.log"
    return "$rc"
}

run_system() {
    echo "== System tests"
    prepare_clients
    BARNABAS_BUILD=$build run_pytest system --junit-xml="$logs/system.xml" "$top/test/system" "$@"
    local rc=$? counts
    counts=$(python3 - "$logs/system.xml" <<'PY'
import sys, xml.etree.ElementTree as tree
try:
    suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    print(int(suite.get("tests")) - bad - int(suite.get("skipped")), bad)
except (OSError, tree.ParseError):
    print(0, 1)
PY
    )
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    if [ $rc -ne 0 ]; then
        echo "FAIL system; the whole log is $logs/system.log"
        [ "${counts#* }" -gt 0 ] || failed=$((failed + 1))
    fi
}

run_fuzzer() { # NAME SECONDS
    local name=$1
    rm -rf "$logs/corpus-$name"
    mkdir "$logs/corpus-$name"
    if (cd "$logs" && "$top/build-fuzz/test/fuzz/fuzz_$name" -max_total_time="$2" -timeout=20 -rss_limit_mb=4096 "corpus-$name" \
        "$top/test/fuzz/corpus/$name") >"$logs/fuzz-$name.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL fuzz_$name"
        grep -v '^#' "$logs/fuzz-$name.log" | tail -40
    fi
}

# The fuzzers, for a short while, from the seeds in test/fuzz/corpus.
run_fuzzers() { # SECONDS
    echo "== Fuzzing"
    mkdir -p "$top/build-fuzz"
    (
        cd "$top/build-fuzz" &&
            { [ -f Makefile ] || "$top/configure" CC=clang --enable-fuzzers --enable-sanitizers CFLAGS='-O1 -g'; } &&
            make -j"$(nproc)" && make fuzzers
    ) >"$logs/fuzz-build.log" 2>&1 || give_up fuzz-build "$logs/fuzz-build.log"
    local name i processes=() fuzzers=(request records keystore rules sasl tls token znodes zookeeper http exporter log4j)
    for name in "${fuzzers[@]}"; do
        start_beside "fuzz-$name" run_fuzzer "$name" "$1"
        processes+=($!)
    done
    for i in "${!fuzzers[@]}"; do
        take_back "fuzz-${fuzzers[$i]}" "${processes[$i]}"
    done
}

# A running broker is sent what it should not get.
run_hostile() { # SECONDS [ARGUMENTS]
    echo "== Hostile clients"
    prepare_python >"$logs/python.log" 2>&1 || give_up python "$logs/python.log"
    local seconds=$1
    shift
    if BARNABAS_BUILD=$build "$top/test/hostile/run.sh" --seconds "$seconds" --folder "$logs/hostile" "$@" >"$logs/hostile.log" 2>&1; then
        passed=$((passed + 1))
        grep ' requests, ' "$logs/hostile.log"
    else
        failed=$((failed + 1))
        echo "FAIL hostile"
        head -80 "$logs/hostile.log"
    fi
}

# Some system tests once more, with the broker under ThreadSanitizer.
threaded=("$top"/test/system/test_{clients,cruise_control,groups,lag,logging,names,orders,produce,security,service,topics,transactions}.py)

build_threads() {
    mkdir -p "$top/build-tsan"
    (
        cd "$top/build-tsan" && { [ -f Makefile ] || "$top/configure" --enable-tsan CFLAGS='-O1 -g'; } && make -j"$(nproc)"
    ) >"$logs/tsan-build.log" 2>&1 || give_up tsan-build "$logs/tsan-build.log"
}

run_threads() {
    echo "== Threads"
    prepare_clients
    build_threads
    if BARNABAS_BUILD=$top/build-tsan run_pytest tsan "${threaded[@]}"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL threads"
        grep -A30 'WARNING: ThreadSanitizer' "$logs/tsan.log" | head -40
    fi
}

# Without sanitizers, which the simulation's stacks do not go with.
build_plain() { # TARGET
    mkdir -p "$top/build-sim"
    (
        cd "$top/build-sim" && { [ -f Makefile ] || "$top/configure" --enable-werror CFLAGS='-O2 -g'; } &&
            make -j"$(nproc)" "$1"
    ) >"$logs/plain-build.log" 2>&1 || give_up plain-build "$logs/plain-build.log"
}

run_seeds() { # NAME PROGRAM ARGUMENTS...
    local name=$1 program=$2
    shift 2
    if "$top/build-sim/$program" "$@" >"$logs/$name.log" 2>&1; then
        passed=$((passed + 1))
        tail -1 "$logs/$name.log"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -40 "$logs/$name.log"
    fi
}

# Clusters in virtual time, one for each seed.
run_sim() { # SEEDS
    echo "== Simulation"
    build_plain test/sim/sim
    run_seeds sim test/sim/sim --seeds "$1" --jobs "$(nproc)"
    run_seeds sim-size test/sim/sim --size 8000 --brokers 10
}

# Logs on a disk that fails, likewise.
run_crash() { # SEEDS
    echo "== Crashes"
    build_plain test/crash/crash
    run_seeds crash test/crash/crash --seeds "$1"
}

# Rules of the brokers are broken one by one, to show that the simulation sees it.
run_bites() { # [ARGUMENTS]
    echo "== What the simulation sees"
    "$top/test/sim/bites.sh" "$@" 2>&1 | tee "$logs/sim-bites.log"
    if [ "${PIPESTATUS[0]}" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

# A cluster of three is broken in all ways; --seed makes it other ways.
run_faults() { # MINUTES [ARGUMENTS]
    echo "== Faults"
    prepare_clients
    local minutes=$1
    shift
    if BARNABAS_BUILD=$build "$top/test/faults/run.sh" --minutes "$minutes" --folder "$logs/faults" "$@" >"$logs/faults.log" 2>&1; then
        passed=$((passed + 1))
        grep 'records acknowledged' "$logs/faults.log"
    else
        failed=$((failed + 1))
        echo "FAIL faults"
        tail -60 "$logs/faults.log"
    fi
}

# What takes the time that system tests wait, and no other.
run_unhurried() {
    renice -n 10 $BASHPID >/dev/null
    part build_threads
    part run_sim 1000
    part run_crash 5000
}

# System tests that may take a size from the environment, on a build without sanitizers.
run_at_size() { # NAME VARIABLE=VALUE FILES...
    local name=$1 size=$2
    shift 2
    if env "$size" BARNABAS_BUILD="$top/build-sim" "$top/test/.venv/bin/pytest" -q -rf --color=no -p no:cacheprovider "$@" >"$logs/$name.log" 2>&1 &&
        tail -1 "$logs/$name.log" | grep -q passed; then # and not all of it left out
        passed=$((passed + 1))
        echo "$name: $(tail -1 "$logs/$name.log")"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -40 "$logs/$name.log"
    fi
}

# Whether the benchmarks still run; what they measure so says nothing.
run_benchmarks() {
    echo "== Benchmarks"
    if {
        "$top/test/bench/run.sh" broker --unfilled --rounds 1 --gigabytes 0.02 --seconds 1 &&
            "$top/test/bench/run.sh" cluster --unfilled --rounds 1 --gigabytes 0.02 --seconds 1 --warm-up 100 --leaders 6 --partitions 12 &&
            "$top/test/bench/run.sh" groups --unfilled --rounds 1 --seconds 1 --warm-up 1 --members 5 --groups 10 --producers 100 &&
            "$top/test/bench/run.sh" throughput --unfilled --rounds 1 --gigabytes 0.02 --requests 2000 --seconds 1 &&
            "$top/test/bench/run.sh" storage --unfilled --rounds 1 --scale 0.02 &&
            { [ "$(id -u)" -ne 0 ] || "$top/test/bench/run.sh" disk --unfilled --rounds 1 --seconds 2 --parts ext4 --kinds barnabas; } &&
            "$top/test/bench/run.sh" partitions --unfilled --rounds 1 --partitions 60 --topics 20 &&
            "$top/test/bench/run.sh" clients --unfilled --rounds 1 --seconds 1 --connections 100 --storm 100 --members 20 --groups 20 --producers 1000 &&
            "$top/test/bench/run.sh" security --unfilled --rounds 1 --gigabytes 0.05 --crowd 20 --requests 1000 --connections 100 --handshakes 50 --seconds 1 --acls 100 --counted 100 &&
            "$top/test/bench/run.sh" ktls --megabytes 4 --kinds barnabas
    } >"$logs/bench.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL benchmarks"
        tail -40 "$logs/bench.log"
    fi
}

# Transports where the kernel encrypts, in a machine of their own.
run_ktls() {
    echo "== Encryption by the kernel"
    if "$top/test/ktls/run.sh" "$top/build-sim" >"$logs/ktls.log" 2>&1; then
        passed=$((passed + 1))
        grep -a ' a ratio of ' "$logs/ktls.log"
    else
        failed=$((failed + 1))
        echo "FAIL ktls"
        tail -40 "$logs/ktls.log"
    fi
}

# Packages, an image for containers, and what becomes of them where they are installed.
run_packages() {
    echo "== Packages"
    "$top/contrib/install-packages.sh" soak || give_up packages /dev/null
    "$top/test/packages/run.sh" "$logs/packages" | tee "$logs/packages.log"
    passed=$((passed + $(grep -c '^ok ' "$logs/packages.log")))
    failed=$((failed + $(grep -c '^FAIL ' "$logs/packages.log")))
}

# Each test and the part of this script that runs it; what has no tests of its own is one.
list_tests() {
    local file
    for file in "$top"/test/unit/test_*.c; do
        sed -n "s/^static void \([a-z0-9_]*\)(void \*\*.*/unit     $(basename "$file")::\1/p" "$file"
    done
    printf '%-8s %s\n' unit crash fuzz request fuzz records fuzz keystore fuzz rules fuzz sasl fuzz tls fuzz token fuzz znodes fuzz zookeeper fuzz http fuzz exporter fuzz log4j hostile hostile sim seeds sim size crash seeds faults faults sim-bites rules soak test_size.py \
        soak test_rolling.py soak test_swap.py soak test_locked_swap.py soak test_tls_scan.py soak test_start_verdicts.py soak test_probes.py soak test_ktls.py soak test_page.py soak ktls \
        soak test_security.py soak benchmarks soak packages
    prepare_python >"$logs/python.log" 2>&1 || give_up python "$logs/python.log"
    list_system system "$top/test/system"
    list_system threads "${threaded[@]}"
}

list_system() { # PART FILES...
    local part=$1
    shift
    (cd "$top/test/system" && "$top/test/.venv/bin/pytest" -q --collect-only -p no:cacheprovider "$@" 2>"$logs/list.log") |
        sed -n "s/^.*\(test_[a-z_]*\.py::\)/$(printf %-8s "$part") \1/p"
}

# What is too long for every day; what has no size of its own takes a quarter of the time each.
run_soak() { # HOURS
    local quarter=$(($1 * 900))
    echo "== Soak"
    "$top/contrib/install-packages.sh" soak || give_up packages /dev/null
    prepare_clients
    build_plain all
    build_plain test/unit/test_transport
    run_ktls
    run_at_size soak-size SIZE=10000 "$top/test/system/test_size.py"
    run_at_size soak-rolling ROUNDS=50 "$top/test/system/test_rolling.py"
    run_at_size soak-versions BARNABAS_SWAP_VERSIONS=all "$top/test/system/test_swap.py" "$top/test/system/test_locked_swap.py"
    run_at_size soak-scan BARNABAS_TLS_SCAN=1 "$top/test/system/test_tls_scan.py"
    run_at_size soak-verdicts BARNABAS_START_VERDICTS=1 "$top/test/system/test_start_verdicts.py"
    run_at_size soak-ktls BARNABAS_KTLS=1 "$top/test/system/test_ktls.py"
    run_at_size soak-probes BARNABAS_TRACE=1 "$top/test/system/test_probes.py"
    run_at_size soak-logins BARNABAS_LOGIN_SECONDS=300 "$top/test/system/test_security.py" -k log_in_again
    run_at_size soak-browser BARNABAS_BROWSER=1 "$top/test/system/test_page.py" -k browser
    run_fuzzers $((quarter / 2))
    run_hostile "$quarter"
    run_sim $((quarter * 40))
    run_crash 1000000
    run_faults $((quarter / 60))
    run_bites
    run_benchmarks
    run_packages
}

[ "$what" = list ] || part build_sanitized
case $what in
all)
    start_beside hostile part run_hostile 60 --seed 1
    hostile=$!
    part run_units
    part run_fuzzers 10
    take_back hostile $hostile
    start_beside unhurried part run_unhurried
    unhurried=$!
    part run_system "$@"
    take_back unhurried $unhurried
    part run_threads
    ;;
unit) run_units ;;
fuzz) run_fuzzers "${1:-60}" ;;
hostile) run_hostile "${@:-60}" ;;
threads) run_threads ;;
sim) run_sim "${1:-10000}" ;;
crash) run_crash "${1:-50000}" ;;
sim-bites) run_bites "$@" ;;
faults) run_faults "${@:-5}" ;;
packages) run_packages ;;
soak) run_soak "${1:-1}" ;;
system) run_system "$@" ;;
list) list_tests ;;
esac
[ "$what" = list ] && exit
echo "It took $SECONDS s: $(sed 's/_/ /g; s/^\([0-9]*\) \(.*\)/\2 \1 s/' "$logs/times" | paste -sd, | sed 's/,/, /g')"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
