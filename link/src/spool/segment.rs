//! One segment: a header, then records, each with its checksum. Reading trusts no length: a record is there if it fits into the
//! file, is within the limits of the contract, and its checksum is right; where one is not, the segment ends.
//!
//! ```text
//! header, 128 bytes   "ZSSPOOL1"  epoch u64  created u64 (ns since 1970)  host id: length u8, 64 bytes
//!                     zeros  crc32 of what is before it u32
//! record              length of the body u32  crc32 of the body u32
//!             body    zone: length u8, bytes  number u64  first number of the topic u64  frame
//! ```
//! All little-endian.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut, Bytes};
use zonescope_proto::limits::{MAX_FRAME_BYTES, MAX_HOST_ID_BYTES, MAX_ZONE_NAME_BYTES};

use super::SEGMENT_BYTES;

pub(super) const EXTENSION: &str = "spool";

const MAGIC: &[u8; 8] = b"ZSSPOOL1";
const HEADER_BYTES: usize = 128;
const BODY_FIXED_BYTES: usize = 1 + 8 + 8;
const MAX_BODY_BYTES: usize = BODY_FIXED_BYTES + MAX_ZONE_NAME_BYTES + MAX_FRAME_BYTES;

/// A segment is never longer: the record that fills it may pass its size.
const MAX_SEGMENT_BYTES: u64 = SEGMENT_BYTES + 8 + MAX_BODY_BYTES as u64;

const _: () = assert!(MAX_ZONE_NAME_BYTES <= u8::MAX as usize);
const _: () = assert!(8 + 8 + 8 + 1 + MAX_HOST_ID_BYTES + 4 <= HEADER_BYTES);

/// First and last number of a zone, and how long the file is.
#[derive(Debug, Default)]
struct Table {
    zones: HashMap<Arc<str>, (u64, u64)>,
    frames: u64,
    bytes: u64,
}

/// What is known of a segment without reading it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) epoch: u64,
    pub(super) number: u64,
    pub(super) created_ns: u64,
    /// What could not be read at its end.
    pub(super) torn_bytes: u64,
    table: Mutex<Table>,
}

/// A frame in a segment.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) begins: u64,
    pub(super) frame: Bytes,
}

/// A segment, read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    zones: HashMap<Arc<str>, Vec<Record>>,
}

impl Segment {
    /// Looks at a segment that is there. One of another host, or whose header is damaged, has no frames.
    pub(super) fn open(path: &Path, host_id: &str) -> io::Result<Self> {
        let data = read(path)?;
        let bytes = std::fs::metadata(path)?.len();
        let number = path.file_stem().and_then(|s| s.to_str()?.rsplit_once('-')?.1.parse().ok()).unwrap_or(0);
        let mut table = Table { bytes, ..Table::default() };
        let header = Header::read(&data);
        let (epoch, created_ns) = header.as_ref().map_or((0, 0), |h| (h.epoch, h.created_ns));
        let mut torn_bytes = bytes;
        if header.is_some_and(|h| h.host_id == host_id) {
            let whole = records(&data, |zone, record| table.note(zone, record.sequence));
            torn_bytes = bytes - whole as u64;
        }
        Ok(Segment { path: path.to_owned(), epoch, number, created_ns, torn_bytes, table: Mutex::new(table) })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it holds a number of `zone` between `first` and `last`, as far as its table tells.
    pub(super) fn may_have(&self, zone: &str, first: u64, last: u64) -> bool {
        self.table().zones.get(zone).is_some_and(|(lowest, highest)| *lowest <= last && *highest >= first)
    }

    /// Its size on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.table().bytes
    }

    pub(super) fn frames(&self) -> u64 {
        self.table().frames
    }
}

impl Table {
    fn note(&mut self, zone: &str, sequence: u64) {
        self.frames += 1;
        match self.zones.get_mut(zone) {
            Some((lowest, highest)) => (*lowest, *highest) = ((*lowest).min(sequence), (*highest).max(sequence)),
            None => drop(self.zones.insert(Arc::from(zone), (sequence, sequence))),
        }
    }
}

/// A segment being written.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) segment: Arc<Segment>,
    file: File,
    buffer: Vec<u8>,
    /// What of the buffer is about which frames: noted once it is in the file.
    pending: Vec<(String, u64)>,
    /// Ends in the middle of a record: nothing may be written behind it.
    torn: bool,
}

