#!/bin/bash
# Builds the Debian packages: contrib/build-debs.sh FOLDER [ARCHIVE]
#
# From the archive of make dist, or, without one, from this tree. The folder gets the source package, all binary packages
# and what lintian said. `debian` is kept in contrib/debian, as the tree is not only Debian's; here it is put where
# dpkg-buildpackage looks for it.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?usage: $0 FOLDER [ARCHIVE]}"
out=$(cd "$1" && pwd)
version=$(sed -n 's/^AC_INIT(\[barnabas\], \[\([^]]*\)\].*/\1/p' "$top/configure.ac")
orig=$out/barnabas_$version.orig.tar.gz
if [ -n "${2:-}" ]; then
    cp "$2" "$orig"
else
    [ -x "$top/configure" ] || "$top/autogen.sh"
    mkdir -p "$out/dist"
    (cd "$out/dist" && "$top/configure" && make dist) >"$out/dist.log" 2>&1 || {
        tail "$out/dist.log" >&2
        exit 1
    }
    mv "$out/dist/barnabas-$version.tar.gz" "$orig"
    rm -rf "$out/dist"
fi
tar -C "$out" -xf "$orig"
cp -a "$out/barnabas-$version/contrib/debian" "$out/barnabas-$version/debian"
(cd "$out/barnabas-$version" && dpkg-buildpackage --no-sign -j"$(nproc)") >"$out/build.log" 2>&1 || {
    tail -20 "$out/build.log" >&2
    exit 1
}
if command -v lintian >/dev/null; then
    lintian --pedantic --fail-on error,warning,info,pedantic "$out"/barnabas_*.changes
fi
