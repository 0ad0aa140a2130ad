#!/bin/sh
# chaos.sh: a generator and its collectors under load, while they are killed, stopped and restarted at random, the
# network between them loses and is cut, and disks fill. Then every frame is counted: tests/chaos.py says how.
#
# sh tests/chaos.sh [--seconds N] [--seed N] [--bin DIR] [--zones N]
#   the last line: frames N lost N duplicated N gaps N
#
# Exit codes: 0 nothing lost, nothing twice; 1 otherwise; 77 cannot run here. Everything happens in namespaces of its own (mounts,
# network, processes): whatever ends this script, nothing stays behind.
set -u

SKIP=77
# After the chaos: time to catch up and to count.
GRACE_SECONDS=420

seconds=600
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${CARGO_TARGET_DIR:-$root/target}/debug
arguments=
while [ $# -gt 1 ]; do
    case $1 in
        --seconds) seconds=$2; arguments="$arguments --seconds $2" ;;
        --seed | --zones) arguments="$arguments $1 $2" ;;
        --bin) bin=$2 ;;
        *) break ;;
    esac
    shift 2
done
if [ $# -gt 0 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 2
fi

cannot() { echo "SKIPPED: chaos: $*"; exit $SKIP; }
for program in zonescope-generator zonescope-collector-columnar; do
    [ -x "$bin/$program" ] || cannot "no $bin/$program: cargo build --workspace makes it"
done
for program in python3 ip unshare timeout; do
    command -v "$program" >/dev/null 2>&1 || cannot "no $program here (python3, iproute2, util-linux, coreutils)"
done
alone='unshare --mount --net --pid --fork --kill-child --mount-proc'
$alone true 2>/dev/null || cannot "no namespaces of our own here: they need Linux and root"

# shellcheck disable=SC2086 # words
exec timeout -k 10 $((seconds + GRACE_SECONDS)) $alone python3 "$root/tests/chaos.py" --bin "$bin" $arguments
