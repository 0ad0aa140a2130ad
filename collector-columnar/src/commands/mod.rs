//! What each command does. This is the only place that writes to standard output.

pub mod compact;
pub mod doctor;
pub mod export;
pub mod query;
pub mod run;
pub mod tables;
pub mod top;

use std::io::{self, Write};

use clap_complete::Shell;
use zonescope_link::stdout::unless_nobody_reads;

use crate::cli;

/// Standard output, for whoever prints much.
fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::new(io::stdout().lock())
}

/// Prints completions.
///
/// # Errors
/// None.
pub fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::grammar(), cli::NAME, &mut script);
    Ok(unless_nobody_reads(io::stdout().write_all(&script))?)
}

/// A runtime for one question: its own threads, as many as were asked for.
fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// As many threads as were asked for, else as there are CPUs.
fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}
