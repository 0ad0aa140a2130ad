//! The tables that libdtrace prints for quantize, lquantize and llquantize.
//!
//! ```text
//!            value  ------------- Distribution ------------- count
//!              < 0 |@@@@@@@@@@                               1
//!                0 |@@@@@@@@@@                               1
//!               10 |                                         0
//!           >= 100 |@@@@@@@@@@                               1
//! ```
//!
//! A row names its bucket by one bound only; the other one follows from the neighbouring row, because libdtrace prints
//! every bucket between the first and the last that hold something, and an empty one on either side. Buckets of
//! positive values hold `[value, next)`. Negative ones are mirrored in quantize and llquantize (-4 holds -7 to -4), but
//! not in lquantize, whose rows are told by their even distance.

use zonescope_proto::limits::MAX_BUCKETS;

/// How many events fell between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Inclusive.
    pub lower: i64,
    /// Exclusive.
    pub upper: i64,
    /// Events.
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Below(i64),
    From(i64),
    AtLeast(i64),
}

/// A table as it is being read.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<(Bound, i64)>,
    /// More rows than [`MAX_BUCKETS`], or negative counts: left out.
    lost: u64,
}

/// Whether a line is the head of a table.
pub fn is_head(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.next() == Some("value") && line.contains("- Distribution -") && words.next_back() == Some("count")
}

impl Table {
    /// Takes a row. False where the line is none.
    pub fn row(&mut self, line: &str) -> bool {
        let Some((bound, count)) = parse_row(line) else { return false };
        if self.rows.len() >= MAX_BUCKETS {
            self.lost += 1;
        } else {
            self.rows.push((bound, count));
        }
        true
    }

    /// The buckets that hold something, and how many rows had to be left out.
    pub fn finish(self) -> (Vec<Bucket>, u64) {
        let even = self.is_even();
        let negative = self.rows.iter().filter(|(_, count)| *count < 0).count() as u64;
        let buckets = (0..self.rows.len()).filter_map(|at| self.bucket(at, even)).collect();
        (buckets, self.lost + negative)
    }

    fn bucket(&self, at: usize, even: bool) -> Option<Bucket> {
        let (bound, count) = self.rows[at];
        let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
        let (lower, upper) = match bound {
            Bound::Below(value) => (i64::MIN, value),
            Bound::AtLeast(value) => (value, i64::MAX),
            Bound::From(value) if value < 0 && !even => {
                let before = at.checked_sub(1).and_then(|before| self.value(before));
                (before.unwrap_or_else(|| value.saturating_mul(2)).saturating_add(1), value + 1)
            }
            Bound::From(value) => {
                let step = if even { self.step() } else { value.max(1) };
                (value, self.value(at + 1).unwrap_or_else(|| value.saturating_add(step)))
            }
        };
        Some(Bucket { lower, upper: upper.max(lower.saturating_add(1)), count })
    }

    fn value(&self, at: usize) -> Option<i64> {
        self.rows.get(at).map(|(bound, _)| match bound {
            Bound::Below(value) | Bound::From(value) | Bound::AtLeast(value) => *value,
        })
    }

    fn step(&self) -> i64 {
        match (self.value(0), self.value(1)) {
            (Some(a), Some(b)) => b.saturating_sub(a).max(1),
            _ => 1,
        }
    }

    /// Whether all values stand in the same distance, as those of lquantize do.
    fn is_even(&self) -> bool {
        // `< 0` and `0` are one bound, printed twice.
        let values: Vec<i64> = self
            .rows
            .iter()
            .filter_map(|(bound, _)| if let Bound::From(v) = bound { Some(*v) } else { None })
            .collect();
        let mut steps = values.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let Some(first) = steps.next() else { return false };
        first > 0 && steps.all(|step| step == first)
    }
}

fn parse_row(line: &str) -> Option<(Bound, i64)> {
    let (left, right) = line.split_once('|')?;
    let left = left.trim();
    let bound = if let Some(value) = left.strip_prefix("< ") {
        Bound::Below(value.trim().parse().ok()?)
    } else if let Some(value) = left.strip_prefix(">= ") {
        Bound::AtLeast(value.trim().parse().ok()?)
    } else {
        // With negative counts the bar stands left of the axis.
        Bound::From(left.trim_end_matches(['@', ' ']).parse().ok()?)
    };
    let count = right.trim_start_matches(['@', ' ']).trim_end().parse().ok()?;
    Some((bound, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(i64, i64, u64)>, u64) {
        let mut table = Table::default();
        for line in text.lines().filter(|l| !is_head(l)) {
            table.row(line);
        }
        let (buckets, lost) = table.finish();
        (buckets.iter().map(|b| (b.lower, b.upper, b.count)).collect(), lost)
    }

    #[test]
    fn quantize_mirrors_negative_buckets_and_zero_stands_alone() {
        let text = include_str!("../../fixtures/dtrace/02-default-quantize-neg-zero.out");
        let buckets =
            [(-131_071, -65_535, 1), (-3, -1, 1), (-1, 0, 2), (0, 1, 2), (1, 2, 1), (2, 4, 1), (512, 1024, 2)];
        assert_eq!(read(text), (buckets.to_vec(), 0));
    }

    #[test]
    fn lquantize_has_open_ends_and_even_steps() {
        let text = include_str!("../../fixtures/dtrace/04-lquantize.out");
        let (first, second) =
            text.trim_start().split_once("\n\n\n").or(text.split_once("\n\n  \n")).unwrap_or((text, ""));
        let rows = read(first).0;
        assert!(
            rows.starts_with(&[(i64::MIN, 0, 1), (0, 10, 1), (50, 60, 1), (100, i64::MAX, 1)]),
            "{rows:?} {second}"
        );
        assert_eq!(read(" -8 | 0\n -7 |@@ 1\n -6 | 0").0, [(-7, -6, 1)]);
    }

    #[test]
    fn llquantize_is_linear_within_a_magnitude() {
        let text = include_str!("../../fixtures/dtrace/05-llquantize.out");
        let first = text.split("\n\n\n").next().unwrap();
        assert_eq!(read(first).0, [(0, 1, 1), (7, 8, 1), (70, 80, 2), (10_000, i64::MAX, 1)]);
    }

    #[test]
    fn a_negative_count_is_left_out_and_told() {
        assert_eq!(read(" 1 | 0\n 2 @@@@| -3\n 4 |@@ 2\n 8 | 0"), (vec![(4, 8, 2)], 1));
    }

    #[test]
    fn the_largest_powers_of_two_do_not_overflow() {
        let rows = read(&format!("{} | 0\n{} |@@ 1", i64::MAX / 2 + 1, i64::MIN)).0;
        assert_eq!(rows.len(), 1);
        assert_eq!(read(&format!(" 1 | 0\n {} |@@ 1", 1_i64 << 62)).0[0].1, i64::MAX);
    }
}
