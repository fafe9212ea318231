#!/bin/bash
# Installs the Debian packages of the given groups that are missing: contrib/install-packages.sh build run test
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
missing=()
for group in "$@"; do
    while read -r of name; do
        [ "$of" = "$group" ] || continue
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done < <(grep -v '^#' "$here/packages")
done
[ ${#missing[@]} -eq 0 ] && exit 0
# A JDK or Maven that is there already, from elsewhere, will do.
keep=()
for name in "${missing[@]}"; do
    case $name in
    openjdk-*) command -v javac >/dev/null || keep+=("$name") ;;
    golang-go) command -v go >/dev/null || keep+=("$name") ;;
    maven) command -v mvn >/dev/null || keep+=("$name") ;;
    python3 | python3-venv) python3 -m venv --help >/dev/null 2>&1 || keep+=("$name") ;;
    *) keep+=("$name") ;;
    esac
done
[ ${#keep[@]} -eq 0 ] && exit 0
command -v apt-get >/dev/null || {
    echo "These Debian packages are missing, and there is no apt-get to install them: ${keep[*]}" >&2
    exit 1
}
root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "Run this as root, or install sudo, or install these packages yourself: ${keep[*]}" >&2
        exit 1
    }
    root=(sudo)
fi
echo "Installing: ${keep[*]}"
log=$(mktemp)
if ! { "${root[@]}" apt-get update -q && "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${keep[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    exit 1
fi
rm -f "$log"
