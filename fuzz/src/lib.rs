//! What the fuzz targets share: an allocator with a bound, files without a disk, checksums that are right, and the way of
//! a sample to a collector.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::fs::MemfdFlags;
use zonescope_generator::kstat::custom::Custom;
use zonescope_generator::kstat::options::{CustomOptions, KstatOptions};
use zonescope_generator::recorded::{Playing, Recorded, open};
use zonescope_generator::source::{Sample, Source, Tick};
use zonescope_link::publish::{Identity, Sealer};
use zonescope_proto::decode;

/// What a target may hold in memory at once, bytes. Inputs are some KB: whatever needs more was claimed, not sent.
const MOST_BYTES: usize = 128 << 20;

/// The system's allocator, which ends the process at [`MOST_BYTES`]: memory that is reserved and not touched is a finding too,
/// which libFuzzer's bound on resident memory does not see.
struct Bounded;

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What is held now.
pub fn held_bytes() -> usize {
    HELD_BYTES.load(Relaxed)
}

fn hold(bytes: usize) {
    if HELD_BYTES.fetch_add(bytes, Relaxed).saturating_add(bytes) > MOST_BYTES {
        // No panic: that would allocate.
        std::process::abort();
    }
}

// SAFETY: every call goes to `System` as it came.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        hold(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        hold(size);
        HELD_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// A file in memory: our readers take paths.
pub struct MemoryFile {
    /// Open as long as this lives.
    _file: std::fs::File,
    path: PathBuf,
}

impl MemoryFile {
    /// One that holds `bytes`.
    ///
    /// # Panics
    /// Where the kernel refuses.
    pub fn new(bytes: &[u8]) -> Self {
        use std::os::fd::AsRawFd;
        let file = rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory");
        let mut file = std::fs::File::from(file);
        file.write_all(bytes).expect("memory for a file");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        MemoryFile { _file: file, path }
    }

    /// Where it can be opened, as long as this lives.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where the checksum of a record stands, and of what it is.
pub struct Sum {
    /// Where its four bytes begin.
    pub at: usize,
    /// What it says.
    pub value: u32,
}

/// Mutates `data` as libFuzzer does and then, three times of four, makes its checksums right: `sums` finds those of the bytes
/// that it is given. No fuzzer guesses a CRC, and behind it everything else begins.
pub fn mutate(data: &mut [u8], size: usize, seed: u32, sums: impl Fn(&[u8]) -> Vec<Sum>) -> usize {
    let most = data.len();
    let size = libfuzzer_sys::fuzzer_mutate(data, size, most);
    if seed % 4 != 0 {
        for Sum { at, value } in sums(&data[..size]) {
            data[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    }
    size
}

/// Publishes what a source saw: whatever fits into frames, collectors can read.
///
/// # Panics
/// Where they cannot.
pub fn publish(sample: Sample) {
    let mut sealer = Sealer::new(Identity { host_id: "fuzz".into(), host: "fuzz".into(), epoch: 1 });
    for (name, mut zone) in sample.zones {
        if let Ok((_, bytes)) = sealer.seal(Some(zone.zone), &mut zone.frame, 1, 1000)
            && let Err(error) = decode(&bytes)
        {
            panic!("the frame of {name} cannot be read: {error}");
        }
    }
}

/// Ticks of a capture that are played: more are repetition.
const TICKS: u64 = 3;

/// Plays a capture, whatever it is, with every kstat wanted and its zones copied, and publishes it.
///
/// # Panics
/// Where a frame is published that cannot be read.
pub fn play(capture: &[u8]) {
    let file = MemoryFile::new(capture);
    let all = CustomOptions {
        name: "everything".into(),
        selector: ":::".into(),
        kind: "counter".into(),
        unit: String::new(),
    };
    let options = KstatOptions { custom: vec![all], ..KstatOptions::default() };
    let custom = Custom::new(&options).expect("the selector is one");
    let Ok(capture) = open::open(file.path(), custom) else { return };
    let mut recorded = Recorded::new(capture, Playing { repeat: true, zones: 3 });
    for tick in 1..=TICKS {
        let mut sample = Sample::default();
        let tick = Tick { time_ns: tick * 1_000_000_000, interval_ns: 1_000_000_000 };
        if recorded.sample(tick, &mut sample).is_err() {
            break;
        }
        publish(sample);
    }
}
