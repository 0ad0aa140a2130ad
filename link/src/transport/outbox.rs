//! What waits for one peer, and the peers of an endpoint.
//!
//! A frame is the same bytes in every queue, in the ring and in the spool's: a slow peer costs an entry a frame, and keeps alive
//! what the ring has let go. Three bounds hold that small: entries a peer, entries of all peers together, and the
//! time that an entry may wait, after which the peer is given up. What is left out is counted; a subscriber finds the
//! gap by its numbers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use omq_proto::subscription::SubscriptionSet;
use tokio::sync::Notify;
use tokio::time::Instant;
use zonescope_proto::limits::{
    MAX_QUEUED, MAX_QUEUED_ALL, MAX_QUEUED_BYTES, MAX_QUEUED_FAIR, MAX_SUBSCRIPTIONS, MAX_TOPIC_BYTES,
};

use super::wire::BATCH_BYTES;

/// Most entries that are made ready to leave at once.
const BATCH: usize = 64;

/// A message: topic and frame to a subscriber, or an answer alone.
pub(super) type Parcel = (Option<Bytes>, Bytes);

#[derive(Debug)]
struct Entry {
    parcel: Parcel,
    since: Instant,
}

#[derive(Debug, Default)]
struct Inside {
    /// How often each prefix was subscribed to; `wanted` has each once, and finds what a topic begins with.
    subscriptions: HashMap<Box<[u8]>, u32>,
    wanted: SubscriptionSet,
    queue: VecDeque<Entry>,
    bytes: usize,
}

/// What waits for one peer, and what it subscribed to.
#[derive(Debug)]
pub(super) struct Outbox {
    inside: Mutex<Inside>,
    filled: Notify,
    /// Entries of all peers.
    all: Arc<AtomicUsize>,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let left = self.inside().queue.len();
        self.all.fetch_sub(left, Relaxed);
    }
}

impl Outbox {
    /// Each operation under it is whole: a panic elsewhere does not make it wrong.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a subscription; `false` where that is one too many, or too long to match any topic.
    pub(super) fn subscribe(&self, prefix: &[u8]) -> bool {
        let mut inside = self.inside();
        if let Some(times) = inside.subscriptions.get_mut(prefix) {
            *times = times.saturating_add(1);
            return true;
        }
        let taken = inside.subscriptions.len() < MAX_SUBSCRIPTIONS && prefix.len() <= MAX_TOPIC_BYTES;
        if taken {
            inside.subscriptions.insert(prefix.into(), 1);
            inside.wanted.add(prefix);
        }
        taken
    }

    /// Ends a subscription.
    pub(super) fn cancel(&self, prefix: &[u8]) {
        let mut inside = self.inside();
        match inside.subscriptions.get_mut(prefix) {
            None => {}
            Some(times @ 2..) => *times -= 1,
            Some(_) => {
                inside.subscriptions.remove(prefix);
                inside.wanted.remove(prefix);
            }
        }
    }

    /// Queues what was subscribed to; `false` where there is no room.
    pub(super) fn publish(&self, topic: &Bytes, frame: &Bytes, now: Instant) -> bool {
        let mut inside = self.inside();
        !inside.wanted.matches(topic) || self.push(&mut inside, (Some(topic.clone()), frame.clone()), now)
    }

    /// Queues an answer; `false` where there is no room.
    pub(super) fn answer(&self, answer: Bytes, now: Instant) -> bool {
        self.push(&mut self.inside(), (None, answer), now)
    }

    fn push(&self, inside: &mut Inside, parcel: Parcel, now: Instant) -> bool {
        let (own, all) = (inside.queue.len(), self.all.load(Relaxed));
        let full = own >= MAX_QUEUED || inside.bytes >= MAX_QUEUED_BYTES;
        if full || (own >= MAX_QUEUED_FAIR && all >= MAX_QUEUED_ALL) {
            return false;
        }
        inside.bytes += parcel.1.len();
        inside.queue.push_back(Entry { parcel, since: now });
        self.all.fetch_add(1, Relaxed);
        self.filled.notify_one();
        true
    }

    /// Waits until there may be something to take. Cancel-safe.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes a batch, the oldest first; `false` where there is none.
    pub(super) fn take(&self, batch: &mut Vec<Parcel>) -> bool {
        let mut inside = self.inside();
        let mut bytes = 0;
        while bytes < BATCH_BYTES && batch.len() < BATCH {
            let Some(Entry { parcel, .. }) = inside.queue.pop_front() else { break };
            bytes += parcel.1.len();
            batch.push(parcel);
        }
        inside.bytes -= bytes;
        self.all.fetch_sub(batch.len(), Relaxed);
        if inside.queue.is_empty() {
            inside.queue.shrink_to(BATCH);
        }
        !batch.is_empty()
    }

