#!/bin/sh
# install.sh: tries, installs, upgrades and removes zonescope. `sh install.sh --help` says how.
#
# For whoever reads this before running it, as one should:
# * Nothing runs before the last line has been read: a download that is cut off does nothing.
# * Every change to the machine goes through change(), which prints it; --dry-run prints and changes nothing.
# * Nothing fetched is unpacked before its SHA-256 agrees with a sum that was given, or signed by a key that was given.
# * What puts files and services in place is part of what is installed (packaging/install/*.sh of that version). It
#   writes down each thing that it makes; uninstalling undoes that record and nothing else. Data and edited
#   configuration stay unless --purge is given.
# * Plain POSIX sh: dash, bash, busybox ash, and ksh93, which is /bin/sh on illumos. There is no `local` in it, so the
#   variables of a function start with its initials.
#
# SmartOS: the global zone's / and /usr are a ramdisk; /opt and /var are ZFS datasets that survive a reboot
# (smartos-live, overlay/generic/lib/svc/method/fs-joyent mounts ${SYS_ZPOOL}/opt and /var), and manifests in
# /opt/custom/smf are imported at each boot (wiki.smartos.org, "Administering the Global Zone"). So everything lives
# below /opt there, and the account is made anew by a service of its own (packaging/smf/account.xml).

# packaging/release.sh --stamp fills these into the copy that lies beside a release, so that `curl ... | sh` knows what
# to fetch (RELEASE_URL-PLATFORM.tar.gz) and what its sum must be (PLATFORM=SUM ...). In the source they are empty, and
# --from says what to fetch.
RELEASE_URL=
RELEASE_SHA256=

