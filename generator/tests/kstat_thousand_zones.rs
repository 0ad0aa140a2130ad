//! A host of 1,000 zones for ten minutes of ticks: every zone's numbers are right, whatever reboots and vanishes, and
//! memory stays where it is.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod synthetic;

use std::time::Instant;

use synthetic::counting::{Counting, held};
use synthetic::{Life, Synthetic, on_at};
use zonescope_generator::kstat::KstatSource;
use zonescope_generator::source::{Sample, Source, Tick, ZoneSample};
use zonescope_proto::{Family, Kind, Sink, Value, v1, walk};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ZONES: usize = 1000;
const TICKS: u64 = 600;

/// One zone in 25 reboots, under another id; one in 25 vanishes, and half of those leave their id to a new zone.
fn lives() -> Vec<Life> {
    let mut lives = Vec::new();
    for place in 0..ZONES {
        let id = i32::try_from(place).unwrap() + 1;
        let turn = 100 + place as u64 % 400;
        match place % 50 {
            3 | 28 => {
                lives.push(Life::of(place, id, 0, turn));
                lives.push(Life::of(place, id + 2_000, turn, u64::MAX));
            }
            7 => lives.push(Life::of(place, id, 0, turn)),
            32 => {
                lives.push(Life::of(place, id, 0, turn));
                lives.push(Life::of(place + 5_000, id, turn, u64::MAX));
            }
            _ => lives.push(Life::of(place, id, 0, u64::MAX)),
        }
    }
    lives
}

/// Checks every statistic of a zone's frame that comes from the zone's own kstats.
struct Checker<'a> {
    life: &'a Life,
    tick: u64,
    checked: u64,
}

impl Sink for Checker<'_> {
    fn row<F: Family>(&mut self, row: &F) {
        let mut resource = String::new();
        row.visit(&mut |at: usize, value: Option<Value<'_>>| {
            let field = &F::SPEC.fields[at];
            if let (Kind::Label, Some(label)) = (field.kind, value) {
                resource = label.to_string();
            }
            let Some(value) = value.filter(|_| field.kind != Kind::Label) else { return };
            let mut parts = field.kstat.splitn(4, ':');
            let (module, statistic) = (parts.next().unwrap(), parts.nth(2));
            let expected = match (field.name, statistic) {
                ("crtime", _) => Value::Uint(self.life.crtime_ns()),
                ("snaptime", _) => Value::Int(5_000),
                ("ncpus" | "physmem", _) => return,
                (_, Some(statistic)) => Value::Uint(self.life.value(module, statistic, self.tick)),
                _ => panic!("{}.{} comes from nowhere", F::SPEC.table, field.name),
            };
            let name = &self.life.name;
            assert_eq!(value, expected, "{name} {}.{} {resource} at {}", F::SPEC.table, field.name, self.tick);
            self.checked += 1;
        });
    }

    fn custom(&mut self, _: &v1::Custom) {}
}

fn check(zone: &ZoneSample, life: &Life, tick: u64) -> u64 {
    assert_eq!(zone.zone.id, u64::try_from(life.id).unwrap());
    assert_eq!(zone.zone.boot_time, life.boot_time_s() * 1_000_000_000);
    let mut checker = Checker { life, tick, checked: 0 };
    walk(&zone.frame, &mut checker);
    checker.checked
}

#[test]
fn a_thousand_zones_are_right_through_ten_minutes_and_memory_is_stable() {
    let lives = lives();
    let mut source = KstatSource::new(Box::new(Synthetic::new(lives.clone())));
    let (mut checked, mut early) = (0, 0);
    let started = Instant::now();
    for tick in 0..TICKS {
        let mut sample = Sample::default();
        let time_ns = (1_700_000_000 + tick) * 1_000_000_000;
        source.sample(Tick { time_ns, interval_ns: 1_000_000_000 }, &mut sample).unwrap();

        let on = on_at(&lives, tick);
        assert_eq!(sample.zones.len(), on.len() + 1, "every zone that is on, and global, at {tick}");
        for (name, zone) in sample.zones.iter().filter(|(name, _)| name.as_str() != "global") {
            let life = on[name.as_str()];
            // All of them now and then; those whose lives turn, right after they have.
            if tick % 60 == 0 || tick.abs_diff(life.from) < 2 {
                let values = check(zone, life, tick);
                assert!(values > 70, "{values} values of {name}");
                checked += values;
            }
        }
        let lost: Vec<_> = sample.collect.iter().filter(|c| c.drops > Some(0) || c.errors > Some(0)).collect();
        assert!(lost.is_empty(), "{lost:?}");
        drop(sample);
        if tick == 60 {
            early = held();
        }
    }
    let late = held();
    println!("{checked} values checked in {:?}; held {early} bytes at tick 60, {late} at the end", started.elapsed());
    assert!(checked > 800_000);
    // Fewer zones are on at the end than at tick 60; some room for maps that keep what they have grown to.
    assert!(late <= early + 64 * 1024, "{early} bytes held at tick 60, {late} at the end");
}
