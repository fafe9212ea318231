#!/bin/bash
# Makes an image for containers from Debian packages alone: contrib/container/build.sh BARNABAS.DEB FOLDER
#
# The folder gets
#   rootfs/             what is in the image: the broker, the libraries that it needs, certificates of authorities; no shell,
#                       no package manager
#   barnabas-V-A.tar.gz the image, as `docker load` and `skopeo copy docker-archive:` take it; the same input gives the same
#                       file
#   sbom.json           what of which packages is in it, in CycloneDX 1.5; in the image, too
#
# Needs dpkg, the libraries of the package as installed packages, and Python.
set -euo pipefail
deb=${1:?usage: $0 BARNABAS.DEB FOLDER}
mkdir -p "${2:?usage: $0 BARNABAS.DEB FOLDER}"
out=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$out/rootfs
version=$(dpkg-deb -f "$deb" Version)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(dpkg-deb --ctrl-tarfile "$deb" | tar -tv --full-time --utc -f - ./control | awk '{ print $4, $5 " UTC" }' | date -f - +%s)}
umask 022
rm -rf "$root"
mkdir -p "$root"/{usr/sbin,usr/lib,usr/lib64,etc/ssl/certs,etc/barnabas,etc/kafka/secrets,var/lib/barnabas,var/log/barnabas,tmp,usr/share/barnabas}
ln -s usr/sbin usr/lib usr/lib64 "$root/"

package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
dpkg-deb -x "$deb" "$package"
cp "$package/usr/sbin/barnabas" "$root/usr/sbin/"
cp -r "$package/etc/barnabas/dialects" "$root/etc/barnabas/"
printf 'log.dirs=/var/lib/barnabas/data\nbarnabas.http.listeners=METRICS://:9404\n' >"$root/etc/barnabas/server.properties"

# Each library where the loader looks for it, which is its own path where everything is below /usr; and those that are only
# loaded when they are asked for: names, and certificates of OpenSSL's old formats.
libraries() {
    ldd "$root/usr/sbin/barnabas" | grep -o '/[^ ]*'
    for name in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2 ossl-modules/legacy.so; do
        for folder in /usr/lib/*-linux-gnu; do
            [ -e "$folder/$name" ] && echo "$folder/$name"
        done
    done
}
: >"$out/files"
for library in $(libraries | sort -u); do
    real=$(readlink -f "$library")
    mkdir -p "$root/$(dirname "$library")"
    cp "$real" "$root/$library"
    chmod 755 "$root/$library"
    echo "$real" >>"$out/files"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp -L /etc/ssl/openssl.cnf "$root/etc/ssl/"
mkdir -p "$root/usr/lib/ssl" && ln -s /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf" && ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
printf 'root:x:0:0:root:/:/nologin\nbarnabas:x:65532:65532:barnabas:/var/lib/barnabas:/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nbarnabas:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"

python3 "$here/image.py" "$root" "$out" "$version" "$deb"
rm "$out/files"
