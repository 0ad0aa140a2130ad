//! The store: frames in, Parquet files out, nothing lost and nothing twice.
//!
//! # How a frame travels
//! 1. [`Store::append`] drops it if its number has been seen, puts it into the **log** ([`log`]) and its rows into
//!    **buffers** ([`buffers`]), by hour and table.
//! 2. [`Store::tick`] makes the log durable, many frames in one fsync, at most a second after the first of them.
//! 3. A **flush**, once a minute or when memory is short, seals the log's segment N and begins N+1. For each table
//!    and hour it writes one Parquet file named N under a name that nobody reads, syncs it, renames it, then syncs
//!    the folders, and only then removes segment N of the log.
//!
//! # Why nothing is lost, and nothing twice
//! At every instant a durable frame is in the log, or in Parquet, or in both. The **number of the segment** tells
//! both apart: while segment N is in the log, files named N do not count. That one rule serves three readers:
//!  * a collector that starts removes files named N for every N in the log, and flushes N again;
//!  * a query lists the log *first*, then the files, leaves out files of segments it listed, and reads those from
//!    the log. A flush in between adds only files that it leaves out, and removes a log that it holds open;
//!  * compaction merges only files of segments older than any in the log.
//!
//! So query and collector share no lock, no socket and no memory; only names of files.
//!
//! A frame that comes again (a generator sends it again, or a recovery overlaps) is known by its epoch, topic and
//! sequence number: [`seen`] has the last number of each topic, and finds them after a start in the newest files of
//! the tables `frames` and `gaps` and in the log.
//!
//! # What never came
//! A gap ([`lost`]) travels as a frame does, and is as durable: each number of a topic is in `frames` once, or in a
//! row of `gaps` once. What both make of each minute goes to `completeness` ([`minutes`]).
//!
//! # How it fails
//! A full disk: what cannot be written stays in memory and is tried again, frames are taken until the bounds in
//! limits.rs are reached, and everything goes on when there is room. What was durable stays. A flush that fails
//! half-way is done again from memory, over its own files. See [`log`] for a sync that fails.
//!
//! # Memory
//! Bounded by the options, however long it runs: rows being gathered and rows being written together stay below
//! `memory_bytes`; half of it begins a flush.
//!
//! Every operation that changes the disk goes through [`fs::Fs`].

pub mod buffers;
pub mod builder;
pub mod compact;
pub mod custom;
pub mod damage;
pub mod encoding;
pub mod error;
pub mod flush;
pub mod fs;
pub mod housekeeping;
pub mod ingest;
pub mod layout;
pub mod lock;
pub mod log;
pub mod lost;
pub mod minutes;
pub mod places;
pub mod recover;
pub mod retention;
pub mod seen;
pub mod sort;
pub mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zonescope_link::Gap;
use zonescope_proto::{Topic, v1};

pub use self::error::StoreError;
pub use self::flush::Sealed;

use self::buffers::Buffers;
use self::fs::{Folders, Fs};
use self::layout::{LOG_DIR, log_file};
use self::lock::Lock;
use self::log::{Kind, Log};
use self::seen::{Mark, Seen};
use crate::limits::{FLUSH_DEFAULT, LOG_PENDING_BYTES, MEMORY_DEFAULT_BYTES, OPEN_PARTS, REMEMBER, SYNC_DEFAULT};

/// Where the store is, and how it changes the disk there.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder.
    pub root: PathBuf,
    /// The file system.
    pub fs: Arc<dyn Fs>,
    folders: Arc<Folders>,
}

impl Place {
    /// There, by those means.
    pub fn new(root: PathBuf, fs: Arc<dyn Fs>) -> Self {
        Place { root, fs, folders: Arc::default() }
    }

    /// Makes a folder below the root and those above it that are missing, each durably.
    ///
    /// # Errors
    /// Where a folder cannot be made or synced.
    fn make_folder(&self, path: &Path) -> Result<(), StoreError> {
        self.folders.make(self.fs.as_ref(), &self.root, path).map_err(StoreError::io("make", path))
    }
}

/// How the store weighs memory, durability and the number of files.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Bound of the rows in memory.
    pub memory_bytes: usize,
    /// Longest time a frame may wait for its fsync.
    pub sync_every: Duration,
    /// Longest time a row may wait to become Parquet.
    pub flush_every: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions { memory_bytes: MEMORY_DEFAULT_BYTES, sync_every: SYNC_DEFAULT, flush_every: FLUSH_DEFAULT }
    }
}

