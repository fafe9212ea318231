#!/bin/bash
# The unit test of transports in a machine whose kernel encrypts (kTLS), as kernels of build machines often cannot.
#
#   test/ktls/run.sh [BUILD] [MEGABYTES]
#
# BUILD has test/unit/test_transport, made without sanitizers. Of so many megabytes is told what it costs to send them: in seconds of a
# machine that does an instruction in a nanosecond, whatever else the host does meanwhile.
#
# It takes the Debian package qemu-system-x86, and what image.sh takes. Nothing of this needs root, or KVM.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-$top/build-sim}" && pwd)
work=$build/ktls
patience=900 # seconds

mkdir -p "$work"
cat >"$work/test" <<EOF
BARNABAS_TEST_KTLS=1 BARNABAS_TEST_MEGABYTES=${2:-16} /bin/test_transport
echo "test_transport ended with \$?"
grep 'Tls[TR]xSw' /proc/net/tls_stat
EOF
"$top/test/ktls/image.sh" "$work" "$work/test" "$build/test/unit/test_transport"
timeout "$patience" qemu-system-x86_64 -M q35 -cpu max -m 512 -nographic -no-reboot -icount shift=0,sleep=off -kernel "$work/vmlinuz" \
    -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1" </dev/null | tr -d '\r' >"$work/log" || true
grep -a '^\[\|^TLS\|^Tls\|: error: \|^test_transport' "$work/log" || tail -20 "$work/log"
grep -qx 'test_transport ended with 0' "$work/log"
