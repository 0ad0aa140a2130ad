//! The runner against children that are not dtrace: shell scripts that do what a dtrace never should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests fail loudly")]
#![allow(clippy::disallowed_methods, reason = "tests start processes of their own")]
#![cfg(unix)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use zonescope_generator::dtrace::{Budget, Dtrace, DtraceOptions, check};
use zonescope_generator::source::{Sample, Source as _, Tick};
use zonescope_proto::{ZoneName, v1};

/// Reads the program on stdin, as `dtrace -s /dev/stdin` does, and finds the mark in it.
const PRELUDE: &str = "#!/bin/sh\n\
    mark=$(sed -n 's/.*\\\\036\\([0-9a-f]*\\)\\\\037end.*/\\1/p' | head -n 1)\n\
    rec() { printf \"\\036$mark\\037$1\\037.\\n\"; }\n";

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

struct Host {
    directory: tempfile::TempDir,
    options: DtraceOptions,
}

impl Host {
    /// A host whose dtrace is `script`.
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dtrace");
        std::fs::write(&path, format!("{PRELUDE}{script}\n")).unwrap();
        set_mode(&path, 0o755);
        let user_dir = directory.path().join("dtrace.d");
        std::fs::create_dir(&user_dir).unwrap();
        set_mode(&user_dir, 0o755);
        let programs = Some(BTreeSet::from(["oncpu".to_owned()]));
        Host { directory, options: DtraceOptions { path: Some(path), programs, user_dir, ..DtraceOptions::default() } }
    }

    fn start(&self) -> Dtrace {
        Dtrace::start(self.options.clone())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.options.user_dir.join(name);
        std::fs::write(&path, text).unwrap();
        set_mode(&path, 0o644);
        path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A tick may take this long and no longer, whatever children do. Two cores that build at the same time need some slack.
const ON_TIME: Duration = Duration::from_millis(100);

fn tick(dtrace: &mut Dtrace) -> Sample {
    let (mut sample, began) = (Sample::default(), Instant::now());
    dtrace.sample(Tick { time_ns: 0, interval_ns: 1 }, &mut sample).unwrap();
    assert!(began.elapsed() < ON_TIME, "a tick took {:?}", began.elapsed());
    sample
}

/// Ticks until `done`, or fails.
fn until(dtrace: &mut Dtrace, what: &str, done: impl Fn(&Sample) -> bool) -> Sample {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let sample = tick(dtrace);
        if done(&sample) {
            return sample;
        }
        assert!(Instant::now() < end, "{what}: {:?} {:?}", sample.collect, program(&sample, "oncpu"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn program(sample: &Sample, name: &str) -> Option<v1::DtraceProgram> {
    let global = sample.zones.get(&ZoneName::global())?;
    global.frame.dtrace.iter().find(|row| row.program == name).cloned()
}

fn state(sample: &Sample, name: &str) -> String {
    program(sample, name).and_then(|row| row.state).unwrap_or_default()
}

fn collect<'a>(sample: &'a Sample, name: &str) -> &'a v1::Collect {
    sample.collect.iter().find(|row| row.family == name).unwrap_or_else(|| panic!("no {name}: {:?}", sample.collect))
}

fn error(sample: &Sample, name: &str) -> String {
    sample.collect.iter().find(|row| row.family == name).and_then(|row| row.error.clone()).unwrap_or_default()
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0 kB").to_owned();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

const GOOD: &str = "while :; do rec \"oncpu\\0375\\037web1\\0370\\03742\\0371\\037postgres\"; rec \"ticks\\03797\"; rec end; sleep 0.2; done";

#[test]
fn samples_reach_their_zone() {
    let host = Host::new(GOOD);
    let mut dtrace = host.start();
    let web1 = ZoneName::new("web1").unwrap();
    let sample = until(&mut dtrace, "samples", |sample| sample.zones.contains_key(&web1));
    let frame = &sample.zones[&web1].frame;
    assert_eq!((frame.oncpu_process[0].pid, frame.oncpu_process[0].execname.as_str()), (42, "postgres"));
    let collect = collect(&sample, "oncpu");
    assert_eq!((collect.success, collect.errors, collect.drops), (Some(1), Some(0), Some(0)));
    assert_eq!(state(&sample, "oncpu"), "running");
}

#[test]
fn an_interval_without_its_end_mark_is_never_seen() {
    let host = Host::new("rec 'ticks\\03797'; rec 'oncpu\\0375\\037web1\\0370\\0371\\0371\\037x'; kill -9 $$");
    let mut dtrace = host.start();
    let sample = until(&mut dtrace, "an end", |sample| state(sample, "oncpu") == "waiting");
    assert_eq!((sample.zones.len(), collect(&sample, "oncpu").drops), (1, Some(2)), "global only, two rows dropped");
    assert!(error(&sample, "oncpu").contains("signal 9"), "{}", error(&sample, "oncpu"));
}

#[test]
fn each_way_to_end_is_told_and_restarted() {
    for (script, told) in [
        ("exit 0", "exit 0"),
        ("exit 1", "exit 1"),
        ("exit 7", "exit 7"),
        ("kill -TERM $$", "signal 15"),
        ("kill -KILL $$", "signal 9"),
        (
            "echo 'dtrace: processing aborted: Abort due to systemic unresponsiveness' >&2; exit 1",
            "systemic unresponsiveness",
        ),
        ("exec >&- 2>&-; sleep 60", "signal 9"),
    ] {
        let host = Host::new(script);
        let mut dtrace = host.start();
        let sample =
            until(&mut dtrace, script, |sample| program(sample, "oncpu").and_then(|row| row.starts) >= Some(2));
        assert!(collect(&sample, "oncpu").errors >= Some(1));
        let sample = until(&mut dtrace, script, |sample| state(sample, "oncpu") == "waiting");
        assert!(error(&sample, "oncpu").contains(told), "{script}: {}", error(&sample, "oncpu"));
    }
}

#[test]
fn what_a_host_lacks_is_unavailable_and_not_tried_again_soon() {
    for message in [
        include_str!("../fixtures/dtrace/16-missing-probe.err"),
        include_str!("../fixtures/dtrace/14-compile-error-syntax.err"),
        include_str!("../fixtures/dtrace/23-no-privilege.err"),
        "dtrace: failed to initialize dtrace: DTrace requires additional privileges",
    ] {
        let host = Host::new(&format!("cat >&2 <<'X'\n{message}\nX\nexit 1"));
        let mut dtrace = host.start();
        let sample = until(&mut dtrace, message, |sample| state(sample, "oncpu") == "unavailable");
        assert!(error(&sample, "oncpu").contains(message.lines().next().unwrap().trim()), "{:?}", sample.collect);
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(program(&tick(&mut dtrace), "oncpu").unwrap().starts, Some(1));
    }
}

#[test]
fn a_command_that_cannot_be_started_is_told() {
    let mut host = Host::new("");
    host.options.path = Some(host.file("nowhere"));
    let mut dtrace = host.start();
    let sample = until(&mut dtrace, "an error", |sample| state(sample, "oncpu") == "waiting");
    assert!(error(&sample, "oncpu").contains("cannot start"), "{:?}", sample.collect);
}

#[test]
fn drops_and_faults_are_counted_and_the_program_goes_on() {
    let drops = include_str!("../fixtures/dtrace/11-aggdrops.err");
    let fault = include_str!("../fixtures/dtrace/21-runtime-fault.err");
    let host = Host::new(&format!("cat >&2 <<'X'\n{drops}{fault}X\n{GOOD}"));
    let mut dtrace = host.start();
    let sample = until(&mut dtrace, "drops", |sample| collect(sample, "oncpu").drops == Some(7184));
    assert_eq!(collect(&sample, "oncpu").errors, Some(1));
    until(&mut dtrace, "health", |sample| collect(sample, "oncpu").success == Some(1));
}

/// In a process of its own: its memory is measured, and other tests have theirs.
#[test]
fn floods_cost_their_budget_and_end_disabled() {
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let status = alone.args(["--exact", "floods", "--ignored", "--nocapture"]).status().unwrap();
    assert!(status.success(), "see above: {status}");
}

/// Children that print what they like, as fast as they can.
#[test]
#[ignore = "run by the test above"]
fn floods() {
    for (name, script) in [
        ("100 MB/s of lines", "exec yes 'the quick brown fox jumps over the lazy dog'"),
        ("garbage", "exec cat /dev/urandom"),
        ("a line without end", "exec cat /dev/zero"),
        (
            "keys without end",
            "while :; do i=0; while [ $i -lt 2000 ]; do rec \"oncpu\\0375\\037web1\\0370\\037$i\\0371\\037p\"; i=$((i+1)); done; rec end; done",
        ),
    ] {
        let mut host = Host::new(script);
        host.options.budget = Budget { bytes_per_second: 4 << 20, keys: 1000, cpu_percent: 1000, ..Budget::default() };
        let mut dtrace = host.start();
        std::thread::sleep(Duration::from_millis(500));
        let before = rss_kib();
        let sample = until(&mut dtrace, name, |sample| state(sample, "oncpu") == "disabled");
        let grown = rss_kib().saturating_sub(before);
        let row = program(&sample, "oncpu").unwrap();
        eprintln!("{name}: {} MB read, grown {grown} KiB, {:?}", row.bytes.unwrap() >> 20, sample.collect[0]);
        assert!(row.bytes < Some(32 << 20), "{name}: {row:?}");
        assert!(grown < 16 * 1024, "{name}: grown {grown} KiB");
        assert!(error(&sample, "oncpu").contains("over budget"), "{name}: {}", error(&sample, "oncpu"));
        assert_eq!((row.over_budget, row.starts), (Some(3), Some(1)), "{name}");
    }
}

#[test]
fn killed_every_second_it_comes_back_and_every_tick_is_on_time() {
    let seconds: u64 = std::env::var("ZONESCOPE_KILL_SECONDS").map_or(6, |text| text.parse().unwrap());
    let host = Host::new(&format!("echo $$ >>{0}/pids; {GOOD}", "$(dirname $0)"));
    let mut dtrace = host.start();
    let before = rss_kib();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let second = Instant::now() + Duration::from_secs(1);
        while Instant::now() < second {
            tick(&mut dtrace);
            std::thread::sleep(Duration::from_millis(100));
        }
        let pids = std::fs::read_to_string(host.file("pids")).unwrap_or_default();
        if let Some(pid) = pids.lines().last() {
            Command::new("kill").args(["-9", pid]).stderr(std::process::Stdio::null()).status().unwrap();
        }
    }
    let sample = until(&mut dtrace, "recovery", |sample| state(sample, "oncpu") == "running");
    let starts = program(&sample, "oncpu").unwrap().starts.unwrap();
    let errors = collect(&sample, "oncpu").errors.unwrap();
    assert!(starts >= 3 && errors >= starts - 1, "{starts} starts, {errors} errors");
    assert!(rss_kib().saturating_sub(before) < 8 * 1024);
}

#[test]
fn the_last_words_of_an_ordered_end_are_kept() {
    let host = Host::new("trap 'rec \"ticks\\03742\"; rec end; exit 0' TERM; rec end; while :; do sleep 0.05; done");
    let mut dtrace = host.start();
    until(&mut dtrace, "a start", |sample| state(sample, "oncpu") == "running");
    dtrace.shutdown(Duration::from_secs(5));
    let mut sample = Sample::default();
    sample.zone(&ZoneName::global());
    dtrace.sample(Tick { time_ns: 0, interval_ns: 1 }, &mut sample).unwrap();
    let oncpu = sample.zones[&ZoneName::global()].frame.oncpu;
    assert_eq!(oncpu.and_then(|oncpu| oncpu.ticks), Some(42));
    assert_eq!(state(&sample, "oncpu"), "stopped");
}

#[test]
fn a_child_that_ignores_sigterm_is_killed_after_our_patience() {
    let host = Host::new("trap '' TERM; rec end; while :; do sleep 0.05; done");
    let mut dtrace = host.start();
    until(&mut dtrace, "a start", |sample| state(sample, "oncpu") == "running");
    let began = Instant::now();
    dtrace.shutdown(Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(state(&tick(&mut dtrace), "oncpu"), "stopped");
}

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

/// In the child SIGPIPE has its default again (Rust ignores it, and ignored signals are inherited).
#[test]
#[cfg(target_os = "linux")]
fn a_child_does_not_inherit_that_we_ignore_sigpipe() {
    let host = Host::new("grep SigIgn /proc/self/status >$(dirname $0)/ignored; while :; do rec end; sleep 0.1; done");
    let mut dtrace = host.start();
    until(&mut dtrace, "a start", |sample| state(sample, "oncpu") == "running");
    let line = std::fs::read_to_string(host.file("ignored")).unwrap();
    let mask = u64::from_str_radix(line.split_ascii_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(mask & (1 << (13 - 1)), 0, "SIGPIPE is ignored: {line}");
}

/// Runs this test's own binary as the generator that is killed.
#[test]
fn no_child_outlives_a_killed_generator() {
    let host = Host::new(&format!("echo $$ >$(dirname $0)/pid; {GOOD}"));
    let exe = std::env::current_exe().unwrap();
    let mut generator = Command::new(exe)
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env("ZONESCOPE_VICTIM", host.options.path.as_ref().unwrap())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let pid = loop {
        match std::fs::read_to_string(host.file("pid")) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => assert!(Instant::now() < end, "the victim's child did not start"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    generator.kill().unwrap();
    generator.wait().unwrap();
    let alive =
        || Command::new("kill").args(["-0", &pid]).stderr(std::process::Stdio::null()).status().unwrap().success();
    while alive() {
        assert!(Instant::now() < end, "process {pid} still lives");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "not a test: the generator that another test kills"]
fn victim() {
    let Some(path) = std::env::var_os("ZONESCOPE_VICTIM") else { return };
    let programs = Some(BTreeSet::from(["oncpu".to_owned()]));
    let options =
        DtraceOptions { path: Some(path.into()), programs, user_dir: PathBuf::new(), ..DtraceOptions::default() };
    let _dtrace = Dtrace::start(options);
    std::thread::sleep(Duration::from_secs(60));
}
