//! What a D program may cost.
//!
//! Every second ends a window. A program that went over a limit in it gets a strike; [`STRIKES`] of them within
//! [`MEMORY`] end it. Output is not even read faster than the budget allows: the rest of the window the child waits in
//! write(2), so that a program that prints 100 MB/s costs us what the budget says. What is lost by its waiting, the
//! kernel counts as drops, and so do we.
//!
//! The CPU time is that of the child process. What probes cost where they fire shows on illumos as `cpu_nsec_dtrace` of
//! the kstats `cpu:*:sys`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// Strikes that end a program.
pub const STRIKES: usize = 3;
/// Strikes older than this are forgotten.
pub const MEMORY: Duration = Duration::from_secs(60);
/// Length of a window.
pub const WINDOW: Duration = Duration::from_secs(1);
/// Windows over which CPU time is measured: compiling and one slow second are no sign of a costly program.
const CPU_WINDOW: Duration = Duration::from_secs(10);

/// Limits of one program.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// CPU of the dtrace process, percent of one CPU, over ten seconds.
    pub cpu_percent: u32,
    /// Lines printed in a second.
    pub lines_per_second: u64,
    /// Bytes printed in a second.
    pub bytes_per_second: u64,
    /// Keys of its aggregations, all together, in an interval.
    pub keys: usize,
    /// Events dropped in a minute.
    pub drops_per_minute: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            cpu_percent: 15,
            lines_per_second: 100_000,
            bytes_per_second: 8 * 1024 * 1024,
            keys: 16_384,
            drops_per_minute: 10_000,
        }
    }
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    what: &'static str,
    measured: u64,
    allowed: u64,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "over budget: {} {}, allowed are {}", self.measured, self.what, self.allowed)
    }
}

/// What a window's end brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is well, or the window is not over.
    Within,
    /// A strike.
    Warn(Excess),
    /// The last one.
    Stop(Excess),
}

/// Measures one child against a budget. Time is an argument.
#[derive(Debug)]
pub struct Meter {
    budget: Budget,
    window: Instant,
    lines: u64,
    bytes: u64,
    refused: u64,
    drops: VecDeque<(Instant, u64)>,
    cpu: (Instant, Duration),
    strikes: VecDeque<Instant>,
}

impl Meter {
    /// Starts to measure.
    pub fn new(budget: Budget, now: Instant) -> Self {
        Meter {
            budget,
            window: now,
            lines: 0,
            bytes: 0,
            refused: 0,
            drops: VecDeque::new(),
            cpu: (now, Duration::ZERO),
            strikes: VecDeque::new(),
        }
    }

    /// Another child of the same program: its CPU time begins at zero, its strikes stay.
    pub fn restart(&mut self, now: Instant) {
        (self.window, self.lines, self.bytes, self.refused) = (now, 0, 0, 0);
        self.cpu = (now, Duration::ZERO);
    }

    /// Whether more may be read in this window.
    pub fn may_read(&self) -> bool {
        self.bytes <= self.budget.bytes_per_second && self.lines <= self.budget.lines_per_second
    }

    /// So much was read.
    pub fn read(&mut self, bytes: usize, lines: u64) {
        self.bytes += bytes as u64;
        self.lines += lines;
    }

    /// So many rows found no place in an interval.
    pub fn refused(&mut self, rows: u64) {
        self.refused += rows;
    }

    /// So many events were dropped.
    pub fn dropped(&mut self, events: u64, now: Instant) {
        match self.drops.back_mut() {
            Some((at, count)) if now.duration_since(*at) < WINDOW => *count += events,
            _ => self.drops.push_back((now, events)),
        }
    }

    /// Ends the window, if it is time. `cpu` is the CPU time of the child so far.
    pub fn look(&mut self, now: Instant, cpu: Duration) -> Verdict {
        if now.duration_since(self.window) < WINDOW {
            return Verdict::Within;
        }
        let excess = self.excess(now, cpu);
        (self.window, self.lines, self.bytes, self.refused) = (now, 0, 0, 0);
        while self.strikes.front().is_some_and(|at| now.duration_since(*at) > MEMORY) {
            self.strikes.pop_front();
        }
        let Some(excess) = excess else { return Verdict::Within };
        self.strikes.push_back(now);
        if self.strikes.len() >= STRIKES { Verdict::Stop(excess) } else { Verdict::Warn(excess) }
    }

