# shellcheck shell=sh disable=SC2154 # variables of install.sh, which reads this file
# Installing, upgrading and uninstalling a role.

install_role() {
    if [ "$flavour" = smartos ] && in_global_zone; then
        case $prefix in
            /opt/*) ;;
            *) refuse "--prefix $prefix would be gone after a reboot of SmartOS: use a directory below /opt" ;;
        esac
    fi
    need_root installing
    need_space "$prefix" 200 zonescope
    ir_ran=no
    ! service_runs || ir_ran=yes
    if [ "$role" = generator ] && [ "$ir_ran" = no ]; then
        ir_port=$(port_of "$(current_bind)")
        # The one above it is where collectors recover what they missed.
        for ir_taken in "$ir_port" $((ir_port + 1)); do
            ! listening "$ir_taken" ||
                refuse "port $ir_taken is taken by another program: free it, or name another address with --bind"
        done
    fi
    make_stage "$role"
    make_config

    # Nothing was changed up to here; nothing is refused from here on.
    put_dir "$installed"
    put_account
    put_config
    put_programs "$role"
    put_data_dir
    put_keys
    put_service
    if ! service_can_run; then
        [ "$changes" != 0 ] || say "zonescope-$role is installed already: nothing to change"
        say "systemd does not run here, so nothing was started. The command line of the unit:"
        say "    $(fill_in "$stage/packaging/systemd/$(unit "$role")" | sed -n 's/^ExecStart=//p')"
    elif [ "$changes" = 0 ] && [ $ir_ran = yes ]; then
        say "zonescope-$role is installed and runs: nothing to change"
    else
        change "start the service and wait for its answer" start_service
        [ "$dry_run" = no ] || return 0
        answers || fail "zonescope-$role does not answer after 30 s: $(where_logs_are) says why; sh $share/install.sh --uninstall removes it"
        say "zonescope-$role runs. Its log: $(where_logs_are). Its configuration: $etc/$role.toml"
        say "To remove it: sh $share/install.sh --uninstall"
    fi
}

# choose_roles RECORDED...: sets roles, what to act on: the role that was named, or all of these.
choose_roles() {
    roles=$*
    if [ -z "$roles" ]; then
        say "nothing is installed below $prefix"
        exit 0
    fi
    [ -n "$role" ] || return 0
    case " $roles " in *" $role "*) roles=$role ;; *) refuse "zonescope-$role is not installed below $prefix" ;; esac
}

uninstall() {
    # shellcheck disable=SC2046 # a list of roles
    choose_roles $(recorded_roles)
    need_root uninstalling
    make_work
    # This script and its parts, to be put back where something stays that they will have to remove later.
    mkdir -p "$work/self/packaging"
    cp "$share/install.sh" "$work/self/"
    cp -R "$share/packaging/install" "$work/self/packaging/"
    for role in $roles; do
        stop_service
        undo_record
        [ -s "$work/kept" ] || continue
        say "left, until sh $share/install.sh --uninstall --purge:"
        sed -n 's/^config /    /p; s/^data /    /p' "$work/kept"
    done
}

upgrade() {
    # shellcheck disable=SC2046 # a list of roles
    choose_roles $(installed_roles)
    need_root upgrading
    # shellcheck disable=SC2086 # a list of roles
    make_stage $roles
    # Every new program must accept the configuration that is there before any old one is touched.
    for role in $roles; do check_config "$stage/bin/zonescope-$role" "$etc/$role.toml"; done
    for role in $roles; do upgrade_role; done
}

upgrade_role() {
    ur_before=$changes
    ur_old=$installed/$role.old
    [ "$dry_run" = yes ] || keep_old
    put_programs "$role"
    put_service
    if [ "$changes" = "$ur_before" ]; then
        say "zonescope-$role is up to date: nothing to change"
    elif service_can_run; then
        change "restart zonescope-$role and wait for its answer" start_service
        [ "$dry_run" = yes ] || answers || back_to_old "did not answer within 30 s ($(where_logs_are) says why)"
    elif [ "$dry_run" = no ]; then
        "$prefix/bin/zonescope-$role" --version > /dev/null 2>&1 || back_to_old "does not start"
    fi
    rm -rf "$ur_old"
}

# The files of the record, to bring back.
keep_old() {
    rm -rf "$ur_old"
    mkdir "$ur_old"
    cp "$installed/$role" "$ur_old/record"
    ko_number=0
    while read -r ko_kind ko_path; do
        if [ "$ko_kind" != file ] || [ ! -f "$ko_path" ]; then continue; fi
        ko_number=$((ko_number + 1))
        cp -p "$ko_path" "$ur_old/$ko_number"
        echo "$ko_number $ko_path" >> "$ur_old/list"
    done < "$installed/$role"
}

# back_to_old WHY
back_to_old() {
    say "bring the old zonescope-$role back"
    while read -r bo_kind bo_path; do
        [ "$bo_kind" != file ] || grep -qxF "file $bo_path" "$ur_old/record" || rm -f "$bo_path"
    done < "$installed/$role"
    while read -r bo_number bo_path; do
        cp -p "$ur_old/$bo_number" "$bo_path.new.$$" && mv "$bo_path.new.$$" "$bo_path"
    done < "$ur_old/list"
    cp "$ur_old/record" "$installed/$role"
    rm -rf "$ur_old"
    bo_now='the old one is back'
    if service_can_run; then
        start_service
        answers || bo_now="the old one is back, and does not answer either"
    fi
    fail "the new zonescope-$role $1; $bo_now"
}
