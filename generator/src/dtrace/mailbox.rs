//! Where a keeper leaves what it read, and a tick fetches it. The lock is held to move things in or out, never to work.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gather::Interval;
use super::limits::{MAX_ERROR_BYTES, MAX_WAITING};

/// What a program is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// No interval yet.
    #[default]
    Starting,
    /// Intervals come.
    Running,
    /// It ended, and will be started again soon.
    Waiting,
    /// This host lacks what it needs. Tried again rarely.
    Unavailable,
    /// Over its budget, or it failed too often. Off until a reload.
    Disabled,
    /// Ended by order.
    Stopped,
}

impl State {
    /// As the family `dtrace` names it.
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Unavailable => "unavailable",
            State::Disabled => "disabled",
            State::Stopped => "stopped",
        }
    }
}

/// How a program fares. Counts since the generator started.
#[derive(Debug, Clone, Default)]
pub struct Fare {
    /// What it is doing.
    pub state: State,
    /// Why it is not running.
    pub reason: Option<String>,
    /// Children started.
    pub starts: u64,
    /// Everything that went wrong.
    pub errors: u64,
    /// Events and rows lost.
    pub drops: u64,
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Strikes.
    pub over_budget: u64,
    /// CPU time of its children.
    pub cpu: Duration,
    /// Time that reading its output took since the last tick.
    pub reading: Duration,
    /// Keys in the last interval.
    pub keys: u64,
    /// Process id of the child, while there is one.
    pub pid: Option<u32>,
}

#[derive(Debug, Default)]
struct Mail {
    fare: Fare,
    /// The last thing that went wrong since the last tick.
    error: Option<String>,
    intervals: VecDeque<Interval>,
    last_end: Option<Instant>,
}

/// What a tick fetched.
#[derive(Debug, Default)]
pub struct Delivery {
    /// How it fares.
    pub fare: Fare,
    /// The last thing that went wrong since the last tick.
    pub error: Option<String>,
    /// Whole intervals, in order.
    pub intervals: Vec<Interval>,
    /// When the last interval ended.
    pub last_end: Option<Instant>,
}

/// Shared by one keeper and the ticks.
#[derive(Debug, Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    stop: AtomicBool,
    kill: AtomicBool,
}

impl Mailbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of the program.
    pub fn update(&self, change: impl FnOnce(&mut Fare)) {
        change(&mut self.mail().fare);
    }

    /// Something went wrong.
    pub fn error(&self, text: &str) {
        let mut mail = self.mail();
        mail.fare.errors += 1;
        mail.error = Some(cut(text, MAX_ERROR_BYTES).to_owned());
    }

    /// Says something without counting it as an error.
    pub fn remark(&self, text: &str) {
        self.mail().error = Some(cut(text, MAX_ERROR_BYTES).to_owned());
    }

    /// Leaves an interval for the next tick; the oldest of too many goes.
    pub fn deliver(&self, interval: Interval, now: Instant) {
        let mut mail = self.mail();
        mail.last_end = Some(now);
        mail.fare.state = State::Running;
        mail.fare.reason = None;
        mail.fare.keys = interval.rows.len() as u64 + interval.refused;
        mail.fare.drops += interval.refused;
        mail.intervals.push_back(interval);
        if mail.intervals.len() > MAX_WAITING {
            let lost = mail.intervals.pop_front().map_or(0, |interval| interval.rows.len() as u64);
            mail.fare.drops += lost;
        }
    }

    /// Fetches everything.
    pub fn fetch(&self) -> Delivery {
        let mut mail = self.mail();
        let fare = mail.fare.clone();
        mail.fare.reading = Duration::ZERO;
        Delivery {
            fare,
            error: mail.error.take(),
            intervals: mail.intervals.drain(..).collect(),
            last_end: mail.last_end,
        }
    }

    /// Orders an end: SIGTERM, then patience; or at once.
    pub fn order_stop(&self, at_once: bool) {
        self.stop.store(true, Ordering::Release);
        self.kill.fetch_or(at_once, Ordering::AcqRel);
    }

    /// Whether an end was ordered.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether it was ordered without patience.
    pub fn killing(&self) -> bool {
        self.kill.load(Ordering::Acquire)
    }
}

/// The beginning of a text.
pub fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtrace::gather::Row;

    #[test]
    fn a_tick_that_does_not_come_costs_the_oldest_intervals_and_counts_them() {
        let mailbox = Mailbox::default();
        for ticks in 0..10 {
            let mut interval = Interval::default();
            interval.push(Row::Ticks(ticks), 10);
            mailbox.deliver(interval, Instant::now());
        }
        let delivery = mailbox.fetch();
        assert_eq!(delivery.intervals.len(), MAX_WAITING);
        assert_eq!(delivery.intervals.last().unwrap().rows, [Row::Ticks(9)]);
        assert_eq!(delivery.fare.drops, 10 - MAX_WAITING as u64);
        assert!(mailbox.fetch().intervals.is_empty());
    }

    #[test]
    fn an_error_is_told_once_and_counted_for_good() {
        let mailbox = Mailbox::default();
        mailbox.error(&"ü".repeat(MAX_ERROR_BYTES));
        let delivery = mailbox.fetch();
        assert!(delivery.error.unwrap().len() <= MAX_ERROR_BYTES);
        let delivery = mailbox.fetch();
        assert_eq!((delivery.error, delivery.fare.errors), (None, 1));
    }
}
