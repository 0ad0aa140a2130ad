//! Why the store cannot do what it should.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;

/// Why the store cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another collector has the root.
    #[error("{} is in use by another collector, pid {pid}: end that one, or give this one another --root", root.display())]
    Locked {
        /// The root.
        root: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// The operating system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Rows that do not fit their table: a defect of ours.
    #[error("rows of {table} do not fit their columns: {source}")]
    Rows {
        /// The table.
        table: String,
        /// What does not fit.
        source: ArrowError,
    },
    /// Files that can be read, and yet not merged: a defect of ours.
    #[error("files of {table} cannot be merged: {why}")]
    Merge {
        /// The table.
        table: String,
        /// Why not.
        why: String,
    },
}

impl StoreError {
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
        move |source| StoreError::Io { what, path: path.to_owned(), source }
    }

    /// Whether the disk is full, or a quota reached: then waiting helps.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, StoreError::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}
