//! Families `memory` and `host_memory`: memory.
//!
//! v1 is read by its `total_` statistics, which include the groups below, as everything of v2 does. Its limit
//! of memory and swap together has no counterpart here and stays absent.

use zonescope_proto::v1;

use super::Pass;
use super::hierarchy::Controller;
use super::host_memory::{self, HostPages};
use super::parse::{Field, Table, Unit, keyed, single};
use super::reader::Reader;
use super::zone::Zone;

const V2_STAT: &Table<v1::Memory> = &[
    ("anon", Unit::Same, |m| &mut m.anon),
    ("file", Unit::Same, |m| &mut m.file),
    ("inactive_file", Unit::Same, |m| &mut m.inactive_file),
    ("shmem", Unit::Same, |m| &mut m.shmem),
    ("slab", Unit::Same, |m| &mut m.slab),
    ("pgfault", Unit::Same, |m| &mut m.pgfault),
    ("pgmajfault", Unit::Same, |m| &mut m.pgmajfault),
];

const V2_EVENTS: &Table<v1::Memory> = &[
    ("high", Unit::Same, |m| &mut m.events_high),
    ("max", Unit::Same, |m| &mut m.events_max),
    ("oom", Unit::Same, |m| &mut m.oom),
    ("oom_kill", Unit::Same, |m| &mut m.oom_kill),
];

const V1_STAT: &Table<v1::Memory> = &[
    ("total_rss", Unit::Same, |m| &mut m.anon),
    ("total_cache", Unit::Same, |m| &mut m.file),
    ("total_inactive_file", Unit::Same, |m| &mut m.inactive_file),
    ("total_shmem", Unit::Same, |m| &mut m.shmem),
    ("total_swap", Unit::Same, |m| &mut m.swap_current),
    ("total_pgfault", Unit::Same, |m| &mut m.pgfault),
    ("total_pgmajfault", Unit::Same, |m| &mut m.pgmajfault),
];

const V1_OOM: &Table<v1::Memory> = &[("oom_kill", Unit::Same, |m| &mut m.oom_kill)];

/// A file of one number, and the field it is.
type Single = (&'static str, Unit, Field<v1::Memory>);

const V2_SINGLES: [Single; 4] = [
    ("memory.max", Unit::Limit, |m| &mut m.physcap),
    ("memory.high", Unit::Limit, |m| &mut m.memory_high),
    ("memory.swap.current", Unit::Same, |m| &mut m.swap_current),
    ("memory.swap.max", Unit::Limit, |m| &mut m.swap_max),
];

const V1_SINGLES: [Single; 2] =
    [("memory.limit_in_bytes", Unit::Limit, |m| &mut m.physcap), ("memory.failcnt", Unit::Same, |m| &mut m.events_max)];

pub(super) fn read(pass: &mut Pass<'_>) {
    let reader = &mut pass.reader;
    let host = HostPages::read(reader);
    let physmem = host.as_ref().and_then(|host| host.total);
    pass.host.memory = host.as_ref().map(HostPages::memory);
    pass.host.host_memory = host.as_ref().map(|host| host_memory::row(host, reader.facts.page_bytes));
    for zone in &mut pass.zones {
        zone.frame.memory = of_zone(reader, zone, physmem);
    }
}

fn of_zone(reader: &mut Reader<'_>, zone: &Zone<'_>, physmem: Option<u64>) -> Option<v1::Memory> {
    let dir = zone.dir(Controller::Memory)?;
    let mut row = v1::Memory { physmem, ..v1::Memory::default() };
    let current = if dir.unified { "memory.current" } else { "memory.usage_in_bytes" };
    let field = |text: &[u8], row: &mut v1::Memory| single(text, Unit::Same, |m| &mut m.memory_current, row);
    // A group without the controller has none of the other files either.
    row.snaptime = Some(reader.take(&dir.file(current), &mut row, field)?);
    let (stat, events, events_file) =
        if dir.unified { (V2_STAT, V2_EVENTS, "memory.events") } else { (V1_STAT, V1_OOM, "memory.oom_control") };
    reader.take(&dir.file("memory.stat"), &mut row, |text, row| keyed(text, stat, row));
    reader.take(&dir.file(events_file), &mut row, |text, row| keyed(text, events, row));
    let singles: &[Single] = if dir.unified { &V2_SINGLES } else { &V1_SINGLES };
    for (file, unit, field) in singles {
        reader.take(&dir.file(file), &mut row, |text, row| single(text, *unit, *field, row));
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_statistics_keep_their_names() {
        let mut row = v1::Memory::default();
        keyed(
            b"anon 1000\nfile 2000\nkernel 5\nshmem 30\ninactive_file 40\nslab 50\npgfault 60\npgmajfault 7\n",
            V2_STAT,
            &mut row,
        )
        .unwrap();
        keyed(b"low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n", V2_EVENTS, &mut row).unwrap();
        assert_eq!((row.anon, row.file, row.inactive_file, row.slab), (Some(1000), Some(2000), Some(40), Some(50)));
        assert_eq!((row.events_high, row.events_max, row.oom, row.oom_kill), (Some(1), Some(2), Some(3), Some(4)));
    }

    #[test]
    fn v1_statistics_include_the_groups_below() {
        let mut row = v1::Memory::default();
        let text = b"cache 1\nrss 2\nswap 9\ninactive_file 3\ntotal_cache 2648875008\ntotal_rss 664911872\n\
            total_swap 4096\ntotal_inactive_file 1649704960\ntotal_pgfault 5\ntotal_pgmajfault 6\n";
        keyed(text, V1_STAT, &mut row).unwrap();
        keyed(b"oom_kill_disable 0\nunder_oom 0\noom_kill 8\n", V1_OOM, &mut row).unwrap();
        assert_eq!((row.file, row.anon, row.swap_current), (Some(2_648_875_008), Some(664_911_872), Some(4096)));
        assert_eq!((row.inactive_file, row.slab, row.oom_kill), (Some(1_649_704_960), None, Some(8)));
    }
}
