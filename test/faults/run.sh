#!/bin/bash
# Breaks a real cluster for a while: test/faults/run.sh [--minutes N] [--seed S] [--only FAULT,...]
# Needs root, for network namespaces. Uses the build in BARNABAS_BUILD, or build-asan as test/run.sh makes it.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=${BARNABAS_BUILD:-$top/build-asan}
[ -x "$build/barnabas" ] || { echo "There is no $build/barnabas: run test/run.sh unit first" >&2; exit 1; }
exec "$top/test/.venv/bin/python" "$top/test/faults/faults.py" --program "$build/barnabas" "$@"
