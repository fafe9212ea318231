#!/bin/bash
# Builds the packages for Fedora and its relatives: contrib/build-rpms.sh ARCHIVE FOLDER [OPTION OF RPMBUILD]...
# On Debian, where rpm knows of no packages, with --nodeps.
set -euo pipefail
given=${1:?usage: $0 ARCHIVE FOLDER}
mkdir -p "${2:?usage: $0 ARCHIVE FOLDER}"
out=$(cd "$2" && pwd)
folder=$(tar -tf "$given" | sed -n '1s:/.*::p') # which the archive is called by, whatever its file is called
archive=$out/$folder.tar.gz
cp "$given" "$archive"
rpmbuild -ta "$archive" --define "_topdir $out" "${@:3}" >"$out/build.log" 2>&1 || {
    tail -20 "$out/build.log" >&2
    exit 1
}
find "$out" -name '*.rpm'
