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
mod reading;
pub mod recording;
pub mod replay;
pub mod selector;
pub mod text_j;
pub mod text_p;
mod zone_files;
pub mod zones;

use zonescope_proto::{FAMILIES, v1};

use chain::{Chain, Id, Moment, Skipped};
use custom::Custom;
use reading::{Reading, Working};
use zones::Zones;

use crate::source::{End, Sample, Source, Tick};

/// Page size of x86, for captures that do not say theirs (PAGESIZE, sys/machparam.h).
pub const X86_PAGE_SIZE: u64 = 4096;

/// Reads a chain, once a tick.
pub struct KstatSource {
    chain: Box<dyn Chain>,
    working: Vec<Working>,
    custom: Custom,
    zones: Zones,
    /// kstats that could not be read since the start.
    skipped: u64,
}

impl KstatSource {
    /// Of any chain.
    pub fn new(chain: Box<dyn Chain>) -> Self {
        KstatSource {
            chain,
            working: families::FAMILIES.iter().copied().map(Working::new).collect(),
            custom: Custom::default(),
            zones: Zones::default(),
            skipped: 0,
        }
    }

    /// Of the live chain.
    ///
    /// # Errors
    /// Where it cannot be opened.
    #[cfg(target_os = "illumos")]
    pub fn live(clock: std::sync::Arc<dyn zonescope_link::clock::Clock>) -> anyhow::Result<Self> {
        Ok(KstatSource::new(Box::new(live::Live::open(clock)?)))
    }

    /// Brands and uuids of zones come from below this directory: `/etc/zones`.
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

    /// Reads the chain as it now is, for the tick at `time_ns`.
    fn read(&mut self, moment: Moment, time_ns: u64, sample: &mut Sample) -> Skipped {
        self.working.iter_mut().for_each(Working::begin);
        self.custom.begin();
        let zones = &mut self.zones;
        zones.begin(sample);
        let mut skipped = self.chain.left_out();
        skipped.also(self.chain.visit(zones));

        let mut reading = Reading {
            working: &mut self.working,
            custom: &mut self.custom,
            zones: &mut self.zones,
            hrtime_ns: moment.hrtime_at(time_ns),
            host: families::host::Host { page_size: moment.page_size, ..families::host::Host::default() },
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
        sample.collect.extend(self.working.iter().map(|w| w.report(row(w.name()))));
        sample.collect.extend(self.custom.tables.iter().map(|table| v1::Collect {
            success: Some(u64::from(table.error.is_none())),
            rows: Some(table.rows),
            drops: Some(table.drops),
            error: table.error.clone(),
            ..row(table.name())
        }));
    }

    /// Goes to the next tick and reads it: that of `tick` or, in a capture, of the time at which it was taken.
    ///
    /// # Errors
    /// [`End`] where a capture has been played.
    fn next(&mut self, tick: Option<Tick>, sample: &mut Sample) -> Result<Option<u64>, End> {
        match self.chain.update() {
            Ok(Some(moment)) => {
                let time_ns = tick.map(|tick| tick.time_ns).or(moment.utc_ns);
                let skipped = self.read(moment, time_ns.unwrap_or(0), sample);
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

    fn sample(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), End> {
        self.next(Some(tick), sample).map(drop)
    }
}

impl crate::recorded::Capture for KstatSource {
    fn next(&mut self, sample: &mut Sample) -> Option<Option<u64>> {
        KstatSource::next(self, None, sample).ok()
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        self.chain.rewind()
    }
}

/// Whether any family wants a kstat.
pub fn wanted(id: Id<'_>) -> bool {
    families::FAMILIES.iter().any(|f| (f.select)(id)) || families::host::wanted(id)
}

/// The spec of the table that a family fills.
fn spec(table: &str) -> &'static zonescope_proto::FamilySpec {
    FAMILIES.iter().copied().find(|f| f.table == table).unwrap_or(FAMILIES[0])
}
