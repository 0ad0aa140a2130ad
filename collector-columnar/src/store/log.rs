//! The write-ahead log: what makes a frame durable long before it is Parquet.
//!
//! A segment is a file: the magic, then records `[length u32][crc32 u32][payload]`, little-endian, the payload being
//! `[kind u8][body]`: a frame as it travelled, or a gap ([`super::lost`]). The checksum covers the length too, so that a
//! tail of zeros, which some file systems leave after a crash, is no record.
//!
//! **Reading** trusts no length and stops at the first record that is not whole: after a crash the tail may be torn.
//! **Writing** gathers records in memory, hands them to the system in large writes, and syncs them all together.
//! A write that fails half-way is cut off again, so that what follows it stays readable, and is tried again later:
//! that is how a full disk is survived. After a *sync* that fails nobody knows what the disk holds
//! (the kernel may forget the pages), and trying again proves nothing: the segment is given up, its
//! frames, which are still in memory, are flushed to Parquet at once, and a new segment begins.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::fs::Fs;
use super::fs::FsFile;
use super::layout::{LOG_DIR, Segment, log_file};
use crate::limits::{LOG_RECORD_BYTES, LOG_WRITE_BYTES};

/// What the magic of every version begins with.
const MAGIC_OF_ALL: &[u8; 7] = b"zonewal";
const MAGIC: &[u8; 8] = b"zonewal2";
const HEAD_BYTES: usize = 8;

/// The segment being written.
pub struct Log {
    fs: Arc<dyn Fs>,
    segment: Segment,
    file: Box<dyn FsFile>,
    /// Bytes of the file that are whole records.
    written: u64,
    /// Records that are not in the file yet.
    pending: Vec<u8>,
    unsynced: bool,
    given_up: bool,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Log { segment, written, pending, unsynced, given_up, .. } = self;
        write!(
            f,
            "Log {{ segment: {segment}, written: {written}, pending: {}, unsynced: {unsynced}, given_up: {given_up} }}",
            pending.len()
        )
    }
}

impl Log {
    /// Begins a segment, durably.
    ///
    /// # Errors
    /// Where the file cannot be made; then nothing was begun.
    pub fn create(fs: Arc<dyn Fs>, root: &Path, segment: Segment) -> io::Result<Self> {
        let path = log_file(root, segment);
        let begin = || {
            let mut file = fs.create(&path)?;
            file.write_all(MAGIC)?;
            file.sync()?;
            fs.sync_dir(&root.join(LOG_DIR))?;
            Ok(file)
        };
        let file = begin().inspect_err(|_: &io::Error| {
            let _ = fs.remove_file(&path);
        })?;
        let written = MAGIC.len() as u64;
        Ok(Log { fs, segment, file, written, pending: Vec::new(), unsynced: false, given_up: false })
    }

    /// Its number.
    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// Bytes that are not in the file yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Whether a sync failed: the segment takes no more, and wants to be flushed.
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Whether there is something to make durable.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced || !self.pending.is_empty()
    }

    /// Adds a record, in memory; writes when enough has gathered.
    ///
    /// # Errors
    /// Where it cannot be written now. The record is kept, and written later.
    pub fn append(&mut self, kind: Kind, body: &[u8]) -> io::Result<()> {
        encode(kind, body, &mut self.pending);
        if self.pending.len() >= LOG_WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Hands what has gathered to the system: a killed process loses none of it.
    ///
    /// # Errors
    /// Where it cannot be written now. Nothing of it is in the file then, and all is kept.
    pub fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() || self.given_up {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.pending) {
            self.given_up = self.file.truncate(self.written).is_err();
            return Err(error);
        }
        self.written += self.pending.len() as u64;
        self.unsynced = true;
        self.pending.clear();
        Ok(())
    }

    /// Makes all records durable: a crash of the machine loses none of them.
    ///
    /// # Errors
    /// Where that cannot be. See [`Log::is_given_up`].
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if self.unsynced && !self.given_up {
            self.file.sync().inspect_err(|_| self.given_up = true)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Ends this segment and begins the next. What cannot be made durable in the old one is in memory, on its way to
    /// Parquet; that is no reason to stop.
    ///
    /// # Errors
    /// Where the next cannot be begun; then this one goes on.
    pub fn roll(&mut self, root: &Path) -> io::Result<Segment> {
        let next = Log::create(Arc::clone(&self.fs), root, self.segment + 1)?;
        if let Err(error) = self.sync() {
            tracing::warn!(
                segment = self.segment,
                "the log could not be synced, its rows go to Parquet at once: {error}"
            );
        }
        Ok(std::mem::replace(self, next).segment)
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A frame that came when it was published.
    Frame = 0,
    /// A frame that was missed, and came when it was asked for.
    Recovered = 1,
    /// Frames that will never come.
    Gap = 2,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Kind::Frame, Kind::Recovered, Kind::Gap].into_iter().find(|kind| *kind as u8 == byte)
    }
}

