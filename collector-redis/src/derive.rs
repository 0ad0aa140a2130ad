//! Derived values: rates of counters, and utilization, saturation and errors. What decides them stands in
//! `zonescope_proto::rate` and `zonescope_proto::resource`; here is only the memory of the previous frame.

use std::borrow::Cow;
use std::collections::HashMap;

use zonescope_proto::rate::{self, Identity};
use zonescope_proto::resource::{self, Usage};
use zonescope_proto::{Kind, v1};

use crate::rows::{self, Data, Row};

/// What is remembered of a zone: its last frame, and the counters in it.
#[derive(Debug, Default)]
pub struct Past {
    frame: Option<v1::Frame>,
    counters: HashMap<(Cow<'static, str>, String), Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    crtime: Option<u64>,
    snaptime: Option<i64>,
    values: Vec<(u64, u64)>,
}

/// One step from the previous frame to the next.
#[derive(Debug)]
pub struct Step<'p> {
    past: &'p mut Past,
    now: HashMap<(Cow<'static, str>, String), Counters>,
    /// From tick to tick; `None` where there is no previous frame, or not an earlier one.
    dt_ns: Option<i64>,
    identity: Identity,
}

impl Past {
    /// Begins the step to `frame`. Every row of it goes through [`Step::rates`]; then comes [`Step::finish`].
    pub fn step(&mut self, frame: &v1::Frame) -> Step<'_> {
        let (dt_ns, identity) = match self.frame.as_ref() {
            Some(previous) => between(previous, frame),
            None => (None, Identity::Unknown),
        };
        let now = HashMap::with_capacity(self.counters.len());
        Step { past: self, now, dt_ns, identity }
    }

    /// Remembers `frame`, of which nothing needs to be derived.
    pub fn pass(&mut self, frame: v1::Frame) {
        let mut step = self.step(&frame);
        rows::each(&frame, |row| {
            step.rates(row);
        });
        step.finish(frame);
    }
}

fn between(previous: &v1::Frame, frame: &v1::Frame) -> (Option<i64>, Identity) {
    let time = |f: &v1::Frame| f.header.as_ref().map_or(0, |h| h.time.cast_signed());
    let instance = |f: &v1::Frame| f.header.as_ref().and_then(|h| h.zone.as_ref()).map(|z| (z.id, z.boot_time));
    let dt = time(frame) - time(previous);
    let identity = if instance(previous) == instance(frame) { Identity::Unknown } else { Identity::Changed };
    ((dt > 0).then_some(dt), identity)
}

impl Step<'_> {
    /// The growth per second of every counter of `row` that the previous frame had too.
    pub fn rates<'r>(&mut self, row: &Row<'r>) -> Vec<(&'r str, f64)> {
        let current = Counters::of(row);
        let key = (row.table.clone(), row.name.clone());
        let rates = match (self.past.counters.get(&key), self.dt_ns) {
            (Some(previous), Some(dt)) => rates(row, previous, &current, dt, self.identity),
            _ => Vec::new(),
        };
        if !current.values.is_empty() {
            self.now.insert(key, current);
        }
        rates
    }

    /// Utilization, saturation and errors of `frame`.
    pub fn usage(&self, frame: &v1::Frame) -> [Usage; 4] {
        resource::usage(self.past.frame.as_ref(), frame)
    }

    /// From now on `frame` is the previous one.
    pub fn finish(self, frame: v1::Frame) {
        self.past.counters = self.now;
        self.past.frame = Some(frame);
    }
}

impl Counters {
    fn of(row: &Row<'_>) -> Self {
        let mut counters = Counters::default();
        for cell in &row.cells {
            match (&cell.data, cell.kind, cell.name) {
                (Data::Uint(value), Kind::Counter, _) => counters.values.push((cell.id, *value)),
                (Data::Uint(value), Kind::State, "crtime") => counters.crtime = Some(*value),
                (Data::Int(value), Kind::State, "snaptime") => counters.snaptime = Some(*value),
                _ => {}
            }
        }
        counters
    }
}

