//! The recorded source: plays captures of other hosts through the same families as live ones, for tests, demos, load
//! and bug reports.
//!
//! It knows by itself what a file is:
//!
//! | capture | recognised by |
//! |---|---|
//! | a recording of ours (`zonescope-generator record`) | the first line names `zonescope` |
//! | a kstat chain, one kstat a line in JSON | lines with `module` |
//! | `kstat -p` | `module:instance:name:statistic<TAB>value` |
//! | `kstat -j` | an array that begins with `module` |
//! | packets of the 2013 system, one a line in JSON | lines with `zone` and `ticks` |
//!
//! Each may be compressed with zstd.

pub mod linux;
pub mod multiply;
pub mod open;
pub mod series;

use crate::source::{End, Sample, Source, Tick};

/// A capture: ticks one after the other, each with the time it was taken.
pub trait Capture: Send {
    /// Reads the next tick into `sample` and gives its time, ns since 1970 UTC, where the capture knows it; `None`
    /// at the end. What cannot be read is counted in the sample, and the next readable tick is given.
    fn next(&mut self, sample: &mut Sample) -> Option<Option<u64>>;

    /// Starts over.
    ///
    /// # Errors
    /// Where the file is gone.
    fn rewind(&mut self) -> std::io::Result<()>;

    /// Id and name of the host that was captured, where the capture knows them.
    fn host(&self) -> Option<(String, String)> {
        None
    }
}

/// How to play a capture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Playing {
    /// Start over at the end; times go on.
    pub repeat: bool,
    /// So many zones, by copying those of the capture; 0 leaves it as it is.
    pub zones: usize,
}

/// Plays a capture as a source. Its ticks keep the times at which they were taken.
pub struct Recorded {
    capture: Box<dyn Capture>,
    playing: Playing,
    /// Added to the times of the capture, so that they go on when it starts over.
    shift_ns: u64,
    first_ns: Option<u64>,
    last_ns: u64,
}

impl Recorded {
    /// Plays `capture`.
    pub fn new(capture: Box<dyn Capture>, playing: Playing) -> Self {
        Recorded { capture, playing, shift_ns: 0, first_ns: None, last_ns: 0 }
    }

    /// Id and name of the host that was captured, where the capture knows them.
    pub fn host(&self) -> Option<(String, String)> {
        self.capture.host()
    }

    fn start_over(&mut self, interval_ns: u64) -> bool {
        let Some(first) = self.first_ns.filter(|_| self.playing.repeat) else { return false };
        // A recording's times may be anything, backwards too.
        self.shift_ns = self.last_ns.saturating_add(interval_ns).saturating_sub(first);
        self.capture.rewind().is_ok()
    }
}

impl Source for Recorded {
    fn name(&self) -> &'static str {
        "recorded"
    }

    fn sample(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), End> {
        let time = match self.capture.next(sample) {
            Some(time) => time,
            None if self.start_over(tick.interval_ns) => self.capture.next(sample).ok_or(End)?,
            None => return Err(End),
        };
        // A capture that does not know its time is played now.
        let time = time.unwrap_or(tick.time_ns.saturating_sub(self.shift_ns));
        self.first_ns.get_or_insert(time);
        let time = time.saturating_add(self.shift_ns);
        self.last_ns = time;
        sample.time_ns = Some(time);
        multiply::multiply(sample, self.playing.zones);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks at these times, again and again.
    struct Times(Vec<u64>, usize);

    impl Capture for Times {
        fn next(&mut self, _: &mut Sample) -> Option<Option<u64>> {
            self.1 += 1;
            self.0.get(self.1 - 1).map(|time| Some(*time))
        }

        fn rewind(&mut self) -> std::io::Result<()> {
            self.1 = 0;
            Ok(())
        }
    }

    fn played(times: &[u64], ticks: usize) -> Vec<u64> {
        let mut recorded = Recorded::new(Box::new(Times(times.to_vec(), 0)), Playing { repeat: true, zones: 0 });
        let mut next = || {
            let mut sample = Sample::default();
            recorded.sample(Tick { time_ns: 1, interval_ns: 10 }, &mut sample).unwrap();
            sample.time_ns.unwrap()
        };
        (0..ticks).map(|_| next()).collect()
    }

    #[test]
    fn times_go_on_when_a_recording_starts_over() {
        assert_eq!(played(&[100, 110], 5), [100, 110, 120, 130, 140]);
    }

    #[test]
    fn times_that_go_backwards_or_have_no_room_are_played_all_the_same() {
        assert_eq!(played(&[100, 20], 4), [100, 20, 100, 20]);
        assert_eq!(played(&[1, u64::MAX], 4), [1, u64::MAX, u64::MAX, u64::MAX]);
    }
}
