# alone.sh: runs a Python of this directory in namespaces of its own (mounts, network, processes): whatever ends it, nothing
# stays behind. chaos.sh and attack.sh source it; each sets `name`, `seconds` and `bin` before it calls `alone`.
# shellcheck shell=sh

SKIP=77

cannot() { echo "SKIPPED: $name: $*"; exit $SKIP; }

# alone GRACE ARGUMENT...: what cannot run here exits with 77; what runs for GRACE seconds longer than it should is killed.
alone() {
    a_grace=$1
    shift
    for program in zonescope-generator zonescope-collector-columnar; do
        [ -x "$bin/$program" ] || cannot "no $bin/$program: cargo build --workspace makes it"
    done
    for program in python3 ip unshare timeout; do
        command -v "$program" >/dev/null 2>&1 || cannot "no $program here (python3, iproute2, util-linux, coreutils)"
    done
    a_namespaces='unshare --mount --net --pid --fork --kill-child --mount-proc'
    $a_namespaces true 2>/dev/null || cannot "no namespaces of our own here: they need Linux and root"
    # shellcheck disable=SC2086 # words
    exec timeout -k 10 $((seconds + a_grace)) $a_namespaces python3 "$root/tests/$name.py" --bin "$bin" "$@"
}
