//! The store at work: on a thread of its own, so that no disk ever holds up the receiver for longer than its queue
//! lasts.
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | receiver to store | [`QUEUE_BYTES`] of encoded frames | the receiver waits; ZeroMQ queues, then drops at the publisher; what was dropped is asked for later |
//! | store to flusher | one segment | the store gathers the next one, up to its bound of memory, then takes no more frames |
//!
//! The store's thread takes frames, writes and syncs the log. A second thread writes Parquet. A disk that refuses is
//! reported when it begins, once a minute while it lasts, and when it is over.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zonescope_link::clock::Clock;
use zonescope_link::{Event, Received};

use super::{Appended, Counters, Incoming, Sealed, Store, StoreError};
use crate::limits::QUEUE_BYTES;

/// Frames are taken from the queue in bunches of at most this many, between looks at the clock.
const BUNCH: usize = 256;
/// How long the store waits for a frame before it looks at the clock, and for the disk before it tries again.
const IDLE: Duration = Duration::from_millis(50);
/// A flush that failed is tried again after this: long enough for somebody to make room, short beside the minutes
/// that memory lasts.
const RETRY: Duration = Duration::from_secs(2);
/// A disk that goes on refusing is reported this often.
const REMIND: Duration = Duration::from_secs(60);

/// What a gap weighs in the queue.
const GAP_BYTES: usize = 256;

/// Where frames and gaps are put. When the last of these is dropped, the store ends.
#[derive(Debug, Clone)]
pub struct Inbox {
    queue: Sender<(Event, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl Inbox {
    /// Puts a frame or a gap, as soon as there is room. False when the store has ended. Cancel-safe: it is in, or it
    /// is not.
    pub async fn put(&self, event: Event) -> bool {
        let bytes = match &event {
            Event::Frame(received) => received.bytes.len(),
            Event::Gap(_) => GAP_BYTES,
        };
        let weight = u32::try_from(bytes.clamp(1, QUEUE_BYTES)).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).acquire_many_owned(weight).await {
            Ok(permit) => self.queue.send((event, permit)).is_ok(),
            Err(_) => false,
        }
    }
}

/// The store's thread.
#[derive(Debug)]
pub struct Ingest {
    thread: JoinHandle<Result<Counters, StoreError>>,
}

impl Ingest {
    /// Starts the threads.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub fn start(store: Store, clock: Arc<dyn Clock>) -> std::io::Result<(Inbox, Self)> {
        let (queue, events) = channel();
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        let flusher = Flusher::start()?;
        let worker = Worker { store, clock, events, flusher, retry_at: None, trouble: None };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || worker.run())?;
        Ok((Inbox { queue, room }, Ingest { thread }))
    }

    /// Waits for the store to end: every frame taken is in Parquet then.
    ///
    /// # Errors
    /// Where the disk refused to the last; what was durable is in the log.
    pub fn join(self) -> Result<Counters, StoreError> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Whether the store has ended, asked for or not.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Writes sealed segments, one at a time.
struct Flusher {
    work: Sender<Arc<Sealed>>,
    done: Receiver<Result<(), StoreError>>,
    /// What is being written, or is to be written again.
    current: Option<Arc<Sealed>>,
    busy: bool,
    began: Instant,
}

impl Flusher {
    fn start() -> std::io::Result<Self> {
        let (work, todo) = channel::<Arc<Sealed>>();
        let (report, done) = channel();
        std::thread::Builder::new().name("flush".to_owned()).spawn(move || {
            for sealed in todo {
                let result = sealed.write();
                // The worker gives its share up only after this one: the rows are freed where they were made.
                drop(sealed);
                if report.send(result).is_err() {
                    return;
                }
            }
        })?;
        Ok(Flusher { work, done, current: None, busy: false, began: Instant::now() })
    }

    fn begin(&mut self, sealed: Arc<Sealed>) {
        (self.busy, self.began) = (true, Instant::now());
        self.current = Some(Arc::clone(&sealed));
        // Ends only with us.
        let _ = self.work.send(sealed);
    }

    /// The result of a flush that ended since the last call.
    fn poll(&mut self, wait: Duration) -> Option<Result<(), StoreError>> {
        let result = if wait.is_zero() { self.done.try_recv().ok() } else { self.done.recv_timeout(wait).ok() };
        if let Some(result) = &result {
            self.busy = false;
            if result.is_ok() {
                self.current = None;
            }
        }
        result
    }
}