/// A frame that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The frame, decoded and valid.
    pub frame: &'a v1::Frame,
    /// The same as it travelled.
    pub bytes: &'a [u8],
    /// It was missed when it was published, and asked for.
    pub recovered: bool,
}

/// What became of a frame, or of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is in; durable after the next sync.
    Stored,
    /// It had come before.
    Duplicate,
    /// Its time is none that a row can have: beyond the year 2262.
    Refused,
}

/// What the store did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames taken.
    pub frames: u64,
    /// Rows that they had.
    pub rows: u64,
    /// Frames dropped, as they had come before.
    pub duplicates: u64,
    /// Frames refused.
    pub refused: u64,
    /// Gaps put on record.
    pub gaps: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Frames that were found in the log at start.
    pub replayed: u64,
}

/// Takes frames and keeps them. One at a time per root.
#[derive(Debug)]
pub struct Store {
    place: Place,
    options: StoreOptions,
    log: Log,
    active: Buffers,
    /// When the first of the active rows came.
    active_since: Option<u64>,
    /// When the first frame that is not synced came.
    unsynced_since: Option<u64>,
    sealed: Option<Arc<Sealed>>,
    seen: Seen,
    counters: Counters,
    _lock: Lock,
}

impl Store {
    /// Opens a root, makes it if need be, and finishes what an earlier collector could not. `now` is in ns since
    /// 1970 UTC, here and below.
    ///
    /// # Errors
    /// Where another collector has it, or where the disk refuses.
    pub fn open(place: Place, options: StoreOptions, now: u64) -> Result<Self, StoreError> {
        fs::make_root(place.fs.as_ref(), &place.root).map_err(StoreError::io("make", &place.root))?;
        let lock = Lock::take(&place.root)?;
        let log_dir = place.root.join(LOG_DIR);
        place.make_folder(&log_dir)?;
        let recovered = recover::recover(&place, now)?;
        let log = Log::create(Arc::clone(&place.fs), &place.root, recovered.next_segment)
            .map_err(StoreError::io("begin the log in", &log_dir))?;
        let tables = layout::list_tables(&place.root).map_err(StoreError::io("read", &place.root))?;
        Ok(Store {
            place,
            options,
            log,
            active: Buffers::among(tables),
            active_since: None,
            unsynced_since: None,
            sealed: None,
            seen: recovered.seen,
            counters: Counters { replayed: recovered.frames, ..Counters::default() },
            _lock: lock,
        })
    }

    /// Takes a frame, unless it has come before. It is durable after the next sync ([`Store::tick`]).
    ///
    /// # Errors
    /// Where the log cannot be written now. The frame is kept all the same, in memory, and written later.
    pub fn append(&mut self, incoming: &Incoming<'_>, now: u64) -> Result<Appended, StoreError> {
        let Some(header) = incoming.frame.header.as_ref().filter(|h| i64::try_from(h.time).is_ok()) else {
            self.counters.refused += 1;
            return Ok(Appended::Refused);
        };
        if !self.seen.note(Mark::of(header), now) {
            self.counters.duplicates += 1;
            return Ok(Appended::Duplicate);
        }
        let rows = self.active.rows();
        self.active.add(incoming.frame, incoming.bytes.len(), incoming.recovered);
        self.counters.frames += 1;
        self.counters.rows += (self.active.rows() - rows) as u64;
        self.record(if incoming.recovered { Kind::Recovered } else { Kind::Frame }, incoming.bytes, now)
    }

