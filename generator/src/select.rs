//! Which sources to read, and who we are.

use std::path::Path;

use anyhow::{Context, bail};
use zonescope_link::Identity;
use zonescope_link::clock::Clock;

use crate::config::Config;
use crate::recorded::{Playing, Recorded, open};
use crate::source::Source;

/// The sources, opened.
pub struct Selection {
    /// All of them.
    pub sources: Vec<Box<dyn Source>>,
    /// Whether they play a recording.
    pub recorded: bool,
    /// Who publishes.
    pub identity: Identity,
}

impl Selection {
    /// Their names, for people.
    pub fn names(&self) -> String {
        self.sources.iter().map(|s| s.name()).collect::<Vec<_>>().join("+")
    }
}

/// Opens what `config` names.
///
/// # Errors
/// Where this platform has no such source, or a recording cannot be opened.
pub fn select(config: &Config, clock: &dyn Clock) -> anyhow::Result<Selection> {
    let recording = config.source.strip_prefix("recorded:").map(Path::new);
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if let Some(path) = recording {
        let playing = Playing { repeat: config.playing.repeat, zones: config.playing.zones };
        sources.push(Box::new(Recorded::new(open::open(path)?, playing)));
    } else {
        live(config, &mut sources)?;
    }
    let (own_id, own_name) = if recording.is_some() {
        ("recorded".to_owned(), "recorded".to_owned())
    } else {
        own_identity()?
    };
    let identity = Identity {
        host_id: config.host_id.clone().unwrap_or(own_id),
        host: config.host.clone().unwrap_or(own_name),
        epoch: clock.now_ns(),
    };
    Ok(Selection { sources, recorded: recording.is_some(), identity })
}

/// The sources of the platform that we run on.
fn live(config: &Config, sources: &mut Vec<Box<dyn Source>>) -> anyhow::Result<()> {
    match (config.source.as_str(), cfg!(target_os = "linux"), cfg!(target_os = "illumos")) {
        ("auto" | "linux", true, _) => bail!("linux"),
        ("auto" | "kstat", _, true) => bail!("kstat"),
        ("linux", ..) => bail!("this is no Linux: --source auto takes what is here"),
        ("kstat", ..) => bail!("kstat is read on illumos only: --source auto takes what is here"),
        _ => bail!("no source for this platform: --source recorded:FILE plays a capture of another"),
    }
}

/// Identity and name of this host.
fn own_identity() -> anyhow::Result<(String, String)> {
    let name = rustix::system::uname().nodename().to_str().context("the host's name is not UTF-8")?.to_owned();
    Ok((name.clone(), name))
}

/// Resident memory of this process, bytes, where the platform says it in a file.
pub fn own_rss() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