usage() {
    cat <<'HELP'
Tries, installs, upgrades or removes zonescope.

  sh install.sh --try [--seconds N]     build what is missing, run generator and collector on loopback in a
                                        temporary directory, show the live table until Ctrl-C or for N seconds;
                                        no process is left behind
  sh install.sh [ROLE] [OPTION]...      install a role as a service
  sh install.sh --upgrade               bring what is installed up to --from, keep its configuration, restart it;
                                        the old programs come back if the new ones do not answer within 30 s
  sh install.sh --uninstall [--purge]   remove it: data and edited configuration stay, unless --purge
  sh install.sh --package               make the release tarball of this machine's platform (packaging/release.sh)
  sh install.sh --compiler              only make sure that a compiler is here, as --try does
  sh install.sh --platform              print what this machine is called in the names of releases

Roles:
  --generator              samples this host (the default in the global zone of illumos)
  --collector-columnar     keeps every frame in Parquet and answers SQL
  --collector-redis        keeps the live state in Redis

Options:
  --from DIR|TARBALL|URL   a source tree, a release tarball, or where to fetch one
                           [default: where this script lies]
  --sha256 SUM             what the tarball's SHA-256 must be
  --signed-by FILE         or: who may have signed TARBALL.sha256 (an allowed_signers file of ssh-keygen(1);
                           the signature is TARBALL.sha256.sig, for the namespace zonescope-release)
  --prefix DIR             where programs go [default: /usr/local; on illumos /opt/zonescope]
  --config FILE            install this configuration instead of the default one
  --bind ENDPOINT          generator: publish here [default: tcp://127.0.0.1:7211, which lets in nobody from outside]
  --connect ENDPOINT       collectors: subscribe to this generator; may be given more than once
  --keys                   make a key pair where there is none, and print the public key (docs/KEYS.md): of a generator,
                           it switches encryption on
  --build-in-zone NAME     SmartOS: build in this zone (name, alias or UUID), since the global zone has no compiler
  --dry-run                print each action, change nothing
  --help                   print this

Exit codes: 0 done, or nothing to do; 1 something failed; 2 wrong command line; 3 refused, nothing was changed.
HELP
}

say() { printf '%s\n' "zonescope: $*"; }
warn() { printf '%s\n' "zonescope: $*" >&2; }
fail() { warn "$*"; exit 1; }
wrong() { warn "$* (see --help)"; exit 2; }
refuse() { warn "$*. Nothing was changed."; exit 3; }

has() { command -v "$1" >/dev/null 2>&1; }

# change WHAT COMMAND...: the one way to change the machine.
change() {
    change_what=$1
    shift
    changes=$((changes + 1))
    if [ "$dry_run" = yes ]; then
        say "would $change_what"
        return 0
    fi
    say "$change_what"
    "$@"
}

# ---------------------------------------------------------------------------------------------------------------------
# The command line

parse() {
    action=install role='' from='' sha256='' signed_by='' prefix='' config='' bind='' connect='' build_zone=''
    dry_run=no purge=no keys=no seconds=''
    while [ $# -gt 0 ]; do
        case $1 in
            --*=*) p_name=${1%%=*} p_value=${1#*=}; shift; set -- "$p_name" "$p_value" "$@" ;;
        esac
        case $1 in
            --from | --sha256 | --signed-by | --prefix | --config | --bind | --connect | --build-in-zone | --seconds)
                [ $# -gt 1 ] && [ -n "$2" ] || wrong "$1 needs a value" ;;
        esac
        case $1 in
            -h | --help) usage; exit 0 ;;
            --try | --upgrade | --uninstall | --package | --compiler | --platform)
                [ "$action" = install ] || wrong "--$action and $1 exclude each other"
                action=${1#--} ;;
            --generator | --collector-columnar | --collector-redis)
                [ -z "$role" ] || wrong "one role at a time: --$role and $1"
                role=${1#--} ;;
            --from) from=$2; shift ;;
            --sha256) sha256=$2; shift ;;
            --signed-by) signed_by=$2; shift ;;
            --prefix) prefix=$2; shift ;;
            --config) config=$2; shift ;;
            --bind) bind=$2; shift ;;
            --connect) connect="$connect $2"; shift ;;
            --build-in-zone) build_zone=$2; shift ;;
            --seconds) seconds=$2; shift ;;
            --keys) keys=yes ;;
            --dry-run) dry_run=yes ;;
            --purge) purge=yes ;;
            *) wrong "what is $1?" ;;
        esac
        shift
    done
    case $seconds in *[!0-9]*) wrong "--seconds $seconds: a number of seconds" ;; esac
    case $sha256 in *[!0-9a-f]*) wrong "--sha256 $sha256: 64 digits of 0-9 and a-f" ;; esac
    case ${#sha256} in 0 | 64) ;; *) wrong "--sha256 $sha256: 64 digits of 0-9 and a-f" ;; esac
    case $prefix in '' | /*) ;; *) wrong "--prefix $prefix: an absolute path" ;; esac
    case $prefix in *[!A-Za-z0-9/._-]*) wrong "--prefix $prefix: letters, digits and / . _ -" ;; esac
    for p_endpoint in $bind $connect; do
        case $p_endpoint in
            *[!]A-Za-z0-9:/.[_-]* | tcp://:* | *:) wrong "$p_endpoint: an endpoint is tcp://ADDRESS:PORT" ;;
            tcp://*:[0-9]*) ;;
            *) wrong "$p_endpoint: an endpoint is tcp://ADDRESS:PORT" ;;
        esac
    done
    [ -z "$seconds" ] || [ "$action" = try ] || wrong "--seconds goes with --try"
    [ "$purge" = no ] || [ "$action" = uninstall ] || wrong "--purge goes with --uninstall"
    [ -z "$config" ] || [ "$action" = install ] || wrong "--config goes with installing"
    [ -z "$config" ] || [ -r "$config" ] || wrong "--config $config: cannot be read"
    [ -z "$bind" ] || [ "$action" = install ] || wrong "--bind goes with installing"
    [ -z "$connect" ] || [ "$action" = install ] || wrong "--connect goes with installing"
    [ "$keys" = no ] || [ "$action" = install ] || wrong "--keys goes with installing"
    [ -z "$signed_by" ] || [ -r "$signed_by" ] || wrong "--signed-by $signed_by: cannot be read"
}

# ---------------------------------------------------------------------------------------------------------------------
# The platform

# Sets os (linux, illumos), flavour (debian, smartos, omnios, other), zone (global or not; illumos only), platform.
find_platform() {
    case $(uname -s) in
        Linux)
            os=linux zone='' flavour=other
            for fp_id in $(sed -n 's/^ID\(_LIKE\)*=//p' /etc/os-release 2>/dev/null | tr -d '"'); do
                case $fp_id in debian | ubuntu) flavour=debian ;; esac
            done
            platform=$(uname -m)-linux ;;
        SunOS)
            os=illumos zone=$(zonename) flavour=other
            # SmartOS's platform image is the one whose version string starts with joyent_.
            case $(uname -v) in
                joyent_*) flavour=smartos ;;
                omnios-*) flavour=omnios ;;
            esac
            case $(isainfo -k 2>/dev/null) in amd64) platform=x86_64-illumos ;; *) platform=$(uname -p)-illumos ;; esac ;;
        *) refuse "zonescope runs on illumos and Linux; this is $(uname -s)" ;;
    esac
    # shellcheck disable=SC2034 # packaging/install/*.sh use etc and var
    if [ "$os" = illumos ]; then
        prefix=${prefix:-/opt/zonescope} etc=/opt/zonescope/etc var=/opt/zonescope/var
    else
        prefix=${prefix:-/usr/local} etc=/etc/zonescope var=/var/lib/zonescope
    fi
    share=$prefix/share/zonescope
    # illumos has the awk of 1977 as awk where it is old enough, and the one of 1985 as nawk.
    awk=$(command -v nawk || command -v awk)
}

in_global_zone() { [ "$os" = illumos ] && [ "$zone" = global ]; }

need_root() {
    [ "$(id -u)" = 0 ] && return 0
    [ "$dry_run" = yes ] && { say "would refuse: $1 needs root"; return 0; }
    refuse "$1 needs root"
}

# need_space DIR MEGABYTES WHY
need_space() {
    ns_dir=$1
    while [ ! -d "$ns_dir" ]; do ns_dir=$(dirname "$ns_dir"); done
    ns_free=$(df -Pk "$ns_dir" | $awk 'NR > 1 { free = $4 } END { print int(free / 1024) }')
    [ "$ns_free" -ge "$2" ] || refuse "$3 needs $2 MB on $ns_dir, which has $ns_free MB left"
}

# listening PORT: whether anyone listens on it, on any address.
listening() {
    if [ "$os" = illumos ]; then
        netstat -an -P tcp 2>/dev/null | $awk -v p="$1" '$NF == "LISTEN" { n = split($1, a, "."); if (a[n] == p) f = 1 }
            END { exit !f }'
    else
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
            $awk -v p="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == p { f = 1 } END { exit !f }'
    fi
}

port_of() { echo "${1##*:}"; }

sum_of() {
    if has sha256sum; then sha256sum < "$1" | cut -d' ' -f1
    elif has digest; then digest -a sha256 "$1"
    else openssl dgst -sha256 < "$1" | sed 's/.*= *//'
    fi
}

