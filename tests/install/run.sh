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

# one FILE FUNCTION SHELL: runs it, and prints its result in one piece.
one() {
    name="$(basename "$1" .sh)/$2${3:+ (${3##*/})}"
    log=$(mktemp)
    if MACHINE_TEST="sh tests/install/case.sh $1 $2" MACHINE_SHELL=${3:-sh} MACHINE_SOURCE=$root sh "$here/machine.sh" > "$log" 2>&1; then
        echo "ok      $name"
    elif grep -q '^SKIP: ' "$log"; then
        skip "$name: $(sed -n 's/^SKIP: //p' "$log" | head -n 1)"
    else
        echo "FAILED  $name
$(sed 's/^/        /' "$log")"
    fi
    rm -f "$log"
}

# A line per run: FILE FUNCTION SHELL.
list() {
    for file in tests/install/cases/*.sh; do
        sed -n 's/^\(test_[a-z0-9_]*\)() {\(.*\)/\1 \2/p' "$file" | while read -r function comment; do
            case $(basename "$file" .sh)/$function in *"$pattern"*) ;; *) continue ;; esac
            case $comment in
                # busybox prefers its own uname to the stand-in's.
                *'every shell but busybox'*) shells | grep -v busybox | sort -u | sed "s|^|$file $function |" ;;
                *'every shell'*) shells | sort -u | sed "s|^|$file $function |" ;;
                *) echo "$file $function" ;;
            esac
        done
    done
}

cd "$root" || exit 1
if [ "${1:-}" = --one ]; then
    one "$2" "$3" "${4:-}${5:+ $5}"
    exit 0
fi
machine_works || exit 0
results=$(mktemp)
# They mostly wait: more at once than there are processors.
list | xargs -P "${INSTALL_TESTS_AT_ONCE:-4}" -L 1 sh "$here/run.sh" --one | tee "$results"
passed=$(grep -c '^ok ' "$results") failed=$(grep -c '^FAILED ' "$results")
rm -f "$results"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
