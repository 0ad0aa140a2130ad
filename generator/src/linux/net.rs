//! Family `net`: traffic by link, of the host and of each zone that has a network of its own.
//!
//! Whether it has is told by its oldest process: the others may be guests. The link /proc/<pid>/ns/net names the
//! namespace; where it may not be read, or is the host's, the zone has no rows.

use std::collections::HashMap;

use zonescope_proto::v1;

use super::Pass;
use super::limits::{MAX_FAMILY_ROWS, SPEED_EVERY};
use super::parse::{Field, Malformed, lines, number, text_of, words};
use super::reader::Reader;

/// Columns of /proc/net/dev; `None` is not reported.
const COLUMNS: [Option<Field<v1::Net>>; 14] = [
    Some(|n| &mut n.rbytes64),
    Some(|n| &mut n.ipackets64),
    Some(|n| &mut n.ierrors),
    Some(|n| &mut n.rx_dropped),
    None, // fifo
    None, // frame
    None, // compressed
    Some(|n| &mut n.multircv),
    Some(|n| &mut n.obytes64),
    Some(|n| &mut n.opackets64),
    Some(|n| &mut n.oerrors),
    Some(|n| &mut n.tx_dropped),
    None, // fifo
    Some(|n| &mut n.collisions),
];

/// The speeds of links, which cost too much to ask at every tick.
#[derive(Default)]
pub(super) struct Speeds {
    round: u64,
    known: HashMap<(u64, String), Speed>,
}

struct Speed {
    bits_per_second: Option<u64>,
    asked: u64,
    used: u64,
}

pub(super) fn read(pass: &mut Pass<'_>) {
    own_networks(pass);
    pass.speeds.round += 1;
    let Pass { reader, speeds, .. } = pass;
    pass.host.net = links(reader, speeds, 0, "/proc", "/sys");
    for zone in &mut pass.zones {
        let Some(pid) = zone.net else { continue };
        let process = format!("/proc/{pid}");
        zone.frame.net = links(reader, speeds, zone.group.serial, &process, &format!("{process}/root/sys"));
    }
    let round = speeds.round;
    speeds.known.retain(|_, speed| speed.used == round);
}

/// Finds the zones that have a network of their own.
fn own_networks(pass: &mut Pass<'_>) {
    let reader = &mut pass.reader;
    if reader.files.link("/proc/self/ns/net", &mut reader.text).is_err() {
        return;
    }
    let host = reader.text.to_vec();
    for index in 0..pass.zones.len() {
        let is_in_pod = pass.zones[index].parent.is_some_and(|parent| pass.zones[parent].group.brand == "pod");
        let Some((_, pid)) = pass.zones[index].census.oldest.filter(|_| !is_in_pod) else { continue };
        let path = format!("/proc/{pid}/ns/net");
        let is_own = reader.files.link(&path, &mut reader.text).is_ok() && *reader.text != *host;
        pass.zones[index].net = is_own.then_some(pid);
    }
}

/// The links that the process directory `process` shows, whose devices are under `sys`.
fn links(reader: &mut Reader<'_>, speeds: &mut Speeds, group: u64, process: &str, sys: &str) -> Vec<v1::Net> {
    let mut rows = Vec::new();
    let snaptime = reader.take(&[process, "/net/dev"], &mut rows, dev);
    reader.tally.drops += rows.len().saturating_sub(MAX_FAMILY_ROWS) as u64;
    rows.truncate(MAX_FAMILY_ROWS);
    for row in &mut rows {
        row.snaptime = snaptime;
        // The loopback has no speed, and needs none.
        if row.link != "lo" {
            row.ifspeed = speeds.of(reader, group, &row.link, sys);
        }
    }
    rows
}

impl Speeds {
    /// The speed of a link, asked now or some ticks ago.
    fn of(&mut self, reader: &mut Reader<'_>, group: u64, link: &str, sys: &str) -> Option<u64> {
        let round = self.round;
        let never = Speed { bits_per_second: None, asked: 0, used: 0 };
        let speed = self.known.entry((group, link.to_owned())).or_insert(never);
        speed.used = round;
        if speed.asked == 0 || round - speed.asked >= SPEED_EVERY {
            speed.asked = round;
            // A link that is down, or has no speed, answers with an error or -1.
            let path = reader.join(&[sys, "/class/net/", link, "/speed"]).to_owned();
            let read = reader.files.read(&path, &mut reader.text);
            speed.bits_per_second = read.ok().and_then(|_| bits_per_second(&reader.text));
        }
        speed.bits_per_second
    }
}

/// Of megabits per second; -1, printed with or without its sign, is unknown.
fn bits_per_second(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii()).filter(|mbits| *mbits < u64::from(u32::MAX)).map(|mbits| mbits * 1_000_000)
}

/// Two lines of heading, then `  eth0: 114331528 7542 0 0 0 0 0 0 601567 4810 0 0 0 0 0 0`.
fn dev(text: &[u8], rows: &mut Vec<v1::Net>) -> Result<(), Malformed> {
    let mut result = Ok(());
    for line in lines(text).skip(2) {
        match dev_line(line) {
            Some(row) => rows.push(row),
            None => result = Err(Malformed("a line is not that of a link")),
        }
    }
    result
}

fn dev_line(line: &[u8]) -> Option<v1::Net> {
    // Aliases of old (eth0:1) have a colon in their names.
    let end = line.iter().rposition(|b| *b == b':')?;
    let mut row = v1::Net { link: text_of(line[..end].trim_ascii()), ..v1::Net::default() };
    let mut values = words(&line[end + 1..]);
    for column in COLUMNS {
        let value = number(values.next()?)?;
        if let Some(field) = column {
            *field(&mut row) = Some(value);
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_a_link() {
        let text = b"Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop fifo frame \
            compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:    3193      29    0    0    0     0          \
            0         0     3193      29    0    0    0     0       0          0\n  eth0: 114331528    7542    1    2    3     4          5         \
            6   601567    4810    7    8    9    10      11         12\n";
        let mut rows = Vec::new();
        dev(text, &mut rows).unwrap();
        assert_eq!(rows[0].link, "lo");
        let eth0 = &rows[1];
        assert_eq!((eth0.rbytes64, eth0.ipackets64, eth0.obytes64), (Some(114_331_528), Some(7542), Some(601_567)));
        assert_eq!((eth0.ierrors, eth0.rx_dropped, eth0.multircv), (Some(1), Some(2), Some(6)));
        assert_eq!((eth0.oerrors, eth0.tx_dropped, eth0.collisions), (Some(7), Some(8), Some(10)));
        assert!(dev(b"a\nb\n eth0: 1 2 3\n", &mut rows).is_err());
    }

    #[test]
    fn a_speed_may_be_unknown() {
        assert_eq!(bits_per_second(b"10000\n"), Some(10_000_000_000));
        assert_eq!(bits_per_second(b"-1\n"), None);
        assert_eq!(bits_per_second(b"4294967295\n"), None);
    }
}
