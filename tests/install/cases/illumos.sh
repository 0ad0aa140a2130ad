# shellcheck shell=sh disable=SC2154,SC2034 # code and shell are case.sh's
# illumos: its commands are stand-ins that record their calls; what they are called with is spelled out here.

illumos() {
    use cargo uname zonename isainfo netstat nawk pgrep ppriv pkgin pkg vmadm zoneadm zlogin svccfg svcadm svcs svcprop
    mkdir -p /lib/svc/share
    printf 'SMF_EXIT_OK=0\nSMF_EXIT_ERR_FATAL=95\nSMF_EXIT_ERR_CONFIG=96\n' > /lib/svc/share/smf_include.sh
    # The pkill of Linux counts with -c, where that of illumos takes a contract.
    cat > /machine/bin/pkill <<'PKILL'
#!/bin/sh
echo "pkill $*" >> /machine/calls
PKILL
    chmod 755 /machine/bin/pkill
    changes > /machine/at-first
}
smartos_global() { illumos; }
smartos_zone() { illumos; echo web1 > /machine/zonename; }
omnios_global() { illumos; echo omnios-r151054-0a1b2c3 > /machine/uname-v; }

as_at_first() { changes | diff /machine/at-first - > /machine/changes || { cat /machine/changes; fail "the machine should be as it was ($1)"; }; }

# A release for illumos, as a build in a zone makes it. Sets release.
illumos_release() {
    sh packaging/release.sh > /machine/log 2>&1 || { cat /machine/log; fail "release.sh"; }
    release=$(echo /src/target/zonescope-release/zonescope-*-x86_64-illumos.tar.gz)
    is_file "$release"
    : > "$CALLS"
}

test_the_generator_is_the_default_in_the_global_zone_of_smartos() { # every shell but busybox
    smartos_global
    illumos_release
    installer --from "$release"
    expect 0 "installing"
    says "zonescope-generator runs"
    calls_are 'svccfg|svcadm|useradd|pkgin|zlogin' <<'CALLS'
svccfg validate /opt/custom/smf/zonescope-account.xml
svccfg import /opt/custom/smf/zonescope-account.xml
svcadm enable -s svc:/application/zonescope/account:default
svccfg validate /opt/custom/smf/zonescope-generator.xml
svccfg import /opt/custom/smf/zonescope-generator.xml
svcadm refresh svc:/application/zonescope/generator:default
svcadm restart svc:/application/zonescope/generator:default
CALLS
    # All that must survive a boot is below /opt; the rest is the account, which is made anew.
    changes | sort | diff /machine/at-first - | grep '^[<>]' | grep -v ' /opt/' > /machine/elsewhere
    printf '> %s\n' 'new /opt' 'other /etc/group' 'other /etc/passwd' 'other /etc/shadow' | grep -vxF "$([ -d /machine/lower/opt ] && echo '> new /opt')" |
        diff - /machine/elsewhere || fail "nothing but the account lies outside /opt"
    is_file /opt/zonescope/bin/zonescope-generator
    is_file /opt/zonescope/etc/generator.toml
    is_file /opt/custom/smf/zonescope-generator.xml
    grep -q 'privileges="basic,dtrace_kernel,dtrace_user"' /opt/custom/smf/zonescope-generator.xml || fail "the global zone's privileges"
    ! grep -rq '@[A-Z]*@' /opt/custom/smf /opt/zonescope/lib /opt/zonescope/share/zonescope/acceptance.sh || fail "every template is filled in"
    tail -n 1 /machine/daemons | grep -qx 'zonescope-generator run --config /opt/zonescope/etc/generator.toml' ||
        fail "the start method should start it with its configuration"
    grep -q '^zonescope:x:7211:7211:zonescope:/opt/zonescope/var:' /etc/passwd || fail "the account"
    [ "$(stat -c %U:%G /opt/zonescope/var/generator)" = zonescope:zonescope ] || fail "its data are the account's"

    : > "$CALLS"
    installer --from "$release"
    expect 0 "installing again"
    says "zonescope-generator is installed and runs: nothing to change"
    calls_are 'svccfg|svcadm' < /dev/null

    : > "$CALLS"
    $shell /opt/zonescope/share/zonescope/install.sh --uninstall --purge > /machine/output 2>&1 || fail "uninstalling"
    calls_are 'svccfg|svcadm' <<'CALLS'
svcadm disable -s svc:/application/zonescope/generator:default
svccfg delete svc:/application/zonescope/generator
svcadm disable -s svc:/application/zonescope/account:default
svccfg delete svc:/application/zonescope/account
CALLS
    no_process
    as_at_first "after --uninstall --purge"
}

