//! What illumos tells in files: the processes of every zone, in /proc.
//!
//! From the global zone /proc shows the processes of every zone; inside a zone only its own. Each tick reads the `psinfo`
//! of every process, which says what it used so far, and of the few that get a row their `usage` and the number of
//! their open files. Which zone a process is in is told by its zone id; the zone of that id is in the sample already,
//! since the source `kstat` comes first ([`select`](crate::select)).
//!
//! A process that ends while it is read is absent. So is what the kernel refuses: the open files of another user's
//! process, where the generator lacks the privilege `proc_owner`. A zombie counts, but has no row: its start, by which it
//! would be known, is gone.

pub mod procfs;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use zonescope_proto::limits::MAX_ROWS;
use zonescope_proto::{ZoneName, v1};

use crate::source::{End, Sample, Source, Tick};
use crate::top::{Ranked, largest};
use procfs::{PRUSAGE_BYTES, PSINFO_BYTES, Prusage, Psinfo};

/// Most processes of one zone reported by each of CPU time and memory.
pub const MAX_TOP: usize = 1024;

const _: () = assert!(2 * MAX_TOP <= MAX_ROWS, "a row for every one of both choices must fit a frame");

/// The source `proc`.
pub struct Proc {
    root: PathBuf,
    top: usize,
    known: HashMap<u32, Known>,
    round: u64,
    errors: u64,
    drops: u64,
    error: Option<String>,
}

/// What is remembered of a process.
struct Known {
    start_ns: u64,
    time_ns: u64,
    seen: u64,
}

/// A process in this tick.
struct Process {
    info: Psinfo,
    used_ns: u64,
}

impl Ranked for Process {
    type Zone = i32;

    fn zone(&self) -> i32 {
        self.info.zoneid
    }
    fn pid(&self) -> u32 {
        self.info.pid
    }
    fn used(&self) -> u64 {
        self.used_ns
    }
    fn rss(&self) -> u64 {
        self.info.rssize
    }
}

impl Proc {
    /// Of the processes below `root`, which is `/` on a live system; `top` rows of each zone by CPU time, and as many by
    /// memory.
    pub fn below(root: &Path, top: usize) -> Self {
        Proc {
            root: root.join("proc"),
            top: top.min(MAX_TOP),
            known: HashMap::new(),
            round: 0,
            errors: 0,
            drops: 0,
            error: None,
        }
    }

    fn fail(&mut self, error: String) {
        self.errors += 1;
        self.error = Some(error);
    }

