//! Every limit of this source, in one place, and how they relate.

use zonescope_proto::limits::{MAX_ROWS, MAX_ZONE_NAME_BYTES};

/// Most zones watched. Those found beyond it are left out, and counted in `collect` as drops of `zones`.
pub(super) const MAX_ZONES: usize = 4096;

/// Deepest cgroup looked at. systemd's own trees are some 7 deep with a rootless container at the end.
pub(super) const MAX_DEPTH: usize = 16;

/// Largest file read. Everything read here is some KB; /proc/stat of a very large host some 100 KB, a table of
/// containers perhaps some MB.
pub(super) const MAX_FILE_BYTES: usize = 16 << 20;

/// Most files kept open between ticks, if the process may open twice as many: each costs the kernel some
/// 5 KB, so 40 MB in all, and saves it three quarters of the work of reading.
pub(super) const MAX_OPEN_FILES: usize = 8192;

/// Most rows of one family in one zone.
pub(super) const MAX_FAMILY_ROWS: usize = MAX_ROWS;

/// Most processes of one zone reported by each of CPU time and memory.
pub(super) const MAX_TOP: usize = 1024;

/// Ticks after which the mounts are looked at again: a cgroup hierarchy mounted later is found by then.
pub(super) const MOUNTS_EVERY: u64 = 60;

/// Ticks after which the speed of a link is asked for again: the kernel takes the lock of the whole network
/// stack to answer.
pub(super) const SPEED_EVERY: u64 = 60;

/// Ticks through which a process counts as new: it is looked up every time, since whoever started it moves it
/// into its cgroup a moment later.
pub(super) const YOUNG_TICKS: u64 = 8;

/// Ticks after which a process that is no longer new is looked up again.
pub(super) const LOOK_EVERY: u64 = 16;

/// A limit at or above this is none. cgroup v1 says 9223372036854771712: as many pages as a long can count, less
/// on machines with larger pages.
pub(super) const V1_UNLIMITED: u64 = (1 << 63) - (1 << 20);

const _: () = assert!(MAX_ZONE_NAME_BYTES > 200, "a unit's name and what tells it from its namesake must fit");
const _: () = assert!(2 * MAX_TOP <= MAX_ROWS, "a process row for every one of both choices must fit a frame");
const _: () = assert!(YOUNG_TICKS < LOOK_EVERY);
