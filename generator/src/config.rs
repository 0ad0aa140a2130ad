//! The configuration: defaults, then the file, then the command line.

use std::path::PathBuf;

use serde::Deserialize;
use zonescope_link::config::{self, Origin};
use zonescope_link::exit::Usage;
use zonescope_link::keys::keyring::Curve;
use zonescope_link::{DEFAULT_ENDPOINT, log, paths, transport};

use crate::cli::{Common, ROLE, RunArguments, SourceArguments, Speed};
use crate::dtrace::DtraceOptions;
use crate::endpoints::{self, EndpointConfig};
use crate::kstat::options::KstatOptions;
use crate::linux;
use crate::ring::{RecoveryBind, RingConfig};

/// Shortest and longest time from tick to tick.
const INTERVALS_MS: std::ops::RangeInclusive<u32> = 100..=3_600_000;

/// What the generator does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to publish.
    pub bind: String,
    /// Where to serve what subscribers missed, or `off`; one port above `bind` where not said.
    pub recovery_bind: Option<String>,
    /// Where our keys are, and those of whom we let in.
    pub keys: PathBuf,
    /// Whether endpoints are encrypted.
    pub curve: Curve,
    /// Endpoints of some zones.
    pub endpoint: Vec<EndpointConfig>,
    /// Time from tick to tick.
    pub interval_ms: u32,
    /// `auto`, `linux`, `kstat` or `recorded:FILE`.
    pub source: String,
    /// Name of the host, where not its own.
    pub host: Option<String>,
    /// Stable identity of the host, where not its own.
    pub host_id: Option<String>,
    /// `text` or `json`.
    pub log_format: String,
    /// What concerns the source `linux`.
    pub linux: LinuxConfig,
    /// What concerns the sources `kstat` and `proc`.
    pub kstat: KstatOptions,
    /// What concerns the source `dtrace`.
    pub dtrace: DtraceOptions,
    /// What is kept for subscribers that miss something.
    pub ring: RingConfig,
    /// Not in the file: how a recording is played.
    #[serde(skip)]
    pub playing: PlayingOptions,
    /// Not in the file: do everything but publish.
    #[serde(skip)]
    pub quiet: bool,
}

/// What concerns the source `linux`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinuxConfig {
    /// Where the host's files begin: another root shows a copy of another machine's.
    pub root: String,
    /// Processes reported of each zone by CPU time, and as many by memory.
    pub top_processes: usize,
}

impl Default for LinuxConfig {
    fn default() -> Self {
        LinuxConfig { root: "/".to_owned(), top_processes: linux::Options::default().top_processes }
    }
}

/// How a recording is played.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlayingOptions {
    /// How fast; as it was recorded where not said.
    pub speed: Option<Speed>,
    /// Start over at the end.
    pub repeat: bool,
    /// Copy zones until there are so many; 0 leaves them.
    pub zones: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            bind: DEFAULT_ENDPOINT.to_owned(),
            recovery_bind: None,
            keys: paths::HERE.keys(ROLE),
            curve: Curve::default(),
            endpoint: Vec::new(),
            interval_ms: 1000,
            source: "auto".to_owned(),
            host: None,
            host_id: None,
            log_format: "text".to_owned(),
            linux: LinuxConfig::default(),
            kstat: KstatOptions::default(),
            dtrace: DtraceOptions::default(),
            ring: RingConfig::default(),
            playing: PlayingOptions::default(),
            quiet: false,
        }
    }
}

impl Config {
    /// Reads the file that `common` names, or the default one if it is there.
    ///
    /// # Errors
    /// Where it cannot be read or is wrong.
    pub fn load(common: &Common) -> Result<Self, Usage> {
        let path = common.config.clone().unwrap_or_else(|| paths::HERE.config(ROLE));
        let read: Config = config::load(&path, common.config.is_some())?;
        read.check(Origin::File(&path))?;
        Ok(read)
    }

