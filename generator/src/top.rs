//! The largest of many processes: those that are worth a row of their own.

use std::cmp::Reverse;

/// What is asked of a process to rank it.
pub trait Ranked {
    /// What tells zones apart.
    type Zone: Ord;

    /// The zone it is in.
    fn zone(&self) -> Self::Zone;
    /// Its process id.
    fn pid(&self) -> u32;
    /// CPU time since the last tick, or since its start if that is later.
    fn used(&self) -> u64;
    /// Resident memory.
    fn rss(&self) -> u64;
}

/// The places of the first `top` of each zone by CPU time, and as many by memory; in the order of zones and pids. A
/// process that uses neither is not among them, however few there are.
pub fn largest<P: Ranked>(processes: &[P], top: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..processes.len()).collect();
    order.sort_unstable_by_key(|i| (processes[*i].zone(), processes[*i].pid()));
    let mut chosen: Vec<usize> = Vec::new();
    for zone in order.chunk_by_mut(|a, b| processes[*a].zone() == processes[*b].zone()) {
        let start = chosen.len();
        zone.sort_by_key(|i| Reverse(processes[*i].used()));
        chosen.extend(zone.iter().filter(|i| processes[**i].used() > 0).take(top));
        zone.sort_by_key(|i| Reverse(processes[*i].rss()));
        chosen.extend(zone.iter().filter(|i| processes[**i].rss() > 0).take(top));
        chosen[start..].sort_unstable_by_key(|i| processes[*i].pid());
    }
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zone, pid, CPU time, memory.
    impl Ranked for (u8, u32, u64, u64) {
        type Zone = u8;

        fn zone(&self) -> u8 {
            self.0
        }
        fn pid(&self) -> u32 {
            self.1
        }
        fn used(&self) -> u64 {
            self.2
        }
        fn rss(&self) -> u64 {
            self.3
        }
    }

    #[test]
    fn the_largest_by_time_and_by_memory_are_chosen_of_each_zone() {
        let processes = [(0, 10, 5, 100), (0, 11, 9, 1), (0, 12, 0, 900), (0, 13, 1, 2), (1, 14, 0, 0), (1, 15, 0, 1)];
        let pids: Vec<u32> = largest(&processes, 1).into_iter().map(|i| processes[i].1).collect();
        assert_eq!(pids, [11, 12, 15]);
        assert_eq!(largest(&processes, 0), [0usize; 0]);
    }
}
