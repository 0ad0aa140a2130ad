//! Families `tcp`, `udp` and `ip`: the counters of a network stack, of /proc/net/snmp and /proc/net/netstat.
//!
//! Both files are pairs of lines, names and values, each behind the name of the protocol. UDP and IP are IPv4's:
//! IPv6 has counters of its own in /proc/net/snmp6, which are not read.

use zonescope_proto::v1;

use super::Pass;
use super::parse::{Malformed, Table, Unit, lines, words};
use super::reader::Reader;

const TCP: &Table<v1::Tcp> = &[
    ("ActiveOpens", Unit::Same, |t| &mut t.active_opens),
    ("PassiveOpens", Unit::Same, |t| &mut t.passive_opens),
    ("AttemptFails", Unit::Same, |t| &mut t.attempt_fails),
    ("EstabResets", Unit::Same, |t| &mut t.estab_resets),
    ("CurrEstab", Unit::Same, |t| &mut t.curr_estab),
    ("InSegs", Unit::Same, |t| &mut t.in_segs),
    ("OutSegs", Unit::Same, |t| &mut t.out_segs),
    ("RetransSegs", Unit::Same, |t| &mut t.retrans_segs),
    ("OutRsts", Unit::Same, |t| &mut t.out_rsts),
];

const TCP_EXT: &Table<v1::Tcp> = &[
    ("ListenDrops", Unit::Same, |t| &mut t.listen_drop),
    ("TCPAbortOnTimeout", Unit::Same, |t| &mut t.tim_retrans_drop),
    ("TCPTimeouts", Unit::Same, |t| &mut t.tim_retrans),
];

const UDP: &Table<v1::Udp> = &[
    ("InDatagrams", Unit::Same, |u| &mut u.in_datagrams),
    ("OutDatagrams", Unit::Same, |u| &mut u.out_datagrams),
    ("InErrors", Unit::Same, |u| &mut u.in_errors),
    ("RcvbufErrors", Unit::Same, |u| &mut u.udp_in_overflows),
    ("NoPorts", Unit::Same, |u| &mut u.no_ports),
];

const IP: &Table<v1::Ip> = &[
    ("InReceives", Unit::Same, |i| &mut i.in_receives),
    ("InDelivers", Unit::Same, |i| &mut i.in_delivers),
    ("OutRequests", Unit::Same, |i| &mut i.out_requests),
    ("InDiscards", Unit::Same, |i| &mut i.in_discards),
    ("OutDiscards", Unit::Same, |i| &mut i.out_discards),
    ("OutNoRoutes", Unit::Same, |i| &mut i.out_no_routes),
];

pub(super) fn read(pass: &mut Pass<'_>) {
    stack(&mut pass.reader, "/proc", &mut pass.host);
    for zone in &mut pass.zones {
        if let Some(pid) = zone.net {
            stack(&mut pass.reader, &format!("/proc/{pid}"), &mut zone.frame);
        }
    }
}

/// The network stack that the process directory `process` shows.
fn stack(reader: &mut Reader<'_>, process: &str, frame: &mut v1::Frame) {
    let Some(at) = reader.take(&[process, "/net/snmp"], frame, snmp) else { return };
    if let Some(tcp) = &mut frame.tcp {
        tcp.snaptime = Some(at);
        reader.take(&[process, "/net/netstat"], tcp, |text, tcp| project(text, "TcpExt", TCP_EXT, tcp));
    }
    if let Some(udp) = &mut frame.udp {
        udp.snaptime = Some(at);
    }
    if let Some(ip) = &mut frame.ip {
        ip.snaptime = Some(at);
    }
}

fn snmp(text: &[u8], frame: &mut v1::Frame) -> Result<(), Malformed> {
    let tcp = project(text, "Tcp", TCP, frame.tcp.insert(v1::Tcp::default()));
    let udp = project(text, "Udp", UDP, frame.udp.insert(v1::Udp::default()));
    let ip = project(text, "Ip", IP, frame.ip.insert(v1::Ip::default()));
    tcp.and(udp).and(ip)
}

/// The counters of one protocol.
fn project<R>(text: &[u8], protocol: &str, table: &Table<R>, row: &mut R) -> Result<(), Malformed> {
    let line_of = |line| of_protocol(line, protocol);
    let mut pairs = lines(text).filter_map(line_of);
    let (Some(names), Some(values)) = (pairs.next(), pairs.next()) else {
        return Err(Malformed("a protocol is missing"));
    };
    let mut result = Ok(());
    for (name, value) in words(names).zip(words(values)) {
        let Some((_, unit, field)) = table.iter().find(|(known, ..)| known.as_bytes() == name) else { continue };
        match unit.read(value) {
            Some(value) => *field(row) = Some(value),
            None => result = Err(Malformed("a value is not a number")),
        }
    }
    result
}

/// The rest of a line that begins with `protocol` and a colon.
fn of_protocol<'a>(line: &'a [u8], protocol: &str) -> Option<&'a [u8]> {
    line.strip_prefix(protocol.as_bytes())?.strip_prefix(b":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &[u8] = b"Ip: Forwarding DefaultTTL InReceives InHdrErrors InDiscards InDelivers OutRequests OutDiscards OutNoRoutes\n\
        Ip: 2 64 7564 0 1 7560 4824 2 3\n\
        IcmpMsg: InType3\nIcmpMsg: 1\n\
        Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts\n\
        Tcp: 1 -1 102 2 4 89 3 7366 4719 5 0 91\n\
        Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 197 6 7 198 8\n\
        UdpLite: InDatagrams\nUdpLite: 9\n";

    #[test]
    fn the_protocols_are_told_apart() {
        let mut frame = v1::Frame::default();
        snmp(SNMP, &mut frame).unwrap();
        let (tcp, udp, ip) = (frame.tcp.unwrap(), frame.udp.unwrap(), frame.ip.unwrap());
        assert_eq!(
            (tcp.active_opens, tcp.curr_estab, tcp.retrans_segs, tcp.out_rsts),
            (Some(102), Some(3), Some(5), Some(91))
        );
        assert_eq!((udp.in_datagrams, udp.udp_in_overflows, udp.no_ports), (Some(197), Some(8), Some(6)));
        assert_eq!((ip.in_receives, ip.in_delivers, ip.out_no_routes), (Some(7564), Some(7560), Some(3)));
        assert_eq!((tcp.listen_drop, udp.out_errors), (None, None));
    }

    #[test]
    fn the_extensions_of_tcp_are_in_another_file() {
        let mut tcp = v1::Tcp::default();
        let text = b"TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts TCPAbortOnTimeout\nTcpExt: 0 1 2 3 4\nIpExt: InOctets\nIpExt: 5\n";
        project(text, "TcpExt", TCP_EXT, &mut tcp).unwrap();
        assert_eq!((tcp.listen_drop, tcp.tim_retrans, tcp.tim_retrans_drop), (Some(2), Some(3), Some(4)));
        assert!(project(b"TcpExt: ListenDrops\n", "TcpExt", TCP_EXT, &mut tcp).is_err());
    }
}
