//! Utilization, saturation and errors of each resource of a zone: the USE method (Brendan Gregg), made of two
//! frames. The view `use` in SQL, the Redis collector and the live table are all made here.
//!
//! | resource | | illumos zone | Linux container, service, VM |
//! |---|---|---|---|
//! | cpu | utilization | d(nsec_user + nsec_sys) / dt / capacity | the same |
//! | | capacity | cpucaps value / 100 if capped, else the host's CPUs | quota / period if set, else the host's CPUs |
//! | | saturation | d(nsec_waitrq) / dt: threads waiting, on average | PSI cpu `some`: share of time |
//! | | throttled | nwait: threads the cap holds back | d(throttled_usec) / dt |
//! | | errors | d(forkfail_*) | d(pids.events max) |
//! | memory | utilization | rss / physcap, else physical memory | (memory.current - inactive_file) / memory.max, else MemTotal |
//! | | saturation | d(anonpgin), else d(pgpgin): pages per second | PSI memory `some`; without PSI major faults per second |
//! | | throttled | d(n_pf_throttle_usec) / dt | |
//! | | errors | d(anon_alloc_fail) + d(nover) | d(oom_kill) + d(events max) |
//! | disk | utilization | zone: share of time with a read or a write under way (zone_vfs); host: the busiest disk | zone: PSI io `full`, a lower bound; host: the busiest disk |
//! | | saturation | operations under way, on average | zone: PSI io `some`; host: operations under way |
//! | | throttled | d(delay_time) / dt: the ZFS I/O throttle, for other zones' sake | |
//! | | errors | d(hard + soft + transport errors), host | |
//! | net | utilization | the busiest link: max(d rbytes64, d obytes64) x 8 / dt / ifspeed | the same |
//! | | saturation | d(norcvbuf + noxmtbuf + listenDrop + listenDropQ0 + retransSegs) per second | d(rx_dropped + tx_dropped + ListenDrops + RetransSegs) |
//! | | errors | d(ierrors + oerrors) per second | the same |
//!
//! What the platform does not say is `None`, never zero. Traps that are handled here:
//!  * in zone_vfs r* are reads and w* are writes, there is no waiting time in it (`kstat_runq_enter` in fop_read,
//!    `kstat_waitq_enter` in fop_write, illumos-joyent uts/common/fs/vnode.c);
//!  * a cap of 18446744073709551615 is no cap;
//!  * rss of the global zone is 0 on newer SmartOS (illumos-joyent#51): there the host's own memory counts.

mod reads;

use std::collections::HashMap;

pub use self::reads::READS;

use crate::families::Family;
use crate::rate::{Identity, delta};
use crate::v1;

/// What a zone uses, waits for and fails at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// File systems and disks.
    Disk,
    /// Network links and TCP.
    Net,
}

impl Resource {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Resource; 4] = [Resource::Cpu, Resource::Memory, Resource::Disk, Resource::Net];

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Disk => "disk",
            Resource::Net => "net",
        }
    }
}

/// One row of the view `use`, less its host, zone and time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Of what.
    pub resource: Resource,
    /// Busy share of the capacity, 0 to 1; more where a cap can be burst.
    pub utilization: Option<f64>,
    /// Work that had to wait, in [`Usage::saturation_unit`].
    pub saturation: Option<f64>,
    /// `threads`, `share of time`, `pages/s`, `faults/s`, `operations` or `events/s`; empty where saturation is not known.
    pub saturation_unit: &'static str,
    /// Failures per second.
    pub errors: Option<f64>,
    /// The zone's own limit: CPUs, or bytes of memory. `None` where it has none.
    pub cap: Option<f64>,
    /// Held back by a cap or throttle: seconds of waiting per second, summed over threads.
    pub throttled: Option<f64>,
}

impl Usage {
    fn unknown(resource: Resource) -> Self {
        Usage {
            resource,
            utilization: None,
            saturation: None,
            saturation_unit: "",
            errors: None,
            cap: None,
            throttled: None,
        }
    }
}

/// The usage of every resource between two frames of one zone. Without a previous frame only what needs no
/// difference is known.
pub fn usage(previous: Option<&v1::Frame>, current: &v1::Frame) -> [Usage; 4] {
    let pair = Pair::new(previous, current);
    [cpu(&pair), memory(&pair), disk(&pair), net(&pair)]
}

