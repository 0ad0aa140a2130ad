//! What libdtrace prints by itself: aggregations printed with `printa(@a)`, `printa(@a, @b)`, or at exit.
//!
//! ```text
//!   zfs                                                      12               45
//! ```
//!
//! A line holds the keys, then one value of each aggregation. String keys are padded to 50 bytes after two blanks and
//! come out raw, blanks and newlines and all; integers take 8 or 16 columns after one blank; values take 16 after one.
//! A distribution's table follows the line of its keys. A stack is a line a frame, 14 blanks deep, and its value stands
//! on a line of its own.
//!
//! How many keys and values there are, the header of the program says ([`super::header`]). Where splitting at blanks gives
//! just as many words, that is the row. Where a string holds blanks, or nothing, the columns tell.

use super::gather::{Number, Row};
use super::limits::{MAX_LINE_BYTES, MAX_RECORD_LINES};
use super::table::{Table, is_head};

const FRAME_INDENT: usize = 14;
const STRING_WIDTH: usize = 50;

/// Reads the rows of aggregations that have `keys` keys and `values` values.
#[derive(Debug)]
pub struct Printed {
    keys: usize,
    values: usize,
    /// Lines of a row that is not whole yet: keys of a table, or a key with a newline in it.
    open: Vec<u8>,
    open_lines: usize,
    stack: Vec<String>,
    table: Option<(Vec<String>, Table)>,
    /// Rows that are whole.
    ready: Vec<Row>,
    /// Lines that are no part of a row, and rows of tables that were left out.
    pub noise: u64,
}

impl Printed {
    /// A reader of rows of so many keys and values.
    pub fn new(keys: usize, values: usize) -> Self {
        Printed {
            keys,
            values,
            open: Vec::new(),
            open_lines: 0,
            stack: Vec::new(),
            table: None,
            ready: Vec::new(),
            noise: 0,
        }
    }

    /// Takes one line; hands out the rows that it completes.
    pub fn line(&mut self, line: &[u8]) -> std::vec::Drain<'_, Row> {
        let text = String::from_utf8_lossy(line);
        let goes_on = self.table.as_mut().is_some_and(|(_, table)| table.row(&text));
        if !goes_on {
            self.close_table();
            if is_head(&text) {
                self.open_table();
            } else if text.trim().is_empty() && !self.is_inside_key(line) {
                self.forget();
            } else if let Some(frame) = frame(&text).filter(|_| self.keys > 0) {
                self.stack.push(frame.to_owned());
            } else {
                self.row(line);
            }
        }
        self.ready.drain(..)
    }

    /// The interval is over: hands out what was still open.
    pub fn finish(&mut self) -> std::vec::Drain<'_, Row> {
        self.close_table();
        self.forget();
        self.ready.drain(..)
    }

    /// An empty line ends a row, unless it is the middle of a string key that holds two newlines.
    fn is_inside_key(&self, line: &[u8]) -> bool {
        line.is_empty() && !self.open.is_empty() && self.open.len() < STRING_WIDTH
    }

    fn row(&mut self, line: &[u8]) {
        let keys = if self.stack.is_empty() { self.keys } else { self.keys - 1 };
        let between: &[u8] = if self.open.is_empty() || !self.stack.is_empty() { b"" } else { b"\n" };
        let joined = [&self.open[..], between, line].concat();
        if let Some((keys, values)) = split(&joined, keys, self.values) {
            self.push(keys, values);
        } else if let Some((keys, values)) = split(line, keys, self.values).filter(|_| !self.open.is_empty()) {
            // What came before was no part of it.
            self.noise += 1;
            self.push(keys, values);
        } else {
            self.open = joined;
            self.open_lines += 1;
            if self.open_lines >= MAX_RECORD_LINES || self.open.len() > MAX_LINE_BYTES {
                self.forget();
            }
        }
    }

    fn push(&mut self, mut keys: Vec<String>, values: Vec<Number>) {
        if !self.stack.is_empty() {
            keys.push(std::mem::take(&mut self.stack).join(";"));
        }
        self.ready.push(Row::Printed { keys, values });
        self.open.clear();
        self.open_lines = 0;
    }

    fn open_table(&mut self) {
        let line = std::mem::take(&mut self.open);
        self.open_lines = 0;
        let keys = if self.keys == 0 { Some(Vec::new()) } else { split(&line, self.keys, 0).map(|(keys, _)| keys) };
        match keys {
            Some(keys) => self.table = Some((keys, Table::default())),
            None => {
                self.noise += 1;
                self.table = None;
            }
        }
    }

    fn close_table(&mut self) {
        if let Some((keys, table)) = self.table.take() {
            let (buckets, lost) = table.finish();
            self.noise += lost;
            self.ready.push(Row::PrintedTable { keys, buckets });
        }
    }

    fn forget(&mut self) {
        if !self.open.is_empty() || !self.stack.is_empty() {
            self.noise += 1;
        }
        self.open.clear();
        self.open_lines = 0;
        self.stack.clear();
    }
}

