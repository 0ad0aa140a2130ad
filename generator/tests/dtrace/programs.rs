//! Programs of users: their files, their tables, and reading them again.

use std::collections::BTreeSet;
use std::path::Path;

use zonescope_generator::dtrace::{Dtrace, check};
use zonescope_proto::ZoneName;

use crate::host::{Host, collect, error, program, set_mode, state, tick, until};

const HEADER: &str =
    "/*\n * zonescope\n * name: NAME\n * keys: zone, op\n * kind: delta\n * unit: calls\n * interval: 1s\n */\n";

fn user(name: &str) -> String {
    HEADER.replace("NAME", name) + "tick-1s { printa(@); trunc(@); }\n"
}

#[test]
fn users_programs_fill_their_own_tables_and_a_bad_one_disturbs_nobody() {
    let mut host = Host::new(
        "while :; do printf '\\n  global                                              read                                                            12\\n'; rec end; sleep 0.2; done",
    );
    host.options.programs = Some(BTreeSet::new());
    host.write("good.d", &user("nfs_ops"));
    let bad = host.write("bad.d", &user("bad_ops").replace("delta", "rate"));
    let mut dtrace = host.start();
    let global = ZoneName::global();
    let sample = until(&mut dtrace, "rows", |sample| {
        sample.zones.get(&global).is_some_and(|zone| !zone.frame.custom.is_empty())
    });
    let row = &sample.zones[&global].frame.custom[0];
    assert_eq!((row.table.as_str(), row.labels[0].value.as_str()), ("nfs_ops", "read"));
    assert_eq!((row.values[0].name.as_str(), row.values[0].unit.as_str()), ("value", "calls"));
    assert_eq!(collect(&sample, "nfs_ops").success, Some(1));
    let told = error(&sample, "bad");
    assert!(told.starts_with(&format!("{}:5: ", bad.display())), "{told}");
}

#[test]
fn a_program_that_others_could_have_written_is_not_loaded_and_the_error_says_what_to_do() {
    let mut host = Host::new("while :; do rec end; sleep 0.1; done");
    host.options.programs = Some(BTreeSet::new());
    let path = host.write("nfs.d", &user("nfs_ops"));
    let directory = host.options.user_dir.clone();
    let mut dtrace = host.start();
    let runs = |dtrace: &mut Dtrace| until(dtrace, "running", |sample| state(sample, "nfs_ops") == "running");
    let mut refused = |at: &Path, family: &str, advice: &str| {
        dtrace.reload();
        let sample = until(&mut dtrace, "a refusal", |sample| !error(sample, family).is_empty());
        let told = error(&sample, family);
        assert!(told.starts_with(&format!("{}: ", at.display())) && told.ends_with(advice), "{told}");
        until(&mut dtrace, "its end", |sample| program(sample, "nfs_ops").is_none());
    };
    for mode in [0o664, 0o646] {
        set_mode(&path, mode);
        refused(&path, "nfs", &format!("chmod go-w {}", path.display()));
        set_mode(&path, 0o644);
    }
    set_mode(&directory, 0o777);
    refused(&directory, "dtrace", &format!("chmod go-w {}", directory.display()));
    set_mode(&directory, 0o755);
    if rustix::process::geteuid().is_root() {
        let owned_by = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
        for (at, family) in [(&path, "nfs"), (&directory, "dtrace")] {
            owned_by(at, 65_534);
            refused(at, family, &format!("chown root {}", at.display()));
            owned_by(at, 0);
        }
        // A link to somebody's file is somebody's file.
        let elsewhere = host.file("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        owned_by(&elsewhere, 65_534);
        refused(&path, "nfs", &format!("chown root {}", path.display()));
        owned_by(&elsewhere, 0);
    }
    dtrace.reload();
    runs(&mut dtrace);
}

#[test]
fn a_reload_starts_restarts_and_ends_what_changed_and_nothing_else() {
    let mut host = Host::new("while :; do rec end; sleep 0.1; done");
    host.options.programs = Some(BTreeSet::new());
    host.write("a.d", &user("first"));
    let second = host.write("b.d", &user("second"));
    let mut dtrace = host.start();
    until(&mut dtrace, "both", |sample| state(sample, "first") == "running" && state(sample, "second") == "running");
    host.write("b.d", &(user("second") + "BEGIN {}\n"));
    host.write("c.d", &user("third"));
    dtrace.reload();
    let sample = until(&mut dtrace, "the third", |sample| {
        state(sample, "third") == "running" && state(sample, "second") == "running"
    });
    assert_eq!(program(&sample, "first").unwrap().starts, Some(1));
    std::fs::remove_file(second).unwrap();
    dtrace.reload();
    until(&mut dtrace, "the end of the second", |sample| program(sample, "second").is_none());
    assert_eq!(program(&tick(&mut dtrace), "first").unwrap().starts, Some(1));
}

#[test]
fn a_reload_gives_a_disabled_program_another_chance() {
    let mut host = Host::new("[ -e $(dirname $0)/fixed ] || exec yes; while :; do rec end; sleep 0.1; done");
    host.options.budget.bytes_per_second = 1 << 20;
    let mut dtrace = host.start();
    until(&mut dtrace, "disabled", |sample| state(sample, "oncpu") == "disabled");
    std::fs::write(host.file("fixed"), "").unwrap();
    dtrace.reload();
    until(&mut dtrace, "running", |sample| state(sample, "oncpu") == "running");
}

#[test]
fn check_names_file_and_line() {
    let host = Host::new(
        "case \"$*\" in *bad*) echo \"dtrace: failed to compile script $4: line 9: undefined function name: foo\" >&2; exit 1;; esac",
    );
    let dtrace = host.options.path.as_deref();
    let good = host.write("good.d", &user("nfs_ops"));
    let checked = check(&good, dtrace).unwrap();
    assert_eq!((checked.header.name.as_str(), checked.compiled), ("nfs_ops", true));
    assert!(!check(&good, None).unwrap().compiled);
    let bad = host.write("bad.d", &user("bad_ops"));
    let error = check(&bad, dtrace).unwrap_err();
    assert_eq!(error.to_string(), format!("{}:9: undefined function name: foo", bad.display()));
    let error = check(Path::new("/nowhere.d"), dtrace).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere.d: "), "{error}");
}
