//! What something cost: time by the clock, and CPU time of the whole process, all its threads.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Time by the clock and on CPUs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

/// Does something, and adds what it cost.
pub(crate) fn charge<T>(cost: &mut Cost, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (wall, cpu) = (Instant::now(), cpu()?);
    let done = work()?;
    *cost += Cost { wall: wall.elapsed(), cpu: self::cpu()?.saturating_sub(cpu) };
    Ok(done)
}

/// CPU time of this process so far, user and kernel.
pub(crate) fn cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

/// The most memory that this process ever had resident, in KiB.
pub(crate) fn peak_kib() -> anyhow::Result<i64> {
    Ok(getrusage(UsageWho::RUSAGE_SELF)?.max_rss())
}