test_every_method_of_every_manifest_is_installed() {
    smartos_global
    mkdir collector-redis
    illumos_release
    for role in generator collector-columnar collector-redis; do
        installer --$role --from "$release"
        expect 0 "$role"
        [ "$(stat -c %U /opt/zonescope/var/$role)" = zonescope ] || fail "the data of $role are the account's"
    done
    for manifest in /opt/custom/smf/*.xml; do
        # shellcheck disable=SC2013 # paths, one a line
        for method in $(sed -n 's/.*exec="\([^" ]*\).*/\1/p' "$manifest"); do
            case $method in
                :*) ;;
                *) [ -x "$method" ] || fail "$manifest names $method, which is not installed" ;;
            esac
        done
        if command -v xmllint > /dev/null; then
            xmllint --nonet --noout --dtdvalid packaging/smf/service_bundle.dtd "$manifest" 2>/dev/null || fail "$manifest, filled in, is not valid"
        fi
    done
    grep -q '^#user_dir = "/opt/zonescope/etc/dtrace.d"' /opt/zonescope/etc/generator.toml || fail "own D programs survive a boot too"
    [ "$(stat -c '%a %U %G' /opt/zonescope/etc/collector-redis.toml)" = "640 root zonescope" ] || fail "its configuration may hold a password"
    grep -q '^#root = "/opt/zonescope/var/collector-columnar"' /opt/zonescope/etc/collector-columnar.toml ||
        fail "the collector keeps its data where they survive a boot"
    # Two of three removed: the account stays; the last takes it along.
    : > "$CALLS"
    installer --uninstall --generator
    installer --uninstall --collector-redis
    ! grep -q 'delete svc:/application/zonescope/account' "$CALLS" || fail "the account is still needed"
    installer --uninstall --purge
    called "svccfg delete svc:/application/zonescope/account"
    as_at_first "after all three"
}

test_options_reach_the_daemon() {
    smartos_global
    illumos_release
    installer --from "$release" --bind tcp://127.0.0.1:7300
    expect 0 "--bind"
    grep -qx 'bind = "tcp://127.0.0.1:7300"' /opt/zonescope/etc/generator.toml || fail "in the configuration, which survives a boot"
    # Properties of the service, where they are set, take precedence.
    python3 - <<'PYTHON'
import json
services = json.load(open('/machine/smf.json'))
services['svc:/application/zonescope/generator:default']['properties'].update({'config/bind': 'tcp://127.0.0.1:7301', 'config/interval_ms': '5000'})
json.dump(services, open('/machine/smf.json', 'w'))
PYTHON
    svcadm restart svc:/application/zonescope/generator:default
    tail -n 1 /machine/daemons | grep -qx 'zonescope-generator run --config /opt/zonescope/etc/generator.toml --bind tcp://127.0.0.1:7301 --interval-ms 5000' ||
        fail "the properties should be on the command line: $(tail -n 1 /machine/daemons)"
    # Refresh reaches the daemon and nothing else in its contract.
    SMF_FMRI=svc:/application/zonescope/generator:default /opt/zonescope/lib/svc/method/zonescope-daemon refresh generator 99 || fail "refresh"
    called "pkill -HUP -c 99 -f bin/zonescope-generator run"
}

test_a_wrong_configuration_goes_to_maintenance() {
    smartos_global
    illumos_release
    installer --from "$release"
    echo 'wrong = 1' >> /opt/zonescope/etc/generator.toml
    method_code=0
    SMF_FMRI=svc:/application/zonescope/generator:default /opt/zonescope/lib/svc/method/zonescope-daemon start generator > /machine/output 2>&1 ||
        method_code=$?
    [ $method_code = 96 ] || fail "SMF_EXIT_ERR_CONFIG is 96, not $method_code"
    says "unknown field"
}

