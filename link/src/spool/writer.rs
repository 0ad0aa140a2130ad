//! The thread that writes the spool: it may wait for the disk, so that nobody else has to.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::segment::{Open, Segment};
use super::{Index, Shared};

/// How often what was written is synced.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Failures are logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Frames that are written at once.
const BATCH: usize = 1024;

/// A frame on its way to the disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) zone: String,
    pub(super) begins: u64,
    pub(super) sequence: u64,
    pub(super) frame: Bytes,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    epoch: u64,
    next_number: u64,
    open: Option<Open>,
    unsynced: bool,
    synced: Instant,
    complained: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, epoch: u64) -> Self {
        Writer { shared, epoch, next_number: 0, open: None, unsynced: false, synced: Instant::now(), complained: None }
    }

    /// Writes what comes, until nobody sends any more.
    pub(super) fn run(mut self, entries: &Receiver<Entry>) {
        loop {
            match entries.recv_timeout(SYNC_EVERY) {
                Ok(first) => {
                    let batch = std::iter::once(first).chain(entries.try_iter().take(BATCH - 1));
                    let mut frames = 0;
                    let written = batch.into_iter().try_for_each(|entry| {
                        frames += 1;
                        self.add(&entry)
                    });
                    let written = written.and_then(|()| self.write());
                    self.report(written, frames);
                    self.shared.done.fetch_add(frames, Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.synced.elapsed() >= SYNC_EVERY {
                self.sync();
            }
        }
        self.sync();
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        if self.open.as_ref().is_some_and(Open::is_full) {
            self.write()?;
            self.sync();
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let shared = &self.shared;
                let now = shared.clock.now_ns();
                let open = loop {
                    let open = Open::create(&shared.directory, &shared.host_id, self.epoch, self.next_number, now);
                    // A name is used once, even if making the file failed half-way.
                    self.next_number += 1;
                    match open {
                        Err(error) if is_full(&error) && make_room(&mut shared.index(), 0) => {}
                        open => break open?,
                    }
                };
                let mut index = shared.index();
                index.segments.push_back(Arc::clone(&open.segment));
                evict(&mut index, shared, now);
                drop(index);
                self.open.insert(open)
            }
        };
        open.add(&entry.zone, entry.begins, entry.sequence, &entry.frame);
        Ok(())
    }

    /// Writes what was added. On a full disk the oldest segments make room; what does not fit even so is left out.
    fn write(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.added() == 0 {
            return Ok(());
        }
        self.unsynced = true;
        let failed = loop {
            match open.write() {
                Ok(()) => return Ok(()),
                Err(error) if !open.is_torn() && is_full(&error) && make_room(&mut self.shared.index(), 1) => {}
                Err(error) => break error,
            }
        };
        open.discard();
        if open.is_torn() {
            self.open = None;
        }
        Err(failed)
    }

    fn sync(&mut self) {
        self.synced = Instant::now();
        if std::mem::take(&mut self.unsynced)
            && let Some(open) = &self.open
        {
            let synced = open.sync();
            self.report(synced, 0);
        }
    }

    /// Counts what was lost, and says so once a minute.
    fn report(&mut self, result: io::Result<()>, frames: u64) {
        let Err(error) = result else { return };
        let dropped = self.shared.dropped.fetch_add(frames, Relaxed) + frames;
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(
                spool = %self.shared.directory.display(), dropped,
                "cannot write the spool: {error}; frames go on to subscribers, but do not survive a restart"
            );
        }
    }
}

/// Lets go of the oldest segments that are over the bounds; the newest stays.
fn evict(index: &mut Index, shared: &Shared, now_ns: u64) {
    let total = |segments: &VecDeque<Arc<Segment>>| segments.iter().map(|s| s.bytes()).sum::<u64>();
    let mut bytes = total(&index.segments) + super::SEGMENT_BYTES;
    let oldest_ns = now_ns.saturating_sub(u64::try_from(shared.limits.age.as_nanos()).unwrap_or(u64::MAX));
    while let Some(oldest) = index.segments.front() {
        if bytes <= shared.limits.bytes && oldest.created_ns >= oldest_ns {
            return;
        }
        bytes -= oldest.bytes();
        if !make_room(index, 1) {
            return;
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Removes the oldest segment, as long as more than `stay` are there. False where nothing was removed.
fn make_room(index: &mut Index, stay: usize) -> bool {
    if index.segments.len() <= stay {
        return false;
    }
    let Some(oldest) = index.segments.pop_front() else { return false };
    if let Err(error) = std::fs::remove_file(&oldest.path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(segment = %oldest.path.display(), "cannot remove an old segment: {error}");
    }
    index.cache.retain(|(cached, ..)| *cached != oldest.path);
    true
}
