//! What a source of samples is.
//!
//! A source reads one platform once a tick and puts what it saw into a [`Sample`]: for each zone a frame that
//! lacks only its header. It never fails as a whole: each family that could not be read whole is reported as a
//! [`v1::Collect`] row with its errors, and the rest goes on.

use std::collections::BTreeMap;

use zonescope_proto::{ZoneName, v1};

/// The moment that a tick stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// ns since 1970 UTC, a whole multiple of the interval.
    pub time_ns: u64,
    /// From one tick to the next, ns.
    pub interval_ns: u64,
}

/// Everything that one tick saw.
#[derive(Debug, Default)]
pub struct Sample {
    /// One frame a zone, without header.
    pub zones: BTreeMap<ZoneName, ZoneSample>,
    /// How each family fared.
    pub collect: Vec<v1::Collect>,
    /// Set by a source that plays a recording: when this was seen, ns since 1970 UTC.
    pub time_ns: Option<u64>,
}

/// What one tick saw of one zone.
#[derive(Debug, Default)]
pub struct ZoneSample {
    /// Who it is. Its name is filled in by [`Sample::zone`].
    pub zone: v1::Zone,
    /// Its families; no header yet. In a box: a frame has 4 KB without what it holds, and a map moves its values about, and leaves
    /// room for as many again.
    pub frame: Box<v1::Frame>,
}

impl Sample {
    /// The sample of one zone, made where it is not there yet.
    pub fn zone(&mut self, name: &ZoneName) -> &mut ZoneSample {
        if !self.zones.contains_key(name) {
            let zone = v1::Zone { name: name.to_string(), ..v1::Zone::default() };
            self.zones.insert(name.clone(), ZoneSample { zone, ..ZoneSample::default() });
        }
        #[allow(clippy::expect_used, reason = "inserted above")]
        self.zones.get_mut(name).expect("the zone is there")
    }
}

/// Reads one platform, once a tick.
pub trait Source: Send {
    /// `linux`, `kstat`, `dtrace`, `recorded`: as the family `collect` names it.
    fn name(&self) -> &'static str;

    /// Reads everything for `tick` into `sample`.
    ///
    /// # Errors
    /// [`End`] where nothing more will ever come: a recording has been played. Anything else that goes wrong
    /// is reported in [`Sample::collect`].
    fn sample(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), End>;

    /// Reads again what the operator may have changed (SIGHUP).
    fn reload(&mut self) {}

    /// Ends what the source has started. True where one more sample brings what was left.
    fn shutdown(&mut self) -> bool {
        false
    }
}

/// A source has no more samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source has no more samples")]
pub struct End;
