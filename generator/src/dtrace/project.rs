//! Rows of the built-in programs into families. Pure: rows in, frames out.
//!
//! A tick may find no whole interval of a program, or two: dtrace's seconds and ours are not in step. Two are added up;
//! where there is none, the families are absent, which is not zero. [`v1::OnCpu::ticks`] counts the samples that were
//! really taken, so that shares of a CPU come out right in either case.

use std::collections::{BTreeMap, BTreeSet};

use zonescope_proto::limits::{MAX_BUCKETS, MAX_LABELS, MAX_ROWS, MAX_TEXT_BYTES};
use zonescope_proto::{ZoneName, v1};

use super::gather::{Owner, Row};
use super::mailbox::cut;
use super::options::ZoneOfPid;
use super::table::Bucket;
use crate::source::Sample;

/// What came of some rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Projected {
    /// Rows in the sample.
    pub rows: u64,
    /// Rows over a limit of the contract.
    pub drops: u64,
}

/// Finds zones, each process once.
pub struct Zones<'a> {
    zone_of_pid: &'a ZoneOfPid,
    known: BTreeMap<u64, ZoneName>,
}

impl<'a> Zones<'a> {
    /// Asks `zone_of_pid` for processes.
    pub fn new(zone_of_pid: &'a ZoneOfPid) -> Self {
        Zones { zone_of_pid, known: BTreeMap::new() }
    }

    /// The zone of `owner`.
    pub fn of(&mut self, owner: &Owner) -> ZoneName {
        match owner {
            Owner::Zone(zone) => zone.clone(),
            Owner::Process(pid) => self.known.entry(*pid).or_insert_with(|| self.zone_of_pid.of(*pid)).clone(),
        }
    }
}

#[derive(Default)]
struct OnCpu {
    processes: BTreeSet<u64>,
    threads: BTreeSet<(u64, u64)>,
    cores: BTreeMap<u64, u64>,
    by_process: BTreeMap<(u64, String, u64), u64>,
}

/// What tells distributions apart: name, unit, labels.
type Series = (String, String, Vec<(String, String)>);

#[derive(Default)]
struct Zone {
    oncpu: OnCpu,
    events: BTreeMap<(String, String), (u64, Option<u64>)>,
    distributions: BTreeMap<Series, BTreeMap<(i64, i64), u64>>,
}

/// Puts `rows` into `sample`.
pub fn project(rows: Vec<Row>, zones: &mut Zones<'_>, sample: &mut Sample) -> Projected {
    let (folded, ticks) = fold(rows, zones);
    let mut projected = Projected::default();
    if ticks > 0 {
        // Of a zone that was sampled and never seen on a CPU we know that it was not.
        for known in sample.zones.values_mut() {
            known.frame.oncpu = Some(v1::OnCpu { ticks: Some(ticks), processes: Some(0), threads: Some(0) });
        }
    }
    for (name, zone) in folded {
        let frame = &mut sample.zone(&name).frame;
        put_oncpu(zone.oncpu, ticks, frame, &mut projected);
        put_events(zone.events, frame, &mut projected);
        put_distributions(zone.distributions, frame, &mut projected);
    }
    projected
}

fn fold(rows: Vec<Row>, zones: &mut Zones<'_>) -> (BTreeMap<ZoneName, Zone>, u64) {
    let (mut folded, mut ticks) = (BTreeMap::<ZoneName, Zone>::new(), 0u64);
    for row in rows {
        match row {
            Row::Ticks(count) => ticks = ticks.saturating_add(count),
            Row::OnCpu { samples, owner, core, pid, tid, execname } => {
                let oncpu = &mut folded.entry(zones.of(&owner)).or_default().oncpu;
                oncpu.processes.insert(pid);
                oncpu.threads.insert((pid, tid));
                add(oncpu.cores.entry(core).or_default(), samples);
                add(oncpu.by_process.entry((pid, execname, core)).or_default(), samples);
            }
            Row::Event { event, count, bytes, owner, detail } => {
                let events = &mut folded.entry(zones.of(&owner)).or_default().events;
                let known = events.entry((event, detail)).or_default();
                known.0 = known.0.saturating_add(count);
                known.1 = bytes.map(|more| known.1.unwrap_or(0).saturating_add(more)).or(known.1);
            }
            Row::Distribution { name, unit, owner, labels, buckets } => {
                let distributions = &mut folded.entry(zones.of(&owner)).or_default().distributions;
                add_buckets(distributions.entry((name, unit, labels)).or_default(), &buckets);
            }
            Row::Printed { .. } | Row::PrintedTable { .. } => {}
        }
    }
    (folded, ticks)
}

/// Adds the counts of the same buckets.
pub fn add_buckets(sum: &mut BTreeMap<(i64, i64), u64>, buckets: &[Bucket]) {
    for bucket in buckets {
        add(sum.entry((bucket.lower, bucket.upper)).or_default(), bucket.count);
    }
}

