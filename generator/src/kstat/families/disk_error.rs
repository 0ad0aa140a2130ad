//! Errors of the host's disks: `sderr:<n>:sd<n>,err` and the like (class device_error, uts/common/io/scsi/targets/sd.c,
//! io/blkdev/blkdev.c) and, of old ATA disks, `cmdkerror:<n>:cmdk<n>,error` (intel/io/dktp/dcdev/dadk.c).

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "disk_error",
    table: "disk_error",
    modules: &["sderr"],
    select: |id| (id.module.ends_with("err") || id.module.ends_with("error")) && device(id.name).is_some(),
    owner: Owner::Host,
    // what the disk is
    ignore: &["Vendor", "Product", "Revision", "Serial No", "Size", "Model"],
    row: |frame, kstat| {
        let device = device(kstat.id.name).unwrap_or_default().to_owned();
        frame.disk_error.push(v1::DiskError { device, ..v1::DiskError::default() });
        frame.disk_error.last_mut().map_or(Row::None, |row| Row::Fill(row))
    },
};

/// `sd1` of `sd1,err`.
fn device(name: &str) -> Option<&str> {
    name.strip_suffix(",err").or_else(|| name.strip_suffix(",error"))
}
