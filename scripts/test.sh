#!/bin/sh
#
# test.sh - checks every script here
#
#   * shellcheck, where there is one
#   * -h and no arguments print the usage, and wrong arguments are refused
#   * scripts that read kstats: exact output against recorded kstats (test/)
#   * scripts that run DTrace: compiled by a real dtrace, where there is one ($ZONESCOPE_DTRACE, or in $PATH) and we are root;
#     those whose providers exist here must compile, the others must fail for the provider that they name and nothing else
#
# What cannot be checked says SKIPPED.
set -u
cd "$(dirname "$0")" || exit 1
failed=0
fail() { echo "FAILED: $*"; failed=$((failed + 1)); }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
KSTAT="cpu/cores cpu/cap mem/cap disk/latency net/links net/tcp"
DTRACE="cpu/processes cpu/process cpu/syscalls cpu/users mem/faults mem/pageins disk/latdist disk/slowio net/tcppeers
	misc/mutex misc/offcpu misc/shortlived"

if command -v shellcheck >/dev/null; then
	# shellcheck disable=SC2086 # words
	shellcheck $KSTAT $DTRACE test.sh test/kstat test/zonename || fail shellcheck
else
	echo "SKIPPED: no shellcheck"
fi

for script in $KSTAT $DTRACE; do
	"./$script" -h >"$work/out" 2>&1 || fail "$script -h: exit $?"
	grep -q '^Usage:' "$work/out" || fail "$script -h: no usage"
	grep -q '^Privileges:' "$work/out" || fail "$script: says no privileges"
	grep -q '^Sample' "$work/out" || fail "$script: shows no sample"
	"./$script" >"$work/out" 2>&1 && fail "$script without arguments succeeds"
	grep -q '^Usage:' "$work/out" || fail "$script without arguments: no usage"
	"./$script" 1x >/dev/null 2>&1 && fail "$script 1x succeeds"
	grep -q "$(basename "$script")" README.md || fail "$script is not in README.md"
done

# The sample in the head of each script is what it prints for these kstats.
for script in $KSTAT; do
	rm -f "$work/calls"
	PATH="$PWD/test:$PATH" KSTAT_CALLS=$work/calls "./$script" 0 1 >"$work/out" 2>&1 || fail "$script: exit $?"
	sed -n '/^# Sample/,/^usage/s/^#  *//p' "$script" | sed '1d' | sed 's/^ *//' | grep . >"$work/sample"
	sed 's/^ *//' "$work/out" | diff "$work/sample" - >"$work/diff" || { fail "$script prints something else"; cat "$work/diff"; }
done

dtrace=${ZONESCOPE_DTRACE:-$(command -v dtrace || :)}
if [ -z "$dtrace" ]; then
	echo "SKIPPED: no dtrace in \$ZONESCOPE_DTRACE or \$PATH; ci/dtrace-on-linux installs one"
elif [ "$(id -u)" -ne 0 ]; then
	echo "SKIPPED: not root, so dtrace cannot compile"
else
	mkdir "$work/bin"
	# shellcheck disable=SC2016 # "$@" is the stand-in's
	printf '#!/bin/sh\nexec %s -e "$@"\n' "$dtrace" >"$work/bin/dtrace"
	chmod 755 "$work/bin/dtrace"
	compiles() { # LACKING SCRIPT ARGUMENTS...
		lacking=$1 script=$2; shift 2
		PATH="$work/bin:$PATH" "./$script" "$@" >"$work/out" 2>&1 && { echo "ok: $script $*"; return; }
		if [ "$(uname -s)" = Linux ] && [ -n "$lacking" ] && grep -q "$lacking.*does not match any probes" "$work/out"; then
			echo "ok: $script $* (compiled up to $lacking, which this platform lacks)"
		else
			fail "$script $* does not compile: $(tail -n 1 "$work/out")"
		fi
	}
	compiles '' cpu/processes 1
	compiles '' cpu/process -c read,write 1 1
	compiles '' cpu/syscalls -c read,write 1 1
	compiles '' cpu/users -c read,write 1
	compiles vminfo mem/faults 1
	compiles vminfo mem/pageins 1
	compiles '' disk/latdist 1
	compiles '' disk/slowio 10
	compiles '' net/tcppeers 1
	compiles '' misc/mutex -k 1
	sleep 60 & sleeper=$!
	compiles plockstat misc/mutex "$sleeper" 1
	kill "$sleeper"
	compiles '' misc/offcpu 1 1
	compiles '' misc/shortlived 1000
fi

[ "$failed" -eq 0 ] && echo "scripts: all checks passed"
exit "$((failed > 0))"
