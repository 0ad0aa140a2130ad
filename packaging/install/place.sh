# shellcheck shell=sh disable=SC2154 # variables of install.sh, which reads this file
# Putting things in place, writing down what was put, and undoing what is written down.
#
# The record of a role, PREFIX/share/zonescope/installed/ROLE, has a line per thing, in the order of its making:
#
#   dir PATH      a directory that was made            removed when empty
#   file PATH     a program, manual page, unit ...     removed
#   config PATH   the configuration                    removed if it is as installed, or with --purge
#   data PATH     a data directory                     removed if empty, or with --purge
#   user NAME     the account                          removed when no data is left that it owns
#
# A thing that another role's record has too stays until the last of them goes.

record() {
    [ "$dry_run" = no ] || return 0
    grep -qxF "$1 $2" "$installed/$role" 2>/dev/null || echo "$1 $2" >> "$installed/$role"
}

made_dirs=''   # made before there was a record to write them into
planned_dirs='' # --dry-run: said already

# put_dir DIR: with its parents, each of which is written down if it is made here.
put_dir() {
    if [ -d "$1" ]; then
        adopt_dir "$1"
        return 0
    fi
    case " $planned_dirs " in *" $1 "*) return 0 ;; esac
    put_dir "$(dirname "$1")"
    change "make the directory $1" mkdir "$1"
    planned_dirs="$planned_dirs $1" made_dirs="$made_dirs $1"
    [ -d "$installed" ] || return 0
    for pd_dir in $made_dirs; do record dir "$pd_dir"; done
    made_dirs=''
}

# A directory that another role made is this one's too, so that the last of them removes it.
adopt_dir() {
    if [ "$1" = / ] || [ ! -d "$installed" ]; then return 0; fi
    adopt_dir "$(dirname "$1")"
    ! grep -qxF "dir $1" "$installed"/* 2>/dev/null || record dir "$1"
}

# put_file SOURCE TARGET MODE: replaced in one step, so that a running program keeps its old file.
put_file() {
    put_dir "$(dirname "$2")"
    record file "$2"
    ! cmp -s "$1" "$2" || return 0
    if [ -e "$2" ]; then pf_verb=replace; else pf_verb=install; fi
    change "$pf_verb $2" copy_file "$1" "$2" "$3"
}

copy_file() { ( umask 077 && cp "$1" "$2.new.$$" ) && chmod "$3" "$2.new.$$" && mv "$2.new.$$" "$2"; }

fill_in() {
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@ETC@|$etc|g" -e "s|@VAR@|$var|g" -e "s|@PRIVILEGES@|$(privileges)|g" "$1"
}

# put_template SOURCE TARGET MODE: with the directories filled in.
put_template() {
    make_work
    fill_in "$1" > "$work/template"
    put_file "$work/template" "$2" "$3"
}

# What goes with the program of a role: the program, its manual, how to undo it all.
put_programs() {
    put_file "$stage/bin/zonescope-$1" "$prefix/bin/zonescope-$1" 755
    for pp_file in install.sh LICENSE-MIT LICENSE-APACHE packaging/install/place.sh packaging/install/service.sh \
        packaging/install/actions.sh; do
        put_file "$stage/$pp_file" "$share/$pp_file" 644
    done
    for pp_file in "$stage/man/zonescope-$1".1 "$stage"/man/*.7; do
        [ ! -f "$pp_file" ] || put_file "$pp_file" "$prefix/share/man/man${pp_file##*.}/${pp_file##*/}" 644
    done
    [ "$1" = generator ] && [ -d "$stage/scripts" ] || return 0
    for pp_file in $(cd "$stage" && find scripts -type f | sort); do
        if [ -x "$stage/$pp_file" ]; then pp_mode=755; else pp_mode=644; fi
        put_file "$stage/$pp_file" "$share/$pp_file" $pp_mode
    done
}

