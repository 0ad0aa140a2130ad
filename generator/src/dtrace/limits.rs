//! Every bound of the runner, and how they relate. What a D program prints never costs more memory than these allow.

use std::time::Duration;

use zonescope_proto::limits::{MAX_BUCKETS, MAX_TEXT_BYTES};

/// Longest line. A longer one is left out whole and counted: half a record could be mistaken for another one.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// Lines that one record may span: a process may carry a newline in its name.
pub const MAX_RECORD_LINES: usize = 4;

/// Bytes read from a child at once. A pipe holds some 64 KiB.
pub const READ_BYTES: usize = 64 * 1024;

/// Buckets of all distributions in one interval of one program.
pub const MAX_INTERVAL_BUCKETS: usize = 256 * 1024;

/// Bytes of text in the rows of one interval of one program.
pub const MAX_INTERVAL_TEXT: usize = 4 * 1024 * 1024;

/// Intervals of one program that wait for a tick. Drop policy: the oldest goes; dropped rows are counted as drops.
pub const MAX_WAITING: usize = 4;

/// Keys of one aggregation that a header may name.
pub const MAX_KEYS: usize = 8;

/// Values that a header may name.
pub const MAX_VALUES: usize = 8;

/// Largest program of a user. dtrace reads it from its file.
pub const MAX_PROGRAM_BYTES: u64 = 32 * 1024;

/// Largest program that a child reads on its stdin: PIPE_BUF, so much as an empty pipe takes without blocking the writer
/// (4096 on Linux, 5120 on illumos). A test holds the built-in programs to it.
pub const MAX_STDIN_BYTES: usize = 4096;

/// Most users' programs at once.
pub const MAX_USER_PROGRAMS: usize = 64;

/// Text of an error, for people.
pub const MAX_ERROR_BYTES: usize = 400;

/// Longest wait for output; after it the keeper looks at clocks, budgets and orders.
pub const LOOK: Duration = Duration::from_millis(250);

/// After SIGTERM dtrace fires END and prints what is left: 0.3 s on illumos, up to 7 s on Linux. Then SIGKILL.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// A child that closed its output but lives on gets so long.
pub const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// A child that ends no interval for so long hangs, and is restarted. Longer than the 30 s after which the kernel aborts
/// a consumer that no longer answers (dtrace_deadman_user), and than any compilation.
pub const HUNG: Duration = Duration::from_secs(90);

const _: () = assert!(MAX_LINE_BYTES * MAX_RECORD_LINES < READ_BYTES);
const _: () = assert!(MAX_TEXT_BYTES < MAX_LINE_BYTES);
const _: () = assert!(MAX_BUCKETS < MAX_INTERVAL_BUCKETS);
const _: () = assert!(MAX_ERROR_BYTES < MAX_TEXT_BYTES);