/// Numbers are what a program printed: any.
fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

fn put_oncpu(oncpu: OnCpu, ticks: u64, frame: &mut v1::Frame, projected: &mut Projected) {
    if oncpu.cores.is_empty() {
        return;
    }
    frame.oncpu = Some(v1::OnCpu {
        ticks: (ticks > 0).then_some(ticks),
        processes: Some(oncpu.processes.len() as u64),
        threads: Some(oncpu.threads.len() as u64),
    });
    projected.rows += 1;
    let cores = oncpu.cores.into_iter().map(|(core, samples)| v1::OnCpuCore { core, samples: Some(samples) }).collect();
    put(cores, &mut frame.oncpu_core, projected);
    let mut processes: Vec<v1::OnCpuProcess> = oncpu
        .by_process
        .into_iter()
        .map(|((pid, execname, core), samples)| v1::OnCpuProcess {
            pid,
            execname: cut(&execname, MAX_TEXT_BYTES).to_owned(),
            core,
            samples: Some(samples),
        })
        .collect();
    // Should they be too many, the busiest stay.
    processes.sort_by_key(|process| std::cmp::Reverse(process.samples));
    put(processes, &mut frame.oncpu_process, projected);
}

fn put_events(
    events: BTreeMap<(String, String), (u64, Option<u64>)>,
    frame: &mut v1::Frame,
    projected: &mut Projected,
) {
    let event = |((event, detail), (count, bytes)): ((String, String), (u64, Option<u64>))| v1::Event {
        event: cut(&event, MAX_TEXT_BYTES).to_owned(),
        detail: cut(&detail, MAX_TEXT_BYTES).to_owned(),
        count: Some(count),
        bytes,
    };
    put(events.into_iter().map(event).collect(), &mut frame.event, projected);
}

fn put_distributions(
    all: BTreeMap<Series, BTreeMap<(i64, i64), u64>>,
    frame: &mut v1::Frame,
    projected: &mut Projected,
) {
    let made = all.into_iter().map(|((name, unit, labels), buckets)| distribution(&name, &unit, labels, &buckets));
    put(made.collect(), &mut frame.distribution, projected);
}

/// A distribution of the contract, within its limits.
pub fn distribution(
    name: &str,
    unit: &str,
    labels: Vec<(String, String)>,
    buckets: &BTreeMap<(i64, i64), u64>,
) -> v1::Distribution {
    let bounds = || buckets.iter().take(MAX_BUCKETS);
    v1::Distribution {
        name: cut(name, MAX_TEXT_BYTES).to_owned(),
        labels: labels.into_iter().take(MAX_LABELS).map(|(name, value)| label(&name, &value)).collect(),
        unit: cut(unit, MAX_TEXT_BYTES).to_owned(),
        lower: bounds().map(|((lower, _), _)| *lower).collect(),
        upper: bounds().map(|((_, upper), _)| *upper).collect(),
        count: bounds().map(|(_, count)| *count).collect(),
    }
}

/// A label, cut where it is too long.
pub fn label(name: &str, value: &str) -> v1::Label {
    v1::Label { name: name.to_owned(), value: cut(value, MAX_TEXT_BYTES).to_owned() }
}

