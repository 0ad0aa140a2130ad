# shellcheck shell=sh disable=SC2154,SC2034 # code and shell are case.sh's
# What is typed wrongly is said, and does nothing.

test_wrong_command_lines_are_refused() { # every shell
    use cargo
    # What is typed | what the message must hold.
    while IFS='|' read -r typed message; do
        # shellcheck disable=SC2086 # words
        installer $typed
        expect 2 "$typed"
        says "$message"
    done <<'TABLE'
|name a role
--nonsense|what is --nonsense?
--try --upgrade|--try and --upgrade exclude each other
--generator --collector-redis|one role at a time
--try --seconds|--seconds needs a value
--try --seconds soon|--seconds soon: a number of seconds
--generator --seconds 5|--seconds goes with --try
--generator --purge|--purge goes with --uninstall
--upgrade --bind tcp://0.0.0.0:7211|--bind goes with installing
--upgrade --connect tcp://0.0.0.0:7211|--connect goes with installing
--upgrade --config /etc/hostname|--config goes with installing
--generator --bind 0.0.0.0:7211|an endpoint is tcp://ADDRESS:PORT
--generator --bind tcp://host:|an endpoint is tcp://ADDRESS:PORT
--generator --bind tcp://a"b:1|an endpoint is tcp://ADDRESS:PORT
--generator --bind tcp://a;b:1|an endpoint is tcp://ADDRESS:PORT
--generator --connect tcp://10.0.0.1:7211|--connect goes with a collector
--collector-columnar --bind tcp://10.0.0.1:7211|--bind goes with --generator
--generator --prefix opt|an absolute path
--generator --prefix /opt/a&b|letters, digits and / . _ -
--generator --sha256 abc|64 digits
--generator --config /nonexistent|cannot be read
--generator --signed-by /nonexistent|cannot be read
TABLE
    calls_are cargo < /dev/null
    unchanged "refused"
}

test_help_fits_a_terminal_and_names_every_option() {
    installer --help
    expect 0 "--help"
    [ "$(wc -L < /machine/output)" -le 120 ] || fail "lines of 120 columns at most"
    # shellcheck disable=SC2013 # words, one a line
    for option in $(sed -n '/^parse()/,/^}/p' /src/install.sh | grep -oE -e '--[a-z-]+[a-z0-9]' | sort -u); do says "$option"; done
}

test_where_to_take_it_from_must_be_known() {
    code=0
    sh -s -- --generator < /src/install.sh > /machine/output 2>&1 || code=$?
    expect 3 "piped, without --from"
    says "do not know where to take zonescope from"
    installer --generator --from /nonexistent
    expect 3 "no such directory"
    says "--from /nonexistent: no such directory or file"
    installer --generator --from /etc
    expect 3 "not a source"
    says "/etc holds neither a release (SHA256SUMS) nor the source (Cargo.toml)"
    unchanged "refused"
}
