# shellcheck shell=sh disable=SC2154,SC2034 # code and shell are case.sh's
# What can be said of the files in packaging/ without running them.

test_manifests_are_valid() {
    command -v xmllint > /dev/null || skip "no xmllint here"
    for manifest in packaging/smf/*.xml; do
        xmllint --nonet --noout --dtdvalid packaging/smf/service_bundle.dtd "$manifest" 2>/tmp/says ||
            { cat /tmp/says; fail "$manifest is not valid"; }
    done
    # The check can fail.
    sed 's/grouping="require_all"/grouping="most"/' packaging/smf/generator.xml > /tmp/wrong.xml
    ! xmllint --nonet --noout --dtdvalid packaging/smf/service_bundle.dtd /tmp/wrong.xml 2>/dev/null || fail "a wrong manifest is found out"
}

test_units_are_valid_and_closed() {
    command -v systemd-analyze > /dev/null || skip "no systemd-analyze here"
    for unit in packaging/systemd/*.service; do
        name=$(basename "$unit" .service)
        # With programs, directories and an account that are there.
        mkdir -p /usr/local/bin
        cp /bin/true "/usr/local/bin/$name"
        sed -e 's|@PREFIX@|/usr/local|; s|@ETC@|/etc/zonescope|' "$unit" > "/etc/systemd/system/$name.service"
        systemd-analyze verify "/etc/systemd/system/$name.service" > /tmp/says 2>&1
        ! grep -E "$name" /tmp/says | grep -v "'man " || fail "systemd-analyze verify $unit"
        case $name in *generator) worst=25 ;; *) worst=15 ;; esac
        systemd-analyze security --offline=true --threshold=$worst "/etc/systemd/system/$name.service" > /tmp/says 2>&1 ||
            { tail -n 1 /tmp/says; fail "$unit is more open than $worst tenths"; }
    done
}

test_manual_pages_are_right() {
    command -v groff > /dev/null || skip "no groff here"
    for page in docs/man/*.[17]; do
        groff -t -man -ww -Tutf8 "$page" > /tmp/page 2> /tmp/says
        [ ! -s /tmp/says ] || { cat /tmp/says; fail "$page"; }
        [ "$(wc -l < /tmp/page)" -gt 40 ] || fail "$page says something"
    done
    for program in generator collector-columnar collector-redis; do
        is_file docs/man/zonescope-$program.1
        grep -q "man:zonescope-$program(1)" packaging/systemd/zonescope-$program.service || fail "the unit names its page"
        grep -q "manpage title=\"zonescope-$program\" section=\"1\"" packaging/smf/$program.xml || fail "the manifest names its page"
    done
}

test_every_default_configuration_shows_its_keys_as_toml() {
    python3 -c 'import tomllib' 2>/dev/null || skip "this python3 has no tomllib"
    for file in packaging/config/*.toml; do
        sed 's/^#\([a-z]\)/\1/' "$file" | python3 -c 'import sys, tomllib; assert tomllib.loads(sys.stdin.read())' ||
            fail "$file, with its defaults uncommented, should be TOML"
        python3 -c 'import sys, tomllib; 
empty = lambda table: all(isinstance(v, dict) and empty(v) for v in table.values())
assert empty(tomllib.load(open(sys.argv[1], "rb")))' "$file" ||
            fail "$file should change nothing"
    done
}
