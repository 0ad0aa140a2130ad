//! Everything that can go wrong, at every single operation that changes the disk: afterwards, nothing that was
//! acknowledged is missing, nothing is twice, and nothing is left lying about.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use zonescope_collector_columnar::query::Engine;
use zonescope_collector_columnar::query::snapshot::Snapshot;
use zonescope_collector_columnar::store::fs::Fs;
use zonescope_collector_columnar::store::housekeeping::compact_all;
use zonescope_collector_columnar::store::{Place, Store, StoreError, StoreOptions};
use zonescope_link::{Gap, Reason};
use zonescope_proto::Topic;

use crate::faults::{Disk, Fault, Unsynced};
use crate::support::*;

/// Numbers of one topic, each a frame or a gap.
const NUMBERS: u64 = 10;

/// What was acknowledged before the end.
#[derive(Debug, Default)]
struct Acknowledged {
    durable: u64,
    taken: u64,
}

const ALL: Acknowledged = Acknowledged { durable: NUMBERS, taken: NUMBERS };

fn open(root: &Root, fs: impl Fs + 'static) -> Result<Store, StoreError> {
    Store::open(Place::new(root.path().to_owned(), Arc::new(fs)), StoreOptions::default(), START)
}

/// Number 4 and 5 are missing, 10 is an end that nobody knows.
fn append(store: &mut Store, number: u64) -> Result<(), StoreError> {
    let last = match number {
        4 | 5 => number,
        NUMBERS => u64::MAX,
        _ => {
            // In another hour now and then, so that a flush makes more than one folder.
            let mut frame = busy("web1", number, number);
            header(&mut frame).time += (number % 2) * HOUR;
            return try_put(store, &frame).map(|_| ());
        }
    };
    let topic = Topic::new("web1", "id-of-h").unwrap();
    let gap = Gap { topic, epoch: START, first: number, last, reason: Reason::Evicted };
    store.append_gap(&gap, START + HOUR + number * SECOND).map(|_| ())
}

/// Stores all numbers with flushes and a compaction between; stops at the first error.
fn life(root: &Root, disk: &Disk, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
    let place = Place::new(root.path().to_owned(), Arc::new(disk.clone()));
    let mut store = Store::open(place.clone(), StoreOptions::default(), START)?;
    for number in 1..=NUMBERS {
        acknowledged.taken = number;
        append(&mut store, number)?;
        store.sync()?;
        acknowledged.durable = number;
        if number % 3 == 0 {
            store.flush(START)?;
        }
        if number == 7 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(compact_all(&place, START))?;
        }
    }
    store.close(START).map(|_| ())
}

/// The numbers of a column, as every query sees them, in order. Without SQL: this is asked thousands of times.
fn numbers(snapshot: &Snapshot, table: &str, column: &str) -> Vec<u64> {
    let in_files = snapshot.files(table, |_| true).unwrap().into_iter().flat_map(|file| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&file.path).unwrap()).unwrap();
        reader.build().unwrap().map(Result::unwrap).collect::<Vec<_>>()
    });
    let in_log =
        snapshot.log_rows().unwrap().iter().filter(|part| part.table.name == table).map(|part| part.batch.clone());
    let values = |batch: RecordBatch| {
        let values = batch.column_by_name(column).unwrap().as_primitive::<UInt64Type>().clone();
        values.iter().map(Option::unwrap).collect::<Vec<_>>()
    };
    let mut numbers: Vec<u64> = in_files.chain(in_log).flat_map(values).collect();
    numbers.sort_unstable();
    numbers
}

/// Looks what is stored: each number is a frame once, or missing once, none is left out, and the minutes agree.
fn check(root: &Root, acknowledged: &Acknowledged, when: &str) {
    let snapshot = Engine::open(root.path(), 1).unwrap().snapshot().unwrap();
    let of = |table: &str, column: &str| numbers(&snapshot, table, column);
    let (frames, missing) = (of("frames", "sequence"), of("gaps", "first"));
    let mut numbers = [frames.as_slice(), &missing].concat();
    numbers.sort_unstable();
    let whole: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, whole, "{when}: each once, none left out");
    let count = numbers.len() as u64;
    assert!((acknowledged.durable..=acknowledged.taken).contains(&count), "{when}: {count} of {acknowledged:?}");

    assert_eq!(of("cpu", "nsec_user"), frames, "{when}");
    let of_minutes = ["received", "missing"].map(|column| of("completeness", column).iter().sum::<u64>());
    let ends = u64::from(count == NUMBERS);
    assert_eq!(of_minutes, [frames.len() as u64, missing.len() as u64 - ends], "{when}: minutes");
}

