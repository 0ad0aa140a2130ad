//! How complete each minute of a zone is: the rows of the table `completeness`.
//!
//! They are made where the rows of `frames` and `gaps` are made, out of the same frames, and go the same way: through
//! the log, into Parquet, out with the hour. So they are as exact as those, and cost a sixtieth. A frame that comes
//! late adds to a minute that is in Parquet already; a row is therefore what one segment of the log adds to its minute, and
//! whoever reads the files sums up. The table in SQL does that by itself.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use zonescope_proto::{Value, Visitor};

use super::builder::{At, TableBuilder};
use super::lost::MINUTE;
use super::places::Places;
use crate::schema::Table;

/// What one row takes in memory.
const ROW_BYTES: usize = std::mem::size_of::<(i64, Tally)>();

/// Frames of one zone that were due in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that are stored.
    pub received: u64,
    /// Of these, those that were missed and asked for.
    pub recovered: u64,
    /// Frames that will never come.
    pub missing: u64,
}

/// The minutes of one hour, of all zones.
#[derive(Debug, Default)]
pub struct Minutes {
    /// Of each zone, by its number in [`Places`], by the beginning of the minute. Few: most frames are of the newest.
    zones: Vec<Vec<(i64, Tally)>>,
    rows: usize,
}

impl Minutes {
    /// Adds to the minute of a frame, or of frames that are lost. Gives the bytes that this takes.
    pub fn add(&mut self, at: At, more: Tally) -> usize {
        let zone = at.place as usize;
        if self.zones.len() <= zone {
            self.zones.resize_with(zone + 1, Vec::new);
        }
        let minutes = &mut self.zones[zone];
        let minute = at.time - at.time.rem_euclid(MINUTE.cast_signed());
        let known = minutes.iter().rposition(|(m, _)| *m == minute);
        let place = known.unwrap_or_else(|| {
            minutes.push((minute, Tally::default()));
            minutes.len() - 1
        });
        let tally = &mut minutes[place].1;
        tally.received += more.received;
        tally.recovered += more.recovered;
        tally.missing = tally.missing.saturating_add(more.missing);
        if known.is_some() {
            return 0;
        }
        self.rows += 1;
        ROW_BYTES
    }

    /// How many rows these are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows.
    ///
    /// # Errors
    /// Where they do not fit their columns: a defect of ours.
    pub fn finish(self, table: &Arc<Table>, places: &Places) -> Result<(Arc<Table>, RecordBatch), ArrowError> {
        let mut builder = TableBuilder::new(Arc::clone(table));
        for (place, minutes) in (0..).zip(self.zones) {
            for (time, Tally { received, recovered, missing }) in minutes {
                builder.begin(At { place, time });
                let expected = received.saturating_add(missing);
                for (index, number) in [expected, received, recovered, missing].into_iter().enumerate() {
                    builder.value(index, Some(Value::Uint(number)));
                }
            }
        }
        builder.finish(places)
    }
}
