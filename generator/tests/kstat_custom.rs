//! Users' own kstats: from the configuration to rows of a table of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use zonescope_generator::cli::Common;
use zonescope_generator::config::Config;
use zonescope_generator::kstat::custom::Custom;
use zonescope_generator::kstat::limits::{MAX_CUSTOM_ROW, MAX_CUSTOM_ROWS, MAX_CUSTOM_VALUES};
use zonescope_generator::recorded::open::open;
use zonescope_generator::recorded::{Playing, Recorded};
use zonescope_generator::source::{Sample, Source, Tick};
use zonescope_proto::limits::MAX_FRAME_BYTES;
use zonescope_proto::v1::measure::Value;
use zonescope_proto::{Message, ZoneName, v1};

const CHAIN: &str = "smartos-2013-zone6.chain.jsonl.zst";
const ZONE: &str = "0ed8f106-4c81-459d-b3d9-f86752fa611b";

fn config(text: &str) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load(&Common { config: Some(file.path().to_owned()) })
        .map_err(|e| e.0.replace(file.path().to_str().unwrap(), "FILE"))
}

/// The capture of a SmartOS host, with what `text` configures.
fn sample(text: &str) -> Sample {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kstat").join(CHAIN);
    let custom = Custom::new(&config(text).unwrap().kstat).unwrap();
    let mut source = Recorded::new(open(&capture, custom).unwrap(), Playing { repeat: false, zones: 0 });
    let mut sample = Sample::default();
    source.sample(Tick { time_ns: 1_371_000_000_000_000_000, interval_ns: 1_000_000_000 }, &mut sample).unwrap();
    sample
}

fn rows<'a>(sample: &'a Sample, zone: &str) -> &'a [v1::Custom] {
    &sample.zones[&ZoneName::lossy(zone)].frame.custom
}

fn labels(row: &v1::Custom) -> Vec<(&str, &str)> {
    row.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect()
}

fn values(row: &v1::Custom) -> Vec<(&str, &Value)> {
    row.values.iter().map(|measure| (measure.name.as_str(), measure.value.as_ref().unwrap())).collect()
}

fn collect<'a>(sample: &'a Sample, family: &str) -> &'a v1::Collect {
    sample.collect.iter().find(|c| c.family == family).unwrap()
}

#[test]
fn kstats_become_rows_of_a_table_of_their_own() {
    let sample = sample(
        "[[kstat.custom]]\nname = \"interrupts\"\nmatch = \"cpu:/^1?[0-9]$/:sys:{intr,syscall}\"\nkind = \"counter\"\n\
         unit = \"events\"\n",
    );
    let rows = rows(&sample, "global");
    assert_eq!((rows.len(), collect(&sample, "interrupts").rows), (16, Some(16)));
    let row = rows.iter().find(|row| row.labels[1].value == "7").unwrap();
    assert_eq!(
        (row.table.as_str(), labels(row)),
        ("interrupts", vec![("module", "cpu"), ("instance", "7"), ("name", "sys")])
    );
    // cpu:7:sys:intr and cpu:7:sys:syscall of the text dump.
    assert_eq!(values(row), [("intr", &Value::Uint(736_995_537)), ("syscall", &Value::Uint(6_840_843_117))]);
    assert!(row.values.iter().all(|v| v.kind == i32::from(v1::Kind::Counter) && v.unit == "events"));
    // Our own families are as they were.
    assert_eq!(sample.zones[&ZoneName::global()].frame.core.len(), 16);
}

#[test]
fn a_row_belongs_to_the_zone_that_zonename_or_the_instance_tells() {
    let sample = sample(
        "[[kstat.custom]]\nname = \"links\"\nmatch = \"link:::{link_state,zonename}\"\nkind = \"gauge\"\n\
         [[kstat.custom]]\nname = \"resets\"\nmatch = \"tcp:*:tcpstat:tcp_zcopy*\"\nkind = \"counter\"\n\
         [[kstat.custom]]\nname = \"vendors\"\nmatch = \"sderr:::Vendor\"\nkind = \"gauge\"\n",
    );
    let of = |zone: &str, table: &str| rows(&sample, zone).iter().filter(|row| row.table == table).count();
    assert!(of(ZONE, "links") > 0 && of("global", "links") == 0, "by zonename");
    assert!(of(ZONE, "resets") > 0 && of("global", "resets") == 0, "by instance");
    assert!(of("global", "vendors") > 0 && of(ZONE, "vendors") == 0, "the host's");
    let text = &rows(&sample, "global").iter().find(|row| row.table == "vendors").unwrap().values[0];
    assert_eq!((text.kind, text.unit.as_str()), (i32::from(v1::Kind::State), ""), "a text describes");
}

#[test]
fn raw_kstats_cannot_be_read_and_that_is_said() {
    let sample = sample(
        "[[kstat.custom]]\nname = \"cpus\"\nmatch = \"cpu_stat::/^cpu_stat[0-9]+$/:{intr,syscall}\"\nkind = \"counter\"\n",
    );
    assert_eq!(collect(&sample, "cpus").rows, Some(0));
    let chain = collect(&sample, "chain");
    assert_eq!(chain.drops, Some(16));
    assert!(chain.error.as_deref().unwrap().ends_with("is raw: its layout is its driver's own"), "{chain:?}");
}

#[test]
fn whoever_selects_everything_gets_what_a_frame_can_hold_and_a_count_of_the_rest() {
    let sample = sample("[[kstat.custom]]\nname = \"all\"\nmatch = \"\"\nkind = \"gauge\"\n");
    for zone in sample.zones.values() {
        let rows = &zone.frame.custom;
        assert!(rows.len() <= MAX_CUSTOM_ROWS && rows.iter().all(|row| row.values.len() <= MAX_CUSTOM_ROW));
        assert!(rows.iter().map(|row| row.values.len()).sum::<usize>() <= MAX_CUSTOM_VALUES);
        assert!(zone.frame.encoded_len() < MAX_FRAME_BYTES);
    }
    let all = collect(&sample, "all");
    assert!(all.drops.unwrap() > 100 && all.success == Some(0) && all.error.is_some(), "{all:?}");
}

#[test]
fn a_wrong_selector_names_file_key_value_and_what_is_allowed() {
    let wrong = |text: &str| config(text).unwrap_err();
    assert_eq!(
        wrong("[[kstat.custom]]\nname = \"mine\"\nmatch = \"cpu::/^(/\"\nkind = \"gauge\"\n"),
        "the configuration FILE is wrong: kstat.custom[0].match = \"cpu::/^(/\": the name `/^(/` is no regular expression: unclosed group"
    );
    let missing = wrong("[[kstat.custom]]\nname = \"mine\"\nmatch = \"cpu\"\n");
    assert!(missing.contains("FILE") && missing.contains("missing field `kind`"), "{missing}");
    let unknown = wrong("[[kstat.custom]]\nname = \"mine\"\nmatch = \"cpu\"\nkind = \"gauge\"\nclass = \"misc\"\n");
    assert!(unknown.contains("line 5") && unknown.contains("`class`"), "{unknown}");
}