/// A frame of a stack: ``module`function+0x1f``, or a bare address.
fn frame(line: &str) -> Option<&str> {
    let frame = line.get(FRAME_INDENT..)?;
    let blank = line[..FRAME_INDENT].bytes().all(|b| b == b' ');
    let frame = frame.trim_end();
    (blank && (frame.contains('`') || frame.starts_with("0x")) && !frame.starts_with(' ')).then_some(frame)
}

/// Splits a row into its keys and values.
fn split(line: &[u8], keys: usize, values: usize) -> Option<(Vec<String>, Vec<Number>)> {
    let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let (left, numbers) = words.split_at_checked(words.len().checked_sub(values)?)?;
    let numbers =
        numbers.iter().map(|word| Number::parse(std::str::from_utf8(word).ok()?)).collect::<Option<Vec<_>>>()?;
    if left.len() == keys && !line.contains(&b'\n') {
        return Some((left.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect(), numbers));
    }
    // Cut the values off: 17 columns each, or more where a number is wider.
    let mut end = line.len();
    for _ in 0..values {
        end = line[..end].iter().rposition(|b| !b.is_ascii_whitespace())? + 1;
        let start = line[..end].iter().rposition(u8::is_ascii_whitespace)? + 1;
        end = end.saturating_sub(17).min(start.saturating_sub(1));
    }
    let mut found = Vec::with_capacity(keys);
    columns(&line[..end], keys, values == 0, &mut found).then_some((found, numbers))
}

