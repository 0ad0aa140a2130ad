//! What a collector does with what an earlier one left, however that ended.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use zonescope_proto::{decode, v1};

use super::buffers::Buffers;
use super::layout::{
    Hour, Segment, StoredFile, list_hours, list_log, list_part, list_tables, list_temporary, log_file, part_dir,
    split_superseded,
};
use super::log::{Kind, Records};
use super::lost::Lost;
use super::seen::{Mark, Seen};
use super::{Place, Sealed, StoreError};
use crate::limits::REMEMBER_HOURS;
use crate::schema::{COMMON, FRAMES, GAPS, HOST, TIME, ZONE, ZONE_ID};

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// A number that no segment had before.
    pub next_segment: Segment,
    /// What is stored.
    pub seen: Seen,
    /// Frames that were in the log.
    pub frames: u64,
}

/// Removes what was never finished, flushes what is in the log, and learns what is stored.
pub(super) fn recover(place: &Place, now: u64) -> Result<Recovered, StoreError> {
    let reading = StoreError::io("read", &place.root);
    let leftover = list_log(&place.root).map_err(reading)?;
    let files = clean(place, &leftover)?;
    let newest = files.iter().map(|f| f.segments.last).chain(leftover.iter().copied()).max().unwrap_or(0);

    let mut seen = remembered(&files, now);
    let mut frames = 0;
    for segment in leftover {
        // Compaction merges only segments that were flushed: what a range holds is in Parquet, whole.
        let merged = files.iter().any(|f| f.segments.contains(segment));
        let buffers = if merged { Buffers::default() } else { replay(place, segment, &mut seen, now)? };
        frames += buffers.frames() as u64;
        Sealed::new(place, segment, buffers)?.write()?;
    }
    Ok(Recovered { next_segment: newest + 1, seen, frames })
}

/// Removes unfinished and superseded files, and files of segments that are still in the log. Gives the others.
fn clean(place: &Place, leftover: &[Segment]) -> Result<Vec<StoredFile>, StoreError> {
    let root = &place.root;
    let mut kept = Vec::new();
    for table in list_tables(root).map_err(StoreError::io("read", root))? {
        for hour in list_hours(root, &table).map_err(StoreError::io("read", root))? {
            let dir = part_dir(root, &table, hour);
            let mut remove = list_temporary(&dir).map_err(StoreError::io("read", &dir))?;
            let (files, superseded) =
                split_superseded(list_part(root, &table, hour).map_err(StoreError::io("read", &dir))?);
            let (again, whole): (Vec<_>, Vec<_>) = files
                .into_iter()
                .partition(|f| f.segments.first == f.segments.last && leftover.contains(&f.segments.first));
            remove.extend(superseded.into_iter().chain(again).map(|f| f.path));
            for path in &remove {
                place.fs.remove_file(path).map_err(StoreError::io("remove", path))?;
            }
            kept.extend(whole);
        }
    }
    Ok(kept)
}

/// The rows of a segment of the log, less what is stored already.
fn replay(place: &Place, segment: Segment, seen: &mut Seen, now: u64) -> Result<Buffers, StoreError> {
    let path = log_file(&place.root, segment);
    let bytes = std::fs::read(&path).map_err(StoreError::io("read", &path))?;
    let tables = list_tables(&place.root).map_err(StoreError::io("read", &place.root))?;
    let mut buffers = Buffers::among(tables);
    let mut records = Records::new(&bytes).map_err(StoreError::io("replay", &path))?;
    let mut bad = 0u64;
    for record in records.by_ref() {
        match record.kind {
            Kind::Gap => match Lost::decode(record.body) {
                Some(lost) => {
                    seen.note_lost(&lost, now);
                    buffers.add_lost(&lost);
                }
                None => bad += 1,
            },
            Kind::Frame | Kind::Recovered => match decode(record.body) {
                Ok(frame) if frame.header.as_ref().is_some_and(|h| seen.note(Mark::of(h), now)) => {
                    buffers.add(&frame, record.body.len(), record.kind == Kind::Recovered);
                }
                Ok(_) => {}
                Err(_) => bad += 1,
            },
        }
    }
    tracing::info!(
        log = %path.display(), frames = buffers.frames(), torn_bytes = records.torn_bytes(), undecodable = bad,
        "replayed what an earlier collector had not yet written to Parquet"
    );
    Ok(buffers)
}

