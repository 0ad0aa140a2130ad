//! The source `linux`: what every container, VM and service of a Linux host uses, read from procfs and cgroupfs.
//!
//! # Zones
//! A zone is a cgroup that a person has a name for: a container of docker, podman, containerd, cri-o or LXC, a
//! VM of libvirt, a pod, a service, slice or session of systemd; any other cgroup goes by the end of its path.
//! `global` is the host. Groups inside a container belong to it. Slices and pods contain zones, and the kernel
//! counts for them what it counts for those: sums are taken over one level, never over all zones. v1, v2 and
//! both beside each other ([`hierarchy`]) give the same fields; what one of them lacks is absent, never 0.
//!
//! # A tick
//! 1. [`discover`] walks the hierarchies: new groups get their names, vanished ones are forgotten.
//! 2. Each family, one small file each in [`STEPS`], reads its files for the host and every zone.
//! 3. The frames move into the sample, and how each family fared with them.
//!
//! Reading ([`files`]), normalising ([`parse`]) and projecting (the tables of the families) are apart: a
//! projection is a pure function from text to a row, and all of it runs the same on a live system, on a
//! directory tree copied from another machine, and on a recording ([`record`]).
//!
//! # Processes
//! One pass over /proc a tick ([`roster`]) tells each process's zone and what it used since the last tick. The
//! costly files are read for the few that are reported. A process is reported once, by the innermost zone that
//! it is in; `global` reports those in none. It is counted by every zone around it.
//!
//! # Network
//! Counters belong to a network namespace, not to a cgroup. A zone has rows if its oldest process lives in
//! another namespace than the generator, which must run in the host's. A zone on the host's network has none: the
//! host's numbers are the host's. The containers of a pod share its namespace: the pod has the rows.
//!
//! # Cost
//! Opening is dearer than reading, so files are kept open (bounded, [`live`]); text is parsed as bytes in one
//! buffer. Limits are in [`limits`].
//!
//! # Failing
//! [`reader`] decides: vanished is absent, unreadable is an error of the family, and nothing else is disturbed.
//! What the kernel refuses by policy, a protected process's files, is absent: it is not known, and will not be.

mod core;
mod cpu;
mod cputime;
mod discover;
mod disk;
mod files;
mod hierarchy;
mod host;
mod host_memory;
mod identify;
mod limits;
mod live;
mod memory;
mod mib;
mod naming;
mod net;
mod parse;
mod pids;
mod pressure;
mod process;
mod reader;
mod record;
mod roster;
mod runtime;
mod stat;
mod zfs;
mod zone;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use zonescope_link::clock::Clock;
use zonescope_proto::{ZoneName, v1};

pub use files::{Facts, Files, Names, Node, Text};
pub use host::{Identity, identity};
pub use live::Live;
pub use record::{Bytes, Content, Record, Recorded, Recorder};

use crate::source::{End, Sample, Source, Tick, ZoneSample};
use cputime::Splits;
use discover::Discovery;
use net::Speeds;
use reader::{Reader, Score, since_ns};
use roster::Roster;
use zone::Zone;

const NAME: &str = "linux";

/// What a user may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Processes reported of each zone by CPU time, and as many by memory.
    pub top_processes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { top_processes: 10 }
    }
}

/// The source `linux`.
pub struct Linux<F> {
    files: F,
    options: Options,
    discovery: Discovery,
    roster: Roster,
    speeds: Speeds,
    splits: Splits,
    boot_time_ns: u64,
    zones_score: Score,
    scores: Vec<Vec<Score>>,
    residents: Residents,
}

/// Which zone each process lived in at the last tick: for sources that know processes and no zones. Cheap to clone;
/// kept up only while somebody has a clone.
#[derive(Debug, Clone, Default)]
pub struct Residents(Arc<RwLock<HashMap<u64, ZoneName>>>);

impl Residents {
    /// The zone of a process; `None` where it is in none, or not known yet.
    pub fn zone_of(&self, pid: u64) -> Option<ZoneName> {
        self.0.read().ok()?.get(&pid).cloned()
    }

    fn update(&self, roster: &Roster, zones: &[Zone<'_>]) {
        if Arc::strong_count(&self.0) < 2 {
            return;
        }
        let Ok(mut residents) = self.0.write() else { return };
        residents.clear();
        let in_zones = roster.processes.iter().filter_map(|p| Some((u64::from(p.pid), zones.get(p.zone?)?)));
        residents.extend(in_zones.map(|(pid, zone)| (pid, zone.group.name.clone())));
    }
}

/// What the families of one tick work on.
struct Pass<'a> {
    reader: Reader<'a>,
    /// The host's frame.
    host: v1::Frame,
    host_census: zone::Census,
    zones: Vec<Zone<'a>>,
    places: zone::Places<'a>,
    roster: &'a mut Roster,
    speeds: &'a mut Speeds,
    splits: &'a mut Splits,
    /// When the host started; fixed at the first tick, since the kernel moves it when the clock is set and a
    /// process's identity must not follow.
    boot_time_ns: u64,
    top: usize,
}

