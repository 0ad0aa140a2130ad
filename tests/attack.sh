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

# shellcheck source=tests/alone.sh
. "$(dirname "$0")/alone.sh"
alone "$0" 40 "$@"
