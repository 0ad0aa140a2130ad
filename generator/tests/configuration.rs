//! The default configuration file says what the program does without one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use zonescope_generator::cli::Common;
use zonescope_generator::config::Config;
use zonescope_link::paths::HERE;

/// What the program does with these lines of the default file, as install.sh fills it in.
fn settings(keep: impl Fn(&'static str) -> &'static str) -> String {
    let text: Vec<&str> = include_str!("../../packaging/config/generator.toml").lines().map(keep).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text.join("\n").replace("@ETC@", HERE.etc).replace("@VAR@", HERE.var)).unwrap();
    format!("{:#?}", Config::load(&Common { config: Some(file.path().to_owned()) }).unwrap())
}

fn uncommented(line: &'static str) -> &'static str {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).unwrap_or(line)
}

#[test]
fn the_default_configuration_changes_nothing_and_shows_the_defaults() {
    let built_in = format!("{:#?}", Config::default());
    assert_eq!(settings(|_| ""), built_in);
    assert_eq!(settings(|line| line), built_in);
    assert_eq!(settings(uncommented), built_in);
}
