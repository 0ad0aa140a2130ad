//! The configuration of `run`: defaults, then the file, then the command line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use zonescope_link::config::{self, Origin};
use zonescope_link::exit::Usage;
use zonescope_link::intake::{self, Intake};
use zonescope_link::keys::keyring::{Curve, Keyring};
use zonescope_link::{log, paths, units};

use crate::cli::{ROLE, RunArguments};
use crate::limits::MEMORY_LEAST_BYTES;
use crate::store::StoreOptions;
use crate::store::retention::Retention;

/// What the collector does, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Generators to subscribe to.
    pub connect: Vec<String>,
    /// Zones to take; empty for all.
    pub zones: Vec<String>,
    /// Where our keys are, and those of generators that we know.
    pub keys: Option<PathBuf>,
    /// Whether all generators must be known: `auto` or `required`.
    pub curve: Curve,
    /// Where to keep everything.
    pub root: Option<PathBuf>,
    /// Longest time a row waits to become Parquet.
    pub flush_interval: Option<String>,
    /// Bound of the rows in memory.
    pub memory: Option<String>,
    /// Age at which hours are removed.
    pub keep: Option<String>,
    /// Size at which the oldest hours are removed.
    pub max_bytes: Option<String>,
    /// `text` or `json`.
    pub log_format: Option<String>,
}

/// The same, as it is meant.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to take, and from whom.
    pub intake: Intake,
    /// Where to keep everything.
    pub root: PathBuf,
    /// How the store weighs memory, durability and the number of files.
    pub store: StoreOptions,
    /// What to keep.
    pub retention: Retention,
    /// How log lines look.
    pub log_format: log::Format,
}

/// Where the keys are, and whether all generators must be known: as the named file says, or the default one.
///
/// # Errors
/// Where the configuration is wrong.
pub fn keys(file: Option<&Path>) -> Result<(Keyring, Curve), Usage> {
    let path = file.map_or_else(|| paths::HERE.config(ROLE), Path::to_owned);
    let written: Config = config::load(&path, file.is_some())?;
    intake::keyring(ROLE, written.keys.as_deref(), written.curve, Origin::File(&path))
}

/// Reads the file that is named, or the default one if it is there; lets the command line have the last word.
///
/// # Errors
/// Where something is wrong: names file, key, value and what is allowed.
pub fn load(arguments: &RunArguments) -> Result<Settings, Usage> {
    let path = arguments.config.clone().unwrap_or_else(|| paths::HERE.config(ROLE));
    let written: Config = config::load(&path, arguments.config.is_some())?;
    settings(&written, Origin::File(&path))?;
    // What the file says is right; so it is what was typed that is not.
    settings(&with(written, arguments), Origin::CommandLine)
}

/// The root of queries: as it was typed, else that of the configuration.
///
/// # Errors
/// Where the configuration is wrong.
pub fn root(typed: Option<&Path>) -> Result<PathBuf, Usage> {
    if let Some(root) = typed {
        return Ok(root.to_owned());
    }
    let written: Config = config::load(&paths::HERE.config(ROLE), false)?;
    Ok(written.root.unwrap_or_else(|| paths::HERE.data(ROLE)))
}

fn with(written: Config, arguments: &RunArguments) -> Config {
    let RunArguments { connect, zone, root, flush_interval, memory, keep, max_bytes, log_format, .. } =
        arguments.clone();
    let list = |typed: Vec<String>, written: Vec<String>| if typed.is_empty() { written } else { typed };
    Config {
        connect: list(connect, written.connect),
        zones: list(zone, written.zones),
        keys: written.keys,
        curve: written.curve,
        root: root.or(written.root),
        flush_interval: flush_interval.or(written.flush_interval),
        memory: memory.or(written.memory),
        keep: keep.or(written.keep),
        max_bytes: max_bytes.or(written.max_bytes),
        log_format: log_format.or(written.log_format),
    }
}

fn settings(config: &Config, origin: Origin<'_>) -> Result<Settings, Usage> {
    let Config { connect, zones, keys, curve, .. } = config;
    let time = |key, text: &Option<String>| origin.read(key, text.as_deref(), units::duration);
    let size = |key, text: &Option<String>| origin.read(key, text.as_deref(), units::bytes);

    let mut store = StoreOptions::default();
    if let Some(flush) = time("flush_interval", &config.flush_interval)? {
        if flush < store.sync_every {
            return Err(origin.wrong("flush_interval", format_args!("{flush:?}"), "1s or longer"));
        }
        store.flush_every = flush;
    }
    if let Some(memory) = size("memory", &config.memory)? {
        store.memory_bytes = usize::try_from(memory).ok().filter(|m| *m >= MEMORY_LEAST_BYTES).ok_or_else(|| {
            let least = format!("{} MiB or more", MEMORY_LEAST_BYTES >> 20);
            origin.wrong("memory", format_args!("{memory} bytes"), least)
        })?;
    }
    Ok(Settings {
        intake: Intake::new(ROLE, connect, zones, keys.as_deref(), *curve, origin)?,
        root: config.root.clone().unwrap_or_else(|| paths::HERE.data(ROLE)),
        store,
        retention: Retention { keep: time("keep", &config.keep)?, max_bytes: size("max_bytes", &config.max_bytes)? },
        log_format: origin.read("log_format", config.log_format.as_deref(), str::parse)?.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, arguments: RunArguments) -> Result<Settings, Usage> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(&RunArguments { config: Some(file.path().to_owned()), ..arguments })
    }

    #[test]
    fn a_mistake_names_file_key_value_and_what_is_allowed() {
        for (text, parts) in [
            ("flush_interval = \"soon\"", ["flush_interval", "soon", "90s"]),
            ("flush_interval = \"10ms\"", ["flush_interval", "10ms", "1s or longer"]),
            ("memory = \"1MiB\"", ["memory", "1048576", "16 MiB or more"]),
            ("connect = [\"localhost\"]", ["connect", "localhost", "tcp://"]),
            ("log_format = \"xml\"", ["log_format", "xml", "text or json"]),
            ("keys = \"keys\"", ["keys", "keys", "an absolute path"]),
            ("root_dir = \"/x\"", ["line 1", "root_dir", "`root`"]),
        ] {
            let error = load_text(text, RunArguments::default()).unwrap_err().0;
            for part in parts.into_iter().chain([".tmp"]) {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }

    #[test]
    fn a_mistake_on_the_command_line_names_the_option() {
        for (typed, said) in [
            (
                RunArguments { flush_interval: Some("10ms".to_owned()), ..RunArguments::default() },
                "--flush-interval 10ms cannot be: 1s or longer",
            ),
            (
                RunArguments { zone: vec!["a/b".to_owned()], ..RunArguments::default() },
                "--zone a/b cannot be: a name cannot hold '/'",
            ),
        ] {
            assert_eq!(load_text("", typed).unwrap_err().0, said);
        }
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let typed = RunArguments { keep: Some("1d".to_owned()), ..RunArguments::default() };
        let settings = load_text("keep = \"30d\"\nmax_bytes = \"1GB\"", typed).unwrap();
        assert_eq!(settings.retention.keep, Some(std::time::Duration::from_secs(86_400)));
        assert_eq!(settings.retention.max_bytes, Some(1_000_000_000));
    }
}
