//! The configuration of `run` and `top`: defaults, then the file, then the command line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use zonescope_link::config::{self, Origin};
use zonescope_link::exit::Usage;
use zonescope_link::intake::{self, Intake};
use zonescope_link::keys::keyring::{Curve, Keyring};
use zonescope_link::{log, paths, units};

use crate::cli::{ROLE, RedisArguments, RunArguments};
use crate::connect::{Credentials, Target, Topology, address};
use crate::keys::Keys;
use crate::limits::{BACKLOG_BYTES, BACKLOG_LEAST_BYTES, KEEP, KEEP_LEAST, KEEP_MOST};
use crate::secret::{self, PASSWORD_VARIABLE, Secret};
use crate::style::Style;

/// Where Redis is, unless told otherwise.
const DEFAULT_REDIS: &str = "redis://127.0.0.1:6379";
/// What every key begins with, unless told otherwise.
const DEFAULT_PREFIX: &str = "zonescope";

/// What the collector does, as it was written.
#[derive(Debug, Clone, Default, Deserialize)]
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
    /// Addresses of Redis: one server; or nodes of a cluster; or Sentinels.
    pub redis: Vec<String>,
    /// The addresses are nodes of a cluster.
    pub cluster: bool,
    /// The addresses are Sentinels, and this is the name of the master.
    pub sentinel: Option<String>,
    /// ACL user.
    pub username: Option<String>,
    /// Their password.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The same of the Sentinels themselves.
    pub sentinel_password_file: Option<PathBuf>,
    /// Certificates to trust, PEM.
    pub tls_ca: Option<PathBuf>,
    /// Our own certificate, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub tls_key: Option<PathBuf>,
    /// What every key begins with.
    pub prefix: Option<String>,
    /// How long history is kept.
    pub keep: Option<String>,
    /// Ceiling of Redis's memory.
    pub max_memory: Option<String>,
    /// Bound of the frames that wait for Redis.
    pub backlog: Option<String>,
    /// Rates in the history too.
    pub history_rates: Option<bool>,
    /// Tables without a history.
    pub no_history: Vec<String>,
    /// Our name among collectors.
    pub name: Option<String>,
    /// `text` or `json`.
    pub log_format: Option<String>,
}

/// The same, as it is meant.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to take, and from whom.
    pub intake: Intake,
    /// Where Redis is.
    pub target: Target,
    /// How things are stored.
    pub style: Style,
    /// Ceiling of Redis's memory.
    pub max_memory: Option<u64>,
    /// Bound of the frames that wait.
    pub backlog: u64,
    /// Our name among collectors.
    pub name: String,
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
    let (written, path) = read(&arguments.redis)?;
    settings(&written, Origin::File(&path))?;
    // What the file says is right; so it is what was typed that is not.
    settings(&with(written, arguments), Origin::CommandLine)
}

/// The same for who only reads Redis.
///
/// # Errors
/// Where something is wrong.
pub fn load_redis(arguments: &RedisArguments) -> Result<Settings, Usage> {
    load(&RunArguments { redis: arguments.clone(), ..RunArguments::default() })
}

fn read(arguments: &RedisArguments) -> Result<(Config, PathBuf), Usage> {
    let path = arguments.config.clone().unwrap_or_else(|| paths::HERE.config(ROLE));
    let written: Config = config::load(&path, arguments.config.is_some())?;
    if written.password.is_some() {
        secret::only_ours(&path)
            .map_err(|why| Usage(format!("the configuration {} holds a password, and {why}", path.display())))?;
    }
    Ok((written, path))
}

fn with(written: Config, arguments: &RunArguments) -> Config {
    let RunArguments { connect, zone, keep, max_memory, backlog, name, log_format, redis, .. } = arguments.clone();
    let list = |typed: Vec<String>, written: Vec<String>| if typed.is_empty() { written } else { typed };
    Config {
        connect: list(connect, written.connect),
        zones: list(zone, written.zones),
        redis: list(redis.redis, written.redis),
        prefix: redis.prefix.or(written.prefix),
        cluster: redis.cluster || written.cluster,
        sentinel: redis.sentinel.or(written.sentinel),
        username: redis.username.or(written.username),
        password_file: redis.password_file.or(written.password_file),
        tls_ca: redis.tls_ca.or(written.tls_ca),
        keep: keep.or(written.keep),
        max_memory: max_memory.or(written.max_memory),
        backlog: backlog.or(written.backlog),
        name: name.or(written.name),
        log_format: log_format.or(written.log_format),
        ..written
    }
}

