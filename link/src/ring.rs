//! The ring: the frames of the last minutes, kept so that a subscriber can ask for what it missed.
//!
//! Frames are kept in the order in which they were published, each as the very [`Bytes`] that the socket sends: keeping
//! a frame copies nothing. Two bounds, whichever is met first: [`Limits::bytes`], which counts each frame with
//! [`OVERHEAD_BYTES`] for its bookkeeping, and [`Limits::age`]. The oldest frames go first, whosesoever they are, so
//! that every topic reaches equally far back. Publishing and evicting are O(1); looking up a range costs a binary search
//! and its frames.
//!
//! The ring holds one epoch. What earlier epochs published is in the spool, if there is one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zonescope_proto::v1::Absence;

/// What keeping a frame costs beside its own bytes: slot, index, shares of allocations. Counted against the bound.
pub const OVERHEAD_BYTES: u64 = 192;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes, bookkeeping included.
    pub bytes: u64,
    /// Oldest frame.
    pub age: Duration,
}

impl Default for Limits {
    /// 64 MiB and 15 minutes: 70 zones reach back the whole time, 1,000 zones for about a minute.
    fn default() -> Self {
        Limits { bytes: 64 << 20, age: Duration::from_secs(15 * 60) }
    }
}

/// What is known of consecutive numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A frame.
    Frame(u64, Bytes),
    /// From the first to the second there is nothing, and never will be.
    Missing(u64, u64, Absence),
}

/// The frames of the last minutes.
#[derive(Debug)]
pub struct Ring {
    limits: Limits,
    slots: VecDeque<Slot>,
    /// The serial number of `slots[0]`: slots are numbered from the first one ever.
    base: u64,
    topics: HashMap<Arc<str>, Index>,
    bytes: u64,
}

#[derive(Debug)]
struct Slot {
    zone: Arc<str>,
    at: Duration,
    frame: Bytes,
}

/// Where the frames of one topic are.
#[derive(Debug)]
struct Index {
    /// The first number of the topic in this epoch.
    begins: u64,
    /// Number and slot of each frame that is kept, in order.
    kept: VecDeque<(u64, u64)>,
}

impl Ring {
    /// An empty ring.
    pub fn new(limits: Limits) -> Self {
        Ring { limits, slots: VecDeque::new(), base: 0, topics: HashMap::new(), bytes: 0 }
    }

    /// Keeps a frame of `zone` (empty: a host frame). Numbers of a zone grow; `begins` is the first it ever had.
    pub fn push(&mut self, zone: &str, begins: u64, sequence: u64, frame: Bytes, now: Duration) {
        self.bytes += cost(&frame);
        let serial = self.base + self.slots.len() as u64;
        let zone = match self.topics.get_key_value(zone) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(zone),
        };
        let index = self.topics.entry(Arc::clone(&zone)).or_insert_with(|| Index { begins, kept: VecDeque::new() });
        index.kept.push_back((sequence, serial));
        self.slots.push_back(Slot { zone, at: now, frame });
        self.evict(now);
    }

    /// Lets go of what is over the bounds.
    fn evict(&mut self, now: Duration) {
        while let Some(oldest) = self.slots.front() {
            if self.bytes <= self.limits.bytes && now.saturating_sub(oldest.at) <= self.limits.age {
                return;
            }
            self.bytes -= cost(&oldest.frame);
            if let Some(index) = self.topics.get_mut(&oldest.zone) {
                index.kept.pop_front();
                if index.kept.is_empty() {
                    self.topics.remove(&Arc::clone(&oldest.zone));
                }
            }
            self.slots.pop_front();
            self.base += 1;
        }
    }

    /// Hands out what is known of `first..=last` of `zone`, in order, until `take` says `false`. Nothing is said of
    /// numbers that are yet to come.
    pub fn look_up(&self, zone: &str, first: u64, last: u64, take: &mut dyn FnMut(Piece) -> bool) {
        let Some(index) = self.topics.get(zone) else {
            take(Piece::Missing(first, last, Absence::Evicted));
            return;
        };
        let mut next = first;
        if next < index.begins {
            let until = last.min(index.begins - 1);
            if !take(Piece::Missing(next, until, Absence::NeverSent)) || until == last {
                return;
            }
            next = index.begins;
        }
        let start = index.kept.partition_point(|(sequence, _)| *sequence < next);
        for (position, (sequence, serial)) in index.kept.iter().enumerate().skip(start) {
            if next < *sequence {
                // Before the oldest frame: it was there. Between two frames: the topic was silent, and began higher.
                let why = if position == 0 { Absence::Evicted } else { Absence::NeverSent };
                if !take(Piece::Missing(next, last.min(sequence - 1), why)) {
                    return;
                }
            }
            if *sequence > last {
                return;
            }
            let Some(slot) = serial.checked_sub(self.base).and_then(|i| self.slots.get(usize::try_from(i).ok()?))
            else {
                return;
            };
            if !take(Piece::Frame(*sequence, slot.frame.clone())) || *sequence == last {
                return;
            }
            next = sequence + 1;
        }
    }

    /// Frames that are kept no more, since the start.
    pub fn evicted(&self) -> u64 {
        self.base
    }

    /// Bytes kept, bookkeeping included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Frames kept.
    pub fn frames(&self) -> usize {
        self.slots.len()
    }
}

