#!/bin/sh
# shellcheck disable=SC2317 # check() calls them
# acceptance.sh: what could not be tried without an illumos machine (docs/ILLUMOS.md). Run it as root in the zone where
# install.sh installed the generator; it prints pass or FAIL per line, changes nothing but restarts the service, and
# ends with 1 if a line failed. Send the whole output with a report of trouble.

generator=svc:/application/zonescope/generator:default
account=svc:/application/zonescope/account:default
program=@PREFIX@/bin/zonescope-generator
failed=0

check() { # check WHAT COMMAND...
    what=$1
    shift
    if output=$("$@" 2>&1); then
        echo "pass  $what"
    else
        echo "FAIL  $what"
        echo "$output" | sed 's/^/      /'
        failed=1
    fi
}

state_is() { [ "$(svcs -H -o state "$1")" = "$2" ] || { svcs -xv "$1"; tail -n 20 "$(svcs -L "$1")"; return 1; }; }
state_becomes() {
    tries=0
    until [ "$(svcs -H -o state "$1")" = "$2" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 30 ] || { state_is "$1" "$2"; return 1; }
        sleep 1
    done
}
contract() { svcprop -p restarter/contract "$generator"; }
pid() { pgrep -c "$(contract)" -f "bin/zonescope-generator run" | head -n 1; }
bind() {
    for place in "$(svcprop -p config/bind "$generator" | tr -d '\\"')" \
        "$(sed -n 's/^bind *= *"\(.*\)".*/\1/p' @ETC@/generator.toml)" tcp://127.0.0.1:7211; do
        [ -z "$place" ] || { echo "$place"; return 0; }
    done
}
listens() { netstat -an -P tcp | nawk -v p="${1##*:}" '$NF == "LISTEN" { n = split($1, a, "."); if (a[n] == p) f = 1 } END { exit !f }'; }
same_pid_after_refresh() {
    before=$(pid)
    svcadm refresh "$generator" && sleep 3 && [ -n "$before" ] && [ "$(pid)" = "$before" ]
}
new_pid_after() { # new_pid_after COMMAND...
    before=$(pid)
    "$@" && sleep 5 && state_becomes "$generator" online && [ -n "$(pid)" ] && [ "$(pid)" != "$before" ]
}
kill_daemon() { kill -KILL "$(pid)"; }
runs_as() { [ "$(ps -o user= -p "$(pid)" | tr -d ' ')" = zonescope ] || { ps -fp "$(pid)"; return 1; }; }
has_only_its_privileges() {
    ppriv "$(pid)" | nawk '$1 == "P:" { print $2 }' | tr , '\n' | sort > /tmp/zonescope-acceptance.$$
    [ -s /tmp/zonescope-acceptance.$$ ] || return 1
    svcprop -p method_context/privileges "$generator" | sed 's/[\\]//g' | tr , '\n' | sort | comm -13 - /tmp/zonescope-acceptance.$$ |
        grep -v -e '^basic$' -e '^!' | grep . && { rm -f /tmp/zonescope-acceptance.$$; return 1; }
    rm -f /tmp/zonescope-acceptance.$$
}
gave_up_what_the_manifest_leaves() { # of basic, in all four sets, and with them core files (PROC_PROTECT)
    [ "$(ppriv "$(pid)" | grep -c -e '^.[EIPL]: .*!file_link_any')" = 4 ] || { ppriv "$(pid)"; return 1; }
}
sees_every_zone() {
    "$program" once --format json > /tmp/zonescope-acceptance.$$ || return 1
    for zone in $(zoneadm list); do
        grep "\"$zone\"" /tmp/zonescope-acceptance.$$ >/dev/null || { echo "not seen: $zone"; rm -f /tmp/zonescope-acceptance.$$; return 1; }
    done
    rm -f /tmp/zonescope-acceptance.$$
}
dtrace_allowed() {
    ppriv -s A=basic,dtrace_kernel,dtrace_user -e dtrace -qn 'profile-97 { @[zonename] = count(); } tick-1s { exit(0); }'
}
survives_a_boot() {
    case $(uname -v) in
        joyent_*) [ "$(zonename)" != global ] || [ -f /opt/custom/smf/zonescope-generator.xml ] ;;
        *) [ -f /var/svc/manifest/site/zonescope-generator.xml ] ;;
    esac
}

echo "zonescope acceptance: $(uname -v), zone $(zonename), $("$program" --version)"
for name in account generator; do
    for dir in /opt/custom/smf /var/svc/manifest/site; do
        [ ! -f "$dir/zonescope-$name.xml" ] || check "svccfg validate $name" svccfg validate "$dir/zonescope-$name.xml"
    done
done
check "the account's service is online" state_is "$account" online
check "the account is there" getent passwd zonescope
check "the generator's service is online" state_is "$generator" online
check "it runs as zonescope" runs_as
check "it has the privileges of its manifest and no more" has_only_its_privileges
check "it gave up what it needs no longer" gave_up_what_the_manifest_leaves
check "it listens where it should" listens "$(bind)"
check "refresh reads the configuration and keeps the process" same_pid_after_refresh
check "restart makes a new process" new_pid_after svcadm restart "$generator"
check "killed, it is started anew" new_pid_after kill_daemon
check "doctor finds nothing that fails" "$program" doctor --config @ETC@/generator.toml
check "every running zone is seen" sees_every_zone
[ "$(zonename)" != global ] || check "dtrace works with its privileges" dtrace_allowed
check "the manifest lies where it survives a boot" survives_a_boot
check "its manual page can be read" man -M @PREFIX@/share/man zonescope-generator
check "a kstat capture can be made" sh -c "'$program' record --kstat --seconds 2 --output /tmp/zonescope-acceptance.rec && rm /tmp/zonescope-acceptance.rec"
echo "by hand: reboot, then run this again; and: install.sh --uninstall --purge, then svcs -a | grep zonescope is empty"
exit $failed