fn settings(config: &Config, origin: Origin<'_>) -> Result<Settings, Usage> {
    let Config { connect, zones, keys, curve, .. } = config;
    let size = |key, text: &Option<String>| origin.read(key, text.as_deref(), units::bytes);

    let backlog = size("backlog", &config.backlog)?.unwrap_or(BACKLOG_BYTES);
    if backlog < BACKLOG_LEAST_BYTES {
        let least = format!("{} MiB or more", BACKLOG_LEAST_BYTES >> 20);
        return Err(origin.wrong("backlog", format_args!("{backlog} bytes"), least));
    }
    Ok(Settings {
        intake: Intake::new(ROLE, connect, zones, keys.as_deref(), *curve, origin)?,
        target: target(config, origin)?,
        style: style(config, origin)?,
        max_memory: size("max_memory", &config.max_memory)?,
        backlog,
        name: config.name.clone().unwrap_or_else(host_name),
        log_format: origin.read("log_format", config.log_format.as_deref(), str::parse)?.unwrap_or_default(),
    })
}

fn style(config: &Config, origin: Origin<'_>) -> Result<Style, Usage> {
    let prefix = config.prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
    if !Keys::is_prefix(&prefix) {
        return Err(origin.wrong("prefix", format_args!("\"{prefix}\""), "letters, digits and - _ . :"));
    }
    let keep = origin.read("keep", config.keep.as_deref(), units::duration)?.unwrap_or(KEEP);
    if !(KEEP_LEAST..=KEEP_MOST).contains(&keep) {
        let allowed = format!("{}s to {}d", KEEP_LEAST.as_secs(), KEEP_MOST.as_secs() / 86_400);
        return Err(origin.wrong("keep", format_args!("{keep:?}"), allowed));
    }
    Ok(Style {
        keys: Keys::new(prefix),
        keep_ms: u64::try_from(keep.as_millis()).unwrap_or(u64::MAX),
        history_rates: config.history_rates.unwrap_or(true),
        no_history: config.no_history.clone(),
    })
}

fn target(config: &Config, origin: Origin<'_>) -> Result<Target, Usage> {
    let written = if config.redis.is_empty() { vec![DEFAULT_REDIS.to_owned()] } else { config.redis.clone() };
    let mut servers = Vec::new();
    for text in &written {
        // An address that is refused for holding a password is not shown.
        servers.push(address(text).map_err(|why| origin.wrong("redis", "(an address)", why))?);
    }
    let topology = match (&config.sentinel, config.cluster) {
        (Some(_), true) => return Err(origin.wrong("cluster", "true", "not together with `sentinel`")),
        (Some(name), false) => Topology::Sentinel(servers, name.clone()),
        (None, true) => Topology::Cluster(servers),
        (None, false) if servers.len() == 1 => Topology::Single(servers.remove(0)),
        (None, false) => {
            let allowed = "one address, or `cluster = true`, or the name of a master in `sentinel`";
            return Err(origin.wrong("redis", format_args!("{} addresses", written.len()), allowed));
        }
    };
    let credentials = credentials(config, origin)?;
    Target::new(topology, credentials).map_err(|why| origin.wrong("redis", written.join(","), why))
}

