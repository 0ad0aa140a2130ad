//! The spool: what it holds survives its process, and no damage makes it hand out what was never put in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "a test mounts, and says what it skips")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use zonescope_link::clock::Clock;
use zonescope_link::ring::Piece;
use zonescope_link::spool::{Limits, SEGMENT_BYTES, Spool, SpoolError};
use zonescope_proto::v1::Absence;
#[cfg(target_os = "linux")]
use zonescope_tests::Disk;

/// A clock that is set by hand, in seconds.
#[derive(Default)]
struct ByHand(AtomicU64);

impl Clock for ByHand {
    fn now_ns(&self) -> u64 {
        self.0.load(Relaxed) * 1_000_000_000
    }
}

fn open(directory: &Path) -> Spool {
    Spool::open(directory, Limits::default(), "h1", Arc::new(ByHand::default())).unwrap()
}

fn frame(zone: &str, sequence: u64) -> Bytes {
    Bytes::from(format!("frame {sequence} of {zone}"))
}

/// A spool of one epoch with the frames 1 to `count` of `a` and `b`, written and closed.
fn written(directory: &Path, epoch: u64, count: u64) {
    let mut spool = open(directory);
    spool.start(epoch).unwrap();
    for n in 1..=count {
        spool.push("a", 1, n, frame("a", n));
        spool.push("b", 1, n, frame("b", n));
    }
}

fn pieces(spool: &Spool, epoch: u64, zone: &str, first: u64, last: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    spool.look_up(epoch, zone, first, last, &mut |piece| {
        pieces.push(piece);
        true
    });
    pieces
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "spool")).collect();
    segments.sort();
    segments
}

#[test]
fn frames_survive_their_process_and_the_end_of_an_epoch_is_known() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path(), 7, 3);
    written(directory.path(), 8, 1);
    let spool = open(directory.path());
    assert_eq!(spool.epochs(), [7, 8]);
    let expected = [
        Piece::Frame(2, frame("a", 2)),
        Piece::Frame(3, frame("a", 3)),
        Piece::Missing(4, u64::MAX, Absence::EndOfEpoch),
    ];
    assert_eq!(pieces(&spool, 7, "a", 2, u64::MAX), expected);
    assert_eq!(pieces(&spool, 7, "a", 2, 3), expected[..2]);
    assert_eq!(pieces(&spool, 8, "b", 1, 1), [Piece::Frame(1, frame("b", 1))]);
    assert_eq!(pieces(&spool, 9, "a", 1, 5), [Piece::Missing(1, 5, Absence::UnknownEpoch)]);
    assert_eq!(pieces(&spool, 7, "c", 1, 5), [Piece::Missing(1, 5, Absence::EndOfEpoch)]);
}

#[test]
fn a_topic_that_began_higher_and_one_that_lost_a_frame_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path());
    spool.start(7).unwrap();
    for (begins, n) in [(1, 1), (1, 2), (10, 10), (10, 12)] {
        spool.push("a", begins, n, frame("a", n));
    }
    drop(spool);
    let missing: Vec<_> = pieces(&open(directory.path()), 7, "a", 1, 12)
        .into_iter()
        .filter_map(|piece| if let Piece::Missing(a, b, why) = piece { Some((a, b, why)) } else { None })
        .collect();
    assert_eq!(missing, [(3, 9, Absence::NeverSent), (11, 11, Absence::Evicted)]);
}

#[test]
fn a_segment_that_was_torn_anywhere_gives_what_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path(), 7, 5);
    let path = segments(directory.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let mut before = 10;
    for length in (0..=whole.len()).rev() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let spool = open(directory.path());
        let frames: usize = ["a", "b"]
            .iter()
            .map(|zone| {
                let pieces = pieces(&spool, 7, zone, 1, 5);
                let frames: Vec<_> = pieces
                    .iter()
                    .filter_map(|piece| if let Piece::Frame(n, f) = piece { Some((*n, f.clone())) } else { None })
                    .collect();
                let expected: Vec<_> = (1..=frames.len() as u64).map(|n| (n, frame(zone, n))).collect();
                assert_eq!(frames, expected, "cut at {length}");
                frames.len()
            })
            .sum();
        assert!(frames <= before);
        before = frames;
    }
    assert_eq!(before, 0);
}

