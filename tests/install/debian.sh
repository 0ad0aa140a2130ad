#!/bin/sh
# tests/install/debian.sh: from a bare Debian to answers and back, with the real programs.
#
# debootstrap makes the Debian (kept in the directory of test tools); a release is packed of the programs that
# `cargo test` built, and served on loopback. Exit code 77: it cannot run here; the last line says why.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
tools=$target/test-tools

cannot() { echo "$*"; exit 77; }

# ---------------------------------------------------------------------------------------------------------------------
# Inside, started by case.sh

in_debian() {
    command -v python3 > /dev/null && fail "this Debian should be bare"
    curl_sh='curl -fsSL http://127.0.0.1:8000/install.sh | sh -s --'
    until curl -s -o /dev/null http://127.0.0.1:8000/; do sleep 0.1; done

    for role in generator collector-columnar; do
        code=0
        sh -c "$curl_sh --$role" > /machine/output 2>&1 || code=$?
        expect 0 "one line installs the $role"
        says "systemd does not run here, so nothing was started"
        # Every key that the default configuration shows is one that the program knows.
        sed 's/^#\([a-z]\)/\1/' "/etc/zonescope/$role.toml" > "/tmp/$role.toml"
        "zonescope-$role" run --config "/tmp/$role.toml" --check-config || fail "the default configuration's keys"
        # The unit's command line, as the unit's user, with the unit's capabilities.
        unit=/etc/systemd/system/zonescope-$role.service
        capabilities=$(sed -n 's/^AmbientCapabilities=//p' "$unit" | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g')
        # shellcheck disable=SC2046 # words
        setpriv --reuid zonescope --regid zonescope --clear-groups --no-new-privs \
            --inh-caps "-all${capabilities:+,$capabilities}" --ambient-caps "-all${capabilities:+,$capabilities}" \
            $(sed -n 's/^ExecStart=//p' "$unit") > "/tmp/$role.log" 2>&1 &
        eval "pid_$(echo $role | tr - _)=$!"
    done

    tries=0
    until zonescope-collector-columnar query "select count(*) as seconds from use where zone = 'global'" --format csv > /machine/output 2>&1 &&
        [ "$(tail -n 1 /machine/output)" -gt 8 ]; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || { cat /tmp/*.log; fail "query should answer"; }
        sleep 1
    done
    zonescope-collector-columnar query "select zone, resource, max(utilization) as peak from use group by 1, 2 order by 3 desc limit 5"

    sh -c "$curl_sh --upgrade" > /machine/output 2>&1 || fail "upgrading to the same"
    says "zonescope-generator is up to date: nothing to change"
    says "zonescope-collector-columnar is up to date: nothing to change"

    # shellcheck disable=SC2154 # set by eval
    for pid in $pid_collector_columnar $pid_generator; do
        kill -TERM "$pid"
        code=0
        wait "$pid" || code=$?
        [ $code = 0 ] || { cat /tmp/*.log; fail "SIGTERM should end it with 0, not $code"; }
    done

    sh -c "$curl_sh --uninstall --purge" > /machine/output 2>&1 || fail "uninstalling"
    no_process
    unchanged "after --uninstall --purge"
}

# ---------------------------------------------------------------------------------------------------------------------
# Outside

if [ "${CALLS:-}" ]; then
    # case.sh reads this file for its test.
    # shellcheck disable=SC2317 # called by case.sh
    test_from_a_bare_debian() { in_debian; }
    return 0
fi

[ "$(id -u)" = 0 ] || cannot "needs root"
command -v python3 > /dev/null || cannot "needs python3, to serve the release"
MACHINE_TEST=true sh "$here/machine.sh" > /dev/null 2>&1 || cannot "no throw-away machine can be made (unshare and overlayfs)"
for program in generator collector-columnar; do
    [ -f "$target/debug/zonescope-$program" ] || cannot "$target/debug/zonescope-$program is not built: run the step test first"
done
# Of this machine's own release, whose C library the programs were linked with.
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
grep -q '^ID=debian' /etc/os-release && [ -n "$codename" ] || cannot "the programs were built on another system than Debian"
command -v debootstrap > /dev/null || cannot "no debootstrap here"

debian=$tools/debian-$codename
if [ ! -d "$debian" ]; then
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sort -u | head -n 1)
    rm -rf "$debian.new"
    debootstrap --variant=minbase --include=curl "$codename" "$debian.new" ${mirror:+"$mirror"} > "$tools/debootstrap.log" 2>&1 ||
        cannot "debootstrap failed: $(tail -n 1 "$tools/debootstrap.log")"
    mv "$debian.new" "$debian"
fi

# As a release is: without what only a debugger reads.
mkdir -p "$tools/release/bin"
for program in generator collector-columnar; do
    strip -o "$tools/release/bin/zonescope-$program" "$target/debug/zonescope-$program" 2>/dev/null ||
        cp "$target/debug/zonescope-$program" "$tools/release/bin/"
done
export CARGO_TARGET_DIR="$tools/release"
rm -rf "$tools/release/zonescope-release"
sh "$root/packaging/release.sh" --binaries "$tools/release/bin" > /dev/null
sh "$root/packaging/release.sh" --stamp http://127.0.0.1:8000 "$tools"/release/zonescope-release/*.sha256 > /dev/null

MACHINE_LOWER=$debian MACHINE_SERVE=$tools/release/zonescope-release MACHINE_SOURCE=$root \
    MACHINE_TEST="sh tests/install/case.sh tests/install/debian.sh test_from_a_bare_debian" sh "$here/machine.sh"
