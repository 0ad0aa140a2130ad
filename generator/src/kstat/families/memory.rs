//! Memory of a zone: `memory_cap:<id>:<name>` (class zone_memory_cap, uts/common/os/zone.c of illumos-joyent).

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "memory",
    table: "memory",
    modules: &["memory_cap"],
    select: |id| id.module == "memory_cap",
    owner: Owner::Zone,
    ignore: &[],
    row: |frame, _| Row::Fill(frame.memory.get_or_insert_default()),
};
