//! What is too old, or too much, goes: whole hours of all tables, the oldest first.
//!
//! By size it goes on until there is some room left, so that it does not run at every turn. The newest hour stays,
//! whatever the bounds say. A query that reads an hour while it goes begins anew without it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::layout::{Hour, StoredFile, list_hours, list_part, list_tables, part_dir};
use super::{Place, StoreError, ns};
use crate::limits::RETAIN_PERCENT;

/// What to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Hours that ended longer ago than this go.
    pub keep: Option<Duration>,
    /// Where all files together are larger than this, the oldest hours go.
    pub max_bytes: Option<u64>,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Hours, all tables counted as one.
    pub hours: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes what `retention` does not keep.
///
/// # Errors
/// Where the disk refuses; what is gone is gone, the rest stays.
pub fn retain(place: &Place, retention: Retention, now: u64) -> Result<Removed, StoreError> {
    let mut removed = Removed::default();
    if retention == Retention::default() {
        return Ok(removed);
    }
    let hours = hours(place)?;
    let newest = hours.keys().next_back().copied();
    let total: u64 = hours.values().flatten().map(|f| f.bytes).sum();
    let oldest_kept = retention.keep.map(|keep| now.saturating_sub(ns(keep)).cast_signed());
    let mut too_many = match retention.max_bytes {
        Some(max) if total > max => total - max / 100 * RETAIN_PERCENT,
        _ => 0,
    };
    for (hour, files) in hours {
        let too_old = oldest_kept.is_some_and(|oldest| hour.end() < oldest);
        if Some(hour) == newest || !(too_old || too_many > 0) {
            break;
        }
        for file in &files {
            place.fs.remove_file(&file.path).map_err(StoreError::io("remove", &file.path))?;
            too_many = too_many.saturating_sub(file.bytes);
            removed.bytes += file.bytes;
            removed.files += 1;
        }
        remove_folders(place, hour)?;
        removed.hours += 1;
    }
    Ok(removed)
}

/// The files of all tables, by hour.
fn hours(place: &Place) -> Result<BTreeMap<Hour, Vec<StoredFile>>, StoreError> {
    let root = &place.root;
    let reading = || StoreError::io("read", root);
    let mut hours: BTreeMap<Hour, Vec<StoredFile>> = BTreeMap::new();
    for table in list_tables(root).map_err(reading())? {
        for hour in list_hours(root, &table).map_err(reading())? {
            hours.entry(hour).or_default().extend(list_part(root, &table, hour).map_err(reading())?);
        }
    }
    Ok(hours)
}

/// Removes the folders of an hour, and those of its date, where they are empty.
fn remove_folders(place: &Place, hour: Hour) -> Result<(), StoreError> {
    for table in list_tables(&place.root).map_err(StoreError::io("read", &place.root))? {
        let dir = part_dir(&place.root, &table, hour);
        let date = dir.parent().unwrap_or(&dir);
        for folder in [&dir, date] {
            place.fs.remove_dir(folder).map_err(StoreError::io("remove", folder))?;
        }
    }
    Ok(())
}
