//! A crash at every single operation that changes the disk, and a disk that fills at every one: afterwards, nothing
//! that was durable is missing, nothing is twice, and nothing is left lying about.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use zonescope_collector_columnar::store::fs::{Fs, FsFile, RealFs};
use zonescope_collector_columnar::store::housekeeping::compact_all;
use zonescope_collector_columnar::store::{Place, Store, StoreError, StoreOptions};

use crate::support::*;

/// A file system of which some operations fail.
#[derive(Debug, Clone)]
struct Faulty {
    done: Arc<AtomicUsize>,
    /// Operations from this one on ...
    from: usize,
    /// ... and before this one fail.
    to: usize,
}

impl Faulty {
    /// All operations from number `from` on: the machine is gone.
    fn crash(from: usize) -> Self {
        Faulty { done: Arc::default(), from, to: usize::MAX }
    }

    /// Some operations: the disk is full for a while.
    fn full(from: usize, to: usize) -> Self {
        Faulty { done: Arc::default(), from, to }
    }

    fn step(&self) -> io::Result<()> {
        let number = self.done.fetch_add(1, SeqCst);
        if (self.from..self.to).contains(&number) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn was_reached(&self) -> bool {
        self.done.load(SeqCst) > self.from
    }
}

impl Fs for Faulty {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.step()?;
        Ok(Box::new(FaultyFile { file: RealFs.create(path)?, fs: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<bool> {
        self.step()?;
        RealFs.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealFs.sync_dir(path)
    }
}

struct FaultyFile {
    file: Box<dyn FsFile>,
    fs: Faulty,
}

impl Write for FaultyFile {
    /// A write that fails is torn: half of it reaches the disk.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.fs.step() {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl FsFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.step()?;
        self.file.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.fs.step()?;
        self.file.truncate(length)
    }
}

/// What was acknowledged before the end.
#[derive(Debug, Default)]
struct Acknowledged {
    durable: u64,
    taken: u64,
}

const FRAMES: u64 = 9;

/// Stores some frames with flushes and a compaction between; stops at the first error.
fn life(root: &Root, fs: Faulty, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
    let place = Place { root: root.path().to_owned(), fs: Arc::new(fs) };
    let mut store = Store::open(place.clone(), StoreOptions::default(), START)?;
    for i in 1..=FRAMES {
        acknowledged.taken = i;
        // In another hour now and then, so that a flush makes more than one folder.
        let mut frame = busy("web1", i, i);
        header(&mut frame).time += (i % 2) * HOUR;
        try_put(&mut store, &frame)?;
        store.sync()?;
        acknowledged.durable = i;
        if i % 3 == 0 {
            store.flush(START)?;
        }
        if i == 7 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(compact_all(&place, START))?;
        }
    }
    store.close(START).map(|_| ())
}

fn check(root: &Root, acknowledged: &Acknowledged, when: &str) {
    for (table, column) in [("cpu", "nsec_user"), ("frames", "sequence")] {
        let found = root.ask(&format!("select {column} from {table} order by {column}")).column();
        let whole: Vec<Cell> = (1..=found.len() as u64).map(Cell::Uint).collect();
        assert_eq!(found, whole, "{when}: {table}: each once, none left out");
        let count = found.len() as u64;
        assert!(
            (acknowledged.durable..=acknowledged.taken).contains(&count),
            "{when}: {count} in {table}, {acknowledged:?}"
        );
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_durable_and_stores_nothing_twice() {
    for operation in 0.. {
        let root = Root::new();
        let fs = Faulty::crash(operation);
        let mut acknowledged = Acknowledged::default();
        let ended = life(&root, fs.clone(), &mut acknowledged);
        if !fs.was_reached() {
            ended.unwrap();
            assert!(operation > 100, "only {operation} operations were tried");
            break;
        }
        check(&root, &acknowledged, &format!("a query after a crash at operation {operation}"));
        // The next collector starts, and is sent everything again.
        let mut store = root.open();
        check(&root, &acknowledged, &format!("recovered after a crash at operation {operation}"));
        for i in 1..=FRAMES {
            let mut frame = busy("web1", i, i);
            header(&mut frame).time += (i % 2) * HOUR;
            put(&mut store, &[frame]);
        }
        store.close(START).unwrap();
        let all = Acknowledged { durable: FRAMES, taken: FRAMES };
        check(&root, &all, &format!("after a crash at operation {operation} and a second life"));
        let stray: Vec<_> = root.files().into_iter().filter(|f| f.extension().is_none_or(|e| e != "parquet")).collect();
        assert!(stray.is_empty(), "after a crash at operation {operation}: {stray:?}");
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing() {
    for (operation, length) in (0..150).step_by(3).flat_map(|o| [(o, 1), (o, 7)]) {
        let root = Root::new();
        drop(root.open());
        let fs = Faulty::full(operation, operation + length);
        let place = Place { root: root.path().to_owned(), fs: Arc::new(fs) };
        // A store that cannot even be opened is opened by whoever restarts it.
        let Some(mut store) = (0..20).find_map(|_| Store::open(place.clone(), StoreOptions::default(), START).ok())
        else {
            panic!("operation {operation} and {length} more")
        };
        for i in 1..=FRAMES {
            let _ = try_put(&mut store, &busy("web1", i, i));
            let _ = store.sync();
            if i % 3 == 0 {
                let _ = store.flush(START);
            }
        }
        let flushed = (0..20).any(|_| store.flush(START).is_ok());
        assert!(flushed, "operation {operation} and {length} more");
        drop(store);
        let all = Acknowledged { durable: FRAMES, taken: FRAMES };
        check(&root, &all, &format!("full at operation {operation} and {length} more"));
    }
}
