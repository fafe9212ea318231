#!/bin/sh
# Each script of the command line is a link to this one: its name says which tool of barnabas-tool it is. That is installed
# beside it, or built in the tree, in build, or in BARNABAS_BUILD.
here=${0%/*}
name=${0##*/}
for tool in "${BARNABAS_BUILD:-$here}/barnabas-tool" "$here/../barnabas-tool" "$here/../build/barnabas-tool"; do
    [ -x "$tool" ] && exec "$tool" "${name%.sh}" "$@"
done
echo "$0: barnabas-tool is not built; run make, or set BARNABAS_BUILD to the build directory" >&2
exit 1
