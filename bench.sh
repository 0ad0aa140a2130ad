#!/bin/sh
# Measures what a zone-second costs, and writes docs/BENCHMARKS.md.
#
#   sh bench.sh              everything; ten minutes on two cores, once it is built
#   sh bench.sh --quick      a tenth of the data, under five minutes once it is built; writes beside the stores, not to docs
#   sh bench.sh --data DIR   other captures of the same form (*.packets.jsonl.zst) in place of generator/fixtures/series
#   sh bench.sh --dir DIR    where stores are made, and removed [default: in cargo's target directory]
#
# Needs cargo, python3 with venv, zstd; valgrind for counts of instructions. DuckDB and pyzmq are installed into a virtual environment.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/target}
dir=$target/bench-data quick='' data='' out=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=--quick ;;
    --data) data=$2 && shift ;;
    --dir) dir=$2 && shift ;;
    --out) out=$2 && shift ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
command -v zstdcat >/dev/null || { echo 'bench.sh: zstdcat is missing: install zstd' >&2; exit 1; }

cargo build --locked --profile bench -p zonescope-generator -p zonescope-collector-columnar -p zonescope-bench
python=$target/test-tools/bench-python
[ -x "$python/bin/python" ] || python3 -m venv "$python"
"$python/bin/python" -c 'import duckdb, zmq' 2>/dev/null || "$python/bin/pip" install --quiet duckdb pyzmq

# A quick run, or one of other captures, is not what docs/ shows.
if [ -z "$out" ] && [ -n "$quick$data" ]; then out=$target/bench-report; fi
[ -z "$out" ] || mkdir -p "$out"
exec "$python/bin/python" bench/bench.py --bin "$target/release" --dir "$dir" ${quick:+"$quick"} ${data:+--data "$data"} ${out:+--out "$out"}
