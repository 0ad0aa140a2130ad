//! What Redis holds of a zone: where in its sequence it is, how complete it is, which tables it has.
//!
//! # Each frame once
//! The position (epoch, sequence) is written in the same transaction as the values, so whatever Redis holds says by
//! itself which frames are in it. After anything that leaves the outcome of a write unknown (a connection lost, a
//! timeout, a restart of ours or of Redis, a fail-over) the position is read again and frames up to it are passed
//! over. A write that arrives late, from a connection given up long ago, meets ids of stream entries that are already
//! taken: they are made of the frame's time, and Redis refuses what does not come after the last. The link hands out
//! each topic in order; so what comes with a number that is passed has been stored, or is on record as missing.
//!
//! Epochs are names: which one is new is known from what came before, not from its value, since clocks are set back.
//!
//! # Time
//! Entries have the id `<tick in ms>-<row>`. Where a host's clock is set back, ids go on after the last one, and
//! the entry's own time stands in its field `time`. Set back by more than the history holds, the zone's history begins
//! anew: its entries lie in a future that is no more.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use redis::{Value, from_redis_value};
use zonescope_proto::v1;

use crate::keys::Keys;
use crate::minute::Minute;

/// Rows of ticks that have one millisecond in common are this far apart. No frame has as many rows.
const ROWS_APART: u64 = 1 << 32;

/// A place in a zone's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Start of the generator.
    pub epoch: u64,
    /// Number of the frame.
    pub sequence: u64,
    /// Where its entries begin.
    pub id: EntryId,
}

/// Where the entries of a frame begin: the first row's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Time, ms since 1970 UTC.
    pub ms: u64,
    /// Number of the first row.
    pub row: u64,
}

impl EntryId {
    /// The id of row `n`.
    pub fn of_row(self, n: u64) -> String {
        format!("{}-{}", self.ms, self.row + n)
    }

    /// The id of a gap that begins with the frame numbered `first`, after this frame and before the next.
    pub fn of_gap(self, first: u64) -> Self {
        EntryId { row: self.row + 1 + first.min(ROWS_APART / 2), ..self }
    }
}

impl std::str::FromStr for EntryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, row) = text.split_once('-').unwrap_or((text, "0"));
        Ok(EntryId { ms: ms.parse()?, row: row.parse()? })
    }
}

/// What a frame means for the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Redis has it, or has it on record as missing; or a generator that has been replaced sent it.
    Passed,
    /// It goes to `id`; so many frames before it are missing; with `restart` the history begins anew.
    New {
        /// Where its entries begin.
        id: EntryId,
        /// Frames between the last one and this one.
        missing: u64,
        /// The clock was set back by more than the history holds.
        restart: bool,
    },
}

/// Consecutive frames of a zone that will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Of which generator's start.
    pub epoch: u64,
    /// The first.
    pub first: u64,
    /// The last; `u64::MAX` where nobody knows, which happens to hosts' own frames only.
    pub last: u64,
    /// Why: the link's word, or `backlog_full` or `unknown`.
    pub reason: &'static str,
}

impl Lost {
    /// How many; `None` where nobody knows.
    pub fn count(&self) -> Option<u64> {
        (self.last != u64::MAX).then(|| self.last - self.first + 1)
    }
}

/// What is known of a table in Redis.
#[derive(Debug, Clone, Copy, Default)]
pub struct Table {
    /// Names of the fields of its hash, hashed; `None` where not known.
    pub shape: Option<u64>,
    /// Whether it has a hash.
    pub latest: bool,
    /// When it last came, ms.
    pub seen_ms: u64,
    /// When its keys want to be told to live on, ms.
    pub refresh_latest_ms: u64,
    /// The same of its stream.
    pub refresh_history_ms: u64,
}

/// The fields of a zone's hash that are read again.
const FIELDS: [&str; 14] = [
    "epoch",
    "sequence",
    "id",
    "frames",
    "missing",
    "former_epochs",
    "host_id",
    "zone",
    "recovered",
    "interval_ms",
    "minute",
    "minute_received",
    "minute_recovered",
    "minute_missing",
];
/// Former epochs that are remembered: a generator that is started more often within a batch is beyond help.
const FORMER: usize = 8;

