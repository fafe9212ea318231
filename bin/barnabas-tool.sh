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

find_program_of() { # SCRIPT: beside it, or where it is in the end, by whatever links
    case $1 in
    */*) find_program "${1%/*}" || { script=$(readlink -f "$1") && find_program "${script%/*}"; } ;;
    *) false ;;
    esac
}

# Without a folder it is a script of the current one, where shells look first, or one that was found by PATH. Nothing of the current
# folder is run then: that may be anybody's.
called=$0
case $0 in
*/*) ;;
*) if [ -f "./$0" ]; then called=./$0; else called=$(command -v "$0"); fi ;;
esac
name=${0##*/}
if find_program_of "$called"; then
    exec "$program" "${name%.sh}" "$@"
fi
echo "$0: barnabas-tool is not built; run make, or set BARNABAS_BUILD to the build directory" >&2
exit 1
