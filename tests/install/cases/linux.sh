# shellcheck shell=sh disable=SC2154,SC2034 # code and shell are case.sh's
# Installing, upgrading and removing where systemd runs, and where it does not.

systemd() {
    use cargo systemctl
    mkdir -p /run/systemd/system
}

test_a_generator_is_installed_runs_and_is_removed_without_a_trace() { # every shell
    systemd
    installer --generator
    expect 0 "installing"
    says "zonescope-generator runs"
    # How often it asked whether it runs depends on how fast it starts.
    calls_are 'systemctl --quiet (daemon-reload|enable|--no-block|start|restart|disable|stop)' <<'CALLS'
systemctl --quiet daemon-reload
systemctl --quiet enable zonescope-generator.service
systemctl --quiet stop zonescope-generator.service
systemctl --quiet --no-block start zonescope-generator.service
CALLS
    pid=$(cat /run/zonescope-generator.service.pid)
    [ "$(stat -c %U "/proc/$pid")" = zonescope ] || fail "it should run as zonescope"
    tr '\0' ' ' < "/proc/$pid/cmdline" | grep -q '/usr/local/bin/zonescope-generator run --config /etc/zonescope/generator.toml' ||
        fail "it should run with the unit's command line"
    sed -e 's|@ETC@|/etc/zonescope|; s|@VAR@|/var/lib/zonescope|' packaging/config/generator.toml | cmp - /etc/zonescope/generator.toml ||
        fail "the configuration should be the default one"
    [ "$(stat -c '%U %a' /var/lib/zonescope/generator)" = "zonescope 750" ] || fail "the data should be zonescope's"
    is_file /usr/local/share/zonescope/install.sh
    is_file /usr/local/share/man/man1/zonescope-generator.1
    is_file /usr/local/share/man/man7/zonescope.7

    changes > /machine/before
    installer --generator
    expect 0 "installing again"
    says "zonescope-generator is installed and runs: nothing to change"
    changes | diff /machine/before - || fail "a second run changes nothing"
    [ "$(cat /run/zonescope-generator.service.pid)" = "$pid" ] || fail "a second run restarts nothing"

    $shell /usr/local/share/zonescope/install.sh --uninstall --purge > /machine/output 2>&1 || fail "uninstalling"
    called "systemctl --quiet disable --now zonescope-generator.service"
    no_process
    unchanged "after --uninstall --purge"
}

test_options_end_up_in_the_configuration() {
    systemd
    installer --generator --bind tcp://127.0.0.2:7300
    expect 0 "installing"
    grep -qx 'bind = "tcp://127.0.0.2:7300"' /etc/zonescope/generator.toml || fail "--bind should be in the configuration"
    [ "$(grep -c '^#*bind =' /etc/zonescope/generator.toml)" = 1 ] || fail "in place of the default's line"
    # Without --bind the configuration stays.
    installer --generator
    says "nothing to change"
    # Another address: the old configuration is kept beside it, and the service is restarted.
    pid=$(cat /run/zonescope-generator.service.pid)
    installer --generator --bind=tcp://127.0.0.1:7301
    expect 0 "changing"
    grep -qx 'bind = "tcp://127.0.0.1:7301"' /etc/zonescope/generator.toml || fail "the new --bind"
    grep -qx 'bind = "tcp://127.0.0.2:7300"' /etc/zonescope/generator.toml.old || fail "the old one beside it"
    [ "$(cat /run/zonescope-generator.service.pid)" != "$pid" ] || fail "the service should be restarted"

    installer --collector-columnar --connect tcp://10.0.0.1:7211 --connect tcp://10.0.0.2:7211
    expect 0 "a collector"
    grep -qx 'connect = \["tcp://10.0.0.1:7211", "tcp://10.0.0.2:7211"\]' /etc/zonescope/collector-columnar.toml ||
        fail "--connect should be in the configuration"
    installer --uninstall --purge
    expect 0 "uninstalling both"
    no_process
    unchanged "after --uninstall --purge"
}

test_keys_are_made_once_shown_kept_and_purged() {
    systemd
    installer --generator --keys
    expect 0 "installing with keys"
    says "the public key of zonescope-generator: THE-PUBLIC-KEY"
    says_not "a secret"
    [ "$(stat -c '%U %a' /etc/zonescope/keys/generator/secret)" = "zonescope 600" ] || fail "the secret should be the service's alone"
    installer --generator --keys
    says "nothing to change"
    says "the public key of zonescope-generator: THE-PUBLIC-KEY"
    installer --uninstall
    expect 0 "uninstalling"
    is_file /etc/zonescope/keys/generator/secret
    installer --uninstall --purge
    expect 0 "purging"
    unchanged "after --uninstall --purge"
}

