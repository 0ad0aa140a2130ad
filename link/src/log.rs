//! Logs: to stderr, for people or for machines. SMF and systemd keep and rotate them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(format!("`{other}` is no log format: text or json")),
        }
    }
}

/// Starts logging. `verbosity` 0 shows warnings and what an operator must know, 1 more, 2 and up everything of
/// ours; the variable `ZONESCOPE_LOG` overrides it (`ZONESCOPE_LOG=zonescope_link=trace`). A second call does nothing.
pub fn init(format: Format, verbosity: u8) {
    let level = match verbosity {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    // The ZeroMQ crate logs every lost connection; we say it ourselves, once.
    let default = format!("{level},zeromq=error");
    let filter = EnvFilter::try_from_env("ZONESCOPE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(verbosity > 0)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
}
