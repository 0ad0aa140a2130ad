#!/bin/sh
# tests/away.sh: what it costs a generator that a collector is away, and whether the collector catches up.
#
# The collector is stopped with SIGSTOP, or ended and started again (--restart), for so long. Meanwhile the generator's
# memory is read from /proc; afterwards its ticks and the completeness of every zone from the collector's store.
set -eu

usage() {
    cat <<'HELP'
sh tests/away.sh [--seconds N] [--zones N] [--restart] [--ring BYTES] [--bin DIR]
  --seconds N   how long the collector is away (default 60)
  --zones N     zones of the generator, a frame a second each (default 100)
  --restart     the collector is ended with SIGTERM and started again, instead of SIGSTOP and SIGCONT
  --ring BYTES  of the generator's ring (default: its own, 67108864)
  --bin DIR     where the programs are (default: target/debug)

The last line reads
  away N zones N memory_mib BEFORE MOST skipped N expected N received N recovered N missing N
and the exit code is 0 if no tick was left out, memory grew by no more than the bounds of docs/RELIABILITY.md, and every
frame is stored or on record.
HELP
}

root=$(cd "$(dirname "$0")/.." && pwd)
seconds=60 zones=100 restart=no ring=67108864 bin=${CARGO_TARGET_DIR:-$root/target}/debug
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2; shift ;;
        --zones) zones=$2; shift ;;
        --ring) ring=$2; shift ;;
        --bin) bin=$2; shift ;;
        --restart) restart=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

directory=$(mktemp -d)
generator='' collector=''
cleanup() {
    for c_pid in $collector $generator; do
        kill -CONT "$c_pid" 2>/dev/null || :
        kill "$c_pid" 2>/dev/null || :
    done
    wait
    rm -rf "$directory"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

endpoint=tcp://127.0.0.1:$((20000 + $$ % 20000))
capture=$root/generator/fixtures/kstat/omnios-2021.kstat-p.txt
printf 'bind = "%s"\nhost_id = "away"\n[ring]\nbytes = %s\n' "$endpoint" "$ring" > "$directory/generator.toml"
"$bin/zonescope-generator" run --config "$directory/generator.toml" --source "recorded:$capture" --loop --zones "$zones" \
    2> "$directory/generator.log" &
generator=$!

collect() {
    "$bin/zonescope-collector-columnar" run --connect "$endpoint" --root "$directory/data" 2>> "$directory/collector.log" &
    collector=$!
}
# The one number, or the numbers of the one row, of a question.
ask() { "$bin/zonescope-collector-columnar" query --root "$directory/data" --format csv "$1" 2> "$directory/query.log" | tail -n +2 | tr ',' ' '; }
# Resident memory of the generator in MiB: now (VmRSS) or at most (VmHWM).
memory() { awk -v what="$1:" '$1 == what { print int($2 / 1024) }' "/proc/$generator/status"; }

collect
sleep 20
before=$(memory VmRSS)
echo "the generator has $before MiB; the collector is away for $seconds s"
if [ $restart = yes ]; then
    kill -TERM "$collector"
    wait "$collector"
    sleep "$seconds"
    collect
else
    kill -STOP "$collector"
    sleep "$seconds"
    kill -CONT "$collector"
fi

# Caught up: the newest second of the store is a few seconds old, and stays so until nothing is missing but unrecorded.
sleep 20
tries=0
until [ "$(ask "select count(*) from completeness where expected <> received + missing")" = 0 ] &&
    [ "$(ask "select date_part('epoch', now()) - date_part('epoch', max(time)) < 10 from frames")" = true ]; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || { tail -n 5 "$directory"/*.log; echo "it does not catch up"; exit 1; }
    sleep 5
done
most=$(memory VmHWM)

# shellcheck disable=SC2046 # words
set -- $(ask "select sum(expected), sum(received), sum(recovered), sum(missing) from completeness")
[ $# = 4 ] || { cat "$directory/query.log"; exit 1; }
# Seconds in which no frame was made: numbers go up by one a tick, whether or not their frames are in the store.
skipped=$(ask "select max(skipped) from (select zone, cast(date_part('epoch', max(time)) - date_part('epoch', min(time)) as bigint)
    - cast(max(sequence) - min(sequence) as bigint) as skipped from frames group by zone)")
ask "select reason, count(*), sum(last - first + 1) from gaps group by reason" | sed 's/^/gaps: reason, rows, frames: /'
echo "away $seconds zones $zones memory_mib $before $most skipped $skipped expected $1 received $2 recovered $3 missing $4"

# Ring, 100,000 frames of at most 1.5 KiB here queued for the subscriber and as many for all, replies on their way.
bound=$((before + ring / 1048576 + 2 * 147 + 64))
[ "$skipped" = 0 ] && [ "$1" = $(($2 + $4)) ] && [ "$most" -le $bound ]
