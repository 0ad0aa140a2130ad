//! The only place that asks the operating system what time it is.

use std::time::Duration;

/// Tells the time. An argument wherever time matters, so that tests bring their own.
pub trait Clock: Send + Sync {
    /// ns since 1970 UTC.
    fn now_ns(&self) -> u64;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    fn now_ns(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}
