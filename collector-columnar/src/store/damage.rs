//! Which file is damaged: asked when a query or a compaction fails, so that it can begin anew without that file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Of `files` those that cannot be read to their end. One that is gone is not damaged: something removed it.
pub fn find(files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    files.iter().filter(|file| why(file).is_some()).cloned().collect()
}

/// Whether one of `files` is gone.
pub fn any_gone(files: &BTreeSet<PathBuf>) -> bool {
    files.iter().any(|file| matches!(file.try_exists(), Ok(false)))
}

/// What is wrong with a file; `None` if nothing is.
pub fn why(file: &Path) -> Option<String> {
    let opened = match File::open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        other => other,
    };
    read_all(opened).err().map(|error| error.to_string())
}

/// Reads every page of every column. A damaged page may be anything, so what reads it is not trusted to fail in order.
fn read_all(file: io::Result<File>) -> Result<(), Box<dyn std::error::Error>> {
    let file = file?;
    let read = || -> Result<(), Box<dyn std::error::Error>> {
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
            batch?;
        }
        Ok(())
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err("its contents make no sense".into()))
}
