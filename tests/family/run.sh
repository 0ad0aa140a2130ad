#!/bin/sh
# tests/family/run.sh: a new family of kstats, in a copy of this tree, from a capture to an answer in SQL.
#
# What it takes: its message and its field in frame.proto, one file in generator/src/kstat/families, and that file's name
# in the list there. No collector is edited: the table is there because frame.proto says so.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
copy=$(mktemp -d)
pids=''
# shellcheck disable=SC2086 # a list
trap '[ -z "$pids" ] || kill $pids 2>/dev/null || :; wait; rm -rf "$copy"' EXIT
trap 'exit 1' INT TERM

fail() { echo "not so: $*"; exit 1; }

(cd "$root" && { git ls-files --cached --others --exclude-standard 2>/dev/null || find . -name target -prune -o -type f -print; }) |
    while IFS= read -r file; do [ ! -f "$root/$file" ] || printf '%s\n' "$file"; done |
    tar -C "$root" -cf - -T - | tar -C "$copy" -xf -
cd "$copy"

# The new family.
sed -i "/repeated DtraceProgram dtrace = 28;/r $here/field.proto" proto/frame.proto
cat "$here/message.proto" >> proto/frame.proto
families=generator/src/kstat/families
cp "$here/vopstats.rs" $families/
sed -i 's/^mod vcpu;/&\nmod vopstats;/; s/^    &vcpu::FAMILY,/&\n    \&vopstats::FAMILY,/' $families/mod.rs

# Built as tests are, so that the big crates are those that the tests compiled.
cargo test --locked --no-run -p zonescope-generator -p zonescope-collector-columnar -p zonescope-collector-redis \
    --test kstat_golden --test it --test series

bin=$CARGO_TARGET_DIR/debug
capture=$root/generator/fixtures/kstat/smartos-2013-zone6.chain.jsonl.zst
endpoint=tcp://127.0.0.1:$((20000 + $$ % 20000))
"$bin/zonescope-collector-columnar" run --root data --connect "$endpoint" 2> collector.log &
pids=$!
"$bin/zonescope-generator" run --source "recorded:$capture" --loop --interval-ms 500 --bind "$endpoint" 2> generator.log &
pids="$pids $!"

query() { "$bin/zonescope-collector-columnar" query --root data --format csv "$1" 2> query.log; }
tries=0
until [ "$(query "select distinct fstype, nread, read_bytes, nfsync from vopstats where fstype = 'ufs'" | tail -n +2)" = \
    "ufs,380024702,128187767966,794" ]; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || { cat ./*.log; fail "the table vopstats says what the capture does"; }
    sleep 1
done
[ "$(query "select distinct zone from vopstats" | tail -n +2)" = global ] || fail "it is the host's"
query "select distinct fstype from vopstats" | grep -qx zfs || fail "a row for each type of file system"
"$bin/zonescope-collector-columnar" tables --root data --format json | grep -q '"vopstats"' || fail "tables lists it"
echo "a new family is in SQL: frame.proto, vopstats.rs and its name in the list; no collector was edited"
