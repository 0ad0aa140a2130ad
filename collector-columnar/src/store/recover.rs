//! What a collector does with what an earlier one left, however that ended.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use zonescope_proto::decode;

use super::buffers::Buffers;
use super::layout::{
    Hour, Segment, StoredFile, list_hours, list_log, list_part, list_tables, list_temporary, log_file, part_dir,
    split_superseded,
};
use super::log::Records;
use super::seen::Seen;
use super::{Place, Sealed, StoreError};
use crate::limits::REMEMBER_HOURS;
use crate::schema::{COMMON, FRAMES, ZONE};

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
    let mut records = Records::new(&bytes);
    let mut bad = 0u64;
    for record in records.by_ref() {
        match decode(record.frame) {
            Ok(frame) if frame.header.as_ref().is_some_and(|h| seen.observe(h, now)) => {
                buffers.add(&frame, record.frame.len());
            }
            Ok(_) => {}
            Err(_) => bad += 1,
        }
    }
    tracing::info!(
        log = %path.display(), frames = buffers.frames(), torn_bytes = records.torn_bytes(), undecodable = bad,
        "replayed what an earlier collector had not yet written to Parquet"
    );
    Ok(buffers)
}

/// Reads what is stored out of the newest files of the table `frames`.
fn remembered(files: &[StoredFile], now: u64) -> Seen {
    let frames = || files.iter().filter(|f| f.table == FRAMES.table);
    let mut hours: Vec<Hour> = frames().map(|f| f.hour).collect();
    hours.sort_unstable();
    hours.dedup();
    let newest = hours.iter().rev().nth(REMEMBER_HOURS - 1).or(hours.first()).copied();
    let recent = Hour(Hour::of(now).0 - REMEMBER_HOURS as i64);
    let from = newest.map_or(recent, |hour| hour.min(recent));

    let mut seen = Seen::default();
    for file in frames().filter(|f| f.hour >= from) {
        if let Err(error) = remember(&mut seen, &file.path, now) {
            tracing::warn!(file = %file.path.display(), "damaged: frames that come again may be stored twice: {error}");
        }
    }
    seen
}

fn remember(seen: &mut Seen, path: &Path, now: u64) -> Result<(), Box<dyn std::error::Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?;
    let wanted = [COMMON[ZONE], "host_id", "epoch", "sequence"];
    let mask = ProjectionMask::columns(reader.parquet_schema(), wanted);
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        let text = |name: &str| batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
        let number = |name: &str| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<UInt64Type>());
        let columns = text(wanted[0]).zip(text(wanted[1])).zip(number(wanted[2]).zip(number(wanted[3])));
        let ((zone, host_id), (epoch, sequence)) = columns.ok_or("its columns are not those of `frames`")?;
        for row in 0..batch.num_rows() {
            seen.note(zone.value(row), host_id.value(row), epoch.value(row), sequence.value(row), now);
        }
    }
    Ok(())
}
