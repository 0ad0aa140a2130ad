//! Small files become one; nobody notices.

use std::collections::BTreeSet;

use proptest::prelude::*;
use zonescope_collector_columnar::store::compact::{Outcome, jobs, merge};
use zonescope_collector_columnar::store::housekeeping::compact_all;
use zonescope_proto::{FAMILIES, v1};

use crate::support::*;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn everything(root: &Root) -> Vec<Vec<String>> {
    let tables = FAMILIES.iter().map(|f| f.table).chain(["frames", "completeness"]);
    tables.map(|table| root.ask(&format!("select * from {table}")).sorted()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn compaction_changes_files_and_not_answers(frames in any_frames(), files in 2..5usize) {
        let root = Root::new();
        for part in frames.chunks(frames.len().div_ceil(files)) {
            root.store(part);
        }
        let before = everything(&root);
        run(compact_all(&root.place(), START)).unwrap();
        prop_assert_eq!(everything(&root), before);
        for folder in root.parquet("frames").iter().map(|f| f.parent().unwrap()) {
            prop_assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
        }
    }
}

#[test]
fn merged_rows_are_in_series_order() {
    let root = Root::new();
    for i in 1..=3 {
        root.store(&[busy("web2", i, i), busy("web1", i, i)]);
    }
    run(compact_all(&root.place(), START)).unwrap();
    assert_eq!(root.parquet("cpu")[0].file_name().unwrap(), "0000000001-0000000003.parquet");
    let rows = root.ask("select zone, nsec_user from cpu").cells;
    let expected: Vec<Vec<Cell>> = ["web1", "web2"]
        .into_iter()
        .flat_map(|z| (1..=3).map(move |i| vec![Cell::Text(z.to_owned()), Cell::Uint(i)]))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn an_hour_is_merged_when_it_is_over_or_has_very_many_files() {
    let root = Root::new();
    for i in 1..=3 {
        root.store(&[busy("web1", i, i)]);
    }
    let now = |at| jobs(&root.place(), at, false, &BTreeSet::new()).unwrap();
    assert!(now(START + HOUR).is_empty(), "late frames may come");
    assert_eq!(now(START + HOUR + 700 * SECOND).len(), 3, "cpu, frames and completeness");
    for i in 4..=64 {
        root.store(&[busy("web1", i, i)]);
    }
    assert_eq!(now(START).len(), 3);
}

#[test]
fn a_segment_that_is_still_in_the_log_is_left_alone() {
    let root = Root::new();
    for i in 1..=3 {
        root.store(&[busy("web1", i, i)]);
    }
    let _running = root.open();
    assert_eq!(jobs(&root.place(), START, true, &BTreeSet::new()).unwrap()[0].files.len(), 3);
    let oldest = zonescope_collector_columnar::store::layout::log_file(root.path(), 3);
    std::fs::write(oldest, b"").unwrap();
    assert_eq!(jobs(&root.place(), START, true, &BTreeSet::new()).unwrap()[0].files.len(), 2);
}

#[test]
fn files_that_were_merged_and_not_yet_removed_count_once() {
    let root = Root::new();
    for i in 1..=3 {
        root.store(&[busy("web1", i, i)]);
    }
    let old: Vec<_> = root.parquet("cpu").into_iter().map(|f| (f.clone(), std::fs::read(f).unwrap())).collect();
    run(compact_all(&root.place(), START)).unwrap();
    for (path, bytes) in &old {
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(root.count("select count(*) from cpu"), 3);
    drop(root.open());
    assert_eq!(root.parquet("cpu").len(), 1, "swept away at the next start");
    assert_eq!(root.count("select count(*) from cpu"), 3);
}

#[test]
fn a_damaged_file_stays_and_its_neighbours_are_merged_apart() {
    let root = Root::new();
    for i in 1..=5 {
        root.store(&[busy("web1", i, i)]);
    }
    let damaged = root.parquet("cpu").remove(2);
    std::fs::write(&damaged, b"PAR1 no more").unwrap();
    let mut jobs = jobs(&root.place(), START, true, &BTreeSet::new()).unwrap();
    let job = jobs.remove(jobs.iter().position(|job| job.table == "cpu").unwrap());
    assert_eq!(run(merge(&root.place(), &job)).unwrap(), Outcome::Damaged([damaged.clone()].into()));
    run(compact_all(&root.place(), START)).unwrap();
    let names: Vec<String> =
        root.parquet("cpu").iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["0000000001-0000000002.parquet", "0000000003.parquet", "0000000004-0000000005.parquet"]);
    assert_eq!(root.count("select count(*) from cpu"), 4);
}

#[test]
fn users_tables_of_different_labels_are_merged() {
    let root = Root::new();
    for (i, label) in [(1, "b"), (2, "a"), (3, "b")] {
        let row = v1::Custom {
            table: "probe".to_owned(),
            labels: vec![v1::Label { name: label.to_owned(), value: i.to_string() }],
            values: vec![],
        };
        root.store(&[v1::Frame { custom: vec![row], ..frame("web1", i) }]);
    }
    let before = root.ask("select a, b, time from probe").sorted();
    run(compact_all(&root.place(), START)).unwrap();
    assert_eq!(root.parquet("probe").len(), 1);
    assert_eq!(root.ask("select a, b, time from probe").sorted(), before);
}