fn cost(frame: &Bytes) -> u64 {
    frame.len() as u64 + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn frame(zone: &str, sequence: u64) -> Bytes {
        Bytes::from(format!("{zone} {sequence}"))
    }

    fn pieces(ring: &Ring, zone: &str, first: u64, last: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        ring.look_up(zone, first, last, &mut |piece| {
            pieces.push(piece);
            true
        });
        pieces
    }

    #[test]
    fn a_range_comes_back_and_what_was_evicted_is_named() {
        let mut ring = Ring::new(Limits { bytes: u64::MAX, age: 3 * S });
        for n in 1..=10 {
            ring.push("a", 1, n, frame("a", n), S * n as u32);
        }
        let expected: Vec<Piece> = std::iter::once(Piece::Missing(2, 6, Absence::Evicted))
            .chain((7..=10).map(|n| Piece::Frame(n, frame("a", n))))
            .collect();
        assert_eq!(pieces(&ring, "a", 2, 10), expected);
        assert_eq!(pieces(&ring, "a", 2, 99), expected, "nothing is said of what is yet to come");
        assert_eq!(pieces(&ring, "b", 1, 2), [Piece::Missing(1, 2, Absence::Evicted)]);
    }

    #[test]
    fn numbers_before_a_topics_beginning_were_never_sent() {
        let mut ring = Ring::new(Limits::default());
        ring.push("a", 50, 50, frame("a", 50), S);
        let expected = [Piece::Missing(3, 49, Absence::NeverSent), Piece::Frame(50, frame("a", 50))];
        assert_eq!(pieces(&ring, "a", 3, 50), expected);
        assert_eq!(pieces(&ring, "a", 3, 9), [Piece::Missing(3, 9, Absence::NeverSent)]);
    }

    #[test]
    fn a_frame_that_is_kept_is_the_one_that_was_sent() {
        let mut ring = Ring::new(Limits::default());
        let sent = frame("a", 1);
        ring.push("a", 1, 1, sent.clone(), S);
        let Piece::Frame(_, kept) = pieces(&ring, "a", 1, 1).remove(0) else { panic!() };
        assert_eq!(kept.as_ptr(), sent.as_ptr());
    }

    proptest! {
        /// Whatever is pushed and asked: the bounds hold, and each number that was sent is a frame or was evicted,
        /// oldest first.
        #[test]
        fn the_ring_is_the_tail_of_what_was_published(
            pushes in proptest::collection::vec((0usize..4, 0u32..3, 0usize..300), 1..200),
            frames in 1u64..40,
            age in 1u32..60,
            ask in (0usize..4, 1u64..60, 0u64..60),
        ) {
            let zones = ["", "a", "b", "c"];
            let limits = Limits { bytes: frames * (OVERHEAD_BYTES + 150), age: S * age };
            let mut ring = Ring::new(limits);
            let mut published: Vec<(usize, u64, Duration, Bytes)> = Vec::new();
            let (mut now, mut last) = (Duration::ZERO, [0u64; 4]);
            for (zone, wait, size) in pushes {
                now += S * wait;
                last[zone] += 1;
                let frame = Bytes::from(vec![0u8; size]);
                ring.push(zones[zone], 1, last[zone], frame.clone(), now);
                published.push((zone, last[zone], now, frame));
            }
            prop_assert!(ring.bytes() <= limits.bytes);
            let kept = &published[published.len() - ring.frames()..];
            prop_assert_eq!(ring.bytes(), kept.iter().map(|(.., f)| cost(f)).sum::<u64>());
            prop_assert!(kept.iter().all(|(_, _, at, _)| now - *at <= limits.age));
            if let Some((.., at, frame)) = published.len().checked_sub(ring.frames() + 1).map(|i| &published[i]) {
                prop_assert!(now - *at > limits.age || ring.bytes() + cost(frame) > limits.bytes, "evicted in vain");
            }

            let (zone, first, more) = ask;
            let mut next = first;
            for piece in pieces(&ring, zones[zone], first, first + more) {
                match piece {
                    Piece::Frame(n, frame) => {
                        prop_assert_eq!(n, next);
                        prop_assert!(kept.iter().any(|(z, s, _, f)| (*z, *s) == (zone, n) && *f == frame));
                        next = n + 1;
                    }
                    Piece::Missing(a, b, why) => {
                        prop_assert_eq!((a, why), (next, Absence::Evicted));
                        prop_assert!(!kept.iter().any(|(z, s, ..)| *z == zone && (a..=b).contains(s)));
                        next = b + 1;
                    }
                }
            }
            prop_assert!(next > last[zone].min(first + more), "everything that was sent is spoken of");
        }
    }
}
