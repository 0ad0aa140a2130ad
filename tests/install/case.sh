#!/bin/sh
# case.sh FILE FUNCTION: runs one test; inside a machine (machine.sh) only. What tests share stands here.
set -u

export MACHINE=/machine CALLS=/machine/calls
: > "$CALLS"
: > /machine/daemons
chmod 666 /machine/daemons # daemons write to it, whoever they run as
stand_ins=/src/tests/install/stand-ins
shell=${MACHINE_SHELL:-sh}

fail() {
    echo "not so: $*"
    [ ! -s /machine/output ] || { echo "its output:"; sed 's/^/  | /' /machine/output; }
    [ ! -s "$CALLS" ] || { echo "the calls:"; sed 's/^/  > /' "$CALLS"; }
    exit 1
}
skip() { echo "SKIP: $*"; exit 1; }

# use NAME...: these stand-ins come before the real ones.
use() {
    mkdir -p /machine/bin
    for use_name in "$@"; do
        case $use_name in
            cargo | systemctl) use_file=$use_name ;;
            apt-get | apt-cache) use_file=apt ;;
            *) use_file=illumos ;;
        esac
        cp "$stand_ins/$use_file" "/machine/bin/$use_name"
        chmod 755 "/machine/bin/$use_name"
    done
    PATH=/machine/bin:$PATH
    export PATH
}

# hide_compilers: this machine's own compilers are not there. Hidden by mounts, which end with the machine: nothing that a
# person has is ever removed, not even in a copy.
hide_compilers() {
    [ ! -d /root/.cargo ] || mount -t tmpfs hidden /root/.cargo
    for hc_dir in $(echo "$PATH" | tr : ' '); do
        case $hc_dir in /machine/*) continue ;; esac
        for hc_tool in cargo rustc cc gcc; do
            [ ! -x "$hc_dir/$hc_tool" ] || mount -o bind /dev/null "$(readlink -f "$hc_dir/$hc_tool")"
        done
    done
}

# installer ARGUMENT...: runs install.sh of the source tree in the shell under test; sets code, writes /machine/output.
installer() {
    code=0
    # shellcheck disable=SC2086 # "busybox sh" is two words
    $shell /src/install.sh "$@" > /machine/output 2>&1 < /dev/null || code=$?
}

expect() { [ "$code" = "$1" ] || fail "$2: exit code $code, not $1"; }
says() { grep -qF -e "$1" /machine/output || fail "it should say: $1"; }
says_not() { ! grep -qF -e "$1" /machine/output || fail "it should not say: $1"; }
called() { grep -qxF -e "$1" "$CALLS" || fail "it should have called: $1"; }
is_file() { [ -f "$1" ] || fail "$1 should be there"; }
is_gone() { [ ! -e "$1" ] || fail "$1 should not be there"; }

# calls_are: the calls so far, of those whose name is given, are exactly standard input.
calls_are() {
    cat > /machine/expected
    grep -E "^($1)( |\$)" "$CALLS" > /machine/actual || :
    diff /machine/expected /machine/actual || fail "the calls of $1 (< expected, > called)"
}

# What differs from the machine as it was, below /, other than where tests themselves write. The account files' own
# backups (passwd- and the like) are useradd's, of its own doing and there before.
changes() {
    ( cd /machine/upper && find . ! -path . | sed 's|^\.||' | sort ) |
        grep -Ev '^/(src|machine|tmp|run|proc|dev)(/|$)|^/etc/(passwd|group|shadow|gshadow)-$|^/etc/\.pwd\.lock$' |
        while read -r c_path; do
            c_old=/machine/lower$c_path
            if [ ! -e "$c_path" ] && [ ! -L "$c_path" ]; then
                [ ! -e "$c_old" ] || echo "gone $c_path"
            elif [ ! -e "$c_old" ] && [ ! -L "$c_old" ]; then
                echo "new $c_path"
            elif [ "$(stat -c '%F %a %u %g' "$c_path")" != "$(stat -c '%F %a %u %g' "$c_old")" ]; then
                echo "other $c_path"
            elif [ -f "$c_path" ] && ! cmp -s "$c_path" "$c_old"; then
                echo "other $c_path"
            fi
        done
}
unchanged() {
    changes > /machine/changes
    [ ! -s /machine/changes ] || { cat /machine/changes; fail "the machine should be as it was ($1)"; }
}

# Processes other than this test's own: in a machine there are no others.
no_process() {
    for np_tries in 1 2 3 4 5; do
        np_left=$(for np_dir in /proc/[0-9]*; do
            tr '\0' ' ' < "$np_dir/cmdline" 2>/dev/null | grep -E 'zonescope-|grandchild|cargo' || :
        done)
        [ -n "$np_left" ] || return 0
        sleep 0.2
    done
    fail "after $np_tries looks these processes are left: $np_left"
}

# One tree of the stand-ins' programs: what they print as their version, and how they behave.
version() { echo "$1" > /machine/version; }

cd /src || exit 1
version 0.1.0
# shellcheck source=/dev/null
. "./$1"
"$2"
