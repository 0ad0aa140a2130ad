//! The CPU cap of a zone: `caps:<id>:cpucaps_zone_<id>` (class zone_caps, uts/common/disp/cpucaps.c). Projects have
//! such kstats too; they are not the zone's.

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "cpucaps",
    table: "cpucaps",
    modules: &["caps"],
    select: |id| id.module == "caps" && id.name.starts_with("cpucaps_zone_"),
    owner: Owner::Zone,
    ignore: &[],
    row: |frame, _| Row::Fill(frame.cpucaps.get_or_insert_default()),
};
