# shellcheck shell=sh disable=SC2154,SC2034 # code and shell are case.sh's
# Release tarballs: made twice alike, checked before they are unpacked, installed through `curl | sh`.

# Sets tarball.
make_release() {
    sh packaging/release.sh > /machine/log 2>&1 || { cat /machine/log; fail "release.sh"; }
    tarball=$(echo /src/target/zonescope-release/zonescope-*.tar.gz)
    is_file "$tarball"
}

# A web server on loopback, for /srv. Sets url.
serve() {
    ( cd /srv && exec python3 -m http.server --bind 127.0.0.1 8000 > /machine/web.log 2>&1 ) &
    serve_tries=0
    until curl -s -o /dev/null http://127.0.0.1:8000/; do
        serve_tries=$((serve_tries + 1))
        [ $serve_tries -lt 50 ] || fail "the web server should answer"
        sleep 0.1
    done
    url=http://127.0.0.1:8000
}

# What a project publishes: tarball, sum, and the install.sh that knows the sum.
publish() {
    make_release
    sh packaging/release.sh --stamp http://127.0.0.1:8000 "$tarball.sha256" > /machine/log || fail "--stamp"
    mkdir -p /srv
    cp "$tarball" "$tarball.sha256" /src/target/zonescope-release/install.sh /srv/
    serve
}

# curl_sh ARGUMENT...: as an operator types it, outside any source tree.
curl_sh() {
    code=0
    # shellcheck disable=SC2086 # "busybox sh" is two words
    ( cd / && curl -fsSL $url/install.sh | $shell -s -- "$@" ) > /machine/output 2>&1 || code=$?
}

changed_but_srv() { changes | grep -v '^new /srv'; }

test_two_builds_are_byte_identical() {
    use cargo
    make_release
    first=$(sha256sum < "$tarball")
    cp "$tarball" /tmp/first.tar.gz
    # At another time, in another place, by another user's umask.
    cp -R /src /tmp/elsewhere
    rm -rf /tmp/elsewhere/target
    sleep 1.1
    export SOURCE_DATE_EPOCH=1700000000
    ( umask 077; sh packaging/release.sh > /machine/log 2>&1; cd /tmp/elsewhere && sh packaging/release.sh >> /machine/log 2>&1 ) || fail "release.sh"
    cmp "$tarball" "/tmp/elsewhere/target/zonescope-release/${tarball##*/}" || fail "two builds should be the same bytes"
    tar -tvzf "$tarball" | awk '$2 != "0/0" { exit 1 }' || fail "owned by nobody in particular"
    for file in bin/zonescope-generator bin/zonescope-collector-columnar install.sh SHA256SUMS PLATFORM VERSION \
        man/zonescope-generator.1 man/zonescope-collector-columnar.1 man/zonescope.7 packaging/systemd/zonescope-generator.service packaging/smf/generator.xml packaging/smf/acceptance.sh LICENSE-MIT \
        sbom/zonescope-generator.cdx.json sbom/zonescope-collector-columnar.cdx.json; do
        tar -tzf "$tarball" | grep -q "/$file$" || fail "the tarball should hold $file"
    done
    tar -xOzf "$tarball" --wildcards '*/sbom/zonescope-generator.cdx.json' > /tmp/sbom.json
    python3 -c 'import json, sys
bom = json.load(open("/tmp/sbom.json"))
assert bom["metadata"]["timestamp"] == "2023-11-14T22:13:20Z", bom["metadata"]
assert [part["purl"] for part in bom["components"]] == ["pkg:cargo/bytes@1.0.0", "pkg:cargo/serde@1.0.0"], bom["components"]' ||
        fail "the SBOM says what the program is made of, as of SOURCE_DATE_EPOCH"
}

test_package_makes_the_tarball_and_nothing_else() {
    use cargo
    installer --package
    expect 0 "--package"
    tarball=$(echo /src/target/zonescope-release/zonescope-*.tar.gz)
    says "$tarball"
    calls_are cargo <<'CALLS'
cargo --version
cargo build --release --locked -p zonescope-generator -p zonescope-collector-columnar
CALLS
    ( cd "${tarball%/*}" && sha256sum --check --quiet "${tarball##*/}.sha256" ) || fail "its sum lies beside it"
    unchanged "but for the build"
    mkdir /tmp/release && tar -xzf "$tarball" -C /tmp/release --strip-components 1
    code=0
    sh /tmp/release/install.sh --package > /machine/output 2>&1 || code=$?
    expect 3 "--package of a release"
    says "is no source tree"
}