    fn check(&self, origin: Origin<'_>) -> Result<(), Usage> {
        let wrong = |key: &str, value: &dyn std::fmt::Display, allowed: &str| Err(origin.wrong(key, value, allowed));
        if !INTERVALS_MS.contains(&self.interval_ms) {
            let allowed = format!("{} to {}", INTERVALS_MS.start(), INTERVALS_MS.end());
            return wrong("interval_ms", &self.interval_ms, &allowed);
        }
        if let Err(error) = transport::check_endpoint(&self.bind) {
            return wrong("bind", &self.bind, &error.to_string());
        }
        if let Err(error) = RecoveryBind::new(self.recovery_bind.as_deref(), &self.bind) {
            let allowed = format!("{error}, or `off`");
            return wrong("recovery_bind", &self.recovery_bind.as_deref().unwrap_or_default(), &allowed);
        }
        if !self.keys.is_absolute() {
            return wrong("keys", &self.keys.display(), "an absolute path");
        }
        let recovery_is_off = self.recovery_bind.as_deref() == Some("off");
        if let Err((name, error)) = endpoints::check(&self.endpoint, recovery_is_off) {
            return wrong(&format!("{} of the endpoint {name:?}", error.key), &error.value, &error.allowed);
        }
        if let Err(error) = self.ring.check() {
            return wrong(&format!("ring.{}", error.key), &error.value, &error.allowed);
        }
        if let Err(error) = self.log_format.parse::<log::Format>() {
            return wrong("log_format", &self.log_format, &error);
        }
        if !["auto", "linux", "kstat"].contains(&self.source.as_str()) && !self.source.starts_with("recorded:") {
            return wrong("source", &self.source, "auto, linux, kstat or recorded:FILE");
        }
        if let Err(error) = self.kstat.check() {
            return wrong(&error.key, &error.value, &error.allowed);
        }
        if let Err(error) = self.dtrace.check() {
            return wrong(&format!("dtrace.{}", error.key), &error.value, &error.allowed);
        }
        Ok(())
    }

    /// The same with what the command line says.
    ///
    /// # Errors
    /// Where the command line is wrong.
    pub fn with(self, arguments: &RunArguments) -> Result<Self, Usage> {
        let mut config = self.with_source(&arguments.source);
        if let Some(bind) = &arguments.bind {
            config.bind.clone_from(bind);
        }
        if let Some(port) = arguments.port {
            let address = config.bind.rsplit_once(':').map_or("tcp://127.0.0.1", |(address, _)| address);
            config.bind = format!("{address}:{port}");
        }
        if let Some(interval) = arguments.interval_ms {
            config.interval_ms = interval;
        }
        if let Some(format) = &arguments.log_format {
            config.log_format.clone_from(format);
        }
        config.quiet = arguments.quiet;
        config.check(Origin::CommandLine)?;
        Ok(config)
    }

    /// The same with the source that the command line names.
    #[must_use]
    pub fn with_source(mut self, arguments: &SourceArguments) -> Self {
        if let Some(source) = &arguments.source {
            self.source.clone_from(source);
        }
        self.playing =
            PlayingOptions { speed: arguments.speed, repeat: arguments.repeat, zones: arguments.zones.unwrap_or(0) };
        self
    }

    /// Whether dtrace is started. What is recorded needs none.
    pub fn runs_dtrace(&self) -> bool {
        self.dtrace.enabled && !self.source.starts_with("recorded:") && self.dtrace.find_dtrace().is_some()
    }

    /// How log lines look.
    ///
    /// # Errors
    /// Where that is no format.
    pub fn log_format(&self) -> Result<log::Format, Usage> {
        self.log_format.parse().map_err(Usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_short_flags_work() {
        let arguments =
            RunArguments { port: Some(9000), interval_ms: Some(500), quiet: true, ..RunArguments::default() };
        let config = Config::default().with(&arguments).unwrap();
        assert_eq!((config.bind.as_str(), config.interval_ms, config.quiet), ("tcp://127.0.0.1:9000", 500, true));
    }

    #[test]
    fn a_mistake_in_an_endpoint_names_the_endpoint_the_key_and_what_is_allowed() {
        let load = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            Config::load(&Common { config: Some(file.path().to_owned()) })
        };
        let endpoint = "[[endpoint]]\nname = \"acme\"\nbind = \"tcp://10.0.0.5:7221\"\n";
        assert_eq!(load(&format!("{endpoint}zones = [\"acme-*\"]")).unwrap().endpoint[0].zones, ["acme-*"]);
        for (text, parts) in [
            (endpoint.to_owned(), ["zones of the endpoint", "\"acme\" = []", "at least one zone"]),
            (format!("{endpoint}zones = [\"[z-a]\"]"), ["acme", "zones", "invalid range"]),
            (format!("{endpoint}zone = \"web1\""), ["line 4", "unknown field", "`zones`"]),
            ("curve = \"on\"".to_owned(), ["line 1", "on", "`required`"]),
            ("keys = \"keys\"".to_owned(), ["keys", "keys", "an absolute path"]),
        ] {
            let error = load(&text).unwrap_err().0;
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }

    #[test]
    fn a_mistake_on_the_command_line_names_the_option_and_what_is_allowed() {
        let arguments = RunArguments { interval_ms: Some(5), ..RunArguments::default() };
        let error = Config::default().with(&arguments).unwrap_err().0;
        assert_eq!(error, "--interval-ms 5 cannot be: 100 to 3600000");
    }
}
