//! Family `disk`: I/O by block device, of the host's disks and of each zone at them.
//!
//! | | v2 | v1 |
//! |---|---|---|
//! | zone | io.stat | blkio.throttle.io_service_bytes, io_serviced, `_recursive` where the kernel has it |
//! | host | /proc/diskstats | the same |
//!
//! Only whole disks are reported: what goes to a partition is counted by its disk too. What a zone writes
//! through the page cache is its own in v2; in v1 it is charged to nobody. Recent kernels (6.18 for one) count
//! nothing in v1 until a throttle has been set for the disk, however high: until then the zone has no rows.

use std::collections::HashMap;

use zonescope_proto::v1;

use super::Pass;
use super::files::Names;
use super::hierarchy::Controller;
use super::limits::MAX_FAMILY_ROWS;
use super::parse::{Field, Malformed, Table, Unit, lines, number, text_of, words};
use super::reader::Reader;
use super::zone::Zone;

/// Columns of /proc/diskstats behind the device's name: see Documentation/admin-guide/iostats.rst.
const COLUMNS: [(Unit, Field<v1::Disk>); 11] = [
    (Unit::Same, |d| &mut d.reads),
    (Unit::Same, |d| &mut d.read_merges),
    (Unit::Times(512), |d| &mut d.nread),
    (Unit::Same, |d| &mut d.read_ticks),
    (Unit::Same, |d| &mut d.writes),
    (Unit::Same, |d| &mut d.write_merges),
    (Unit::Times(512), |d| &mut d.nwritten),
    (Unit::Same, |d| &mut d.write_ticks),
    (Unit::Same, |d| &mut d.rcnt),
    (Unit::Times(1_000_000), |d| &mut d.rtime),
    (Unit::Times(1_000_000), |d| &mut d.rlentime),
];

/// The same since Linux 4.18 and 5.5; `None` is not reported.
const LATER_COLUMNS: [Option<(Unit, Field<v1::Disk>)>; 5] = [
    Some((Unit::Same, |d| &mut d.discards)),
    None,
    Some((Unit::Times(512), |d| &mut d.ndiscarded)),
    None,
    Some((Unit::Same, |d| &mut d.flushes)),
];

const IO_STAT: &Table<v1::Disk> = &[
    ("rbytes", Unit::Same, |d| &mut d.nread),
    ("wbytes", Unit::Same, |d| &mut d.nwritten),
    ("rios", Unit::Same, |d| &mut d.reads),
    ("wios", Unit::Same, |d| &mut d.writes),
    ("dbytes", Unit::Same, |d| &mut d.ndiscarded),
    ("dios", Unit::Same, |d| &mut d.discards),
];

const V1_BYTES: &Table<v1::Disk> = &[
    ("Read", Unit::Same, |d| &mut d.nread),
    ("Write", Unit::Same, |d| &mut d.nwritten),
    ("Discard", Unit::Same, |d| &mut d.ndiscarded),
];

const V1_OPERATIONS: &Table<v1::Disk> = &[
    ("Read", Unit::Same, |d| &mut d.reads),
    ("Write", Unit::Same, |d| &mut d.writes),
    ("Discard", Unit::Same, |d| &mut d.discards),
];

/// Names of devices by number.
type Devices = HashMap<(u64, u64), String>;

pub(super) fn read(pass: &mut Pass<'_>) {
    let reader = &mut pass.reader;
    let mut disks = Disks::default();
    let snaptime = reader.take(&["/proc/diskstats"], &mut disks, diskstats);
    let mut whole = Names::default();
    let are_listed = reader.files.list("/sys/block", &mut whole).is_ok();
    disks.rows.retain(|row| is_used(row) && (!are_listed || whole.iter().any(|(name, _)| name == row.device)));
    pass.host.disk = finished(disks.rows, snaptime, reader);
    for zone in &mut pass.zones {
        zone.frame.disk = of_zone(reader, zone, &disks.devices);
    }
}

/// What /proc/diskstats says.
#[derive(Default)]
struct Disks {
    rows: Vec<v1::Disk>,
    devices: Devices,
}

fn diskstats(text: &[u8], disks: &mut Disks) -> Result<(), Malformed> {
    let mut result = Ok(());
    for line in lines(text) {
        match disk_line(line) {
            Some((device, row)) => {
                disks.devices.insert(device, row.device.clone());
                disks.rows.push(row);
            }
            None => result = Err(Malformed("a line is not that of a disk")),
        }
    }
    result
}

/// ` 254       0 vda 69839 25265 10066754 45375 9601 40354 11068312 29852 0 10884 76060 5455 48 1230696 824 204 8`
fn disk_line(line: &[u8]) -> Option<((u64, u64), v1::Disk)> {
    let mut fields = words(line);
    let device = (number(fields.next()?)?, number(fields.next()?)?);
    let mut row = v1::Disk { device: text_of(fields.next()?), ..v1::Disk::default() };
    for (unit, field) in COLUMNS {
        *field(&mut row) = Some(unit.read(fields.next()?)?);
    }
    for (column, word) in LATER_COLUMNS.iter().zip(fields) {
        if let Some((unit, field)) = column {
            *field(&mut row) = Some(unit.read(word)?);
        }
    }
    Some((device, row))
}

/// Loop and memory devices are made by the dozen, and most are never used.
fn is_used(row: &v1::Disk) -> bool {
    let is_spare = ["loop", "ram", "zram", "nbd"].iter().any(|prefix| row.device.starts_with(prefix));
    !is_spare || row.reads != Some(0) || row.writes != Some(0)
}