/// What is left is whole; the next collector finds it, is sent everything again, and leaves nothing lying about.
fn check_and_go_on(root: &Root, fs: impl Fs + 'static, acknowledged: &Acknowledged, when: &str) {
    check(root, acknowledged, &format!("a query after {when}"));
    let mut store = open(root, fs).unwrap();
    check(root, acknowledged, &format!("recovered after {when}"));
    for number in 1..=NUMBERS {
        append(&mut store, number).unwrap();
    }
    store.close(START).unwrap();
    check(root, &ALL, &format!("a second life after {when}"));
    let stray: Vec<_> = root.files().into_iter().filter(|f| f.extension().is_none_or(|e| e != "parquet")).collect();
    assert!(stray.is_empty(), "after {when}: {stray:?}");
}

/// How many operations a life takes.
fn operations() -> usize {
    let disk = Disk::new(Fault::None);
    life(&Root::new(), &disk, &mut Acknowledged::default()).unwrap();
    assert!(disk.operations() > 100, "only {} operations to try", disk.operations());
    disk.operations()
}

#[test]
fn killed_at_any_operation() {
    for from in 0..operations() {
        let (root, disk) = (Root::new(), Disk::new(Fault::Gone { from }));
        let mut acknowledged = Acknowledged::default();
        life(&root, &disk, &mut acknowledged).unwrap_err();
        let when = format!("a kill at operation {from}");
        // The power fails after the next collector has ended in order: nothing of what it acknowledged may depend on what
        // the killed one left unsynced.
        let disk = disk.and_then(Fault::None);
        check_and_go_on(&root, disk.clone(), &acknowledged, &when);
        disk.lose_power(root.path(), Unsynced::Lost);
        check(&root, &ALL, &format!("{when}, a second life, and a power failure"));
    }
}

#[test]
fn the_power_fails_at_any_operation() {
    for from in 0..operations() {
        for unsynced in [Unsynced::Lost, Unsynced::Some(from as u64)] {
            let (root, disk) = (Root::new(), Disk::new(Fault::Gone { from }));
            let mut acknowledged = Acknowledged::default();
            life(&root, &disk, &mut acknowledged).unwrap_err();
            disk.lose_power(root.path(), unsynced);
            let when = format!("a power failure at operation {from}, {unsynced:?}");
            check_and_go_on(&root, disk.and_then(Fault::None), &acknowledged, &when);
        }
    }
}

/// A life that goes on whatever fails, as the collector does, until all is flushed.
fn stubborn_life(root: &Root, disk: &Disk, when: &str) {
    const ATTEMPTS: usize = 20;
    let place = Place::new(root.path().to_owned(), Arc::new(disk.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // A store that cannot even be opened is opened by whoever restarts it.
    let store = (0..ATTEMPTS).find_map(|_| Store::open(place.clone(), StoreOptions::default(), START).ok());
    let mut store = store.unwrap_or_else(|| panic!("{when}"));
    for number in 1..=NUMBERS {
        let _ = append(&mut store, number);
        let _ = store.sync();
        if number % 3 == 0 || store.flush_due(START) {
            let _ = store.flush(START);
        }
        if number == 7 {
            let _ = runtime.block_on(compact_all(&place, START));
        }
    }
    assert!((0..ATTEMPTS).any(|_| store.flush(START).is_ok()), "{when}");
    check(root, &ALL, when);
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing() {
    for (from, length) in (0..operations()).flat_map(|from| [(from, 1), (from, 7)]) {
        let (root, disk) = (Root::new(), Disk::new(Fault::Full { from, to: from + length }));
        let when = format!("full at operation {from} and {length} more");
        stubborn_life(&root, &disk, &when);
        disk.lose_power(root.path(), Unsynced::Lost);
        check_and_go_on(&root, disk.and_then(Fault::None), &ALL, &format!("{when}, and a power failure"));
    }
}

#[test]
fn a_sync_that_fails_once_costs_nothing() {
    for at in 0..operations() {
        let (root, disk) = (Root::new(), Disk::new(Fault::Sync { at }));
        let when = format!("a failed sync at operation {at}");
        stubborn_life(&root, &disk, &when);
        disk.lose_power(root.path(), Unsynced::Lost);
        check_and_go_on(&root, disk.and_then(Fault::None), &ALL, &format!("{when}, and a power failure"));
    }
}

#[test]
fn writes_that_take_only_part_of_what_they_are_given_change_nothing() {
    let (root, disk) = (Root::new(), Disk::new(Fault::Short));
    life(&root, &disk, &mut Acknowledged::default()).unwrap();
    check_and_go_on(&root, disk, &ALL, "short writes");
}
