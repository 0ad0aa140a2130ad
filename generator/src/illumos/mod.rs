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
mod tests;
