//! I/O of a ZFS pool: `zfs:0:<pool>` (class disk, type io; uts/common/fs/zfs/spa.c). The module has many other
//! kstats under the same instance: a pool's is the one with the fields of a kstat_io.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "zpool",
    table: "zpool",
    modules: &["zfs"],
    select: |id| id.module == "zfs" && id.name != "arcstats" && !id.name.ends_with("stats"),
    owner: Owner::Host,
    ignore: &["wlastupdate", "rlastupdate"],
    row: |frame, kstat| {
        if kstat.stat("rlastupdate").is_none() {
            return Row::None;
        }
        frame.zpool.push(v1::Zpool { pool: kstat.id.name.to_owned(), ..v1::Zpool::default() });
        frame.zpool.last_mut().map_or(Row::None, |row| Row::Fill(row))
    },
};
