//! What one tick read, as a value: to write it down on one machine and read it on another.
//!
//! A [`Recorder`] stands between this source and any [`Files`], and notes whatever passes. A [`Recorded`] answers
//! from such notes. A recording is a line of JSON for each tick; it holds what kernel and runtimes say of zones
//! and processes (their names among it), and no command line, no environment, no content of a user's file.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::files::{Facts, Files, Names, Node, Text};
use super::host;
use crate::source::Tick;

/// Everything that one tick read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// What it is: [`Record::KIND`].
    pub zonescope: String,
    /// The version of its format: [`Record::VERSION`].
    pub version: u32,
    /// Time of the tick, ns since 1970 UTC.
    pub time_ns: u64,
    /// From one tick to the next, ns.
    pub interval_ns: u64,
    /// What the system says by no file.
    pub facts: Facts,
    /// Files.
    pub files: BTreeMap<String, Content>,
    /// Directories: the names in them, a slash behind those of directories.
    #[serde(default)]
    pub lists: BTreeMap<String, Vec<String>>,
    /// Symbolic links.
    #[serde(default)]
    pub links: BTreeMap<String, Bytes>,
    /// What paths are.
    #[serde(default)]
    pub nodes: BTreeMap<String, Node>,
    /// What could not be read, though it was there: the number of the error.
    #[serde(default)]
    pub errors: BTreeMap<String, i32>,
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// When, relative to the tick, ns.
    pub at: i64,
    /// Its content.
    pub text: Bytes,
}

/// Text where it is text, else the bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// UTF-8.
    Text(String),
    /// Anything.
    Raw(Vec<u8>),
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Bytes::Raw(bytes.to_vec()), |text| Bytes::Text(text.to_owned()))
    }
}

impl Bytes {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Bytes::Text(text) => text.as_bytes(),
            Bytes::Raw(bytes) => bytes,
        }
    }
}

impl Record {
    /// What such a line calls itself, first of all.
    pub const KIND: &'static str = "linux";
    /// The version written here.
    pub const VERSION: u32 = 1;

    /// The tick that it is a record of.
    pub fn tick(&self) -> Tick {
        Tick { time_ns: self.time_ns, interval_ns: self.interval_ns }
    }

    /// Notes an error. That something is not there needs no note.
    fn note<T>(&mut self, path: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::NotFound
            && let Some(number) = error.raw_os_error()
        {
            self.errors.insert(path.to_owned(), number);
        }
        result
    }

    fn missing(&self, path: &str) -> io::Error {
        self.errors.get(path).map_or_else(|| io::ErrorKind::NotFound.into(), |e| io::Error::from_raw_os_error(*e))
    }
}

/// Notes what is read of another.
pub struct Recorder<F> {
    inner: F,
    record: Record,
}

impl<F: Files> Recorder<F> {
    /// Notes what is read of `inner`.
    pub fn new(inner: F) -> Self {
        Recorder { inner, record: Record::default() }
    }

    /// The record of the tick that has just been read.
    pub fn take(&mut self) -> Record {
        std::mem::take(&mut self.record)
    }

    fn note_file(&mut self, path: &str, text: &Text, result: io::Result<u64>) -> io::Result<u64> {
        let at = self.record.note(path, result)?;
        let relative = at.cast_signed().wrapping_sub(self.record.time_ns.cast_signed());
        self.record.files.insert(path.to_owned(), Content { at: relative, text: Bytes::from(&**text) });
        Ok(at)
    }
}

impl<F: Files> Files for Recorder<F> {
    fn begin(&mut self, tick: Tick) {
        self.inner.begin(tick);
        self.record = Record {
            zonescope: Record::KIND.to_owned(),
            version: Record::VERSION,
            time_ns: tick.time_ns,
            interval_ns: tick.interval_ns,
            facts: self.inner.facts(),
            ..Record::default()
        };
        // Whose tick it is must be in its record too.
        host::identity(self);
    }

    fn facts(&self) -> Facts {
        self.inner.facts()
    }

    fn read(&mut self, path: &str, text: &mut Text) -> io::Result<u64> {
        let result = self.inner.read(path, text);
        self.note_file(path, text, result)
    }

    fn reread(&mut self, path: &str, text: &mut Text) -> io::Result<u64> {
        let result = self.inner.reread(path, text);
        self.note_file(path, text, result)
    }

    fn read_part(&mut self, path: &str, part: fn(&[u8]) -> Vec<u8>, text: &mut Text) -> io::Result<u64> {
        let result = self.inner.read_part(path, part, text);
        self.note_file(path, text, result)
    }

    fn list(&mut self, path: &str, names: &mut Names) -> io::Result<()> {
        let result = self.inner.list(path, names);
        self.record.note(path, result)?;
        let marked = names.iter().map(|(name, is_directory)| format!("{name}{}", if is_directory { "/" } else { "" }));
        self.record.lists.insert(path.to_owned(), marked.collect());
        Ok(())
    }

    fn link(&mut self, path: &str, text: &mut Text) -> io::Result<()> {
        let result = self.inner.link(path, text);
        self.record.note(path, result)?;
        self.record.links.insert(path.to_owned(), Bytes::from(&**text));
        Ok(())
    }

    fn node(&mut self, path: &str) -> io::Result<Node> {
        let result = self.inner.node(path);
        let node = self.record.note(path, result)?;
        self.record.nodes.insert(path.to_owned(), node);
        Ok(node)
    }
}

/// Answers from records.
#[derive(Debug, Default)]
pub struct Recorded {
    record: Record,
}

impl Recorded {
    /// Answers from `record` from now on.
    pub fn play(&mut self, record: Record) {
        self.record = record;
    }
}

impl Files for Recorded {
    fn facts(&self) -> Facts {
        self.record.facts
    }

    fn read(&mut self, path: &str, text: &mut Text) -> io::Result<u64> {
        let content = self.record.files.get(path).ok_or_else(|| self.record.missing(path))?;
        text.set(content.text.as_bytes());
        Ok(self.record.time_ns.wrapping_add_signed(content.at))
    }

    fn list(&mut self, path: &str, names: &mut Names) -> io::Result<()> {
        let list = self.record.lists.get(path).ok_or_else(|| self.record.missing(path))?;
        names.clear();
        for name in list {
            names.push(name.trim_end_matches('/'), name.ends_with('/'));
        }
        Ok(())
    }

    fn link(&mut self, path: &str, text: &mut Text) -> io::Result<()> {
        let target = self.record.links.get(path).ok_or_else(|| self.record.missing(path))?;
        text.set(target.as_bytes());
        Ok(())
    }

    fn node(&mut self, path: &str) -> io::Result<Node> {
        self.record.nodes.get(path).copied().ok_or_else(|| self.record.missing(path))
    }
}
