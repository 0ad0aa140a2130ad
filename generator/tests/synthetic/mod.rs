//! A chain of as many zones as one likes, made of a capture of one: the zone's kstats for each of them, the host's once.
//!
//! All zones share their first 30 characters, so that their kstats share their names; ids are told apart from places in
//! the list. Every number is a function of zone, kstat, statistic and age, so that what comes out can be checked.

#![allow(dead_code, unreachable_pub, reason = "tests and benchmarks each use a part")]

pub mod counting;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use zonescope_generator::kstat::chain::{Chain, Id, Kstat, Moment, Skipped, Stat, Visitor};
use zonescope_generator::kstat::owned::{self, OwnedKstat, OwnedStat};
use zonescope_generator::kstat::replay::Replay;
use zonescope_generator::kstat::wanted;
use zonescope_generator::recorded::open::reader;

/// The zone that was captured.
const CAPTURED_ID: i32 = 6;

/// What every zone's name begins with: more than a kstat's name can hold.
pub const PREFIX: &str = "0ed8f106-4c81-459d-b3d9-f86752fa611b";

/// How much of a name a kstat keeps.
const KSTAT_NAME: usize = 30;

const SECOND_NS: u64 = 1_000_000_000;

/// One life of one zone: from boot to halt.
#[derive(Debug, Clone)]
pub struct Life {
    pub name: String,
    pub id: i32,
    /// The tick at which it booted.
    pub from: u64,
    /// The tick at which it was gone.
    pub until: u64,
}

impl Life {
    pub fn of(place: usize, id: i32, from: u64, until: u64) -> Self {
        Life { name: format!("{PREFIX}-{place:04}"), id, from, until }
    }

    pub fn is_on(&self, tick: u64) -> bool {
        (self.from..self.until).contains(&tick)
    }

    pub fn boot_time_s(&self) -> u64 {
        1_700_000_000 + self.from
    }

    pub fn crtime_ns(&self) -> u64 {
        (1_000 + self.from) * SECOND_NS
    }

    /// What a statistic says at a tick: it begins at this life's own number and grows at its own pace.
    pub fn value(&self, module: &str, statistic: &str, tick: u64) -> u64 {
        let seed = hash(&[&self.name, module, statistic]) ^ self.from;
        seed % 1_000_000 + (tick - self.from) * (1 + seed % 997)
    }
}

