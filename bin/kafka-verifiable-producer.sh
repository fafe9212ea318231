#!/bin/sh
# kafka-verifiable-producer, which is part of barnabas-tool: installed beside this script, or built in the tree, in build, or in BARNABAS_BUILD.
here=${0%/*}
for tool in "${BARNABAS_BUILD:-$here}/barnabas-tool" "$here/../barnabas-tool" "$here/../build/barnabas-tool"; do
    [ -x "$tool" ] && exec "$tool" kafka-verifiable-producer "$@"
done
echo "$0: barnabas-tool is not built; run make, or set BARNABAS_BUILD to the build directory" >&2
exit 1
