//! `dtrace check` and `dtrace list`: D programs, looked after by people.

use std::io::Write;
use std::path::PathBuf;

use zonescope_link::exit::Usage;

use crate::cli::{Common, DtraceCommand};
use crate::config::Config;
use crate::dtrace::check::Checked;
use crate::dtrace::program::builtin;
use crate::dtrace::{ProgramError, check};

/// Does what is asked.
///
/// # Errors
/// Where a program is wrong, or nobody reads what is printed.
pub fn execute(command: &DtraceCommand) -> anyhow::Result<()> {
    match command {
        DtraceCommand::Check { common, files } => check_files(common, files),
        DtraceCommand::List => list(),
    }
}

fn check_files(common: &Common, files: &[PathBuf]) -> anyhow::Result<()> {
    let dtrace = Config::load(common)?.dtrace.find_dtrace();
    let mut out = std::io::stdout().lock();
    let mut wrong = 0;
    for file in files {
        match check(file, dtrace.as_deref()) {
            Ok(checked) => writeln!(out, "{}: {}", file.display(), describe(&checked))?,
            Err(error) => {
                wrong += 1;
                say_wrong(&mut out, &error)?;
            }
        }
    }
    if wrong > 0 {
        return Err(Usage(format!("{wrong} of {} programs cannot be run", files.len())).into());
    }
    Ok(())
}

fn say_wrong(out: &mut impl Write, error: &ProgramError) -> std::io::Result<()> {
    writeln!(out, "{error}")
}

fn describe(checked: &Checked) -> String {
    let header = &checked.header;
    let keys = if header.keys.is_empty() { "no keys".to_owned() } else { format!("keys {}", header.keys.join(", ")) };
    let compiled = if checked.compiled { "compiles" } else { "not compiled: there is no dtrace here" };
    format!("right: becomes the table {} with {keys}, every {} s; {compiled}", header.name, header.interval_s)
}

/// Every built-in program of this platform: whether it is on by default, and the first sentence of its header.
fn list() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for program in builtin() {
        let state = if program.by_default { "on" } else { "off" };
        writeln!(out, "{:<10} {state:<4} {}", program.name, first_sentence(program.text))?;
    }
    Ok(())
}

/// What stands behind the name in the first line of a program's comment: `disk.d - latency of block devices`.
fn first_sentence(text: &str) -> &str {
    text.lines().find_map(|line| line.split_once(".d - ")).map_or("", |(_, sentence)| sentence.trim())
}
