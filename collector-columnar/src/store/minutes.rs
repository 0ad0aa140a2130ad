//! How complete each minute of a zone is: the rows of the table `completeness`.
//!
//! They are made where the rows of `frames` and `gaps` are made, out of the same frames, and go the same way: through
//! the log, into Parquet, out with the hour. So they are as exact as those, and cost a sixtieth. A frame that comes
//! late adds to a minute that is in Parquet already; a row is therefore what one segment of the log adds to its minute, and
//! whoever reads the files sums up. The table in SQL does that by itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use zonescope_proto::{Value, Visitor};

use super::builder::{At, TableBuilder};
use super::lost::MINUTE;
use crate::schema::Table;

/// What one row takes in memory, beside the name of its zone.
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

#[derive(Debug)]
struct Zone {
    host: String,
    zone: String,
    zone_id: u64,
    /// By the beginning of the minute. Few: most frames are of the newest.
    minutes: Vec<(i64, Tally)>,
}

/// The minutes of one hour, of all zones.
#[derive(Debug, Default)]
pub struct Minutes {
    /// By `host/zone`.
    zones: HashMap<String, Zone>,
    key: String,
    rows: usize,
}

impl Minutes {
    /// Adds to the minute of a frame, or of frames that are lost. Gives the bytes that this takes.
    pub fn add(&mut self, at: &At<'_>, more: Tally) -> usize {
        let mut bytes = 0;
        self.key.clear();
        let _ = write!(self.key, "{}/{}", at.host, at.zone);
        if !self.zones.contains_key(&self.key) {
            let (host, zone) = (at.host.to_owned(), at.zone.to_owned());
            self.zones.insert(self.key.clone(), Zone { host, zone, zone_id: at.zone_id, minutes: Vec::new() });
            bytes += self.key.len() * 2 + std::mem::size_of::<Zone>();
        }
        let Some(zone) = self.zones.get_mut(&self.key) else { return bytes };
        zone.zone_id = at.zone_id;
        let minute = at.time - at.time.rem_euclid(MINUTE.cast_signed());
        let place = zone.minutes.iter().rposition(|(m, _)| *m == minute).unwrap_or_else(|| {
            zone.minutes.push((minute, Tally::default()));
            self.rows += 1;
            bytes += ROW_BYTES;
            zone.minutes.len() - 1
        });
        let tally = &mut zone.minutes[place].1;
        tally.received += more.received;
        tally.recovered += more.recovered;
        tally.missing = tally.missing.saturating_add(more.missing);
        bytes
    }

    /// How many rows these are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows.
    ///
    /// # Errors
    /// Where they do not fit their columns: a defect of ours.
    pub fn finish(self, table: &Arc<Table>) -> Result<(Arc<Table>, RecordBatch), ArrowError> {
        let mut builder = TableBuilder::new(Arc::clone(table));
        for Zone { host, zone, zone_id, minutes } in self.zones.into_values() {
            for (time, Tally { received, recovered, missing }) in minutes {
                builder.begin(&At { host: &host, zone: &zone, zone_id, time });
                let expected = received.saturating_add(missing);
                for (index, number) in [expected, received, recovered, missing].into_iter().enumerate() {
                    builder.value(index, Some(Value::Uint(number)));
                }
            }
        }
        builder.finish()
    }
}