/// A family, and how many rows of it a frame has.
type Counted = (&'static str, fn(&v1::Frame) -> usize);

/// Families that are read from the same files, and what reads them.
struct Step {
    families: &'static [Counted],
    read: fn(&mut Pass<'_>),
}

/// Every family. The processes come first: they tell who lives in which zone, and in which network.
const STEPS: [Step; 9] = [
    Step { families: &[("process", |f| f.process.len())], read: process::read },
    Step { families: &[("pids", |f| one(f.pids.as_ref()))], read: pids::read },
    Step { families: &[("cpu", |f| one(f.cpu.as_ref())), ("core", |f| f.core.len())], read: cpu::read },
    Step {
        families: &[("memory", |f| one(f.memory.as_ref())), ("host_memory", |f| one(f.host_memory.as_ref()))],
        read: memory::read,
    },
    Step { families: &[("pressure", |f| one(f.pressure.as_ref()))], read: pressure::read },
    Step { families: &[("disk", |f| f.disk.len())], read: disk::read },
    Step { families: &[("net", |f| f.net.len())], read: net::read },
    Step {
        families: &[("tcp", |f| one(f.tcp.as_ref())), ("udp", |f| one(f.udp.as_ref())), ("ip", |f| one(f.ip.as_ref()))],
        read: mib::read,
    },
    Step { families: &[("arc", |f| one(f.arc.as_ref())), ("zpool", |f| f.zpool.len())], read: zfs::read },
];

fn one<R>(row: Option<&R>) -> usize {
    usize::from(row.is_some())
}

impl Linux<Live> {
    /// Watches the system under `root`; `/` is this one.
    pub fn new(root: &str, clock: Arc<dyn Clock>, options: Options) -> Self {
        Linux::with(Live::new(root, clock), options)
    }
}

impl<F: Files> Linux<F> {
    /// Watches what `files` reads.
    pub fn with(files: F, options: Options) -> Self {
        let scores = STEPS.iter().map(|step| step.families.iter().map(|(name, _)| Score::new(name)).collect());
        Linux {
            files,
            options: Options { top_processes: options.top_processes.min(limits::MAX_TOP) },
            discovery: Discovery::default(),
            roster: Roster::default(),
            speeds: Speeds::default(),
            splits: Splits::default(),
            boot_time_ns: 0,
            zones_score: Score::new("zones"),
            scores: scores.collect(),
            residents: Residents::default(),
        }
    }

    /// Where processes live, kept up at every tick from now on.
    pub fn residents(&self) -> Residents {
        self.residents.clone()
    }

    /// What it reads: a [`Recorder`] is asked here for its record after each tick, a [`Recorded`] is given the
    /// next before.
    pub fn files(&mut self) -> &mut F {
        &mut self.files
    }

    fn read(&mut self, tick: Tick, collect: &mut Vec<v1::Collect>) -> (Vec<(ZoneName, ZoneSample)>, v1::Frame) {
        self.files.begin(tick);
        let mut reader = Reader::new(&mut self.files, tick);
        let start = Instant::now();
        self.discovery.scan(reader.files, &mut reader.text, &mut reader.tally);
        let (zones, places) = zone::zones(&self.discovery);
        collect.push(self.zones_score.report(&reader.tally, since_ns(start), zones.len() + 1));
        if self.boot_time_ns == 0 {
            self.boot_time_ns = reader.boot_time_ns();
        }
        let mut pass = Pass {
            reader,
            host: v1::Frame::default(),
            host_census: zone::Census::default(),
            zones,
            places,
            roster: &mut self.roster,
            speeds: &mut self.speeds,
            splits: &mut self.splits,
            boot_time_ns: self.boot_time_ns,
            top: self.options.top_processes,
        };
        for (step, scores) in STEPS.iter().zip(&mut self.scores) {
            pass.reader.tally = reader::Tally::default();
            let start = Instant::now();
            (step.read)(&mut pass);
            pass.report(step, scores, since_ns(start), collect);
        }
        self.residents.update(pass.roster, &pass.zones);
        (pass.zones.into_iter().map(sample_of).collect(), pass.host)
    }
}

impl Pass<'_> {
    /// Reports a step: each of its families with its share of the time.
    fn report(&self, step: &Step, scores: &mut [Score], duration_ns: u64, collect: &mut Vec<v1::Collect>) {
        let share = duration_ns / step.families.len().max(1) as u64;
        for ((_, count), score) in step.families.iter().zip(scores) {
            let rows = count(&self.host) + self.zones.iter().map(|zone| count(&zone.frame)).sum::<usize>();
            collect.push(score.report(&self.reader.tally, share, rows));
        }
    }
}

fn sample_of(zone: Zone<'_>) -> (ZoneName, ZoneSample) {
    let described = v1::Zone {
        name: zone.group.name.to_string(),
        id: zone.group.inode,
        brand: zone.group.brand.to_owned(),
        uuid: zone.group.uuid.clone(),
        ..v1::Zone::default()
    };
    (zone.group.name.clone(), ZoneSample { zone: described, frame: Box::new(zone.frame) })
}

impl<F: Files> Source for Linux<F> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sample(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), End> {
        let (zones, host) = self.read(tick, &mut sample.collect);
        let global = sample.zone(&ZoneName::global());
        global.zone.brand = "host".to_owned();
        global.zone.boot_time = self.boot_time_ns;
        *global.frame = host;
        sample.zones.extend(zones);
        Ok(())
    }
}
