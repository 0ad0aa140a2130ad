//! What each command does. This is the only place that writes to standard output.

pub mod doctor;
pub mod run;
pub mod top;

use std::io::{self, Write};

use clap_complete::Shell;

use crate::cli;

/// Whoever reads our output may stop: `| head` is no failure.
fn unless_nobody_reads(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a sentence.
///
/// # Errors
/// Where it cannot be written.
pub fn say(text: &str) -> anyhow::Result<()> {
    Ok(unless_nobody_reads(writeln!(io::stdout(), "{text}"))?)
}

/// Prints completions.
///
/// # Errors
/// Where they cannot be written.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::grammar(), cli::NAME, &mut script);
    Ok(unless_nobody_reads(io::stdout().write_all(&script))?)
}
