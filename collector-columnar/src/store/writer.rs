//! A Parquet file appears whole or not at all: it is written under a name that no reader looks at, synced, and renamed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use super::buffers::Part;
use super::encoding::{Packing, properties};
use super::fs::{Fs, FsFile};
use super::layout::{Hour, Segments, part_dir};
use super::sort::sorted;
use super::{Place, StoreError};
use crate::limits::BLOOM_ZONES;
use crate::schema::{Table, ZONE, known_table};

/// Rows to write are taken in slices of this many, so that what encoding needs beside them stays small.
const SLICE_ROWS: usize = 64 << 10;

/// A file being written. Dropped before its end, it leaves nothing.
pub struct ParquetWriter<'a> {
    fs: &'a dyn Fs,
    temporary: PathBuf,
    path: PathBuf,
    writer: Option<ArrowWriter<Box<dyn FsFile>>>,
}

impl<'a> ParquetWriter<'a> {
    /// Begins a file; its folder is made durably.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create(
        place: &'a Place,
        table: &Table,
        hour: Hour,
        segments: Segments,
        packing: Packing,
    ) -> Result<Self, StoreError> {
        let dir = part_dir(&place.root, &table.name, hour);
        let fs = place.fs.as_ref();
        place.make_folder(&dir)?;
        let (temporary, path) = (dir.join(segments.temporary_name()), dir.join(segments.file_name()));
        let file = fs.create(&temporary).map_err(StoreError::io("write", &path))?;
        let mut this = ParquetWriter { fs, temporary, path, writer: None };
        let properties = properties(table, packing).map_err(|e| this.failed(e))?;
        // What Arrow says of columns beyond their types (kind, unit, help) takes 8 KB, and is decoded whenever a file is opened: only
        // of users' own tables it is written nowhere else.
        let options = ArrowWriterOptions::new()
            .with_properties(properties.as_ref().clone())
            .with_skip_arrow_metadata(known_table(&table.name).is_some());
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&table.schema), options);
        this.writer = Some(writer.map_err(|e| this.failed(e))?);
        Ok(this)
    }

    /// Adds rows, in their order.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(batch).map_err(|e| self.failed(e))
    }

    /// Ends the file durably, under its name. The name itself is durable once its folder is synced.
    ///
    /// # Errors
    /// Where that cannot be; then there is no such file.
    pub fn finish(mut self) -> Result<PathBuf, StoreError> {
        let Some(writer) = self.writer.take() else { return Ok(self.path.clone()) };
        let mut file = writer.into_inner().map_err(|e| self.failed(e))?;
        file.sync().map_err(StoreError::io("sync", &self.path))?;
        self.fs.rename(&self.temporary, &self.path).map_err(StoreError::io("write", &self.path))?;
        self.temporary.clear();
        Ok(self.path.clone())
    }

    fn failed(&self, error: parquet::errors::ParquetError) -> StoreError {
        // Of an error while writing the file system's own is the reason; the rest is how it came through.
        let source = match error {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(error) => *error,
                Err(other) => io::Error::other(other),
            },
            other => io::Error::other(other),
        };
        StoreError::io("write", &self.path)(source)
    }
}

impl Drop for ParquetWriter<'_> {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            let _ = self.fs.remove_file(&self.temporary);
        }
    }
}

/// Writes rows, sorted, as one file.
///
/// # Errors
/// Where they cannot be written; then there is no such file.
pub fn write_part(place: &Place, part: &Part, segments: Segments) -> Result<PathBuf, StoreError> {
    let sorted =
        sorted(&part.table, &part.batch).map_err(|e| StoreError::Rows { table: part.table.name.clone(), source: e })?;
    // At least as many as the rows are of.
    let zones = sorted.column(ZONE).as_dictionary::<UInt32Type>().values().len();
    let packing = Packing::Quick { bloom: zones >= BLOOM_ZONES };
    let mut writer = ParquetWriter::create(place, &part.table, part.hour, segments, packing)?;
    for start in (0..sorted.num_rows()).step_by(SLICE_ROWS) {
        writer.write(&sorted.slice(start, SLICE_ROWS.min(sorted.num_rows() - start)))?;
    }
    writer.finish()
}
