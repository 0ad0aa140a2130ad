//! Children of the runner that do what they should, and those that do what a dtrace never should.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use zonescope_generator::dtrace::{Budget, Dtrace, DtraceOptions};
use zonescope_generator::source::{Sample, Source as _, Tick};
use zonescope_proto::ZoneName;

use crate::host::{Host, collect, error, program, state, tick, until};

/// One that does what it should.
const GOOD: &str = "while :; do rec \"oncpu\\0375\\037web1\\0370\\03742\\0371\\037postgres\"; rec \"ticks\\03797\"; rec end; sleep 0.2; done";

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0 kB").to_owned();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

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
        include_str!("../../fixtures/dtrace/16-missing-probe.err"),
        include_str!("../../fixtures/dtrace/14-compile-error-syntax.err"),
        include_str!("../../fixtures/dtrace/23-no-privilege.err"),
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
    let drops = include_str!("../../fixtures/dtrace/11-aggdrops.err");
    let fault = include_str!("../../fixtures/dtrace/21-runtime-fault.err");
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
    let status = alone.args(["--exact", "children::floods", "--ignored", "--nocapture"]).status().unwrap();
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
        .args(["--exact", "children::victim", "--ignored", "--nocapture"])
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
