//! The collector's own state, for whoever watches the watcher: a hash that expires soon after we are gone.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use redis::{Cmd, cmd};
use zonescope_link::Counters;

use crate::backlog::Level;
use crate::batch::Done;
use crate::limits::HEALTH_EVERY;
use crate::memory::Memory;
use crate::trouble::Complaints;

/// What is reported.
pub struct Health<'a> {
    /// When we started, ms.
    pub started_ms: u64,
    /// Our clock, ms.
    pub now_ms: u64,
    /// What the link has counted.
    pub link: Counters,
    /// How full the backlog is.
    pub backlog: Level,
    /// What has been written.
    pub done: Done,
    /// Zones that came lately.
    pub zones: usize,
    /// How long the last batch took, µs.
    pub batch_us: u64,
    /// How history is kept.
    pub memory: &'a Memory,
    /// What went wrong.
    pub complaints: &'a Complaints,
    /// `running`, or `stopped` as its last word.
    pub state: &'static str,
}

impl Health<'_> {
    /// The commands that write it to `key`.
    pub fn commands(&self, key: &str) -> [Cmd; 2] {
        let mut hset = cmd("HSET");
        hset.arg(key);
        let mut numbers = vec![
            ("pid", u64::from(std::process::id())),
            ("started", self.started_ms),
            ("time", self.now_ms),
            ("connections", self.link.connections),
            ("received", self.link.frames),
            ("received_bytes", self.link.bytes),
            ("bad", self.link.bad),
            ("duplicates", self.link.duplicates),
            ("link_gaps", self.link.gaps),
            ("link_missing", self.link.missing),
            ("recovered", self.link.recovered),
            ("stored", self.done.frames),
            ("passed_over", self.done.passed),
            ("missing", self.done.missing),
            ("repeated", self.done.repeated),
            ("refused", self.done.refused),
            ("left_out", self.done.left_out),
            ("backlog_frames", self.backlog.waiting as u64),
            ("backlog_bytes", self.backlog.bytes),
            ("dropped", self.backlog.dropped),
            ("zones", self.zones as u64),
            ("batch_us", self.batch_us),
            ("keep_ms", self.memory.keep_ms()),
            ("used_memory", self.memory.used()),
            ("errors", self.complaints.count),
        ];
        numbers.extend(cost());
        for (name, number) in numbers {
            hset.arg(name).arg(number);
        }
        let last = self.complaints.last.as_ref().map(ToString::to_string).unwrap_or_default();
        hset.arg("state").arg(self.state).arg("version").arg(env!("CARGO_PKG_VERSION")).arg("last_error").arg(last);
        let mut expire = cmd("EXPIRE");
        expire.arg(key).arg(HEALTH_EVERY.as_secs() * 30);
        [hset, expire]
    }
}

/// What we cost, where the platform says so simply.
fn cost() -> Vec<(&'static str, u64)> {
    let cpu = cpu_nsec().map(|nanoseconds| ("cpu_nsec", nanoseconds));
    cpu.into_iter().chain(resident().map(|bytes| ("rss", bytes))).collect()
}

/// CPU time of this process, ns (getrusage(3C)).
fn cpu_nsec() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(u64::try_from(microseconds).ok()? * 1000)
}

#[cfg(target_os = "linux")]
fn resident() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// psinfo_t is not text: the generator's frames have it for every process.
#[cfg(not(target_os = "linux"))]
fn resident() -> Option<u64> {
    None
}
