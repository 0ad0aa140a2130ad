#!/bin/sh
# test.sh: installs what the tests need, and runs every check of the project. `sh test.sh --help` says how.
#
# All steps run even where one fails; the exit code is 0 only if none failed. What could not run here is listed at the
# end, with the reason: a check that is skipped in silence is a check that nobody has.
#
# Tests in Rust and tests/install find their tools through the environment:
#   ZONESCOPE_PYTHON    a Python with pyzmq, protobuf, grpcio-tools, duckdb, pyarrow, pandas and cyclonedx-python-lib
#   ZONESCOPE_DTRACE    a real dtrace (root on Debian only)
#   ZONESCOPE_SKIPPED   a file: a test that cannot run here appends a line that says what and why
# An unset tool means that it could not be had; the test then skips, and says so.
set -u

STEPS='fmt shell deny clippy illumos fuzz install test chaos attack systemd debian family'
CARGO_DENY_VERSION=0.20.2
PYTHON_PACKAGES='pyzmq protobuf grpcio-tools duckdb pyarrow pandas cyclonedx-python-lib[json-validation]'
ILLUMOS=x86_64-unknown-illumos
SKIP=77

usage() {
    cat <<'HELP'
sh test.sh [STEP...]    run all steps, or these, in this order:
  fmt       cargo fmt --check
  shell     shellcheck of every shell script
  deny      cargo-deny: licences, bans, sources, advisories (deny.toml); what a release says it is made of (packaging/sbom.sh)
  clippy    cargo clippy, warnings are errors
  illumos   type check of everything against illumos' real standard library
  fuzz      fuzz/run.sh: what reads bytes of others, 20 s each
  install   tests/install: install.sh and packaging, in throw-away copies of this machine's root
  test      cargo test --workspace
  chaos     tests/chaos.sh for two minutes, with the programs that `test` built: everything is killed and cut off, then counted
  attack    tests/attack.sh for 40 s, with the programs that `test` built: strangers do their worst at every port
  systemd   tests/install/systemd.sh: the generator that `test` built under a real systemd: ready, hung, rolled back, removed
  debian    tests/install/debian.sh: from a bare Debian to answers and back, with the programs that `test` built
  family    tests/family: a new family of kstats in a copy of this tree, from a capture to SQL; no collector is edited
sh test.sh --list       print the names of the steps

Tools go to CARGO_TARGET_DIR (or target/) and, as root on Debian, are installed with apt-get.
HELP
}

root=$(cd "$(dirname "$0")" && pwd)
cd "$root" || exit 1
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
tools=$CARGO_TARGET_DIR/test-tools
export ZONESCOPE_SKIPPED="$tools/skipped"