test_after_a_boot_of_smartos_the_account_is_made_again_with_the_same_id() {
    smartos_global
    illumos_release
    # Somebody has the first id that would be tried.
    echo 'somebody:x:7211:7211::/:/bin/sh' >> /etc/passwd
    installer --from "$release"
    [ "$(stat -c %u /opt/zonescope/var)" = 7212 ] || fail "the next free id"
    # A boot: /etc is as in the platform image, and somebody else came first.
    cp /machine/lower/etc/passwd /machine/lower/etc/group /machine/lower/etc/shadow /etc/
    /opt/zonescope/lib/svc/method/zonescope-account > /machine/output 2>&1 || fail "the account's method"
    [ "$(stat -c %U:%u /opt/zonescope/var/generator)" = zonescope:7212 ] || fail "the id that its data have"
    # Again: nothing is doubled.
    /opt/zonescope/lib/svc/method/zonescope-account || fail "the account's method, again"
    for file in passwd shadow group; do
        [ "$(grep -c '^zonescope:' /etc/$file)" = 1 ] || fail "one line in /etc/$file"
    done
}

test_an_upgrade_on_illumos() {
    smartos_global
    illumos_release
    installer --from "$release"
    version 0.2.0
    illumos_release
    installer --upgrade --from "$release"
    expect 0 "upgrading"
    called "svcadm restart svc:/application/zonescope/generator:default"
    [ "$(/opt/zonescope/bin/zonescope-generator --version)" = "zonescope-generator 0.2.0" ] || fail "the new version"
    version 0.3.0-mute
    illumos_release
    : > "$CALLS"
    installer --upgrade --from "$release"
    expect 1 "a mute generator"
    # The new one is started, does not answer, and the old one is started.
    for time in once again; do
        cat <<'CALLS'
svcadm disable -s svc:/application/zonescope/account:default
svccfg validate /opt/custom/smf/zonescope-account.xml
svccfg import /opt/custom/smf/zonescope-account.xml
svcadm enable -s svc:/application/zonescope/account:default
svccfg validate /opt/custom/smf/zonescope-generator.xml
svccfg import /opt/custom/smf/zonescope-generator.xml
svcadm refresh svc:/application/zonescope/generator:default
svcadm restart svc:/application/zonescope/generator:default
CALLS
    done | calls_are 'svccfg|svcadm'
    says "did not answer within 30 s"
    says "the old one is back"
    [ "$(/opt/zonescope/bin/zonescope-generator --version)" = "zonescope-generator 0.2.0" ] || fail "the version before"
    [ "$(svcs -H -o state svc:/application/zonescope/generator:default)" = online ] || fail "it should run"
}

test_a_dry_run_on_smartos_calls_nothing() {
    smartos_global
    illumos_release
    installer --from "$release" --dry-run
    expect 0 "--dry-run"
    says "would install /opt/custom/smf/zonescope-generator.xml"
    calls_are 'svccfg|svcadm|pkgin|zlogin' < /dev/null
    as_at_first "a dry run"
}

test_a_prefix_that_a_boot_would_empty_is_refused() {
    smartos_global
    illumos_release
    installer --from "$release" --prefix /usr/local
    expect 3 "--prefix /usr/local"
    says "--prefix /usr/local would be gone after a reboot of SmartOS"
    as_at_first "refused"
}

test_the_global_zone_of_smartos_has_no_compiler() {
    smartos_global
    rm /machine/bin/cargo
    hide_compilers
    changes > /machine/at-first
    installer
    expect 3 "from source"
    says "the global zone of SmartOS has no compiler: name a zone to build in (--build-in-zone NAME)"
    calls_are 'pkgin|zlogin' < /dev/null
    as_at_first "refused"
}

