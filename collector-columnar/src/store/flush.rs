//! A flush: the rows of one segment of the log become Parquet, and only then the segment goes.

use std::collections::BTreeSet;
use std::path::Path;

use super::buffers::{Buffers, Part};
use super::layout::{LOG_DIR, Segment, Segments, log_file};
use super::{Place, StoreError, writer};

/// The rows of a segment that takes no more, on their way to Parquet.
#[derive(Debug)]
pub struct Sealed {
    place: Place,
    segment: Segment,
    parts: Vec<Part>,
    bytes: usize,
}

impl Sealed {
    pub(super) fn new(place: &Place, segment: Segment, buffers: Buffers) -> Result<Self, StoreError> {
        let bytes = buffers.bytes();
        let parts = buffers.finish().map_err(|source| StoreError::Rows { table: "a frame".to_owned(), source })?;
        Ok(Sealed { place: place.clone(), segment, parts, bytes })
    }

    /// Bytes that the rows take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes the rows, durably, and removes their segment of the log. May be called again after it failed.
    ///
    /// # Errors
    /// Where the disk refuses; then the log still has all that was durable.
    pub fn write(&self) -> Result<(), StoreError> {
        let fs = self.place.fs.as_ref();
        let mut folders = BTreeSet::new();
        for part in &self.parts {
            let path = writer::write_part(&self.place, part, Segments::one(self.segment))?;
            folders.extend(path.parent().map(Path::to_owned));
        }
        for folder in &folders {
            fs.sync_dir(folder).map_err(StoreError::io("sync", folder))?;
        }
        let log = log_file(&self.place.root, self.segment);
        fs.remove_file(&log).map_err(StoreError::io("remove", &log))?;
        let log_dir = self.place.root.join(LOG_DIR);
        fs.sync_dir(&log_dir).map_err(StoreError::io("sync", &log_dir))
    }
}
