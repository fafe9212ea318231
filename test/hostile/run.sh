#!/bin/bash
# Sends a broker what it should not get: test/hostile/run.sh [--seconds N] [--seed S] [--replay FILE] ...
# Uses the build in BARNABAS_BUILD, or build-asan as test/run.sh makes it.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
export BARNABAS_BUILD=${BARNABAS_BUILD:-$top/build-asan}
[ -x "$BARNABAS_BUILD/barnabas" ] || { echo "There is no $BARNABAS_BUILD/barnabas: run test/run.sh unit first" >&2; exit 1; }
exec "$top/test/.venv/bin/python" "$top/test/hostile/hostile.py" "$@"
