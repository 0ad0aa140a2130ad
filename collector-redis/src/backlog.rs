//! Frames between the socket and Redis.
//!
//! # Bound
//! A number of bytes. When it is reached, first go frames that Redis has acknowledged, then the oldest that it has not:
//! the live state matters most. What is dropped is remembered, and goes on record as a gap. Receiving never waits for
//! Redis.
//!
//! # Why acknowledged frames stay for a while
//! Redis acknowledges before it has synced its file or told its replicas. A server that is killed and a replica that
//! takes over may therefore lack the last seconds. Frames stay until that time has passed, and after every trouble they are
//! looked at again: those that Redis lacks are written again, the others only bring the memory of previous values
//! up to date.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{FRAME_OVERHEAD_BYTES, RETAIN, RETAIN_PART};
use crate::zone::Lost;

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A zone's frame.
    Zone,
    /// A host frame: the end of a tick.
    Host,
    /// The word of the link that frames will never come.
    Gap(Lost),
}

/// A frame that waits.
#[derive(Debug, Clone)]
pub struct Held {
    /// Tag of the zone; of host frames the host's id, escaped, and a slash.
    pub tag: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Of which generator's start.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
    /// When it came, ns since 1970 UTC on our clock.
    pub arrived_ns: u64,
    /// How often frames of this zone come.
    pub interval_ms: u32,
    /// It came only when asked for.
    pub recovered: bool,
    /// The frame as it travelled.
    pub bytes: Bytes,
}

impl Held {
    fn cost(&self) -> u64 {
        (self.bytes.len() + FRAME_OVERHEAD_BYTES) as u64
    }

