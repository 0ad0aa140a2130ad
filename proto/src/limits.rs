//! Every limit of the contract, in one place, and how they relate.
//!
//! A generator keeps them; a decoder refuses what breaks them, so that a hostile or broken peer costs a bounded
//! amount of memory.

/// Largest frame, in bytes of protobuf. A host frame announces some 20,000 zones in it.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Largest topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = MAX_ZONE_NAME_BYTES + 1 + MAX_HOST_ID_BYTES;

/// Longest zone name, in bytes. illumos allows 63 (ZONENAME_MAX is 64 with its NUL, sys/zone.h); Linux unit
/// names go up to 255 (UNIT_NAME_MAX is 256 with its NUL).
pub const MAX_ZONE_NAME_BYTES: usize = 255;

/// Longest host id, in bytes: a UUID with dashes and room to spare.
pub const MAX_HOST_ID_BYTES: usize = 64;

/// Longest text in any other field, in bytes. Longer texts are cut by the generator.
pub const MAX_TEXT_BYTES: usize = 1024;

/// Most rows of one family in one frame: cores, disks, links, processes, custom rows.
pub const MAX_ROWS: usize = 4096;

/// Most buckets of one distribution. llquantize has at most some 1,000 (factor 10, 100 steps, 10 magnitudes).
pub const MAX_BUCKETS: usize = 2048;

/// Most labels or values in one custom row or distribution.
pub const MAX_LABELS: usize = 64;

/// Most topics that one host frame announces.
pub const MAX_ANNOUNCEMENTS: usize = 65_536;

/// Most earlier epochs that one host frame names.
pub const MAX_KEPT_EPOCHS: usize = 64;

/// Most ranges in one request for missed frames.
pub const MAX_RANGES: usize = 1024;

/// Largest request for missed frames, in bytes: the most ranges with the longest names, and room.
pub const MAX_REQUEST_BYTES: usize = MAX_RANGES * (MAX_ZONE_NAME_BYTES + 32) + 4096;

/// Largest reply to one, in bytes. A generator stops well before; one frame of any size always fits.
pub const MAX_REPLY_BYTES: usize = 4 * MAX_FRAME_BYTES;

/// Most frames in a reply.
pub const MAX_REPLY_FRAMES: usize = 8192;

/// Most missing ranges in a reply.
pub const MAX_MISSING: usize = 4 * MAX_RANGES;

const _: () = assert!(MAX_REQUEST_BYTES < MAX_FRAME_BYTES);
const _: () = assert!(MAX_MISSING * (MAX_ZONE_NAME_BYTES + 64) + 2 * MAX_FRAME_BYTES < MAX_REPLY_BYTES);
const _: () = assert!(MAX_TOPIC_BYTES < MAX_TEXT_BYTES);
const _: () = assert!(MAX_ROWS < MAX_ANNOUNCEMENTS);
const _: () = assert!(MAX_TEXT_BYTES * MAX_LABELS < MAX_FRAME_BYTES);