/// What the store's thread does.
struct Worker {
    store: Store,
    clock: Arc<dyn Clock>,
    events: Receiver<(Event, OwnedSemaphorePermit)>,
    flusher: Flusher,
    retry_at: Option<Instant>,
    trouble: Option<Trouble>,
}

/// A disk that refuses.
struct Trouble {
    since: Instant,
    said: Instant,
}

impl Worker {
    fn run(mut self) -> Result<Counters, StoreError> {
        while self.take() {
            let result = self.store.tick(self.clock.now_ns());
            self.judge(result);
            self.flush(Duration::ZERO);
        }
        while self.flusher.busy {
            self.flush(IDLE);
        }
        self.store.close(self.clock.now_ns())
    }

    /// Takes what has come, if there is room for it. False when no more will come.
    fn take(&mut self) -> bool {
        if !self.store.accepts() {
            self.flush(IDLE);
            if !self.flusher.busy {
                std::thread::sleep(IDLE);
            }
            return true;
        }
        let now = self.clock.now_ns();
        match self.events.recv_timeout(IDLE) {
            Ok((event, _permit)) => self.append(&event, now),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        for _ in 1..BUNCH {
            match self.events.try_recv() {
                Ok((event, _permit)) => self.append(&event, now),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        true
    }

    fn append(&mut self, event: &Event, now: u64) {
        let result = match event {
            Event::Gap(gap) => self.store.append_gap(gap, now),
            Event::Frame(Received { topic, frame, bytes, recovered, .. }) => {
                let result = self.store.append(&Incoming { frame, bytes, recovered: *recovered }, now);
                if matches!(result, Ok(Appended::Refused)) {
                    tracing::warn!(%topic, "a frame of a time that cannot be was refused");
                }
                result
            }
        };
        // What the log could not write it still has, and writes later: nothing is lost here. That it took a frame
        // says nothing of the disk.
        if let Err(error) = result {
            self.judge(Err(error));
        }
    }

    /// Begins a flush when one is due, ends one that is done; waits for that at most `wait`.
    fn flush(&mut self, wait: Duration) {
        if self.flusher.busy {
            if let Some(result) = self.flusher.poll(wait) {
                if result.is_ok() {
                    self.store.retire();
                    tracing::debug!(ms = self.flusher.began.elapsed().as_millis(), "flushed");
                }
                self.retry_at = result.is_err().then(|| Instant::now() + RETRY);
                self.judge(result);
            }
            return;
        }
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        if let Some(again) = self.flusher.current.clone() {
            self.flusher.begin(again);
        } else if self.store.flush_due(self.clock.now_ns()) {
            match self.store.seal(self.clock.now_ns()) {
                Ok(Some(sealed)) => self.flusher.begin(sealed),
                Ok(None) => {}
                Err(error) => {
                    self.retry_at = Some(Instant::now() + RETRY);
                    self.judge(Err(error));
                }
            }
        }
    }

    /// Says when the disk begins to refuse, that it still does, and that it does no more.
    fn judge(&mut self, result: Result<(), StoreError>) {
        match (result, &mut self.trouble) {
            (Ok(()), None) => {}
            (Ok(()), Some(trouble)) => {
                // All is well when nothing waits to be written again.
                if self.flusher.current.is_none() && self.retry_at.is_none() {
                    let seconds = trouble.since.elapsed().as_secs();
                    tracing::warn!(seconds, "the disk takes writes again; nothing that was received is lost");
                    self.trouble = None;
                }
            }
            (Err(error), trouble) => {
                let said = trouble.as_ref().map(|t| t.said);
                if said.is_none_or(|at| at.elapsed() >= REMIND) {
                    let memory = self.store.memory_bytes() >> 20;
                    let hint = if error.is_full() { "make room; " } else { "" };
                    tracing::error!(memory_mib = memory, "{error}: {hint}receiving goes on as long as memory lasts");
                    let since = trouble.as_ref().map_or_else(Instant::now, |t| t.since);
                    *trouble = Some(Trouble { since, said: Instant::now() });
                }
            }
        }
    }
}