    fn excess(&mut self, now: Instant, cpu: Duration) -> Option<Excess> {
        let Budget { cpu_percent, lines_per_second, bytes_per_second, keys, drops_per_minute } = self.budget;
        while self.drops.front().is_some_and(|(at, _)| now.duration_since(*at) > MEMORY) {
            self.drops.pop_front();
        }
        let over = |what, measured, allowed| (measured > allowed).then_some(Excess { what, measured, allowed });
        let drops = self.drops.iter().map(|(_, count)| count).sum();
        let dropped = over("drops in a minute", drops, drops_per_minute);
        if dropped.is_some() {
            // One burst is one strike.
            self.drops.clear();
        }
        over("bytes in a second", self.bytes, bytes_per_second)
            .or(over("lines in a second", self.lines, lines_per_second))
            .or((self.refused > 0).then_some(Excess {
                what: "keys in an interval",
                measured: keys as u64 + self.refused,
                allowed: keys as u64,
            }))
            .or(dropped)
            .or(self.cpu_percent(now, cpu).and_then(|used| over("% of a CPU", used, u64::from(cpu_percent))))
    }

    fn cpu_percent(&mut self, now: Instant, used: Duration) -> Option<u64> {
        let (since, before) = self.cpu;
        let elapsed = now.duration_since(since);
        if elapsed < CPU_WINDOW {
            return None;
        }
        self.cpu = (now, used);
        u64::try_from(used.saturating_sub(before).as_nanos() * 100 / elapsed.as_nanos().max(1)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn verdicts(budget: Budget, seconds: u32, mut each: impl FnMut(&mut Meter, u32, Instant)) -> Vec<Verdict> {
        let start = Instant::now();
        let mut meter = Meter::new(budget, start);
        let mut second = |at| {
            let now = start + SECOND * at;
            each(&mut meter, at, now);
            meter.look(now, Duration::from_millis(400) * at)
        };
        (1..=seconds).map(&mut second).collect()
    }

    #[test]
    fn three_strikes_within_a_minute_end_a_program() {
        let budget = Budget { bytes_per_second: 1000, cpu_percent: 100, ..Budget::default() };
        let seen = verdicts(budget, 3, |meter, _, _| meter.read(1001, 1));
        assert!(matches!(seen[..], [Verdict::Warn(_), Verdict::Warn(_), Verdict::Stop(_)]), "{seen:?}");
    }

    #[test]
    fn a_rare_burst_is_forgiven() {
        let budget = Budget { lines_per_second: 10, cpu_percent: 100, ..Budget::default() };
        let seen = verdicts(budget, 200, |meter, at, _| meter.read(1, if at % 40 == 0 { 11 } else { 1 }));
        assert_eq!(seen.iter().filter(|v| matches!(v, Verdict::Warn(_))).count(), 5);
        assert!(!seen.iter().any(|v| matches!(v, Verdict::Stop(_))));
    }

    #[test]
    fn cpu_is_measured_over_ten_seconds() {
        let budget = Budget { cpu_percent: 39, ..Budget::default() };
        let seen = verdicts(budget, 30, |_, _, _| {});
        let strikes: Vec<usize> = (1..=30).filter(|at| seen[at - 1] != Verdict::Within).collect();
        assert_eq!(strikes, [10, 20, 30]);
        let Verdict::Stop(excess) = seen[29] else { panic!() };
        assert_eq!(excess.to_string(), "over budget: 40 % of a CPU, allowed are 39");
    }

    #[test]
    fn keys_and_drops_count_too() {
        let seen =
            verdicts(Budget { keys: 5, cpu_percent: 100, ..Budget::default() }, 1, |meter, _, _| meter.refused(2));
        let [Verdict::Warn(excess)] = seen[..] else { panic!() };
        assert_eq!(excess.to_string(), "over budget: 7 keys in an interval, allowed are 5");
        let budget = Budget { drops_per_minute: 100, cpu_percent: 100, ..Budget::default() };
        let seen = verdicts(budget, 4, |meter, _, now| meter.dropped(26, now));
        assert!(matches!(seen[..], [Verdict::Within, Verdict::Within, Verdict::Within, Verdict::Warn(_)]), "{seen:?}");
    }

    #[test]
    fn reading_stops_for_the_rest_of_the_window() {
        let start = Instant::now();
        let mut meter = Meter::new(Budget { bytes_per_second: 10, ..Budget::default() }, start);
        meter.read(11, 0);
        assert!(!meter.may_read());
        meter.look(start + SECOND, Duration::ZERO);
        assert!(meter.may_read());
    }
}
