//! CPU time of a process, from /proc.

use std::time::Duration;

/// CPU time of process `pid` so far, where this platform says it.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    if cfg!(target_os = "linux") {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        from_stat(&stat, rustix::param::clock_ticks_per_second())
    } else {
        from_prusage(&std::fs::read(format!("/proc/{pid}/usage")).ok()?)
    }
}

/// Linux, proc_pid_stat(5): utime and stime are fields 14 and 15. The second field, in parentheses, may hold anything.
fn from_stat(stat: &str, hz: u64) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_nanos((user + system).saturating_mul(1_000_000_000) / hz.max(1)))
}

/// illumos, prusage_t of sys/procfs.h in the 64-bit model: pr_lwpid and pr_count, four bytes each, then timestrucs of 16
/// bytes: pr_tstamp, pr_create, pr_term, pr_rtime, pr_utime, pr_stime, ...
fn from_prusage(usage: &[u8]) -> Option<Duration> {
    let word = |at: usize| Some(u64::from_ne_bytes(usage.get(at..at + 8)?.try_into().ok()?));
    let time = |at: usize| Some(Duration::from_secs(word(at)?).saturating_add(Duration::from_nanos(word(at + 8)?)));
    Some(time(72)?.saturating_add(time(88)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_strange_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(from_stat(stat, 100), Some(Duration::from_secs(3)));
        assert_eq!(from_stat("12 (a", 100), None);
    }

    #[test]
    fn prusage_of_the_64_bit_model() {
        let mut usage = vec![0; 8];
        for (seconds, nanoseconds) in [(1u64, 1u64), (2, 2), (3, 3), (4, 4), (5, 500), (6, 600)] {
            usage.extend(seconds.to_ne_bytes());
            usage.extend(nanoseconds.to_ne_bytes());
        }
        assert_eq!(from_prusage(&usage), Some(Duration::new(11, 1100)));
        assert_eq!(from_prusage(&usage[..90]), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_time_is_known() {
        assert!(cpu_time(std::process::id()).is_some());
    }
}
