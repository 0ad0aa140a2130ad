//! UDP of a network stack: `udp:<id>:udp` and, for what IP drops on its behalf, `ip:<id>:ip` (class mib2,
//! uts/common/inet/udp/udp_stats.c, ip/ip.c).

use super::{KstatFamily, Owner, Row};

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "udp",
    table: "udp",
    modules: &["udp"],
    select: |id| id.module == "udp" && id.name == "udp",
    owner: Owner::Stack,
    // sizes of table entries
    ignore: &["entrySize", "entry6Size"],
    row: |frame, _| Row::Fill(frame.udp.get_or_insert_default()),
};

/// Fills the same row from the kstat of `ip`; the rest of that one is the family `ip`.
pub(super) const IN_IP: KstatFamily = KstatFamily {
    name: "udp_in_ip",
    table: "udp",
    modules: &[],
    select: super::ip::select,
    owner: Owner::Stack,
    ignore: &[],
    row: |frame, kstat| {
        let udp = frame.udp.get_or_insert_default();
        udp.udp_in_overflows = kstat.stat("udpInOverflows").and_then(|s| s.uint());
        udp.no_ports = kstat.stat("noPorts").and_then(|s| s.uint());
        Row::Done
    },
};
