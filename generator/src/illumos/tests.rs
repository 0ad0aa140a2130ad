//! The source `proc` on trees like /proc.

use super::procfs::tests::{psinfo, psinfo_file, usage_file};
use super::*;

const TICK: Tick = Tick { time_ns: 0, interval_ns: 1 };

/// A root with processes in it.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        Host(dir)
    }

    fn process(&self, info: &Psinfo, usage: Option<Prusage>, files: usize) {
        let dir = self.0.path().join("proc").join(info.pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        fs::write(dir.join("psinfo"), psinfo_file(info)).unwrap();
        if let Some(usage) = usage {
            fs::write(dir.join("usage"), usage_file(&usage)).unwrap();
        }
        (0..files).for_each(|n| fs::write(dir.join("fd").join(n.to_string()), "").unwrap());
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join("proc").join(pid.to_string())).unwrap();
    }
}

/// What the source `kstat` leaves: the host, and a zone called web1 with id 17.
fn zones() -> Sample {
    let mut sample = Sample::default();
    sample.zone(&ZoneName::global());
    sample.zone(&ZoneName::lossy("web1")).zone.id = 17;
    sample
}

fn tick(proc: &mut Proc) -> Sample {
    let mut sample = zones();
    proc.sample(TICK, &mut sample).unwrap();
    sample
}

fn pids_of(sample: &Sample, zone: &str) -> Vec<u64> {
    sample.zones[&ZoneName::lossy(zone)].frame.process.iter().map(|p| p.pid).collect()
}

fn with_time(mut info: Psinfo, time_ns: u64, rssize: u64) -> Psinfo {
    (info.time_ns, info.rssize) = (time_ns, rssize);
    info
}

#[test]
fn processes_are_counted_and_shown_with_their_zone() {
    let host = Host::new();
    let usage = Prusage { utime_ns: 5, stime_ns: 6, ttime_ns: 7, wtime_ns: 8, ioch: 9, majf: 10, ..Prusage::default() };
    host.process(&psinfo(1, 0, "init"), Some(Prusage::default()), 0);
    host.process(&psinfo(4321, 17, "beam.smp"), Some(usage), 3);
    let sample = tick(&mut Proc::below(host.0.path(), 10));
    let web1 = &sample.zones[&ZoneName::lossy("web1")].frame;
    assert_eq!(web1.pids, Some(v1::Pids { processes: Some(1), threads: Some(7), ..v1::Pids::default() }));
    let row = &web1.process[0];
    assert_eq!((row.pid, row.execname.as_str(), row.start_time), (4321, "beam.smp", 1_700_000_000_123_456_789));
    assert_eq!((row.nsec_user, row.nsec_sys, row.nsec_waitrq), (Some(5), Some(13), Some(8)));
    assert_eq!((row.files, row.rss, row.vsize), (Some(3), Some(12 << 20), Some(64 << 20)));
    assert_eq!((row.uid, row.state.as_deref(), row.ioch), (Some(60_001), Some("S"), Some(9)));
    assert_eq!(pids_of(&sample, "global"), [1]);
    assert!(sample.collect.iter().all(|c| c.success == Some(1) && c.errors == Some(0)), "{:?}", sample.collect);
}

#[test]
fn the_largest_since_the_last_tick_and_by_memory_are_shown() {
    let host = Host::new();
    let busy_once = |time| with_time(psinfo(10, 17, "busy_once"), time, 0);
    let busy_now = |time| with_time(psinfo(11, 17, "busy_now"), time, 0);
    let large = with_time(psinfo(12, 17, "large"), 0, 1 << 30);
    let usage = Some(Prusage::default());
    let mut proc = Proc::below(host.0.path(), 1);
    host.process(&busy_once(1_000_000), usage, 0);
    host.process(&busy_now(1_000), usage, 0);
    host.process(&large, usage, 0);
    assert_eq!(pids_of(&tick(&mut proc), "web1"), [10, 12], "at first, since their start");
    host.process(&busy_once(1_000_001), usage, 0);
    host.process(&busy_now(900_000), usage, 0);
    assert_eq!(pids_of(&tick(&mut proc), "web1"), [11, 12]);
    // Another process under the same pid has used what it used since its own start.
    host.process(&Psinfo { start_ns: 5, ..busy_once(300) }, usage, 0);
    assert_eq!(pids_of(&tick(&mut proc), "web1"), [10, 12]);
}

#[test]
fn a_process_that_vanishes_while_it_is_read_is_absent_and_no_error() {
    let host = Host::new();
    host.process(&psinfo(20, 17, "no_usage_any_more"), None, 0);
    fs::create_dir(host.0.path().join("proc/21")).unwrap();
    fs::create_dir(host.0.path().join("proc/22")).unwrap();
    fs::write(host.0.path().join("proc/22/psinfo"), "").unwrap();
    let mut proc = Proc::below(host.0.path(), 10);
    let sample = tick(&mut proc);
    assert!(pids_of(&sample, "web1").is_empty());
    assert!(sample.collect.iter().all(|c| c.success == Some(1)), "{:?}", sample.collect);
    host.end(20);
    tick(&mut proc);
    assert!(proc.known.is_empty(), "what has ended is forgotten");
}

#[test]
fn a_zombie_counts_and_has_no_row() {
    let host = Host::new();
    let zombie = Psinfo { nlwp: 0, sname: 'Z', start_ns: 0, fname: String::new(), rssize: 0, ..psinfo(30, 17, "") };
    host.process(&zombie, Some(Prusage::default()), 0);
    let sample = tick(&mut Proc::below(host.0.path(), 10));
    let web1 = &sample.zones[&ZoneName::lossy("web1")].frame;
    assert_eq!(web1.pids.as_ref().unwrap().processes, Some(1));
    assert!(web1.process.is_empty());
}

#[test]
fn a_file_of_another_size_is_an_error_and_the_rest_goes_on() {
    let host = Host::new();
    host.process(&psinfo(40, 17, "fine"), Some(Prusage::default()), 0);
    fs::create_dir(host.0.path().join("proc/41")).unwrap();
    fs::write(host.0.path().join("proc/41/psinfo"), [1; 100]).unwrap();
    let sample = tick(&mut Proc::below(host.0.path(), 10));
    assert_eq!(pids_of(&sample, "web1"), [40]);
    let error = sample.collect[0].error.as_deref().unwrap();
    assert!(error.contains("proc/41/psinfo has 100 bytes, not 416"), "{error}");
}

#[test]
fn processes_of_an_unknown_zone_are_counted_as_drops() {
    let host = Host::new();
    host.process(&psinfo(50, 99, "lost"), Some(Prusage::default()), 0);
    let sample = tick(&mut Proc::below(host.0.path(), 10));
    assert_eq!((sample.collect[0].drops, sample.collect[0].success), (Some(1), Some(0)));
    assert_eq!(sample.zones.len(), 2);
}

#[test]
fn without_a_proc_there_are_no_counts_rather_than_zero() {
    let dir = tempfile::tempdir().unwrap();
    let sample = tick(&mut Proc::below(dir.path(), 10));
    assert!(sample.zones.values().all(|zone| zone.frame.pids.is_none()));
    assert_eq!(sample.collect[0].success, Some(0));
}
