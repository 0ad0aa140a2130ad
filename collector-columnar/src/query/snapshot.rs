//! What a query sees: one consistent state of a store that may be written at the same time.
//!
//! The log's segments are listed and opened *first*, the files later, when a table is scanned. A file counts if it
//! is not superseded by a range, is of no segment that we listed (its rows are read from the log), and of no segment
//! later than those (they began after we did; the next query sees them). So every row is seen exactly once,
//! and a running collector's rows within about a second. See `store` for why this holds.
//!
//! Two things can still happen: compaction may merge a segment that we listed before it was flushed, and files may
//! vanish between listing and reading. Both are noticed, and the query begins anew ([`Stale`]).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use zonescope_proto::decode;

use crate::store::buffers::{Buffers, Part};
use crate::store::layout::{
    Hour, Segment, StoredFile, list_hours, list_log, list_part, list_tables, log_file, split_superseded,
};
use crate::store::log::{Kind, Records};
use crate::store::lost::Lost;

/// The store changed so that the snapshot no longer holds: take another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store changed while it was read")]
pub struct Stale;

/// One consistent state of a store.
#[derive(Debug)]
pub struct Snapshot {
    root: PathBuf,
    log: Vec<(Segment, File)>,
    /// Rows in the log, read when first asked for.
    rows: OnceLock<Vec<Part>>,
    /// Files known to be damaged.
    excluded: BTreeSet<PathBuf>,
    /// Files that scans were told to read.
    touched: Mutex<BTreeSet<PathBuf>>,
    /// Files that scans found to be damaged.
    damaged: Mutex<BTreeSet<PathBuf>>,
}

impl Snapshot {
    /// The state now, without the files that are known to be damaged.
    ///
    /// # Errors
    /// Where the root cannot be read.
    pub fn take(root: &Path, excluded: BTreeSet<PathBuf>) -> std::io::Result<Self> {
        let log = loop {
            let segments = list_log(root)?;
            let opened: Option<Vec<_>> =
                segments.iter().map(|s| Some((*s, File::open(log_file(root, *s)).ok()?))).collect();
            // One that was flushed between listing and opening: list again.
            match opened {
                Some(log) => break log,
                None if list_log(root)? == segments => {
                    return Err(std::io::Error::other(format!("cannot read the log in {}", root.display())));
                }
                None => {}
            }
        };
        Ok(Snapshot {
            root: root.to_owned(),
            log,
            rows: OnceLock::new(),
            excluded,
            touched: Mutex::default(),
            damaged: Mutex::default(),
        })
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names of the tables that have files or rows in the log, in order.
    ///
    /// # Errors
    /// Where the root or the log cannot be read.
    pub fn tables(&self) -> std::io::Result<Vec<String>> {
        let mut tables = list_tables(&self.root)?;
        tables.extend(self.log_rows()?.iter().map(|part| part.table.name.clone()));
        tables.sort_unstable();
        tables.dedup();
        Ok(tables)
    }

    /// The files of a table that count, of hours that `wanted` takes.
    ///
    /// # Errors
    /// [`Stale`] within, or where a folder cannot be read.
    pub fn files(&self, table: &str, wanted: impl Fn(Hour) -> bool) -> std::io::Result<Vec<StoredFile>> {
        let newest = self.log.last().map(|(segment, _)| *segment);
        let mut files = Vec::new();
        for hour in list_hours(&self.root, table)?.into_iter().filter(|hour| wanted(*hour)) {
            let (found, _) = split_superseded(list_part(&self.root, table, hour)?);
            for file in found {
                let segments = file.segments;
                let in_log = self.log.iter().any(|(segment, _)| segments.contains(*segment));
                if in_log && segments.first != segments.last {
                    return Err(std::io::Error::other(Stale));
                }
                let later = newest.is_some_and(|newest| segments.last > newest);
                if !in_log && !later && !self.excluded.contains(&file.path) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }

    /// The rows in the log, of all tables.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn log_rows(&self) -> std::io::Result<&[Part]> {
        if let Some(rows) = self.rows.get() {
            return Ok(rows);
        }
        let mut buffers = Buffers::default();
        for (_, mut file) in self.log.iter().map(|(segment, file)| (segment, file)) {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
            // The last record may be one that is being written: then it is not whole, and comes with the next query.
            for record in Records::new(&bytes)? {
                match record.kind {
                    Kind::Gap => Lost::decode(record.body).iter().for_each(|lost| buffers.add_lost(lost)),
                    Kind::Frame | Kind::Recovered => {
                        if let Ok(frame) = decode(record.body) {
                            buffers.add(&frame, record.body.len(), record.kind == Kind::Recovered);
                        }
                    }
                }
            }
        }
        let rows = buffers.finish().map_err(std::io::Error::other)?;
        Ok(self.rows.get_or_init(|| rows))
    }

    /// Notes that a file is read for this query.
    pub fn touch(&self, file: &Path) {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned());
    }

    /// Notes that a file is damaged.
    pub fn report_damaged(&self, file: &Path) {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned());
    }

    /// The files that were read for this query.
    pub fn touched(&self) -> BTreeSet<PathBuf> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The files that were found to be damaged.
    pub fn damaged(&self) -> BTreeSet<PathBuf> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
