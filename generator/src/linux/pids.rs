//! Family `pids`: how many processes and threads a zone has, and may have.

use zonescope_proto::v1;

use super::Pass;
use super::hierarchy::Controller;
use super::parse::{Malformed, Table, Unit, keyed, number, single, words};
use super::reader::Reader;
use super::zone::{Census, Zone};

const EVENTS: &Table<v1::Pids> = &[("max", Unit::Same, |p| &mut p.events_max)];

pub(super) fn read(pass: &mut Pass<'_>) {
    // A host has processes: none says that they could not be counted.
    let is_known = pass.host_census.processes > 0;
    pass.host.pids = Some(of_host(&mut pass.reader, pass.host_census)).filter(|_| is_known);
    for zone in &mut pass.zones {
        zone.frame.pids = of_zone(&mut pass.reader, zone, is_known);
    }
}

fn of_host(reader: &mut Reader<'_>, census: Census) -> v1::Pids {
    let mut row = v1::Pids { processes: Some(census.processes), threads: Some(census.threads), ..v1::Pids::default() };
    reader.take(&["/proc/loadavg"], &mut row, loadavg);
    let max = |text: &[u8], row: &mut v1::Pids| single(text, Unit::Same, |p| &mut p.pids_max, row);
    reader.take(&["/proc/sys/kernel/pid_max"], &mut row, max);
    row
}

fn of_zone(reader: &mut Reader<'_>, zone: &Zone<'_>, is_known: bool) -> Option<v1::Pids> {
    let Census { processes, threads, .. } = zone.census;
    let mut row = v1::Pids {
        processes: is_known.then_some(processes),
        threads: is_known.then_some(threads),
        ..v1::Pids::default()
    };
    let mut has_controller = false;
    if let Some(dir) = zone.dir(Controller::Pids) {
        let current = |text: &[u8], row: &mut v1::Pids| single(text, Unit::Same, |p| &mut p.threads, row);
        let max = |text: &[u8], row: &mut v1::Pids| single(text, Unit::Limit, |p| &mut p.pids_max, row);
        has_controller = reader.take(&dir.file("pids.current"), &mut row, current).is_some();
        if has_controller {
            reader.take(&dir.file("pids.max"), &mut row, max);
            reader.take(&dir.file("pids.events"), &mut row, |text, row| keyed(text, EVENTS, row));
        }
    }
    (is_known || has_controller).then_some(row)
}

/// `2.04 1.61 1.16 4/101 14052`: of 101 threads 4 can run.
fn loadavg(text: &[u8], row: &mut v1::Pids) -> Result<(), Malformed> {
    let threads = words(text).nth(3).and_then(|word| number(word.rsplit(|b| *b == b'/').next()?));
    row.threads = Some(threads.ok_or(Malformed("no count of threads"))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_threads_are_in_its_load_average() {
        let mut row = v1::Pids::default();
        loadavg(b"2.04 1.61 1.16 4/101 14052\n", &mut row).unwrap();
        assert_eq!(row.threads, Some(101));
        assert!(loadavg(b"2.04 1.61\n", &mut row).is_err());
    }

    #[test]
    fn refused_forks_are_counted_by_both_versions_alike() {
        let mut row = v1::Pids::default();
        keyed(b"max 3\nmax.imposed 9\n", EVENTS, &mut row).unwrap();
        single(b"max\n", Unit::Limit, |p: &mut v1::Pids| &mut p.pids_max, &mut row).unwrap();
        assert_eq!((row.events_max, row.pids_max), (Some(3), Some(u64::MAX)));
    }
}
