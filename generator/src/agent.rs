//! What the generator itself costs.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;

/// CPU time that this process has used, ns; its children's is not in it (getrusage(3C)).
pub fn cpu_nsec() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(u64::try_from(microseconds).ok()? * 1000)
}

/// Resident memory of this process, bytes.
pub fn rss() -> Option<u64> {
    if cfg!(target_os = "illumos") {
        return crate::illumos::own_rss();
    }
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Open files that are asked for: the sources keep files of cgroups and kstats open, since opening costs more than reading.
const OPEN_FILES: u64 = 65_536;

/// Raises the soft limit of open files as far as the hard one allows. What is refused is done without.
pub fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(OPEN_FILES);
        if soft < wanted
            && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
        {
            tracing::debug!("the limit of open files stays at {soft}: {error}");
        }
    }
}