fn hash(parts: &[&str]) -> u64 {
    parts
        .iter()
        .flat_map(|p| p.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// A chain of many zones.
pub struct Synthetic {
    of_zone: Vec<OwnedKstat>,
    of_host: Vec<OwnedKstat>,
    pub lives: Vec<Life>,
    pub tick: Option<u64>,
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kstat").join(name)
}

/// Every kstat of a chain that some family wants.
#[derive(Default)]
pub struct Collected(pub Vec<OwnedKstat>);

impl Visitor for Collected {
    fn wants(&self, id: Id<'_>) -> bool {
        wanted(id)
    }

    fn kstat(&mut self, kstat: &Kstat<'_>) {
        let own = |stat: &Stat<'_>| match *stat {
            Stat::Uint(v) => OwnedStat::Uint(v),
            Stat::Int(v) => OwnedStat::Int(v),
            Stat::Double(v) => OwnedStat::Double(v),
            Stat::Text(v) => OwnedStat::Text(v.into()),
        };
        self.0.push(OwnedKstat {
            module: kstat.id.module.into(),
            instance: kstat.id.instance,
            name: kstat.id.name.into(),
            crtime_ns: kstat.crtime_ns,
            snaptime_ns: kstat.snaptime_ns,
            stats: Some(kstat.stats.iter().map(|(name, stat)| ((*name).into(), own(stat))).collect()),
            ..OwnedKstat::default()
        });
    }
}

impl Synthetic {
    pub fn new(lives: Vec<Life>) -> Self {
        let path = fixture("smartos-2013-zone6.chain.jsonl.zst");
        let mut chain = Replay::new(Box::new(move || reader(&path))).unwrap();
        chain.update().unwrap();
        let mut all = Collected::default();
        chain.visit(&mut all);
        let is_zones = |kstat: &OwnedKstat| {
            let named = kstat.stats.iter().flatten().any(|(name, _)| &**name == "zonename");
            named || (&*kstat.module == "tcp" && kstat.instance == CAPTURED_ID)
        };
        let (of_zone, of_host) = all.0.into_iter().partition(is_zones);
        Synthetic { of_zone, of_host, lives, tick: None }
    }

    /// Zones that live for ever.
    pub fn steady(zones: usize) -> Self {
        let life = |place: usize| Life::of(place, i32::try_from(place).unwrap() + 1, 0, u64::MAX);
        Synthetic::new((0..zones).map(life).collect())
    }

    pub fn kstats_of_a_zone(&self) -> usize {
        self.of_zone.len()
    }

    /// The chain of one tick, held in memory as a recording's is.
    pub fn frozen(&mut self) -> Frozen {
        self.update().unwrap();
        let mut all = Collected::default();
        self.visit(&mut all);
        Frozen(all.0)
    }

    fn visit_zone(&self, life: &Life, tick: u64, visitor: &mut dyn Visitor) {
        let mut stats: Vec<(&str, Stat<'_>)> = Vec::new();
        for kstat in &self.of_zone {
            let name = name_in(kstat, life);
            let instance = if kstat.instance == CAPTURED_ID { life.id } else { kstat.instance };
            let id = Id { module: &kstat.module, instance, name: &name };
            if !visitor.wants(id) {
                continue;
            }
            stats.clear();
            stats.extend(kstat.stats.iter().flatten().map(|(name, stat)| {
                let value = match (&**name, stat) {
                    ("zonename", _) => Stat::Text(&life.name),
                    (_, OwnedStat::Text(text)) => Stat::Text(text),
                    (name, _) => Stat::Uint(life.value(&kstat.module, name, tick)),
                };
                (&**name, value)
            }));
            if &*kstat.module == "zones" {
                stats.push(("boot_time", Stat::Uint(life.boot_time_s())));
            }
            let snaptime_ns = Some((1_000 + tick) * SECOND_NS + 5_000);
            visitor.kstat(&Kstat { id, crtime_ns: Some(life.crtime_ns()), snaptime_ns, stats: &stats });
        }
    }
}

/// The name of a zone's kstat, as the kernel would have it.
fn name_in(kstat: &OwnedKstat, life: &Life) -> String {
    match kstat.name.rsplit_once("_zone_") {
        Some((resource, _)) => format!("{resource}_zone_{}", life.id),
        None if PREFIX.starts_with(&*kstat.name) => life.name[..KSTAT_NAME].to_owned(),
        None => kstat.name.to_string(),
    }
}

impl Chain for Synthetic {
    fn update(&mut self) -> Result<Option<Moment>, String> {
        let tick = self.tick.map_or(0, |tick| tick + 1);
        self.tick = Some(tick);
        Ok(Some(Moment { hrtime_ns: Some((1_000 + tick) * SECOND_NS), utc_ns: None, page_size: 4096 }))
    }

    fn visit(&self, visitor: &mut dyn Visitor) -> Skipped {
        let tick = self.tick.unwrap();
        let skipped = owned::visit(&self.of_host, visitor);
        self.lives.iter().filter(|life| life.is_on(tick)).for_each(|life| self.visit_zone(life, tick, visitor));
        skipped
    }
}

/// One tick's chain, over and over.
#[derive(Clone)]
pub struct Frozen(pub Vec<OwnedKstat>);

impl Chain for Frozen {
    fn update(&mut self) -> Result<Option<Moment>, String> {
        Ok(Some(Moment { hrtime_ns: Some(1_000 * SECOND_NS), utc_ns: None, page_size: 4096 }))
    }

    fn visit(&self, visitor: &mut dyn Visitor) -> Skipped {
        owned::visit(&self.0, visitor)
    }
}

/// Places of lives by the zone's name, of those that are on at a tick.
pub fn on_at(lives: &[Life], tick: u64) -> HashMap<&str, &Life> {
    lives.iter().filter(|life| life.is_on(tick)).map(|life| (life.name.as_str(), life)).collect()
}
