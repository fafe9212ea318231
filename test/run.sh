#!/bin/bash
# All tests, from a fresh machine on.
#
#   test/run.sh [all|unit|system] [pytest arguments]
#
# Ends with a line "N passed, N failed". What went wrong is shown, and kept in build-asan/logs.
set -uo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
what=${1:-all}
[ $# -gt 0 ] && shift
build=$top/build-asan
logs=$build/logs
passed=0 failed=0
mkdir -p "$logs"

give_up() { # WHAT LOG
    tail -40 "$2"
    echo "FAIL $1; the whole log is $2"
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
}

"$top/contrib/install-packages.sh" build run test || give_up packages /dev/null

echo "== Building with sanitizers"
{
    cd "$top" && { [ -x configure ] || ./autogen.sh; } && cd "$build" &&
        { [ -f Makefile ] || "$top/configure" --enable-sanitizers --enable-werror CFLAGS=-O1; } && make -j"$(nproc)"
} >"$logs/build.log" 2>&1 || give_up build "$logs/build.log"

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

prepare_java() {
    [ -f "$top/test/java/target/lib/.complete" ] && [ "$top/test/java/target/lib/.complete" -nt "$top/test/java/pom.xml" ] && return 0
    (cd "$top/test/java" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=target/lib) && touch "$top/test/java/target/lib/.complete"
}

run_system() {
    echo "== System tests"
    prepare_python >"$logs/python.log" 2>&1 || give_up python "$logs/python.log"
    prepare_java >"$logs/java.log" 2>&1 || give_up java "$logs/java.log"
    BARNABAS_BUILD=$build "$top/test/.venv/bin/pytest" -q -rf --color=no -p no:cacheprovider --junit-xml="$logs/system.xml" \
        "$top/test/system" "$@" >"$logs/system.log" 2>&1
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
        tail -60 "$logs/system.log"
        [ "${counts#* }" -gt 0 ] || failed=$((failed + 1))
    fi
}

case $what in
all)
    run_units
    run_system "$@"
    ;;
unit) run_units ;;
system) run_system "$@" ;;
*)
    sed -n 2,7p "$0" | cut -c3-
    exit 2
    ;;
esac
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
