//! Captures of real hosts through the real families: one golden file per capture and family.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use zonescope_generator::kstat::custom::Custom;
use zonescope_generator::recorded::open::open;
use zonescope_generator::recorded::{Playing, Recorded};
use zonescope_generator::show::{self, Filter};
use zonescope_generator::source::{Sample, Source, Tick};
use zonescope_proto::{FAMILIES, v1};

const TICK: Tick = Tick { time_ns: 1_371_000_000_000_000_000, interval_ns: 1_000_000_000 };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kstat").join(name)
}

fn sample(name: &str) -> Sample {
    let mut source =
        Recorded::new(open(&fixture(name), Custom::default()).unwrap(), Playing { repeat: false, zones: 0 });
    let mut sample = Sample::default();
    source.sample(TICK, &mut sample).unwrap();
    sample
}

/// Every family as text: a line a zone, families without rows left out.
fn by_family(sample: &Sample) -> BTreeMap<&'static str, String> {
    let mut files = BTreeMap::new();
    for family in FAMILIES {
        let filter = Filter { family: Some(family.table.to_owned()) };
        let mut text = String::new();
        for zone in sample.zones.values() {
            let json = show::json(&zone.zone, &zone.frame, TICK.time_ns, &filter);
            if let Some(rows) = json.get(family.table) {
                let rows = rows.as_array().cloned().unwrap_or_else(|| vec![rows.clone()]);
                for row in rows {
                    writeln!(text, "{}\t{row}", zone.zone.name).unwrap();
                }
            }
        }
        if !text.is_empty() {
            files.insert(family.table, text);
        }
    }
    files
}

fn compare(capture: &str, golden: &str) {
    let directory = fixture("golden").join(golden);
    let made = by_family(&sample(capture));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&directory).unwrap();
        for (family, text) in &made {
            std::fs::write(directory.join(format!("{family}.tsv")), text).unwrap();
        }
    }
    let stored: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_str().unwrap().trim_end_matches(".tsv").to_owned())
        .collect();
    assert_eq!(stored.len(), made.len(), "families with a golden file: {stored:?}");
    for (family, text) in &made {
        let expected = std::fs::read_to_string(directory.join(format!("{family}.tsv"))).unwrap();
        assert_eq!(text, &expected, "{capture}: {family}");
    }
}

#[test]
fn smartos_2013_gives_its_golden_families() {
    compare("smartos-2013-zone6.kstat-p.txt.zst", "smartos-2013");
}

#[test]
fn omnios_2021_gives_its_golden_families() {
    compare("omnios-2021.kstat-p.txt", "omnios-2021");
}

/// What the families make of a capture does not depend on its form, where the forms hold the same. They hold the same
/// but for times, which -p and -j round to a double, and for the order of kstats.
#[test]
fn the_three_forms_of_a_capture_give_the_same() {
    let shown = |name: &str| {
        let mut sample = sample(name);
        for zone in sample.zones.values_mut() {
            without_times(&mut zone.frame);
        }
        by_family(&sample)
    };
    let text = shown("smartos-2013-zone6.kstat-p.txt.zst");
    assert_eq!(text, shown("smartos-2013-zone6.kstat-j.json.zst"));
    let sorted = |files: BTreeMap<&'static str, String>| -> BTreeMap<&'static str, Vec<String>> {
        files
            .into_iter()
            .map(|(family, text)| {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                (family, lines)
            })
            .collect()
    };
    assert_eq!(sorted(text), sorted(shown("smartos-2013-zone6.chain.jsonl.zst")));
}

/// Clears what depends on when a kstat was read.
fn without_times(frame: &mut v1::Frame) {
    macro_rules! clear {
        ($($family:ident),*) => {
            $( frame.$family.iter_mut().for_each(|row| (row.snaptime, row.crtime) = (None, None)); )*
        };
    }
    clear!(cpu, memory, cpucaps, zone_vfs, zone_zfs, tcp, udp, ip, net, disk, core, arc, zpool, vcpu);
    frame.disk_error.iter_mut().for_each(|row| row.crtime = None);
    frame.host_memory.iter_mut().for_each(|row| row.snaptime = None);
}

/// Every statistic of a kstat that a family takes is in frame.proto, or is named by the family as left out.
#[test]
fn no_statistic_is_lost_without_a_reason() {
    for capture in
        ["smartos-2013-zone6.kstat-p.txt.zst", "smartos-2013-zone6.chain.jsonl.zst", "omnios-2021.kstat-p.txt"]
    {
        for collect in sample(capture).collect.iter().filter(|c| c.family != "chain") {
            assert_eq!(
                (collect.drops, collect.errors),
                (Some(0), Some(0)),
                "{capture} {}: {:?}",
                collect.family,
                collect.error
            );
        }
    }
}

#[test]
fn a_capture_taken_inside_a_zone_gives_the_zone_its_network_stack() {
    let sample = sample("smartos-2013-zone6.chain.jsonl.zst");
    let zone = sample.zones.values().find(|z| z.zone.id == 6).unwrap();
    assert_eq!(zone.zone.name, "0ed8f106-4c81-459d-b3d9-f86752fa611b", "the whole name, not the kstat's 30 characters");
    assert_eq!(zone.frame.tcp.as_ref().unwrap().active_opens, Some(1110));
    assert_eq!(zone.frame.ip.as_ref().unwrap().in_delivers, Some(5_496_222));
    assert_eq!(zone.frame.net[0].link, "net0");
    let global = sample.zones.values().find(|z| z.zone.name == "global").unwrap();
    assert_eq!((global.frame.core.len(), global.frame.disk.len()), (16, 13));
    assert!(global.frame.disk.iter().all(|d| !d.device.contains(',')), "partitions are no disks");
}
