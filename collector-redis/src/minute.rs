//! How complete each minute of a zone is.
//!
//! The running minute stands in the zone's hash and changes in the transaction that moves the position, so that it is right
//! whoever is killed. With the first frame of a later minute it becomes an entry of the stream `completeness`.
//!
//! Minutes go forward only: what comes while a host's clock is set back counts in the minute that runs, as
//! entries of history go on after the last one.

/// A minute, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// A gap is spread over so many minutes at most; what is beyond them counts in the last.
const GAP_MINUTES: usize = 60;

/// One minute of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minute {
    /// Its first millisecond since 1970 UTC; 0 where none has begun.
    pub start_ms: u64,
    /// Frames stored, recovered ones included.
    pub received: u64,
    /// Frames of these that came only when asked for.
    pub recovered: u64,
    /// Frames that never came.
    pub missing: u64,
}

impl Minute {
    /// Frames that there were.
    pub fn expected(&self) -> u64 {
        self.received + self.missing
    }

    /// The minute in which `ms` counts, and the one that has ended by that.
    fn to(self, ms: u64) -> (Minute, Option<Minute>) {
        let start_ms = ms - ms % MINUTE_MS;
        if start_ms <= self.start_ms {
            return (self, None);
        }
        (Minute { start_ms, ..Minute::default() }, (self.expected() > 0).then_some(self))
    }

    /// Counts a frame of the time `ms`. Gives the minute that has ended by that.
    pub fn frame(&mut self, ms: u64, recovered: bool) -> Option<Minute> {
        let ended;
        (*self, ended) = self.to(ms);
        self.received += 1;
        self.recovered += u64::from(recovered);
        ended
    }

    /// Counts `missing` frames, the first of them at `ms`, and then one each `interval_ms`: in the minutes in which they would have
    /// come. Gives the minutes that have ended by that.
    pub fn gap(&mut self, mut ms: u64, interval_ms: u32, mut missing: u64) -> Vec<Minute> {
        let interval_ms = u64::from(interval_ms.max(1));
        let mut all_ended = Vec::new();
        for _ in 0..GAP_MINUTES {
            let ended;
            (*self, ended) = self.to(ms);
            all_ended.extend(ended);
            let here = missing.min((self.start_ms + MINUTE_MS - ms).div_ceil(interval_ms));
            self.missing += here;
            missing -= here;
            if missing == 0 {
                break;
            }
            ms += here * interval_ms;
        }
        self.missing += missing;
        all_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_700_000_040_000;

    #[test]
    fn a_minute_ends_when_a_frame_of_a_later_one_comes() {
        let mut minute = Minute::default();
        for second in 0..60 {
            assert_eq!(minute.frame(NOON + second * 1000, second < 2), None);
        }
        let ended = Minute { start_ms: NOON, received: 60, recovered: 2, missing: 0 };
        assert_eq!(minute.frame(NOON + 61_000, false), Some(ended));
        assert_eq!(minute, Minute { start_ms: NOON + 60_000, received: 1, recovered: 0, missing: 0 });
    }

    #[test]
    fn a_clock_set_back_counts_in_the_minute_that_runs() {
        let mut minute = Minute::default();
        minute.frame(NOON, false);
        assert_eq!(minute.frame(NOON - 600_000, false), None);
        assert_eq!(minute.gap(NOON - 600_000, 1000, 3), []);
        assert_eq!(minute, Minute { start_ms: NOON, received: 2, recovered: 0, missing: 3 });
    }

    #[test]
    fn a_gap_counts_in_the_minutes_in_which_its_frames_would_have_come() {
        let mut minute = Minute::default();
        minute.frame(NOON + 50_000, false);
        let ended = minute.gap(NOON + 51_000, 1000, 9 + 60 + 5);
        let missing = |ended: &[Minute]| ended.iter().map(|m| (m.start_ms, m.missing)).collect::<Vec<_>>();
        assert_eq!(missing(&ended), [(NOON, 9), (NOON + 60_000, 60)]);
        assert_eq!(missing(&[minute]), [(NOON + 120_000, 5)]);
    }

    #[test]
    fn a_gap_of_any_length_ends() {
        let mut minute = Minute::default();
        minute.frame(NOON, false);
        let ended = minute.gap(NOON + 1, 0, u64::MAX / 2);
        let missing: u64 = ended.iter().chain([&minute]).map(|m| m.missing).sum();
        assert_eq!((ended.len(), missing), (GAP_MINUTES - 1, u64::MAX / 2));
        let mut late = Minute::default();
        late.frame(u64::MAX / 1_000_000, false);
        late.gap(NOON, u32::MAX, 1000);
        assert_eq!(late.missing, 1000);
    }
}
