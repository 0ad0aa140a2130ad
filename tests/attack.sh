#!/bin/sh
# attack.sh: a generator and its collectors, whose every port is attacked from many addresses by whoever has no business there.
# tests/attack.py says how, and what must not come of it.
#
# sh tests/attack.sh [--seconds N] [--seed N] [--bin DIR] [--zones N]
#   the last line: peers N bytes N seconds N ticks late N frames lost N memory N MiB (bound N)
#
# Exit codes: 0 no harm done; 1 otherwise; 77 cannot run here. Everything happens in namespaces of its own (mounts,
# network, processes): whatever ends this script, nothing stays behind.
set -u

# Around the attack: time to start, to catch up and to count.
GRACE_SECONDS=420

seconds=40
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
alone "$root/tests" attack "$bin" $((seconds + GRACE_SECONDS)) $arguments
