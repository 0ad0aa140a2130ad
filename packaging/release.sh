#!/bin/sh
# release.sh [PROGRAM]...             builds target/zonescope-release/zonescope-VERSION-PLATFORM.tar.gz and its .sha256; only of
#                                     these programs: generator, collector-columnar, collector-redis [default: all]
# release.sh --binaries DIR           the same of programs that are built already
# release.sh --stamp URL SUMFILE...   writes beside them an install.sh for `curl -fsSL URL/install.sh | sh`, which knows
#                                     the sums of these tarballs, to be published under URL
#
# The tarball is reproducible: the same source, compiler and platform give the same bytes, wherever the source lies and
# whoever builds. Sign a sum with: ssh-keygen -Y sign -f KEY -n zonescope-release zonescope-...tar.gz.sha256
set -eu
umask 022
export LC_ALL=C TZ=UTC0

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/zonescope-release
version=$(sed -n 's/^version *= *"\([^"]*\)".*/\1/p' "$root/Cargo.toml" | head -n 1)

sum_of() { if command -v sha256sum >/dev/null; then sha256sum < "$1" | cut -d' ' -f1; else digest -a sha256 "$1"; fi; }

stamp() {
    url=$1 sums=''
    shift
    for sum_file in "$@"; do
        file=$(basename "$sum_file" .tar.gz.sha256)
        sums="$sums${sums:+ }${file#zonescope-"$version"-}=$(cut -d' ' -f1 "$sum_file")"
    done
    sed -e "s|^RELEASE_URL=\$|RELEASE_URL='$url/zonescope-$version'|" -e "s|^RELEASE_SHA256=\$|RELEASE_SHA256='$sums'|" \
        "$root/install.sh" > "$out/install.sh"
    grep -q "^RELEASE_SHA256='..*'" "$out/install.sh"
    echo "$out/install.sh"
}

# The time that every file of the tarball bears: of the last commit, or else of the version's line in CHANGELOG.md.
source_time() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        echo "$SOURCE_DATE_EPOCH"
    else
        git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1700000000
    fi
}

# pack DIRECTORY TARBALL: names sorted, one time, one owner.
pack() {
    tar=$(command -v gtar || command -v tar)
    if "$tar" --version 2>/dev/null | grep -q GNU; then
        "$tar" -C "$(dirname "$1")" --sort=name --format=ustar --mtime="@$(source_time)" --owner=0 --group=0 --numeric-owner \
            -cf - "$(basename "$1")"
    else
        # Without GNU tar: the order by a list; time and owner by what the files have.
        find "$1" -exec touch -t 202001010000 {} +
        ( cd "$(dirname "$1")" && find "$(basename "$1")" ! -type d | sort > "$1.list" && "$tar" -cf - -I "$1.list" )
    fi | gzip -n -9 > "$2.new"
    mv "$2.new" "$2"
}

build() {
    packages=''
    for program in $programs; do packages="$packages -p $program"; done
    # No path of this machine in the programs.
    SOURCE_DATE_EPOCH=$(source_time)
    RUSTFLAGS="--remap-path-prefix=$root=zonescope --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo --remap-path-prefix=$target=target"
    export SOURCE_DATE_EPOCH RUSTFLAGS
    # shellcheck disable=SC2086 # a list of flags
    ( cd "$root" && CARGO_TARGET_DIR=$target cargo build --release --locked $packages )
}

# release PROGRAMS [BINARIES]
release() {
    platform=$(sh "$root/install.sh" --platform)
    name=zonescope-$version-$platform
    binaries=${2:-$target/release}
    programs=''
    for program in $1; do
        if [ -d "$root/$program" ] && { [ $# = 1 ] || [ -f "$binaries/zonescope-$program" ]; }; then
            programs="$programs zonescope-$program"
        fi
    done
    [ $# != 1 ] || build

    rm -rf "${out:?}/$name"
    # shellcheck disable=SC2086 # a list of programs
    sh "$root/packaging/stage.sh" "$root" "$binaries" "$out/$name" $programs
    mkdir "$out/$name/sbom"
    for program in $programs; do
        sh "$root/packaging/sbom.sh" "$program" "$platform" "$version" "$(source_time)" > "$out/$name/sbom/$program.cdx.json"
    done
    echo "$version" > "$out/$name/VERSION"
    echo "$platform" > "$out/$name/PLATFORM"
    ( cd "$out/$name" && find . -type f ! -name SHA256SUMS | sed 's|^\./||' | sort | while read -r file; do
        echo "$(sum_of "$file")  $file"
    done > "$out/SHA256SUMS" && mv "$out/SHA256SUMS" SHA256SUMS )
    chmod -R u=rwX,go=rX "$out/$name"
    pack "$out/$name" "$out/$name.tar.gz"
    echo "$(sum_of "$out/$name.tar.gz")  $name.tar.gz" > "$out/$name.tar.gz.sha256"
    rm -rf "${out:?}/$name" "$out/$name.list"
    echo "$out/$name.tar.gz"
}

all='generator collector-columnar collector-redis'
mkdir -p "$out"
case ${1:-} in
    --stamp) shift; stamp "$@" ;;
    --binaries) release "$all" "$(cd "$2" && pwd)" ;;
    *)
        for program in "$@"; do
            case " $all " in *" $program "*) ;; *) echo "release.sh: what is $program?" >&2; exit 2 ;; esac
        done
        release "${*:-$all}" ;;
esac