/// Adds rows to a family, as many as a frame may hold.
pub fn put<T>(mut rows: Vec<T>, family: &mut Vec<T>, projected: &mut Projected) {
    let room = MAX_ROWS.saturating_sub(family.len());
    projected.drops += rows.len().saturating_sub(room) as u64;
    rows.truncate(room);
    projected.rows += rows.len() as u64;
    family.append(&mut rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> ZoneName {
        ZoneName::new(name).unwrap()
    }

    fn on_cpu(owner: Owner, core: u64, pid: u64, tid: u64, samples: u64) -> Row {
        Row::OnCpu { samples, owner, core, pid, tid, execname: "postgres".to_owned() }
    }

    #[test]
    fn samples_become_rows_of_the_zone_its_cores_and_its_processes() {
        let (db, resolve) = (Owner::Zone(zone("db")), ZoneOfPid::default());
        let rows = vec![
            on_cpu(db.clone(), 0, 7, 1, 10),
            on_cpu(db.clone(), 0, 7, 2, 5),
            on_cpu(db.clone(), 1, 7, 1, 2),
            on_cpu(db, 1, 8, 1, 90),
            Row::Ticks(97),
        ];
        let mut sample = Sample::default();
        sample.zone(&zone("idle"));
        let projected = project(rows, &mut Zones::new(&resolve), &mut sample);
        let frame = &sample.zones[&zone("db")].frame;
        assert_eq!(frame.oncpu, Some(v1::OnCpu { ticks: Some(97), processes: Some(2), threads: Some(3) }));
        let cores: Vec<_> = frame.oncpu_core.iter().map(|row| (row.core, row.samples)).collect();
        assert_eq!(cores, [(0, Some(15)), (1, Some(92))]);
        let busiest = &frame.oncpu_process[0];
        assert_eq!((busiest.pid, busiest.core, busiest.samples), (8, 1, Some(90)));
        assert_eq!((frame.oncpu_process.len(), projected.rows), (3, 6));
        let idle = sample.zones[&zone("idle")].frame.oncpu;
        assert_eq!(idle, Some(v1::OnCpu { ticks: Some(97), processes: Some(0), threads: Some(0) }));
    }

    #[test]
    fn two_intervals_in_one_tick_are_added_up() {
        let bucket = |count| vec![Bucket { lower: 0, upper: 10, count }];
        let latency = |count| Row::Distribution {
            name: "disk_latency".to_owned(),
            unit: "ns".to_owned(),
            owner: Owner::Zone(ZoneName::global()),
            labels: vec![("device".to_owned(), "sd1".to_owned())],
            buckets: bucket(count),
        };
        let event = |count, bytes| Row::Event {
            event: "io".to_owned(),
            count,
            bytes,
            owner: Owner::Zone(ZoneName::global()),
            detail: "sd1".to_owned(),
        };
        let (mut sample, resolve) = (Sample::default(), ZoneOfPid::default());
        let rows = vec![latency(3), event(1, Some(512)), latency(4), event(2, Some(1024))];
        project(rows, &mut Zones::new(&resolve), &mut sample);
        let frame = &sample.zones[&ZoneName::global()].frame;
        assert_eq!((frame.distribution.len(), frame.distribution[0].count.as_slice()), (1, &[7][..]));
        assert_eq!((frame.event[0].count, frame.event[0].bytes), (Some(3), Some(1536)));
        assert_eq!(frame.oncpu, None, "nothing was sampled: absent, not zero");
    }

    #[test]
    fn a_process_is_asked_for_its_zone_once() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let resolve = ZoneOfPid::new(|pid| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            (pid == 7).then(|| ZoneName::lossy("web1"))
        });
        let mut sample = Sample::default();
        let rows = vec![
            on_cpu(Owner::Process(7), 0, 7, 1, 1),
            on_cpu(Owner::Process(7), 1, 7, 1, 1),
            on_cpu(Owner::Process(9), 0, 9, 1, 1),
        ];
        project(rows, &mut Zones::new(&resolve), &mut sample);
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
        assert!(sample.zones.contains_key(&zone("web1")) && sample.zones.contains_key(&ZoneName::global()));
    }

    #[test]
    fn what_a_program_prints_gives_a_frame_that_can_be_read_whatever_it_is() {
        let owner = || Owner::Zone(zone("db"));
        let long = |pid| Row::OnCpu {
            samples: u64::MAX,
            owner: owner(),
            core: 0,
            pid,
            tid: 1,
            execname: "\u{fffd}".repeat(MAX_TEXT_BYTES),
        };
        let full = || Row::Distribution {
            name: "read".to_owned(),
            unit: "ns".to_owned(),
            owner: owner(),
            labels: Vec::new(),
            buckets: vec![Bucket { lower: 0, upper: 1, count: u64::MAX }],
        };
        let rows = vec![long(1), long(2), Row::Ticks(u64::MAX), Row::Ticks(1), full(), full()];
        let (mut sample, resolve) = (Sample::default(), ZoneOfPid::default());
        project(rows, &mut Zones::new(&resolve), &mut sample);
        let zone = sample.zones.remove(&zone("db")).unwrap();
        assert_eq!(zone.frame.oncpu_core[0].samples, Some(u64::MAX));
        let identity = zonescope_link::Identity { host_id: "h1".into(), host: "h1".into(), epoch: 1 };
        let mut frame = zone.frame;
        let (_, bytes) =
            zonescope_link::publish::Sealer::new(identity).seal(Some(zone.zone), &mut frame, 1, 1000).unwrap();
        assert_eq!(zonescope_proto::decode(&bytes), Ok(*frame));
    }

    #[test]
    fn a_family_keeps_the_limit_of_the_contract() {
        let rows = (0..5000).map(|pid| on_cpu(Owner::Zone(zone("db")), 0, pid, pid, pid)).collect();
        let (mut sample, resolve) = (Sample::default(), ZoneOfPid::default());
        let projected = project(rows, &mut Zones::new(&resolve), &mut sample);
        let frame = &sample.zones[&zone("db")].frame;
        assert_eq!((frame.oncpu_process.len(), projected.drops), (MAX_ROWS, 5000 - MAX_ROWS as u64));
        assert_eq!(frame.oncpu_process[0].samples, Some(4999), "the busiest stay");
    }
}
