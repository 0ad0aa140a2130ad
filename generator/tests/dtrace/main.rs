//! The runner against children that are not dtrace: shell scripts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests fail loudly")]
#![allow(clippy::disallowed_methods, reason = "tests start processes of their own")]
#![cfg(unix)]

mod children;
mod host;
mod programs;
