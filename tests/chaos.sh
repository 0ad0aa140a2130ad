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

# shellcheck source=tests/alone.sh
. "$(dirname "$0")/alone.sh"
alone "$0" 600 "$@"
