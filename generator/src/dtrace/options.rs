//! What the operator may choose.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use zonescope_proto::ZoneName;

use super::budget::Budget;
use super::program;

/// Sampling rates that are allowed. Not even numbers of the clock, so that sampling does not run in step with it.
pub const SAMPLE_HZ: std::ops::RangeInclusive<u32> = 97..=997;

/// How DTrace is used on this host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DtraceOptions {
    /// Whether at all.
    pub enabled: bool,
    /// The dtrace command; else /usr/sbin/dtrace, or what $PATH finds.
    pub path: Option<PathBuf>,
    /// Built-in programs to run; else those that are on by default.
    pub programs: Option<BTreeSet<String>>,
    /// Samples a second on each CPU, 97 to 997.
    pub sample_hz: u32,
    /// Where users' programs are.
    pub user_dir: PathBuf,
    /// What each program may cost.
    pub budget: Budget,
    /// Whose a process is, where DTrace knows no zones.
    #[serde(skip)]
    pub zone_of_pid: ZoneOfPid,
}

impl Default for DtraceOptions {
    fn default() -> Self {
        DtraceOptions {
            enabled: true,
            path: None,
            programs: None,
            sample_hz: 97,
            user_dir: zonescope_link::paths::HERE.d_programs(),
            budget: Budget::default(),
            zone_of_pid: ZoneOfPid::default(),
        }
    }
}

/// A value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: allowed are {allowed}")]
pub struct BadOption {
    /// Name of the option.
    pub key: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be set to.
    pub allowed: String,
}

impl DtraceOptions {
    /// Whether every value is allowed.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn check(&self) -> Result<(), BadOption> {
        if !SAMPLE_HZ.contains(&self.sample_hz) {
            let allowed = format!("{} to {}", SAMPLE_HZ.start(), SAMPLE_HZ.end());
            return Err(BadOption { key: "sample_hz", value: self.sample_hz.to_string(), allowed });
        }
        let known: Vec<&str> = program::builtin().iter().map(|program| program.name).collect();
        match self.programs.iter().flatten().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(BadOption { key: "programs", value: name.clone(), allowed: known.join(", ") }),
            None => Ok(()),
        }
    }

    /// The dtrace command of this host, if it has one.
    pub fn find_dtrace(&self) -> Option<PathBuf> {
        if let Some(path) = &self.path {
            return Some(path.clone());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::iter::once(PathBuf::from("/usr/sbin")).chain(std::env::split_paths(&path));
        directories.map(|directory| directory.join("dtrace")).find(|file| is_executable(file))
    }
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

type Resolve = dyn Fn(u64) -> Option<ZoneName> + Send + Sync;

/// Finds the zone of a process by its pid. The default knows none: everything is `global`'s.
#[derive(Clone, Default)]
pub struct ZoneOfPid(Option<Arc<Resolve>>);

impl ZoneOfPid {
    /// Asks `resolve`.
    pub fn new(resolve: impl Fn(u64) -> Option<ZoneName> + Send + Sync + 'static) -> Self {
        ZoneOfPid(Some(Arc::new(resolve)))
    }

    /// The zone of process `pid`; `global` where nobody knows, or it has ended.
    pub fn of(&self, pid: u64) -> ZoneName {
        self.0.as_ref().and_then(|resolve| resolve(pid)).unwrap_or_else(ZoneName::global)
    }
}

impl std::fmt::Debug for ZoneOfPid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "ZoneOfPid" } else { "ZoneOfPid(global)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_a_wrong_value_says_what_is() {
        let options = DtraceOptions::default();
        assert_eq!(options.check(), Ok(()));
        let error = DtraceOptions { sample_hz: 4999, ..options.clone() }.check().unwrap_err();
        assert_eq!(error.to_string(), "sample_hz = 4999: allowed are 97 to 997");
        let programs = Some(BTreeSet::from(["oncpo".to_owned()]));
        let error = DtraceOptions { programs, ..options }.check().unwrap_err();
        assert!(error.to_string().contains("oncpu"), "{error}");
    }

    #[test]
    fn the_configuration_knows_its_keys() {
        let options: DtraceOptions = toml::from_str("sample_hz = 199\n[budget]\ncpu_percent = 5").unwrap();
        assert_eq!((options.sample_hz, options.budget.cpu_percent, options.budget.keys), (199, 5, 16_384));
        assert!(toml::from_str::<DtraceOptions>("sample_rate = 97").is_err());
    }
}
