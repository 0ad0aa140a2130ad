#!/bin/sh
# stage.sh SOURCE BINARIES STAGE PROGRAM...
#
# Lays out in STAGE what a release holds, from the source tree SOURCE and the programs in BINARIES. Used by release.sh,
# which packs it, and by install.sh, which installs from it.
set -eu

source=$1 binaries=$2 stage=$3
shift 3
mkdir -p "$stage/bin" "$stage/man" "$stage/packaging"
for program in "$@"; do
    cp "$binaries/$program" "$stage/bin/"
    chmod 755 "$stage/bin/$program"
    [ ! -f "$source/docs/man/$program.1" ] || cp "$source/docs/man/$program.1" "$stage/man/"
done
[ ! -f "$source/docs/man/zonescope.7" ] || cp "$source/docs/man/zonescope.7" "$stage/man/"
for file in install.sh LICENSE-MIT LICENSE-APACHE README.md SECURITY.md CHANGELOG.md; do
    [ ! -f "$source/$file" ] || cp "$source/$file" "$stage/"
done
for part in config install smf systemd; do cp -R "$source/packaging/$part" "$stage/packaging/"; done
[ ! -d "$source/scripts" ] || cp -R "$source/scripts" "$stage/"
rm -rf "$stage/scripts/test" "$stage/scripts/test.sh"