# ---------------------------------------------------------------------------------------------------------------------
# Processes: those that this script started end with it, and those that they started

children='' # process ids, in the order of their start

# with_descendants PID...: these and all that descend from them.
with_descendants() {
    if [ "$os" = linux ]; then
        cat /proc/[0-9]*/status 2>/dev/null | $awk '/^Pid:/ { p = $2 } /^PPid:/ { print p, $2 }'
    else
        ps -e -o pid= -o ppid=
    fi | $awk -v wanted="$*" '
        { parent[$1] = $2 }
        END {
            n = split(wanted, w, " "); for (i = 1; i <= n; i++) in_tree[w[i]] = 1
            for (more = 1; more;) {
                more = 0
                for (p in parent) if (!(p in in_tree) && parent[p] in in_tree) { in_tree[p] = 1; more = 1 }
            }
            for (p in in_tree) if (p in parent) print p
        }'
}

alive() {
    for a_pid in "$@"; do
        # One that has ended and was not waited for yet has a state of its own.
        if [ "$os" = linux ]; then
            a_state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$a_pid/status" 2>/dev/null) || :
        else
            a_state=$(ps -o s= -p "$a_pid" 2>/dev/null) || :
        fi
        case $a_state in '' | *[ZX]*) ;; *) return 0 ;; esac
    done
    return 1
}

# Asks the children to end, newest first; after ten seconds they and their descendants no longer have a choice.
stop_children() {
    [ -n "$children" ] || return 0
    # shellcheck disable=SC2046,SC2086 # lists of numbers
    sc_all=$(with_descendants $children | tr '\n' ' ')
    sc_newest_first=''
    for sc_pid in $children; do sc_newest_first="$sc_pid $sc_newest_first"; done
    children=''
    for sc_pid in $sc_newest_first; do kill -TERM "$sc_pid" 2>/dev/null || :; done
    sc_tries=0
    # shellcheck disable=SC2086
    while alive $sc_all && [ $sc_tries -lt 100 ]; do
        sc_tries=$((sc_tries + 1))
        sleep 0.1 2>/dev/null || { sleep 1; sc_tries=$((sc_tries + 9)); }
    done
    # shellcheck disable=SC2086
    if alive $sc_all; then
        warn "these did not end within 10 s and are killed: $sc_all"
        kill -KILL $sc_all 2>/dev/null || :
    fi
    for sc_pid in $sc_newest_first; do wait "$sc_pid" 2>/dev/null || :; done
}

