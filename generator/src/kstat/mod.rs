//! The kstat source: every per-zone statistic that SmartOS and illumos keep.
//!
//! Once a tick the chain is updated and visited twice: first the kstats of module `zones`, which say which zones there
//! are, then every kstat that some family wants (a chain has 1,400 kstats and more; most are kmem caches that nobody
//! asked for). What a family is stands in [`families`], a file each; which statistic fills which field stands in
//! frame.proto.
//!
//! # Whose kstat is it
//! By its statistic `zonename` where it has one: names are cut at 30 characters and ids are used again. Else by its
//! instance, for modules whose instance is the zone id (zones, memory_cap, zone_vfs, zone_zfs, caps, tcp; not link).
//! `ip` and `udp` have instance 0 in every network stack, and other zones' are not shown even to the global zone: such a
//! kstat is that of the zone that we run in, which is the only one of the chain where there is no `zones:0`. A VM's are
//! found by its name. Everything else is the host's: `global`.
//!
//! # What can go wrong
//! A kstat that vanishes between update and read is left out. A statistic that frame.proto does not know is counted as a
//! drop of its family, and named once; one of an unexpected type is counted as an error. A chain without zones gives an
//! empty tick.

pub mod chain;
pub mod columns;
pub mod custom;
pub mod families;
pub mod limits;
#[cfg(target_os = "illumos")]
pub mod live;
pub mod options;
pub mod owned;
pub mod recording;
pub mod replay;
pub mod selector;
pub mod text_j;
pub mod text_p;
mod zone_files;
pub mod zones;

use std::collections::HashSet;
use std::time::Instant;

use zonescope_proto::{FAMILIES, v1};

use chain::{Chain, Id, Kstat, Moment, Skipped, Visitor};
use columns::{Columns, Filled};
use custom::Custom;
use families::host::Host;
use families::{KstatFamily, Owner, Row};
use zones::Zones;

use crate::source::{End, Sample, Source, Tick};

/// Page size of x86, for captures that do not say theirs (PAGESIZE, sys/machparam.h).
pub const X86_PAGE_SIZE: u64 = 4096;

/// Families, each with what it has seen.
struct Working {
    family: &'static KstatFamily,
    columns: Columns,
    errors: u64,
    drops: u64,
    /// This tick's.
    rows: u64,
    duration_ns: u64,
    error: Option<String>,
}

/// Reads a chain, once a tick.
pub struct KstatSource {
    chain: Box<dyn Chain>,
    working: Vec<Working>,
    custom: Custom,
    zones: Zones,
    /// Statistics that have been named in the log.
    named: HashSet<String>,
    /// kstats that could not be read since the start.
    skipped: u64,
}

impl KstatSource {
    /// Of any chain.
    pub fn new(chain: Box<dyn Chain>) -> Self {
        let working = families::FAMILIES
            .iter()
            .map(|family| Working {
                family,
                columns: Columns::of(family),
                errors: 0,
                drops: 0,
                rows: 0,
                duration_ns: 0,
                error: None,
            })
            .collect();
        KstatSource {
            chain,
            working,
            custom: Custom::default(),
            zones: Zones::default(),
            named: HashSet::new(),
            skipped: 0,
        }
    }

    /// Of the live chain.
    ///
    /// # Errors
    /// Where it cannot be opened.
    #[cfg(target_os = "illumos")]
    pub fn live() -> anyhow::Result<Self> {
        Ok(KstatSource::new(Box::new(live::Live::open()?)))
    }

    /// Names of zone brands, states and uuids come from below this directory: `/etc/zones`.
    #[must_use]
    pub fn with_zone_files(mut self, directory: std::path::PathBuf) -> Self {
        self.zones.read_files_below(directory);
        self
    }

    /// Users' own kstats become tables of their own.
    #[must_use]
    pub fn with_custom(mut self, custom: Custom) -> Self {
        self.custom = custom;
        self
    }

    /// Reads the chain as it now is.
    fn read(&mut self, moment: Moment, sample: &mut Sample) -> Skipped {
        for working in &mut self.working {
            (working.rows, working.duration_ns, working.error) = (0, 0, None);
        }
        self.custom.begin();
        let zones = &mut self.zones;
        zones.begin(sample);
        let mut skipped = self.chain.left_out();
        skipped.also(self.chain.visit(zones));

        let mut reading = Reading {
            working: &mut self.working,
            custom: &mut self.custom,
            zones: &mut self.zones,
            named: &mut self.named,
            hrtime_ns: moment.hrtime_ns,
            host: Host { page_size: moment.page_size, ..Host::default() },
        };
        skipped.also(self.chain.visit(&mut reading));
        reading.finish();
        self.zones.end(sample);
        skipped
    }

    fn report(&mut self, skipped: &Skipped, sample: &mut Sample) {
        self.skipped += skipped.kstats;
        let row = |family: &str| v1::Collect {
            source: "kstat".to_owned(),
            family: family.to_owned(),
            ..v1::Collect::default()
        };
        sample.collect.push(v1::Collect {
            success: Some(u64::from(skipped.reason.is_none())),
            drops: Some(self.skipped),
            error: skipped.reason.clone(),
            ..row("chain")
        });
        sample.collect.extend(self.working.iter().map(|w| v1::Collect {
            success: Some(u64::from(w.error.is_none())),
            duration: Some(w.duration_ns),
            rows: Some(w.rows),
            errors: Some(w.errors),
            drops: Some(w.drops),
            error: w.error.clone(),
            ..row(w.family.name)
        }));
        sample.collect.extend(self.custom.tables.iter().map(|table| v1::Collect {
            success: Some(u64::from(table.error.is_none())),
            rows: Some(table.rows),
            drops: Some(table.drops),
            error: table.error.clone(),
            ..row(table.name())
        }));
    }