    /// Puts frames that will never come on record, less those that have come or are on record. Durable as a frame is.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn append_gap(&mut self, gap: &Gap, now: u64) -> Result<Appended, StoreError> {
        let Some(lost) = self.seen.lost(gap, now) else {
            self.counters.duplicates += 1;
            return Ok(Appended::Duplicate);
        };
        self.seen.note_lost(&lost, now);
        self.active.add_lost(&lost);
        self.counters.gaps += 1;
        let mut body = Vec::new();
        lost.encode(&mut body);
        self.record(Kind::Gap, &body, now)
    }

    /// Puts into the log what has its rows already.
    fn record(&mut self, kind: Kind, body: &[u8], now: u64) -> Result<Appended, StoreError> {
        self.active_since.get_or_insert(now);
        self.unsynced_since.get_or_insert(now);
        self.log.append(kind, body).map_err(self.log_failed())?;
        Ok(Appended::Stored)
    }

    fn log_failed(&self) -> impl FnOnce(io::Error) -> StoreError + use<> {
        let path = log_file(&self.place.root, self.log.segment());
        move |source| StoreError::Io { what: "write", path, source }
    }

    /// Writes what the log has gathered, and syncs it when it is time. Call it whenever there is nothing else to do.
    ///
    /// # Errors
    /// Where the log cannot be written now; all is kept, and tried again at the next call.
    pub fn tick(&mut self, now: u64) -> Result<(), StoreError> {
        self.log.write().map_err(self.log_failed())?;
        if self.unsynced_since.is_some_and(|since| elapsed(since, now) >= self.options.sync_every) {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes every frame taken so far durable.
    ///
    /// # Errors
    /// Where that cannot be; see [`log`].
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.log.sync().map_err(self.log_failed())?;
        self.unsynced_since = None;
        Ok(())
    }

    /// Whether more frames may come. Where not, the disk does not keep up: flush, or wait.
    pub fn accepts(&self) -> bool {
        self.memory_bytes() < self.options.memory_bytes && self.log.pending_bytes() < LOG_PENDING_BYTES
    }

    /// Bytes of rows in memory.
    pub fn memory_bytes(&self) -> usize {
        self.active.bytes() + self.sealed.as_ref().map_or(0, |s| s.bytes())
    }

    /// Whether it is time to flush.
    pub fn flush_due(&self, now: u64) -> bool {
        self.active_since.is_some_and(|since| elapsed(since, now) >= self.options.flush_every)
            || self.active.bytes() >= self.options.memory_bytes / 2
            || self.active.parts() > OPEN_PARTS
            || self.log.is_given_up()
    }

    /// First half of a flush: ends the segment. The second half is [`Sealed::write`], which another thread may do
    /// while frames go on coming, and then [`Store::retire`]. `None` where there is nothing to flush, or where the
    /// flush before is not done.
    ///
    /// # Errors
    /// Where a new segment cannot be begun; then the old one goes on.
    pub fn seal(&mut self, now: u64) -> Result<Option<Arc<Sealed>>, StoreError> {
        if self.sealed.is_some() || self.active.rows() == 0 {
            return Ok(None);
        }
        let log_dir = self.place.root.join(LOG_DIR);
        let segment = self.log.roll(&self.place.root).map_err(StoreError::io("begin a new segment in", &log_dir))?;
        let next = self.active.next();
        let buffers = std::mem::replace(&mut self.active, next);
        (self.active_since, self.unsynced_since) = (None, None);
        self.seen.forget_before(now.saturating_sub(ns(REMEMBER)));
        let sealed = Arc::new(Sealed::new(&self.place, segment, buffers)?);
        self.sealed = Some(Arc::clone(&sealed));
        Ok(Some(sealed))
    }

    /// Last step of a flush, after [`Sealed::write`] succeeded: forgets the rows.
    pub fn retire(&mut self) {
        self.sealed = None;
        self.counters.flushes += 1;
    }

    /// A whole flush, waiting for it. After a flush that failed, the same rows first.
    ///
    /// # Errors
    /// Where the disk refuses; call it again later.
    pub fn flush(&mut self, now: u64) -> Result<(), StoreError> {
        if let Some(sealed) = self.sealed.clone() {
            sealed.write()?;
            self.retire();
        }
        if let Some(sealed) = self.seal(now)? {
            sealed.write()?;
            self.retire();
        }
        Ok(())
    }

    /// Ends: all in Parquet, the log empty and gone.
    ///
    /// # Errors
    /// Where the disk refuses; what was durable is in the log, for the next start.
    pub fn close(mut self, now: u64) -> Result<Counters, StoreError> {
        let _ = self.sync();
        self.flush(now)?;
        let log = log_file(&self.place.root, self.log.segment());
        self.place.fs.remove_file(&log).map_err(StoreError::io("remove", &log))?;
        Ok(self.counters)
    }

    /// What the store did since it was opened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How far each topic is stored: epoch and number, of its newest epoch. A subscriber may resume there.
    pub fn positions(&self) -> HashMap<Topic, (u64, u64)> {
        self.seen.positions()
    }
}

fn elapsed(since: u64, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(since))
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
