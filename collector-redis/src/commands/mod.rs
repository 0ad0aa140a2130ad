//! What each command does. This is the only place that writes to standard output.

pub mod doctor;
pub mod run;
pub mod top;

use std::io::{self, Write};

use clap_complete::Shell;
use zonescope_link::stdout::unless_nobody_reads;

use crate::cli;

/// Prints completions.
///
/// # Errors
/// Where they cannot be written.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::grammar(), cli::NAME, &mut script);
    Ok(unless_nobody_reads(io::stdout().write_all(&script))?)
}
