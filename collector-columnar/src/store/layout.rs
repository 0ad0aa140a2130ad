//! Where things are: `<root>/<table>/date=YYYY-MM-DD/hour=HH/<segments>.parquet`, and `<root>/.wal/<segment>.log`.
//!
//! A Parquet file is named by the segments of the log whose rows it holds: `0000000042.parquet` of one,
//! `0000000040-0000000057.parquet` of a range that compaction merged. A file stands for *all* rows of its table and
//! hour in its segments; so a range supersedes every file within it, and whoever sees both takes the range.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Number of a segment of the log. Grows by one with each flush, over restarts too.
pub type Segment = u64;

/// Folder of the log.
pub const LOG_DIR: &str = ".wal";
const PARQUET: &str = "parquet";
const LOG: &str = "log";
/// What a file is called until it is whole.
const TEMPORARY: &str = ".tmp";

/// An hour, counted since 1970 UTC: what a folder of a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

impl Hour {
    const NS: u64 = 3_600_000_000_000;

    /// The hour of a time, in ns since 1970 UTC.
    pub fn of(time: u64) -> Self {
        Hour((time / Self::NS).cast_signed())
    }

    /// Its first ns.
    pub fn start(self) -> i64 {
        self.0.saturating_mul(Self::NS.cast_signed())
    }

    /// Its last ns.
    pub fn end(self) -> i64 {
        self.start().saturating_add(Self::NS.cast_signed() - 1)
    }

    /// `date=YYYY-MM-DD/hour=HH`
    pub fn folder(self) -> PathBuf {
        let date =
            Timestamp::from_second(self.0.saturating_mul(3600)).unwrap_or_default().to_zoned(TimeZone::UTC).date();
        PathBuf::from(format!("date={date}")).join(format!("hour={:02}", self.0.rem_euclid(24)))
    }

    fn parse(date: &str, hour: &str) -> Option<Self> {
        let date: Date = date.strip_prefix("date=")?.parse().ok()?;
        let hour: i64 = hour.strip_prefix("hour=")?.parse().ok().filter(|h| (0..24).contains(h))?;
        let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        Some(Hour(midnight / 3600 + hour))
    }
}

/// The segments whose rows a Parquet file holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segments {
    /// The first.
    pub first: Segment,
    /// The last.
    pub last: Segment,
}

impl Segments {
    /// Of one.
    pub fn one(segment: Segment) -> Self {
        Segments { first: segment, last: segment }
    }

    /// Whether a segment is among them.
    pub fn contains(self, segment: Segment) -> bool {
        (self.first..=self.last).contains(&segment)
    }

    /// Whether a file of these makes a file of those superfluous.
    pub fn supersede(self, other: Segments) -> bool {
        self != other && self.first <= other.first && other.last <= self.last
    }

    /// `0000000042.parquet`, `0000000040-0000000057.parquet`
    pub fn file_name(self) -> String {
        if self.first == self.last {
            format!("{:010}.{PARQUET}", self.first)
        } else {
            format!("{:010}-{:010}.{PARQUET}", self.first, self.last)
        }
    }

    /// What the file is called until it is whole: hidden from every reader of `*.parquet`.
    pub fn temporary_name(self) -> String {
        format!(".{}{TEMPORARY}", self.file_name())
    }

    fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(PARQUET)?.strip_suffix('.')?;
        let (first, last) = stem.split_once('-').unwrap_or((stem, stem));
        let segments = Segments { first: first.parse().ok()?, last: last.parse().ok()? };
        (segments.first <= segments.last).then_some(segments)
    }
}

/// The log file of a segment.
pub fn log_file(root: &Path, segment: Segment) -> PathBuf {
    root.join(LOG_DIR).join(format!("{segment:010}.{LOG}"))
}

/// The folder of one table and hour.
pub fn part_dir(root: &Path, table: &str, hour: Hour) -> PathBuf {
    root.join(table).join(hour.folder())
}

/// A Parquet file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Its table.
    pub table: String,
    /// Its hour.
    pub hour: Hour,
    /// Whose rows it holds.
    pub segments: Segments,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was written; the beginning of 1970 where the file system does not say.
    pub modified: SystemTime,
}

/// The segments of the log, in order. None where there is no log yet.
///
/// # Errors
/// Where the folder cannot be read.
pub fn list_log(root: &Path) -> std::io::Result<Vec<Segment>> {
    let mut segments: Vec<Segment> = names(&root.join(LOG_DIR))?
        .iter()
        .filter_map(|name| name.strip_suffix(LOG)?.strip_suffix('.')?.parse().ok())
        .collect();
    segments.sort_unstable();
    Ok(segments)
}

/// The names of the tables that have a folder, in order.
///
/// # Errors
/// Where the folder cannot be read.
pub fn list_tables(root: &Path) -> std::io::Result<Vec<String>> {
    let mut tables = names(root)?;
    tables.retain(|name| !name.starts_with('.') && root.join(name).is_dir());
    tables.sort_unstable();
    Ok(tables)
}

