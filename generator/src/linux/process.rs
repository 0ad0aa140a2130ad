//! Family `process`: the largest processes of each zone.
//!
//! | file | fields |
//! |---|---|
//! | stat | everything but what follows |
//! | status | uid |
//! | io | read_bytes, write_bytes, ioch |
//! | schedstat | nsec_waitrq |
//! | fd | files |
//!
//! Of a process that the generator may not look into (another user's, where it is not root; one that the kernel
//! protects) the last ones are absent. A process that ends while it is read is absent.

use std::io;

use zonescope_proto::v1;

use super::Pass;
use super::files::Names;
use super::parse::{Malformed, Table, Unit, keyed, number, text_of, words};
use super::reader::{Reader, is_absent};
use super::roster::{self, Process};
use crate::top::{Ranked, largest};

const IO: &Table<v1::Process> =
    &[("read_bytes", Unit::Same, |p| &mut p.read_bytes), ("write_bytes", Unit::Same, |p| &mut p.write_bytes)];

pub(super) fn read(pass: &mut Pass<'_>) {
    if !pass.roster.call(&mut pass.reader, &pass.zones, &pass.places) {
        return;
    }
    pass.host_census = roster::census(&pass.roster.processes, &mut pass.zones);
    let chosen = largest(&pass.roster.processes, pass.top);
    let mut names = Names::default();
    for index in chosen {
        let process = &pass.roster.processes[index];
        let mut row = of_stat(process, pass.roster.name(process), &pass.reader, pass.boot_time_ns);
        if details(&mut pass.reader, &mut row, &mut names) {
            let frame = process.zone.map_or(&mut pass.host, |zone| &mut pass.zones[zone].frame);
            frame.process.push(row);
        }
    }
}

impl Ranked for Process {
    type Zone = Option<usize>;

    fn zone(&self) -> Option<usize> {
        self.zone
    }
    fn pid(&self) -> u32 {
        self.pid
    }
    fn used(&self) -> u64 {
        self.used
    }
    fn rss(&self) -> u64 {
        self.stat.rss
    }
}

/// The row of a process as far as its line tells.
fn of_stat(process: &Process, name: &[u8], reader: &Reader<'_>, boot_time_ns: u64) -> v1::Process {
    let stat = &process.stat;
    v1::Process {
        pid: u64::from(process.pid),
        start_time: boot_time_ns.saturating_add(reader.ticks_ns(stat.starttime)),
        execname: text_of(name),
        ppid: Some(stat.ppid),
        state: Some(char::from(stat.state).to_string()),
        threads: Some(stat.threads),
        nsec_user: Some(reader.ticks_ns(stat.utime)),
        nsec_sys: Some(reader.ticks_ns(stat.stime)),
        rss: Some(stat.rss.saturating_mul(reader.facts.page_bytes)),
        vsize: Some(stat.vsize),
        minf: Some(stat.minflt),
        majf: Some(stat.majflt),
        ..v1::Process::default()
    }
}

/// Adds what costs more to read. False where the process has ended.
fn details(reader: &mut Reader<'_>, row: &mut v1::Process, names: &mut Names) -> bool {
    let pid = row.pid.to_string();
    if reader.take_of_process(&pid, "/status", row, status).is_none() {
        return false;
    }
    reader.take_of_process(&pid, "/io", row, io);
    reader.take_of_process(&pid, "/schedstat", row, schedstat);
    row.files = open_files(reader, &pid, names);
    true
}

/// The line `Uid:` has the real, effective, saved and file system user.
fn status(text: &[u8], row: &mut v1::Process) -> Result<(), Malformed> {
    let mut ids = super::parse::lines(text).find_map(|line| line.strip_prefix(b"Uid:")).map(words);
    let effective = ids.as_mut().and_then(|ids| ids.nth(1));
    row.uid = Some(effective.and_then(number).ok_or(Malformed("no Uid"))?);
    Ok(())
}

fn io(text: &[u8], row: &mut v1::Process) -> Result<(), Malformed> {
    #[derive(Default)]
    struct Characters {
        read: Option<u64>,
        written: Option<u64>,
    }
    const CHARACTERS: &Table<Characters> =
        &[("rchar", Unit::Same, |c| &mut c.read), ("wchar", Unit::Same, |c| &mut c.written)];
    let mut characters = Characters::default();
    let result = keyed(text, CHARACTERS, &mut characters);
    row.ioch = characters.read.zip(characters.written).map(|(read, written)| read.saturating_add(written));
    keyed(text, IO, row).and(result)
}

/// `running waiting slices`, of the main thread, in ns.
fn schedstat(text: &[u8], row: &mut v1::Process) -> Result<(), Malformed> {
    row.nsec_waitrq = Some(words(text).nth(1).and_then(number).ok_or(Malformed("no waiting time"))?);
    Ok(())
}

/// How many files it has open: the size of the directory since Linux 6.2, before that its entries.
fn open_files(reader: &mut Reader<'_>, pid: &str, names: &mut Names) -> Option<u64> {
    let path = reader.join(&["/proc/", pid, "/fd"]).to_owned();
    if let Ok(node) = reader.files.node(&path)
        && node.bytes > 0
    {
        return Some(node.bytes);
    }
    match reader.files.list(&path, names) {
        Ok(()) => Some(names.len() as u64),
        Err(error) => {
            if !is_absent(&error) && error.kind() != io::ErrorKind::PermissionDenied {
                reader.tally.fail(format!("cannot list {path}: {error}"));
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_read_from_captured_text() {
        let mut row = v1::Process::default();
        status(b"Name:\tcat\nUid:\t1000\t0\t1000\t1000\nGid:\t0\t0\t0\t0\n", &mut row).unwrap();
        io(b"rchar: 6976\nwchar: 24\nsyscr: 10\nsyscw: 0\nread_bytes: 4096\nwrite_bytes: 0\n", &mut row).unwrap();
        schedstat(b"179479581 7825336 404\n", &mut row).unwrap();
        assert_eq!((row.uid, row.ioch, row.read_bytes), (Some(0), Some(7000), Some(4096)));
        assert_eq!((row.write_bytes, row.nsec_waitrq), (Some(0), Some(7_825_336)));
        assert!(status(b"Name:\tcat\n", &mut row).is_err());
    }
}