say() { printf '\n=== %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }
skipped() { printf '%s\n' "$*" >> "$ZONESCOPE_SKIPPED"; printf 'SKIPPED: %s\n' "$*"; }

# need COMMAND PACKAGE...: installs the packages of Debian that have the command, where it is not here.
need() {
    n_command=$1
    shift
    has "$n_command" && return 0
    can_install || return 1
    apt_install "$@" && has "$n_command"
}

can_install() { has apt-get && [ "$(id -u)" = 0 ]; }

apt_install() {
    [ -e "$tools/apt-updated" ] || { apt-get -qq update && : > "$tools/apt-updated"; }
    echo "apt-get install $*"
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >/dev/null
}

# A compiler new enough, with clippy and rustfmt: what is here, or what install.sh would install.
need_cargo() {
    [ "${cargo_ready:-no}" = no ] || return 0
    [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ] && PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    export PATH
    sh install.sh --compiler || return 1
    if has rustup; then
        has cargo-clippy && has cargo-fmt || rustup component add clippy rustfmt || return 1
    else
        need cargo-clippy rust-web-clippy || need cargo-clippy rust-clippy || return 1
        need cargo-fmt rustfmt-web || need cargo-fmt rustfmt || return 1
    fi
    cargo_ready=yes
}

# The Python that tests use: an environment of its own, made anew when the list of packages changes.
need_python() {
    np_venv=$tools/python
    if [ "$(cat "$np_venv/packages" 2>/dev/null)" != "$PYTHON_PACKAGES" ]; then
        need python3 python3 || { skipped "tests with Python: no python3 here"; return 0; }
        rm -rf "$np_venv"
        if ! python3 -m venv "$np_venv" >/dev/null 2>&1; then
            rm -rf "$np_venv"
            { can_install && apt_install python3-venv && python3 -m venv "$np_venv"; } ||
                { skipped "tests with Python: python3 -m venv does not work here"; return 0; }
        fi
        # shellcheck disable=SC2086 # a list of packages
        "$np_venv/bin/python" -m pip install --quiet --disable-pip-version-check $PYTHON_PACKAGES ||
            { rm -rf "$np_venv"; skipped "tests with Python: pip cannot install $PYTHON_PACKAGES"; return 0; }
        printf '%s\n' "$PYTHON_PACKAGES" > "$np_venv/packages"
    fi
    export ZONESCOPE_PYTHON="$np_venv/bin/python"
}

need_dtrace() {
    nd_prefix=$tools/dtrace
    [ -x ci/dtrace-on-linux ] || { skipped "tests with a real dtrace: ci/dtrace-on-linux is not in this tree"; return 0; }
    [ "$(id -u)" = 0 ] || { skipped "tests with a real dtrace: they need root"; return 0; }
    has dpkg-deb || { skipped "tests with a real dtrace: only Debian has it packaged"; return 0; }
    [ "$(uname -m)" = x86_64 ] || { skipped "tests with a real dtrace: only packaged for x86_64"; return 0; }
    if ! "$nd_prefix/bin/dtrace" -V >/dev/null 2>&1; then
        need perl perl-base
        rm -rf "$nd_prefix"
        sh ci/dtrace-on-linux "$nd_prefix" > "$tools/dtrace.log" 2>&1 ||
            { skipped "tests with a real dtrace: $(tail -n 1 "$tools/dtrace.log")"; return 0; }
    fi
    # The whole library: our programs use execname, pid and the translators of io and proc.
    export ZONESCOPE_DTRACE="$nd_prefix/bin/dtrace" DTRACE_SYSLIB="$nd_prefix/full"
}

# ---------------------------------------------------------------------------------------------------------------------
# The steps: each ends with 0, with $SKIP, or has failed.

step_fmt() {
    need_cargo || return 1
    cargo fmt --all --check
}

shell_scripts() {
    { git ls-files --cached --others --exclude-standard 2>/dev/null || find . -name target -prune -o -type f -print | sed 's|^\./||'; } | while read -r ss_file; do
        [ -f "$ss_file" ] || continue
        case $ss_file in *.sh | *.bash) echo "$ss_file"; continue ;; esac
        head -n 1 "$ss_file" 2>/dev/null | grep -aqE '^#! ?/(usr/)?s?bin/(env )?(ba|da|k)?sh' && echo "$ss_file"
    done
    return 0
}

step_shell() {
    need shellcheck shellcheck || { skipped "shell: shellcheck is not here"; return $SKIP; }
    # shellcheck disable=SC2046 # names without blanks
    shellcheck $(shell_scripts) && echo "$(shell_scripts | wc -l) scripts"
}

# Debug, because it compiles in a minute and a half and runs in two seconds.
step_deny() {
    need_cargo || return 1
    sd_root=$tools/cargo-deny-$CARGO_DENY_VERSION
    if [ ! -x "$sd_root/bin/cargo-deny" ]; then
        CARGO_TARGET_DIR=$tools/cargo-deny-build cargo install --quiet --locked --debug --root "$sd_root" \
            "cargo-deny@$CARGO_DENY_VERSION" || { skipped "deny: cargo-deny $CARGO_DENY_VERSION cannot be built here"; return $SKIP; }
        rm -rf "$tools/cargo-deny-build"
    fi
    sd_code=0
    "$sd_root/bin/cargo-deny" --locked check bans licenses sources || sd_code=1
    if "$sd_root/bin/cargo-deny" --locked fetch db >/dev/null 2>&1; then
        "$sd_root/bin/cargo-deny" --locked check advisories || sd_code=1
    else
        skipped "deny: advisories: the database of RustSec cannot be fetched here"
    fi
    need_python
    if [ -n "${ZONESCOPE_PYTHON:-}" ]; then
        "$ZONESCOPE_PYTHON" tests/python/check_sbom.py || sd_code=1
    fi
    return $sd_code
}

step_clippy() {
    need_cargo || return 1
    cargo clippy --workspace --all-targets --locked -- -D warnings
}

# Type-checked, not linked: build scripts that compile C (zstd) do it with this machine's compiler, and nobody runs it.
step_illumos() {
    need_cargo || return 1
    si_flags='-D warnings'
    if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$ILLUMOS" ]; then
        si_sysroot=$tools/sysroot-$(rustc -vV | sed -n 's/^release: //p; s/^commit-hash: \(.\{9\}\).*/\1/p' | tr '\n' '-')$ILLUMOS
        if [ ! -d "$si_sysroot" ]; then
            sh ci/build-std "$si_sysroot" $ILLUMOS > "$tools/build-std.log" 2>&1
            case $? in
                0) ;;
                "$SKIP") skipped "illumos: $(tail -n 1 "$tools/build-std.log")"; return $SKIP ;;
                *) cat "$tools/build-std.log"; return 1 ;;
            esac
        fi
        si_flags="$si_flags --sysroot=$si_sysroot"
    fi
    CARGO_TARGET_X86_64_UNKNOWN_ILLUMOS_RUSTFLAGS=$si_flags \
        CC_x86_64_unknown_illumos=cc AR_x86_64_unknown_illumos=ar \
        cargo check --workspace --all-targets --locked --keep-going --target $ILLUMOS
}

