//! `record`: captures this host, so that it can be played elsewhere.

use crate::cli::RecordArguments;
use crate::config::Config;

/// Records until the time is over.
///
/// # Errors
/// Where the source cannot be recorded, or the file cannot be written.
pub fn record(_config: &Config, _arguments: &RecordArguments) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