work='' # a temporary directory, removed at the end

clean_up() {
    cu_code=$?
    trap - EXIT
    trap '' HUP INT TERM
    stop_children
    [ -z "$work" ] || rm -rf "$work"
    exit "$cu_code"
}

make_work() {
    [ -n "$work" ] && return 0
    work=$(mktemp -d "${TMPDIR:-/tmp}/zonescope.XXXXXX") || fail "cannot make a temporary directory"
}

# ---------------------------------------------------------------------------------------------------------------------
# A compiler

# The oldest Rust that builds the workspace in $1, from its Cargo.toml.
oldest_rust() { sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$1/Cargo.toml" | head -n 1; }

# new_enough VERSION OLDEST
new_enough() {
    echo "$1 $2" | $awk '{ split($1, a, "[^0-9]+"); split($2, b, "[^0-9]+")
        for (i = 1; i <= 3; i++) if (a[i] + 0 != b[i] + 0) exit !(a[i] + 0 > b[i] + 0)
        exit 0 }'
}

cargo_is_new_enough() {
    has cargo || return 1
    cn_version=$(cargo --version 2>/dev/null | $awk '{ print $2 }')
    [ -n "$cn_version" ] && new_enough "$cn_version" "$1"
}

# Puts a cargo that is new enough for the source in $1 on PATH: the one that is here, or else the system's package.
need_compiler() {
    nc_oldest=$(oldest_rust "$1")
    for nc_dir in "${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin" /opt/local/bin /opt/ooce/bin; do
        case :$PATH: in *":$nc_dir:"*) ;; *) [ ! -x "$nc_dir/cargo" ] || PATH=$PATH:$nc_dir ;; esac
    done
    export PATH
    if cargo_is_new_enough "$nc_oldest" && { has cc || has gcc; }; then return 0; fi
    nc_why="no cargo here"
    has cargo && nc_why="cargo here is $(cargo --version | $awk '{ print $2 }')"
    cargo_is_new_enough "$nc_oldest" && nc_why="no C compiler here, which zstd needs"
    case $flavour in
        debian) install_compiler_debian ;;
        smartos)
            in_global_zone && refuse "the global zone of SmartOS has no compiler: name a zone to build in (--build-in-zone NAME), or install a release (--from)"
            need_root "installing a compiler ($nc_why)"
            change "install a compiler ($nc_why): pkgin -y install rust build-essential" pkgin -y install rust build-essential ;;
        omnios)
            need_root "installing a compiler ($nc_why)"
            # The publisher extra.omnios holds it.
            change "install a compiler ($nc_why): pkg install ooce/developer/rust build-essential" \
                pkg_install ooce/developer/rust build-essential
            PATH=$PATH:/opt/ooce/bin ;;
        *) refuse "$nc_why, at least $nc_oldest is needed, and what installs it on this system is not known: install Rust (https://rustup.rs, or your system's packages) and a C compiler, then run this again" ;;
    esac
    [ "$dry_run" = yes ] || cargo_is_new_enough "$nc_oldest" ||
        fail "the system's packages gave no Rust as new as $nc_oldest: install it from https://rustup.rs, then run this again"
}

# pkg(1) ends with 4 where nothing had to be done.
pkg_install() { pkg install "$@" || [ $? = 4 ]; }

# The version that apt would install, if any.
apt_candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: *\([0-9][^-+~]*\).*/\1/p'; }

# Debian 12 has its own cargo (too old) and, kept current for its browsers, cargo-web. Ubuntu has cargo-1.NN beside
# its own; newer Debians have rustup. The first that is new enough is taken. cargo fetches over TLS: ca-certificates.
find_debian_compiler() {
    for fd_package in cargo cargo-web; do
        fd_version=$(apt_candidate $fd_package)
        if [ -n "$fd_version" ] && new_enough "$fd_version" "$nc_oldest"; then
            fd_tools=''
            [ $fd_package = cargo ] || fd_tools=rustc-web
            echo "$fd_package" ${fd_tools:+"$fd_tools"} gcc libc6-dev ca-certificates
            return 0
        fi
    done
    for fd_package in $(apt-cache pkgnames cargo-1. 2>/dev/null | sort -t. -k2 -n -r); do
        if new_enough "${fd_package#cargo-}.0" "$nc_oldest"; then
            echo "$fd_package rustc-${fd_package#cargo-} gcc libc6-dev ca-certificates"
            return 0
        fi
    done
    [ -n "$(apt_candidate rustup)" ] && echo rustup gcc libc6-dev ca-certificates
}