fn credentials(config: &Config, origin: Origin<'_>) -> Result<Credentials, Usage> {
    let secret_by = |read: fn(&Path) -> Result<Secret, String>, key: &str, file: &Option<PathBuf>| {
        let read = |file: &PathBuf| read(file).map_err(|why| origin.wrong(key, file.display(), why));
        file.as_ref().map(read).transpose()
    };
    let secret_of = |key: &str, file: &Option<PathBuf>| secret_by(secret::read, key, file);
    let pem = |key: &str, file: &Option<PathBuf>| {
        let read = |file: &PathBuf| std::fs::read(file).map_err(|e| origin.wrong(key, file.display(), e));
        file.as_ref().map(read).transpose()
    };
    let client = match (pem("tls_cert", &config.tls_cert)?, secret_by(secret::read_all, "tls_key", &config.tls_key)?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(origin.wrong("tls_cert", "alone", "`tls_cert` and `tls_key` go together")),
    };
    let environment = std::env::var(PASSWORD_VARIABLE).ok().filter(|p| !p.is_empty()).map(Secret::new);
    Ok(Credentials {
        username: config.username.clone(),
        password: environment.or(secret_of("password_file", &config.password_file)?).or(config.password.clone()),
        sentinel_password: secret_of("sentinel_password_file", &config.sentinel_password_file)?,
        ca: pem("tls_ca", &config.tls_ca)?,
        client,
    })
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn load_text(text: &str, mode: u32, arguments: RunArguments) -> Result<Settings, Usage> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let redis = RedisArguments { config: Some(file.path().to_owned()), ..arguments.redis };
        load(&RunArguments { redis, ..arguments })
    }

    #[test]
    fn a_mistake_names_file_key_value_and_what_is_allowed() {
        for (text, parts) in [
            ("keep = \"soon\"", ["keep", "soon", "90s"]),
            ("keep = \"99d\"", ["keep", "8553600", "1s to 31d"]),
            ("backlog = \"1MiB\"", ["backlog", "1048576", "4 MiB or more"]),
            ("prefix = \"a{b}\"", ["prefix", "a{b}", "letters"]),
            ("redis = [\"127.0.0.1\"]", ["redis", "rediss://HOST:PORT", "unix:///PATH"]),
            ("redis = [\"redis://a\", \"redis://b\"]", ["redis", "2 addresses", "cluster = true"]),
            ("cluster = true\nsentinel = \"m\"", ["cluster", "true", "sentinel"]),
            ("tls_cert = \"/nonexistent\"", ["tls_cert", "/nonexistent", "No such file"]),
            ("password_file = \"/nonexistent\"", ["password_file", "/nonexistent", "No such file"]),
            ("curve = \"on\"", ["line 1", "on", "`required`"]),
            ("keys = \"keys\"", ["keys", "keys", "an absolute path"]),
            ("colour = 1", ["line 1", "colour", "`prefix`"]),
        ] {
            let wrong = load_text(text, 0o600, RunArguments::default()).unwrap_err().0;
            assert!(parts.iter().all(|part| wrong.contains(part)), "{text}: {wrong}");
        }
    }

    #[test]
    fn a_mistake_on_the_command_line_names_the_option() {
        let typed = RunArguments { backlog: Some("1MiB".into()), ..RunArguments::default() };
        let wrong = load_text("", 0o644, typed).unwrap_err().0;
        assert_eq!(wrong, "--backlog 1048576 bytes cannot be: 4 MiB or more");
    }

    #[test]
    fn a_password_in_a_file_that_others_can_read_is_refused() {
        let text = "username = \"me\"\npassword = \"hunter2\"";
        let wrong = load_text(text, 0o644, RunArguments::default()).unwrap_err().0;
        assert!(wrong.contains("chmod 640") && !wrong.contains("hunter2"), "{wrong}");
        let settings = load_text(text, 0o640, RunArguments::default()).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        let text = "redis = [\"redis://:hunter2@localhost\"]";
        let wrong = load_text(text, 0o600, RunArguments::default()).unwrap_err().0;
        assert!(wrong.contains("password_file") && !wrong.contains("hunter2"), "{wrong}");
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let typed = RunArguments { keep: Some("5m".into()), ..RunArguments::default() };
        let settings = load_text("keep = \"2h\"\nprefix = \"prod\"", 0o644, typed).unwrap();
        assert_eq!((settings.style.keep_ms, settings.style.keys.zones().as_str()), (300_000, "prod:zones"));
    }
}