test_a_release_of_some_programs() {
    use cargo
    sh packaging/release.sh generator > /machine/log 2>&1 || { cat /machine/log; fail "release.sh generator"; }
    tarball=$(echo /src/target/zonescope-release/zonescope-*.tar.gz)
    tar -tzf "$tarball" | grep -q /bin/zonescope-generator$ || fail "what was named is in it"
    ! tar -tzf "$tarball" | grep -q collector-columnar$ || fail "what was not named is not"
    installer --collector-columnar --from "$tarball"
    expect 3 "a program that is not in it"
    says "this release has no zonescope-collector-columnar"
    sh packaging/release.sh generatr > /machine/output 2>&1 && fail "a mistake"
    says "release.sh: what is generatr?"
}

test_curl_sh_installs_and_leaves_no_trace_when_removed() { # every shell
    use cargo systemctl
    mkdir -p /run/systemd/system
    publish
    : > "$CALLS"
    curl_sh --generator
    expect 0 "curl | sh"
    says "verified zonescope-0.1.0-$(uname -m)-linux.tar.gz against the sum that was given"
    says "zonescope-generator runs"
    calls_are cargo < /dev/null
    curl_sh --generator
    says "nothing to change"
    curl_sh --uninstall --purge
    expect 0 "curl | sh --uninstall"
    no_process
    changed_but_srv > /machine/changes
    [ ! -s /machine/changes ] || { cat /machine/changes; fail "nothing should be left"; }
}

test_curl_sh_upgrades() {
    use cargo systemctl
    mkdir -p /run/systemd/system
    publish
    curl_sh --generator
    version 0.2.0
    make_release
    sh packaging/release.sh --stamp http://127.0.0.1:8000 "$tarball.sha256" > /machine/log || fail "--stamp"
    cp "$tarball" "$tarball.sha256" /src/target/zonescope-release/install.sh /srv/
    curl_sh --upgrade
    expect 0 "curl | sh --upgrade"
    [ "$(/usr/local/bin/zonescope-generator --version)" = "zonescope-generator 0.2.0" ] || fail "the new version"
}

test_a_download_that_is_cut_off_does_nothing() { # every shell
    use cargo systemctl
    mkdir -p /run/systemd/system
    publish
    length=$(wc -c < /srv/install.sh)
    # At twenty places all over it, and at every byte of its last lines.
    for cut in $(seq 1 20) ; do echo $((length * cut / 21)); done > /tmp/cuts
    seq $((length - 130)) $((length - 3)) >> /tmp/cuts
    : > "$CALLS"
    while read -r cut; do
        # shellcheck disable=SC2086
        head -c "$cut" /srv/install.sh | $shell -s -- --generator > /machine/output 2>/machine/errors
        [ ! -s /machine/output ] || fail "cut off after $cut of $length bytes it should say nothing"
    done < /tmp/cuts
    [ ! -s "$CALLS" ] || fail "nothing should be called"
    changed_but_srv > /machine/changes
    [ ! -s /machine/changes ] || { cat /machine/changes; fail "nothing should be changed"; }
}

