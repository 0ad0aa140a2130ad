//! What one interval of one program said, bounded.

use zonescope_proto::ZoneName;

use super::limits::{MAX_INTERVAL_BUCKETS, MAX_INTERVAL_TEXT};
use super::table::Bucket;

/// Whose a row is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A zone, as `zonename` tells.
    Zone(ZoneName),
    /// A process, where DTrace does not know zones.
    Process(u64),
}

/// A number as it was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Not negative.
    Uint(u64),
    /// Negative.
    Int(i64),
}

impl Number {
    /// Reads decimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().map(Number::Uint).or_else(|_| text.parse().map(Number::Int)).ok()
    }
}

/// One key of an aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Samples of a thread on a CPU.
    OnCpu {
        /// How often it was seen.
        samples: u64,
        /// Whose it is.
        owner: Owner,
        /// Where it ran.
        core: u64,
        /// Its process.
        pid: u64,
        /// Itself.
        tid: u64,
        /// Name of the program.
        execname: String,
    },
    /// Samples that one CPU took.
    Ticks(u64),
    /// Something counted.
    Event {
        /// What.
        event: String,
        /// How often.
        count: u64,
        /// How much.
        bytes: Option<u64>,
        /// Whose.
        owner: Owner,
        /// Of what.
        detail: String,
    },
    /// A distribution of a built-in program.
    Distribution {
        /// What is distributed.
        name: String,
        /// Of the bounds.
        unit: String,
        /// Whose.
        owner: Owner,
        /// What tells it apart.
        labels: Vec<(String, String)>,
        /// Its table.
        buckets: Vec<Bucket>,
    },
    /// A key of a user's aggregation, as libdtrace printed it.
    Printed {
        /// In the order of the header.
        keys: Vec<String>,
        /// One of each aggregation.
        values: Vec<Number>,
    },
    /// A key of a user's quantize, lquantize or llquantize.
    PrintedTable {
        /// In the order of the header.
        keys: Vec<String>,
        /// Its table.
        buckets: Vec<Bucket>,
    },
}

impl Row {
    fn buckets(&self) -> usize {
        match self {
            Row::Distribution { buckets, .. } | Row::PrintedTable { buckets, .. } => buckets.len(),
            _ => 0,
        }
    }

    fn text(&self) -> usize {
        match self {
            Row::OnCpu { execname, .. } => execname.len(),
            Row::Ticks(_) => 0,
            Row::Event { event, detail, .. } => event.len() + detail.len(),
            Row::Distribution { name, unit, labels, .. } => {
                name.len() + unit.len() + labels.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
            }
            Row::Printed { keys, .. } | Row::PrintedTable { keys, .. } => keys.iter().map(String::len).sum(),
        }
    }
}

/// The rows from one end mark to the next.
#[derive(Debug, Default, PartialEq)]
pub struct Interval {
    /// Rows, no more than the budget's keys.
    pub rows: Vec<Row>,
    /// Rows that found no place.
    pub refused: u64,
    buckets: usize,
    text: usize,
}

impl Interval {
    /// Takes a row, if there is room.
    pub fn push(&mut self, row: Row, most_keys: usize) {
        let (buckets, text) = (self.buckets + row.buckets(), self.text + row.text());
        if self.rows.len() >= most_keys || buckets > MAX_INTERVAL_BUCKETS || text > MAX_INTERVAL_TEXT {
            self.refused += 1;
            return;
        }
        (self.buckets, self.text) = (buckets, text);
        self.rows.push(row);
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.refused == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_the_budget_are_counted_and_not_kept() {
        let mut interval = Interval::default();
        for _ in 0..10 {
            interval.push(Row::Ticks(1), 4);
        }
        assert_eq!((interval.rows.len(), interval.refused), (4, 6));
    }

    #[test]
    fn buckets_are_bounded_over_all_rows_together() {
        let mut interval = Interval::default();
        let buckets = vec![Bucket { lower: 0, upper: 1, count: 1 }; 2000];
        for _ in 0..1000 {
            interval.push(Row::PrintedTable { keys: Vec::new(), buckets: buckets.clone() }, usize::MAX);
        }
        assert!(interval.buckets <= MAX_INTERVAL_BUCKETS && interval.refused > 800);
    }
}
