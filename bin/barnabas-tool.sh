#!/bin/sh
# Each script of the command line is a link to this one: its name says which tool of barnabas-tool it is. That is beside it, where a
# package has it, or built in the tree, in build, or in BARNABAS_BUILD. A script, so that `bash kafka-topics.sh` goes, too.
find_program() { # FOLDER: leaves it in `program`
    for program in "${BARNABAS_BUILD:-$1}/barnabas-tool" "$1/../lib/barnabas/barnabas-tool" "$1/../../../lib/barnabas/barnabas-tool" \
        "$1/../barnabas-tool" "$1/../build/barnabas-tool"; do
        [ -x "$program" ] && return
    done
    false
}

find_program_of() { # SCRIPT: where it is in the end, by whatever links
    script=$(readlink -f "$1") && find_program "${script%/*}"
}

case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
name=${0##*/}
if find_program "$here" || find_program_of "$0" || find_program_of "$(command -v "$0")"; then
    exec "$program" "${name%.sh}" "$@"
fi
echo "$0: barnabas-tool is not built; run make, or set BARNABAS_BUILD to the build directory" >&2
exit 1
