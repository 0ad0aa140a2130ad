# shellcheck shell=sh disable=SC2154,SC2034 # code and shell are case.sh's
# install.sh --try

test_it_shows_the_table_answers_a_query_and_leaves_nothing_running() { # every shell
    use cargo
    installer --try --seconds 1
    expect 0 "--try"
    called "cargo --color never build --locked -p zonescope-generator -p zonescope-collector-columnar"
    says "LIVE TABLE tcp://127.0.0.1:7211"
    says "ANSWER TO select zone, resource, max(utilization)"
    [ "$(grep -c 'query --root' /machine/output)" = 3 ] || fail "three queries to try"
    data=$(sed -n 's/.*What was recorded is in \([^;]*\);.*/\1/p' /machine/output)
    [ -d "$data" ] || fail "the data should be in $data"
    no_process
    unchanged "but for the source tree and /tmp"
}

test_a_taken_port_is_passed_over() {
    use cargo
    python3 -c 'import socket, time; s = socket.socket(); s.bind(("127.0.0.1", 7212)); s.listen(); time.sleep(100)' &
    sleep 0.5
    installer --try --seconds 1
    kill $!
    expect 0 "--try"
    # 7211 is free, but the port after it, where frames are recovered, is not.
    says "LIVE TABLE tcp://127.0.0.1:7213"
}

# signal_after_table SIGNAL: to the installer once the table is shown, as Ctrl-C does: to the whole foreground.
signal_after_table() {
    # shellcheck disable=SC2086 # "busybox sh" is two words
    setsid python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' $shell /src/install.sh --try > /machine/output 2>&1 < /dev/null &
    sat_pid=$!
    sat_tries=0
    until grep -q 'LIVE TABLE' /machine/output; do
        sat_tries=$((sat_tries + 1))
        [ $sat_tries -lt 100 ] || fail "the table should be shown"
        sleep 0.1
    done
    kill -s "$1" -- "-$sat_pid"
    code=0
    wait "$sat_pid" || code=$?
}

test_ctrl_c_ends_the_table_and_says_where_the_data_is() { # every shell
    use cargo
    signal_after_table INT
    expect 0 "Ctrl-C"
    says "What was recorded is in"
    no_process
}

test_sigterm_ends_everything() { # every shell
    use cargo
    signal_after_table TERM
    expect 143 "SIGTERM"
    no_process
}

test_what_does_not_end_is_killed_with_its_children() {
    use cargo
    touch /machine/stubborn
    installer --try --seconds 1
    says "these did not end within 10 s and are killed"
    no_process
}

test_a_generator_that_dies_is_explained() {
    use cargo
    touch /machine/generator-dies
    installer --try --seconds 1
    expect 1 "a dead generator"
    says "cannot read kstats: no such device"
    no_process
}

test_a_failed_build_shows_its_log() {
    use cargo
    touch /machine/build-fails
    installer --try --seconds 1
    expect 1 "a failed build"
    says "error: could not compile the stand-in"
    says "target/install.log"
}

test_an_interrupted_build_leaves_no_compiler_running() {
    use cargo
    touch /machine/build-hangs
    # shellcheck disable=SC2086
    $shell /src/install.sh --try > /machine/output 2>&1 < /dev/null &
    installer_pid=$!
    sleep 2
    kill -TERM $installer_pid
    code=0
    wait $installer_pid || code=$?
    expect 143 "SIGTERM"
    no_process
}

test_a_release_is_tried_without_building() {
    use cargo
    sh packaging/release.sh > /machine/log 2>&1 || { cat /machine/log; fail "release.sh"; }
    tarball=$(echo target/zonescope-release/zonescope-*.tar.gz)
    : > "$CALLS"
    mkdir /tmp/release && tar -xzf "$tarball" -C /tmp/release --strip-components 1
    code=0
    sh /tmp/release/install.sh --try --seconds 1 > /machine/output 2>&1 || code=$?
    expect 0 "--try"
    calls_are cargo < /dev/null
    says "LIVE TABLE"
}

no_compiler() {
    hide_compilers
    mkdir -p /machine/bin
    PATH=/machine/bin:$PATH
}

test_debian_installs_the_package_that_is_new_enough() {
    no_compiler
    use apt-get apt-cache
    printf '%s\n' 'cargo 0.66.0+ds1-1' 'cargo-web 1.96.0+dfsg1-1~deb12u2' > /machine/apt
    installer --compiler
    expect 0 "--compiler"
    says "install a compiler (no cargo here): apt-get install cargo-web rustc-web gcc libc6-dev ca-certificates"
    called "apt-get -y -qq install --no-install-recommends cargo-web rustc-web gcc libc6-dev ca-certificates"
}

test_debian_reads_the_package_lists_once_if_nothing_is_found() {
    no_compiler
    use apt-get apt-cache
    : > /machine/apt
    printf '%s\n' 'cargo 1.97.0' > /machine/apt-after-update
    installer --compiler
    expect 0 "--compiler"
    called "apt-get -qq update"
    called "apt-get -y -qq install --no-install-recommends cargo gcc libc6-dev ca-certificates"
}

test_a_compiler_that_cannot_be_installed_fails_clearly() {
    no_compiler
    use apt-get apt-cache
    printf '%s\n' 'cargo-web 1.96.0' > /machine/apt
    touch /machine/apt-fails
    installer --compiler
    expect 1 "apt-get fails"
    says "Unable to locate package"
    : > /machine/apt
    installer --compiler
    expect 1 "no package"
    says "install Rust from https://rustup.rs"
}

test_an_old_compiler_is_named() {
    no_compiler
    use cargo apt-get apt-cache
    echo 1.63.0 > /machine/cargo-version
    : > /machine/apt
    installer --compiler
    says "no package of this system has Rust"
    echo "ID=slackware" > /etc/os-release
    installer --compiler
    expect 3 "an unknown system"
    says "cargo here is 1.63.0"
}

test_elsewhere_it_refuses_to_guess() {
    no_compiler
    echo "ID=slackware" > /etc/os-release
    installer --try --seconds 1
    expect 3 "an unknown system"
    says "install Rust (https://rustup.rs"
    says "Nothing was changed"
}

test_a_dry_run_says_what_it_would_do() {
    no_compiler
    use apt-get apt-cache
    printf '%s\n' 'cargo-web 1.96.0' > /machine/apt
    installer --try --seconds 5 --dry-run
    expect 0 "--dry-run"
    says "would install a compiler"
    says "would build in /src: cargo build --locked  -p zonescope-generator"
    says "would run"
    ! grep -q install "$CALLS" || fail "nothing should be installed"
}
