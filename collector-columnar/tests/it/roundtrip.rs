//! What goes in comes out, value by value, through every path.

use std::collections::BTreeMap;

use proptest::prelude::*;
use zonescope_collector_columnar::schema::FRAMES;
use zonescope_proto::{FAMILIES, Family, Sink, v1, walk};

use crate::support::*;

/// The rows that a store of these frames must have: an implementation as plain as can be.
#[derive(Default)]
struct Expected {
    common: Vec<Cell>,
    tables: BTreeMap<&'static str, Vec<Vec<Cell>>>,
}

impl Expected {
    fn of(frames: &[v1::Frame]) -> Self {
        let mut expected = Expected::default();
        for frame in frames {
            let header = frame.header.as_ref().unwrap();
            let zone = header.zone.as_ref().unwrap();
            expected.common = vec![
                Cell::Text(header.host.clone()),
                Cell::Text(zone.name.clone()),
                Cell::Uint(zone.id),
                Cell::Int(header.time.cast_signed()),
            ];
            walk(frame, &mut expected);
        }
        expected
    }
}

impl Sink for Expected {
    fn row<F: Family>(&mut self, row: &F) {
        let mut cells = self.common.clone();
        row.visit(&mut |_: usize, value: Option<zonescope_proto::Value<'_>>| cells.push(value.into()));
        self.tables.entry(F::SPEC.table).or_default().push(cells);
    }

    fn custom(&mut self, _: &v1::Custom) {}
}

fn check(root: &Root, frames: &[v1::Frame]) {
    let mut expected = Expected::of(frames);
    for family in FAMILIES {
        let rows = root.ask(&format!("select * from {}", family.table));
        let names: Vec<&str> = rows.names.iter().map(String::as_str).collect();
        let fields: Vec<&str> =
            ["host", "zone", "zone_id", "time"].into_iter().chain(family.fields.iter().map(|f| f.name)).collect();
        assert_eq!(names, fields, "{}", family.table);
        let cells = expected.tables.remove(family.table).unwrap_or_default();
        assert_eq!(rows.sorted(), Rows { cells, ..Rows::default() }.sorted(), "{}", family.table);
    }
    assert_eq!(root.count("select count(*) from frames"), frames.len() as i64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_value_of_every_family_comes_back_from_parquet_and_from_the_log(frames in any_frames(), cut: prop::sample::Index) {
        let root = Root::new();
        let cut = cut.index(frames.len() + 1);
        root.store(&frames[..cut]);
        let mut store = root.open();
        put(&mut store, &frames[cut..]);
        store.sync().unwrap();
        check(&root, &frames);
        store.close(START).unwrap();
        check(&root, &frames);
    }
}

#[test]
fn null_zero_and_no_limit_are_three_things() {
    let root = Root::new();
    let memory = |rss| v1::Memory { rss, physcap: Some(u64::MAX), ..v1::Memory::default() };
    let frames: Vec<v1::Frame> = [None, Some(0), Some(u64::MAX)]
        .into_iter()
        .zip(1..)
        .map(|(rss, i)| v1::Frame { memory: Some(memory(rss)), ..frame("web1", i) })
        .collect();
    root.store(&frames);
    let rss = root.ask("select rss from memory order by time").column();
    assert_eq!(rss, [Cell::Null, Cell::Uint(0), Cell::Uint(u64::MAX)]);
    assert_eq!(root.count("select count(*) from memory where rss is null"), 1);
    assert_eq!(root.count("select count(*) from memory where physcap = 18446744073709551615"), 3);
}

#[test]
fn the_table_frames_has_what_the_header_has() {
    let root = Root::new();
    let mut web = frame("web1", 5);
    let zone = header(&mut web).zone.as_mut().unwrap();
    (zone.boot_time, zone.uuid) = (START, "u".to_owned());
    let host =
        v1::Frame { header: Some(v1::Header { zone: None, ..web.header.clone().unwrap() }), ..v1::Frame::default() };
    root.store(&[web, host]);
    let columns: Vec<&str> = FRAMES.fields.iter().map(|f| f.name).filter(|n| *n != "bytes").collect();
    let rows = root.ask(&format!("select zone, zone_id, {} from frames order by zone", columns.join(", "))).cells;
    let text = |t: &str| Cell::Text(t.to_owned());
    let tail = [Cell::Uint(START), Cell::Uint(5), Cell::Uint(1000), Cell::Uint(0)];
    let of_host = [text(""), Cell::Uint(0), text("id-of-h"), Cell::Null, Cell::Null, Cell::Null, Cell::Null];
    let of_zone =
        [text("web1"), Cell::Uint(7), text("id-of-h"), text("joyent"), Cell::Uint(START), text("u"), Cell::Null];
    assert_eq!(rows, [[of_host.as_slice(), &tail].concat(), [of_zone.as_slice(), &tail].concat()]);
}

fn custom(table: &str, label: (&str, &str), values: Vec<(&str, v1::measure::Value)>) -> v1::Custom {
    v1::Custom {
        table: table.to_owned(),
        labels: vec![v1::Label { name: label.0.to_owned(), value: label.1.to_owned() }],
        values: values
            .into_iter()
            .map(|(name, value)| v1::Measure {
                name: name.to_owned(),
                kind: v1::Kind::Counter.into(),
                unit: "calls".to_owned(),
                value: Some(value),
            })
            .collect(),
    }
}

#[test]
fn a_users_table_grows_columns_and_changes_types() {
    use v1::measure::Value::{Double, Int, Text, Uint};
    let root = Root::new();
    let with = |sequence, row| v1::Frame { custom: vec![row], ..frame("web1", sequence) };
    root.store(&[with(1, custom("my probe", ("op", "read"), vec![("n", Uint(u64::MAX)), ("t", Int(-5))]))]);
    root.store(&[with(2, custom("my probe", ("op", ""), vec![("n", Double(0.5)), ("t", Text("x".to_owned()))]))]);
    let mut store = root.open();
    put(&mut store, &[with(3, custom("my probe", ("cpu", "3"), vec![("late", Uint(1))]))]);
    store.sync().unwrap();
    let rows = root.ask("select op, n, t, cpu, late from my_probe order by time").cells;
    let text = |t: &str| Cell::Text(t.to_owned());
    assert_eq!(
        rows,
        [
            [text("read"), Cell::Double(u64::MAX as f64), text("-5"), Cell::Null, Cell::Null],
            [text(""), Cell::Double(0.5), text("x"), Cell::Null, Cell::Null],
            [Cell::Null, Cell::Null, Cell::Null, text("3"), Cell::Uint(1)],
        ]
    );
    assert_eq!(root.count("select count(*) from my_probe_rates"), 3, "it has rates like any other table");
}

#[test]
fn a_column_that_a_file_lacks_is_null() {
    use datafusion::arrow::datatypes::Schema;
    use parquet::arrow::ArrowWriter;
    let root = Root::new();
    root.store(&[busy("web1", 1, 5)]);
    // As an older collector would have written it: without the newest columns.
    let path = root.parquet("cpu").remove(0);
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap());
    let batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
    let kept: Vec<usize> = (0..7).collect();
    let schema: Schema = batch.schema().project(&kept).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), schema.into(), None).unwrap();
    writer.write(&batch.project(&kept).unwrap()).unwrap();
    writer.close().unwrap();
    let row = root.ask("select nsec_user, ncpus from cpu where ncpus is null").cells;
    assert_eq!(row, [[Cell::Uint(5), Cell::Null]]);
}

#[test]
fn users_make_a_bounded_number_of_tables() {
    use zonescope_collector_columnar::limits::CUSTOM_TABLES;
    let root = Root::new();
    let row = |i: u64| custom(&format!("probe{i}"), ("op", "read"), vec![]);
    let tables = |root: &Root| std::fs::read_dir(root.path()).unwrap().count() - 4;
    for sequence in 1..=3 {
        let rows = (0..120).map(|i| row(sequence * 1000 + i)).collect();
        root.store(&[v1::Frame { custom: rows, ..frame("web1", sequence) }]);
    }
    assert_eq!(tables(&root), CUSTOM_TABLES, "beside `frames`, `completeness`, the log and the lock");
    root.store(&[v1::Frame { custom: vec![row(1000)], ..frame("web1", 4) }]);
    assert_eq!(root.count("select count(*) from probe1000"), 2, "a table that is there goes on");
}
