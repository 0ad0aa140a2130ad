//! File system calls of a zone: `zone_vfs:<id>:<name>` (uts/common/fs/vnode.c of illumos-joyent). Looks like a disk's
//! kstat and is none: r* are reads, w* are writes, and there is no waiting time in it.

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "zone_vfs",
    table: "zone_vfs",
    modules: &["zone_vfs"],
    select: |id| id.module == "zone_vfs",
    owner: Owner::Zone,
    ignore: &[],
    row: |frame, _| Row::Fill(frame.zone_vfs.get_or_insert_default()),
};
