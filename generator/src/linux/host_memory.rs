//! Family `host_memory`: the host's memory, in the host's own units; and its row of the family `memory`.

use zonescope_proto::v1;

use super::parse::{Malformed, Table, Unit, keyed};
use super::reader::Reader;

/// What /proc/meminfo and /proc/vmstat say, in bytes and times.
#[derive(Debug, Default, PartialEq)]
pub(super) struct HostPages {
    snaptime: i64,
    pub(super) total: Option<u64>,
    free: Option<u64>,
    available: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    anon: Option<u64>,
    shmem: Option<u64>,
    slab: Option<u64>,
    dirty: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
    pgfault: Option<u64>,
    pgmajfault: Option<u64>,
    oom_kill: Option<u64>,
    pswpin: Option<u64>,
    pswpout: Option<u64>,
}

const KB: Unit = Unit::Times(1024);

const MEMINFO: &Table<HostPages> = &[
    ("MemTotal", KB, |h| &mut h.total),
    ("MemFree", KB, |h| &mut h.free),
    ("MemAvailable", KB, |h| &mut h.available),
    ("Buffers", KB, |h| &mut h.buffers),
    ("Cached", KB, |h| &mut h.cached),
    ("AnonPages", KB, |h| &mut h.anon),
    ("Shmem", KB, |h| &mut h.shmem),
    ("Slab", KB, |h| &mut h.slab),
    ("Dirty", KB, |h| &mut h.dirty),
    ("SwapTotal", KB, |h| &mut h.swap_total),
    ("SwapFree", KB, |h| &mut h.swap_free),
];

const VMSTAT: &Table<HostPages> = &[
    ("pgfault", Unit::Same, |h| &mut h.pgfault),
    ("pgmajfault", Unit::Same, |h| &mut h.pgmajfault),
    ("oom_kill", Unit::Same, |h| &mut h.oom_kill),
    ("pswpin", Unit::Same, |h| &mut h.pswpin),
    ("pswpout", Unit::Same, |h| &mut h.pswpout),
];

impl HostPages {
    /// Reads both files.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<HostPages> {
        let mut host = HostPages::default();
        host.snaptime = reader.take(&["/proc/meminfo"], &mut host, meminfo)?;
        reader.take(&["/proc/vmstat"], &mut host, |text, host| keyed(text, VMSTAT, host));
        Some(host)
    }

    /// The host as a zone.
    pub(super) fn memory(&self) -> v1::Memory {
        let less = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_sub(b));
        v1::Memory {
            snaptime: Some(self.snaptime),
            physmem: self.total,
            memory_current: less(self.total, self.free),
            anon: self.anon,
            file: self.cached.zip(self.buffers).map(|(cached, buffers)| cached.saturating_add(buffers)),
            inactive_file: less(self.available, self.free),
            shmem: self.shmem,
            slab: self.slab,
            swap_current: less(self.swap_total, self.swap_free),
            swap_max: self.swap_total,
            pgfault: self.pgfault,
            pgmajfault: self.pgmajfault,
            oom_kill: self.oom_kill,
            ..v1::Memory::default()
        }
    }
}

fn meminfo(text: &[u8], host: &mut HostPages) -> Result<(), Malformed> {
    keyed(text, MEMINFO, host)?;
    if host.total.is_some() { Ok(()) } else { Err(Malformed("no MemTotal")) }
}

/// The row of the host.
pub(super) fn row(host: &HostPages, page_bytes: u64) -> v1::HostMemory {
    let pages = |bytes: Option<u64>| bytes.map(|bytes| bytes / page_bytes.max(1));
    v1::HostMemory {
        snaptime: Some(host.snaptime),
        physmem: pages(host.total),
        freemem: pages(host.free),
        pagesize: Some(page_bytes),
        mem_available: host.available,
        buffers: host.buffers,
        cached: host.cached,
        swap_total: host.swap_total,
        swap_free: host.swap_free,
        dirty: host.dirty,
        pswpin: host.pswpin,
        pswpout: host.pswpout,
        ..v1::HostMemory::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_a_zone_whose_working_set_is_what_is_not_available() {
        let mut host = HostPages::default();
        let text =
            b"MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    700 kB\nBuffers:          20 kB\n\
            Cached:          400 kB\nSwapCached:        9 kB\nSwapTotal:       500 kB\nSwapFree:        450 kB\n";
        meminfo(text, &mut host).unwrap();
        keyed(b"pgfault 50773641\npgmajfault 4231\noom_kill 2\n", VMSTAT, &mut host).unwrap();
        let memory = host.memory();
        assert_eq!((memory.memory_current, memory.inactive_file), (Some(900 << 10), Some(600 << 10)));
        assert_eq!((memory.file, memory.swap_current, memory.oom_kill), (Some(420 << 10), Some(50 << 10), Some(2)));
        assert_eq!((memory.anon, memory.physcap), (None, None), "what is not said is not zero");
        let row = row(&host, 4096);
        assert_eq!((row.physmem, row.freemem, row.pswpin), (Some(250), Some(25), None));
    }
}