/// Reads what is stored out of the newest files of the table `frames`, and those of `gaps` of the same segments.
fn remembered(files: &[StoredFile], now: u64) -> Seen {
    let frames = || files.iter().filter(|f| f.table == FRAMES.table);
    let mut hours: Vec<Hour> = frames().map(|f| f.hour).collect();
    hours.sort_unstable();
    hours.dedup();
    let newest = hours.iter().rev().nth(REMEMBER_HOURS - 1).or(hours.first()).copied();
    let recent = Hour(Hour::of(now).0 - REMEMBER_HOURS as i64);
    let from = newest.map_or(recent, |hour| hour.min(recent));
    let frames: Vec<&StoredFile> = frames().filter(|f| f.hour >= from).collect();
    // A gap may be of hours long ago, and have been noticed just now.
    let since = frames.iter().map(|f| f.segments.first).min().unwrap_or(0);
    let gaps = files.iter().filter(|f| f.table == GAPS.table && f.segments.last >= since);

    let mut seen = Seen::default();
    let mut remember = |file: &StoredFile, columns: &[&str], note: fn(&mut Seen, &Columns<'_>, usize, u64)| {
        let read = each_batch(&file.path, columns, |batch| {
            (0..batch.rows()).for_each(|row| note(&mut seen, &batch, row, now));
        });
        if let Err(error) = read {
            tracing::warn!(file = %file.path.display(), "damaged: frames that come again may be stored twice: {error}");
        }
    };
    for file in frames {
        remember(file, &FRAME_COLUMNS, |seen, columns, row, now| {
            if let Some(mark) = columns.mark(row) {
                seen.note(mark, now);
            }
        });
    }
    for file in gaps {
        remember(file, &GAP_COLUMNS, |seen, columns, row, now| {
            if let Some(lost) = columns.lost(row) {
                seen.note_lost(&lost, now);
            }
        });
    }
    seen
}

const FRAME_COLUMNS: [&str; 8] =
    [COMMON[HOST], COMMON[ZONE], COMMON[ZONE_ID], COMMON[TIME], "host_id", "epoch", "sequence", "interval_ms"];
const GAP_COLUMNS: [&str; 9] =
    [COMMON[HOST], COMMON[ZONE], COMMON[ZONE_ID], COMMON[TIME], "host_id", "epoch", "first", "last", "interval_ms"];

/// Reads some columns of a file.
fn each_batch(
    path: &Path,
    columns: &[&str],
    mut each: impl FnMut(Columns<'_>),
) -> Result<(), Box<dyn std::error::Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied());
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        each(Columns::of(&batch).ok_or("its columns are not ours")?);
    }
    Ok(())
}

/// The columns by which a row of `frames` or `gaps` is known again.
struct Columns<'a> {
    host: &'a StringArray,
    zone: &'a StringArray,
    zone_id: &'a UInt64Array,
    time: &'a arrow::array::TimestampNanosecondArray,
    host_id: &'a StringArray,
    epoch: &'a UInt64Array,
    /// Of a gap: the first.
    sequence: &'a UInt64Array,
    last: Option<&'a UInt64Array>,
    interval_ms: &'a UInt64Array,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt64Type>();
        Some(Columns {
            host: text(COMMON[HOST])?,
            zone: text(COMMON[ZONE])?,
            zone_id: number(COMMON[ZONE_ID])?,
            time: batch.column_by_name(COMMON[TIME])?.as_primitive_opt::<TimestampNanosecondType>()?,
            host_id: text("host_id")?,
            epoch: number("epoch")?,
            sequence: number("sequence").or_else(|| number("first"))?,
            last: number("last"),
            interval_ms: number("interval_ms")?,
        })
    }

    fn rows(&self) -> usize {
        self.host.len()
    }

    fn mark(&self, row: usize) -> Option<Mark<'_>> {
        Some(Mark {
            host_id: self.host_id.value(row),
            host: self.host.value(row),
            zone: self.zone.value(row),
            zone_id: self.zone_id.value(row),
            epoch: self.epoch.value(row),
            sequence: self.sequence.value(row),
            time: self.time.value(row).cast_unsigned(),
            interval_ms: u32::try_from(self.interval_ms.value(row)).ok()?,
        })
    }

    fn lost(&self, row: usize) -> Option<Lost> {
        let Mark { host_id, host, zone, zone_id, epoch, sequence, time, interval_ms } = self.mark(row)?;
        let zone = Some(v1::Zone { name: zone.to_owned(), id: zone_id, ..v1::Zone::default() });
        let (host_id, host) = (host_id.to_owned(), host.to_owned());
        let first = v1::Header { host_id, host, zone, epoch, sequence, time, interval_ms, ..v1::Header::default() };
        let last = self.last.filter(|last| last.is_valid(row)).map(|last| last.value(row));
        Some(Lost { first, last, noticed: u64::MAX, reason: String::new() })
    }
}
