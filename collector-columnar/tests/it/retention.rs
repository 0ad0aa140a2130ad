//! The oldest goes first, whole hours at a time, until there is room left.

use std::time::Duration;

use zonescope_collector_columnar::store::retention::{Removed, Retention, retain};

use crate::support::*;

fn root_of_hours(hours: u64) -> Root {
    let root = Root::new();
    root.store(&(0..hours).map(|h| busy("web1", 1 + h * 3600, h)).collect::<Vec<_>>());
    root
}

fn hours(root: &Root) -> Vec<Cell> {
    root.ask("select nsec_user from cpu order by time").column()
}

#[test]
fn nothing_goes_unless_asked_for() {
    let root = root_of_hours(3);
    assert_eq!(retain(&root.place(), Retention::default(), u64::MAX).unwrap(), Removed::default());
}

#[test]
fn hours_older_than_the_bound_go_with_their_folders() {
    let root = root_of_hours(30);
    let keep = Retention { keep: Some(Duration::from_secs(3 * 3600)), max_bytes: None };
    let removed = retain(&root.place(), keep, START + 30 * HOUR).unwrap();
    assert_eq!((removed.hours, removed.files), (27, 81));
    assert_eq!(hours(&root), (27..30).map(Cell::Uint).collect::<Vec<_>>());
    assert!(!root.path().join("cpu/date=2025-11-21").exists());
}

#[test]
fn by_size_the_oldest_go_until_there_is_room_left() {
    let root = root_of_hours(20);
    let size = |root: &Root| root.files().iter().map(|f| f.metadata().unwrap().len()).sum::<u64>();
    let max = size(&root) / 2;
    let keep = Retention { keep: None, max_bytes: Some(max) };
    assert!(retain(&root.place(), keep, START).unwrap().hours >= 10);
    assert!(size(&root) <= max / 100 * 95);
    assert_eq!(retain(&root.place(), keep, START).unwrap().hours, 0, "and not again at once");
    assert_eq!(hours(&root).last(), Some(&Cell::Uint(19)));
}

#[test]
fn the_newest_hour_stays_whatever_the_bounds_say() {
    let root = root_of_hours(3);
    let keep = Retention { keep: Some(Duration::ZERO), max_bytes: Some(0) };
    retain(&root.place(), keep, START + 1000 * HOUR).unwrap();
    assert_eq!(hours(&root), [Cell::Uint(2)]);
}
