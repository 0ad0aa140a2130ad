//! Any file in the generator's spool: whole records up to the first that is not, and a table that knows each of them.
#![no_main]

#[allow(dead_code, reason = "the reading half of it")]
#[path = "../../link/src/spool/segment.rs"]
mod segment;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use segment::{Contents, Segment};
use zonescope_fuzz::{MemoryFile, Sum, mutate};
use zonescope_link::spool::SEGMENT_BYTES;

const HEADER_BYTES: usize = 128;

fuzz_mutator!(|data: &mut [u8], size: usize, _most: usize, seed: u32| { mutate(data, size, seed, sums) });

/// The checksum of the header, then those of the records.
fn sums(data: &[u8]) -> Vec<Sum> {
    let Some(header) = data.get(..HEADER_BYTES - 4) else { return Vec::new() };
    let mut sums = vec![];
    if data.len() >= HEADER_BYTES {
        sums.push(Sum { at: HEADER_BYTES - 4, value: crc32fast::hash(header) });
    }
    let mut at = HEADER_BYTES;
    while let Some(length) = data.get(at..at + 4).and_then(|l| l.try_into().ok()).map(u32::from_le_bytes) {
        let body = at + 8;
        let Some(bytes) = data.get(body..body.saturating_add(length as usize)) else { break };
        sums.push(Sum { at: at + 4, value: crc32fast::hash(bytes) });
        at = body + bytes.len();
    }
    sums
}

fuzz_target!(|bytes: &[u8]| {
    let file = MemoryFile::new(bytes);
    let segment = Segment::open(file.path(), "chaos").expect("it can be read");
    assert_eq!(segment.bytes(), bytes.len() as u64);
    assert!(segment.torn_bytes <= segment.bytes());
    let contents = Contents::read(file.path()).expect("it can be read");
    for zone in ["", "global", "web1"] {
        for record in contents.of(zone).filter(|_| segment.frames() > 0) {
            assert!(segment.may_have(zone, record.sequence, record.sequence));
        }
    }
});