test_two_roles_share_what_they_share() {
    systemd
    installer --generator
    installer --collector-columnar
    expect 0 "installing the second"
    installer --uninstall --generator --purge
    expect 0 "removing the first"
    is_gone /usr/local/bin/zonescope-generator
    is_file /usr/local/bin/zonescope-collector-columnar
    is_file /usr/local/share/zonescope/install.sh
    grep -q '^zonescope:' /etc/passwd || fail "the account is still needed"
    systemctl is-active zonescope-collector-columnar.service || fail "the second still runs"
    installer --uninstall --purge
    unchanged "after the second is removed too"
}

test_data_and_edited_configuration_stay_until_purged() {
    systemd
    installer --collector-columnar
    touch /var/lib/zonescope/collector-columnar/a.parquet
    echo '# mine' >> /etc/zonescope/collector-columnar.toml
    installer --uninstall
    expect 0 "uninstalling"
    says "left, until"
    says "/var/lib/zonescope/collector-columnar"
    says "/etc/zonescope/collector-columnar.toml"
    is_file /var/lib/zonescope/collector-columnar/a.parquet
    is_file /etc/zonescope/collector-columnar.toml
    is_gone /usr/local/bin/zonescope-collector-columnar
    no_process
    # Installed again, it is as it was.
    installer --collector-columnar
    expect 0 "installing again"
    grep -qx '# mine' /etc/zonescope/collector-columnar.toml || fail "the configuration should have been kept"
    is_file /var/lib/zonescope/collector-columnar/a.parquet
    installer --uninstall
    sh /usr/local/share/zonescope/install.sh --uninstall --purge > /machine/output 2>&1 || fail "purging later"
    unchanged "after --purge"
}

test_an_unedited_configuration_and_empty_data_go_without_purge() {
    systemd
    installer --generator
    installer --uninstall
    expect 0 "uninstalling"
    unchanged "after --uninstall"
    installer --uninstall
    expect 0 "uninstalling nothing"
    says "nothing is installed below /usr/local"
}

test_an_upgrade_keeps_the_configuration() {
    systemd
    installer --generator
    echo 'interval_ms = 5000' >> /etc/zonescope/generator.toml
    installer --upgrade
    says "zonescope-generator is up to date: nothing to change"
    version 0.2.0
    installer --upgrade
    expect 0 "upgrading"
    says "replace /usr/local/bin/zonescope-generator"
    [ "$(/usr/local/bin/zonescope-generator --version)" = "zonescope-generator 0.2.0" ] || fail "the new version"
    systemctl is-active zonescope-generator.service || fail "it should run"
    grep -qx 'interval_ms = 5000' /etc/zonescope/generator.toml || fail "the configuration should be kept"
    installer --uninstall --purge
    unchanged "after --purge"
}

test_an_upgrade_that_does_not_answer_is_rolled_back() {
    systemd
    installer --generator
    changes > /machine/before
    version 0.2.0-mute
    : > "$CALLS"
    installer --upgrade
    expect 1 "a mute generator"
    # The new one is started, does not answer, and the old one is started.
    for time in once again; do
        cat <<'CALLS'
systemctl --quiet daemon-reload
systemctl --quiet enable zonescope-generator.service
systemctl --quiet stop zonescope-generator.service
systemctl --quiet --no-block start zonescope-generator.service
CALLS
    done | calls_are 'systemctl --quiet (daemon-reload|enable|--no-block|start|restart|disable|stop)'
    says "bring the old zonescope-generator back"
    says "did not answer within 30 s"
    says "the old one is back"
    [ "$(/usr/local/bin/zonescope-generator --version)" = "zonescope-generator 0.1.0" ] || fail "the old version"
    systemctl is-active zonescope-generator.service || fail "it should run"
    changes | diff /machine/before - || fail "all is as before the upgrade"
}

test_a_collector_that_ends_is_rolled_back_too() {
    systemd
    installer --collector-columnar
    changes > /machine/before
    version 0.2.0-mute
    installer --upgrade
    expect 1 "a collector that ends at once"
    says "did not answer within 30 s"
    says "the old one is back"
    [ "$(/usr/local/bin/zonescope-collector-columnar --version)" = "zonescope-collector-columnar 0.1.0" ] || fail "the old version"
    systemctl is-active zonescope-collector-columnar.service || fail "it should run"
    changes | diff /machine/before - || fail "all is as before the upgrade"
}

test_an_upgrade_that_refuses_the_configuration_changes_nothing() {
    systemd
    installer --generator
    changes > /machine/before
    version 0.2.0-broken
    installer --upgrade
    expect 3 "a program that refuses the configuration"
    says "does not accept the configuration"
    changes | diff /machine/before - || fail "nothing is changed"
    systemctl is-active zonescope-generator.service || fail "it should run"
}

