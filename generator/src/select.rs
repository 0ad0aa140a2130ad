//! Which sources to read, and who we are.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use zonescope_link::Identity;
use zonescope_link::clock::{Clock, SystemClock};

use crate::config::Config;
use crate::dtrace::{Dtrace, DtraceOptions, ZoneOfPid};
#[cfg(target_os = "illumos")]
use crate::illumos::Proc;
#[cfg(target_os = "illumos")]
use crate::kstat::KstatSource;
use crate::kstat::custom::Custom;
use crate::linux::{self, Linux};
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
pub fn select(config: &Config) -> anyhow::Result<Selection> {
    let opened = match config.source.strip_prefix("recorded:") {
        Some(path) => recorded(config, Path::new(path))?,
        None => live(config)?,
    };
    let (own_id, own_name) = opened.host;
    let identity = Identity {
        host_id: config.host_id.clone().unwrap_or(own_id),
        host: config.host.clone().unwrap_or(own_name),
        epoch: SystemClock.now_ns(),
    };
    Ok(Selection { sources: opened.sources, recorded: config.source.starts_with("recorded:"), identity })
}

/// Sources, and the id and name of the host that they read.
struct Opened {
    sources: Vec<Box<dyn Source>>,
    host: (String, String),
}

fn recorded(config: &Config, path: &Path) -> anyhow::Result<Opened> {
    let playing = Playing { repeat: config.playing.repeat, zones: config.playing.zones };
    let recorded = Recorded::new(open::open(path, Custom::new(&config.kstat)?)?, playing);
    let host = recorded.host().unwrap_or_else(|| ("recorded".to_owned(), "recorded".to_owned()));
    Ok(Opened { sources: vec![Box::new(recorded)], host })
}

/// The sources of the platform that we run on.
fn live(config: &Config) -> anyhow::Result<Opened> {
    match (config.source.as_str(), std::env::consts::OS) {
        ("auto" | "linux", "linux") => Ok(live_linux(config)),
        ("auto" | "kstat", "illumos") => live_kstat(config),
        ("linux", os) => bail!("this is {os}, not Linux: --source auto reads what is here"),
        ("kstat", os) => bail!("this is {os}, and only illumos has kstats: --source auto reads what is here"),
        (_, os) => bail!("there is no source for {os}: --source recorded:FILE plays a capture of another host"),
    }
}

fn live_linux(config: &Config) -> Opened {
    let mut files = linux::Live::new(&config.linux.root, Arc::new(SystemClock));
    let host = linux::identity(&mut files);
    let options = linux::Options { top_processes: config.linux.top_processes };
    let linux = Linux::with(files, options);
    // DTrace on Linux knows no zones: this source tells it whose a process is.
    let residents = linux.residents();
    let dtrace =
        DtraceOptions { zone_of_pid: ZoneOfPid::new(move |pid| residents.zone_of(pid)), ..config.dtrace.clone() };
    let sources: Vec<Box<dyn Source>> = vec![Box::new(linux), Box::new(Dtrace::start(dtrace))];
    Opened { sources, host: (host.id, host.name) }
}

#[cfg(target_os = "illumos")]
fn live_kstat(config: &Config) -> anyhow::Result<Opened> {
    let custom = Custom::new(&config.kstat)?;
    let kstat = KstatSource::live(Arc::new(SystemClock))?.with_zone_files("/etc/zones".into()).with_custom(custom);
    // The kstats say which zones there are; the others ask the sample.
    let sources: Vec<Box<dyn Source>> = vec![
        Box::new(kstat),
        Box::new(Proc::below(Path::new("/"), config.kstat.top_processes)),
        Box::new(Dtrace::start(config.dtrace.clone())),
    ];
    Ok(Opened { sources, host: own_identity() })
}

#[cfg(not(target_os = "illumos"))]
fn live_kstat(_: &Config) -> anyhow::Result<Opened> {
    bail!("only illumos has kstats")
}

/// Name of this host, which is also its identity where nothing better is known.
#[cfg(target_os = "illumos")]
fn own_identity() -> (String, String) {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (format!("host-{name}"), name)
}