    fn retained_until(&self) -> u64 {
        let interval = Duration::from_millis(u64::from(self.interval_ms));
        self.arrived_ns + u64::try_from((RETAIN + 2 * interval).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The queue.
#[derive(Debug)]
pub struct Backlog {
    /// Frames that wait, by number.
    waiting: BTreeMap<u64, Held>,
    /// Frames that Redis has acknowledged.
    kept: BTreeMap<u64, Held>,
    next: u64,
    waiting_bytes: u64,
    kept_bytes: u64,
    ends_of_ticks: usize,
    bound: u64,
    dropped: u64,
    /// What was dropped of each zone, until that is on record.
    lost: HashMap<Arc<str>, Vec<Lost>>,
}

/// How full the backlog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    /// Frames that wait for Redis.
    pub waiting: usize,
    /// Bytes of all frames held, acknowledged ones included.
    pub bytes: u64,
    /// Frames dropped so far as it was full.
    pub dropped: u64,
}

impl Backlog {
    /// Holds at most `bound` bytes.
    pub fn new(bound: u64) -> Self {
        Backlog {
            waiting: BTreeMap::new(),
            kept: BTreeMap::new(),
            next: 0,
            waiting_bytes: 0,
            kept_bytes: 0,
            ends_of_ticks: 0,
            bound,
            dropped: 0,
            lost: HashMap::new(),
        }
    }

    /// Takes a frame. Gives how many others had to go for it.
    pub fn push(&mut self, held: Held) -> u64 {
        self.wait(self.next, held);
        self.next += 1;
        while self.bytes() > self.bound
            && let Some((_, held)) = self.kept.pop_first()
        {
            self.kept_bytes -= held.cost();
        }
        let before = self.dropped;
        while self.bytes() > self.bound
            && self.waiting.len() > 1
            && let Some((&oldest, _)) = self.waiting.first_key_value()
            && let Some(held) = self.unwait(oldest)
        {
            self.lose(held);
        }
        self.dropped - before
    }

    fn lose(&mut self, held: Held) {
        let lost = match held.kind {
            Kind::Host => return,
            Kind::Gap(lost) => lost,
            Kind::Zone => {
                self.dropped += 1;
                Lost { epoch: held.epoch, first: held.sequence, last: held.sequence, reason: "backlog_full" }
            }
        };
        let all = self.lost.entry(held.tag).or_default();
        let follows = |l: &&mut Lost| {
            l.epoch == lost.epoch && l.reason == lost.reason && l.last.checked_add(1) == Some(lost.first)
        };
        match all.last_mut().filter(follows) {
            Some(previous) => previous.last = lost.last,
            None => all.push(lost),
        }
    }

    fn bytes(&self) -> u64 {
        self.waiting_bytes + self.kept_bytes
    }

    fn wait(&mut self, number: u64, held: Held) {
        self.waiting_bytes += held.cost();
        self.ends_of_ticks += usize::from(held.kind == Kind::Host);
        self.waiting.insert(number, held);
    }

    fn unwait(&mut self, number: u64) -> Option<Held> {
        let held = self.waiting.remove(&number)?;
        self.waiting_bytes -= held.cost();
        self.ends_of_ticks -= usize::from(held.kind == Kind::Host);
        Some(held)
    }

    /// The next frames to write, with their numbers: at most `most`, of zones that `wanted` lets through.
    pub fn next(&self, most: usize, mut wanted: impl FnMut(&Held) -> bool) -> Vec<(u64, Held)> {
        self.waiting.iter().filter(|(_, h)| wanted(h)).take(most).map(|(n, h)| (*n, h.clone())).collect()
    }

    /// Whether a whole tick of some host waits, or so many frames.
    pub fn is_ripe(&self, frames: usize) -> bool {
        self.ends_of_ticks > 0 || self.waiting.len() >= frames
    }

    /// Redis has these.
    pub fn acknowledge(&mut self, numbers: impl IntoIterator<Item = u64>, now_ns: u64) {
        for number in numbers {
            if let Some(held) = self.unwait(number) {
                self.lost.remove(&held.tag);
                self.kept_bytes += held.cost();
                self.kept.insert(number, held);
            }
        }
        while let Some(oldest) = self.kept.first_entry() {
            if self.kept_bytes <= self.bound / RETAIN_PART && oldest.get().retained_until() > now_ns {
                break;
            }
            self.kept_bytes -= oldest.remove().cost();
        }
    }

    /// Redis may lack what it acknowledged of these zones: everything still held of them waits again.
    pub fn again(&mut self, of: impl Fn(&str) -> bool) {
        let numbers: Vec<u64> = self.kept.iter().filter(|(_, h)| of(&h.tag)).map(|(n, _)| *n).collect();
        for number in numbers {
            if let Some(held) = self.kept.remove(&number) {
                self.kept_bytes -= held.cost();
                self.wait(number, held);
            }
        }
    }

    /// What was dropped of the zone and is not on record yet.
    pub fn lost_of(&self, tag: &str) -> Vec<Lost> {
        self.lost.get(tag).cloned().unwrap_or_default()
    }

    /// How full it is.
    pub fn level(&self) -> Level {
        Level { waiting: self.waiting.len(), bytes: self.bytes(), dropped: self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BACKLOG_LEAST_BYTES;

    const S: u64 = 1_000_000_000;

    fn held(tag: &str, arrived_s: u64, bytes: usize) -> Held {
        let (bytes, kind) = (Bytes::from(vec![0; bytes]), if tag.ends_with('/') { Kind::Host } else { Kind::Zone });
        let (epoch, sequence) = (1, arrived_s + 1);
        let arrived_ns = arrived_s * S;
        Held { tag: tag.into(), kind, epoch, sequence, arrived_ns, interval_ms: 1000, recovered: false, bytes }
    }

    fn numbers(backlog: &Backlog) -> Vec<u64> {
        backlog.next(usize::MAX, |_| true).into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn the_oldest_goes_when_it_is_full_and_is_counted() {
        let mut backlog = Backlog::new(3 * (1000 + FRAME_OVERHEAD_BYTES as u64));
        for second in 0..5 {
            backlog.push(held("h/a", second, 1000));
        }
        assert_eq!(numbers(&backlog), [2, 3, 4]);
        let lost = Lost { epoch: 1, first: 1, last: 2, reason: "backlog_full" };
        assert_eq!((backlog.level().dropped, backlog.lost_of("h/a")), (2, vec![lost]));
        backlog.acknowledge([2], 0);
        assert_eq!(backlog.lost_of("h/a"), [], "once it is on record");
    }

    #[test]
    fn acknowledged_frames_go_before_any_that_waits() {
        let mut backlog = Backlog::new(3 * (1000 + FRAME_OVERHEAD_BYTES as u64));
        for second in 0..3 {
            backlog.push(held("h/a", second, 1000));
        }
        // Of what is acknowledged a quarter of the bound may stay: here not one frame.
        backlog.acknowledge([1], 0);
        backlog.push(held("h/a", 3, 1000));
        assert_eq!((numbers(&backlog), backlog.level().dropped), (vec![0, 2, 3], 0));
    }

    #[test]
    fn acknowledged_frames_stay_for_a_while_and_can_wait_again() {
        let mut backlog = Backlog::new(BACKLOG_LEAST_BYTES);
        for (second, tag) in [(0, "h/a"), (0, "h/b"), (5, "h/a")] {
            backlog.push(held(tag, second, 100));
        }
        backlog.acknowledge([0, 1, 2], S);
        assert_eq!(backlog.level().waiting, 0);
        backlog.again(|tag| tag == "h/a");
        assert_eq!(numbers(&backlog), [0, 2], "in their old order");
        backlog.acknowledge([0, 2], 60 * S);
        assert_eq!(backlog.level(), Level::default(), "after their time they are gone");
    }

    #[test]
    fn a_batch_is_ripe_at_the_end_of_a_tick() {
        let mut backlog = Backlog::new(BACKLOG_LEAST_BYTES);
        backlog.push(held("h/a", 0, 1));
        assert!(!backlog.is_ripe(10));
        backlog.push(held("h/", 0, 1));
        assert!(backlog.is_ripe(10));
        backlog.acknowledge([1], 0);
        assert!(!backlog.is_ripe(10) && backlog.is_ripe(1));
    }
}
