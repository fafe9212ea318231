#!/bin/bash
# The unit test of transports in a machine whose kernel encrypts (kTLS), as kernels of build machines often cannot.
#
#   test/ktls/run.sh [BUILD] [MEGABYTES]
#
# BUILD has test/unit/test_transport, made without sanitizers. Of so many megabytes is told what it costs to send them: in seconds of a
# machine that does an instruction in a nanosecond, whatever else the host does meanwhile.
#
# It takes the Debian packages qemu-system-x86, busybox-static and cpio, and brings linux-image-cloud-amd64. Nothing of this needs root, or KVM.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-$top/build-sim}" && pwd)
megabytes=${2:-16}
work=$build/ktls
root=$work/root
patience=900 # seconds
# In the order in which they need each other; without the first five the kernel takes no keys.
modules=(gf128mul ctr ghash-generic gcm ccm cryptd crypto_simd aesni-intel ghash-clmulni-intel tls)

bring_kernel() {
    [ -f "$work/kernel/.complete" ] && return
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
    rm -rf "$work/kernel"
    mkdir -p "$work/kernel"
    (cd "$work/kernel" && apt-get download -q "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
    touch "$work/kernel/.complete"
}

write_init() {
    cat >"$root/init" <<EOF
#!/bin/sh
mount -t proc proc /proc
mount -t tmpfs tmp /tmp
mount -t devtmpfs dev /dev
ip link set lo up
for m in ${modules[*]}; do insmod /modules/\$m.ko; done
BARNABAS_TEST_KTLS=1 BARNABAS_TEST_MEGABYTES=$megabytes /bin/test_transport
echo "test_transport ended with \$?"
grep 'Tls[TR]xSw' /proc/net/tls_stat
poweroff -f
EOF
    chmod +x "$root/init"
}

make_root() {
    local program=$build/test/unit/test_transport module name
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,modules,proc,tmp}
    cp "$(command -v busybox)" "$root/bin/"
    for name in grep insmod ip mount poweroff sh; do ln -s busybox "$root/bin/$name"; done
    cp "$program" "$root/bin/"
    ldd "$program" | grep -o '/[^ ]*' | while read -r name; do
        mkdir -p "$root$(dirname "$name")"
        cp -L "$name" "$root$name"
    done
    for name in "${modules[@]}"; do
        module=$(find "$work/kernel/lib/modules" -name "$name.ko")
        cp "$module" "$root/modules/"
    done
    write_init
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd"
}

mkdir -p "$work"
bring_kernel
make_root
timeout "$patience" qemu-system-x86_64 -M q35 -cpu max -m 512 -nographic -no-reboot -icount shift=0,sleep=off -kernel "$work"/kernel/boot/vmlinuz-* \
    -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1" </dev/null | tr -d '\r' >"$work/log" || true
grep -a '^\[\|^TLS\|^Tls\|: error: \|^test_transport' "$work/log" || tail -20 "$work/log"
grep -qx 'test_transport ended with 0' "$work/log"
