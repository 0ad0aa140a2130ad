//! The cadence: when ticks happen.
//!
//! Ticks are aligned to whole multiples of the interval, so that rows of different hosts meet in one instant. A tick
//! that cannot start in time is left out and counted; it never moves the following ones. (The sender of the 2013
//! system slept after its work and drifted: one packet every 1.0147 s, so 1.5 % of seconds had none.)

use crate::source::Tick;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The tick to do.
    pub tick: Tick,
    /// Ticks that were left out before it, because an earlier one ran late.
    pub skipped: u64,
}

/// Knows which tick was last.
#[derive(Debug, Clone)]
pub struct Cadence {
    interval_ns: u64,
    last_ns: Option<u64>,
}

impl Cadence {
    /// A tick every `interval_ns`, at whole multiples of it.
    pub fn new(interval_ns: u64) -> Self {
        Cadence { interval_ns: interval_ns.max(1), last_ns: None }
    }

    /// How long to wait from `now_ns` until the next tick. Never longer than an interval, even if somebody sets the clock back.
    pub fn wait_ns(&self, now_ns: u64) -> u64 {
        let into = now_ns % self.interval_ns;
        // Just after a tick's instant it is still due, unless it has been done.
        let this = now_ns - into;
        if self.last_ns.is_some_and(|last| last < this && this - last >= self.interval_ns) {
            0
        } else {
            self.interval_ns - into
        }
    }

    /// The tick that is due at `now_ns`: the latest instant that has passed.
    pub fn due(&mut self, now_ns: u64) -> Due {
        let time_ns = now_ns - now_ns % self.interval_ns;
        let skipped = match self.last_ns {
            Some(last) if time_ns > last => (time_ns - last) / self.interval_ns - 1,
            _ => 0,
        };
        self.last_ns = Some(time_ns);
        Due { tick: Tick { time_ns, interval_ns: self.interval_ns }, skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn ticks_fall_on_whole_seconds() {
        let mut cadence = Cadence::new(S);
        assert_eq!(cadence.wait_ns(10 * S + 300), S - 300);
        assert_eq!(cadence.due(11 * S + 2_000).tick.time_ns, 11 * S);
        assert_eq!(cadence.wait_ns(11 * S + 5_000), S - 5_000);
    }

    #[test]
    fn a_late_tick_is_skipped_and_counted_and_never_moves_the_next() {
        let mut cadence = Cadence::new(S);
        cadence.due(11 * S);
        // the work took 3.4 s
        assert_eq!(cadence.wait_ns(14 * S + S * 4 / 10), 0);
        let due = cadence.due(14 * S + S * 4 / 10);
        assert_eq!((due.tick.time_ns, due.skipped), (14 * S, 2));
        assert_eq!(cadence.wait_ns(14 * S + S * 5 / 10), S / 2);
    }

    #[test]
    fn a_clock_set_back_waits_one_interval_at_most() {
        let mut cadence = Cadence::new(S);
        cadence.due(1000 * S);
        assert!(cadence.wait_ns(400 * S + 1) <= S);
        assert_eq!(cadence.due(401 * S), Due { tick: Tick { time_ns: 401 * S, interval_ns: S }, skipped: 0 });
    }
}
