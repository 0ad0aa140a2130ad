//! Operations of each type of file system: `unix:0:vopstats_<fstype>` (class misc, uts/common/fs/vfs.c). Those with a
//! number for a name are of one mount.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "vopstats",
    table: "vopstats",
    modules: &[],
    select: |id| id.module == "unix" && fstype(id.name).is_some(),
    owner: Owner::Host,
    ignore: &[],
    row: |frame, kstat| {
        let fstype = fstype(kstat.id.name).unwrap_or_default().to_owned();
        frame.vopstats.push(v1::Vopstats { fstype, ..v1::Vopstats::default() });
        frame.vopstats.last_mut().map_or(Row::None, |row| Row::Fill(row))
    },
};

/// `zfs` of `vopstats_zfs`.
fn fstype(name: &str) -> Option<&str> {
    name.strip_prefix("vopstats_").filter(|fstype| !fstype.starts_with(|c: char| c.is_ascii_digit()))
}
