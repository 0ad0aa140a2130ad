//! Exit codes, the same for every program, and the one place that prints a failure.

use std::process::ExitCode;

/// All went well.
pub const OK: u8 = 0;
/// Something failed while running; the message says what.
pub const FAILURE: u8 = 1;
/// The command line or the configuration is wrong; nothing was done.
pub const USAGE: u8 = 2;

/// For `--help`.
pub const HELP: &str =
    "Exit codes: 0 all went well; 1 something failed while running; 2 the command line or the configuration is wrong.";

/// A mistake of whoever wrote the command line or the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Prints the chain of an error to stderr, one line, and gives the exit code it deserves.
#[allow(clippy::print_stderr, reason = "this is the one place")]
pub fn report(program: &str, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut text = error.to_string();
    let mut usage = error.is::<Usage>();
    let mut source = error.source();
    while let Some(cause) = source {
        usage |= cause.is::<Usage>();
        let cause_text = cause.to_string();
        // A cause that its parent already quotes is not said twice.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    eprintln!("{program}: {text}");
    ExitCode::from(if usage { USAGE } else { FAILURE })
}
