# shellcheck shell=sh disable=SC2154 # variables of install.sh, which reads this file
# The service of a role: under SMF on illumos, under systemd on Linux where it runs. All act on $role.

fmri() { echo "svc:/application/zonescope/$1:default"; }
unit() { echo "zonescope-$1.service"; }

systemd_runs() { [ -d /run/systemd/system ] && has systemctl; }
service_can_run() { [ "$os" = illumos ] || systemd_runs; }

# On SmartOS the repository of SMF begins anew with each boot, and imports what lies in /opt/custom/smf.
manifests() { if [ "$flavour" = smartos ] && in_global_zone; then echo /opt/custom/smf; else echo /var/svc/manifest/site; fi; }
manifest() { echo "$(manifests)/zonescope-$1.xml"; }

put_service() {
    if [ "$os" = linux ]; then
        put_template "$stage/packaging/systemd/$(unit "$role")" "/etc/systemd/system/$(unit "$role")" 644
        return 0
    fi
    put_template "$stage/packaging/smf/account.method" "$prefix/lib/svc/method/zonescope-account" 755
    put_template "$stage/packaging/smf/daemon.method" "$prefix/lib/svc/method/zonescope-daemon" 755
    put_template "$stage/packaging/smf/acceptance.sh" "$share/acceptance.sh" 755
    for ps_name in account "$role"; do
        put_template "$stage/packaging/smf/$ps_name.xml" "$(manifest "$ps_name")" 644
    done
}

# What the generator may do, which packaging/smf/generator.xml explains: a zone can give a service only what it has.
privileges() {
    if in_global_zone; then
        echo basic,dtrace_kernel,dtrace_user
    elif [ "$os" = illumos ]; then
        pr_list=basic
        for pr_name in dtrace_proc dtrace_user; do
            ! ppriv -l zone 2>/dev/null | grep -qx "$pr_name" || pr_list=$pr_list,$pr_name
        done
        echo "$pr_list"
    fi
}

# Makes what runs be what is installed.
start_service() {
    if [ "$os" = illumos ]; then
        # The account first, anew where it is there already: it hands each role what belongs to it.
        [ -z "$(smf_state account)" ] || svcadm disable -s "$(fmri account)"
        import_manifest account
        svcadm enable -s "$(fmri account)"
        import_manifest "$role"
        svcadm refresh "$(fmri "$role")"
        case $(smf_state "$role") in
            online | degraded) svcadm restart "$(fmri "$role")" ;;
            maintenance) svcadm clear "$(fmri "$role")" ;;
            *) svcadm enable "$(fmri "$role")" ;;
        esac
    else
        systemctl --quiet daemon-reload
        systemctl --quiet enable "$(unit "$role")"
        # Stopped first, however long it takes to write down what it holds; then started without waiting: whether it answers in
        # time is for answers() to say.
        systemctl --quiet stop "$(unit "$role")"
        systemctl --quiet --no-block start "$(unit "$role")"
    fi
}

import_manifest() {
    svccfg validate "$(manifest "$1")" || fail "svccfg does not accept $(manifest "$1")"
    svccfg import "$(manifest "$1")"
}

smf_state() { svcs -H -o state "$(fmri "$1")" 2>/dev/null || :; }

service_runs() {
    if [ "$os" = illumos ]; then
        [ "$(smf_state "$role")" = online ]
    else
        systemd_runs && systemctl --quiet is-active "$(unit "$role")"
    fi
}

stop_service() {
    if [ "$os" = illumos ]; then
        [ -z "$(smf_state "$role")" ] || change "stop and delete the service $(fmri "$role")" stop_smf "$role"
        [ "$(installed_roles)" != "$role" ] || [ -z "$(smf_state account)" ] ||
            change "delete the service $(fmri account)" stop_smf account
    elif systemd_runs && [ -f "/etc/systemd/system/$(unit "$role")" ]; then
        change "stop and disable the service $(unit "$role")" systemctl --quiet disable --now "$(unit "$role")"
    fi
}

stop_smf() {
    svcadm disable -s "$(fmri "$1")" || :
    svccfg delete "svc:/application/zonescope/$1"
}

# A generator answers when its port is open as well, a collector when systemd or SMF says that it runs (systemd only says so
# after the program itself, Type=notify): three seconds on end, within thirty.
answers() {
    an_left=30 an_good=0 an_port=''
    [ "$role" != generator ] || an_port=$(port_of "$(current_bind)")
    while [ $an_left -gt 0 ]; do
        if service_runs && { [ -z "$an_port" ] || listening "$an_port"; }; then
            an_good=$((an_good + 1))
            [ $an_good -lt 3 ] || return 0
        else
            an_good=0
        fi
        sleep 1
        an_left=$((an_left - 1))
    done
    return 1
}

# Where the generator publishes, or will: --bind, a property of the service, the configuration, the default.
current_bind() {
    cb_bind=$bind
    if [ -z "$cb_bind" ] && [ "$os" = illumos ]; then
        cb_bind=$(svcprop -p config/bind "$(fmri generator)" 2>/dev/null | tr -d '\\"') || :
    fi
    if [ -z "$cb_bind" ]; then
        cb_file=${config:-$etc/generator.toml}
        [ ! -f "$cb_file" ] || cb_bind=$(sed -n 's/^bind *= *"\(.*\)".*/\1/p' "$cb_file" | head -n 1)
    fi
    echo "${cb_bind:-tcp://127.0.0.1:7211}"
}

where_logs_are() {
    if [ "$os" = illumos ]; then echo "tail \$(svcs -L zonescope/$role)"; else echo "journalctl -u $(unit "$role")"; fi
}