/// Cuts `line` into `keys` columns. `loose`: blanks may be left at the end.
fn columns(line: &[u8], keys: usize, loose: bool, found: &mut Vec<String>) -> bool {
    if keys == 0 {
        return line.is_empty() || (loose && line.iter().all(|b| *b == b' '));
    }
    for width in [9, 17, 2 + STRING_WIDTH] {
        let Some((column, rest)) = line.split_at_checked(width) else { continue };
        let text = String::from_utf8_lossy(column);
        let fits = if width > 17 { column.starts_with(b"  ") } else { Number::parse(text.trim_start()).is_some() };
        if fits {
            let key = if width > 17 { text[2..].trim_end_matches(' ') } else { text.trim_start() };
            found.push(key.to_owned());
            if columns(rest, keys - 1, loose, found) {
                return true;
            }
            found.pop();
        }
    }
    // A string longer than its column, and the last key.
    if keys == 1 && line.len() > 2 + STRING_WIDTH && line.starts_with(b"  ") {
        found.push(String::from_utf8_lossy(&line[2..]).trim_end_matches(' ').to_owned());
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtrace::table::Bucket;

    fn read(text: &[u8], keys: usize, values: usize) -> (Vec<Row>, u64) {
        let (mut printed, mut rows) = (Printed::new(keys, values), Vec::new());
        for line in text.split(|b| *b == b'\n') {
            rows.extend(printed.line(line));
        }
        rows.extend(printed.finish());
        (rows, printed.noise)
    }

    fn row(keys: &[&str], values: &[i64]) -> Row {
        let number = |value: &i64| u64::try_from(*value).map_or(Number::Int(*value), Number::Uint);
        Row::Printed {
            keys: keys.iter().map(ToString::to_string).collect(),
            values: values.iter().map(number).collect(),
        }
    }

    fn table(keys: &[&str], buckets: &[(i64, i64, u64)]) -> Row {
        let bucket = |&(lower, upper, count): &(i64, i64, u64)| Bucket { lower, upper, count };
        Row::PrintedTable {
            keys: keys.iter().map(ToString::to_string).collect(),
            buckets: buckets.iter().map(bucket).collect(),
        }
    }

    #[test]
    fn keys_of_several_types() {
        let text = include_bytes!("../../fixtures/dtrace/28-default-count-keys.out");
        assert_eq!(read(text, 3, 1), (vec![row(&["zzz", "-1", "1"], &[1]), row(&["abc", "12", "-3"], &[2])], 0));
    }

    #[test]
    fn several_aggregations_with_missing_keys_and_negative_sums() {
        let text = include_str!("../../fixtures/dtrace/07-multi-agg-printa.out");
        let printed = text.split_once("\n\n").unwrap().1;
        let rows = vec![row(&["c", "3"], &[0, -7, 0]), row(&["b", "2"], &[1, 0, 0]), row(&["a", "1"], &[1, 10, 3])];
        assert_eq!(read(printed.as_bytes(), 2, 3), (rows, 0));
    }

    #[test]
    fn tables_belong_to_the_keys_above_them_even_with_blanks_in_them() {
        let text = include_str!("../../fixtures/dtrace/03-default-quantize-keys.out");
        let printed = text.split_once("\n\n").unwrap().1;
        let rows = vec![
            table(&["a b c", "3"], &[(-15, -7, 1)]),
            table(&["write", "2"], &[(0, 1, 1)]),
            table(&["read", "1"], &[(4, 8, 1), (4096, 8192, 1)]),
        ];
        assert_eq!(read(printed.as_bytes(), 2, 1), (rows, 0));
    }

    #[test]
    fn a_table_without_keys() {
        let (rows, noise) = read(include_bytes!("../../fixtures/dtrace/05-llquantize.out"), 0, 1);
        assert_eq!((rows.len(), noise), (2, 0));
    }

    #[test]
    fn the_latency_of_system_calls_on_a_real_machine() {
        let (rows, noise) = read(include_bytes!("../../fixtures/dtrace/31-quantize-syscall-latency.out"), 2, 1);
        assert_eq!((rows.len(), noise), (6, 0), "{rows:?}");
        let Row::PrintedTable { keys, buckets } = &rows[0] else { panic!() };
        assert_eq!((keys[1].as_str(), buckets.iter().map(|b| b.count).sum::<u64>()), ("read", 630));
    }

    #[test]
    fn stacks_are_one_key_the_frames_joined() {
        let (rows, noise) = read(include_bytes!("../../fixtures/dtrace/08-stack-keys.out"), 1, 1);
        assert_eq!((rows.len(), noise), (3, 0));
        assert_eq!(rows[2], row(&["vmlinux`exc_page_fault+0xd7;vmlinux`asm_exc_page_fault+0x22"], &[5]));
        let (rows, noise) = read(include_bytes!("../../fixtures/dtrace/09-ustack-keys.out"), 2, 1);
        assert_eq!((rows.len(), noise), (3, 0), "{rows:?}");
        assert_eq!(rows[1], row(&["23905", "libpython3.11.so.1.0`gc_collect_main+0xd53;0x1"], &[19]));
    }

    #[test]
    fn raw_strings_with_newlines_blanks_and_nothing_in_them() {
        let line = |keys: &[&str], value: u64| {
            keys.iter().map(|key| format!("  {key:<50}")).collect::<String>() + &format!(" {value:>16}\n")
        };
        let text = line(&["new\nline", "\u{fc}n\u{ef}", ""], 1).replace("\u{fc}n\u{ef}  ", "\u{fc}n\u{ef}")
            + &line(&["sp ace", "tab\there", "quote\"q"], 2);
        let rows =
            vec![row(&["new\nline", "\u{fc}n\u{ef}", ""], &[1]), row(&["sp ace", "tab\there", "quote\"q"], &[2])];
        assert_eq!(read(text.as_bytes(), 3, 1), (rows, 0));
    }

    #[test]
    fn an_empty_aggregation_prints_a_blank_line_and_a_cleared_one_zeros() {
        assert_eq!(read(b"\n", 0, 1), (vec![], 0));
        assert_eq!(read(b"\n                0\n", 0, 1), (vec![row(&[], &[0])], 0));
    }

    #[test]
    fn what_is_no_row_is_counted() {
        let text = "free text of a printf\n\n  a                                                         2                3\n\nmore\n";
        let (rows, noise) = read(text.as_bytes(), 2, 1);
        assert_eq!((rows, noise), (vec![row(&["a", "2"], &[3])], 2));
    }
}