/// Two frames of one zone.
struct Pair<'a> {
    previous: Option<&'a v1::Frame>,
    current: &'a v1::Frame,
    /// From one tick to the other.
    dt: i64,
    identity: Identity,
}

/// Two rows of one family, and what is between them.
struct Rows<'a, F> {
    previous: &'a F,
    current: &'a F,
    dt: f64,
    identity: Identity,
}

/// A counter of a family.
type Get<F> = fn(&F) -> Option<u64>;

impl<F> Rows<'_, F> {
    /// Growth of one counter, `bits` wide.
    fn delta_of(&self, bits: u32, get: Get<F>) -> Option<f64> {
        Some(delta(get(self.previous)?, get(self.current)?, bits, self.identity) as f64)
    }

    /// Growth of the sum of those counters that are known.
    fn delta(&self, counters: &[Get<F>]) -> Option<f64> {
        self.delta_bits(64, counters)
    }

    fn delta_bits(&self, bits: u32, counters: &[Get<F>]) -> Option<f64> {
        sum(counters.iter().map(|get| self.delta_of(bits, *get)))
    }

    /// The same per second.
    fn per_second(&self, counters: &[Get<F>]) -> Option<f64> {
        Some(self.delta(counters)? * 1e9 / self.dt)
    }

    fn per_second_bits(&self, bits: u32, counters: &[Get<F>]) -> Option<f64> {
        Some(self.delta_bits(bits, counters)? * 1e9 / self.dt)
    }
}

/// The sum of what is known; `None` where nothing is.
fn sum(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    values.into_iter().flatten().fold(None, |sum, v| Some(sum.unwrap_or(0.0) + v))
}

/// The largest of what is known; `None` where nothing is.
fn max(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    values.into_iter().flatten().fold(None, |max: Option<f64>, v| Some(max.map_or(v, |m| m.max(v))))
}

impl<'a> Pair<'a> {
    fn new(previous: Option<&'a v1::Frame>, current: &'a v1::Frame) -> Self {
        let time = |f: &v1::Frame| f.header.as_ref().map_or(0, |h| h.time.cast_signed());
        let dt = previous.map_or(0, |p| time(current) - time(p));
        let instance = |f: &v1::Frame| f.header.as_ref().and_then(|h| h.zone.as_ref()).map(|z| (z.id, z.boot_time));
        let identity = match previous.and_then(instance).zip(instance(current)) {
            Some((a, b)) if a != b => Identity::Changed,
            _ => Identity::Unknown,
        };
        Pair { previous: previous.filter(|_| dt > 0), current, dt, identity }
    }

    /// Two rows of a family that is there once.
    fn one<F: Family>(&self, get: fn(&v1::Frame) -> Option<&F>, stamps: Stamps<F>) -> Option<Rows<'a, F>> {
        self.rows(get(self.previous?)?, get(self.current)?, stamps)
    }

    /// Pairs of rows of a family that is there many times, matched by label.
    fn many<F: Family>(
        &self,
        get: fn(&v1::Frame) -> &[F],
        label: fn(&F) -> &str,
        stamps: Stamps<F>,
    ) -> Vec<Rows<'a, F>> {
        let Some(previous) = self.previous else { return Vec::new() };
        get(self.current)
            .iter()
            .filter_map(|row| {
                let before = get(previous).iter().find(|p| label(p) == label(row))?;
                self.rows(before, row, stamps)
            })
            .collect()
    }

    fn rows<F>(&self, previous: &'a F, current: &'a F, stamps: Stamps<F>) -> Option<Rows<'a, F>> {
        let ((crtime_before, snap_before), (crtime, snap)) = (stamps(previous), stamps(current));
        // Each row is a little later than its tick; without its own time the tick's has to do.
        let dt = self.dt + snap.zip(snap_before).map_or(0, |(now, then)| now.saturating_sub(then));
        let identity = Identity::of(crtime_before, crtime).and(self.identity);
        (dt > 0).then_some(Rows { previous, current, dt: dt as f64, identity })
    }
}

/// Creation time and reading time of a row.
type Stamps<F> = fn(&F) -> (Option<u64>, Option<i64>);

/// A limit that is one.
fn cap(value: Option<u64>) -> Option<f64> {
    value.filter(|v| *v != u64::MAX && *v != 0).map(|v| v as f64)
}

fn pressure<'a>(pair: &Pair<'a>) -> Option<Rows<'a, v1::Pressure>> {
    pair.one(|f| f.pressure.as_ref(), |p| (None, p.snaptime))
}