    /// Goes to the next tick and reads it.
    ///
    /// # Errors
    /// [`End`] where a capture has been played.
    fn next(&mut self, sample: &mut Sample) -> Result<Option<u64>, End> {
        match self.chain.update() {
            Ok(Some(moment)) => {
                let skipped = self.read(moment, sample);
                self.report(&skipped, sample);
                Ok(moment.utc_ns)
            }
            Ok(None) => Err(End),
            Err(error) => {
                self.report(&Skipped { kstats: 0, reason: Some(error) }, sample);
                Ok(None)
            }
        }
    }
}

impl Source for KstatSource {
    fn name(&self) -> &'static str {
        "kstat"
    }

    fn sample(&mut self, _: Tick, sample: &mut Sample) -> Result<(), End> {
        self.next(sample).map(drop)
    }
}

impl crate::recorded::Capture for KstatSource {
    fn next(&mut self, sample: &mut Sample) -> Option<Option<u64>> {
        KstatSource::next(self, sample).ok()
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.chain.rewind()
    }
}

/// Whether any family wants a kstat.
pub fn wanted(id: Id<'_>) -> bool {
    families::FAMILIES.iter().any(|f| (f.select)(id)) || families::host::wanted(id)
}

/// One tick's second visit.
struct Reading<'a> {
    working: &'a mut [Working],
    custom: &'a mut Custom,
    zones: &'a mut Zones,
    named: &'a mut HashSet<String>,
    hrtime_ns: Option<u64>,
    host: Host,
}

impl Visitor for Reading<'_> {
    fn wants(&self, id: Id<'_>) -> bool {
        wanted(id) || self.custom.wants(id)
    }

    fn kstat(&mut self, kstat: &Kstat<'_>) {
        self.host.learn(kstat);
        for index in 0..self.working.len() {
            if (self.working[index].family.select)(kstat.id) {
                self.family(index, kstat);
            }
        }
        if self.custom.wants(kstat.id)
            && let Some(zone) = self.owner(custom::owner(kstat.id), kstat)
        {
            self.custom.fill(kstat, zone, self.zones.frame(zone));
        }
    }
}

impl Reading<'_> {
    fn family(&mut self, index: usize, kstat: &Kstat<'_>) {
        let started = Instant::now();
        let Some(zone) = self.owner(self.working[index].family.owner, kstat) else { return };
        let working = &mut self.working[index];
        let snaptime = kstat.snaptime_ns.map(|snap| {
            let reference = *self.hrtime_ns.get_or_insert(snap);
            snap.cast_signed().wrapping_sub(reference.cast_signed())
        });
        match (working.family.row)(self.zones.frame(zone), kstat) {
            Row::Fill(fields) => {
                let filled = working.columns.fill(fields, kstat, snaptime);
                working.rows += 1;
                working.account(filled, self.named);
            }
            Row::Done => working.rows += 1,
            Row::None => {}
        }
        working.duration_ns += u64::try_from(started.elapsed().as_nanos()).unwrap_or(0);
    }

    fn owner(&mut self, owner: Owner, kstat: &Kstat<'_>) -> Option<usize> {
        let zones = &mut *self.zones;
        match (owner, kstat.zonename()) {
            (Owner::Host, _) => Some(zones.global()),
            (Owner::Zone, Some(name)) => {
                let zone = zones.named(name);
                zones.note_id(zone, kstat.id.instance);
                Some(zone)
            }
            (_, Some(name)) => Some(zones.named(name)),
            (Owner::Zone | Owner::NumberedStack, None) => zones.numbered(kstat.id.instance),
            (Owner::Link, None) => Some(zones.global()),
            (Owner::Stack, None) => Some(zones.of_stack_zero()),
            (Owner::Vm, None) => Some(zones.of_vm(kstat.id.instance)),
        }
    }

    /// What was learnt of the host belongs to every zone: the capacity of those without a cap.
    fn finish(self) {
        let host = self.host;
        if host.ncpus.is_some() {
            let own = self.zones.own();
            if let Some(cpu) = &mut self.zones.frame(own).cpu {
                host.fill_load(cpu);
            }
        }
        for frame in self.zones.frames() {
            if let Some(cpu) = &mut frame.cpu {
                cpu.ncpus = host.ncpus;
            }
            families::memory::normalise(frame, host.page_size);
            if let Some(memory) = &mut frame.memory {
                memory.physmem = host.physmem.and_then(|pages| pages.checked_mul(host.page_size));
            }
            if let Some(memory) = &mut frame.host_memory {
                memory.pagesize = Some(host.page_size);
            }
        }
    }
}

impl Working {
    fn account(&mut self, filled: Filled<'_>, named: &mut HashSet<String>) {
        if let Some(statistic) = filled.retyped {
            self.errors += 1;
            self.error = Some(format!("statistic {statistic:?} is of another type"));
        }
        self.drops += filled.unknown;
        if let Some(statistic) = filled.unknown_name {
            let name = format!("{}:{statistic}", self.family.name);
            if named.len() < limits::MAX_NAMED && !named.contains(&name) {
                tracing::info!("a statistic that this version does not know: {name}");
                named.insert(name);
            }
        }
    }
}

/// The spec of the table that a family fills.
fn spec(table: &str) -> &'static zonescope_proto::FamilySpec {
    FAMILIES.iter().copied().find(|f| f.table == table).unwrap_or(FAMILIES[0])
}
