//! What zones need to know of their host: CPUs and load (`unix:0:system_misc`) and memory (`unix:0:system_pages`).

use zonescope_proto::v1;

use super::super::chain::{Id, Kstat};

/// What concerns all zones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host {
    /// CPUs online.
    pub ncpus: Option<u64>,
    /// Physical memory, pages.
    pub physmem: Option<u64>,
    /// Bytes.
    pub page_size: u64,
    /// Load averages over 1, 5 and 15 minutes, times 256: what getloadavg(3C) says in the zone that we run in.
    pub avenrun: [Option<u64>; 3],
}

/// Whether a kstat says something of it.
pub fn wanted(id: Id<'_>) -> bool {
    id.module == "unix" && matches!(id.name, "system_misc" | "system_pages")
}

impl Host {
    /// Takes a kstat into account.
    pub fn learn(&mut self, kstat: &Kstat<'_>) {
        if kstat.id.module != "unix" {
            return;
        }
        let number = |name| kstat.stat(name).and_then(|s| s.uint());
        match kstat.id.name {
            "system_misc" => {
                self.ncpus = number("ncpus");
                self.avenrun = ["avenrun_1min", "avenrun_5min", "avenrun_15min"].map(number);
            }
            "system_pages" => self.physmem = number("physmem"),
            _ => {}
        }
    }

    /// The load, where the zone's own kstat does not have it: it came to `zones` later than to `system_misc`.
    pub fn fill_load(&self, cpu: &mut v1::Cpu) {
        let fields = [&mut cpu.avenrun_1min, &mut cpu.avenrun_5min, &mut cpu.avenrun_15min];
        for (field, avenrun) in fields.into_iter().zip(self.avenrun) {
            *field = field.or(avenrun);
        }
    }
}
