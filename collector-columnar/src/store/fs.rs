//! Every operation that changes the disk, behind one seam.
//!
//! The log, the Parquet writer, compaction and retention go through [`Fs`] and nothing else, so that a test can
//! count these operations, fail any of them, or stop the world after any of them, and look at what is left.
//! Reading changes nothing and uses the standard library directly.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::KNOWN_FOLDERS;

/// Changes the disk. An error says what was attempted, and on what.
pub trait Fs: Send + Sync + Debug {
    /// Makes a folder; its parent exists. One that is there already is no error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file, empty, over whatever is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;

    /// Gives a file another name, at once, over whatever is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. One that is not there is no error: it was removed before a crash.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder that is empty; false where it is not.
    fn remove_dir(&self, path: &Path) -> io::Result<bool>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file being written.
pub trait FsFile: Write + Send {
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file at `length` and goes on writing there.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

impl FsFile for std::fs::File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(|_| ())
    }
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

/// Says what was attempted, on what; keeps the kind of the error.
fn attempted<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> io::Error + 'a {
    move |error| io::Error::new(error.kind(), format!("cannot {what} {}: {error}", path.display()))
}

impl Fs for RealFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(attempted("make the folder", path)),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = std::fs::File::create(path).map_err(attempted("make the file", path))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to).map_err(attempted("rename", from))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(attempted("remove", path)),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<bool> {
        match std::fs::remove_dir(path) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(e) => Err(attempted("remove the folder", path)(e)),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(attempted("sync the folder", path))
    }
}

/// Makes the root, which may be any number of folders deep, durably.
///
/// # Errors
/// Where a folder cannot be made or synced.
pub fn make_root(fs: &dyn Fs, root: &Path) -> io::Result<()> {
    let made: Vec<&Path> = root.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    std::fs::create_dir_all(root).map_err(attempted("make the folder", root))?;
    let above = made.iter().filter_map(|path| path.parent());
    above
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path })
        .try_for_each(|path| fs.sync_dir(path))
}

/// Folders that are known to be durable.
///
/// That a folder is there does not say that it would outlive the power: the collector that made it may have been
/// killed before it synced its name. So each is synced once by each process.
#[derive(Debug, Default)]
pub struct Folders(Mutex<BTreeSet<PathBuf>>);

impl Folders {
    /// Makes a folder and those above it, down from `root`, which is there.
    pub(super) fn make(&self, fs: &dyn Fs, root: &Path, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent().filter(|_| path != root) else { return Ok(()) };
        // Retention removes folders.
        if self.durable().contains(path) && path.is_dir() {
            return Ok(());
        }
        self.make(fs, root, parent)?;
        fs.create_dir(path)?;
        fs.sync_dir(parent)?;
        let mut durable = self.durable();
        if durable.len() >= KNOWN_FOLDERS {
            durable.clear();
        }
        durable.insert(path.to_owned());
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
