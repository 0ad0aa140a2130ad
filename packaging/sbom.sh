#!/bin/sh
# sbom.sh PROGRAM PLATFORM VERSION TIME      prints what PROGRAM is made of, as CycloneDX 1.6 (JSON)
#
# PROGRAM is a package of this workspace, PLATFORM as install.sh --platform names it, TIME in seconds since 1970. The parts are
# those that cargo would build for that platform from Cargo.lock, with the tools of the build left out (they are in no program), each with
# its licence, its package URL, the SHA-256 of its source where the lock file has one, and what it depends on in turn.
#
# Cargo and awk make it, so that a release needs no further tool on any platform, and the same tree gives the same bytes: the serial number,
# which has to differ between documents, comes from the sum of what is said.
set -eu
export LC_ALL=C TZ=UTC0

root=$(cd "$(dirname "$0")/.." && pwd)
program=$1 platform=$2 version=$3 time=$4
case $platform in
    x86_64-illumos) target=x86_64-unknown-illumos ;;
    *-linux) target=${platform%-linux}-unknown-linux-gnu ;;
    *) echo "sbom.sh: no target of Rust is known for $platform" >&2; exit 2 ;;
esac
# GNU's date, then that of illumos and the BSDs; nawk, since awk of older illumos knows no functions.
iso=$(date -u -d "@$time" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$time" +%Y-%m-%dT%H:%M:%SZ)
awk=$(command -v nawk || command -v awk)
sum() { if command -v sha256sum >/dev/null; then sha256sum | cut -d' ' -f1; else digest -a sha256; fi; }

parts=$(cd "$root" && cargo tree --locked --edges normal,no-proc-macro --target "$target" --package "$program" \
    --prefix depth --format ' {p}|{l}' | sed -e 's/ ([^|]*)|/|/' -e 's/ (\*)$//')
serial=$(printf '%s\n' "$program $platform $version $time" "$parts" | sum | sed 's/\(.\{8\}\)\(.\{4\}\).\(.\{3\}\).\(.\{3\}\)\(.\{12\}\).*/\1-\2-5\3-8\4-\5/')

printf '%s\n' "$parts" | "$awk" -v program="$program" -v version="$version" -v time="$iso" -v serial="$serial" -v lock="$root/Cargo.lock" '
    function unquoted(line) { sub(/^[^"]*"/, "", line); sub(/".*/, "", line); return line }
    # What is ours is of no registry, and has the version of the release.
    function ref(part,   words) { split(part, words, " "); return "pkg:cargo/" words[1] "@" substr(words[2], 2) }
    function licence(text) { gsub("/", " OR ", text); return text }
    BEGIN {
        while ((getline line < lock) > 0) {
            if (line ~ /^name = /) name = unquoted(line)
            if (line ~ /^version = /) number = unquoted(line)
            if (line ~ /^checksum = /) sha256["pkg:cargo/" name "@" number] = unquoted(line)
        }
    }
    {
        depth = $1 + 0
        sub(/^[0-9]+ +/, "")
        split($0, fields, "|")
        part = ref(fields[1])
        if (!(part in seen)) { seen[part] = licence(fields[2]); order[++parts] = part; needs[part] = "" }
        above[depth] = part
        if (depth > 0 && !((above[depth - 1], part) in edge)) {
            edge[above[depth - 1], part] = 1
            needs[above[depth - 1]] = needs[above[depth - 1]] (needs[above[depth - 1]] == "" ? "" : ", ") "\"" part "\""
        }
    }
    function component(part, type,   name, number, text) {
        name = part; sub(/^pkg:cargo\//, "", name); number = name; sub(/.*@/, "", number); sub(/@.*/, "", name)
        text = "{ \"type\": \"" type "\", \"bom-ref\": \"" part "\", \"name\": \"" name "\", \"version\": \"" number "\", \"purl\": \"" part "\""
        if (seen[part] != "") text = text ", \"licenses\": [{ \"expression\": \"" seen[part] "\" }]"
        if (part in sha256) text = text ", \"hashes\": [{ \"alg\": \"SHA-256\", \"content\": \"" sha256[part] "\" }]"
        return text " }"
    }
    END {
        if (parts < 2) { print "sbom.sh: cargo tree names no parts" > "/dev/stderr"; exit 1 }
        print "{"
        print "  \"$schema\": \"http://cyclonedx.org/schema/bom-1.6.schema.json\","
        print "  \"bomFormat\": \"CycloneDX\", \"specVersion\": \"1.6\", \"version\": 1, \"serialNumber\": \"urn:uuid:" serial "\","
        print "  \"metadata\": { \"timestamp\": \"" time "\", \"component\": " component(order[1], "application") " },"
        print "  \"components\": ["
        for (i = 2; i <= parts; i++) print "    " component(order[i], "library") (i < parts ? "," : "")
        print "  ],"
        print "  \"dependencies\": ["
        for (i = 1; i <= parts; i++)
            print "    { \"ref\": \"" order[i] "\", \"dependsOn\": [" needs[order[i]] "] }" (i < parts ? "," : "")
        print "  ]"
        print "}"
    }'
