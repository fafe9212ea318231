#!/bin/bash
# Builds all packages, twice where they must be the same, and tries them: test/packages/run.sh FOLDER. Takes some ten minutes.
# Needs root, and what contrib/packages lists under "soak".
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${1:?usage: $0 FOLDER}"
work=$(cd "$1" && pwd)
rm -rf "${work:?}"/{one,another,rpm}
bad=0

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/$name.log" 2>&1; then
        echo "ok   $name"
    else
        echo "FAIL $name: $work/$name.log"
        tail -20 "$work/$name.log"
        bad=1
    fi
}

# Elsewhere, in another time zone, with another umask, and one thing at a time.
built_again() {
    (umask 027 && export TZ=Asia/Tokyo DEB_BUILD_OPTIONS=parallel=1 && "$top/contrib/build-debs.sh" "$work/another/folder" "$work"/one/*.orig.tar.gz) &&
        for package in "$work"/one/*.deb; do
            cmp "$package" "$work/another/folder/${package##*/}" || return 1
        done
}

probes_are_in() {
    dpkg-deb -x "$work"/one/barnabas_*.deb "$work/one/unpacked" && "$top/test/check-probes" "$work/one/unpacked/usr/sbin/barnabas"
}

# As systemd judges it, without one that runs: 1.5 and less is "OK".
unit_is_confined() {
    local unit=$work/one/unpacked/lib/systemd/system/barnabas.service exposure
    sed -i "s:^ExecStart=/usr/sbin/barnabas:ExecStart=/bin/true:" "$unit" && systemd-analyze verify --man=no "$unit" || return 1
    exposure=$(systemd-analyze security --offline=yes --no-pager "$unit" | sed -n 's/.*exposure level for barnabas.service: \([0-9.]*\).*/\1/p')
    echo "exposure $exposure"
    awk -v x="$exposure" 'BEGIN { exit !(x != "" && x <= 1.5) }'
}

# In a base where what systemd's tools make belongs to no package of ours.
purged_without_a_trace() {
    mmdebstrap --variant=minbase --include=systemd-standalone-sysusers,systemd-standalone-tmpfiles bookworm "$work/base.tar" && gzip -1f "$work/base.tar" &&
        piuparts --basetgz="$work/base.tar.gz" -d bookworm --skip-logrotatefiles-test "$work"/one/barnabas_*.deb "$work"/one/barnabas-tools_*.deb "$work"/one/barnabas-doc_*.deb
}

check debs "$top/contrib/build-debs.sh" "$work/one"
check debs-are-reproducible built_again
check probes probes_are_in
command -v systemd-analyze >/dev/null && check unit unit_is_confined
check install "$top/test/packages/install" "$(echo "$work"/one/*.orig.tar.gz)"
check chroot "$top/test/packages/chroot" "$work/one"
check piuparts purged_without_a_trace
check systemd "$top/test/packages/systemd" "$work/one"
check image "$top/test/packages/image" "$(echo "$work"/one/barnabas_*.deb)"
command -v helm >/dev/null && check chart "$top/test/packages/chart" "$work/one/unpacked/usr/sbin/barnabas"
check rpms "$top/contrib/build-rpms.sh" "$(echo "$work"/one/*.orig.tar.gz)" "$work/rpm" --nodeps
exit $bad
