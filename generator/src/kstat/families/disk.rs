//! The host's disks: `sd:<n>:sd<n>` and the like (class disk, type io; kstat_io in kstat(3KSTAT)). Partitions have kstats
//! of their own, `sd1,a`; the disk's is the one without a comma.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

/// Drivers of disks whose kstats are named after their module.
const DRIVERS: &[&str] = &["sd", "ssd", "cmdk", "blkdev", "xdf", "dad"];

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "disk",
    table: "disk",
    modules: &["sd"],
    select: |id| DRIVERS.contains(&id.module) && !id.name.contains(',') && id.name.starts_with(id.module),
    owner: Owner::Host,
    ignore: &["wlastupdate", "rlastupdate"],
    row: |frame, kstat| {
        if kstat.stat("rlastupdate").is_none() {
            return Row::None;
        }
        frame.disk.push(v1::Disk { device: kstat.id.name.to_owned(), ..v1::Disk::default() });
        frame.disk.last_mut().map_or(Row::None, |row| Row::Fill(row))
    },
};
