#!/bin/sh
# machine.sh: runs the command MACHINE_TEST in a throw-away copy of this machine.
#
# Inside: /src is the part of the source tree MACHINE_SOURCE that install.sh needs; /machine/lower and /machine/upper
# are the machine as it was and what changed (see changes in case.sh). MACHINE_LOWER is another root to begin with;
# MACHINE_SERVE a directory to serve at http://127.0.0.1:8000.
set -eu

if [ "${1:-}" != inside ]; then
    # Processes left behind die with the pid namespace; the network has a loopback of its own, so its ports are free.
    exec unshare --mount --pid --fork --net --kill-child --propagation private sh "$0" inside
fi

machine=$(mktemp -d)
# Gone with the mount namespace.
mount -t tmpfs machine "$machine"
mkdir "$machine/upper" "$machine/work" "$machine/root"
mount -t overlay machine -o "lowerdir=${MACHINE_LOWER:-/},upperdir=$machine/upper,workdir=$machine/work" "$machine/root"
mkdir -p "$machine/root/machine/lower" "$machine/root/machine/upper" "$machine/root/src" "$machine/root/proc" "$machine/root/dev"
mount -o bind "${MACHINE_LOWER:-/}" "$machine/root/machine/lower"
mount -o bind "$machine/upper" "$machine/root/machine/upper"
mount -t proc proc "$machine/root/proc"
mount -o rbind /dev "$machine/root/dev"
mount -t tmpfs tmp "$machine/root/tmp"
mount -t tmpfs run "$machine/root/run"
chmod 1777 "$machine/root/tmp"
ip link set lo up 2>/dev/null || :
if [ -n "${MACHINE_SERVE:-}" ]; then ( cd "$MACHINE_SERVE" && exec python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 ) & fi

if [ -n "${MACHINE_SOURCE:-}" ]; then
    # shellcheck disable=SC2046 # those that are there
    ( cd "$MACHINE_SOURCE" && tar -cf - install.sh packaging tests/install Cargo.toml LICENSE-MIT LICENSE-APACHE \
        $(find scripts docs/man README.md CHANGELOG.md -prune 2>/dev/null) ) | tar -xf - -C "$machine/root/src"
    for crate in generator collector-columnar; do mkdir -p "$machine/root/src/$crate"; done
fi
cd "$machine/root/src"
unset CARGO_TARGET_DIR CARGO_HOME
exec chroot "$machine/root" sh -c "cd /src && HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/tmp exec $MACHINE_TEST"
