//! Splits exact CPU time by inexact shares: v1 knows exactly how much CPU time a group has used
//! (cpuacct.usage), but tells user from system only by who was running when the clock ticked, which is off by
//! percents on a busy or virtual machine. The kernel does the same for processes and for v2 (`cputime_adjust`,
//! kernel/sched/cputime.c): scale what the ticks say to what is known, and let neither part ever go back.

use std::collections::HashMap;

/// User and system time in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Split {
    pub(super) user: u64,
    pub(super) system: u64,
}

/// The last split of each group.
#[derive(Default)]
pub(super) struct Splits {
    round: u64,
    last: HashMap<u64, (Split, u64)>,
}

impl Splits {
    /// A tick begins: groups that were not in the last one are forgotten.
    pub(super) fn begin(&mut self) {
        let round = self.round;
        self.last.retain(|_, (_, used)| *used == round);
        self.round += 1;
    }

    /// Splits the time of a group, no part less than the last time.
    pub(super) fn split(&mut self, group: u64, total: u64, sampled: Split) -> Split {
        let (last, used) = self.last.entry(group).or_default();
        *used = self.round;
        *last = split(total, sampled, *last);
        *last
    }
}

fn split(total: u64, sampled: Split, last: Split) -> Split {
    // Time itself went back: nothing to be had from what was before.
    let last = if last.user.saturating_add(last.system) > total { Split::default() } else { last };
    let ticks = u128::from(sampled.user) + u128::from(sampled.system);
    let share = (u128::from(total) * u128::from(sampled.system)).checked_div(ticks).unwrap_or(0);
    // Never more than the total, and never so much that the user's part would go back.
    let most = total - last.user;
    let system = u64::try_from(share).unwrap_or(total).max(last.system).min(most);
    Split { user: total - system, system }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: u64, system: u64) -> Split {
        Split { user, system }
    }

    #[test]
    fn the_parts_add_up_to_what_is_known() {
        assert_eq!(split(1000, of(300, 100), Split::default()), of(750, 250));
        assert_eq!(split(1000, of(0, 0), Split::default()), of(1000, 0));
        assert_eq!(split(u64::MAX, of(u64::MAX, u64::MAX), Split::default()), of(u64::MAX / 2 + 1, u64::MAX / 2));
    }

    #[test]
    fn no_part_goes_back_while_the_whole_grows() {
        let mut last = Split::default();
        for (total, sampled) in [(100, of(0, 10)), (110, of(30, 10)), (120, of(30, 90)), (200, of(9, 1))] {
            let next = split(total, sampled, last);
            assert!(next.user >= last.user && next.system >= last.system, "{last:?} to {next:?}");
            assert_eq!(next.user + next.system, total);
            last = next;
        }
        assert_eq!(split(50, of(1, 1), last), of(25, 25), "counters that began anew");
    }
}
