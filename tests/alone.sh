# alone.sh: what chaos.sh and attack.sh share: their options, and that the Python beside them runs in namespaces of its own (mounts,
# network, processes): whatever ends it, nothing stays behind.
# shellcheck shell=sh

SKIP=77
# Around the run itself: time to start, to catch up and to count.
GRACE_SECONDS=420

# alone SCRIPT SECONDS [OPTION...]: the Python beside SCRIPT, with the options of that, and for so many seconds where they do not say how
# many. Exits with 77 where it cannot run, and with 2 and the head of SCRIPT where an option is none.
alone() {
    a_script=$1 a_seconds=$2
    shift 2
    a_root=$(cd "$(dirname "$a_script")/.." && pwd)
    a_name=$(basename "$a_script" .sh)
    a_bin=${CARGO_TARGET_DIR:-$a_root/target}/debug
    a_options=
    while [ $# -gt 1 ]; do
        case $1 in
            --seconds) a_seconds=$2 ;;
            --seed | --zones) a_options="$a_options $1 $2" ;;
            --bin) a_bin=$2 ;;
            *) break ;;
        esac
        shift 2
    done
    if [ $# -gt 0 ]; then
        sed -n '2,/^set/s/^# \{0,1\}//p' "$a_script"
        exit 2
    fi
    for a_program in zonescope-generator zonescope-collector-columnar; do
        [ -x "$a_bin/$a_program" ] || cannot "no $a_bin/$a_program: cargo build --workspace makes it"
    done
    for a_program in python3 ip unshare timeout; do
        command -v "$a_program" >/dev/null 2>&1 || cannot "no $a_program here (python3, iproute2, util-linux, coreutils)"
    done
    a_namespaces='unshare --mount --net --pid --fork --kill-child --mount-proc'
    $a_namespaces true 2>/dev/null || cannot "no namespaces of our own here: they need Linux and root"
    # shellcheck disable=SC2086 # words
    exec timeout -k 10 $((a_seconds + GRACE_SECONDS)) $a_namespaces python3 "${a_script%.sh}.py" --bin "$a_bin" --seconds "$a_seconds" \
        $a_options
}

cannot() {
    echo "SKIPPED: $a_name: $1"
    exit $SKIP
}
