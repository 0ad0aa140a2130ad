//! The spool: the ring's big brother on disk. What a generator published survives its restart, and the host's.
//!
//! # Layout
//! A directory of segments, `<epoch>-<number>.spool`, each some [`SEGMENT_BYTES`] long, written front to back and never changed
//! again ([`segment`]). A frame is found by the segments whose table says that they have its zone and number; such a
//! segment is read whole, its checksums tested, and kept for the next question. In memory the spool costs a
//! table of zones a segment, and [`CACHED`] segments.
//!
//! # What survives what
//! Frames are handed to a thread of its own over a queue of [`QUEUE_FRAMES`]; publishing never waits for a disk. Where
//! the disk does not keep up, frames are left out and counted: then a gap may not be recoverable. Written frames survive the
//! end of the process however it ends; every second they are synced, and from then on survive a loss of power too.
//! A segment that was torn is read up to where it is whole. On a full disk the oldest segments make room for the newest
//! frames; where there are none left, frames are left out, the thread says so once a minute, and goes on trying.
//!
//! # Bounds
//! [`Limits::bytes`] and [`Limits::age`]: the oldest segments go first, whatever epoch they are of. The segment being written
//! counts; so a spool is never larger than its bound and one segment.
//!
//! The spool belongs to one generator: a lock on the directory sees to it. Segments of another host (a cloned disk image)
//! are not read, and go in their turn.

mod segment;
mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use zonescope_proto::v1::Absence;

use crate::clock::Clock;
use crate::ring::Piece;
use segment::{Contents, Segment};
use writer::{Entry, Writer};

/// A segment is closed when it is this large: small enough to be read at once, large enough that there are not many.
pub const SEGMENT_BYTES: u64 = 4 << 20;

/// Frames on their way to the disk.
pub const QUEUE_FRAMES: usize = 16_384;

/// Segments kept in memory for the next question.
const CACHED: usize = 4;

/// How much is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes.
    pub bytes: u64,
    /// Oldest segment.
    pub age: Duration,
}