fn of_zone(reader: &mut Reader<'_>, zone: &Zone<'_>, devices: &Devices) -> Vec<v1::Disk> {
    let Some(dir) = zone.dir(Controller::Blkio) else { return Vec::new() };
    let mut rows = Vec::new();
    if dir.unified {
        let snaptime = reader.take(&dir.file("io.stat"), &mut rows, |text, rows| io_stat(text, devices, rows));
        return finished(rows, snaptime, reader);
    }
    let mut v1 = |files: [&str; 2], table| {
        let mut read = |file| reader.take(&dir.file(file), &mut rows, |text, rows| blkio(text, devices, table, rows));
        read(files[0]).or_else(|| read(files[1]))
    };
    let snaptime = v1(["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"], V1_BYTES);
    v1(["blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"], V1_OPERATIONS);
    finished(rows, snaptime, reader)
}

fn finished(mut rows: Vec<v1::Disk>, snaptime: Option<i64>, reader: &mut Reader<'_>) -> Vec<v1::Disk> {
    reader.tally.drops += rows.len().saturating_sub(MAX_FAMILY_ROWS) as u64;
    rows.truncate(MAX_FAMILY_ROWS);
    for row in &mut rows {
        row.snaptime = snaptime;
    }
    rows
}

/// `254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`; a device that was never used has no pairs.
fn io_stat(text: &[u8], devices: &Devices, rows: &mut Vec<v1::Disk>) -> Result<(), Malformed> {
    let mut result = Ok(());
    for line in lines(text) {
        let mut row = v1::Disk::default();
        let mut is_known = false;
        for word in words(line).skip(1) {
            let Some((name, value)) = split(word, b'=') else { continue };
            let Some((_, unit, field)) = IO_STAT.iter().find(|(known, ..)| known.as_bytes() == name) else { continue };
            match unit.read(value) {
                Some(value) => *field(&mut row) = Some(value),
                None => result = Err(Malformed("a value is not a number")),
            }
            is_known = true;
        }
        if is_known {
            row.device = words(line).next().map(|number| device_name(number, devices)).unwrap_or_default();
            rows.push(row);
        }
    }
    result
}

/// `254:0 Write 52428800`; a last line `Total 52428800`.
fn blkio(text: &[u8], devices: &Devices, table: &Table<v1::Disk>, rows: &mut Vec<v1::Disk>) -> Result<(), Malformed> {
    let mut result = Ok(());
    for line in lines(text) {
        let mut parts = words(line);
        let (Some(device), Some(name), Some(value)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some((_, unit, field)) = table.iter().find(|(known, ..)| known.as_bytes() == name) else { continue };
        let Some(value) = unit.read(value) else {
            result = Err(Malformed("a value is not a number"));
            continue;
        };
        let device = device_name(device, devices);
        let index = rows.iter().position(|row| row.device == device).unwrap_or_else(|| {
            rows.push(v1::Disk { device, ..v1::Disk::default() });
            rows.len() - 1
        });
        *field(&mut rows[index]) = Some(value);
    }
    result
}

/// The name of the device `254:0`, or that.
fn device_name(device: &[u8], devices: &Devices) -> String {
    let numbers = split(device, b':').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    numbers.and_then(|numbers| devices.get(&numbers).cloned()).unwrap_or_else(|| text_of(device))
}

fn split(word: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = word.iter().position(|b| *b == at)?;
    Some((&word[..position], &word[position + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Devices {
        Devices::from([((254, 0), "vda".to_owned())])
    }

    #[test]
    fn diskstats_of_every_age_are_read() {
        let mut disks = Disks::default();
        let text =
            b"   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 254       0 vda 69839 25265 10066754 45375 9601 \
            40354 11068312 29852 1 10884 76060 5455 48 1230696 824 204 8\n   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n";
        diskstats(text, &mut disks).unwrap();
        assert_eq!(disks.devices.len(), 3);
        let vda = &disks.rows[1];
        assert_eq!((vda.nread, vda.nwritten, vda.rcnt), (Some(10_066_754 * 512), Some(11_068_312 * 512), Some(1)));
        assert_eq!((vda.rtime, vda.discards, vda.flushes), (Some(10_884_000_000), Some(5455), Some(204)));
        assert_eq!((disks.rows[2].rlentime, disks.rows[2].discards), (Some(11_000_000), None));
        assert_eq!(disks.rows.iter().map(is_used).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn v2_has_a_line_a_device() {
        let mut rows = Vec::new();
        let text = b"254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n8:16 rbytes=1 cost.usage=3\n";
        io_stat(text, &devices(), &mut rows).unwrap();
        let shown: Vec<_> = rows.iter().map(|r| (r.device.as_str(), r.nread, r.nwritten)).collect();
        assert_eq!(shown, [("vda", Some(4096), Some(8192)), ("8:16", Some(1), None)]);
    }

    #[test]
    fn v1_has_a_line_a_value_and_two_files_make_a_row() {
        let mut rows = Vec::new();
        let bytes = b"254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 8192\n254:0 Total 12288\nTotal 12288\n";
        blkio(bytes, &devices(), V1_BYTES, &mut rows).unwrap();
        blkio(b"254:0 Read 1\n254:0 Write 2\nTotal 3\n", &devices(), V1_OPERATIONS, &mut rows).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].nread, rows[0].nwritten), (Some(4096), Some(8192)));
        assert_eq!((rows[0].reads, rows[0].writes, rows[0].rtime), (Some(1), Some(2), None));
    }
}
