//! Rows of users' programs into their own tables and distributions. Pure, as [`super::project`] is.

use std::collections::BTreeMap;

use zonescope_proto::limits::MAX_TEXT_BYTES;
use zonescope_proto::{ZoneName, v1};

use super::gather::{Number, Owner, Row};
use super::header::{Header, PID_KEY, ValueSpec, ZONE_KEY};
use super::mailbox::cut;
use super::project::{Projected, Zones, add_buckets, distribution, label, put};
use crate::source::Sample;

type Labels = Vec<(String, String)>;

#[derive(Default)]
struct Folded {
    rows: BTreeMap<(ZoneName, Labels), Vec<Number>>,
    tables: BTreeMap<(ZoneName, Labels), BTreeMap<(i64, i64), u64>>,
}

/// Puts `rows` of the program with `header` into `sample`.
pub fn project(rows: Vec<Row>, header: &Header, zones: &mut Zones<'_>, sample: &mut Sample) -> Projected {
    let mut folded = Folded::default();
    for row in rows {
        match row {
            Row::Printed { keys, values } => {
                let place = place(keys, header, zones, sample);
                merge(folded.rows.entry(place).or_default(), values, &header.values);
            }
            Row::PrintedTable { keys, buckets } => {
                let place = place(keys, header, zones, sample);
                add_buckets(folded.tables.entry(place).or_default(), &buckets);
            }
            _ => {}
        }
    }
    let mut projected = Projected::default();
    for ((zone, labels), values) in folded.rows {
        let labels = labels.iter().map(|(name, value)| label(name, value)).collect();
        let values = values.into_iter().zip(&header.values).map(|(value, spec)| measure(value, spec)).collect();
        let row = v1::Custom { table: header.name.clone(), labels, values };
        put(vec![row], &mut sample.zone(&zone).frame.custom, &mut projected);
    }
    let unit = header.values.first().map_or("", |value| value.unit.as_str());
    for ((zone, labels), buckets) in folded.tables {
        let row = distribution(&header.name, unit, labels, &buckets);
        put(vec![row], &mut sample.zone(&zone).frame.distribution, &mut projected);
    }
    projected
}

/// The zone of a row, and its labels. A user's program may print anything: only zones that the sample knows already get
/// rows, so that a typing mistake makes no new topics; what names another zone goes to `global`, and keeps the name.
fn place(keys: Vec<String>, header: &Header, zones: &mut Zones<'_>, sample: &Sample) -> (ZoneName, Labels) {
    let (mut zone, mut by_pid, mut labels) = (None, None, Labels::new());
    for (name, value) in header.keys.iter().zip(keys) {
        if name == ZONE_KEY {
            match ZoneName::new(value.as_str()) {
                Ok(known) if known.as_str() == ZoneName::GLOBAL || sample.zones.contains_key(&known) => {
                    zone = Some(known);
                }
                _ => labels.push((name.clone(), value)),
            }
        } else {
            if name == PID_KEY {
                by_pid = value.parse().ok();
            }
            labels.push((name.clone(), value));
        }
    }
    let has_zone = header.keys.iter().any(|key| key == ZONE_KEY);
    let by_pid = by_pid.filter(|_| !has_zone).map(|pid| zones.of(&Owner::Process(pid)));
    (zone.or(by_pid).unwrap_or_else(ZoneName::global), labels)
}

/// Two intervals in one tick: what is counted adds up; of what is measured the later one stands.
fn merge(known: &mut Vec<Number>, values: Vec<Number>, specs: &[ValueSpec]) {
    if known.is_empty() {
        *known = values;
        return;
    }
    for ((known, value), spec) in known.iter_mut().zip(values).zip(specs) {
        *known = match (spec.kind, *known, value) {
            (v1::Kind::Delta, Number::Uint(a), Number::Uint(b)) => Number::Uint(a.saturating_add(b)),
            (v1::Kind::Delta, a, b) => sum(a, b),
            (_, _, later) => later,
        };
    }
}

fn sum(a: Number, b: Number) -> Number {
    let signed = |number| match number {
        Number::Uint(value) => i64::try_from(value).unwrap_or(i64::MAX),
        Number::Int(value) => value,
    };
    let sum = signed(a).saturating_add(signed(b));
    u64::try_from(sum).map_or(Number::Int(sum), Number::Uint)
}

