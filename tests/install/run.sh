#!/bin/sh
# tests/install/run.sh [PATTERN]     runs the tests of install.sh and packaging whose names contain PATTERN
#
# Each test is a function test_... in cases/*.sh and has a machine of its own: a copy-on-write copy of this machine's
# root (overlayfs), with its own processes, network and mounts, thrown away afterwards. So what install.sh does is real,
# as root, with real users and files, and nothing of it stays. The programs that it installs are stand-ins (stand-ins/),
# as are those that would build them, systemctl, and the commands of illumos, which record how they are called.
#
# What cannot run here appends a line to the file ZONESCOPE_SKIPPED, which test.sh shows at its end.
set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
pattern=${1:-}

skip() {
    echo "SKIPPED: install: $*"
    [ -z "${ZONESCOPE_SKIPPED:-}" ] || echo "install: $*" >> "$ZONESCOPE_SKIPPED"
}

shells() {
    # /bin/sh first: what most machines have.
    for shell in sh bash dash ksh93; do command -v $shell; done
    busybox=$(command -v busybox) && echo "$busybox sh"
}

machine_works() {
    [ "$(id -u)" = 0 ] || { skip "all of it: needs root, to make throw-away copies of this machine"; return 1; }
    command -v python3 >/dev/null || { skip "all of it: the stand-ins need python3"; return 1; }
    MACHINE_TEST=true sh "$here/machine.sh" >/dev/null 2>&1 ||
        { skip "all of it: no throw-away copy of this machine can be made (unshare and overlayfs)"; return 1; }
}

passed=0 failed=0
run() { # run FILE FUNCTION SHELL
    name="$(basename "$1" .sh)/$2${3:+ (${3##*/})}"
    case $name in *"$pattern"*) ;; *) return 0 ;; esac
    log=$(mktemp)
    if MACHINE_TEST="sh tests/install/case.sh $1 $2" MACHINE_SHELL=${3:-sh} MACHINE_SOURCE=$root sh "$here/machine.sh" > "$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $name"
    elif grep -q '^SKIP: ' "$log"; then
        skip "$name: $(sed -n 's/^SKIP: //p' "$log" | head -n 1)"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        sed 's/^/        /' "$log"
    fi
    rm -f "$log"
}

machine_works || exit 0
cd "$root" || exit 1
for file in tests/install/cases/*.sh; do
    # shellcheck disable=SC2013 # names, one a line
    for function in $(sed -n 's/^\(test_[a-z0-9_]*\)() {.*/\1/p' "$file"); do
        if grep -q "^$function() { # every shell" "$file"; then
            shells | sort -u | while read -r shell; do echo "$shell"; done > "${TMPDIR:-/tmp}/zonescope-shells.$$"
            while read -r shell <&3; do run "$file" "$function" "$shell"; done 3< "${TMPDIR:-/tmp}/zonescope-shells.$$"
            rm -f "${TMPDIR:-/tmp}/zonescope-shells.$$"
        else
            run "$file" "$function" ''
        fi
    done
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