/// Share of time, of a counter of microseconds.
fn share(rows: Option<&Rows<'_, v1::Pressure>>, get: Get<v1::Pressure>) -> Option<f64> {
    rows.and_then(|r| Some(r.delta_of(64, get)? * 1e3 / r.dt))
}

/// The first that is known, with its unit.
fn first<const N: usize>(choices: [(Option<f64>, &'static str); N]) -> (Option<f64>, &'static str) {
    choices.into_iter().find(|(value, _)| value.is_some()).unwrap_or((None, ""))
}

fn cpu(pair: &Pair<'_>) -> Usage {
    let Some(cpu) = &pair.current.cpu else { return Usage::unknown(Resource::Cpu) };
    let caps = pair.current.cpucaps.as_ref();
    let quota = cap(cpu.quota_usec).zip(cap(cpu.period_usec)).map(|(quota, period)| quota / period);
    let cap = cap(caps.and_then(|c| c.value)).map(|percent| percent / 100.0).or(quota);
    let capacity = cap.or(cpu.ncpus.filter(|n| *n > 0).map(|n| n as f64));

    let rows = pair.one(|f| f.cpu.as_ref(), |c| (c.crtime, c.snaptime));
    let rows = rows.as_ref();
    let busy = rows.and_then(|r| Some(r.delta(&[|c| c.nsec_user, |c| c.nsec_sys])? / r.dt));
    let waiting = rows.and_then(|r| Some(r.delta_of(64, |c| c.nsec_waitrq)? / r.dt));
    let (saturation, saturation_unit) =
        first([(share(pressure(pair).as_ref(), |p| p.cpu_some), "share of time"), (waiting, "threads")]);
    let forks = rows.and_then(|r| {
        r.per_second_bits(32, &[|c| c.forkfail_cap, |c| c.forkfail_noproc, |c| c.forkfail_nomem, |c| c.forkfail_misc])
    });
    let refused = pair.one(|f| f.pids.as_ref(), |_| (None, None)).and_then(|r| r.per_second(&[|p| p.events_max]));
    Usage {
        resource: Resource::Cpu,
        utilization: busy.zip(capacity).map(|(busy, capacity)| busy / capacity),
        saturation,
        saturation_unit,
        errors: sum([forks, refused]),
        cap,
        throttled: caps
            .and_then(|c| c.nwait)
            .map(|n| n as f64)
            .or(rows.and_then(|r| Some(r.delta_of(64, |c| c.throttled_usec)? * 1e3 / r.dt))),
    }
}

fn memory(pair: &Pair<'_>) -> Usage {
    let Some(memory) = &pair.current.memory else { return Usage::unknown(Resource::Memory) };
    let own_cap = cap(memory.physcap);
    let capacity = own_cap.or(cap(memory.physmem));
    let host = pair.current.host_memory.as_ref();
    let host_pages = host.and_then(|h| {
        let total = h.physmem.filter(|p| *p > 0)?;
        Some(total.saturating_sub(h.freemem?) as f64 / total as f64)
    });
    let used = match (memory.memory_current, memory.rss) {
        (Some(current), _) => Some(current.saturating_sub(memory.inactive_file.unwrap_or(0))),
        (None, rss) => rss.filter(|rss| *rss > 0 || host.is_none()),
    };
    let utilization = used.zip(capacity).map(|(used, capacity)| used as f64 / capacity).or(host_pages);

    let rows = pair.one(|f| f.memory.as_ref(), |m| (m.crtime, m.snaptime));
    let rows = rows.as_ref();
    let paged = rows.and_then(|r| r.per_second(&[|m| m.anonpgin]).or_else(|| r.per_second(&[|m| m.pgpgin])));
    let (saturation, saturation_unit) = first([
        (share(pressure(pair).as_ref(), |p| p.memory_some), "share of time"),
        (paged, "pages/s"),
        (rows.and_then(|r| r.per_second(&[|m| m.pgmajfault])), "faults/s"),
    ]);
    Usage {
        resource: Resource::Memory,
        utilization,
        saturation,
        saturation_unit,
        errors: rows
            .and_then(|r| r.per_second(&[|m| m.anon_alloc_fail, |m| m.nover, |m| m.oom_kill, |m| m.events_max])),
        cap: own_cap,
        throttled: rows.and_then(|r| Some(r.delta_of(64, |m| m.n_pf_throttle_usec)? * 1e3 / r.dt)),
    }
}

fn disk(pair: &Pair<'_>) -> Usage {
    let disks = pair.many(|f| &f.disk, |d| &d.device, |d| (d.crtime, d.snaptime));
    let vfs = pair.one(|f| f.zone_vfs.as_ref(), |v| (v.crtime, v.snaptime));
    let vfs = vfs.as_ref();
    let psi = pressure(pair);
    let psi = psi.as_ref();
    let errors = pair.many(|f| &f.disk_error, |e| &e.device, |e| (e.crtime, None));

    let utilization = max(disks.iter().map(|r| Some(r.delta_of(64, |d| d.rtime)? / r.dt)))
        .or_else(|| vfs.and_then(|r| Some(max([r.delta_of(64, |v| v.rtime), r.delta_of(64, |v| v.wtime)])? / r.dt)))
        .or_else(|| share(psi, |p| p.io_full));
    let (saturation, saturation_unit) = first([
        (sum(disks.iter().map(|r| Some(r.delta(&[|d| d.rlentime, |d| d.wlentime])? / r.dt))), "operations"),
        (vfs.and_then(|r| Some(r.delta(&[|v| v.rlentime, |v| v.wlentime])? / r.dt)), "operations"),
        (share(psi, |p| p.io_some), "share of time"),
    ]);
    Usage {
        resource: Resource::Disk,
        utilization,
        saturation,
        saturation_unit,
        errors: sum(errors
            .iter()
            .map(|r| r.per_second_bits(32, &[|e| e.hard_errors, |e| e.soft_errors, |e| e.transport_errors]))),
        cap: None,
        throttled: vfs.and_then(|r| Some(r.delta_of(64, |v| v.delay_time)? * 1e3 / r.dt)),
    }
}

fn net(pair: &Pair<'_>) -> Usage {
    let links = pair.many(|f| &f.net, |n| &n.link, |n| (n.crtime, n.snaptime));
    let tcp = pair.one(|f| f.tcp.as_ref(), |t| (t.crtime, t.snaptime));

    let utilization = max(links.iter().map(|r| {
        let speed = r.current.ifspeed.filter(|s| *s > 0)? as f64;
        Some(max([r.delta_of(64, |n| n.rbytes64), r.delta_of(64, |n| n.obytes64)])? * 8e9 / r.dt / speed)
    }));
    let dropped = sum(links.iter().map(|r| {
        sum([
            r.per_second_bits(32, &[|n| n.norcvbuf, |n| n.noxmtbuf]),
            r.per_second(&[|n| n.rx_dropped, |n| n.tx_dropped]),
        ])
    }));
    let tcp = tcp.and_then(|r| r.per_second_bits(32, &[|t| t.listen_drop, |t| t.listen_drop_q0, |t| t.retrans_segs]));
    let saturation = sum([dropped, tcp]);
    Usage {
        resource: Resource::Net,
        utilization,
        saturation,
        saturation_unit: if saturation.is_some() { "events/s" } else { "" },
        errors: sum(links.iter().map(|r| r.per_second_bits(32, &[|n| n.ierrors, |n| n.oerrors]))),
        cap: None,
        throttled: None,
    }
}

/// Remembers the last frame of every zone, to make usage of a stream of frames.
#[derive(Debug, Default)]
pub struct Tracker {
    last: HashMap<(String, String), v1::Frame>,
}

impl Tracker {
    /// The usage between the zone's previous frame and this one. `None` for host frames, and for a frame that is
    /// not later than the one before.
    pub fn observe(&mut self, frame: v1::Frame) -> Option<[Usage; 4]> {
        let header = frame.header.as_ref()?;
        let key = (header.host_id.clone(), header.zone.as_ref()?.name.clone());
        let previous = self.last.get(&key);
        if previous.and_then(|p| p.header.as_ref()).is_some_and(|p| p.time >= header.time) {
            return None;
        }
        let usage = usage(previous, &frame);
        self.last.insert(key, frame);
        Some(usage)
    }

    /// Forgets every zone whose last frame is older than `time` (ns since 1970 UTC): memory stays bounded by the
    /// zones that live.
    pub fn forget_before(&mut self, time: u64) {
        self.last.retain(|_, frame| frame.header.as_ref().is_some_and(|h| h.time >= time));
    }
}
