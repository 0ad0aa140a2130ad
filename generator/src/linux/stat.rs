//! /proc/<pid>/stat: one process in one line.

use super::parse::{number, words};

/// What a process's line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) ppid: u64,
    pub(super) minflt: u64,
    pub(super) majflt: u64,
    /// In clock ticks.
    pub(super) utime: u64,
    pub(super) stime: u64,
    pub(super) threads: u64,
    /// In clock ticks since the host started.
    pub(super) starttime: u64,
    /// In bytes.
    pub(super) vsize: u64,
    /// In pages.
    pub(super) rss: u64,
}

/// Reads the line, and the program's name, which may hold blanks and parentheses.
pub(super) fn parse(text: &[u8]) -> Option<(&[u8], Stat)> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let name = text.get(open + 1..close)?;
    let mut fields = words(&text[close + 1..]);
    let state = *fields.next()?.first()?;
    let mut stat = Stat { state, ..Stat::default() };
    // Numbered as in proc(5), where the state is field 3.
    for (field, word) in (4..=24).zip(fields.by_ref()) {
        let slot = match field {
            4 => &mut stat.ppid,
            10 => &mut stat.minflt,
            12 => &mut stat.majflt,
            14 => &mut stat.utime,
            15 => &mut stat.stime,
            20 => &mut stat.threads,
            22 => &mut stat.starttime,
            23 => &mut stat.vsize,
            24 => {
                stat.rss = number(word)?;
                return Some((name, stat));
            }
            _ => continue,
        };
        *slot = number(word)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"1 (init) S 0 0 0 0 -1 4194560 38269 22819635 7 1017 101 470 126358 8127 10 -10 13 0 24 \
        45588480 3667 18446744073709551615 1 1 0 0 0 0 0 4096 1256 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn the_fields_are_those_of_proc_5() {
        let (name, stat) = parse(LINE).unwrap();
        let expected = Stat {
            state: b'S',
            ppid: 0,
            minflt: 38269,
            majflt: 7,
            utime: 101,
            stime: 470,
            threads: 13,
            starttime: 24,
            vsize: 45_588_480,
            rss: 3667,
        };
        assert_eq!((name, stat), (&b"init"[..], expected));
    }

    #[test]
    fn a_program_may_be_called_anything() {
        let line = b"7 (a) R 1 (b\n) R 1 0 0 0 0 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n";
        let (name, stat) = parse(line).unwrap();
        assert_eq!((name, stat.ppid, stat.rss), (&b"a) R 1 (b\n"[..], 1, 15));
        assert_eq!(parse(b"7 (a) R 1 2\n"), None);
        assert_eq!(parse(b")("), None);
        assert_eq!(parse(b""), None);
    }
}
