#!/bin/sh
# fuzz/run.sh: fuzzes what reads bytes of others. README.md beside it says what, and how.
#
# sh fuzz/run.sh [--seconds N] [--jobs N] [TARGET...]     all targets, N seconds each (20), N at a time (2)
#   a line for each: TARGET runs N coverage N new N found N
# sh fuzz/run.sh --build                                   only builds them
# sh fuzz/run.sh --input FILE TARGET                       one input, with what it does to the target
# sh fuzz/run.sh --minimise TARGET                         what of the corpus adds coverage becomes the seeds
#
# Exit codes: 0 nothing found; 1 otherwise; 77 cannot run here.
set -u

SKIP=77
# Of a target: an input that holds more, or takes longer (on a machine with much else to do), is a finding.
RSS_MB=512
TIMEOUT_SECONDS=20
MAX_INPUT_BYTES=24576
SEED=1

fuzz=$(cd "$(dirname "$0")" && pwd)
target_dir=${CARGO_TARGET_DIR:-$fuzz/../target}/fuzz
host=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')
seconds=20 jobs=2 act=run input=

help() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
cannot() { echo "SKIPPED: fuzz: $*"; exit $SKIP; }

while [ $# -gt 0 ]; do
    case $1 in
        --seconds) [ $# -gt 1 ] || help; seconds=$2; shift ;;
        --jobs) [ $# -gt 1 ] || help; jobs=$2; shift ;;
        --input) [ $# -gt 1 ] || help; act=input input=$2; shift ;;
        --build | --minimise) act=${1#--} ;;
        -*) help ;;
        *) break ;;
    esac
    shift
done
# shellcheck disable=SC2046 # names without blanks
[ $# -gt 0 ] || set -- $(sed -n 's|^path = "targets/\(.*\).rs"|\1|p' "$fuzz/Cargo.toml")

[ -n "$host" ] || cannot "no rustc here"
command -v c++ >/dev/null 2>&1 || cannot "libFuzzer is C++, and no c++ is here"

# The versions that the programs are built with, and libFuzzer's.
[ -n "$(find "$fuzz/Cargo.lock" -newer "$fuzz/../Cargo.lock" 2>/dev/null)" ] || cp "$fuzz/../Cargo.lock" "$fuzz/Cargo.lock" || exit 1
cargo fetch --quiet --manifest-path "$fuzz/Cargo.toml" --target "$host" || cannot "crates cannot be fetched"

# What cargo-fuzz would set, less AddressSanitizer: these flags are stable, and all that runs is safe Rust.
build() {
    RUSTFLAGS='--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares' \
        cargo build --quiet --release --manifest-path "$fuzz/Cargo.toml" --target "$host" --target-dir "$target_dir"
}

binary() { echo "$target_dir/$host/release/$1"; }

options() {
    printf '%s\n' -rss_limit_mb=$RSS_MB -timeout=$TIMEOUT_SECONDS -max_len=$MAX_INPUT_BYTES
    [ ! -f "$fuzz/dictionaries/$1" ] || echo "-dict=$fuzz/dictionaries/$1"
}

# fuzz TARGET: its new inputs go to the corpus beside the build, what is found to artifacts.
fuzz() {
    f_corpus=$target_dir/corpus/$1 f_found=$target_dir/found/$1 f_log=$target_dir/$1.log
    rm -rf "$f_found"
    mkdir -p "$f_corpus" "$f_found"
    # shellcheck disable=SC2046 # words
    "$(binary "$1")" -max_total_time="$seconds" -seed=$SEED -print_final_stats=1 -artifact_prefix="$f_found/" \
        $(options "$1") "$f_corpus" "$fuzz/seeds/$1" > "$f_log" 2>&1
    f_code=$?
    f_stat() { sed -n "s/^stat::$1: *//p" "$f_log"; }
    f_coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$f_log" | tail -n 1)
    f_count=$(find "$f_found" -type f | wc -l)
    echo "$1 runs $(f_stat number_of_executed_units) coverage ${f_coverage:-0} new $(f_stat new_units_added) found $((f_count))"
    [ $f_code = 0 ] && return 0
    tail -n 40 "$f_log"
    echo "sh fuzz/run.sh --input FILE $1 does it again; FILE is one of:"
    find "$f_found" -type f
    return 1
}

minimise() {
    m_new=$target_dir/minimised/$1
    rm -rf "$m_new"
    mkdir -p "$m_new"
    # shellcheck disable=SC2046 # words
    "$(binary "$1")" -merge=1 $(options "$1") "$m_new" "$fuzz/seeds/$1" "$target_dir/corpus/$1" 2>&1 | tail -n 2
    rm -rf "${fuzz:?}/seeds/$1"
    mv "$m_new" "$fuzz/seeds/$1"
}

build || exit 1
case $act in
    build) exit 0 ;;
    input) "$(binary "$1")" "$input"; exit ;;
    minimise) for target in "$@"; do minimise "$target"; done; exit ;;
esac

failed=$target_dir/failed
rm -f "$failed"
while [ $# -gt 0 ]; do
    together=0
    while [ $# -gt 0 ] && [ $together -lt "$jobs" ]; do
        { fuzz "$1" || : > "$failed"; } &
        together=$((together + 1))
        shift
    done
    wait
done
[ ! -e "$failed" ]