# config_set FILE KEY VALUE: prints FILE with the key set: on its line, or on the commented line that shows its default,
# or at the top, before any section.
config_set() {
    cs_line="^$2 *="
    grep -q "$cs_line" "$1" || cs_line="^# *$2 *="
    if grep -q "$cs_line" "$1"; then
        $awk -v line="$cs_line" -v text="$2 = $3" '!done && $0 ~ line { print text; done = 1; next } { print }' "$1"
    else
        echo "$2 = $3"
        cat "$1"
    fi
}

set_in_work() { config_set "$work/config" "$1" "$2" > "$work/config.set" && cat "$work/config.set" > "$work/config"; }

# Makes $work/config, which will be the configuration: --config FILE, or the one that is there, or the default one;
# with --bind and --connect in it. The program must accept it.
make_config() {
    make_work
    if [ -n "$config" ]; then
        cp "$config" "$work/config"
    elif [ -f "$etc/$role.toml" ]; then
        cp "$etc/$role.toml" "$work/config"
    else
        fill_in "$stage/packaging/config/$role.toml" > "$work/config"
    fi
    # Closed to others while it is looked at: it may hold a password.
    chmod 600 "$work/config"
    [ -z "$bind" ] || set_in_work bind "\"$bind\""
    if [ -n "$connect" ]; then
        mc_list=''
        for mc_endpoint in $connect; do mc_list="$mc_list${mc_list:+, }\"$mc_endpoint\""; done
        set_in_work connect "[$mc_list]"
    fi
    check_config "$stage/bin/zonescope-$role" "$work/config"
}

put_config() {
    pc_file=$etc/$role.toml
    put_dir "$etc"
    record config "$pc_file"
    ! cmp -s "$work/config" "$pc_file" || return 0
    if [ -e "$pc_file" ]; then
        record file "$pc_file.old"
        change "keep the configuration so far in $pc_file.old" cp -p "$pc_file" "$pc_file.old"
        change "change the configuration $pc_file" copy_config "$pc_file"
    else
        change "install the configuration $pc_file" copy_config "$pc_file"
    fi
    [ "$dry_run" = yes ] || sum_of "$pc_file" > "$installed/$role.config-sum"
}

# The collector of Redis may have a password in its file: for root and the service alone.
copy_config() {
    case $role in
        collector-redis)
            copy_file "$work/config" "$1" 640
            # On illumos the account's service does it, once there is an account.
            [ "$os" = illumos ] || chgrp zonescope "$1" ;;
        *) copy_file "$work/config" "$1" 644 ;;
    esac
}

check_config() {
    [ "$dry_run" = no ] || return 0
    cc_says=$("$1" run --config "$2" --check-config 2>&1) || refuse "$1 does not accept the configuration: $cc_says"
}

put_account() {
    record user zonescope
    # On illumos the service application/zonescope/account makes it, now and after each boot.
    [ "$os" = linux ] || return 0
    ! grep -q '^zonescope:' /etc/passwd || return 0
    # --no-log-init leaves lastlog and faillog as they are.
    change "make the system user zonescope" useradd --system --user-group --no-create-home --no-log-init \
        --home-dir "$var" --shell /usr/sbin/nologin --comment zonescope zonescope
}

put_data_dir() {
    put_dir "$var"
    record data "$var/$role"
    [ -d "$var/$role" ] || change "make the data directory $var/$role" make_data_dir "$var/$role"
}

make_data_dir() {
    mkdir -m 750 "$1"
    # On illumos the account's service hands it over.
    [ "$os" = illumos ] || chown zonescope:zonescope "$1"
}

# Where the keys of $role are: the service's own, so that what root makes there is too.
put_keys() {
    [ "$keys" = yes ] || return 0
    put_dir "$etc/keys"
    record data "$etc/keys/$role"
    [ -d "$etc/keys/$role" ] || change "make the directory of keys $etc/keys/$role" make_keys_dir "$etc/keys/$role"
    [ -f "$etc/keys/$role/secret" ] || change "make a key pair in $etc/keys/$role" make_keys
    [ "$dry_run" = yes ] || say "the public key of zonescope-$role: $(sed 's/ .*//' "$etc/keys/$role/public")"
}

