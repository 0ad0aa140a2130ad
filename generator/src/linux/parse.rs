//! Reads the few shapes of text that the kernel prints. Total: any bytes give a value, nothing, or [`Malformed`].

use zonescope_proto::limits::MAX_TEXT_BYTES;

use super::limits::V1_UNLIMITED;

/// A text is not what it should be; what could be read of it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// A field of a row.
pub(super) type Field<R> = fn(&mut R) -> &mut Option<u64>;

/// Which statistic of a file is which field of a row.
pub(super) type Table<R> = [(&'static str, Unit, Field<R>)];

/// How a number becomes the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// As it is.
    Same,
    /// Times this.
    Times(u64),
    /// Divided by this.
    Per(u64),
    /// A limit: `max` and cgroup v1's largest number are none.
    Limit,
}

impl Unit {
    pub(super) fn read(self, word: &[u8]) -> Option<u64> {
        match self {
            Unit::Same => number(word),
            Unit::Times(by) => number(word).map(|n| n.saturating_mul(by)),
            Unit::Per(by) => number(word).map(|n| n / by.max(1)),
            Unit::Limit => limit(word),
        }
    }
}

/// The lines that are not empty.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A number in digits that fits.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A limit; none is 18446744073709551615.
fn limit(word: &[u8]) -> Option<u64> {
    if word == b"max" {
        return Some(u64::MAX);
    }
    number(word).map(|n| if n >= V1_UNLIMITED { u64::MAX } else { n })
}

/// A decimal number such as a load average, times `by`.
pub(super) fn decimal_times(word: &[u8], by: u64) -> Option<u64> {
    let mut parts = word.splitn(2, |b| *b == b'.');
    let (whole, fraction) = (number(parts.next()?)?, parts.next().unwrap_or(b"0"));
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let value = whole.checked_mul(scale)?.checked_add(number(fraction)?)?;
    Some((value.checked_mul(by)? + scale / 2) / scale)
}

/// Lines of a name and a number, apart by blanks, colons or both: `anon 4096`, `MemTotal:  24684084 kB`.
pub(super) fn keyed<R>(text: &[u8], table: &Table<R>, row: &mut R) -> Result<(), Malformed> {
    let mut result = Ok(());
    for line in lines(text) {
        let end = line.iter().position(|b| matches!(b, b' ' | b':' | b'\t')).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let Some((_, unit, field)) = table.iter().find(|(known, ..)| known.as_bytes() == name) else { continue };
        let value = rest.trim_ascii_start().strip_prefix(b":").unwrap_or(rest);
        match words(value).next().and_then(|word| unit.read(word)) {
            Some(value) => *field(row) = Some(value),
            None => result = Err(Malformed("a value is not a number")),
        }
    }
    result
}

/// A file of one number.
pub(super) fn single<R>(text: &[u8], unit: Unit, field: Field<R>, row: &mut R) -> Result<(), Malformed> {
    *field(row) = Some(unit.read(text.trim_ascii()).ok_or(Malformed("the content is not a number"))?);
    Ok(())
}

/// Ranges of numbers as the kernel lists CPUs, `0-3,8`: how many they name.
pub(super) fn count_ranges(text: &[u8]) -> Option<u64> {
    text.trim_ascii().split(|b| *b == b',').try_fold(0u64, |count, range| {
        let mut ends = range.splitn(2, |b| *b == b'-');
        let first = number(ends.next()?)?;
        let last = ends.next().map_or(Some(first), number)?;
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Bytes as text that fits a field: what is not UTF-8 is replaced, what is too long cut.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT_BYTES)]).into_owned();
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"18446744073709551616", b"-1", b"+1", b"1.5", b"0x1", b"1 "] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_limit_of_either_version_that_is_none_is_the_largest_number() {
        assert_eq!(limit(b"max"), Some(u64::MAX));
        assert_eq!(limit(b"9223372036854771712"), Some(u64::MAX));
        assert_eq!(limit(b"9223372036854710272"), Some(u64::MAX), "with pages of 64 KB");
        assert_eq!(limit(b"536870912"), Some(536_870_912));
        assert_eq!(limit(b"-1"), None);
    }

    #[test]
    fn load_averages_are_rounded_to_the_nearest_256th() {
        assert_eq!(decimal_times(b"2.04", 256), Some(522));
        assert_eq!(decimal_times(b"0.00", 256), Some(0));
        assert_eq!(decimal_times(b"17", 256), Some(17 * 256));
        assert_eq!(decimal_times(b"1.2.3", 256), None);
        assert_eq!(decimal_times(b"1.99999999999999999999999", 256), None);
    }

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(count_ranges(b"0-1\n"), Some(2));
        assert_eq!(count_ranges(b"0,2-3,8-15"), Some(11));
        assert_eq!(count_ranges(b"3-1"), None);
        assert_eq!(count_ranges(b"\n"), None);
    }

    #[derive(Debug, Default, PartialEq)]
    struct Row {
        total: Option<u64>,
        free: Option<u64>,
    }

    const TABLE: &Table<Row> =
        &[("MemTotal", Unit::Times(1024), |r| &mut r.total), ("free", Unit::Same, |r| &mut r.free)];

    #[test]
    fn one_bad_line_leaves_the_others_read() {
        let mut row = Row::default();
        let result = keyed(b"free x\nMemTotal:       4 kB\nMemTotalX: 9\n", TABLE, &mut row);
        assert_eq!((result.is_err(), row), (true, Row { total: Some(4096), free: None }));
    }

    #[test]
    fn text_is_cut_at_a_character() {
        let long = "ü".repeat(MAX_TEXT_BYTES);
        assert!(text_of(long.as_bytes()).len() <= MAX_TEXT_BYTES);
        assert_eq!(text_of(b"a\xffb"), "a\u{fffd}b");
    }
}