/// What Redis holds of one zone.
#[derive(Debug, Default)]
pub struct Stored {
    /// The zone's host and name, where Redis has told.
    pub names: Option<(String, String)>,
    /// The last frame; `None` where there is none.
    pub position: Option<Position>,
    /// Epochs before that of the position, the latest first.
    pub former: Vec<u64>,
    /// Frames stored since Redis has known the zone.
    pub frames: u64,
    /// Frames of these that came only when asked for.
    pub recovered: u64,
    /// Frames that never came.
    pub missing: u64,
    /// The minute that runs.
    pub minute: Minute,
    /// How often frames come.
    pub interval_ms: u32,
    /// Its tables.
    pub tables: HashMap<Cow<'static, str>, Table>,
    /// When we last had to do with it, ms.
    pub seen_ms: u64,
    /// When its keys want to be told to live on, ms.
    pub refresh_ms: u64,
}

impl Stored {
    /// The commands that read it, to be answered to [`Stored::parse`].
    pub fn query(keys: &Keys, tag: &str) -> redis::Pipeline {
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(keys.of(tag, "zone")).arg(&FIELDS);
        pipe.cmd("SMEMBERS").arg(keys.of(tag, "tables"));
        pipe
    }

    /// What the answers to [`Stored::query`] say, on our clock at `now_ms`. What cannot be read counts as not there: it will be written anew.
    pub fn parse(answers: Vec<Value>, now_ms: u64) -> Self {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let fields: Vec<Option<String>> = from_redis_value(next()).unwrap_or_default();
        let tables: HashSet<String> = from_redis_value(next()).unwrap_or_default();
        let text = |place: usize| fields.get(place).and_then(Option::as_deref);
        let number = |place: usize| text(place).and_then(|t| t.parse::<u64>().ok());
        let id = text(2).and_then(|t| t.parse().ok());
        let position = number(0).zip(number(1)).zip(id);
        // Whatever tables there are, their fields are not known: they will be replaced as a whole.
        let table = |name: String| (Cow::Owned(name), Table { latest: true, seen_ms: now_ms, ..Table::default() });
        Stored {
            position: position.map(|((epoch, sequence), id)| Position { epoch, sequence, id }),
            frames: number(3).unwrap_or(0),
            missing: number(4).unwrap_or(0),
            former: text(5).unwrap_or_default().split(' ').filter_map(|e| e.parse().ok()).collect(),
            names: text(6).zip(text(7)).map(|(host, zone)| (host.to_owned(), zone.to_owned())),
            recovered: number(8).unwrap_or(0),
            interval_ms: number(9).and_then(|ms| ms.try_into().ok()).unwrap_or(0),
            minute: Minute {
                start_ms: number(10).unwrap_or(0),
                received: number(11).unwrap_or(0),
                recovered: number(12).unwrap_or(0),
                missing: number(13).unwrap_or(0),
            },
            tables: tables.into_iter().map(table).collect(),
            ..Stored::default()
        }
    }

    /// What the frame with this header means; `keep_ms` is how long history is kept.
    pub fn arrival(&self, header: &v1::Header, keep_ms: u64) -> Arrival {
        let ms = header.time / 1_000_000;
        let fresh = EntryId { ms, row: 0 };
        let Some(last) = self.position else { return Arrival::New { id: fresh, missing: 0, restart: false } };
        if self.has_passed(header.epoch, header.sequence) {
            return Arrival::Passed;
        }
        // Of another epoch the link tells what is missing.
        let missing = if header.epoch == last.epoch { header.sequence - last.sequence - 1 } else { 0 };
        if ms > last.id.ms {
            return Arrival::New { id: fresh, missing, restart: false };
        }
        let restart = last.id.ms - ms > keep_ms;
        let id = if restart { fresh } else { EntryId { ms: last.id.ms, row: next_rows(last.id.row) } };
        Arrival::New { id, missing, restart }
    }

    /// How many of these frames are news: not stored, and not on record.
    pub fn news(&self, lost: Lost) -> u64 {
        match self.position {
            Some(last) if last.epoch == lost.epoch => lost.last.saturating_sub(last.sequence.max(lost.first - 1)),
            Some(_) if !self.former.contains(&lost.epoch) => lost.last - lost.first + 1,
            // What a zone sent before we first met it is not ours to miss.
            _ => 0,
        }
    }

    /// From now on the last frame is this one.
    pub fn advance(&mut self, to: Position) {
        if let Some(last) = self.position.replace(to).filter(|last| last.epoch != to.epoch) {
            self.former.insert(0, last.epoch);
            self.former.truncate(FORMER);
        }
    }

