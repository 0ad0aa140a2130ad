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
        self.shift_ns = self.last_ns + interval_ns - first;
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
        let time = time + self.shift_ns;
        self.last_ns = time;
        sample.time_ns = Some(time);
        multiply::multiply(sample, self.playing.zones);
        Ok(())
    }
}