fn rates<'r>(
    row: &Row<'r>,
    previous: &Counters,
    current: &Counters,
    dt_ns: i64,
    zone: Identity,
) -> Vec<(&'r str, f64)> {
    // Each row is read a little later than its tick; without its own time the tick's has to do.
    let late = current.snaptime.zip(previous.snaptime).map_or(0, |(now, then)| now.saturating_sub(then));
    let identity = Identity::of(previous.crtime, current.crtime).and(zone);
    let mut before = previous.values.iter().peekable();
    let counters = row.cells.iter().filter(|c| c.kind == Kind::Counter);
    counters
        .filter_map(|cell| {
            let Data::Uint(value) = cell.data else { return None };
            // In the order of the previous row, almost always: then nothing is searched for.
            let found = match before.peek() {
                Some((id, _)) if *id == cell.id => before.next(),
                _ => previous.values.iter().find(|(id, _)| *id == cell.id),
            };
            let grown = rate::delta(found?.1, value, cell.bits, identity);
            Some((cell.name, rounded(rate::per_second(grown, dt_ns + late)?)))
        })
        .collect()
}

/// Six significant digits, or a whole number where it has more. What is measured at one instant of a second is no better, and
/// in Redis every digit costs a byte for an hour.
pub fn rounded(value: f64) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let magnitude = value.abs().log10().floor() as i32;
    let digits = 5 - magnitude;
    if digits <= 0 {
        return value.round();
    }
    let scale = 10f64.powi(digits.min(300));
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn frame(time_s: u64, zone_id: u64, links: &[(&str, u64, u64)]) -> v1::Frame {
        let zone = v1::Zone { name: "z".into(), id: zone_id, ..v1::Zone::default() };
        let net = |(link, crtime, ipackets): &(&str, u64, u64)| v1::Net {
            link: (*link).to_owned(),
            crtime: Some(*crtime),
            ipackets: Some(*ipackets),
            ..v1::Net::default()
        };
        v1::Frame {
            header: Some(v1::Header { time: time_s * S, zone: Some(zone), ..v1::Header::default() }),
            net: links.iter().map(net).collect(),
            ..v1::Frame::default()
        }
    }

    fn rates_of(past: &mut Past, frame: v1::Frame) -> Vec<(String, f64)> {
        let mut step = past.step(&frame);
        let mut all = Vec::new();
        rows::each(&frame, |row| {
            let of = |(name, rate): (&str, f64)| (format!("{}.{name}", row.name), rate);
            all.extend(step.rates(row).into_iter().map(of));
        });
        step.finish(frame);
        all
    }

    #[test]
    fn rates_follow_each_row_by_its_labels() {
        let mut past = Past::default();
        assert!(rates_of(&mut past, frame(1, 7, &[("a", 1, 10), ("b", 1, 100)])).is_empty());
        let rates = rates_of(&mut past, frame(3, 7, &[("b", 1, 300), ("a", 1, 14), ("new", 1, 5)]));
        assert_eq!(rates, [("b.ipackets".to_owned(), 100.0), ("a.ipackets".to_owned(), 2.0)]);
    }

    #[test]
    fn a_new_counter_counts_from_its_creation() {
        let mut past = Past::default();
        rates_of(&mut past, frame(1, 7, &[("a", 1, 1000)]));
        assert_eq!(rates_of(&mut past, frame(2, 7, &[("a", 2, 1500)]))[0].1, 1500.0, "another crtime");
        let rebooted = frame(3, 8, &[("a", 2, 1600)]);
        assert_eq!(rates_of(&mut past, rebooted)[0].1, 1600.0, "another instance of the zone");
    }

    #[test]
    fn a_frame_that_is_not_later_has_no_rates() {
        let mut past = Past::default();
        rates_of(&mut past, frame(5, 7, &[("a", 1, 10)]));
        assert!(rates_of(&mut past, frame(5, 7, &[("a", 1, 20)])).is_empty());
        assert!(rates_of(&mut past, frame(4, 7, &[("a", 1, 30)])).is_empty());
    }

    #[test]
    fn rates_keep_six_digits() {
        for (value, expected) in [
            (0.0, 0.0),
            (1234.5678, 1234.57),
            (0.000_123_456_789, 0.000_123_457),
            (123_456_789.6, 123_456_790.0),
            (99_999.96, 100_000.0),
        ] {
            assert_eq!(rounded(value), expected);
        }
    }
}
