//! A cgroup for a test: a zone of its own on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait_until;

/// A cgroup in every hierarchy that is mounted, removed when dropped.
pub struct Group {
    name: String,
    directories: Vec<PathBuf>,
}

impl Group {
    /// None where no hierarchy may be written.
    pub fn make() -> Option<Group> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let name = format!("zonescope-test-{}", std::process::id());
        let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
        let directories: Vec<PathBuf> = cgroups
            .filter_map(|line| line.split(' ').nth(4))
            .map(|mount| Path::new(mount).join(&name))
            .filter(|directory| fs::create_dir(directory).is_ok())
            .collect();
        (!directories.is_empty()).then_some(Group { name, directories })
    }

    /// Its name, and so its zone's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Commands of a shell that then is in it.
    pub fn enter(&self) -> String {
        self.directories.iter().map(|d| format!("echo $$ > '{}/cgroup.procs'; ", d.display())).collect()
    }

    /// That file of its, in whichever hierarchy.
    pub fn has(&self, file: &str) -> Option<PathBuf> {
        self.directories.iter().map(|d| d.join(file)).find(|f| f.exists())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in &self.directories {
            wait_until("the cgroup to be empty", Duration::from_secs(5), || fs::remove_dir(directory).is_ok());
        }
    }
}
