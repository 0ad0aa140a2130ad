//! Errors of the host's disks: `sderr:<n>:sd<n>,err` and the like (class device_error, uts/common/io/scsi/targets/sd.c,
//! io/blkdev/blkdev.c).

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "disk_error",
    table: "disk_error",
    modules: &["sderr"],
    select: |id| id.module.ends_with("err") && id.name.ends_with(",err"),
    owner: Owner::Host,
    // what the disk is
    ignore: &["Vendor", "Product", "Revision", "Serial No", "Size", "Model"],
    row: |frame, kstat| {
        let device = kstat.id.name.trim_end_matches(",err").to_owned();
        frame.disk_error.push(v1::DiskError { device, ..v1::DiskError::default() });
        frame.disk_error.last_mut().map_or(Row::None, |row| Row::Fill(row))
    },
};
