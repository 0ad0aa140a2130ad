//! Operations of each type of file system: `unix:0:vopstats_<fstype>` (class misc, uts/common/fs/vfs.c). Those with a
//! number for a name are of one mount.

use zonescope_proto::v1;

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "vopstats",
    table: "vopstats",
    modules: &["unix"],
    select: |id| id.module == "unix" && fstype(id.name).is_some(),
    owner: Owner::Host,
    // all other operations of a vnode
    #[rustfmt::skip]
    ignore: &[
        "nopen", "nclose", "nwrite", "write_bytes", "nioctl", "nsetfl", "ngetattr", "nsetattr", "naccess", "nlookup",
        "ncreate", "nremove", "nlink", "nrename", "nmkdir", "nrmdir", "nreaddir", "readdir_bytes", "nsymlink",
        "nreadlink", "ninactive", "nfid", "nrwlock", "nrwunlock", "nseek", "ncmp", "nfrlock", "nspace", "nrealvp",
        "ngetpage", "nputpage", "nmap", "naddmap", "ndelmap", "npoll", "ndump", "npathconf", "npageio", "ndumpctl",
        "ndispose", "nsetsecattr", "ngetsecattr", "nshrlock", "nvnevent", "nreqzcbuf", "nretzcbuf",
    ],
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
