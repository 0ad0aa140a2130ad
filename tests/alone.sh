# alone.sh: runs a Python of this directory in namespaces of its own (mounts, network, processes): whatever ends it, nothing
# stays behind. chaos.sh and attack.sh source it.
# shellcheck shell=sh

SKIP=77

# alone DIRECTORY NAME BIN SECONDS ARGUMENT...: DIRECTORY/NAME.py with the programs in BIN, for no longer than so many seconds. Exits with
# 77 where it cannot run.
alone() {
    a_file=$1/$2.py a_name=$2 a_bin=$3 a_seconds=$4
    shift 4
    for a_program in zonescope-generator zonescope-collector-columnar; do
        [ -x "$a_bin/$a_program" ] || cannot "$a_name" "no $a_bin/$a_program: cargo build --workspace makes it"
    done
    for a_program in python3 ip unshare timeout; do
        command -v "$a_program" >/dev/null 2>&1 ||
            cannot "$a_name" "no $a_program here (python3, iproute2, util-linux, coreutils)"
    done
    a_namespaces='unshare --mount --net --pid --fork --kill-child --mount-proc'
    $a_namespaces true 2>/dev/null || cannot "$a_name" "no namespaces of our own here: they need Linux and root"
    # shellcheck disable=SC2086 # words
    exec timeout -k 10 "$a_seconds" $a_namespaces python3 "$a_file" --bin "$a_bin" "$@"
}

cannot() {
    echo "SKIPPED: $1: $2"
    exit $SKIP
}