#[test]
fn damage_anywhere_never_gives_a_frame_that_was_not_put_in() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path(), 7, 2);
    let path = segments(directory.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            std::fs::write(&path, &damaged).unwrap();
            let spool = open(directory.path());
            for epoch in spool.epochs() {
                assert_eq!(epoch, 7);
                for zone in ["a", "b"] {
                    for piece in pieces(&spool, 7, zone, 1, 9) {
                        if let Piece::Frame(n, bytes) = piece {
                            assert_eq!(bytes, frame(zone, n), "byte {at} damaged");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_file_of_any_length_and_content_costs_a_bounded_look() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000000000000000007-00000000.spool");
    // Sparse: says that it is a terabyte.
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let start = Instant::now();
    let spool = open(directory.path());
    assert!(spool.epochs().is_empty() && start.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_oldest_segments_go_when_there_are_too_many_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 4 * SEGMENT_BYTES, ..Limits::default() };
    let mut spool = Spool::open(directory.path(), limits, "h1", Arc::new(ByHand::default())).unwrap();
    spool.start(7).unwrap();
    let large = Bytes::from(vec![7u8; 500_000]);
    for n in 1..=100 {
        spool.push("a", 1, n, large.clone());
        while spool.done() < n {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let bytes: u64 = segments(directory.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= limits.bytes + SEGMENT_BYTES, "{bytes}");
    let pieces = pieces(&spool, 7, "a", 1, 100);
    let Piece::Missing(1, last, Absence::Evicted) = pieces[0] else { panic!("{:?}", pieces[0]) };
    assert!(last > 50 && pieces.len() as u64 == 1 + 100 - last);
    assert_eq!(spool.dropped(), 0);
}

#[test]
fn the_oldest_segments_go_when_they_are_too_old() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ByHand::default());
    let limits = Limits { age: Duration::from_secs(60), ..Limits::default() };
    for (epoch, time) in [(7, 1000), (8, 1050), (9, 1100)] {
        clock.0.store(time, Relaxed);
        let mut spool = Spool::open(directory.path(), limits, "h1", Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        spool.start(epoch).unwrap();
        spool.push("a", 1, 1, frame("a", 1));
    }
    assert_eq!(open(directory.path()).epochs(), [8, 9]);
}

#[test]
fn a_spool_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let _owner = open(directory.path());
    let error = Spool::open(directory.path(), Limits::default(), "h1", Arc::new(ByHand::default())).unwrap_err();
    assert!(matches!(&error, SpoolError::Locked(path) if path == directory.path()), "{error}");
}

#[test]
fn a_spool_of_another_host_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path(), 7, 3);
    let spool = Spool::open(directory.path(), Limits::default(), "h2", Arc::new(ByHand::default())).unwrap();
    assert!(spool.epochs().is_empty());
    assert_eq!(pieces(&spool, 7, "a", 1, 3), [Piece::Missing(1, 3, Absence::EndOfEpoch)]);
}

/// What is not tested where no disk can be mounted.
#[cfg(target_os = "linux")]
const FULL: &str = "the spool on a full disk";

/// Puts in frames of 64 KiB, `first` to `last`, and waits until they are written or left out.
#[cfg(target_os = "linux")]
fn push(spool: &Spool, first: u64, last: u64) {
    for n in first..=last {
        spool.push("a", 1, n, Bytes::from(vec![n as u8; 64 << 10]));
        while spool.done() < n {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_the_oldest_segments_make_room_for_the_newest_frames() {
    let Some(disk) = Disk::mount(24, FULL) else { return };
    let mut spool = open(disk.path());
    spool.start(7).unwrap();
    // 50 MiB, for a disk of 24.
    push(&spool, 1, 800);
    assert_eq!(spool.dropped(), 0);
    disk.fill();
    push(&spool, 801, 900);
    assert_eq!(spool.dropped(), 0);
    let found = pieces(&spool, 7, "a", 1, 900);
    let Piece::Missing(1, oldest, Absence::Evicted) = found[0] else { panic!("{:?}", found[0]) };
    assert_eq!(found.len() as u64, 1 + 900 - oldest, "all that are newer are there");
    assert!(900 - oldest >= 64, "a segment at least");
    drop(spool);
    // And so they are for the next who opens it.
    let spool = open(disk.path());
    assert_eq!(pieces(&spool, 7, "a", 1, 900), found);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_others_have_filled_costs_frames_and_leaves_no_files_behind() {
    let Some(disk) = Disk::mount(8, FULL) else { return };
    let mut spool = open(disk.path());
    spool.start(7).unwrap();
    disk.fill();
    push(&spool, 1, 100);
    assert_eq!(spool.dropped(), 100);
    assert!(segments(disk.path()).is_empty());
    disk.empty();
    push(&spool, 101, 102);
    assert_eq!(spool.dropped(), 100);
    let frame = |n: u64| Piece::Frame(n, Bytes::from(vec![n as u8; 64 << 10]));
    assert_eq!(pieces(&spool, 7, "a", 101, 102), [frame(101), frame(102)]);
}
