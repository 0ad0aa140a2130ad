//! Who lives where: one pass over /proc a tick.
//!
//! A process's line in /proc/<pid>/stat is read at every tick; the groups that it is in are read when it is new,
//! through its first ticks (whoever starts it moves it into its group a moment later), and every so often after
//! that. In a v1 system a process may be in another group of each hierarchy; it belongs to the innermost zone.
//! Where a look fails, the last one counts.

use std::collections::HashMap;
use std::ops::Range;

use super::files::Names;
use super::hierarchy::Hierarchy;
use super::limits::{LOOK_EVERY, YOUNG_TICKS};
use super::parse;
use super::reader::Reader;
use super::stat::{self, Stat};
use super::zone::{Census, Places, Zone, deepest};

/// Every process of the last tick.
#[derive(Default)]
pub(super) struct Roster {
    known: HashMap<u32, Known>,
    round: u64,
    pids: Names,
    /// The processes of this tick.
    pub(super) processes: Vec<Process>,
    names: Vec<u8>,
}

/// What is remembered of a process.
struct Known {
    starttime: u64,
    /// CPU time in clock ticks.
    used: u64,
    /// The serial number of its zone's group, 0 for the host; `None` before the first look.
    group: Option<u64>,
    first: u64,
    seen: u64,
}

/// A process in this tick.
pub(super) struct Process {
    pub(super) pid: u32,
    /// Its zone; `None` is the host.
    pub(super) zone: Option<usize>,
    pub(super) stat: Stat,
    /// CPU time since the last tick, or since its start if that is later, in clock ticks.
    pub(super) used: u64,
    name: Range<usize>,
}

impl Roster {
    /// Looks at every process. False where /proc cannot be listed.
    pub(super) fn call(&mut self, reader: &mut Reader<'_>, zones: &[Zone<'_>], places: &Places<'_>) -> bool {
        self.round += 1;
        self.processes.clear();
        self.names.clear();
        let mut pids = std::mem::take(&mut self.pids);
        let listed = reader.files.list("/proc", &mut pids);
        if let Err(error) = &listed {
            reader.tally.fail(format!("cannot list /proc: {error}"));
            pids.clear();
        }
        let serials: HashMap<u64, usize> = zones.iter().enumerate().map(|(i, zone)| (zone.group.serial, i)).collect();
        for name in pids.directories() {
            let Ok(pid) = name.parse() else { continue };
            let mut line = None;
            reader.take_of_process(name, "/stat", &mut line, |text, line| {
                let (name, stat) = stat::parse(text).ok_or(parse::Malformed("not the line of a process"))?;
                let start = self.names.len();
                self.names.extend_from_slice(name);
                *line = Some((start..self.names.len(), stat));
                Ok(())
            });
            let Some((comm, stat)) = line else { continue };
            let used = self.since_last(pid, &stat);
            let zone = self.zone_of(reader, (pid, name), zones, &serials, places);
            self.processes.push(Process { pid, zone, stat, used, name: comm });
        }
        let round = self.round;
        self.known.retain(|_, known| known.seen == round);
        self.pids = pids;
        listed.is_ok()
    }

    /// The program's name.
    pub(super) fn name(&self, process: &Process) -> &[u8] {
        &self.names[process.name.clone()]
    }

    /// CPU time since the last tick.
    fn since_last(&mut self, pid: u32, stat: &Stat) -> u64 {
        let used = stat.utime.saturating_add(stat.stime);
        let round = self.round;
        let new = Known { starttime: stat.starttime, used: 0, group: None, first: round, seen: round };
        let known = self.known.entry(pid).or_insert(new);
        if known.starttime != stat.starttime {
            *known = Known { starttime: stat.starttime, used: 0, group: None, first: round, seen: round };
        }
        known.seen = round;
        used.saturating_sub(std::mem::replace(&mut known.used, used))
    }

    /// The innermost zone of a process; `None` is the host.
    fn zone_of(
        &mut self,
        reader: &mut Reader<'_>,
        (pid, name): (u32, &str),
        zones: &[Zone<'_>],
        serials: &HashMap<u64, usize>,
        places: &Places<'_>,
    ) -> Option<usize> {
        let known = self.known.get_mut(&pid)?;
        // Those that were there before this source are not new.
        let is_young = known.first > 1 && self.round - known.first < YOUNG_TICKS;
        let has_lost_it = known.group.is_none_or(|group| group != 0 && !serials.contains_key(&group));
        if is_young || has_lost_it || (self.round + u64::from(pid)).is_multiple_of(LOOK_EVERY) {
            let mut zone = None;
            let look = reader.take_of_process(name, "/cgroup", &mut zone, |text, zone| {
                *zone = innermost(text, zones, places);
                Ok(())
            });
            if look.is_some() {
                known.group = Some(zone.map_or(0, |zone: usize| zones[zone].group.serial));
            }
        }
        serials.get(&known.group?).copied()
    }
}

/// The innermost zone named by the lines of /proc/<pid>/cgroup, `4:memory:/docker/0123` or `0::/system.slice`.
fn innermost(text: &[u8], zones: &[Zone<'_>], places: &Places<'_>) -> Option<usize> {
    let hierarchies: &[Hierarchy] = zones.first()?.hierarchies;
    let zone = |line: &[u8]| {
        let mut parts = std::str::from_utf8(line).ok()?.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let hierarchy = hierarchies.iter().find(|h| h.is_called(controllers))?;
        deepest(places, hierarchy.localize(path)?)
    };
    parse::lines(text).filter_map(zone).max_by_key(|zone| zones[*zone].path.matches('/').count())
}

/// Counts the processes of every zone, those of the zones in it included, and of the host.
pub(super) fn census(processes: &[Process], zones: &mut [Zone<'_>]) -> Census {
    let mut host = Census::default();
    for process in processes {
        let here = process.zone.map_or(&mut host, |zone| &mut zones[zone].census);
        here.processes += 1;
        here.threads = here.threads.saturating_add(process.stat.threads);
        let born = (process.stat.starttime, process.pid);
        here.oldest = Some(here.oldest.map_or(born, |oldest| oldest.min(born)));
    }
    // Outer zones come first, so each is complete before it is added to the one around it.
    for zone in (0..zones.len()).rev() {
        let inner = zones[zone].census;
        let outer = zones[zone].parent.map_or(&mut host, |parent| &mut zones[parent].census);
        outer.processes += inner.processes;
        outer.threads = outer.threads.saturating_add(inner.threads);
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_since_the_last_tick_counts_and_a_reused_pid_starts_anew() {
        let mut roster = Roster::default();
        let line = |starttime, utime| Stat { starttime, utime, stime: 1, ..Stat::default() };
        assert_eq!(roster.since_last(7, &line(100, 49)), 50);
        assert_eq!(roster.since_last(7, &line(100, 60)), 11);
        assert_eq!(roster.since_last(7, &line(900, 2)), 3);
    }
}