fn measure(number: Number, spec: &ValueSpec) -> v1::Measure {
    let value = match number {
        Number::Uint(value) => v1::measure::Value::Uint(value),
        Number::Int(value) => v1::measure::Value::Int(value),
    };
    let unit = cut(&spec.unit, MAX_TEXT_BYTES).to_owned();
    v1::Measure { name: spec.name.clone(), kind: spec.kind.into(), unit, value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtrace::options::ZoneOfPid;
    use crate::dtrace::table::Bucket;

    fn header(keys: &[&str], kind: v1::Kind) -> Header {
        let value = ValueSpec { name: "calls".to_owned(), unit: "operations".to_owned(), kind };
        let keys = keys.iter().map(ToString::to_string).collect();
        Header { name: "nfs_ops".to_owned(), keys, values: vec![value], interval_s: 1 }
    }

    fn row(keys: &[&str], value: Number) -> Row {
        Row::Printed { keys: keys.iter().map(ToString::to_string).collect(), values: vec![value] }
    }

    fn projected(rows: Vec<Row>, header: &Header) -> Sample {
        let (mut sample, resolve) =
            (Sample::default(), ZoneOfPid::new(|pid| (pid == 7).then(|| ZoneName::lossy("web1"))));
        sample.zone(&ZoneName::lossy("db"));
        project(rows, header, &mut Zones::new(&resolve), &mut sample);
        sample
    }

    #[test]
    fn a_row_goes_to_its_zone_with_the_other_keys_as_labels() {
        let header = header(&["zone", "op"], v1::Kind::Delta);
        let sample =
            projected(vec![row(&["db", "read"], Number::Uint(3)), row(&["db", "read"], Number::Uint(4))], &header);
        let custom = &sample.zones[&ZoneName::lossy("db")].frame.custom;
        assert_eq!(
            (custom.len(), custom[0].table.as_str(), custom[0].labels[0].value.as_str()),
            (1, "nfs_ops", "read")
        );
        assert_eq!(custom[0].values[0].value, Some(v1::measure::Value::Uint(7)));
    }

    #[test]
    fn an_unknown_zone_makes_no_topic_and_keeps_its_name() {
        let sample = projected(vec![row(&["dd", "read"], Number::Uint(3))], &header(&["zone", "op"], v1::Kind::Delta));
        assert_eq!(sample.zones.len(), 2);
        let custom = &sample.zones[&ZoneName::global()].frame.custom[0];
        assert_eq!((custom.labels[0].name.as_str(), custom.labels[0].value.as_str()), ("zone", "dd"));
    }

    #[test]
    fn where_there_are_no_zones_the_pid_tells() {
        let sample = projected(vec![row(&["7"], Number::Int(-3))], &header(&["pid"], v1::Kind::Gauge));
        let custom = &sample.zones[&ZoneName::lossy("web1")].frame.custom[0];
        assert_eq!(custom.values[0].value, Some(v1::measure::Value::Int(-3)));
    }

    #[test]
    fn a_gauge_of_two_intervals_is_the_later_one() {
        let rows = vec![row(&["db"], Number::Uint(3)), row(&["db"], Number::Uint(1))];
        let sample = projected(rows, &header(&["zone"], v1::Kind::Gauge));
        let custom = &sample.zones[&ZoneName::lossy("db")].frame.custom[0];
        assert_eq!(custom.values[0].value, Some(v1::measure::Value::Uint(1)));
    }

    #[test]
    fn a_quantize_becomes_a_distribution_of_the_programs_name() {
        let buckets = vec![Bucket { lower: 4, upper: 8, count: 2 }];
        let rows = vec![Row::PrintedTable { keys: vec!["db".to_owned(), "read".to_owned()], buckets }];
        let sample = projected(rows, &header(&["zone", "op"], v1::Kind::Delta));
        let distribution = &sample.zones[&ZoneName::lossy("db")].frame.distribution[0];
        assert_eq!((distribution.name.as_str(), distribution.unit.as_str()), ("nfs_ops", "operations"));
        assert_eq!((distribution.lower[0], distribution.upper[0], distribution.count[0]), (4, 8, 2));
    }
}
