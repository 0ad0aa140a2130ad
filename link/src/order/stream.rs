//! One topic in one epoch: which number comes next, what waits for it, and what never will come.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Item, Output, Reason};

/// The largest number a frame can have; one more can still be counted.
pub(super) const MAX_SEQUENCE: u64 = u64::MAX - 1;

/// What holding a frame costs beside its bytes.
const HELD_OVERHEAD: usize = 256;

/// The numbers of one topic in one epoch.
#[derive(Debug)]
pub(super) struct Stream<T> {
    /// The number that is handed out next: all before it have been.
    next: u64,
    /// The largest number that has certainly been sent.
    known: u64,
    /// Frames that wait for earlier ones.
    held: BTreeMap<u64, T>,
    /// Numbers that will never come: first to last, and why. `None`: nobody ever sent them.
    absent: BTreeMap<u64, (u64, Option<Reason>)>,
    /// How many numbers `absent` stands for.
    absent_count: u64,
    /// The epoch has ended, and nobody said yet with which number.
    open: bool,
    /// The epoch has ended, and nobody knows with which number.
    tail: Option<Reason>,
    /// Since when something is missing, on the clock of the host's life ([`super::host`]).
    pub(super) waits_since: Option<Duration>,
    /// When it was last heard of.
    pub(super) touched: Duration,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It will be handed out.
    Taken,
    /// It had come before, or had been given up.
    Duplicate,
    /// There is no room to let it wait. It counts as missing.
    NoRoom,
}

impl<T: Item> Stream<T> {
    pub(super) fn begin(next: u64, now: Duration) -> Self {
        Stream {
            next,
            known: next - 1,
            held: BTreeMap::new(),
            absent: BTreeMap::new(),
            absent_count: 0,
            open: false,
            tail: None,
            waits_since: None,
            touched: now,
        }
    }

    /// What a held frame counts in the buffer.
    pub(super) fn cost(item: &T) -> usize {
        item.bytes() + HELD_OVERHEAD
    }

    /// The position up to which everything has been handed out.
    pub(super) fn handed_out(&self) -> u64 {
        self.next - 1
    }

    /// A number was certainly sent.
    pub(super) fn sent(&mut self, sequence: u64, now: Duration) {
        self.known = self.known.max(sequence.min(MAX_SEQUENCE));
        self.touched = now;
    }

    /// Takes a frame; gives what it costs while it is here. `room`: whether it may wait. `flows`: whether the next one leaves at
    /// once; then it needs no room.
    pub(super) fn arrive(
        &mut self,
        sequence: u64,
        mut item: T,
        room: bool,
        flows: bool,
        now: Duration,
    ) -> (Fate, usize) {
        self.sent(sequence, now);
        if sequence < self.next || self.held.contains_key(&sequence) {
            return (Fate::Duplicate, 0);
        }
        let waits = sequence != self.next || !flows;
        if waits && !room {
            return (Fate::NoRoom, 0);
        }
        self.presence(sequence);
        if waits {
            item.wait();
        }
        let cost = Self::cost(&item);
        self.held.insert(sequence, item);
        (Fate::Taken, cost)
    }

    /// A number that was said to never come came.
    fn presence(&mut self, sequence: u64) {
        let Some((&first, &(last, why))) = self.absent.range(..=sequence).next_back() else { return };
        if sequence > last {
            return;
        }
        self.absent.remove(&first);
        if first < sequence {
            self.absent.insert(first, (sequence - 1, why));
        }
        if sequence < last {
            self.absent.insert(sequence + 1, (last, why));
        }
        self.absent_count -= 1;
    }

    /// Numbers will never come. Says nothing about those that are there, or that nobody ever claimed were sent.
    /// True where that was news.
    pub(super) fn never(&mut self, first: u64, last: u64, why: Option<Reason>) -> bool {
        if self.open && why == Some(Reason::Evicted) && last <= MAX_SEQUENCE {
            self.known = self.known.max(last);
        }
        let mut news = false;
        for (a, b) in self.missing(usize::MAX) {
            let (a, b) = (a.max(first), b.min(last).min(self.known));
            if a <= b {
                self.absent.insert(a, (b, why));
                self.absent_count += b - a + 1;
                news = true;
            }
        }
        news
    }

    /// The epoch has ended; its last number is to be asked for.
    pub(super) fn end(&mut self) {
        self.open = true;
    }

    /// The last number of the ended epoch is known: [`Stream::sent`] has it.
    pub(super) fn end_is_known(&mut self) {
        self.open = false;
        self.tail = None;
    }

    /// Nobody will ever know the last number of the ended epoch. `tell`: that itself is a gap. True where that was news.
    pub(super) fn end_is_lost(&mut self, tell: Option<Reason>) -> bool {
        let news = self.open;
        if self.open {
            self.tail = tell;
        }
        self.open = false;
        news
    }

    /// Whether its end is still to be asked for.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether everything that is known to have been sent has been handed out.
    pub(super) fn is_settled(&self) -> bool {
        self.next > self.known && !self.open && self.tail.is_none()
    }

    /// Whether numbers are missing that could still come.
    pub(super) fn wants(&self) -> bool {
        self.open || (self.known + 1).saturating_sub(self.next) > self.held.len() as u64 + self.absent_count
    }

    /// What is missing: at most `most` ranges, the first first. An open end is a range up to `u64::MAX`.
    pub(super) fn missing(&self, most: usize) -> Vec<(u64, u64)> {
        let mut ranges = Vec::new();
        let mut next = self.next;
        // Both maps in the order of their numbers: what is there, and what will never be.
        let mut held = self.held.keys().map(|n| (*n, *n)).peekable();
        let mut absent = self.absent.iter().map(|(a, (b, _))| (*a, *b)).peekable();
        while ranges.len() < most {
            let known = match (held.peek(), absent.peek()) {
                (Some(h), Some(a)) => {
                    if h.0 < a.0 {
                        held.next()
                    } else {
                        absent.next()
                    }
                }
                (Some(_), None) => held.next(),
                (None, _) => absent.next(),
            };
            let Some((first, last)) = known else { break };
            if next < first {
                ranges.push((next, first - 1));
            }
            next = last + 1;
        }
        let end = if self.open { u64::MAX } else { self.known };
        if ranges.len() < most && next <= end {
            ranges.push((next, end));
        }
        ranges
    }

    /// Hands out what is next, as far as it goes. Gives how many bytes no longer wait.
    pub(super) fn hand_out(
        &mut self,
        gap: impl Fn(u64, u64, Reason) -> Output<T>,
        ready: &mut VecDeque<Output<T>>,
    ) -> usize {
        let mut freed = 0;
        loop {
            if let Some(item) = self.held.remove(&self.next) {
                freed += Self::cost(&item);
                self.next += 1;
                ready.push_back(Output::Frame(item));
            } else if let Some((last, why)) = self.absent.remove(&self.next) {
                self.absent_count -= last - self.next + 1;
                let first = std::mem::replace(&mut self.next, last + 1);
                let Some(why) = why else { continue };
                // Neighbours of one reason are one gap.
                let mut last = last;
                while let Some((more, _)) = self.absent.get(&self.next).copied().filter(|(_, w)| *w == Some(why)) {
                    self.absent.remove(&self.next);
                    self.absent_count -= more - self.next + 1;
                    last = more;
                    self.next = more + 1;
                }
                ready.push_back(gap(first, last, why));
            } else {
                break;
            }
        }
        if self.next > self.known
            && !self.open
            && let Some(why) = self.tail.take()
        {
            ready.push_back(gap(self.next, u64::MAX, why));
        }
        freed
    }
}
