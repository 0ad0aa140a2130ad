//! From the socket into the backlog: never waits for Redis.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use zonescope_link::clock::Clock;
use zonescope_link::{Counters, Event};

use crate::backlog::{Backlog, Held, Kind};
use crate::keys;
use crate::limits::BATCH_FRAMES;
use crate::zone::Lost;

/// What the receiving side and the writing side share.
pub struct Inbox {
    backlog: Mutex<Backlog>,
    counters: Mutex<Counters>,
    ripe: Notify,
    clock: Arc<dyn Clock>,
}

impl Inbox {
    /// Holds at most `bound` bytes of frames.
    pub fn new(bound: u64, clock: Arc<dyn Clock>) -> Self {
        Inbox { backlog: Mutex::new(Backlog::new(bound)), counters: Mutex::default(), ripe: Notify::new(), clock }
    }

    /// Takes what happened: a frame, or the word that frames will never come.
    pub fn put(&self, event: Event) {
        let arrived_ns = self.clock.now_ns();
        let held = match event {
            Event::Frame(received) => {
                let header = received.header();
                Held {
                    tag: keys::tag(&received.topic.host_id, &received.topic.zone).into(),
                    kind: if received.topic.zone.is_empty() { Kind::Host } else { Kind::Zone },
                    epoch: header.epoch,
                    sequence: header.sequence,
                    arrived_ns,
                    interval_ms: header.interval_ms,
                    recovered: received.recovered,
                    bytes: received.bytes,
                }
            }
            Event::Gap(gap) => {
                let lost = Lost { epoch: gap.epoch, first: gap.first, last: gap.last, reason: gap.reason.as_str() };
                Held {
                    tag: keys::tag(&gap.topic.host_id, &gap.topic.zone).into(),
                    kind: Kind::Gap(lost),
                    epoch: gap.epoch,
                    sequence: gap.last,
                    arrived_ns,
                    interval_ms: 0,
                    recovered: false,
                    bytes: Bytes::new(),
                }
            }
        };
        let mut backlog = self.backlog();
        backlog.push(held);
        if backlog.is_ripe(BATCH_FRAMES) {
            self.ripe.notify_one();
        }
    }

    /// The frames.
    pub fn backlog(&self) -> MutexGuard<'_, Backlog> {
        // Nothing under this lock can panic half-way; were it to, the queue would still be one.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a batch is ripe.
    pub async fn ripe(&self) {
        self.ripe.notified().await;
    }

    /// Notes what the link has counted.
    pub fn count(&self, counters: Counters) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// What the link has counted.
    pub fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