/// The hours for which a table has a folder, in order.
///
/// # Errors
/// Where a folder cannot be read.
pub fn list_hours(root: &Path, table: &str) -> std::io::Result<Vec<Hour>> {
    let mut hours = Vec::new();
    let dir = root.join(table);
    for date in names(&dir)?.iter().filter(|d| d.starts_with("date=")) {
        hours.extend(names(&dir.join(date))?.iter().filter_map(|hour| Hour::parse(date, hour)));
    }
    hours.sort_unstable();
    Ok(hours)
}

/// How recently a folder must have changed for its listing to be doubted. Wider than any file system's clock is coarse.
const RECENT: Duration = Duration::from_secs(2);

/// The Parquet files of one table and hour, superseded ones included, in order.
///
/// A compaction may rename a new file into the folder and remove the old ones while it is read, and a reader may then
/// see neither. So a folder that changed just now is read until two readings agree: whoever missed the old ones
/// in the first sees the new one in the second.
///
/// # Errors
/// Where the folder cannot be read.
pub fn list_part(root: &Path, table: &str, hour: Hour) -> std::io::Result<Vec<StoredFile>> {
    let dir = part_dir(root, table, hour);
    let mut files = read_part(&dir, table, hour)?;
    while changed_recently(&dir) {
        let again = read_part(&dir, table, hour)?;
        if again == files {
            break;
        }
        files = again;
    }
    Ok(files)
}

#[allow(clippy::disallowed_methods, reason = "compared with the file system's own clock, not with the ticks'")]
fn changed_recently(dir: &Path) -> bool {
    let modified = std::fs::metadata(dir).and_then(|m| m.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < RECENT))
}

fn read_part(dir: &Path, table: &str, hour: Hour) -> std::io::Result<Vec<StoredFile>> {
    let mut files = Vec::new();
    for name in names(dir)? {
        let Some(segments) = Segments::parse(&name) else { continue };
        let path = dir.join(name);
        // Removed since: then whatever supersedes it is seen as well, or the hour is gone.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        files.push(StoredFile { table: table.to_owned(), hour, segments, path, bytes: metadata.len(), modified });
    }
    files.sort_unstable_by_key(|f| f.segments);
    Ok(files)
}

/// Leaves out what is superseded; gives it as the second.
pub fn split_superseded(files: Vec<StoredFile>) -> (Vec<StoredFile>, Vec<StoredFile>) {
    let ranges: Vec<Segments> = files.iter().map(|f| f.segments).filter(|s| s.first != s.last).collect();
    files.into_iter().partition(|f| !ranges.iter().any(|r| r.supersede(f.segments)))
}

/// Files that were never finished, in one folder.
///
/// # Errors
/// Where the folder cannot be read.
pub fn list_temporary(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut names = names(dir)?;
    names.retain(|n| n.starts_with('.') && n.ends_with(TEMPORARY));
    Ok(names.into_iter().map(|n| dir.join(n)).collect())
}

/// The names in a folder; none where there is no such folder. Names that are no text are not ours.
fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.map_err(|e| std::io::Error::new(e.kind(), format!("cannot read {}: {e}", dir.display())))?,
    };
    entries.filter_map(|e| e.map(|e| e.file_name().into_string().ok()).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_and_its_folder_are_the_same_thing() {
        for time in [0, 1_763_712_000_000_000_000, u64::MAX / 2] {
            let hour = Hour::of(time);
            let folder = hour.folder();
            let mut parts = folder.iter().map(|p| p.to_str().unwrap_or_default());
            assert_eq!(Hour::parse(parts.next().unwrap_or_default(), parts.next().unwrap_or_default()), Some(hour));
            assert!(hour.start() <= time.cast_signed() && time.cast_signed() <= hour.end());
        }
        assert_eq!(Hour::of(1_763_712_000_000_000_000).folder(), PathBuf::from("date=2025-11-21/hour=08"));
    }

    #[test]
    fn a_file_is_named_by_its_segments() {
        for segments in [Segments::one(42), Segments { first: 40, last: 57 }] {
            assert_eq!(Segments::parse(&segments.file_name()), Some(segments));
            assert_eq!(Segments::parse(&segments.temporary_name()), None);
        }
        for name in ["x.parquet", "5-3.parquet", "5", "5parquet", ".parquet", "-5.parquet"] {
            assert_eq!(Segments::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_range_supersedes_what_it_contains_and_not_itself() {
        let range = Segments { first: 2, last: 5 };
        assert!(range.supersede(Segments::one(2)) && range.supersede(Segments { first: 3, last: 5 }));
        assert!(!range.supersede(range) && !range.supersede(Segments::one(6)));
    }
}