test_a_tarball_that_is_not_what_it_should_be_is_refused() {
    use cargo
    publish
    damaged=/srv/${tarball##*/}
    # One byte of it.
    printf 'x' | dd of="$damaged" bs=1 seek=5000 conv=notrunc 2>/dev/null
    curl_sh --generator
    expect 3 "a damaged tarball"
    says "is not what it should be: its SHA-256 is"
    # Half of it.
    head -c 3000 "$tarball" > "$damaged"
    curl_sh --generator
    expect 3 "half a tarball"
    # None of it.
    rm "$damaged"
    curl_sh --generator
    expect 3 "no tarball"
    says "cannot fetch http://127.0.0.1:8000/"
    # The right one, a wrong sum on the command line.
    cp "$tarball" "$damaged"
    curl_sh --generator --sha256 0000000000000000000000000000000000000000000000000000000000000000
    expect 3 "a wrong sum"
    changed_but_srv > /machine/changes
    [ ! -s /machine/changes ] || { cat /machine/changes; fail "nothing should be changed"; }
}

test_a_url_needs_a_sum_or_a_signature() {
    use cargo
    publish
    installer --generator --from "$url/${tarball##*/}"
    expect 3 "neither"
    says "give its SHA-256 (--sha256) or who signs it (--signed-by)"
    installer --generator --from "$url/${tarball##*/}" --sha256 "$(sha256sum < "$tarball" | cut -d' ' -f1)" --dry-run
    expect 0 "with its sum"
}

test_a_signature_is_checked() {
    use cargo
    command -v ssh-keygen > /dev/null || skip "no ssh-keygen here"
    publish
    ssh-keygen -q -t ed25519 -N '' -f /tmp/key && ssh-keygen -q -t ed25519 -N '' -f /tmp/other
    echo "releases@example.org namespaces=\"zonescope-release\" $(cut -d' ' -f1,2 /tmp/key.pub)" > /tmp/signers
    ssh-keygen -q -Y sign -f /tmp/key -n zonescope-release "/srv/${tarball##*/}.sha256" 2>/dev/null
    installer --generator --from "$url/${tarball##*/}" --signed-by /tmp/signers --dry-run
    expect 0 "signed by who may"
    says "against the sum signed by releases@example.org"
    # Somebody else's signature; the right key for another purpose; a sum that was changed after signing.
    rm "/srv/${tarball##*/}.sha256.sig"
    ssh-keygen -q -Y sign -f /tmp/other -n zonescope-release "/srv/${tarball##*/}.sha256" 2>/dev/null
    installer --generator --from "$url/${tarball##*/}" --signed-by /tmp/signers
    expect 3 "signed by another"
    says "is not signed by anyone in /tmp/signers"
    rm "/srv/${tarball##*/}.sha256.sig"
    ssh-keygen -q -Y sign -f /tmp/key -n mail "/srv/${tarball##*/}.sha256" 2>/dev/null
    installer --generator --from "$url/${tarball##*/}" --signed-by /tmp/signers
    expect 3 "signed for another purpose"
    rm "/srv/${tarball##*/}.sha256.sig"
    ssh-keygen -q -Y sign -f /tmp/key -n zonescope-release "/srv/${tarball##*/}.sha256" 2>/dev/null
    echo "0000000000000000000000000000000000000000000000000000000000000000  x" > "/srv/${tarball##*/}.sha256"
    installer --generator --from "$url/${tarball##*/}" --signed-by /tmp/signers
    expect 3 "changed after signing"
}

test_a_local_tarball_is_checked_against_the_sum_beside_it() {
    use cargo
    make_release
    cp "$tarball" /tmp/
    installer --collector-columnar --from "/tmp/${tarball##*/}"
    expect 3 "no sum"
    cp "$tarball.sha256" /tmp/
    installer --collector-columnar --from "/tmp/${tarball##*/}"
    expect 0 "with the sum beside it"
    is_file /usr/local/bin/zonescope-collector-columnar
    installer --collector-redis --from "/tmp/${tarball##*/}"
    expect 3 "a role that the release lacks"
    says "this release has no zonescope-collector-redis"
}

test_a_release_for_another_platform_is_refused() {
    use cargo
    make_release
    mkdir /tmp/unpacked && tar -xzf "$tarball" -C /tmp/unpacked --strip-components 1
    echo x86_64-illumos > /tmp/unpacked/PLATFORM
    installer --generator --from /tmp/unpacked
    expect 3 "another platform"
    says "this release is for x86_64-illumos, this machine is $(uname -m)-linux"
    uname -m | sed 's/$/-linux/' > /tmp/unpacked/PLATFORM
    echo '# mine' >> /tmp/unpacked/packaging/config/generator.toml
    installer --generator --from /tmp/unpacked
    expect 3 "a changed file"
    says "packaging/config/generator.toml of this release is damaged or missing"
    # The install.sh of a release that was not built for this machine.
    sed -i "s|^RELEASE_URL=.*|RELEASE_URL=http://127.0.0.1:8000/zonescope-0.1.0|; s|^RELEASE_SHA256=.*|RELEASE_SHA256=sparc-illumos=0|" install.sh
    code=0
    sh -s -- --generator < install.sh > /machine/output 2>&1 || code=$?
    expect 3 "no release for this platform"
    says "this release was not built for"
    unchanged "refused"
}

test_without_curl_wget_fetches() {
    use cargo
    command -v wget > /dev/null || skip "no wget here"
    publish
    rm "$(command -v curl)"
    installer --generator --from "$url/${tarball##*/}" --sha256 "$(sha256sum < "$tarball" | cut -d' ' -f1)" --dry-run
    expect 0 "wget"
    rm "$(command -v wget)"
    installer --generator --from "$url/${tarball##*/}" --sha256 "$(sha256sum < "$tarball" | cut -d' ' -f1)" --dry-run
    expect 3 "neither"
    says "neither curl nor wget is here"
}
