//! CPU time, run queue, load and failed forks of a zone: `zones:<id>:<name>` (class zone_misc, zone_kstat in
//! uts/common/os/zone.c).

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "cpu",
    table: "cpu",
    modules: &["zones"],
    select: |id| id.module == "zones",
    owner: Owner::Zone,
    // boot_time and brand are the zone's identity: see zones.rs.
    ignore: &["boot_time", "brand"],
    row: |frame, _| Row::Fill(frame.cpu.get_or_insert_default()),
};
