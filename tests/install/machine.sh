#!/bin/sh
# machine.sh: runs the command MACHINE_TEST in a throw-away copy of this machine.
#
# Inside: /src is the part of the source tree MACHINE_SOURCE that install.sh needs; /machine/lower and /machine/upper
# are the machine as it was and what changed (see changes in case.sh). MACHINE_LOWER is another root to begin with;
# MACHINE_SERVE a directory to serve at http://127.0.0.1:8000; MACHINE_RELEASE a tarball, with its sum beside it,
# to find as /machine/release.tar.gz.
#
# With MACHINE_SYSTEMD=yes its first process is systemd, which runs the command as a service, and which knows no unit of this
# machine. Its cgroups are below one of their own, that is removed at the end.
set -eu

# The cgroup hierarchies that systemd would use, if all of them are mounted where they are on most machines.
hierarchies() { for h_dir in /sys/fs/cgroup /sys/fs/cgroup/*; do [ ! -f "$h_dir/cgroup.procs" ] || echo "$h_dir"; done; }

# In cgroups of its own, so that systemd makes none beside those of this machine.
run_in_cgroups() {
    ric_name=zonescope-test-$$
    ric_code=0
    MACHINE_LOG=$(mktemp)
    export MACHINE_LOG
    (
        me=$(sh -c 'echo $PPID')
        for ric_dir in $(hierarchies); do
            # One of cpuset takes nobody before it is told of CPUs; systemd makes none there.
            mkdir "$ric_dir/$ric_name" && echo "$me" > "$ric_dir/$ric_name/cgroup.procs" || rmdir "$ric_dir/$ric_name"
        done 2>/dev/null
        exec timeout --kill-after=5 300 unshare --mount --pid --fork --net --cgroup --kill-child --propagation private sh "$0" inside
    ) || ric_code=$?
    cat "$MACHINE_LOG"
    rm -f "$MACHINE_LOG"
    for ric_dir in $(hierarchies); do
        [ ! -d "$ric_dir/$ric_name" ] || find "$ric_dir/$ric_name" -depth -type d -exec rmdir {} \;
    done
    exit $ric_code
}

if [ "${1:-}" != inside ]; then
    [ "${MACHINE_SYSTEMD:-}" != yes ] || run_in_cgroups
    # Processes left behind die with the pid namespace; the network has a loopback of its own, so its ports are free.
    exec unshare --mount --pid --fork --net --kill-child --propagation private sh "$0" inside
fi

# boot: systemd, and the command as its only service; its exit code becomes that of systemd.
boot() {
    # Devices that are no terminal of anybody, system files that nobody writes, units that are none of this machine's.
    umount -R "$machine/root/dev"
    mount -t tmpfs dev "$machine/root/dev" -o mode=755
    for b_node in null zero full random urandom tty; do
        : > "$machine/root/dev/$b_node"
        mount -o bind "/dev/$b_node" "$machine/root/dev/$b_node"
    done
    mkdir "$machine/root/dev/pts" "$machine/root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$machine/root/dev/pts"
    ln -s pts/ptmx "$machine/root/dev/ptmx"
    mount -t sysfs -o ro sysfs "$machine/root/sys"
    mount -t tmpfs cgroup "$machine/root/sys/fs/cgroup"
    mount -t tmpfs units "$machine/root/etc/systemd/system"
    : > "$machine/root/machine/log"
    mount -o bind "$MACHINE_LOG" "$machine/root/machine/log"
    cat > "$machine/root/etc/systemd/system/test.service" <<UNIT
[Service]
Type=oneshot
TimeoutStartSec=280
WorkingDirectory=/src
Environment=HOME=/root TMPDIR=/tmp
StandardOutput=append:/machine/log
StandardError=append:/machine/log
ExecStart=/bin/sh -c '$MACHINE_TEST; systemctl exit \$\$?'
UNIT
    printf '[Unit]\nWants=test.service\nAfter=test.service\n' > "$machine/root/etc/systemd/system/default.target"
    # In a container systemd leaves clock, console and kernel as they are, and ends with the code that it is told.
    # Its root is that of its mounts too, or it could close off no service.
    cd "$machine/root"
    mkdir machine/old
    pivot_root . machine/old
    umount -l machine/old
    rmdir machine/old
    exec chroot . /usr/bin/env -i container=zonescope PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=default.target --log-target=null --show-status=no
}

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
if [ -n "${MACHINE_RELEASE:-}" ]; then
    for part in "" .sha256; do cp "$MACHINE_RELEASE$part" "$machine/root/machine/release.tar.gz$part"; done
fi
unset CARGO_TARGET_DIR CARGO_HOME
[ "${MACHINE_SYSTEMD:-}" != yes ] || boot
exec chroot "$machine/root" sh -c "cd /src && HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/tmp exec $MACHINE_TEST"