install_compiler_debian() {
    need_root "installing a compiler ($nc_why)"
    nc_packages='gcc libc6-dev ca-certificates'
    if ! cargo_is_new_enough "$nc_oldest"; then
        nc_packages=$(find_debian_compiler) || {
            change "read the package lists: apt-get update" apt-get -qq update
            nc_packages=$(find_debian_compiler)
        } || fail "no package of this system has Rust $nc_oldest: let apt see Debian's security suite (cargo-web is in it), or install Rust from https://rustup.rs, then run this again"
    fi
    # shellcheck disable=SC2086 # a list of packages
    change "install a compiler ($nc_why): apt-get install $nc_packages" apt_install $nc_packages
    case $nc_packages in
        cargo-1.*)
            nc_version=${nc_packages%% *}
            PATH=/usr/lib/rust-${nc_version#cargo-}/bin:$PATH ;;
        rustup*) change "fetch the stable compiler: rustup default stable" rustup default stable ;;
    esac
}

apt_install() {
    ai_log=$(mktemp)
    if ! DEBIAN_FRONTEND=noninteractive apt-get -y -qq install --no-install-recommends "$@" > "$ai_log" 2>&1; then
        cat "$ai_log" >&2
        rm -f "$ai_log"
        fail "apt-get install $* failed (above)"
    fi
    rm -f "$ai_log"
}

# ---------------------------------------------------------------------------------------------------------------------
# Building

# build SOURCE PROFILE PACKAGE...: sets built, the directory of the binaries.
build() {
    b_source=$1 b_profile=$2
    shift 2
    for b_package in "$@"; do
        [ -d "$b_source/${b_package#zonescope-}" ] ||
            refuse "the source in $b_source has no ${b_package#zonescope-}/: this version cannot install it"
    done
    need_compiler "$b_source"
    b_target=${CARGO_TARGET_DIR:-$b_source/target}
    built=$b_target/$b_profile
    [ "$b_profile" = debug ] && b_flags='' || b_flags=--$b_profile
    b_list=''
    for b_package in "$@"; do b_list="$b_list -p $b_package"; done
    b_command="cargo build --locked $b_flags$b_list"
    [ "$dry_run" = no ] || { say "would build in $b_source: $b_command"; return 0; }
    need_space "$b_target" 3000 "building"
    mkdir -p "$b_target"
    b_log=$b_target/install.log
    # shellcheck disable=SC2086 # a list of flags
    ( cd "$b_source" && CARGO_TARGET_DIR=$b_target exec cargo --color never build --locked $b_flags $b_list ) > "$b_log" 2>&1 &
    b_pid=$!
    children="$children $b_pid"
    show_progress "$b_pid" "$b_log"
    b_code=0
    wait "$b_pid" || b_code=$?
    forget_child "$b_pid"
    if [ "$b_code" != 0 ]; then
        tail -n 40 "$b_log" >&2
        fail "the build failed (above; all of it in $b_log): $b_command"
    fi
}

forget_child() {
    fc_rest=''
    for fc_pid in $children; do [ "$fc_pid" = "$1" ] || fc_rest="$fc_rest $fc_pid"; done
    children=$fc_rest
}

# One line that stays where it is on a terminal; elsewhere one line a minute.
show_progress() {
    sp_seconds=0 sp_said=no
    while alive "$1"; do
        sleep 1
        sp_seconds=$((sp_seconds + 1))
        sp_count=$(grep -c '^ *Compiling ' "$2") || :
        [ "$sp_count" -gt 0 ] || continue
        sp_last=$(sed -n 's/^ *Compiling \([^ ]*\).*/\1/p' "$2" | tail -n 1)
        sp_text="building: $sp_count crates begun, now $sp_last, $((sp_seconds / 60)) min $((sp_seconds % 60)) s"
        if [ "$sp_said" = no ]; then
            sp_said=yes
            say "building; the first time takes 10 minutes or more on two cores (log: $2)"
        fi
        if [ -t 1 ]; then
            printf '\r\033[Kzonescope: %s' "$sp_text"
        elif [ $((sp_seconds % 60)) = 0 ]; then
            say "$sp_text"
        fi
    done
    if [ -t 1 ] && [ "$sp_said" = yes ]; then printf '\r\033[K'; fi
    [ "$sp_said" = no ] || say "built in $((sp_seconds / 60)) min $((sp_seconds % 60)) s"
}

# ---------------------------------------------------------------------------------------------------------------------
# Where it comes from

