#!/bin/bash
# Shows that the simulation bites: each rule in broken/ is broken in turn, in a copy of the sources, and the simulation
# must see it.
#
#   test/sim/bites.sh [--seeds N] [--jobs J] [NAME...]
#
# A patch begins with the rule that it breaks. One that begins with "Redundant:" should not be seen, as another rule
# covers it: it says which. One that begins with "Unseen:" is a gap that is known. Prints what was seen first, and fails where that is not as it should be.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
seeds=20000 jobs=$(nproc)
while [ "${1:-}" = --seeds ] || [ "${1:-}" = --jobs ]; do
    [ "$1" = --seeds ] && seeds=$2 || jobs=$2
    shift 2
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { # WHAT [LOG]
    [ $# -lt 2 ] || tail -20 "$2"
    echo "FAIL $1"
    exit 1
}

build() {
    make -C "$work/build" -j"$jobs" test/sim/sim >"$work/build.log" 2>&1
}

# The first seed that fails, if any, and what it says.
run() {
    "$work/build/test/sim/sim" --seeds "$seeds" --jobs "$jobs" --first >"$work/run.log" 2>&1
    seed=$(sed -n 's/^FAIL seed \([0-9]*\) .*/\1/p' "$work/run.log" | sort -n | head -1)
    why=
    [ -n "$seed" ] || return
    "$work/sound" --seed "$seed" >"$work/sound.log" 2>&1 || fail "seed $seed without anything broken" "$work/sound.log"
    local status=0
    { timeout 60 "$work/build/test/sim/sim" --seed "$seed" >"$work/one.log" 2>&1 || status=$?; } 2>/dev/null
    why=$(grep -m1 -o 'VIOLATION.*' "$work/one.log" | sed 's/^VIOLATION at [0-9]* us: //')
    [ -n "$why" ] || why="ends with $status: $(tail -1 "$work/one.log")"
}

break_rule() { # PATCH
    patch -d "$work/source" -p1 -F0 --no-backup-if-mismatch "${@:2}" <"$1" >"$work/patch.log" 2>&1 &&
        ! grep -q fuzz "$work/patch.log"
}

mkdir "$work/source" "$work/build"
cp -a "$top"/{Makefile.am,configure.ac,autogen.sh,bin,conf,contrib,man,src} "$work/source" &&
    (cd "$top" && tar -cf - test/*.am test/disk test/sim) | tar -C "$work/source" -xf - || fail copy
(cd "$work/source" && ./autogen.sh) >"$work/autogen.log" 2>&1 || fail autogen "$work/autogen.log"
# Warnings are no errors here: what is broken on purpose may leave something unused.
(cd "$work/build" && "$work/source/configure" CFLAGS='-O1 -g') >"$work/configure.log" 2>&1 ||
    fail configure "$work/configure.log"
build || fail build "$work/build.log"
cp "$work/build/test/sim/sim" "$work/sound"

[ $# -gt 0 ] || set -- $(cd "$top/test/sim/broken" && ls *.patch)
wrong=0
for name in "$@"; do
    patch=$top/test/sim/broken/${name%.patch}.patch
    case $(head -1 "$patch") in
    Redundant:*) expected=redundant ;;
    Unseen:*) expected=unseen ;;
    *) expected=seen ;;
    esac
    break_rule "$patch" || fail "$patch does not apply: bring it up to date" "$work/patch.log"
    build || fail "$patch does not compile" "$work/build.log"
    run
    mark=
    if [ "$expected" = seen ] && [ -z "$seed" ]; then
        mark="NOT SEEN in $seeds seeds"
    elif [ "$expected" = redundant ] && [ -n "$seed" ]; then
        mark="SEEN, though redundant:"
    elif [ "$expected" = unseen ] && [ -n "$seed" ]; then
        mark="SEEN, which it was not before:"
    elif [ "$expected" != seen ]; then
        why="$expected in $seeds seeds"
    fi
    [ -z "$mark" ] || wrong=$((wrong + 1))
    printf '%-28s %6s  %s\n' "$(basename "$patch" .patch)" "${seed:--}" "${mark:+$mark }$why"
    break_rule "$patch" -R || fail "$patch cannot be taken back" "$work/patch.log"
done
[ $wrong -eq 0 ] || fail "$wrong rules"
