#!/bin/bash
# A kernel that encrypts what sockets send (kTLS), and what is to be run with it: test/ktls/image.sh FOLDER INIT PROGRAM...
#
# Leaves FOLDER/vmlinuz and FOLDER/initrd. INIT is a script for busybox's shell, to which the programs are in /bin, and in / what is in
# FOLDER/files; before it comes what each needs: the usual file systems and the kernel's modules.
#
# It takes the Debian packages busybox-static and cpio, and brings linux-image-cloud-amd64. Nothing of this needs root.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
init=$2
shift 2
root=$folder/root
# In the order in which they need each other; without the first five the kernel takes no keys.
modules=(gf128mul ctr ghash-generic gcm ccm cryptd crypto_simd aesni-intel ghash-clmulni-intel tls
    virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net)

bring_kernel() {
    [ -f "$folder/kernel/.complete" ] && return
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
    rm -rf "$folder/kernel"
    mkdir -p "$folder/kernel"
    (cd "$folder/kernel" && apt-get download -q "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
    touch "$folder/kernel/.complete"
}

add_libraries() { # PATH
    ldd "$1" | grep -o '/[^ ]*' | while read -r name; do
        [ -e "$root$name" ] && continue
        mkdir -p "$root$(dirname "$name")"
        cp -L "$name" "$root$name"
    done
}

add_program() { # PATH
    cp "$1" "$root/bin/"
    add_libraries "$1"
}

# As they are, with the libraries of those that are libraries.
add_files() { # FOLDER
    cp -a "$1/." "$root/"
    find "$1" -name '*.so' | while read -r name; do add_libraries "$name"; done
}

bring_kernel
rm -rf "$root"
mkdir -p "$root"/{bin,dev,etc,modules,proc,sys,tmp}
cp "$(command -v busybox)" "$root/bin/"
for name in awk cat grep insmod ip kill mount poweroff sh sleep; do ln -s busybox "$root/bin/$name"; done
[ ! -d "$folder/files" ] || add_files "$folder/files"
for program in "$@"; do add_program "$program"; done
for name in "${modules[@]}"; do cp "$(find "$folder/kernel/lib/modules" -name "$name.ko")" "$root/modules/"; done
{
    cat <<EOF
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t devtmpfs dev /dev
ip link set lo up
for m in ${modules[*]}; do insmod /modules/\$m.ko; done
EOF
    cat "$init"
    echo poweroff -f
} >"$root/init"
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc) >"$folder/initrd" # as it is, as an emulated machine takes long to unpack it
cp "$folder"/kernel/boot/vmlinuz-* "$folder/vmlinuz"