step_install() {
    need xmllint libxml2-utils || skipped "install: SMF manifests are not validated: no xmllint here"
    need systemd-analyze systemd || skipped "install: units are not verified: no systemd-analyze here"
    need ksh93 ksh || skipped "install: install.sh does not run under ksh93 here"
    need busybox busybox-static || skipped "install: install.sh does not run under busybox here"
    sh tests/install/run.sh
}

step_test() {
    need_cargo || return 1
    need redis-server redis-server || skipped "tests with Redis: no redis-server here"
    need ip iproute2 || skipped "tests with network namespaces: no ip(8) here"
    need_python
    need_dtrace
    cargo test --workspace --locked --no-fail-fast
}

# Flags of its own make a build of its own: about seven minutes of CPU time, once.
step_fuzz() {
    need_cargo || return 1
    need c++ g++ || :
    with_reasons fuzz sh fuzz/run.sh --seconds 20
}

# with_reasons NAME COMMAND...: one that says itself what it could not do.
with_reasons() {
    wr_log=$tools/$1.log
    shift
    "$@" > "$wr_log" 2>&1
    wr_code=$?
    cat "$wr_log"
    sed -n 's/^.*SKIPPED: //p' "$wr_log" | while read -r wr_what; do skipped "$wr_what"; done
    return $wr_code
}

step_chaos() {
    need python3 python3
    need ip iproute2
    need nft nftables
    need redis-server redis-server
    with_reasons chaos sh tests/chaos.sh --seconds 120 --seed 1 --bin "$CARGO_TARGET_DIR/debug"
}

step_attack() {
    need python3 python3
    need ip iproute2
    need redis-server redis-server
    with_reasons attack sh tests/attack.sh --seconds 40 --seed 1 --bin "$CARGO_TARGET_DIR/debug"
}

# in_a_machine STEP: tests/install/STEP.sh, whose code 77 means that it cannot run here, and whose last line then says why.
in_a_machine() {
    iam_log=$tools/$1.log
    sh "tests/install/$1.sh" > "$iam_log" 2>&1
    iam_code=$?
    cat "$iam_log"
    [ $iam_code != $SKIP ] || skipped "$1: $(tail -n 1 "$iam_log")"
    return $iam_code
}

step_systemd() {
    need strip binutils || :
    in_a_machine systemd
}

step_debian() {
    need debootstrap debootstrap || { skipped "debian: no debootstrap here"; return $SKIP; }
    need strip binutils || :
    in_a_machine debian
}

# Last, since its programs take the place of those that `test` built.
step_family() {
    need_cargo || return 1
    sh tests/family/run.sh
}

# ---------------------------------------------------------------------------------------------------------------------

run_step() {
    rs_began=$(date +%s)
    say "$1"
    "step_$1"
    rs_code=$?
    rs_took=$(($(date +%s) - rs_began))
    case $rs_code in
        0) rs_result=passed ;;
        "$SKIP") rs_result=SKIPPED ;;
        *) rs_result=FAILED failed=yes ;;
    esac
    results="$results$(printf '%-8s %-8s %2d min %02d s' "$1" "$rs_result" $((rs_took / 60)) $((rs_took % 60)))
"
}

main() {
    case ${1:-} in
        -h | --help) usage; exit 0 ;;
        --list) echo "$STEPS" | tr ' ' '\n'; exit 0 ;;
    esac
    # shellcheck disable=SC2086 # a list of steps
    [ $# -gt 0 ] || set -- $STEPS
    for m_step in "$@"; do
        case " $STEPS " in *" $m_step "*) ;; *) echo "test.sh: no step $m_step (see --list)" >&2; exit 2 ;; esac
    done
    mkdir -p "$tools"
    rm -f "$tools/apt-updated"
    : > "$ZONESCOPE_SKIPPED"
    failed=no results=''
    for m_step in "$@"; do run_step "$m_step"; done
    say "summary"
    printf '%s' "$results"
    if [ -s "$ZONESCOPE_SKIPPED" ]; then
        printf '\nSKIPPED here, and so not known to work:\n'
        sort -u "$ZONESCOPE_SKIPPED" | sed 's/^/  - /'
    fi
    [ $failed = no ]
}

main "$@"