impl Default for Limits {
    /// 1 GiB and 24 hours: 1,000 zones reach back for a quarter of an hour, 10 zones for the whole day.
    fn default() -> Self {
        Limits { bytes: 1 << 30, age: Duration::from_secs(24 * 3600) }
    }
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another generator uses it.
    #[error("the spool {0} is in use by another generator")]
    Locked(PathBuf),
    /// It cannot be read or written.
    #[error("cannot {what} the spool {path}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The segments there are, the oldest first.
#[derive(Debug, Default)]
struct Index {
    segments: VecDeque<Arc<Segment>>,
    cache: VecDeque<(PathBuf, u64, Arc<Contents>)>,
}

/// What reader and writer share.
#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    host_id: String,
    limits: Limits,
    index: Mutex<Index>,
    dropped: AtomicU64,
    /// Frames that were written or dropped.
    done: AtomicU64,
    clock: Arc<dyn Clock>,
    lock: File,
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    /// Closing alone would not do: a child that this process is just starting holds a copy of the file until its exec.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl std::fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A spool. Dropping it writes what is queued, and ends its thread.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    queue: Option<SyncSender<Entry>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Spool {
    /// Opens the spool in `directory`, which is made where it is not there, and reads what it holds of this host.
    ///
    /// # Errors
    /// Where it is in use, or cannot be read or written.
    pub fn open(directory: &Path, limits: Limits, host_id: &str, clock: Arc<dyn Clock>) -> Result<Self, SpoolError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Io { what, path, source }
        };
        std::fs::create_dir_all(directory).map_err(failed("make", directory))?;
        let lock = lock(directory)?;
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed("list", directory))? {
            let path = entry.map_err(failed("list", directory))?.path();
            if path.extension().is_some_and(|e| e == segment::EXTENSION) {
                segments.push(Arc::new(Segment::open(&path, host_id).map_err(failed("read", &path))?));
            }
        }
        segments.sort_by_key(|segment| (segment.created_ns, segment.epoch, segment.number));
        let (frames, torn) = segments.iter().fold((0, 0), |(f, t), s| (f + s.frames(), t + s.torn_bytes));
        if !segments.is_empty() {
            tracing::info!(
                spool = %directory.display(), segments = segments.len(), frames, torn_bytes = torn,
                "earlier frames are kept on disk"
            );
        }
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            host_id: host_id.to_owned(),
            limits,
            index: Mutex::new(Index { segments: segments.into(), cache: VecDeque::new() }),
            dropped: AtomicU64::new(0),
            done: AtomicU64::new(0),
            clock,
            lock,
        });
        Ok(Spool { shared, queue: None, writer: None })
    }

    /// The epochs that it knows, the smallest first. A new one must be larger, even if the clock was set back.
    pub fn epochs(&self) -> Vec<u64> {
        let index = self.shared.index();
        let mut epochs: Vec<u64> = index.segments.iter().filter(|s| s.frames() > 0).map(|s| s.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// Begins to take frames of `epoch`.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(&mut self, epoch: u64) -> Result<(), SpoolError> {
        let (queue, entries) = std::sync::mpsc::sync_channel(QUEUE_FRAMES);
        let writer = Writer::new(Arc::clone(&self.shared), epoch);
        let thread =
            std::thread::Builder::new().name("spool".into()).spawn(move || writer.run(&entries)).map_err(|source| {
                SpoolError::Io { what: "start the thread of", path: self.shared.directory.clone(), source }
            })?;
        (self.queue, self.writer) = (Some(queue), Some(thread));
        Ok(())
    }

    /// Hands a frame to the disk. Never waits: where the queue is full the frame is left out, and counted.
    pub fn push(&self, zone: &str, begins: u64, sequence: u64, frame: Bytes) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(Entry { zone: zone.to_owned(), begins, sequence, frame }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.dropped.fetch_add(1, Relaxed);
                self.shared.done.fetch_add(1, Relaxed);
            }
        }
    }

    /// Frames that were left out, since the disk did not keep up or was full.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Frames that were written or left out, since the start: what was pushed earlier is not on its way any more.
    pub fn done(&self) -> u64 {
        self.shared.done.load(Relaxed)
    }

    /// Hands out what is known of `first..=last` of `zone` in `epoch`, in order, until `take` says `false`. Reads files.
    pub fn look_up(&self, epoch: u64, zone: &str, first: u64, last: u64, take: &mut dyn FnMut(Piece) -> bool) {
        let (segments, known) = {
            let index = self.shared.index();
            let of_epoch = || index.segments.iter().filter(|s| s.epoch == epoch);
            let mut wanted: Vec<_> = of_epoch().filter(|s| s.may_have(zone, first, last)).cloned().collect();
            wanted.sort_by_key(|segment| segment.number);
            (wanted, of_epoch().next().is_some())
        };
        if !known {
            take(Piece::Missing(first, last, Absence::UnknownEpoch));
            return;
        }
        let mut next = first;
        for segment in segments {
            // A segment that was deleted a moment ago, or has gone bad, has nothing: then that is missing.
            let Ok(contents) = self.contents(&segment) else { continue };
            for kept in contents.of(zone).filter(|kept| (first..=last).contains(&kept.sequence)) {
                if kept.sequence < next {
                    continue;
                }
                // Before its topic began nobody sent anything; what is missing after that was lost.
                let begins = kept.begins.clamp(next, kept.sequence);
                let before = [(next, begins, Absence::NeverSent), (begins, kept.sequence, Absence::Evicted)];
                for (from, to, why) in before.into_iter().filter(|(from, to, _)| from < to) {
                    if !take(Piece::Missing(from, to - 1, why)) {
                        return;
                    }
                }
                next = kept.sequence + 1;
                if !take(Piece::Frame(kept.sequence, kept.frame.clone())) {
                    return;
                }
            }
        }
        if next <= last {
            take(Piece::Missing(next, last, Absence::EndOfEpoch));
        }
    }

    fn contents(&self, segment: &Segment) -> io::Result<Arc<Contents>> {
        let bytes = segment.bytes();
        let cached = |index: &Index| {
            index
                .cache
                .iter()
                .find(|(path, len, _)| *path == segment.path && *len == bytes)
                .map(|(.., c)| Arc::clone(c))
        };
        if let Some(contents) = cached(&self.shared.index()) {
            return Ok(contents);
        }
        let contents = Arc::new(Contents::read(&segment.path)?);
        let mut index = self.shared.index();
        index.cache.retain(|(path, ..)| *path != segment.path);
        index.cache.push_back((segment.path.clone(), bytes, Arc::clone(&contents)));
        while index.cache.len() > CACHED {
            index.cache.pop_front();
        }
        Ok(contents)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// One generator a spool. The lock is the kernel's, and ends with the process however that ends.
fn lock(directory: &Path) -> Result<File, SpoolError> {
    let path = directory.join(".lock");
    let failed = |source| SpoolError::Io { what: "lock", path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(SpoolError::Locked(directory.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
