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

# After the chaos: time to catch up and to count.
GRACE_SECONDS=420

seconds=600
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${CARGO_TARGET_DIR:-$root/target}/debug
. "$root/tests/alone.sh"
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
# shellcheck disable=SC2086 # words
alone "$root/tests" chaos "$bin" $((seconds + GRACE_SECONDS)) $arguments