make_keys_dir() {
    mkdir -m 755 "$1"
    # On illumos the account's service hands it over.
    [ "$os" = illumos ] || chown zonescope:zonescope "$1"
}

make_keys() { "$prefix/bin/zonescope-$role" keys new --config "$etc/$role.toml" > /dev/null; }

# ---------------------------------------------------------------------------------------------------------------------
# Undoing

# Roles with a record: installed, or removed with something left.
recorded_roles() {
    for rr_role in generator collector-columnar collector-redis; do
        [ ! -f "$share/installed/$rr_role" ] || echo "$rr_role"
    done
}

installed_roles() {
    for ir_role in $(recorded_roles); do
        ! grep -qxF "file $prefix/bin/zonescope-$ir_role" "$share/installed/$ir_role" || echo "$ir_role"
    done
}

# Whether another role has this line too.
shared() {
    for sh_role in $(recorded_roles); do
        [ "$sh_role" = "$role" ] || ! grep -qxF "$1" "$installed/$sh_role" || return 0
    done
    return 1
}

# undo_record: all that the record of $role says; what stays is written to $work/kept, and stays on record.
undo_record() {
    : > "$work/kept"
    # Newest first: what lies in a directory goes before the directory.
    $awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$installed/$role" > "$work/undo"
    undo_each file config data
    if [ "$dry_run" = yes ]; then
        :
    elif grep -Eq '^(config|data) ' "$work/kept"; then
        # To be purged later, by what has to stay for that.
        for ur_file in install.sh packaging/install/place.sh packaging/install/service.sh packaging/install/actions.sh; do
            put_dir "$(dirname "$share/$ur_file")"
            cp "$work/self/$ur_file" "$share/$ur_file"
            echo "file $share/$ur_file" >> "$work/kept"
        done
        grep -E '^(dir|user) ' "$installed/$role" > "$work/record"
        cat "$work/kept" >> "$work/record"
        mv "$work/record" "$installed/$role"
    else
        rm -f "$installed/$role" "$installed/$role.config-sum"
    fi
    undo_each user dir
}

undo_each() {
    while read -r ue_kind ue_path; do
        case " $* " in *" $ue_kind "*) ;; *) continue ;; esac
        shared "$ue_kind $ue_path" || "undo_$ue_kind" "$ue_path"
    done < "$work/undo"
}

keep() { echo "$1 $2" >> "$work/kept"; }

undo_file() { [ ! -e "$1" ] || change "remove $1" rm -f "$1"; }

undo_config() {
    [ -e "$1" ] || return 0
    if [ "$purge" = yes ] || [ "$(sum_of "$1")" = "$(cat "$installed/$role.config-sum" 2>/dev/null)" ]; then
        change "remove the configuration $1" rm -f "$1"
    else
        keep config "$1"
    fi
}

undo_data() {
    [ -d "$1" ] || return 0
    if [ "$purge" = yes ]; then
        change "remove the data in $1" rm -rf "$1"
    elif [ -z "$(ls -A "$1")" ]; then
        change "remove the data directory $1, which is empty" rmdir "$1"
    else
        keep data "$1"
    fi
}

undo_dir() {
    [ -d "$1" ] || return 0
    if [ "$dry_run" = yes ]; then
        say "would remove the directory $1, if nothing is left in it"
    elif [ -z "$(ls -A "$1")" ]; then
        change "remove the directory $1" rmdir "$1"
    fi
}

undo_user() {
    if grep -q '^data ' "$work/kept"; then return 0; fi
    ! grep -q "^$1:" /etc/passwd || change "remove the user $1" "remove_user_$os" "$1"
}

remove_user_linux() {
    userdel "$1"
    ! grep -q "^$1:" /etc/group || groupdel "$1"
}

# Written in place, not by rename: on SmartOS /etc/shadow is a mounted file.
remove_user_illumos() {
    for ru_file in /etc/passwd /etc/shadow /etc/group; do
        grep -v "^$1:" "$ru_file" > "$work/account" && cat "$work/account" > "$ru_file"
    done
}
