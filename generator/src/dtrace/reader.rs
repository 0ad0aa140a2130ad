//! What a child prints, into intervals: its dialect, its end marks, its bounds.

use super::gather::{Interval, Row};
use super::header::Header;
use super::printed::Printed;
use super::record::{Records, Said};

/// How a program prints its rows.
#[derive(Debug)]
enum Dialect {
    /// In our line protocol.
    Records,
    /// As libdtrace does.
    Printed(Printed),
}

/// Reads the output of one child, line by line.
#[derive(Debug)]
pub struct Reader {
    records: Records,
    dialect: Dialect,
    interval: Interval,
    most_keys: usize,
    /// Lines that were not understood, since they were last asked for.
    noise: u64,
}

impl Reader {
    /// A reader of the output of a program with `header`, or of a built-in one.
    pub fn new(mark: &str, header: Option<&Header>, most_keys: usize) -> Self {
        let dialect = match header {
            Some(header) => Dialect::Printed(Printed::new(header.keys.len(), header.values.len())),
            None => Dialect::Records,
        };
        Reader { records: Records::new(mark), dialect, interval: Interval::default(), most_keys, noise: 0 }
    }

    /// Takes a line; hands out the interval that it ends.
    pub fn line(&mut self, line: &[u8]) -> Option<Interval> {
        let text = String::from_utf8_lossy(line);
        if let Dialect::Printed(printed) = &mut self.dialect
            && !self.records.is_record(&text)
        {
            for row in printed.line(line) {
                self.interval.push(row, self.most_keys);
            }
            return None;
        }
        match self.records.line(&text) {
            Said::Nothing => None,
            Said::Row(row) => {
                self.interval.push(row, self.most_keys);
                None
            }
            Said::Noise => {
                self.noise += 1;
                None
            }
            Said::End => Some(self.finish()),
        }
    }

    /// Ends the interval.
    pub fn finish(&mut self) -> Interval {
        if let Dialect::Printed(printed) = &mut self.dialect {
            let rows: Vec<Row> = printed.finish().collect();
            for row in rows {
                self.interval.push(row, self.most_keys);
            }
        }
        std::mem::take(&mut self.interval)
    }

    /// Lines that were not understood since the last call.
    pub fn take_noise(&mut self) -> u64 {
        let printed = match &mut self.dialect {
            Dialect::Printed(printed) => std::mem::take(&mut printed.noise),
            Dialect::Records => 0,
        };
        printed + std::mem::take(&mut self.noise) + std::mem::take(&mut self.records.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARK: &str = "0123456789ab";

    fn header(keys: usize) -> Header {
        let keys = (0..keys).map(|at| format!("k{at}")).collect();
        Header {
            name: "t".to_owned(),
            keys,
            values: vec![crate::dtrace::header::ValueSpec {
                name: "v".to_owned(),
                unit: String::new(),
                kind: zonescope_proto::v1::Kind::Delta,
            }],
            interval_s: 1,
        }
    }

    #[test]
    fn an_interval_is_taken_whole_at_its_end_mark() {
        let mut reader = Reader::new(MARK, None, 10);
        assert_eq!(reader.line(b"\x1e0123456789ab\x1fticks\x1f97\x1f."), None);
        let interval = reader.line(b"\x1e0123456789ab\x1fend\x1f.").unwrap();
        assert_eq!(interval.rows, [Row::Ticks(97)]);
        assert!(reader.finish().is_empty());
    }

    #[test]
    fn users_programs_end_their_intervals_with_our_mark_too() {
        let mut reader = Reader::new(MARK, Some(&header(1)), 10);
        assert_eq!(reader.line(b"  read                                                             12"), None);
        assert_eq!(reader.line(b"\x1e0123456789ab\x1fend\x1f.").unwrap().rows.len(), 1);
        // Nobody else's: without the mark it is a line like any other.
        assert_eq!(reader.line(b"\x1eba9876543210\x1fend\x1f."), None);
    }

    /// Lines that look like what a program might print.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..120),
            "[ ]{0,3}[a-z0-9<>=|@ -]{0,60}".prop_map(String::into_bytes),
            "\u{1e}0123456789ab\u{1f}(oncpu|ticks|event|dist|end|alive)(\u{1f}[a-z0-9#=-]{0,6}){0,9}(\u{1f}\\.?)?"
                .prop_map(String::into_bytes),
            "[ ]{9,14}(-?[0-9]{1,19}|< [0-9]{1,9}|>= [0-9]{1,9}) \\|@{0,40} +-?[0-9]{1,19}"
                .prop_map(String::into_bytes),
            Just(b"           value  ------------- Distribution ------------- count    ".to_vec()),
            "  [a-z ]{0,50} +[0-9]{1,17}".prop_map(String::into_bytes),
            "[ ]{14}[a-z]{1,9}`[a-z]{1,9}\\+0x1".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn no_line_panics_and_no_interval_outgrows_its_keys(lines in prop::collection::vec(line(), 0..200), keys in 0usize..5, built_in in any::<bool>()) {
            let header = header(keys);
            let mut reader = Reader::new(MARK, (!built_in).then_some(&header), 16);
            for line in &lines {
                if let Some(interval) = reader.line(line) {
                    prop_assert!(interval.rows.len() <= 16);
                }
            }
            prop_assert!(reader.finish().rows.len() <= 16);
        }
    }
}
