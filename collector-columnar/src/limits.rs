//! Every limit of the collector, in one place, and how they relate. What a limit protects stands beside it.

use std::time::Duration;

use zonescope_proto::limits::MAX_FRAME_BYTES;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Rows that wait to become Parquet, in bytes, those being written included. At half of it a flush begins; at
/// all of it no more frames are taken until the flush is done.
pub const MEMORY_DEFAULT_BYTES: usize = 256 * MIB;
/// Less than this would mean a flush every few frames of the largest size.
pub const MEMORY_LEAST_BYTES: usize = 16 * MIB;

/// Encoded frames between the receiver and the store. When full, the receiver waits: the socket's own queue fills,
/// then the publisher's, and then the publisher drops; what it dropped is asked for when there is room. Decoded they take
/// about ten times as much.
pub const QUEUE_BYTES: usize = 8 * MIB;

/// Log records that could not be written yet, because the disk is full. When full, no more frames are taken.
pub const LOG_PENDING_BYTES: usize = 16 * MIB;
/// Log records are handed to the operating system when there are this many bytes of them, or no more to do.
pub const LOG_WRITE_BYTES: usize = 256 * KIB;
/// Largest record in the log: its kind, the frame. A gap is smaller than any frame may be.
pub const LOG_RECORD_BYTES: usize = 1 + MAX_FRAME_BYTES;

/// Longest time a frame may wait for its fsync.
pub const SYNC_DEFAULT: Duration = Duration::from_secs(1);
/// Longest time a row may wait to become Parquet.
pub const FLUSH_DEFAULT: Duration = Duration::from_secs(60);

/// Tables times hours that may wait for a flush at once. Frames of a generator whose clock jumps about would
/// otherwise open a file each.
pub const OPEN_PARTS: usize = 4096;

/// Folders that are remembered as durable; then all are forgotten, and synced once more when they are needed.
pub const KNOWN_FOLDERS: usize = 4096;

/// Tables that users' own rows may make.
pub const CUSTOM_TABLES: usize = 256;
/// Columns that such a table may have.
pub const CUSTOM_COLUMNS: usize = 256;
/// Longest name of such a table or column, in bytes.
pub const CUSTOM_NAME_BYTES: usize = 64;

/// How long the last sequence number of a topic is remembered after its last frame. A generator's ring, out of
/// which old frames can come again, reaches back 15 minutes unless told otherwise.
pub const REMEMBER: Duration = Duration::from_secs(2 * 3600);
/// How many of the newest hours of `frames` are read at start to find those numbers.
pub const REMEMBER_HOURS: usize = 2;

/// Minutes of `completeness` that one gap makes at most: a day. What was due later counts in the last of them.
pub const GAP_MINUTES: usize = 24 * 60;

/// Rows of a row group. Small enough that a reader holds one in memory with ease, large enough that its
/// dictionaries pay.
pub const ROW_GROUP_ROWS: usize = 256 * KIB;
/// Rows of a page. The page index makes it the smallest thing that can be skipped: an hour of some twenty series. A quarter of this
/// took 1.7 % more bytes of three zones, and more of many zones that are alike; questions were no faster.
pub const PAGE_ROWS: usize = 64 * KIB;
/// Bytes of a page before compression.
pub const PAGE_BYTES: usize = 256 * KIB;
/// Dictionary of a column that is no label: samples of a profile have some five thousand distinct values, and take an eighth less
/// with a dictionary of all of them. Beyond, it costs more than it saves.
pub const DICTIONARY_BYTES: usize = 128 * KIB;
/// Distinct zones from which on a file carries a bloom filter on `zone`: below, the page index tells as much.
pub const BLOOM_ZONES: usize = 64;

/// An hour is compacted when it has been over for this long: late frames have come by then.
pub const HOUR_GRACE: Duration = Duration::from_secs(10 * 60);
/// An hour that is not over is compacted when it has this many files.
pub const SMALL_FILES: usize = 64;
/// Files that one compaction merges. Each is open, with a row group in memory.
pub const MERGE_FILES: usize = 128;

/// Retention by size stops at this share of the bound, so that it need not delete again at once.
pub const RETAIN_PERCENT: u64 = 95;

/// How far back a rate looks for its predecessor. Over a longer gap there is none: NULL.
pub const LOOK_BACK: Duration = Duration::from_secs(5 * 60);

/// Rows of a result that are held back until the query is done, so that it can begin anew without a file that turns
/// out to be damaged. A larger result is printed as it comes.
pub const HOLD_BACK_BYTES: usize = 64 * MIB;
/// Groups of an aggregation by name that are kept at once, in the first of its two steps; more are passed on in between.
pub const GROUPS_KEPT: usize = 64 << 10;
/// Footers of files that were read, with their page indexes, that an engine remembers: those used longest ago go first.
pub const FOOTERS_BYTES: usize = 64 * MIB;
/// How often a query begins anew: a file vanished under it (compaction, retention), or is damaged.
pub const ATTEMPTS: usize = 16;

const _: () = assert!(MEMORY_LEAST_BYTES <= MEMORY_DEFAULT_BYTES);
const _: () = assert!(MAX_FRAME_BYTES < QUEUE_BYTES);
const _: () = assert!(LOG_RECORD_BYTES < LOG_PENDING_BYTES);
const _: () = assert!(LOG_WRITE_BYTES < LOG_PENDING_BYTES);
const _: () = assert!(SYNC_DEFAULT.as_secs() < FLUSH_DEFAULT.as_secs());
const _: () = assert!(PAGE_ROWS < ROW_GROUP_ROWS);
const _: () = assert!(SMALL_FILES <= MERGE_FILES);
const _: () = assert!(REMEMBER.as_secs() <= 3600 * REMEMBER_HOURS as u64);
const _: () = assert!(HOUR_GRACE.as_secs() < 3600);