test_it_is_built_in_a_zone_that_has_one() {
    smartos_global
    # The compiler is in the zone only.
    mkdir -p /machine/zone-bin /zones/builder/root/var/tmp
    cp /machine/bin/cargo /machine/zone-bin/
    rm /machine/bin/cargo
    hide_compilers
    ln -s true /machine/zone-bin/cc
    changes > /machine/at-first
    installer --build-in-zone builder
    expect 0 "--build-in-zone"
    calls_are 'vmadm|zoneadm|zlogin' <<'CALLS'
vmadm lookup -1 alias=builder
zoneadm -z 9f1a6d4e-0c2b-4a1e-9a6e-0d6b3c1f2a77 list -p
zlogin 9f1a6d4e-0c2b-4a1e-9a6e-0d6b3c1f2a77 cd /var/tmp/zonescope-build && sh install.sh --package
CALLS
    is_file /opt/zonescope/bin/zonescope-generator
    is_gone /zones/builder/root/var/tmp/zonescope-build
    installer --uninstall --purge
    as_at_first "after --uninstall --purge"
    installer --build-in-zone nobody
    expect 3 "no such zone"
    says "no zone nobody here"
    echo installed > /machine/zone-state
    installer --build-in-zone builder
    expect 3 "a zone that does not run"
    says "the zone builder is installed; it must be running"
    echo running > /machine/zone-state
    touch /machine/build-fails
    installer --build-in-zone builder
    expect 1 "a build that fails"
    says "the build in the zone builder failed (above); its tree is /zones/builder/root/var/tmp/zonescope-build"
    rm /machine/build-fails
    is_gone /opt/zonescope
    installer --build-in-zone builder --dry-run
    expect 0 "--dry-run"
    says "would copy the source into the zone builder, build it there and fetch the release"
    says "would install /opt/zonescope/bin/zonescope-generator"
}

test_a_zone_of_smartos_builds_with_pkgsrc_and_asks_for_less() {
    smartos_zone
    rm /machine/bin/cargo
    hide_compilers
    changes > /machine/at-first
    installer --generator
    expect 0 "in a zone"
    called "pkgin -y install rust build-essential"
    # Not the global zone: manifests lie where they survive there, and only the privileges that the zone has are named.
    is_file /var/svc/manifest/site/zonescope-generator.xml
    is_gone /opt/custom/smf/zonescope-generator.xml
    grep -q 'privileges="basic,dtrace_user"' /var/svc/manifest/site/zonescope-generator.xml || fail "the zone's privileges"
    installer
    expect 2 "no default role in a zone"
    installer --uninstall --purge
    as_at_first "after --uninstall --purge"
    installer --build-in-zone builder --generator
    expect 3 "--build-in-zone in a zone"
    says "--build-in-zone is for the global zone; this is web1"
}

test_trying_it_leaves_nothing_running() {
    smartos_zone
    touch /machine/stubborn
    installer --try --seconds 1
    expect 0 "--try"
    says "LIVE TABLE tcp://127.0.0.1:7211"
    says "these did not end within 10 s and are killed"
    no_process
    rm /machine/stubborn
    installer --try --seconds 1
    expect 0 "--try"
    says_not "did not end"
    no_process
}

test_omnios_builds_with_pkg() {
    omnios_global
    rm /machine/bin/cargo
    hide_compilers
    ln -s true /machine/bin/cc
    installer
    expect 0 "OmniOS"
    called "pkg install ooce/developer/rust build-essential"
    is_file /var/svc/manifest/site/zonescope-generator.xml
}

test_the_acceptance_script_says_pass_or_fail_per_line() {
    smartos_global
    illumos_release
    installer --from "$release"
    # Its illumos commands that have no stand-in fail: each line still says which.
    sh /opt/zonescope/share/zonescope/acceptance.sh > /machine/output 2>&1 && fail "what cannot be true here should fail"
    says "pass  svccfg validate generator"
    says "pass  the generator's service is online"
    says "FAIL  it runs as zonescope" # the stand-in starts it as root
    says "pass  it listens where it should"
    says "pass  refresh reads the configuration and keeps the process"
    says "pass  restart makes a new process"
    says "FAIL  killed, it is started anew" # the stand-in does not
    says "pass  doctor finds nothing that fails"
    says "pass  every running zone is seen"
    says "pass  a kstat capture can be made"
    says "pass  the manifest lies where it survives a boot"
    says "FAIL  dtrace works with its privileges"
    ! grep -vE '^(pass|FAIL)  |^      |^zonescope acceptance|^by hand' /machine/output || fail "a line per check"
}