    /// For how long the oldest has waited.
    pub(super) fn oldest(&self, now: Instant) -> Duration {
        self.inside().queue.front().map_or(Duration::ZERO, |entry| now.saturating_duration_since(entry.since))
    }
}

/// The outboxes of an endpoint, by connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Outboxes {
    each: Arc<Mutex<HashMap<u64, Arc<Outbox>>>>,
    opened: Arc<Notify>,
    all: Arc<AtomicUsize>,
}

impl Outboxes {
    fn each(&self) -> MutexGuard<'_, HashMap<u64, Arc<Outbox>>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An outbox for a connection, for as long as the guard lives.
    pub(super) fn open(&self, connection: u64) -> Open {
        let outbox = Arc::new(Outbox { inside: Mutex::default(), filled: Notify::new(), all: Arc::clone(&self.all) });
        self.each().insert(connection, Arc::clone(&outbox));
        self.opened.notify_one();
        Open { outboxes: self.clone(), connection, outbox }
    }

    /// Waits until one was opened since this was asked last.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// Queues for all that subscribed to it; says how many had no room.
    pub(super) fn publish(&self, topic: &Bytes, frame: &Bytes) -> u64 {
        let now = Instant::now();
        self.each().values().map(|outbox| u64::from(!outbox.publish(topic, frame, now))).sum()
    }

    /// The outbox of a connection, if it is still there.
    pub(super) fn of(&self, connection: u64) -> Option<Arc<Outbox>> {
        self.each().get(&connection).map(Arc::clone)
    }
}

/// An outbox that is open.
pub(super) struct Open {
    outboxes: Outboxes,
    connection: u64,
    pub(super) outbox: Arc<Outbox>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.outboxes.each().remove(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(outbox: &Outbox, most: usize) -> usize {
        let (topic, frame) = (Bytes::from_static(b"web1/h"), Bytes::from_static(b"frame"));
        (0..most).take_while(|_| outbox.publish(&topic, &frame, Instant::now())).count()
    }

    #[test]
    fn a_peer_that_takes_nothing_has_its_bound_and_all_together_have_theirs() {
        let outboxes = Outboxes::default();
        let open: Vec<_> = (0..20).map(|n| outboxes.open(n)).collect();
        let queued: Vec<_> = open
            .iter()
            .map(|open| {
                assert!(open.outbox.subscribe(b"web1/"));
                fill(&open.outbox, 2 * MAX_QUEUED)
            })
            .collect();
        assert_eq!(queued[0], MAX_QUEUED);
        // All are taken: whoever comes now has still the fair part.
        assert_eq!(queued[19], MAX_QUEUED_FAIR);
        assert!(queued.iter().sum::<usize>() <= MAX_QUEUED_ALL + 20 * MAX_QUEUED_FAIR);
        drop(open);
        assert_eq!(outboxes.all.load(Relaxed), 0);
    }

    #[test]
    fn bytes_are_bounded_too_and_free_when_taken() {
        let outboxes = Outboxes::default();
        let open = outboxes.open(1);
        let large = Bytes::from(vec![0; MAX_QUEUED_BYTES / 4]);
        let answers = (0..9).take_while(|_| open.outbox.answer(large.clone(), Instant::now())).count();
        assert_eq!(answers, 4);
        open.outbox.take(&mut Vec::new());
        assert!(open.outbox.answer(large, Instant::now()));
    }

    #[test]
    fn subscriptions_are_bounded_in_number_and_length_and_free_when_cancelled() {
        let outboxes = Outboxes::default();
        let open = outboxes.open(1);
        assert!(!open.outbox.subscribe(&[b'x'; MAX_TOPIC_BYTES + 1]));
        for n in 0..MAX_SUBSCRIPTIONS {
            assert!(open.outbox.subscribe(format!("zone{n}/").as_bytes()));
        }
        assert!(!open.outbox.subscribe(b"one more/"));
        open.outbox.cancel(b"never was/");
        assert!(!open.outbox.subscribe(b"one more/"));
        open.outbox.cancel(b"zone7/");
        assert!(open.outbox.subscribe(b"one more/"));
    }
}
