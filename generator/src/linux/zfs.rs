//! Families `arc` and `zpool`: OpenZFS keeps its kstats in /proc/spl/kstat/zfs, where it is loaded.
//!
//! A pool's `io` is there up to OpenZFS 2.0; later versions have no I/O of a whole pool, and there is no row.

use zonescope_proto::v1;

use super::Pass;
use super::files::Names;
use super::limits::MAX_FAMILY_ROWS;
use super::parse::{Malformed, Table, Unit, lines, number, words};
use super::reader::is_absent;

const KSTATS: &str = "/proc/spl/kstat/zfs";

const ARCSTATS: &Table<v1::Arc> = &[
    ("size", Unit::Same, |a| &mut a.size),
    ("c", Unit::Same, |a| &mut a.c),
    ("p", Unit::Same, |a| &mut a.p),
    ("c_min", Unit::Same, |a| &mut a.c_min),
    ("c_max", Unit::Same, |a| &mut a.c_max),
    ("hits", Unit::Same, |a| &mut a.hits),
    ("misses", Unit::Same, |a| &mut a.misses),
    ("demand_data_hits", Unit::Same, |a| &mut a.demand_data_hits),
    ("demand_data_misses", Unit::Same, |a| &mut a.demand_data_misses),
    ("demand_metadata_hits", Unit::Same, |a| &mut a.demand_metadata_hits),
    ("demand_metadata_misses", Unit::Same, |a| &mut a.demand_metadata_misses),
    ("prefetch_data_hits", Unit::Same, |a| &mut a.prefetch_data_hits),
    ("prefetch_data_misses", Unit::Same, |a| &mut a.prefetch_data_misses),
    ("mru_hits", Unit::Same, |a| &mut a.mru_hits),
    ("mru_ghost_hits", Unit::Same, |a| &mut a.mru_ghost_hits),
    ("mfu_hits", Unit::Same, |a| &mut a.mfu_hits),
    ("mfu_ghost_hits", Unit::Same, |a| &mut a.mfu_ghost_hits),
    ("l2_hits", Unit::Same, |a| &mut a.l2_hits),
    ("l2_misses", Unit::Same, |a| &mut a.l2_misses),
    ("l2_size", Unit::Same, |a| &mut a.l2_size),
    ("memory_throttle_count", Unit::Same, |a| &mut a.memory_throttle_count),
];

const IO: &Table<v1::Zpool> = &[
    ("nread", Unit::Same, |z| &mut z.nread),
    ("nwritten", Unit::Same, |z| &mut z.nwritten),
    ("reads", Unit::Same, |z| &mut z.reads),
    ("writes", Unit::Same, |z| &mut z.writes),
    ("wtime", Unit::Same, |z| &mut z.wtime),
    ("wlentime", Unit::Same, |z| &mut z.wlentime),
    ("rtime", Unit::Same, |z| &mut z.rtime),
    ("rlentime", Unit::Same, |z| &mut z.rlentime),
    ("wcnt", Unit::Same, |z| &mut z.wcnt),
    ("rcnt", Unit::Same, |z| &mut z.rcnt),
];

pub(super) fn read(pass: &mut Pass<'_>) {
    let reader = &mut pass.reader;
    let mut names = Names::default();
    match reader.files.list(KSTATS, &mut names) {
        Ok(()) => {}
        Err(error) if is_absent(&error) => return,
        Err(error) => return reader.tally.fail(format!("cannot list {KSTATS}: {error}")),
    }
    let mut arc = v1::Arc::default();
    arc.snaptime = reader.take(&[KSTATS, "/arcstats"], &mut arc, arcstats);
    pass.host.arc = arc.snaptime.map(|_| arc);
    for pool in names.directories().take(MAX_FAMILY_ROWS) {
        let mut row = v1::Zpool { pool: pool.to_owned(), ..v1::Zpool::default() };
        row.snaptime = reader.take(&[KSTATS, "/", pool, "/io"], &mut row, io);
        if row.snaptime.is_some() {
            pass.host.zpool.push(row);
        }
    }
}

/// Two lines of heading, then `hits                            4    123`.
fn arcstats(text: &[u8], row: &mut v1::Arc) -> Result<(), Malformed> {
    for line in lines(text).skip(2) {
        let mut fields = words(line);
        let (Some(name), _, Some(value)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let Some((_, _, field)) = ARCSTATS.iter().find(|(known, ..)| known.as_bytes() == name) else { continue };
        *field(row) = Some(number(value).ok_or(Malformed("a value is not a number"))?);
    }
    Ok(())
}

/// A line of heading, a line of names, a line of values.
fn io(text: &[u8], row: &mut v1::Zpool) -> Result<(), Malformed> {
    let mut rest = lines(text).skip(1);
    let (Some(names), Some(values)) = (rest.next(), rest.next()) else { return Err(Malformed("no values")) };
    for (name, value) in words(names).zip(words(values)) {
        let Some((_, unit, field)) = IO.iter().find(|(known, ..)| known.as_bytes() == name) else { continue };
        *field(row) = Some(unit.read(value).ok_or(Malformed("a value is not a number"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arcstats_are_a_kstat_in_text() {
        let mut row = v1::Arc::default();
        let text = b"13 1 0x01 147 39984 15391216915 2861573925911\nname                            type data\n\
            hits                            4    27436134\nmisses                          4    1123\nc                               4    4294967296\n";
        arcstats(text, &mut row).unwrap();
        assert_eq!((row.hits, row.misses, row.c, row.p), (Some(27_436_134), Some(1123), Some(4_294_967_296), None));
    }

    #[test]
    fn a_pool_s_io_is_two_lines_of_columns() {
        let mut row = v1::Zpool::default();
        let text = b"12 3 0x00 1 80 13159418014 1031834123\n\
            nread    nwritten reads    writes   wtime    wlentime wupdate  rtime    rlentime rupdate  wcnt     rcnt    \n\
            1884160  3206144  83       201      9        8        7        6        5        4        3        2       \n";
        io(text, &mut row).unwrap();
        assert_eq!((row.nread, row.writes, row.rlentime, row.rcnt), (Some(1_884_160), Some(201), Some(5), Some(2)));
        assert!(io(b"12 3\nnread\n", &mut row).is_err());
    }
}