    fn has_passed(&self, epoch: u64, sequence: u64) -> bool {
        match self.position {
            Some(last) if last.epoch == epoch => sequence <= last.sequence,
            _ => self.former.contains(&epoch),
        }
    }
}

/// The next multiple of [`ROWS_APART`].
fn next_rows(row: u64) -> u64 {
    (row / ROWS_APART + 1) * ROWS_APART
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn header(epoch: u64, sequence: u64, ms: u64) -> v1::Header {
        v1::Header { epoch, sequence, time: ms * 1_000_000, ..v1::Header::default() }
    }

    fn at(epoch: u64, sequence: u64, ms: u64) -> Stored {
        let id = EntryId { ms, row: 0 };
        Stored { position: Some(Position { epoch, sequence, id }), ..Stored::default() }
    }

    fn new(ms: u64, row: u64, missing: u64) -> Arrival {
        Arrival::New { id: EntryId { ms, row }, missing, restart: false }
    }

    #[test]
    fn frames_up_to_the_position_have_passed() {
        let stored = at(5, 10, 1000);
        assert_eq!(stored.arrival(&header(5, 10, 1000), HOUR), Arrival::Passed);
        assert_eq!(stored.arrival(&header(5, 9, 900), HOUR), Arrival::Passed);
        assert_eq!(stored.arrival(&header(5, 11, 2000), HOUR), new(2000, 0, 0));
        assert_eq!(Stored::default().arrival(&header(5, 77, 2000), HOUR), new(2000, 0, 0));
    }

    #[test]
    fn what_is_missing_is_counted_once() {
        let mut stored = at(5, 10, 1000);
        assert_eq!(stored.arrival(&header(5, 14, 5000), HOUR), new(5000, 0, 3));
        let lost = |epoch, first, last| Lost { epoch, first, last, reason: "evicted" };
        assert_eq!(stored.news(lost(5, 11, 13)), 3);
        assert_eq!(stored.news(lost(5, 8, 12)), 2, "of 8 to 12 two come after 10");
        assert_eq!(stored.news(lost(5, 3, 9)), 0);
        assert_eq!(stored.news(lost(6, 1, 4)), 4, "the beginning of a new epoch");
        stored.advance(Position { epoch: 6, sequence: 4, id: EntryId { ms: 1000, row: 0 } });
        assert_eq!(stored.news(lost(5, 11, 13)), 0, "of an epoch that has ended");
        assert_eq!(Stored::default().news(lost(5, 11, 13)), 0, "of a zone that we have not met");
    }

    #[test]
    fn an_epoch_is_a_name() {
        let mut stored = at(5, 10, 60_000);
        // Started anew, with its clock set back.
        assert_eq!(stored.arrival(&header(4, 1, 50_000), HOUR), new(60_000, ROWS_APART, 0));
        stored.advance(Position { epoch: 4, sequence: 1, id: EntryId { ms: 60_000, row: ROWS_APART } });
        assert_eq!(stored.arrival(&header(5, 11, 61_000), HOUR), Arrival::Passed, "that generator has been replaced");
        assert_eq!(stored.arrival(&header(4, 2, 61_000), HOUR), new(61_000, 0, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_after_the_last_entry() {
        let mut stored = at(5, 10, 60_000);
        assert_eq!(stored.arrival(&header(5, 11, 50_000), HOUR), new(60_000, ROWS_APART, 0));
        stored.position = Some(Position { epoch: 5, sequence: 11, id: EntryId { ms: 60_000, row: ROWS_APART } });
        assert_eq!(stored.arrival(&header(5, 12, 51_000), HOUR), new(60_000, 2 * ROWS_APART, 0));
        assert_eq!(stored.arrival(&header(5, 12, 60_001), HOUR), new(60_001, 0, 0));
    }

    #[test]
    fn a_clock_that_had_been_far_ahead_begins_history_anew() {
        let stored = at(5, 10, 10 * HOUR);
        let arrival = stored.arrival(&header(5, 11, HOUR), HOUR);
        assert_eq!(arrival, Arrival::New { id: EntryId { ms: HOUR, row: 0 }, missing: 0, restart: true });
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = EntryId { ms: 1_700_000_000_000, row: ROWS_APART };
        assert_eq!(id.of_row(0).parse(), Ok(id));
        assert!(id.of_gap(7) > id && id.of_gap(u64::MAX).row < next_rows(id.row));
    }
}
