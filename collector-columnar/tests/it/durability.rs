//! Killed, torn, repeated, locked out: nothing lost, nothing twice.

use proptest::prelude::*;
use zonescope_collector_columnar::store::{Appended, Store, StoreError, StoreOptions};
use zonescope_proto::v1;

use crate::support::*;

/// The sequence numbers of a zone that are stored.
fn stored(root: &Root) -> Vec<Cell> {
    root.ask("select sequence from frames where zone = 'web1' order by sequence").column()
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<Cell> {
    range.map(Cell::Uint).collect()
}

fn frames(range: std::ops::RangeInclusive<u64>) -> Vec<v1::Frame> {
    range.map(|i| busy("web1", i, i)).collect()
}

#[test]
fn a_killed_collector_loses_nothing_that_was_synced() {
    let root = Root::new();
    let mut store = root.open();
    put(&mut store, &frames(1..=3));
    store.flush(START).unwrap();
    put(&mut store, &frames(4..=6));
    store.sync().unwrap();
    drop(store);
    assert_eq!(stored(&root), numbers(1..=6), "seen in the log that was left");

    let store = root.open();
    assert_eq!(store.counters().replayed, 3);
    assert_eq!(root.log().len(), 1, "what was left is in Parquet now");
    assert_eq!(stored(&root), numbers(1..=6));
}

#[test]
fn a_log_is_synced_within_the_second() {
    let root = Root::new();
    let mut store = root.open();
    put(&mut store, &frames(1..=1));
    let soon = START + SECOND + SECOND / 2;
    store.tick(soon).unwrap();
    assert!(!store.flush_due(soon));
    assert!(store.flush_due(START + 62 * SECOND), "a row becomes Parquet within the minute");
}

#[test]
fn a_frame_that_comes_again_is_dropped_before_and_after_a_restart() {
    let root = Root::new();
    let mut store = root.open();
    put(&mut store, &frames(1..=3));
    assert_eq!(put(&mut store, &frames(2..=4)), [Appended::Duplicate, Appended::Duplicate, Appended::Stored]);
    store.flush(START).unwrap();
    put(&mut store, &frames(5..=6));
    store.sync().unwrap();
    drop(store);

    let mut store = root.open();
    let again = put(&mut store, &frames(1..=7));
    assert_eq!(again.iter().filter(|a| **a == Appended::Duplicate).count(), 6);
    assert_eq!(store.counters().duplicates, 6);
    store.close(START).unwrap();
    assert_eq!(stored(&root), numbers(1..=7));
}

#[test]
fn a_new_epoch_begins_anew() {
    let root = Root::new();
    let mut store = root.open();
    put(&mut store, &frames(1..=2));
    let mut restarted = busy("web1", 1, 1);
    header(&mut restarted).epoch += SECOND;
    header(&mut restarted).time += 10 * SECOND;
    assert_eq!(put(&mut store, &[restarted]), [Appended::Stored]);
    let positions: Vec<_> = store.positions().into_values().collect();
    assert_eq!(positions, [(START + SECOND, 1)], "a subscriber resumes in the newer one");
}

#[test]
fn a_second_collector_is_refused_with_the_pid_of_the_first() {
    let root = Root::new();
    let first = root.open();
    let second = Store::open(root.place(), StoreOptions::default(), START).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&second, StoreError::Locked { pid: p, .. } if *p == pid), "{second}");
    assert!(second.to_string().contains(&pid));
    drop(first);
    root.open();
}

#[test]
fn a_time_beyond_what_a_row_can_hold_is_refused() {
    let root = Root::new();
    let mut store = root.open();
    let mut late = busy("web1", 1, 1);
    header(&mut late).time = u64::MAX;
    assert_eq!(put(&mut store, &[late]), [Appended::Refused]);
    store.close(START).unwrap();
    assert_eq!(root.count("select count(*) from frames"), 0);
}

#[test]
fn memory_is_bounded_and_its_bound_asks_for_a_flush() {
    let root = Root::new();
    let options = StoreOptions { memory_bytes: 64 << 10, ..StoreOptions::default() };
    let mut store = Store::open(root.place(), options, START).unwrap();
    let mut flushes = 0;
    for frame in frames(1..=2000) {
        assert!(store.accepts());
        put(&mut store, &[frame]);
        if store.flush_due(START) {
            flushes += 1;
            store.flush(START).unwrap();
        }
        assert!(store.memory_bytes() < 64 << 10);
    }
    assert!(flushes > 10);
    store.close(START).unwrap();
    assert_eq!(root.count("select count(*) from cpu"), 2000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_torn_log_costs_only_what_was_torn(cut: prop::sample::Index) {
        let root = Root::new();
        let mut store = root.open();
        put(&mut store, &frames(1..=20));
        store.sync().unwrap();
        drop(store);
        let log = root.log().remove(0);
        let bytes = std::fs::read(&log).unwrap();
        std::fs::write(&log, &bytes[..cut.index(bytes.len())]).unwrap();

        let before = stored(&root);
        prop_assert_eq!(&before, &numbers(1..=before.len() as u64), "a whole beginning");
        let mut store = root.open();
        prop_assert_eq!(&stored(&root), &before);
        // What was torn off comes again, and is taken.
        put(&mut store, &frames(1..=20));
        store.close(START).unwrap();
        prop_assert_eq!(stored(&root), numbers(1..=20));
    }
}

#[test]
fn unfinished_files_are_swept_away() {
    let root = Root::new();
    root.store(&frames(1..=3));
    let file = root.parquet("cpu").remove(0);
    let unfinished = file.with_file_name(".0000000009.parquet.tmp");
    std::fs::write(&unfinished, b"half a file").unwrap();
    assert_eq!(stored(&root), numbers(1..=3), "no reader sees it");
    drop(root.open());
    assert!(!unfinished.exists());
}

#[test]
fn numbers_of_segments_are_never_used_again() {
    let root = Root::new();
    for i in 1..=5 {
        root.store(&frames(i..=i));
    }
    let files: std::collections::BTreeSet<_> =
        root.parquet("cpu").iter().map(|f| f.file_name().unwrap().to_owned()).collect();
    assert_eq!(files.len(), 5);
}
