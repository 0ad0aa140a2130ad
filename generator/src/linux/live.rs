//! A real system, or a directory tree that looks like one.
//!
//! Opening a file of procfs or cgroupfs costs more than reading it, so what is read at every tick stays open and
//! is read again from its start: the kernel then makes its content anew. The files kept open are bounded by
//! [`MAX_OPEN_FILES`] and by half of what the process may open; those that come first stay, the rest is opened
//! each time (replacing the oldest would replace all of them at every tick). A file that was not asked for in a
//! whole tick is closed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use zonescope_link::clock::Clock;

use super::files::{Facts, Files, Names, Node, Text};
use super::limits::MAX_OPEN_FILES;
use crate::source::Tick;

/// Reads the system under a root directory.
pub struct Live {
    root: String,
    clock: Arc<dyn Clock>,
    path: String,
    open: HashMap<String, Kept>,
    may_open: usize,
    round: u64,
}

/// A file kept open.
struct Kept {
    file: File,
    used: u64,
}

impl Live {
    /// Reads the system under `root`: `/` is this one.
    pub fn new(root: &str, clock: Arc<dyn Clock>) -> Self {
        let root = root.trim_end_matches('/').to_owned();
        Live { root, clock, path: String::new(), open: HashMap::new(), may_open: may_open(), round: 0 }
    }

    /// Keeps at most `files` open between ticks.
    #[must_use]
    pub fn keeping_open(mut self, files: usize) -> Self {
        self.may_open = files.min(may_open());
        self
    }

    fn under_root(&mut self, path: &str) -> &str {
        self.path.clear();
        self.path.push_str(&self.root);
        self.path.push_str(path);
        &self.path
    }

    /// Reads a file that is still open. `None` where it is not, or is no longer what the path names.
    fn read_kept(&mut self, path: &str, text: &mut Text) -> Option<()> {
        let kept = self.open.get_mut(path)?;
        kept.used = self.round;
        if fill(&kept.file, text).is_ok() {
            return Some(());
        }
        // Its process or cgroup is gone. Another may be there under the same path.
        self.open.remove(path);
        None
    }
}

/// Half of what this process may open, within the limit: the sockets need the rest.
fn may_open() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = usize::try_from(limit.unwrap_or(u64::MAX) / 2).unwrap_or(usize::MAX);
    half.min(MAX_OPEN_FILES)
}

fn fill(file: &File, text: &mut Text) -> io::Result<()> {
    text.fill(|buffer, offset| file.read_at(buffer, offset))
}

impl Files for Live {
    fn begin(&mut self, _tick: Tick) {
        let round = self.round;
        self.open.retain(|_, kept| kept.used == round);
        self.round += 1;
    }

    fn facts(&self) -> Facts {
        Facts {
            clock_ticks: rustix::param::clock_ticks_per_second().max(1),
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    fn read(&mut self, path: &str, text: &mut Text) -> io::Result<u64> {
        let file = File::open(self.under_root(path))?;
        fill(&file, text)?;
        Ok(self.clock.now_ns())
    }

    fn reread(&mut self, path: &str, text: &mut Text) -> io::Result<u64> {
        if self.read_kept(path, text).is_none() {
            let file = File::open(self.under_root(path))?;
            fill(&file, text)?;
            if self.open.len() < self.may_open {
                self.open.insert(path.to_owned(), Kept { file, used: self.round });
            }
        }
        Ok(self.clock.now_ns())
    }

    fn list(&mut self, path: &str, names: &mut Names) -> io::Result<()> {
        names.clear();
        for entry in fs::read_dir(self.under_root(path))? {
            let entry = entry?;
            let is_directory = entry.file_type().is_ok_and(|t| t.is_dir());
            names.push(&entry.file_name().to_string_lossy(), is_directory);
        }
        Ok(())
    }

    fn link(&mut self, path: &str, text: &mut Text) -> io::Result<()> {
        let target = fs::read_link(self.under_root(path))?;
        text.set(target.as_os_str().as_bytes());
        Ok(())
    }

    fn node(&mut self, path: &str) -> io::Result<Node> {
        let node = fs::metadata(self.under_root(path))?;
        // The size of a directory means something in procfs only, and a copy of procfs is another file system.
        let bytes = if node.is_dir() && !self.root.is_empty() { 0 } else { node.len() };
        Ok(Node { inode: node.ino(), links: node.nlink(), bytes })
    }
}
