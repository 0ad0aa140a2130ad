//! Memory of the host: `unix:0:system_pages` (uts/common/os/kstat_fr.c).

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "host_memory",
    table: "host_memory",
    modules: &["unix"],
    select: |id| id.module == "unix" && id.name == "system_pages",
    owner: Owner::Host,
    ignore: &[
        // addresses, and what is told twice
        "kernelbase",
        "econtig",
        "pagesfree",
        "pageslocked",
        "pagestotal",
        // the page scanner's settings
        "fastscan",
        "slowscan",
        "desscan",
        "low_mem_scan",
        "zone_cap_scan",
        "n_throttle",
    ],
    row: |frame, _| Row::Fill(frame.host_memory.get_or_insert_default()),
};
