//! ZFS I/O of a zone: `zone_zfs:<id>:<name>` (uts/common/fs/zfs/zfs_zone.c of illumos-joyent).

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "zone_zfs",
    table: "zone_zfs",
    modules: &["zone_zfs"],
    select: |id| id.module == "zone_zfs",
    owner: Owner::Zone,
    ignore: &[],
    row: |frame, _| Row::Fill(frame.zone_zfs.get_or_insert_default()),
};
