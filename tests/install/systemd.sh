#!/bin/sh
# tests/install/systemd.sh: the real program under a real systemd, installed, hung, upgraded and removed by install.sh.
#
# A throw-away copy of this machine (machine.sh) with systemd as its first process; the release is packed of the program that
# `cargo test` built. Exit code 77: it cannot run here; the last line says why.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
tools=$target/test-tools

cannot() { echo "$*"; exit 77; }

# ---------------------------------------------------------------------------------------------------------------------
# Inside, started by case.sh

# shellcheck disable=SC2154 # case.sh sets code
in_systemd() {
    unit=zonescope-generator.service
    property() { systemctl show --property "$1" --value $unit; }
    # becomes PROPERTY VALUE SECONDS
    becomes() {
        b_left=$(($3 * 5))
        until [ "$(property "$1")" = "$2" ]; do
            b_left=$((b_left - 1))
            [ $b_left -gt 0 ] || { journal; fail "$1 of $unit should become $2 within $3 s; it is $(property "$1")"; }
            sleep 0.2
        done
    }
    journal() { systemctl status --no-pager --full $unit || :; journalctl --no-pager --unit $unit || :; }

    # systemd itself has made some files (its journal) before.
    changes > /machine/at-first
    installer --generator --from /machine/release.tar.gz
    [ "$code" = 0 ] || journal
    expect 0 "installing"
    says "zonescope-generator runs"
    becomes ActiveState active 1
    becomes NotifyAccess main 1
    pid=$(property MainPID)
    [ "$(stat -c %U "/proc/$pid")" = zonescope ] || fail "it should run as zonescope"
    grep -q '^CapEff:.0000000000080004$' "/proc/$pid/status" || fail "with its two capabilities and no more"
    grep -q '^NoNewPrivs:.1$' "/proc/$pid/status" || fail "without a way to more"
    /usr/local/bin/zonescope-generator doctor > /machine/output 2>&1 || fail "doctor"
    says "is ours: host"

    # Hung, it falls silent; the watchdog ends it, and it is started anew.
    mkdir -p /run/systemd/system/$unit.d
    printf '[Service]\nWatchdogSec=2\n' > /run/systemd/system/$unit.d/short.conf
    systemctl daemon-reload
    systemctl restart $unit
    pid=$(property MainPID)
    sleep 5
    [ "$(property MainPID)" = "$pid" ] || { journal; fail "it lives, and says so in time"; }
    kill -STOP "$pid"
    becomes NRestarts 1 30
    becomes ActiveState active 30
    [ "$(property MainPID)" != "$pid" ] || fail "a new process"

    # One that starts and never says that it is ready is no upgrade.
    before=$(sha256sum < /usr/local/bin/zonescope-generator)
    mkdir /tmp/bad
    gzip -dc /machine/release.tar.gz | tar -xf - -C /tmp/bad --strip-components 1
    cat > /tmp/bad/bin/zonescope-generator <<'BAD'
#!/bin/sh
case " $* " in *' --check-config '*) exit 0 ;; esac
exec sleep 1000
BAD
    ( cd /tmp/bad && rm SHA256SUMS && find . -type f -exec sha256sum {} + | sed 's|  \./|  |' > /tmp/sums && mv /tmp/sums SHA256SUMS )
    installer --upgrade --from /tmp/bad
    expect 1 "an upgrade that is never ready"
    says "did not answer within 30 s"
    says "the old one is back"
    [ "$(sha256sum < /usr/local/bin/zonescope-generator)" = "$before" ] || fail "the old program"
    becomes ActiveState active 30

    rm /run/systemd/system/$unit.d/short.conf
    rmdir /run/systemd/system/$unit.d
    installer --uninstall --purge
    expect 0 "uninstalling"
    systemctl daemon-reload
    [ "$(property LoadState)" = not-found ] || fail "systemd should know nothing of it"
    no_process
    changes | diff /machine/at-first - || fail "the machine should be as it was"
    echo "installed, ready; hung, and started anew; an upgrade that is never ready, rolled back; removed, all as it was"
}

# ---------------------------------------------------------------------------------------------------------------------
# Outside

if [ "${CALLS:-}" ]; then
    # case.sh reads this file for its test.
    # shellcheck disable=SC2317 # called by case.sh
    test_under_a_real_systemd() { in_systemd; }
    return 0
fi

[ "$(id -u)" = 0 ] || cannot "needs root"
[ -x /lib/systemd/systemd ] || cannot "no systemd here"
MACHINE_SYSTEMD=yes MACHINE_TEST=true sh "$here/machine.sh" > /dev/null 2>&1 ||
    cannot "systemd cannot be the first process of a throw-away machine here (unshare, overlayfs, a cgroup hierarchy of its own)"
[ -f "$target/debug/zonescope-generator" ] || cannot "$target/debug/zonescope-generator is not built: run the step test first"

mkdir -p "$tools/systemd/bin"
# As a release is: without what only a debugger reads.
strip -o "$tools/systemd/bin/zonescope-generator" "$target/debug/zonescope-generator" 2>/dev/null ||
    cp "$target/debug/zonescope-generator" "$tools/systemd/bin/"
tarball=$(CARGO_TARGET_DIR="$tools/systemd" sh "$root/packaging/release.sh" --binaries "$tools/systemd/bin")

MACHINE_SYSTEMD=yes MACHINE_RELEASE=$tarball MACHINE_SOURCE=$root \
    MACHINE_TEST="sh tests/install/case.sh tests/install/systemd.sh test_under_a_real_systemd" sh "$here/machine.sh"
