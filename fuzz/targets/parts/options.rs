//! What the configuration of collector-columnar sets in its store.

use std::time::Duration;

use crate::limits::{FLUSH_DEFAULT, MEMORY_DEFAULT_BYTES, SYNC_DEFAULT};

/// How the store weighs memory, durability and the number of files.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    pub memory_bytes: usize,
    pub sync_every: Duration,
    pub flush_every: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions { memory_bytes: MEMORY_DEFAULT_BYTES, sync_every: SYNC_DEFAULT, flush_every: FLUSH_DEFAULT }
    }
}

pub mod retention {
    use std::time::Duration;

    /// What to keep.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Retention {
        pub keep: Option<Duration>,
        pub max_bytes: Option<u64>,
    }
}
