//! Any file in the columnar collector's write-ahead log: whole records up to the first that is not, and of each a frame, a gap,
//! or nothing.
//!
//! The modules are taken by their paths: the crate that they belong to would bring DataFusion along, eleven minutes of compiling.
#![no_main]

#[allow(dead_code, reason = "those of the log")]
#[path = "../../collector-columnar/src/limits.rs"]
mod limits;
#[path = "parts/store.rs"]
mod store;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use store::log::{Kind, Records};
use store::lost::Lost;
use zonescope_fuzz::{Sum, mutate};
use zonescope_proto::decode;

const MAGIC_BYTES: usize = 8;

fuzz_mutator!(|data: &mut [u8], size: usize, _most: usize, seed: u32| { mutate(data, size, seed, sums) });

/// The checksums of the records: of the length and what follows the checksum.
fn sums(data: &[u8]) -> Vec<Sum> {
    let mut sums = Vec::new();
    let mut at = MAGIC_BYTES;
    while let Some(length) = data.get(at..at + 4) {
        let bytes = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some(payload) = data.get(at + 8..(at + 8).saturating_add(bytes)) else { break };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(length);
        hasher.update(payload);
        sums.push(Sum { at: at + 4, value: hasher.finalize() });
        at += 8 + bytes;
    }
    sums
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut records) = Records::new(bytes) else { return };
    for record in records.by_ref() {
        match record.kind {
            Kind::Frame | Kind::Recovered => drop(decode(record.body)),
            Kind::Gap => {
                if let Some(lost) = Lost::decode(record.body) {
                    let due: u64 = lost.minutes().iter().map(|(_, frames)| frames).sum();
                    assert_eq!(due, lost.count().unwrap_or(0), "every frame is due in one minute");
                    let mut again = Vec::new();
                    lost.encode(&mut again);
                    assert_eq!(Lost::decode(&again), Some(lost));
                }
            }
        }
    }
    assert!(records.torn_bytes() <= bytes.len());
});