impl Open {
    /// Makes a new segment. Where that fails, no file stays.
    pub(super) fn create(directory: &Path, host_id: &str, epoch: u64, number: u64, now_ns: u64) -> io::Result<Self> {
        let path = directory.join(format!("{epoch:020}-{number:08}.{EXTENSION}"));
        let mut file = File::options().create_new(true).write(true).open(&path)?;
        let header = Header { epoch, created_ns: now_ns, host_id: host_id.to_owned() }.bytes();
        // The name, too, must survive.
        let made = file.write_all(&header).and_then(|()| File::open(directory)?.sync_all());
        if let Err(error) = made {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let table = Mutex::new(Table { bytes: HEADER_BYTES as u64, ..Table::default() });
        let segment = Arc::new(Segment { path, epoch, number, created_ns: now_ns, torn_bytes: 0, table });
        Ok(Open { segment, file, buffer: Vec::new(), pending: Vec::new(), torn: false })
    }

    /// Adds a record to what will be written next.
    pub(super) fn add(&mut self, zone: &str, begins: u64, sequence: u64, frame: &[u8]) {
        let start = self.buffer.len();
        self.buffer.put_u64_le(0);
        self.buffer.put_u8(zone.len() as u8);
        self.buffer.put_slice(zone.as_bytes());
        self.buffer.put_u64_le(sequence);
        self.buffer.put_u64_le(begins);
        self.buffer.put_slice(frame);
        let body = start + 8;
        let length = (self.buffer.len() - body) as u32;
        let checksum = crc32fast::hash(&self.buffer[body..]);
        self.buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.buffer[start + 4..body].copy_from_slice(&checksum.to_le_bytes());
        self.pending.push((zone.to_owned(), sequence));
    }

    /// Writes what was added. After an error nothing of it is in the file, and it can be tried again, unless the segment
    /// [is torn](Open::is_torn).
    pub(super) fn write(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        let mut table = self.segment.table();
        if let Err(error) = written {
            let whole = table.bytes;
            self.torn = self.file.set_len(whole).and_then(|()| self.file.seek(SeekFrom::Start(whole))).is_err();
            return Err(error);
        }
        table.bytes += self.buffer.len() as u64;
        self.pending.drain(..).for_each(|(zone, sequence)| table.note(&zone, sequence));
        self.buffer.clear();
        Ok(())
    }

    /// Forgets what was added.
    pub(super) fn discard(&mut self) {
        self.buffer.clear();
        self.pending.clear();
    }

    /// Whether an error left a part of a record at its end: it must not be written again.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Whether it is full with what was added.
    pub(super) fn is_full(&self) -> bool {
        self.segment.bytes() + self.buffer.len() as u64 >= SEGMENT_BYTES
    }

    pub(super) fn added(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Contents {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut contents = Contents::default();
        records(&read(path)?, |zone, record| match contents.zones.get_mut(zone) {
            Some(records) => records.push(record),
            None => drop(contents.zones.insert(Arc::from(zone), vec![record])),
        });
        Ok(contents)
    }

    /// The records of one zone, in the order of their numbers.
    pub(super) fn of(&self, zone: &str) -> impl Iterator<Item = &Record> {
        self.zones.get(zone).into_iter().flatten()
    }
}

/// Reads a file, as far as a segment can be long.
fn read(path: &Path) -> io::Result<Bytes> {
    let mut data = Vec::new();
    File::open(path)?.take(MAX_SEGMENT_BYTES).read_to_end(&mut data)?;
    Ok(data.into())
}

/// Calls `each` for every whole record; gives how many bytes were whole.
fn records(data: &Bytes, mut each: impl FnMut(&str, Record)) -> usize {
    if Header::read(data).is_none() {
        return 0;
    }
    let mut at = HEADER_BYTES;
    while let Some((zone, record, length)) = record(&data.slice(at..)) {
        each(&zone, record);
        at += length;
    }
    at
}

/// The record that `data` begins with, if it is whole, and its length.
fn record(data: &Bytes) -> Option<(String, Record, usize)> {
    let mut head = data.get(..8)?;
    let (length, checksum) = (head.get_u32_le() as usize, head.get_u32_le());
    if !(BODY_FIXED_BYTES..=MAX_BODY_BYTES).contains(&length) || data.len() < 8 + length {
        return None;
    }
    let body = data.slice(8..8 + length);
    if crc32fast::hash(&body) != checksum {
        return None;
    }
    let names = 1 + usize::from(body[0]);
    let zone = std::str::from_utf8(body.get(1..names)?).ok()?.to_owned();
    let mut numbers = body.get(names..names + 16)?;
    let (sequence, begins) = (numbers.get_u64_le(), numbers.get_u64_le());
    Some((zone, Record { sequence, begins, frame: body.slice(names + 16..) }, 8 + length))
}

/// What a segment begins with.
struct Header {
    epoch: u64,
    created_ns: u64,
    host_id: String,
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u64_le(self.epoch);
        bytes.put_u64_le(self.created_ns);
        bytes.put_u8(self.host_id.len() as u8);
        bytes.put_slice(self.host_id.as_bytes());
        bytes.resize(HEADER_BYTES - 4, 0);
        let checksum = crc32fast::hash(&bytes);
        bytes.put_u32_le(checksum);
        bytes
    }

    fn read(data: &[u8]) -> Option<Self> {
        let (fields, mut checksum) = data.get(..HEADER_BYTES)?.split_at(HEADER_BYTES - 4);
        if !fields.starts_with(MAGIC) || crc32fast::hash(fields) != checksum.get_u32_le() {
            return None;
        }
        let mut numbers = &fields[MAGIC.len()..];
        let (epoch, created_ns) = (numbers.get_u64_le(), numbers.get_u64_le());
        let length = usize::from(numbers.get_u8());
        let host_id = std::str::from_utf8(numbers.get(..length)?).ok()?.to_owned();
        Some(Header { epoch, created_ns, host_id })
    }
}