    /// A file of a process. `None` where the process has ended, or where we may not read it.
    fn read<T, const BYTES: usize>(&mut self, pid: u32, file: &str, parse: fn(&[u8]) -> Option<T>) -> Option<T> {
        let path = self.root.join(pid.to_string()).join(file);
        match read_start::<BYTES>(&path) {
            Ok((_, 0)) => None,
            Ok((bytes, length)) => {
                let parsed = parse(&bytes[..length]);
                if parsed.is_none() {
                    self.fail(format!("{} has {length} bytes, not {BYTES}", path.display()));
                }
                parsed
            }
            Err(error) if is_absent(&error) => None,
            Err(error) => {
                self.fail(format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// Looks at every process. `None` where they cannot be listed.
    fn call(&mut self) -> Option<Vec<Process>> {
        self.round += 1;
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) => {
                self.fail(format!("cannot list {}: {error}", self.root.display()));
                return None;
            }
        };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut processes = Vec::new();
        for pid in pids {
            if let Some(info) = self.read::<_, PSINFO_BYTES>(pid, "psinfo", Psinfo::parse) {
                let used_ns = self.since_last(&info);
                processes.push(Process { info, used_ns });
            }
        }
        self.known.retain(|_, known| known.seen == self.round);
        Some(processes)
    }

    /// CPU time since the last tick, or since its start if that is later.
    fn since_last(&mut self, info: &Psinfo) -> u64 {
        let known = self.known.entry(info.pid).or_insert(Known { start_ns: info.start_ns, time_ns: 0, seen: 0 });
        if known.start_ns != info.start_ns {
            (known.start_ns, known.time_ns) = (info.start_ns, 0);
        }
        known.seen = self.round;
        info.time_ns.saturating_sub(std::mem::replace(&mut known.time_ns, info.time_ns))
    }

    /// The row of a process. `None` where it has ended since.
    fn row(&mut self, info: &Psinfo) -> Option<v1::Process> {
        let usage = self.read::<_, PRUSAGE_BYTES>(info.pid, "usage", Prusage::parse)?;
        Some(v1::Process {
            pid: info.pid.into(),
            start_time: info.start_ns,
            execname: info.fname.clone(),
            ppid: Some(info.ppid.into()),
            uid: Some(info.euid.into()),
            state: Some(info.sname.to_string()),
            threads: Some(info.nlwp.into()),
            nsec_user: Some(usage.utime_ns),
            nsec_sys: Some(usage.stime_ns.saturating_add(usage.ttime_ns)),
            nsec_waitrq: Some(usage.wtime_ns),
            rss: Some(info.rssize),
            vsize: Some(info.size),
            files: self.open_files(info.pid),
            minf: Some(usage.minf),
            majf: Some(usage.majf),
            inblk: Some(usage.inblk),
            oublk: Some(usage.oublk),
            ioch: Some(usage.ioch),
            ..v1::Process::default()
        })
    }

    fn open_files(&mut self, pid: u32) -> Option<u64> {
        let path = self.root.join(pid.to_string()).join("fd");
        match fs::read_dir(&path) {
            Ok(entries) => Some(entries.count() as u64),
            Err(error) if is_absent(&error) => None,
            Err(error) => {
                self.fail(format!("cannot list {}: {error}", path.display()));
                None
            }
        }
    }

    /// Puts counts and rows into the frames of their zones.
    fn fill(&mut self, processes: &[Process], sample: &mut Sample) -> [u64; 2] {
        let mut zones = Zones::of(sample);
        for zone in &zones.names {
            let none = v1::Pids { processes: Some(0), threads: Some(0), ..v1::Pids::default() };
            sample.zone(zone).frame.pids.get_or_insert(none);
        }
        let mut homeless = None;
        for Process { info, .. } in processes {
            let Some(zone) = zones.find(info.zoneid) else {
                self.drops += 1;
                homeless = Some(info.zoneid);
                continue;
            };
            let pids = sample.zone(zone).frame.pids.get_or_insert_default();
            pids.processes = Some(pids.processes.unwrap_or(0) + 1);
            pids.threads = Some(pids.threads.unwrap_or(0) + u64::from(info.nlwp));
        }
        let mut rows = 0;
        for at in largest(processes, self.top) {
            let info = &processes[at].info;
            let Some(zone) = zones.find(info.zoneid).filter(|_| !info.is_zombie()) else { continue };
            if let Some(row) = self.row(info) {
                sample.zone(zone).frame.process.push(row);
                rows += 1;
            }
        }
        if let Some(id) = homeless {
            self.error = Some(format!("processes of zone {id}, of which no kstat tells"));
        }
        [zones.names.len() as u64, rows]
    }

    fn report(&self, family: &str, duration_ns: u64, rows: u64) -> v1::Collect {
        v1::Collect {
            source: "proc".to_owned(),
            family: family.to_owned(),
            success: Some(u64::from(self.error.is_none())),
            duration: Some(duration_ns),
            rows: Some(rows),
            errors: Some(self.errors),
            drops: Some(self.drops),
            error: self.error.clone(),
        }
    }
}

impl Source for Proc {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn sample(&mut self, _: Tick, sample: &mut Sample) -> Result<(), End> {
        let started = Instant::now();
        self.error = None;
        let [pids, rows] = match self.call() {
            Some(processes) => self.fill(&processes, sample),
            None => [0, 0],
        };
        let duration_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        sample.collect.push(self.report("pids", duration_ns / 2, pids));
        sample.collect.push(self.report("process", duration_ns / 2, rows));
        Ok(())
    }
}

/// The zones of a sample by their ids.
struct Zones {
    names: Vec<ZoneName>,
    by_id: HashMap<u64, usize>,
}

impl Zones {
    fn of(sample: &Sample) -> Self {
        let names = sample.zones.keys().cloned().collect();
        let by_id = sample.zones.values().enumerate().map(|(at, zone)| (zone.zone.id, at)).collect();
        Zones { names, by_id }
    }

    fn find(&mut self, id: i32) -> Option<&ZoneName> {
        let id = u64::from(id.cast_unsigned());
        if id == 0 && !self.by_id.contains_key(&id) {
            self.by_id.insert(0, self.names.len());
            self.names.push(ZoneName::global());
        }
        self.by_id.get(&id).map(|at| &self.names[*at])
    }
}

/// The beginning of a file, and how much of it there is.
fn read_start<const BYTES: usize>(path: &Path) -> io::Result<([u8; BYTES], usize)> {
    let mut file = File::open(path)?;
    let mut bytes = [0; BYTES];
    let mut length = 0;
    while length < BYTES {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((bytes, length))
}

/// Whether what was asked for has ended, or is none of our business.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

/// Resident memory of this process, bytes.
pub fn own_rss() -> Option<u64> {
    let (bytes, length) = read_start::<PSINFO_BYTES>(Path::new("/proc/self/psinfo")).ok()?;
    Psinfo::parse(&bytes[..length]).map(|info| info.rssize)
}

#[cfg(test)]
mod tests {
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
        let usage =
            Prusage { utime_ns: 5, stime_ns: 6, ttime_ns: 7, wtime_ns: 8, ioch: 9, majf: 10, ..Prusage::default() };
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
}
