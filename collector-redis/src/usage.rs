//! Utilization, saturation and errors as a row of a table of their own, written and read: `cpu_utilization`,
//! `cpu_saturation` and so on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use zonescope_proto::Kind;
use zonescope_proto::resource::{Resource, Usage};

use crate::derive::rounded;
use crate::keys::USE_TABLE;
use crate::rows::{self, Cell, Data, Row};

/// What is said of each resource, in the order of [`row`].
const WHAT: [&str; 6] = ["utilization", "saturation", "saturation_unit", "errors", "cap", "throttled"];

/// Units of saturation, as `Usage` has them.
const UNITS: [&str; 6] = ["threads", "share of time", "pages/s", "faults/s", "operations", "events/s"];

static NAMES: LazyLock<[[String; 6]; 4]> =
    LazyLock::new(|| Resource::ALL.map(|resource| WHAT.map(|what| format!("{}_{what}", resource.name()))));

/// The row; `None` where nothing is known.
pub fn row(usage: &[Usage; 4]) -> Option<Row<'static>> {
    let mut cells = Vec::with_capacity(24);
    for (usage, names) in usage.iter().zip(&*NAMES) {
        let unit = Some(usage.saturation_unit).filter(|unit| !unit.is_empty());
        let said = [
            usage.utilization.map(double),
            usage.saturation.map(double),
            unit.map(|unit| Data::Text(unit.to_owned())),
            usage.errors.map(double),
            usage.cap.map(double),
            usage.throttled.map(double),
        ];
        let said = names.iter().zip(said).filter_map(|(name, data)| Some((name, data?)));
        cells.extend(said.map(|(name, data)| gauge(name, data)));
    }
    let row = Row { table: Cow::Borrowed(USE_TABLE), many: false, name: String::new(), cells };
    row.says_something().then_some(row)
}

/// One resource of the row, from the fields of its hash in Redis.
pub fn read(resource: Resource, fields: &HashMap<String, String>) -> Usage {
    let text = |what: &str| fields.get(&format!("{}_{what}", resource.name()));
    let number = |what: &str| text(what).and_then(|v| v.parse().ok());
    let unit = text("saturation_unit").and_then(|unit| UNITS.iter().copied().find(|u| u == unit));
    Usage {
        resource,
        utilization: number("utilization"),
        saturation: number("saturation"),
        saturation_unit: unit.unwrap_or_default(),
        errors: number("errors"),
        cap: number("cap"),
        throttled: number("throttled"),
    }
}

fn double(number: f64) -> Data {
    Data::Double(rounded(number))
}

fn gauge(name: &str, data: Data) -> Cell<'_> {
    Cell { name, data, kind: Kind::Gauge, bits: 64, id: rows::hash(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let usage = Resource::ALL.map(|resource| Usage {
            resource,
            utilization: Some(0.5 + resource as usize as f64),
            saturation: Some(2.0),
            saturation_unit: UNITS[resource as usize],
            errors: None,
            cap: Some(4.0),
            throttled: Some(0.25),
        });
        let row = row(&usage).unwrap();
        let fields = row.cells.iter().map(|cell| (cell.name.to_owned(), cell.data.to_string())).collect();
        assert_eq!(Resource::ALL.map(|resource| read(resource, &fields)), usage);
    }
}
