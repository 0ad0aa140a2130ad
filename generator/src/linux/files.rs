//! The seam between this source and the machine: files, directories, links, and two numbers.
//!
//! Everything above it is the same for a live system ([`super::Live`]), for a system laid out as a directory
//! tree (the same, with another root), and for a recording ([`super::Recorded`]). Paths are absolute, as the
//! watched system sees them.

use std::io;
use std::ops::{Deref, Range};

use super::limits::MAX_FILE_BYTES;
use crate::source::Tick;

/// Reads one system.
pub trait Files: Send {
    /// A tick begins.
    fn begin(&mut self, _tick: Tick) {}

    /// What the system says by no file.
    fn facts(&self) -> Facts;

    /// Reads a file into `text`, and says when: ns since 1970 UTC.
    fn read(&mut self, path: &str, text: &mut Text) -> io::Result<u64>;

    /// Reads a file that will be read again at the next tick: it may be kept open.
    fn reread(&mut self, path: &str, text: &mut Text) -> io::Result<u64> {
        self.read(path, text)
    }

    /// Reads only a part of a file, the rest of which is nobody's business: the files of container runtimes hold
    /// their users' secrets, which must not get into a recording. `part` of a part is that part.
    fn read_part(&mut self, path: &str, part: fn(&[u8]) -> Vec<u8>, text: &mut Text) -> io::Result<u64> {
        let at = self.read(path, text)?;
        text.set(&part(text));
        Ok(at)
    }

    /// Lists a directory into `names`.
    fn list(&mut self, path: &str, names: &mut Names) -> io::Result<()>;

    /// Reads a symbolic link into `text`.
    fn link(&mut self, path: &str, text: &mut Text) -> io::Result<()>;

    /// What a path is.
    fn node(&mut self, path: &str) -> io::Result<Node>;
}

/// What the system says by no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Facts {
    /// Units in which /proc counts CPU time, per second.
    pub clock_ticks: u64,
    /// Size of a page of memory.
    pub page_bytes: u64,
}

impl Default for Facts {
    /// What almost every Linux says.
    fn default() -> Self {
        Facts { clock_ticks: 100, page_bytes: 4096 }
    }
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Node {
    /// Its inode number.
    pub inode: u64,
    /// Links to it: of a directory in cgroupfs, 2 and one for each directory in it.
    pub links: u64,
    /// Its size, where that means something.
    pub bytes: u64,
}

/// The content of a file, in a buffer that is used again and again without being cleared.
#[derive(Debug, Default)]
pub struct Text {
    bytes: Vec<u8>,
    len: usize,
}

impl Text {
    /// Replaces the content.
    pub fn set(&mut self, content: &[u8]) {
        self.bytes.resize(self.bytes.len().max(content.len()), 0);
        self.bytes[..content.len()].copy_from_slice(content);
        self.len = content.len();
    }

    /// Replaces the content by what `read(buffer, offset)` gives until it gives nothing.
    pub(super) fn fill(&mut self, mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<()> {
        self.len = 0;
        loop {
            if self.len == self.bytes.len() {
                if self.len >= MAX_FILE_BYTES {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large to be read"));
                }
                self.bytes.resize((self.len * 2).max(8192), 0);
            }
            match read(&mut self.bytes[self.len..], self.len as u64) {
                Ok(0) => return Ok(()),
                Ok(n) => self.len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The names in a directory, in one buffer.
#[derive(Debug, Default)]
pub struct Names {
    text: String,
    names: Vec<(Range<usize>, bool)>,
}

impl Names {
    /// Forgets every name.
    pub fn clear(&mut self) {
        self.text.clear();
        self.names.clear();
    }

    /// Adds a name, and whether it is a directory's.
    pub fn push(&mut self, name: &str, is_directory: bool) {
        let start = self.text.len();
        self.text.push_str(name);
        self.names.push((start..self.text.len(), is_directory));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Every name, and whether it is a directory's.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.names.iter().map(|(range, is_directory)| (&self.text[range.clone()], *is_directory))
    }

    /// The names of directories.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|(_, is_directory)| *is_directory).map(|(name, _)| name)
    }
}