# Sets tree: a source tree (Cargo.toml) or an unpacked release (SHA256SUMS).
find_tree() {
    if [ -z "$from" ]; then
        # Run from a file, that file's directory; piped, what packaging/release.sh wrote into this copy.
        ft_here=''
        [ ! -f "$0" ] || ft_here=$(cd "$(dirname "$0")" && pwd)
        if [ -n "$ft_here" ] && { [ -f "$ft_here/Cargo.toml" ] || [ -f "$ft_here/SHA256SUMS" ]; }; then
            from=$ft_here
        elif [ -n "$RELEASE_URL" ]; then
            from=$RELEASE_URL-$platform.tar.gz
            [ -n "$sha256" ] || for ft_pair in $RELEASE_SHA256; do
                [ "${ft_pair%%=*}" != "$platform" ] || sha256=${ft_pair#*=}
            done
            [ -n "$sha256" ] || refuse "this release was not built for $platform: build it from source (--from DIR)"
        else
            refuse "do not know where to take zonescope from: name a source tree, a release tarball or its address with --from"
        fi
    fi
    case $from in
        http://* | https://*)
            make_work
            ft_file=$work/${from##*/}
            say "fetch $from"
            fetch "$from" "$ft_file"
            [ -z "$signed_by" ] || { fetch "$from.sha256" "$ft_file.sha256"; fetch "$from.sha256.sig" "$ft_file.sha256.sig"; }
            verify "$ft_file" fetched
            unpack "$ft_file" ;;
        *)
            if [ -d "$from" ]; then
                tree=$(cd "$from" && pwd)
            elif [ -f "$from" ]; then
                verify "$from" local
                unpack "$from"
            else
                refuse "--from $from: no such directory or file"
            fi ;;
    esac
    if [ -f "$tree/SHA256SUMS" ]; then
        check_release
    elif [ ! -f "$tree/Cargo.toml" ]; then
        refuse "$from holds neither a release (SHA256SUMS) nor the source (Cargo.toml)"
    fi
}

fetch() {
    if has curl; then
        curl -fsSL --retry 2 -o "$2" "$1" || refuse "cannot fetch $1"
    elif has wget; then
        wget -q -O "$2" "$1" || refuse "cannot fetch $1"
    else
        refuse "neither curl nor wget is here to fetch $1"
    fi
}

# verify FILE fetched|local: against --sha256, or a signed sum, or (local files only) the sum that lies beside it.
verify() {
    v_is=$(sum_of "$1")
    if [ -n "$sha256" ]; then
        v_must=$sha256 v_by='the sum that was given'
    elif [ -n "$signed_by" ]; then
        has ssh-keygen || refuse "--signed-by needs ssh-keygen"
        [ -f "$1.sha256" ] && [ -f "$1.sha256.sig" ] || refuse "$1.sha256 and $1.sha256.sig are needed for --signed-by"
        v_who=$(ssh-keygen -Y find-principals -s "$1.sha256.sig" -f "$signed_by" 2>/dev/null | head -n 1) || v_who=''
        [ -n "$v_who" ] && ssh-keygen -Y verify -f "$signed_by" -I "$v_who" -n zonescope-release \
            -s "$1.sha256.sig" < "$1.sha256" >/dev/null 2>&1 ||
            refuse "$1.sha256 is not signed by anyone in $signed_by"
        v_must=$(cut -d' ' -f1 "$1.sha256") v_by="the sum signed by $v_who"
    elif [ "$2" = local ] && [ -f "$1.sha256" ]; then
        v_must=$(cut -d' ' -f1 "$1.sha256") v_by="$1.sha256"
    else
        refuse "nothing says what ${1##*/} should be: give its SHA-256 (--sha256) or who signs it (--signed-by)"
    fi
    [ "$v_is" = "$v_must" ] || refuse "${1##*/} is not what it should be: its SHA-256 is $v_is, $v_by says $v_must"
    say "verified ${1##*/} against $v_by"
}

unpack() {
    make_work
    mkdir "$work/unpacked"
    gzip -dc "$1" | ( cd "$work/unpacked" && tar -xf - ) || refuse "cannot unpack $1"
    set -- "$work"/unpacked/*
    [ $# = 1 ] && [ -d "$1" ] || refuse "$from is not one directory, packed"
    tree=$1
}

check_release() {
    [ "$(cat "$tree/PLATFORM" 2>/dev/null)" = "$platform" ] ||
        refuse "this release is for $(cat "$tree/PLATFORM" 2>/dev/null || echo unknown), this machine is $platform"
    while read -r cr_sum cr_file; do
        [ -f "$tree/$cr_file" ] && [ "$(sum_of "$tree/$cr_file")" = "$cr_sum" ] ||
            refuse "$cr_file of this release is damaged or missing"
    done < "$tree/SHA256SUMS"
}

# Sets stage: what will be installed, laid out as a release is.
make_stage() {
    [ -z "$build_zone" ] || build_in_zone
    if [ -f "$tree/SHA256SUMS" ]; then
        stage=$tree
        for ms_role in "$@"; do
            [ -x "$stage/bin/zonescope-$ms_role" ] || refuse "this release has no zonescope-$ms_role"
        done
        return 0
    fi
    make_work
    ms_packages=''
    for ms_role in "$@"; do ms_packages="$ms_packages zonescope-$ms_role"; done
    # shellcheck disable=SC2086 # a list of packages
    [ -n "$build_zone" ] || build "$tree" release $ms_packages
    stage=$work/stage
    if [ "$dry_run" = yes ]; then
        # The names of what would be built, to plan with.
        built=$work/built
        mkdir -p "$built"
        for ms_role in "$@"; do cp "$tree/install.sh" "$built/zonescope-$ms_role"; done
    fi
    # shellcheck disable=SC2086
    sh "$tree/packaging/stage.sh" "$tree" "$built" "$stage" $ms_packages
}

# SmartOS: the source goes into a zone, the release that its build makes comes back.
build_in_zone() {
    in_global_zone || refuse "--build-in-zone is for the global zone; this is ${zone:-not illumos}"
    [ -f "$tree/Cargo.toml" ] || refuse "--build-in-zone needs the source; $tree is a release"
    bz_zone=$build_zone
    if has vmadm; then
        bz_found=$(vmadm lookup -1 "alias=$build_zone" 2>/dev/null) && [ -n "$bz_found" ] && bz_zone=$bz_found
    fi
    # zoneadm list -p: zoneid:zonename:state:zonepath:uuid:brand:ip-type
    bz_line=$(zoneadm -z "$bz_zone" list -p 2>/dev/null) || refuse "no zone $build_zone here (zoneadm list lists them)"
    bz_state=$(echo "$bz_line" | cut -d: -f3)
    [ "$bz_state" = running ] || refuse "the zone $build_zone is $bz_state; it must be running"
    bz_inside=/var/tmp/zonescope-build
    bz_root=$(echo "$bz_line" | cut -d: -f4)/root$bz_inside
    change "copy the source into the zone $build_zone, build it there and fetch the release" run_in_zone
    [ "$dry_run" = no ] || return 0
    unpack "$work/from-zone.tar.gz"
    check_release
}

run_in_zone() {
    make_work
    rm -rf "$bz_root"
    mkdir -p "$bz_root"
    # shellcheck disable=SC2046 # names without blanks
    ( cd "$tree" && tar -cf - $(find . ! -name . -prune ! -name target ! -name .git) ) | ( cd "$bz_root" && tar -xf - )
    zlogin "$bz_zone" "cd $bz_inside && sh install.sh --package" ||
        fail "the build in the zone $build_zone failed (above); its tree is $bz_root"
    cp "$bz_root"/target/zonescope-release/zonescope-*.tar.gz "$work/from-zone.tar.gz" ||
        fail "the build in the zone $build_zone left no release in $bz_root/target/zonescope-release"
    rm -rf "$bz_root"
}

# ---------------------------------------------------------------------------------------------------------------------
# --try

free_port() {
    fp_port=$1
    while listening "$fp_port" || listening $((fp_port + 1)); do fp_port=$((fp_port + 2)); done
    echo "$fp_port"
}

# start NAME COMMAND...: in the background, its output in $data/NAME.log; sets started.
start() {
    st_name=$1
    shift
    "$@" > "$data/$st_name.log" 2>&1 < /dev/null &
    started=$!
    children="$children $started"
}

ended_early() {
    warn "$1 ended before its time; the last lines of $data/$1.log:"
    tail -n 20 "$data/$1.log" >&2
    exit 1
}

interrupted=no

try() {
    find_tree
    if [ -f "$tree/SHA256SUMS" ]; then
        bins=$tree/bin
    else
        build "$tree" debug zonescope-generator zonescope-collector-columnar
        bins=$built
    fi
    t_collector=$bins/zonescope-collector-columnar
    t_port=$(free_port 7211)
    t_endpoint=tcp://127.0.0.1:$t_port
    if [ "$dry_run" = yes ]; then
        say "would run, with everything they write in a new temporary directory:"
        say "    zonescope-generator run --bind $t_endpoint"
        say "    zonescope-collector-columnar run --connect $t_endpoint --root DIRECTORY/data"
        say "    zonescope-collector-columnar top --connect $t_endpoint${seconds:+ --seconds $seconds}"
        return 0
    fi
    data=$(mktemp -d "${TMPDIR:-/tmp}/zonescope-try.XXXXXX")
    # From here on Ctrl-C means: enough seen.
    trap 'interrupted=yes' INT
    start generator "$bins/zonescope-generator" run --bind "$t_endpoint"
    t_generator_pid=$started
    t_waited=0
    until listening "$t_port"; do
        alive "$t_generator_pid" || ended_early generator
        [ $t_waited -lt 20 ] || fail "the generator does not listen on port $t_port after 20 s; its log: $data/generator.log"
        sleep 1
        t_waited=$((t_waited + 1))
    done
    start collector "$t_collector" run --connect "$t_endpoint" --root "$data/data"
    t_collector_pid=$started
    if [ "$interrupted" = no ]; then
        # Not in the background: the table has the terminal.
        t_code=0
        "$t_collector" top --connect "$t_endpoint" ${seconds:+--seconds "$seconds"} || t_code=$?
        [ "$t_code" = 0 ] || [ "$interrupted" = yes ] || [ "$t_code" = 130 ] || t_failed="the live table ended with code $t_code"
    fi
    # Ctrl-C at a terminal goes to the daemons as well, and they end in order by themselves.
    if [ "$interrupted" = no ]; then
        alive "$t_generator_pid" || ended_early generator
        alive "$t_collector_pid" || ended_early collector
    fi
    trap 'exit 130' INT
    stop_children
    [ -z "${t_failed:-}" ] || fail "$t_failed"
    try_queries
}

try_queries() {
    tq_worst="select zone, resource, max(utilization) as peak, max(saturation) as waiting from use group by 1, 2 order by 3 desc nulls last limit 10"
    tq_waits="select zone, resource, saturation_unit, avg(saturation) as waiting from use where saturation > 0 group by 1, 2, 3 order by 4 desc limit 10"
    tq_errors="select zone, resource, sum(errors) as errors from use where errors > 0 group by 1, 2 order by 3 desc limit 10"
    if [ -n "$seconds" ]; then
        say "who used most, in the $seconds seconds just recorded:"
        "$t_collector" query "$tq_worst" --root "$data/data" || fail "the query failed"
    fi
    say "nothing runs any more. What was recorded is in $data/data; rm -r $data removes it."
    say "Three questions to ask it (who used most, who waited, who failed):"
    for tq_query in "$tq_worst" "$tq_waits" "$tq_errors"; do
        printf '  %s query --root %s \\\n      "%s"\n' "$t_collector" "$data/data" "$tq_query"
    done
    [ -f "$tree/SHA256SUMS" ] || say "An installed release is smaller and faster than this build for trying: sh install.sh --help"
}

# ---------------------------------------------------------------------------------------------------------------------

main() {
    set -eu
    umask 022
    changes=0
    parse "$@"
    find_platform
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    case $action in
        try) try ;;
        install)
            if [ -z "$role" ] && in_global_zone; then role=generator; fi
            [ -n "$role" ] || wrong "name a role: --generator, --collector-columnar or --collector-redis (or --try)"
            [ -z "$bind" ] || [ "$role" = generator ] || wrong "--bind goes with --generator"
            [ -z "$connect" ] || [ "$role" != generator ] || wrong "--connect goes with a collector"
            find_tree
            load_parts "$tree"
            install_role ;;
        upgrade)
            find_tree
            load_parts "$tree"
            upgrade ;;
        uninstall)
            [ -d "$share" ] || { say "nothing is installed below $prefix"; exit 0; }
            load_parts "$share"
            uninstall ;;
        platform) echo "$platform" ;;
        package | compiler)
            find_tree
            [ -f "$tree/Cargo.toml" ] || refuse "$tree is no source tree"
            need_compiler "$tree"
            [ "$action" = compiler ] || sh "$tree/packaging/release.sh" ;;
    esac
}

# What puts things in place, and removes them: of the version that is being installed, or is installed.
load_parts() {
    # shellcheck disable=SC2034 # they use it
    installed=$share/installed
    for lp_part in place service actions; do
        # shellcheck source=/dev/null
        . "$1/packaging/install/$lp_part.sh"
    done
}

# In braces: a download that is cut off within this line is a syntax error too.
{ main "$@"; }