fn encode(kind: Kind, body: &[u8], into: &mut Vec<u8>) {
    let start = into.len();
    let payload = 1 + body.len();
    into.reserve(HEAD_BYTES + payload);
    into.extend_from_slice(&u32::try_from(payload).unwrap_or(u32::MAX).to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.push(kind as u8);
    into.extend_from_slice(body);
    let crc = checksum(&into[start..start + 4], &into[start + HEAD_BYTES..]);
    into[start + 4..start + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(length: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(payload);
    hasher.finalize()
}

/// The records of a segment, read from its bytes.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub kind: Kind,
    /// The frame or the gap, encoded.
    pub body: &'a [u8],
}

impl<'a> Records<'a> {
    /// Of the bytes of a segment's file. A file that is cut off within its magic has none.
    ///
    /// # Errors
    /// Where another version of ours wrote it: its frames must not be taken for none.
    pub fn new(segment: &'a [u8]) -> io::Result<Self> {
        match segment.strip_prefix(MAGIC) {
            None if segment.starts_with(MAGIC_OF_ALL) && segment.len() > MAGIC.len() => Err(io::Error::other(
                "another version of this program wrote it: let that version flush it, by starting and ending it",
            )),
            records => Ok(Records { rest: records.unwrap_or_default() }),
        }
    }

    /// Bytes that are no whole record: after the last call of `next`, the torn tail.
    pub fn torn_bytes(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (head, rest) = self.rest.split_at_checked(HEAD_BYTES)?;
        let (length, crc) = head.split_at(4);
        let payload_bytes = u32::from_le_bytes(length.try_into().ok()?) as usize;
        if payload_bytes > LOG_RECORD_BYTES {
            return None;
        }
        let (payload, rest) = rest.split_at_checked(payload_bytes)?;
        if crc != checksum(length, payload).to_le_bytes() {
            return None;
        }
        let (kind, body) = payload.split_first()?;
        let kind = Kind::of(*kind)?;
        self.rest = rest;
        Some(Record { kind, body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for body in records {
            encode(kind(body), body, &mut bytes);
        }
        bytes
    }

    /// Any kind, the same for the same body.
    fn kind(body: &[u8]) -> Kind {
        Kind::of(body.len() as u8 % 3).unwrap()
    }

    fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        let Ok(records) = Records::new(bytes) else { return Vec::new() };
        records.inspect(|r| assert_eq!(r.kind, kind(r.body))).map(|r| r.body.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(records: Vec<Vec<u8>>) {
            prop_assert_eq!(read(&segment(&records)), records);
        }

        #[test]
        fn a_torn_tail_costs_only_itself(records: Vec<Vec<u8>>, cut: prop::sample::Index) {
            let bytes = segment(&records);
            let whole = read(&bytes[..cut.index(bytes.len() + 1)]);
            prop_assert_eq!(&records[..whole.len()], &whole[..]);
        }

        #[test]
        fn no_bytes_make_it_stumble(bytes: Vec<u8>) {
            for bytes in [[MAGIC.as_slice(), &bytes].concat(), bytes] {
                if let Ok(records) = Records::new(&bytes) {
                    records.for_each(drop);
                }
            }
        }

        #[test]
        fn a_flipped_bit_ends_the_segment_and_invents_nothing(records: Vec<Vec<u8>>, at: prop::sample::Index, bit in 0..8u8) {
            let mut bytes = segment(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let whole = read(&bytes);
            prop_assert_eq!(&records[..whole.len()], &whole[..]);
        }
    }

    #[test]
    fn zeros_after_a_crash_are_no_record() {
        let mut bytes = segment(&[b"frame".to_vec()]);
        bytes.extend_from_slice(&[0; 64]);
        assert_eq!(read(&bytes).len(), 1);
        assert!(Records::new(&[0; 64]).unwrap().next().is_none());
    }

    #[test]
    fn another_version_s_frames_are_not_taken_for_none() {
        let said = Records::new(b"zonewal1 and frames").unwrap_err().to_string();
        assert!(said.contains("another version"), "{said}");
        assert!(Records::new(b"zonewal").unwrap().next().is_none(), "cut off within the magic");
    }
}
