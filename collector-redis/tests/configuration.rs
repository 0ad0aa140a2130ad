//! The default configuration file says what the program does without one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;

use zonescope_collector_redis::cli::{RedisArguments, RunArguments};
use zonescope_collector_redis::config;
use zonescope_link::paths::HERE;

/// What the program does with the default file as install.sh fills it in, or with its defaults as if they had been set; or, with
/// neither, with no line at all.
fn settings(keep: impl Fn(&'static str) -> &'static str) -> String {
    let text: Vec<&str> = include_str!("../../packaging/config/collector-redis.toml").lines().map(keep).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text.join("\n").replace("@ETC@", HERE.etc).replace("@VAR@", HERE.var)).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let redis = RedisArguments { config: Some(file.path().to_owned()), ..RedisArguments::default() };
    format!("{:#?}", config::load(&RunArguments { redis, ..RunArguments::default() }).unwrap())
}

fn uncommented(line: &'static str) -> &'static str {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).unwrap_or(line)
}

#[test]
fn the_default_configuration_changes_nothing_and_shows_the_defaults() {
    let built_in = settings(|_| "");
    assert_eq!(settings(|line| line), built_in);
    assert_eq!(settings(uncommented), built_in);
}
