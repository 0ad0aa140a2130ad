//! Every limit of this source, in one place, and how they relate.

use zonescope_proto::limits::{MAX_FRAME_BYTES, MAX_LABELS, MAX_ROWS};

/// Longest line of a recording, bytes. One of a kstat with 300 statistics has some 20 KB.
pub const MAX_LINE_BYTES: u64 = 1 << 20;

/// Most kstats of one tick of a recording. A host of 1,000 zones has some 20,000 that anybody wants.
pub const MAX_CAPTURED_KSTATS: usize = 1 << 18;

/// Most unknown statistics of a family that are remembered, and so named in the log.
pub const MAX_NAMED: usize = 64;

/// Most selectors of users' own kstats.
pub const MAX_CUSTOM: usize = 64;

/// Most rows of users' own kstats in one zone's frame: half of what a frame may have, the other half is for D programs.
pub const MAX_CUSTOM_ROWS: usize = MAX_ROWS / 2;

/// Most values of them in one zone's frame, so that they leave room for everything else in it.
pub const MAX_CUSTOM_VALUES: usize = 8192;

/// Most values of one such row.
pub const MAX_CUSTOM_ROW: usize = MAX_LABELS;

/// A value with its name and unit, bytes on the wire: few are longer.
const VALUE_BYTES: usize = 64;

const _: () = assert!(MAX_CUSTOM_VALUES * VALUE_BYTES <= MAX_FRAME_BYTES / 2);
const _: () = assert!(MAX_CUSTOM_ROWS < MAX_ROWS);