test_a_service_that_does_not_start_is_reported() {
    systemd
    version 0.1.0-mute
    installer --generator
    expect 1 "a mute generator"
    says "does not answer after 30 s: journalctl -u zonescope-generator.service says why"
    installer --uninstall --purge
    no_process
    unchanged "after --purge"
}

test_without_systemd_the_command_line_is_shown() {
    use cargo
    installer --collector-columnar
    expect 0 "installing"
    says "systemd does not run here, so nothing was started"
    says "    /usr/local/bin/zonescope-collector-columnar run --config /etc/zonescope/collector-columnar.toml"
    installer --collector-columnar
    says "installed already: nothing to change"
    version 0.2.0
    installer --upgrade
    expect 0 "upgrading"
    installer --uninstall
    expect 0 "uninstalling"
    unchanged "after --uninstall"
}

test_another_prefix_and_configuration() {
    systemd
    echo 'interval_ms = 2000' > /tmp/mine.toml
    installer --generator --prefix /opt/tools --config /tmp/mine.toml
    expect 0 "installing"
    grep -q '^ExecStart=/opt/tools/bin/zonescope-generator ' /etc/systemd/system/zonescope-generator.service || fail "the unit's path"
    cmp /tmp/mine.toml /etc/zonescope/generator.toml || fail "the given configuration"
    installer --uninstall --prefix /opt/tools --purge
    expect 0 "uninstalling"
    unchanged "after --purge"
}

test_a_wrong_configuration_is_refused_before_any_change() {
    systemd
    echo 'wrong = 1' > /tmp/mine.toml
    installer --generator --config /tmp/mine.toml
    expect 3 "a wrong configuration"
    says "does not accept the configuration: the configuration is wrong: unknown field"
    unchanged "refused"
}

test_a_dry_run_changes_nothing() {
    systemd
    installer --generator --dry-run
    expect 0 "--dry-run"
    says "would build in /src: cargo build --locked --release -p zonescope-generator"
    says "would install /usr/local/bin/zonescope-generator"
    says "would install the configuration /etc/zonescope/generator.toml"
    says "would make the system user zonescope"
    says "would install /etc/systemd/system/zonescope-generator.service"
    says "would start the service and wait for its answer"
    says_not "zonescope: install"
    [ "$(grep -c 'would make the directory /usr/local/share/zonescope$' /machine/output)" = 1 ] || fail "each thing once"
    unchanged "a dry run"
    installer --generator
    changes > /machine/before
    installer --uninstall --purge --dry-run
    expect 0 "--uninstall --dry-run"
    says "would remove /usr/local/bin/zonescope-generator"
    says "would remove the user zonescope"
    changes | diff /machine/before - || fail "a dry run"
}

test_a_taken_port_is_refused() {
    systemd
    for port in 7211 7212; do
        python3 -c "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', $port)); s.listen(); time.sleep(100)" &
        holder=$!
        sleep 0.5
        installer --generator
        expect 3 "a taken port"
        says "port $port is taken by another program"
        unchanged "refused"
        [ $port = 7212 ] || { kill $holder; wait $holder; }
    done
    installer --generator --bind tcp://127.0.0.1:7300
    expect 0 "another port"
}

test_who_is_not_root_is_refused() {
    systemd
    code=0
    setpriv --reuid 65534 --regid 65534 --clear-groups sh /src/install.sh --generator > /machine/output 2>&1 || code=$?
    expect 3 "not root"
    says "installing needs root"
    unchanged "refused"
}

test_a_full_disk_is_refused() {
    systemd
    cat > /machine/bin/df <<'DF'
#!/bin/sh
printf 'Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/full 1000000 999000 1000 99%% /\n'
DF
    chmod 755 /machine/bin/df
    installer --generator
    expect 3 "no space"
    says "needs 200 MB on /usr/local, which has 0 MB left"
    unchanged "refused"
}

test_a_role_that_the_source_lacks_is_named() {
    systemd
    installer --collector-redis
    expect 3 "no collector-redis/ in the source"
    says "the source in /src has no collector-redis/: this version cannot install it"
    unchanged "refused"
    # As soon as it is there, it installs as the others do.
    mkdir collector-redis
    installer --collector-redis --connect tcp://127.0.0.1:7211
    expect 0 "with collector-redis/"
    [ "$(stat -c '%a %U %G' /etc/zonescope/collector-redis.toml)" = "640 root zonescope" ] || fail "its configuration may hold a password"
    installer --uninstall
    unchanged "after --uninstall"
}

test_another_system_is_refused() {
    use cargo
    printf '#!/bin/sh\necho Darwin\n' > /machine/bin/uname
    chmod 755 /machine/bin/uname
    installer --generator
    expect 3 "another system"
    says "zonescope runs on illumos and Linux; this is Darwin"
    unchanged "refused"
}
