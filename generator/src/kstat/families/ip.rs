//! IP of a network stack: `ip:<id>:ip` (class mib2, uts/common/inet/ip/ip.c).

use super::super::chain::Id;
use super::{KstatFamily, Owner, Row};

pub(super) fn select(id: Id<'_>) -> bool {
    id.module == "ip" && id.name == "ip"
}

pub(super) const FAMILY: KstatFamily = KstatFamily {
    name: "ip",
    table: "ip",
    modules: &["ip"],
    select,
    owner: Owner::Stack,
    ignore: &[
        // constants and sizes of table entries
        "forwarding",
        "defaultTTL",
        "reasmTimeout",
        "addrEntrySize",
        "routeEntrySize",
        "netToMediaEntrySize",
        "memberEntrySize",
        // the family udp has them
        "udpInOverflows",
        "noPorts",
        // forwarding, fragments, IPsec and raw sockets: not what makes a zone slow
        "inHdrErrors",
        "inAddrErrors",
        "forwDatagrams",
        "inUnknownProtos",
        "reasmReqds",
        "reasmOKs",
        "reasmFails",
        "fragOKs",
        "fragFails",
        "fragCreates",
        "routingDiscards",
        "inErrs",
        "inCksumErrs",
        "reasmDuplicates",
        "reasmPartDups",
        "forwProhibits",
        "udpInCksumErrs",
        "rawipInOverflows",
        "ipsecInSucceeded",
        "ipsecInFailed",
        "inIPv6",
        "outIPv6",
        "outSwitchIPv6",
    ],
    row: |frame, _| Row::Fill(frame.ip.get_or_insert_default()),
};
