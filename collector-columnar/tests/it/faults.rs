//! A disk on which anything may fail: at any operation the process is killed, the power fails, the disk is full, a sync
//! fails, or a write takes only part of what it is given.
//!
//! Everything but a sync is done on the real file system, so that what is tested can read there; beside it stands what
//! of it a disk would still have after its power failed: of a file what was synced, of a folder the names that were synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use zonescope_collector_columnar::store::fs::{Fs, FsFile, RealFs};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// From this operation on nothing is done any more. A write is torn.
    Gone { from: usize },
    /// The disk is full before operation `to`, from `from` on. A write is torn.
    Full { from: usize, to: usize },
    /// This operation fails if it is a sync, and what was to be synced never is: the kernel forgets it.
    Sync { at: usize },
    /// Each write takes half of what it is given.
    Short,
}

/// A file: what it is, and what of it would outlive the power.
#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes that a failed sync lost for good.
    forgotten: Vec<std::ops::Range<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Debug, Default)]
struct State {
    operations: usize,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
}

/// The disk.
#[derive(Debug, Clone)]
pub struct Disk {
    fault: Fault,
    state: Arc<Mutex<State>>,
}

/// What the disk did with what was not synced when the power failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// All of it is gone.
    Lost,
    /// Of each file and folder it is gone, there in part, or there, as this number will have it.
    Some(u64),
}

impl Disk {
    pub fn new(fault: Fault) -> Self {
        Disk { fault, state: Arc::default() }
    }

    /// The same disk, with another fault; operations are counted anew.
    pub fn and_then(&self, fault: Fault) -> Self {
        self.state().operations = 0;
        Disk { fault, state: Arc::clone(&self.state) }
    }

    /// Operations that were attempted.
    pub fn operations(&self) -> usize {
        self.state().operations
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Counts an operation; fails where it is to fail.
    fn step(&self, is_sync: bool) -> io::Result<()> {
        let mut state = self.state();
        let number = state.operations;
        state.operations += 1;
        match self.fault {
            Fault::Gone { from } if number >= from => Err(io::Error::other("the process is gone")),
            Fault::Full { from, to } if (from..to).contains(&number) => Err(io::ErrorKind::StorageFull.into()),
            Fault::Sync { at } if is_sync && number == at => Err(io::Error::other("I/O error")),
            _ => Ok(()),
        }
    }

    /// The power fails: makes `root`, and what we know of the disk, what it is when it is back.
    pub fn lose_power(&self, root: &Path, unsynced: Unsynced) {
        let mut state = self.state();
        let mut dice = Dice(match unsynced {
            Unsynced::Lost => 0,
            Unsynced::Some(seed) => seed,
        });
        let mut roll = |sides: u64| if unsynced == Unsynced::Lost { 0 } else { dice.roll(sides) };
        // A folder has the names that it had when it was last synced, or those that it has now.
        let folders: BTreeSet<&Path> =
            state.names.keys().chain(state.durable.keys()).filter_map(|p| p.parent()).collect();
        let mut there = BTreeMap::new();
        for folder in folders {
            let names = if roll(2) == 0 { &state.durable } else { &state.names };
            let names = names.iter().filter(|(path, _)| path.parent() == Some(folder));
            there.extend(names.map(|(path, node)| (path.clone(), *node)));
        }
        for entry in std::fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        // Folders come before what is in them; what is in one that is gone is gone.
        there.retain(|path, node| {
            let is_there = path.parent().unwrap().is_dir();
            match node {
                _ if !is_there => {}
                Node::Folder => std::fs::create_dir(path).unwrap(),
                Node::File(inode) => {
                    let Inode { now, durable, .. } = &mut state.inodes[*inode];
                    let torn = durable.len() + now.len().saturating_sub(durable.len()) / 2;
                    match roll(3) {
                        0 => now.clone_from(durable),
                        1 => now.truncate(torn),
                        _ => {}
                    }
                    durable.clone_from(now);
                    std::fs::write(path, now).unwrap();
                }
            }
            is_there
        });
        state.names.clone_from(&there);
        state.durable = there;
    }
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

impl Fs for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step(false)?;
        RealFs.create_dir(path)?;
        self.state().names.insert(path.to_owned(), Node::Folder);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.step(false)?;
        let file = RealFs.create(path)?;
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.to_owned(), Node::File(inode));
        Ok(Box::new(DiskFile { file, inode, disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(false)?;
        RealFs.rename(from, to)?;
        let mut state = self.state();
        let node = state.names.remove(from).unwrap();
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(false)?;
        RealFs.remove_file(path)?;
        self.state().names.remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<bool> {
        self.step(false)?;
        let removed = RealFs.remove_dir(path)?;
        if removed {
            self.state().names.remove(path);
        }
        Ok(removed)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(true)?;
        let mut state = self.state();
        let State { names, durable, .. } = &mut *state;
        durable.retain(|name, _| name.parent() != Some(path));
        durable.extend(
            names.iter().filter(|(name, _)| name.parent() == Some(path)).map(|(name, node)| (name.clone(), *node)),
        );
        Ok(())
    }
}

struct DiskFile {
    file: Box<dyn FsFile>,
    inode: usize,
    disk: Disk,
}

impl DiskFile {
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.disk.state().inodes[self.inode].now.extend_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.step(false) {
            // None of it reaches the disk, a quarter, half, or three of them.
            let quarters = self.disk.operations() % 4;
            self.put(&bytes[..bytes.len() * quarters / 4])?;
            return Err(error);
        }
        match self.disk.fault {
            Fault::Short => self.put(&bytes[..bytes.len().div_ceil(2)]),
            _ => self.put(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl FsFile for DiskFile {
    fn sync(&mut self) -> io::Result<()> {
        let failed = self.disk.step(true);
        let mut state = self.disk.state();
        let Inode { now, durable, forgotten } = &mut state.inodes[self.inode];
        if failed.is_err() {
            forgotten.push(durable.len().min(now.len())..now.len());
            return failed;
        }
        durable.clone_from(now);
        for range in forgotten {
            let end = range.end.min(durable.len());
            durable[range.start.min(end)..end].fill(0);
        }
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disk.step(false)?;
        self.file.truncate(length)?;
        self.disk.state().inodes[self.inode].now.truncate(usize::try_from(length).unwrap());
        Ok(())
    }
}
