//! Cgroups of a test's own.

#![allow(dead_code, unreachable_pub, reason = "several tests share it, and none uses all of it")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zonescope_proto::ZoneName;

/// A cgroup in every hierarchy that is mounted, removed when dropped.
pub struct Group {
    name: String,
    pub directories: Vec<PathBuf>,
}

impl Group {
    /// `None`, said loudly, where none can be made.
    pub fn make(purpose: &str) -> Option<Group> {
        if !rustix::process::geteuid().is_root() {
            return skipped("not root");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let is_useful = |line: &&str| {
            let controllers = ["cpu", "cpuacct", "memory", "blkio", "pids"];
            line.contains(" - cgroup2 ")
                || (line.contains(" - cgroup ") && line.split([' ', ',']).any(|word| controllers.contains(&word)))
        };
        let mut group = Group { name: format!("zonescope-{purpose}-{}", std::process::id()), directories: Vec::new() };
        for mount in mounts.lines().filter(is_useful).filter_map(|line| line.split(' ').nth(4)) {
            let directory = Path::new(mount).join(&group.name);
            if fs::create_dir(&directory).is_ok() {
                group.directories.push(directory);
            }
        }
        if group.directories.is_empty() { skipped("no cgroup hierarchy that may be written") } else { Some(group) }
    }

    pub fn zone(&self) -> ZoneName {
        ZoneName::new(&*self.name).unwrap()
    }

    /// A file of the group, in whichever hierarchy has it.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        self.directories.iter().map(|directory| directory.join(name)).find(|file| file.exists())
    }

    /// A group inside it.
    pub fn inner(&self, name: &str) -> Group {
        let directories: Vec<PathBuf> = self.directories.iter().map(|directory| directory.join(name)).collect();
        directories.iter().for_each(|directory| fs::create_dir(directory).unwrap());
        Group { name: format!("{}_{name}", self.name), directories }
    }

    /// What a shell runs to move itself into it.
    pub fn enter(&self) -> String {
        self.directories.iter().map(|d| format!("echo $$ > '{}/cgroup.procs'; ", d.display())).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in &self.directories {
            // The kernel needs a moment to let go of a process that has just ended.
            for _ in 0..100 {
                if fs::remove_dir(directory).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Says that a test cannot run here: loudly, and where test.sh collects it.
pub fn skipped<T>(why: &str) -> Option<T> {
    eprintln!("SKIPPED: {why}");
    if let Some(path) = std::env::var_os("ZONESCOPE_SKIPPED") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "generator: {why}"));
    }
    None
}
