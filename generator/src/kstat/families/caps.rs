//! The other caps of a zone: `caps:<id>:<resource>_zone_<id>` (class zone_caps, rctl_kstat_create_zone in
//! uts/common/os/rctl.c): swapresv, lockedmem, nprocs, physicalmem. Projects and tasks have such kstats too.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "caps",
    table: "caps",
    modules: &["caps"],
    select: |id| id.module == "caps" && resource(id.name).is_some_and(|r| r != "cpucaps"),
    owner: Owner::Zone,
    ignore: &[],
    row: |frame, kstat| match resource(kstat.id.name) {
        Some(resource) => {
            frame.caps.push(v1::Caps { resource: resource.to_owned(), ..v1::Caps::default() });
            frame.caps.last_mut().map_or(Row::None, |row| Row::Fill(row))
        }
        None => Row::None,
    },
};

/// `swapresv` of `swapresv_zone_6`.
fn resource(name: &str) -> Option<&str> {
    name.split_once("_zone_").map(|(resource, _)| resource)
}
